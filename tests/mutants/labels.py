"""The form in which labels are compared, broken."""

from tests.mutants.mutant import Mutant

CORE_TEXT = "memoryhub/core/text.py"
SCRIPTS = "memoryhub/core/scripts.py"
LABEL_KEYS = "memoryhub/memories/migrations/0013_label_keys.py"
DECISION_LABEL_KEYS = "memoryhub/conflicts/migrations/0006_label_keys.py"
INGEST = "memoryhub/memories/ingest.py"
RELABEL = "memoryhub/memories/relabel.py"
API_LABELS = "memoryhub/api/labels.py"
PARITY = "tests/firewall/test_parity.py"
EDGES = f"{PARITY}::test_a_rule_at_its_edge"


def label_mutants() -> list[Mutant]:
    """How labels are compared, and what becomes of those that are stored."""
    spellings = ("tests/firewall/test_labels.py::test_a_blocked_label_is_not_evaded", EDGES)
    unseen = "tests/firewall/test_labels.py::test_a_label_that_cannot_be_seen_is_refused"
    clearances = "tests/firewall/test_administration.py"
    warned = "tests/firewall/test_labels.py::TestWarnings"
    imitating = "tests/core/test_scripts.py::test_letters_that_imitate_others_are_found"
    honest = "tests/core/test_scripts.py::test_honest_labels_are_not"
    stored = "tests/memories/test_label_migration.py"
    again = "tests/memories/test_migrations.py::test_a_hub_that_went_back_and_forward_takes_memories_again"
    longest = "tests/firewall/test_labels.py::test_the_longest_label_is_stored_and_hidden_from_whom_it_is_blocked"

    def compared(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"comparison_key: {name}", CORE_TEXT, old, new, tests or spellings)

    def migrated(name: str, file: str, old: str, new: str) -> Mutant:
        return Mutant(f"migrated labels: {name}", file, old, new, (stored,))

    return [
        compared("invisible characters stay", "text.translate(_REMOVE_INVISIBLE)", "text"),
        compared("invisible characters go too late", 'unicodedata.normalize("NFKC", text.translate(_REMOVE_INVISIBLE))', 'unicodedata.normalize("NFKC", text).translate(_REMOVE_INVISIBLE)', "tests/core/test_text.py::test_an_invisible_character_makes_no_difference_anywhere"),
        compared("compatibility forms stay", 'composed = unicodedata.normalize("NFKC"', 'composed = unicodedata.normalize("NFC"'),
        compared("what casefold decomposes stays", 'unicodedata.normalize("NFKC", composed.casefold())', "composed.casefold()", "tests/core/test_text.py::test_the_key_of_every_character_is_its_own_key", "tests/core/test_text.py::test_a_key_is_its_own_key"),
        compared("case matters", "composed.casefold()", "composed"),
        compared("lower instead of casefold", "composed.casefold()", "composed.lower()", EDGES),
        compared("every hyphen is its own", 'dict.fromkeys(map(ord, HYPHENS), "-")', "{}"),
        compared("a Braille blank is a letter", ', ord(BLANK): " "}', "}"),
        compared("white space is not trimmed", '" ".join(folded.translate(_UNIFY).split())', '__import__("re").sub(r"\\s+", " ", folded.translate(_UNIFY))'),
        compared("white space is not collapsed", '" ".join(folded.translate(_UNIFY).split())', "folded.translate(_UNIFY).strip()"),
        compared("a long one is not cut", "if len(encoded) <= MAX_KEY_BYTES:", "if True:", longest),
        compared("a long one is cut without its digest", ' sha256:{hashlib.sha256(encoded).hexdigest()}"', '"', "tests/core/test_text.py::test_a_long_key_is_cut_so_that_it_can_be_stored_and_stays_one_of_its_own"),
        Mutant("labels: one that cannot be seen is written", "memoryhub/memories/envelope.py", "if value and not label_key(value):", "if False:", (unseen,)),
        Mutant("labels: one that cannot be seen is added", RELABEL, "add_labels: NewLabels", "add_labels: Labels", (unseen,)),
        Mutant("labels: one that cannot be seen is blocked", "inspector/admin.py", "if not all(map(label_key, labels)):", "if False:", (clearances,)),
        Mutant("warnings: none in the receipt", INGEST, "replace(receipt, warnings=warnings) if warnings else receipt", "receipt", (warned,)),
        Mutant("warnings: none to who adds a label", API_LABELS, 'return {"warnings": asked.warnings} if asked.warnings else {}', "return {}", (warned,)),
        Mutant("warnings: none on the page", "inspector/views/labels.py", "messages.warning(request, sentence)", "pass", ("tests/inspector/test_labels.py",)),
        Mutant("warnings: scripts may mix", SCRIPTS, "if len(scripts) > 1 and", "if False and", (imitating,)),
        Mutant("warnings: scripts that are written together may not", SCRIPTS, "and not any(scripts <= together for together in _WRITTEN_TOGETHER)", "", (honest,)),
        Mutant("warnings: whole words in lookalikes", SCRIPTS, "if letters and _LOOKALIKES.issuperset(letters):", "if False:", (imitating,)),
        Mutant("warnings: through invisible characters and full width", SCRIPTS, 'unicodedata.normalize("NFKC", "".join(character for character in text if character not in INVISIBLE))', "text", (honest,)),
        migrated("memories stay", LABEL_KEYS, "cursor.execute(CHANGE, [json", "len([json"),
        migrated("all memories are touched", LABEL_KEYS, "for row, before, after in compared if before != after", "for row, before, after in compared"),
        migrated("tallies stay", LABEL_KEYS, "merge_tallies(cursor, moved)\n        for", "for"),
        migrated("tallies replace one another", LABEL_KEYS, "count = t.count + excluded.count", "count = excluded.count"),
        Mutant("migrated labels: memories may be changed from then on", LABEL_KEYS, "ALTER TABLE memories ENABLE TRIGGER USER", "SELECT 1", (again,)),
        migrated("decisions are seen by the owner from then on", DECISION_LABEL_KEYS, "TABLE decisions FORCE ROW", "TABLE decisions NO FORCE ROW"),
        migrated("the owner sees everything from then on", LABEL_KEYS, "{table} FORCE ROW LEVEL SECURITY", "{table} NO FORCE ROW LEVEL SECURITY  "),
        migrated("clearances are spelled as before for old code", LABEL_KEYS, 'if "clearances" not in', 'if "clearances" in'),
        migrated("decisions stay", DECISION_LABEL_KEYS, "        change_decisions(cursor)\n", ""),
        migrated("policy runs stay", DECISION_LABEL_KEYS, "if (after := list(map(keys, reach))) != reach:", "if (after := reach) is None:"),
    ]  # fmt: skip
