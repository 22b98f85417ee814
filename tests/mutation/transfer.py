"""Exports and imports, broken: what is put in place of what, and the tests that must notice."""

from tests.mutation.mutant import Mutant

RESTORE = "memoryhub/memories/writes/restore.py"
IDENTITY = "memoryhub/memories/writes/identity.py"
JSONL_EXPORT = "memoryhub/transfer/jsonl_export.py"
JSONL_IMPORT = "memoryhub/transfer/jsonl_import.py"
LINE_FILES = "memoryhub/transfer/line_files.py"
CONFLICT_RECORDS = "memoryhub/transfer/conflict_records.py"
DECISIONS = "memoryhub/conflicts/decisions/querysets.py"
TAKEOVER_TESTS = "tests/transfer/test_takeover.py"
IMPORT_REFUSAL_TESTS = "tests/transfer/test_import_refusals.py"
TRANSFER_FILE_TESTS = "tests/transfer/test_transfer_files.py"


def _transfer_mutant(name: str, file: str, old: str, new: str, test: str) -> Mutant:
    return Mutant(f"transfer: {name}", file, old, new, (test,))


_TAKEOVER_TEST = f"{TAKEOVER_TESTS}::test_a_hub_that_took_over_an_export_answers_as_the_old_one"
_REVIVAL_TEST = f"{IMPORT_REFUSAL_TESTS}::test_an_import_brings_nothing_back_into_force"
_DIVERGENCE_TEST = f"{IMPORT_REFUSAL_TESTS}::test_a_history_with_other_content_or_of_another_memory_is_a_conflict_and_nothing_of_it_is_stored"
_WRITERS_TEST = f"{TAKEOVER_TESTS}::test_a_hub_that_took_over_an_export_answers_writers_as_the_old_one"
_READERS_TEST = f"{TRANSFER_FILE_TESTS}::test_a_readers_export_has_neither_what_a_source_sent_nor_decisions_that_the_reader_may_not_see"
_COMPARISON_TEST = (
    f"{IMPORT_REFUSAL_TESTS}::test_decisions_and_policies_are_compared_and_imported_by_the_operator_alone"
)
_REJECTION_TEST = (
    f"{IMPORT_REFUSAL_TESTS}::test_a_value_that_was_rejected_here_comes_in_as_retired_whatever_the_export_says"
)
_STATUS_RIGHTS_TEST = f"{IMPORT_REFUSAL_TESTS}::test_statuses_are_for_the_operator_and_for_those_who_judge_memories"
_EARLIER_INSTANT_TEST = (
    f"{TAKEOVER_TESTS}::test_an_answer_about_an_earlier_instant_of_record_time_does_not_change_by_an_import"
)

MUTANTS = [
    _transfer_mutant("any line activates", RESTORE, "if not (\n        continues_history\n        or STATUSES_BY_VISIBILITY.index(_export_status(draft)) <= STATUSES_BY_VISIBILITY.index(current.status)\n    ):", "if False:", _REVIVAL_TEST),
    _transfer_mutant("an update activates", RESTORE, "least_visible_status = min((_export_status(draft), current.status), key=STATUSES_BY_VISIBILITY.index)", "least_visible_status = _export_status(draft)", _REVIVAL_TEST),
    _transfer_mutant("a bare update activates", IDENTITY, "sent_draft=sent_draft, status=stored_version.status)", "sent_draft=sent_draft, status=\"active\")", _REVIVAL_TEST),
    _transfer_mutant("a bare update brings back what was erased", IDENTITY, "if stored_version.status == \"erased\":", "if False:", _REVIVAL_TEST),
    _transfer_mutant("a value that was rejected comes in", RESTORE, "if decision_id and decision_id not in progress.decision_ids:", "if False:", _REJECTION_TEST),
    _transfer_mutant("the export's own rejections count twice", RESTORE, "if decision_id and decision_id not in progress.decision_ids:", "if decision_id:", _TAKEOVER_TEST),
    _transfer_mutant("versions are compared by number alone", RESTORE, "    if not _is_same_version(draft, stored_version):", "    if False:", _DIVERGENCE_TEST),
    _transfer_mutant("a history of another memory", RESTORE, "if export_fields.memory_id != current.memory_id:", "if False:", _DIVERGENCE_TEST),
    _transfer_mutant("a history goes on from what differs", RESTORE, "if current.memory_id in progress.diverged_ids:", "if False:", _DIVERGENCE_TEST),
    _transfer_mutant("earlier versions are in force", RESTORE, "replaces=None, is_superseded=True\n        )", "is_superseded=False)", _TAKEOVER_TEST),
    _transfer_mutant("a repeated value is a new one", RESTORE, "asserted_version_id=asserted_like.asserted_version_id if is_repetition else None,", "asserted_version_id=None,", _TAKEOVER_TEST),
    _transfer_mutant("the order is that of the import", RESTORE, "        asserted_at=export_fields.asserted_at if is_operator else None,\n", "", _TAKEOVER_TEST),
    _transfer_mutant("what a source sent is lost", RESTORE, "last_sent = _last_sent(draft) if is_operator else Classification.from_row(draft)", "last_sent = Classification.from_row(draft)", _WRITERS_TEST),
    _transfer_mutant("a status for anybody", JSONL_IMPORT, "not import_context.principal.has_scope(Scope.CURATE)", "False", _STATUS_RIGHTS_TEST),
    _transfer_mutant("an export of what is active", JSONL_EXPORT, "return memories.active() if self.is_active_only else memories", 'return memories.filter(status="active")', f"{TRANSFER_FILE_TESTS}::test_an_export_is_full_and_says_what_an_option_leaves_out"),
    _transfer_mutant("what a source sent, for any reader", JSONL_EXPORT, "if is_redundant or (memory_field.is_operator_only and not is_unrestricted):", "if is_redundant:", _READERS_TEST),
    _transfer_mutant("decisions that a reader may not see", JSONL_EXPORT, "if line[\"decision_id\"] not in self.visible_decision_ids:", 'if line["decision_id"] is None:', _READERS_TEST),
    _transfer_mutant("decisions in an import of anybody", CONFLICT_RECORDS, "if not principal.is_operator:", "if False:", _COMPARISON_TEST),
    _transfer_mutant("decisions about other memories", CONFLICT_RECORDS, "if None in local_ids.values():", "if False:", _COMPARISON_TEST),
    _transfer_mutant("decisions are known before they came", DECISIONS, "Q(recorded_at__lte=record_time)", "Q(decided_at__lte=record_time)", _EARLIER_INSTANT_TEST),
    _transfer_mutant("a damaged archive is not read", LINE_FILES, "except (OSError, EOFError, zlib.error) as error:\n            self.read_error", "except ZeroDivisionError as error:\n            self.read_error", f"{TRANSFER_FILE_TESTS}::TestFiles"),
]  # fmt: skip
