"""Mutants of the canonical form of values and of its users: see `catalogue`."""

from tests.mutation.mutant import Mutant

CANONICAL = "memoryhub/core/canonical.py"
VALUES = "memoryhub/core/values.py"
REJECTED_VALUES = "memoryhub/memories/writes/rejected_values.py"
POLICY_EVALUATION = "memoryhub/conflicts/policies/policy_evaluation.py"
MEMORY_TABLES_MIGRATION = "memoryhub/memories/migrations/0002_tables.py"
CANONICAL_TESTS = "tests/core/test_canonical.py"
REJECTED_TESTS = "tests/memories/test_rejected_values.py"
POLICY_RUN_TESTS = "tests/conflicts/policies/test_runs.py"
DETECTOR_TESTS = "tests/conflicts/detector/test_compare.py"
VALUE_TESTS = "tests/core/test_values.py"
ERASURE_TEST = "tests/memories/test_append_only.py::test_erasing_blanks_what_was_said_and_nothing_else"


def _canonical_mutant(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"canonical values: {name}", CANONICAL, old, new, (CANONICAL_TESTS,))


def _rejected_mutant(name: str, file: str, old: str, new: str, test: str) -> Mutant:
    return Mutant(f"canonical values: rejected, {name}", file, old, new, (f"{REJECTED_TESTS}::{test}",))


def _policy_mutant(name: str, old: str, new: str, test: str) -> Mutant:
    return Mutant(f"canonical values: policies, {name}", POLICY_EVALUATION, old, new, (f"{POLICY_RUN_TESTS}::{test}",))


MUTANTS = [
    _canonical_mutant("the case of paths and flags", "if not word or not all(map(_is_word, _APOSTROPHES.split(word))):", "if not word:"),
    _canonical_mutant("the case of units", "if is_after_number and (", "if False and ("),
    _canonical_mutant("the case of names", "if not is_upper and word[1:] != word[1:].lower():", "if False:"),
    _canonical_mutant("no composition", 'return unicodedata.normalize("NFC", text)', "return text"),
    _canonical_mutant("compatibility forms", 'unicodedata.normalize("NFC", text)', 'unicodedata.normalize("NFKC", text)'),
    _canonical_mutant("a mark that stands alone", "if not closing or not token:", "if not closing:"),
    _canonical_mutant("a range", 'if closing == "..":', "if False:"),
    _canonical_mutant("a factorial", "if token[-1] in _CLOSING_QUOTES or _is_alphabetic_word(token) else text", ""),
    _canonical_mutant("piles of marks", "if any(_TOO_MANY_MARKS.search(run.group()) for run in _POSSIBLE_MARKS.finditer(text)):", "if False:"),
    Mutant("canonical values: two secrets", VALUES, "if holds_secret else canonicalize_text(content)", "if False else canonicalize_text(content)", (f"{VALUE_TESTS}::test_a_text_that_holds_a_secret_has_a_form_of_its_own",)),
    Mutant("canonical values: spellings crowd a group", "memoryhub/conflicts/detector/compare.py", "list({_canonical_value(value.content): value", "list({value.content: value", (f"{DETECTOR_TESTS}::test_many_spellings_of_one_value_crowd_out_no_other_value",)),
    Mutant("canonical values: spellings crowd a list", "memoryhub/conflicts/groups/group_queries.py", "ORDER BY spelling > 1, rank,", "ORDER BY rank,", (f"{POLICY_RUN_TESTS}::test_many_spellings_of_one_value_do_not_hide_another_value",)),
    _rejected_mutant("somebody else's secret", REJECTED_VALUES, "None if draft.content_forms.holds_secret else digest for", "digest for", "test_a_receipt_does_not_reveal_that_somebody_elses_secret_is_the_same"),
    _rejected_mutant("what is kept", REJECTED_VALUES, "text_matches = Q(is_spelling_rejection=False) | Q(content_sha256=", "text_matches = ~Q(content_sha256=None) | Q(content_sha256=", "test_a_value_that_is_kept_is_not_rejected_with_its_other_spellings"),
    _rejected_mutant("what was merged", "memoryhub/conflicts/decisions/plans.py", "values |= {self.merged_draft.content_forms.value_sha256} if self.merged_draft else set()", "pass", "test_a_merged_value_is_not_rejected_with_its_other_spellings"),
    _rejected_mutant("what came back", "memoryhub/memories/writes/versions.py", '{name: f"changed.{name}" for name in changed_columns}', '{name: f"m.{name} OR changed.{name}" if name == "is_spelling_rejection" else f"changed.{name}" for name in changed_columns}', "test_a_spelling_that_came_back_and_is_rejected_with_its_value_is_rejected_in_every_spelling"),
    _policy_mutant("paraphrases", "if conflict_class in policies.MANUAL_CLASSES:", "if False:", "test_paraphrases_are_left_to_people_even_by_a_policy_that_names_them"),
    _policy_mutant("a paraphrase among others", "replace(evaluation, skip_reason=\"paraphrase\") if evaluation.key in paraphrased_keys else evaluation", "evaluation", "test_a_group_is_left_whose_loser_is_a_paraphrase_of_what_would_be_kept"),
    _policy_mutant("each spelling for itself", "members_by_hash = self.members_by_value if len(self.members_by_value) > 1 else self.members_by_content", "members_by_hash = self.members_by_content", "test_all_spellings_of_a_value_speak_for_it_and_the_rules_choose_the_spelling"),
    _policy_mutant("the newest spelling", "newest_member = members_by_text[text_outcome.winner][0] if text_outcome else", "newest_member =", "test_all_spellings_of_a_value_speak_for_it_and_the_rules_choose_the_spelling"),
    Mutant("canonical values: a digest is left of what is erased", MEMORY_TABLES_MIGRATION, "NEW.value_sha256 := '';", "NEW.value_sha256 := OLD.value_sha256;", (ERASURE_TEST,)),
]  # fmt: skip
