"""What tells one value from another, and what stands on that, broken: see `catalogue`."""

from tests.mutants.mutant import Mutant

CANONICAL = "memoryhub/core/canonical.py"
VALUES = "memoryhub/memories/values.py"
REJECTED = "memoryhub/memories/rejected.py"
PROSPECTS = "memoryhub/conflicts/prospects.py"
DIGESTS = "memoryhub/memories/migrations/0015_value_digests.py"
FORMS = "tests/core/test_canonical.py"
AGAIN = "tests/memories/test_rejected.py"
RUNS = "tests/conflicts/test_policy_runs.py"
DETECTOR = "tests/conflicts/test_detector.py"
STORED = "tests/memories/test_values.py"
ERASING = "tests/memories/test_append_only.py::test_erasing_blanks_what_was_said_and_nothing_else"


def _form(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"sameness: {name}", CANONICAL, old, new, (FORMS,))


def _again(name: str, file: str, old: str, new: str, test: str) -> Mutant:
    return Mutant(f"sameness: rejected, {name}", file, old, new, (f"{AGAIN}::{test}",))


def _policy(name: str, old: str, new: str, test: str) -> Mutant:
    return Mutant(f"sameness: policies, {name}", PROSPECTS, old, new, (f"{RUNS}::{test}",))


MUTANTS = [
    _form("the case of paths and flags", "if not word or not all(map(_is_word, _APOSTROPHES.split(word))):", "if not word:"),
    _form("the case of units", "if is_after_number and (", "if False and ("),
    _form("the case of names", "if not is_upper and word[1:] != word[1:].lower():", "if False:"),
    _form("no composition", 'return unicodedata.normalize("NFC", text)', "return text"),
    _form("compatibility forms", 'unicodedata.normalize("NFC", text)', 'unicodedata.normalize("NFKC", text)'),
    _form("a mark that stands alone", "if not closing or not token:", "if not closing:"),
    _form("a range", 'if closing == "..":', "if False:"),
    _form("a factorial", "if token[-1] in _CLOSING_QUOTES or _is_word_of_letters(token) else text", ""),
    _form("piles of marks", "if any(_TOO_MANY_MARKS.search(run.group()) for run in _MAYBE_MARKS.finditer(text)):", "if False:"),
    Mutant("sameness: two secrets", VALUES, "if holds_secret(content) else canonical_form(content)", "if False else canonical_form(content)", (f"{STORED}::test_a_text_that_holds_a_secret_has_a_form_of_its_own",)),
    Mutant("sameness: spellings crowd a group", "memoryhub/conflicts/detector.py", "list({_form(value.content): value", "list({value.content: value", (f"{DETECTOR}::test_many_spellings_of_one_value_crowd_out_no_other_value",)),
    Mutant("sameness: spellings crowd a list", "memoryhub/conflicts/listing.py", "ORDER BY spelling > 1, rank,", "ORDER BY rank,", (f"{RUNS}::test_many_spellings_of_one_value_do_not_hide_another_value",)),
    _again("somebody else's secret", REJECTED, "None if holds_secret(made.envelope.content) else value for", "value for", "test_a_receipt_does_not_tell_that_somebody_elses_secret_is_the_same"),
    _again("what is kept", REJECTED, "spelled = Q(is_other_spelling=False) | Q(content_sha256=", "spelled = ~Q(content_sha256=None) | Q(content_sha256=", "test_a_value_that_is_kept_is_not_rejected_with_its_other_spellings"),
    _again("what was merged", "memoryhub/conflicts/plans.py", "values |= {value_digest(self.merged.envelope.content)} if self.merged else set()", "pass", "test_a_merged_value_is_not_rejected_with_its_other_spellings"),
    _again("what came back", "memoryhub/memories/standing.py", '    "is_other_spelling": "m.id = ANY (%s::bigint[])",\n', '    "is_other_spelling": "m.is_other_spelling OR m.id = ANY (%s::bigint[])",\n', "test_a_spelling_that_came_back_and_is_rejected_with_its_value_is_rejected_in_every_spelling"),
    _policy("paraphrases", "if klass in policies.LEFT_TO_PEOPLE:", "if False:", "test_paraphrases_are_left_to_people_even_by_a_policy_that_names_them"),
    _policy("a paraphrase among others", 'replace(each, left="paraphrase") if each.key in reworded else each', "each", "test_a_group_is_left_whose_loser_is_a_paraphrase_of_what_would_be_kept"),
    _policy("each spelling for itself", "among = self.spellings if len(self.spellings) > 1 else self.by_value", "among = self.by_value", "test_all_spellings_of_a_value_speak_for_it_and_the_rules_choose_the_spelling"),
    _policy("the newest spelling", "newest = texts[chosen.winner][0] if chosen else", "newest =", "test_all_spellings_of_a_value_speak_for_it_and_the_rules_choose_the_spelling"),
    Mutant("sameness: a digest is left of what is erased", DIGESTS, "NEW.value_sha256 := '';", "NEW.value_sha256 := OLD.value_sha256;", (ERASING,)),
    Mutant("sameness: rows of before", DIGESTS, "cursor.execute(CHANGE, [[row for row, _ in rows], [value_digest(content) for _, content in rows]])", "pass", (f"{STORED}::test_rows_that_were_there_before_are_filled_whoever_may_see_them",)),
    Mutant("sameness: spellings of before", DIGESTS, "cursor.execute(MARK)", "pass", (f"{STORED}::test_rows_that_were_there_before_are_filled_whoever_may_see_them",)),
]  # fmt: skip
