"""The form in which labels are compared, broken."""

from tests.mutation.mutant import Mutant

CORE_NORMALIZATION = "memoryhub/core/normalization.py"
CONFUSABLES = "memoryhub/core/confusables.py"
MEMORY_WRITE = "memoryhub/memories/writes/write.py"
CLASSIFICATION_PLAN = "memoryhub/memories/writes/classification_plan.py"
API_CLASSIFY = "memoryhub/api/native/classify.py"
PARITY_TESTS = "tests/firewall/test_rule_parity.py"
RULE_EDGE_TEST = f"{PARITY_TESTS}::test_a_rule_at_its_edge"


def label_mutants() -> list[Mutant]:
    """How labels are compared."""
    spellings = ("tests/firewall/test_label_normalization.py::test_a_blocked_label_is_not_evaded", RULE_EDGE_TEST)
    invisible_label_tests = "tests/firewall/test_label_normalization.py::test_a_label_that_cannot_be_seen_is_refused"
    clearances = "tests/firewall/test_administration.py"
    warning_tests = "tests/firewall/test_label_normalization.py::TestWarnings"
    imitation_test = "tests/core/test_confusables.py::test_letters_that_imitate_others_are_found"
    honest = "tests/core/test_confusables.py::test_honest_labels_are_not"
    longest = "tests/firewall/test_label_normalization.py::test_the_longest_label_is_stored_and_hidden_from_whom_it_is_blocked"

    def label_mutant(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"normalize_text: {name}", CORE_NORMALIZATION, old, new, tests or spellings)

    return [
        label_mutant("invisible characters stay", "text.translate(_INVISIBLE_TRANSLATION)", "text"),
        label_mutant("invisible characters go too late", "unicodedata.normalize(\"NFKC\", text.translate(_INVISIBLE_TRANSLATION))", "unicodedata.normalize(\"NFKC\", text).translate(_INVISIBLE_TRANSLATION)", "tests/core/test_normalization.py::test_an_invisible_character_makes_no_difference_anywhere"),
        label_mutant("compatibility forms stay", 'composed = unicodedata.normalize("NFKC"', 'composed = unicodedata.normalize("NFC"'),
        label_mutant("what casefold decomposes stays", 'unicodedata.normalize("NFKC", composed.casefold())', "composed.casefold()", "tests/core/test_normalization.py::test_the_key_of_every_character_is_its_own_key", "tests/core/test_normalization.py::test_a_key_is_its_own_key"),
        label_mutant("case matters", "composed.casefold()", "composed"),
        label_mutant("lower instead of casefold", "composed.casefold()", "composed.lower()", RULE_EDGE_TEST),
        label_mutant("every hyphen is its own", 'dict.fromkeys(map(ord, HYPHENS), "-")', "{}"),
        label_mutant("a Braille blank is a letter", ", ord(BRAILLE_BLANK): \" \"}", "}"),
        label_mutant("white space is not trimmed", "\" \".join(casefolded.translate(_UNIFYING_TRANSLATION).split())", "__import__(\"re\").sub(r\"\\s+\", \" \", casefolded.translate(_UNIFYING_TRANSLATION))"),
        label_mutant("white space is not collapsed", "\" \".join(casefolded.translate(_UNIFYING_TRANSLATION).split())", "casefolded.translate(_UNIFYING_TRANSLATION).strip()"),
        label_mutant("a long one is not cut", "if len(encoded) <= MAX_KEY_BYTES:", "if True:", longest),
        label_mutant("a long one is cut without its digest", ' sha256:{hashlib.sha256(encoded).hexdigest()}"', '"', "tests/core/test_normalization.py::test_a_long_key_is_cut_so_that_it_can_be_stored_and_stays_one_of_its_own"),
        Mutant("labels: one that cannot be seen is written", "memoryhub/memories/writes/validated_types.py", "if value and not normalize_label(value):", "if False:", (invisible_label_tests,)),
        Mutant("labels: one that cannot be seen is added", CLASSIFICATION_PLAN, "add_labels: NewLabels", "add_labels: Labels", (invisible_label_tests,)),
        Mutant("labels: one that cannot be seen is blocked", "inspector/admin.py", "if not all(map(normalize_label, labels)):", "if False:", (clearances,)),
        Mutant("warnings: none in the receipt", MEMORY_WRITE, "replace(receipt, warnings=warnings) if warnings else receipt", "receipt", (warning_tests,)),
        Mutant("warnings: none to who adds a label", API_CLASSIFY, "    if change.warnings:\n", "    if False:\n", (warning_tests,)),
        Mutant("warnings: none on the page", "inspector/views/classify.py", "messages.warning(request, message)", "pass", ("tests/inspector/test_classify.py",)),
        Mutant("warnings: scripts may mix", CONFUSABLES, "if len(scripts) > 1 and", "if False and", (imitation_test,)),
        Mutant("warnings: scripts that are written together may not", CONFUSABLES, "and not any(scripts <= compatible_scripts for compatible_scripts in _COMPATIBLE_SCRIPTS)", "", (honest,)),
        Mutant("warnings: whole words in lookalikes", CONFUSABLES, "if letters and _LATIN_LOOKALIKE_SET.issuperset(letters):", "if False:", (imitation_test,)),
        Mutant("warnings: through invisible characters and full width", CONFUSABLES, "unicodedata.normalize(\n        \"NFKC\", \"\".join(character for character in text if character not in INVISIBLE_CHARACTERS)\n    )", "text", (honest,)),
    ]  # fmt: skip
