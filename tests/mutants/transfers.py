"""Exports and imports, broken: what is put in place of what, and the tests that must notice."""

from tests.mutants.mutant import Mutant

RESTORE = "memoryhub/memories/restore.py"
IDENTITY = "memoryhub/memories/identity.py"
EXPORTING = "memoryhub/ops/exporting.py"
IMPORTING = "memoryhub/ops/importing.py"
LINE_FILES = "memoryhub/ops/line_files.py"
TRANSFER = "memoryhub/conflicts/transfer.py"
DECISIONS = "memoryhub/conflicts/querysets.py"
TESTS = "tests/ops/test_transfer.py"


def _mutant(name: str, file: str, old: str, new: str, test: str) -> Mutant:
    return Mutant(f"transfer: {name}", file, old, new, (f"{TESTS}::{test}",))


_TAKEN_OVER = "test_a_hub_that_took_over_an_export_answers_as_the_old_one"
_REVIVED = "test_an_import_brings_nothing_back_into_force"
_DIVERGED = "test_a_history_with_other_content_or_of_another_memory_is_a_conflict_and_nothing_of_it_is_stored"
_WRITERS = "test_a_hub_that_took_over_an_export_answers_writers_as_the_old_one"
_READERS = "test_a_readers_export_tells_neither_what_a_source_sent_nor_decisions_that_the_reader_may_not_see"
_COMPARED = "test_decisions_and_policies_are_compared_and_imported_by_the_operator_alone"
_REJECTED = "test_a_value_that_was_rejected_here_comes_in_as_retired_whatever_the_export_says"
_PERSONS = "test_statuses_are_for_the_operator_and_for_those_who_judge_memories"
_INSTANT = "test_an_answer_about_an_earlier_instant_of_record_time_does_not_change_by_an_import"

MUTANTS = [
    _mutant("any line activates", RESTORE, "if not (goes_on or OPENNESS.index(_status(made)) <= OPENNESS.index(current.status)):", "if False:", _REVIVED),
    _mutant("an update activates", RESTORE, "least = min((_status(made), current.status), key=OPENNESS.index)", "least = _status(made)", _REVIVED),
    _mutant("a bare update activates", IDENTITY, "written=written, status=stored.status)", 'written=written, status="active")', _REVIVED),
    _mutant("a bare update brings back what was erased", IDENTITY, 'if stored.status == "erased":', "if False:", _REVIVED),
    _mutant("a value that was rejected comes in", RESTORE, "if decision and decision not in progress.decisions:", "if False:", _REJECTED),
    _mutant("the export's own rejections count twice", RESTORE, "if decision and decision not in progress.decisions:", "if decision:", _TAKEN_OVER),
    _mutant("versions are compared by number alone", RESTORE, "    if not _is_same(made, stored):", "    if False:", _DIVERGED),
    _mutant("a history of another memory", RESTORE, "if exported.memory_id != current.memory_id:", "if False:", _DIVERGED),
    _mutant("a history goes on from what differs", RESTORE, "if current.memory_id in progress.diverged:", "if False:", _DIVERGED),
    _mutant("earlier versions are in force", RESTORE, "replaces=None, is_superseded=True)", "is_superseded=False)", _TAKEN_OVER),
    _mutant("a repeated value is a new one", RESTORE, "said_id=said_like.said_id if repeats else None,", "said_id=None,", _TAKEN_OVER),
    _mutant("the order is that of the import", RESTORE, "        said_at=exported.said_at if is_operator else None,\n", "", _TAKEN_OVER),
    _mutant("what a source sent is lost", RESTORE, "last_sent = _last_sent(made) if is_operator else Classification.of(made)", "last_sent = Classification.of(made)", _WRITERS),
    _mutant("a status for anybody", IMPORTING, "not run.by.may(Scope.INSPECT)", "False", _PERSONS),
    _mutant("an export of what is active", EXPORTING, 'return found.active() if self.active_only else found', 'return found.filter(status="active")', "test_an_export_is_full_and_says_what_an_option_leaves_out"),
    _mutant("what a source sent, for any reader", EXPORTING, "if not is_operators or line[name] == line[other]:", "if line[name] == line[other]:", _READERS),
    _mutant("decisions that a reader may not see", EXPORTING, 'if line["decision"] not in self.seen_decisions:', 'if line["decision"] is None:', _READERS),
    _mutant("decisions in an import of anybody", TRANSFER, "if not by.is_operator:", "if False:", _COMPARED),
    _mutant("decisions about other memories", TRANSFER, "if None in own_ids.values():", "if False:", _COMPARED),
    _mutant("decisions are known before they came", DECISIONS, "Q(recorded_at__lte=moment)", "Q(at__lte=moment)", _INSTANT),
    _mutant("a damaged archive is not read", LINE_FILES, "except (OSError, EOFError, zlib.error) as error:\n            self.damage", "except ZeroDivisionError as error:\n            self.damage", "TestFiles"),
]  # fmt: skip
