"""Import of memories from JSON lines: streamed, with the rules of the API, each line under its own source.

A line without a tier gets the lowest tier, a line without an actor type the actor type `system`, a line without a time
the time of the import. All three are recorded as defaulted, like every other field that a line leaves empty. A line of
an export also restores what its hub knew of a memory: id, version, status, decision, and the classification that its
source sent.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby, islice
from typing import Any

from django.db import DatabaseError

from memoryhub.core.errors import classify_error
from memoryhub.core.strict_json import InvalidJsonError, decode_json
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.fields import FIELDS
from memoryhub.memories.models import MAX_LABELS
from memoryhub.memories.writes import exported, write
from memoryhub.memories.writes.envelope import MemoryDraft, OperationRejectedError, complete_draft, parse_envelope
from memoryhub.memories.writes.identity import CONTENT_CONFLICT_MESSAGE, Classification, OnConflict, with_classification
from memoryhub.memories.writes.restore import ImportProgress, restore_drafts
from memoryhub.memories.writes.write import WriteOutcome, WriteReceipt
from memoryhub.transfer import conflict_lines, conflict_records, line_files
from memoryhub.transfer.line_files import Line, LineFile, LineReader

BATCH_SIZE = 2_000
MAX_REPORTED = 50
"""Lines that were not stored and that a report lists one by one; their reasons are counted over all lines."""
MAX_REASONS = 1_000
_TIME_FIELDS = [field.name for field in FIELDS if field.is_sent and field.column_type == "timestamptz"]
_NANOSECOND_TIMESTAMP = re.compile(r"(.*[0-9]\.[0-9]{6})[0-9]{1,6}([Zz]|[+-][0-9:]{5})", re.ASCII)
_LINE_SPECIFIC_TEXT = re.compile(r"'[^']*'| at line \d+, column \d+|[0-9][0-9,]*")

IMPORT_PRINCIPAL = Principal(
    name="system:import",
    scopes=frozenset({Scope.ADMIN}),
    clearance=unrestricted_clearance(),
    actor_type="system",
    is_operator=True,
)


@dataclass(slots=True)
class ImportReport:
    """The result of an import; `failures` holds the first lines that were not stored, with the reason."""

    line_count: int = 0
    outcome_counts: dict[WriteOutcome, int] = field(default_factory=lambda: dict.fromkeys(WriteOutcome, 0))
    failures: list[tuple[int, str]] = field(default_factory=list)
    reason_counts: Counter[str] = field(default_factory=Counter)
    """Number of lines that were not stored, by reason without its line-specific parts."""
    truncated_time_count: int = 0
    """Number of times that were finer than a microsecond and have been truncated."""
    read_error: str = ""
    """Why the file could not be read to its end."""
    database_error: str = ""
    """The error that ended the import; the batches before it remain stored."""

    @property
    def failure_count(self) -> int:
        return self.outcome_counts[WriteOutcome.REJECTED] + self.outcome_counts[WriteOutcome.CONFLICT]

    def add_failure(self, line: int, outcome: WriteOutcome, reason: str) -> None:
        self.outcome_counts[outcome] += 1
        generic_reason = _LINE_SPECIFIC_TEXT.sub("…", reason)
        # Limited, so that a hostile file cannot produce a reason for each of its lines.
        self.reason_counts[
            generic_reason
            if generic_reason in self.reason_counts or len(self.reason_counts) < MAX_REASONS
            else "other reasons"
        ] += 1
        if len(self.failures) < MAX_REPORTED:
            self.failures.append((line, reason))


def import_lines(
    lines: LineReader | LineFile,
    *,
    principal: Principal = IMPORT_PRINCIPAL,
    on_conflict: OnConflict = OnConflict.REFUSE,
    report_progress: Callable[[ImportReport], None] | None = None,
) -> ImportReport:
    """Store every valid line, one batch per transaction. Repeat an interrupted import to add the missing lines.

    A status is restored with the scope `curate`, the other fields of an export for the operator only.
    """
    file = lines if isinstance(lines, LineFile) else LineFile(lines)
    report = ImportReport()
    import_context = _ImportContext(principal=principal, on_conflict=on_conflict, imported_at=datetime.now(UTC))
    # While the database stores one batch, a thread reads and validates the next one.
    with ThreadPoolExecutor(1) as executor:
        next_batch = executor.submit(_read_batch, numbered_lines := file.iter_lines(), import_context)
        while (batch := next_batch.result()).last_line_number:
            next_batch = executor.submit(_read_batch, numbered_lines, import_context)
            try:
                _store_batch(batch, report, import_context)
            except DatabaseError as error:
                report.database_error = classify_error(error).detail
                return report
            if report_progress:
                report_progress(report)
    report.read_error = file.read_error
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _ImportContext:
    principal: Principal
    on_conflict: OnConflict
    imported_at: datetime
    restore_progress: ImportProgress = field(default_factory=ImportProgress)


RestorableItem = MemoryDraft | conflict_lines.ExportItem


@dataclass(slots=True)
class _ImportBatch:
    last_line_number: int = 0
    """The number of the last line read; 0 if there was none."""
    items: list[tuple[int, RestorableItem]] = field(default_factory=list)
    rejections: list[tuple[int, str]] = field(default_factory=list)
    truncated_time_count: int = 0


def _read_batch(lines: Iterator[Line], import_context: _ImportContext) -> _ImportBatch:
    batch = _ImportBatch()
    for line in islice(lines, BATCH_SIZE):
        batch.last_line_number = line.last_line_number
        if not line.reason and not line.text.strip():
            continue
        try:
            document = _decode_line(line)
            batch.truncated_time_count += _truncate_times(document)
            batch.items.append((line.line_number, _parse_item(document, import_context)))
        except (InvalidJsonError, OperationRejectedError) as error:
            batch.rejections.append((line.line_number, str(error)))
    return batch


def _decode_line(line: Line) -> Any:
    if line.reason:
        raise InvalidJsonError("invalid_json", line.reason)
    if len(line.text) > line_files.MAX_LINE_BYTES:
        raise InvalidJsonError("too_large", f"is longer than {line_files.MAX_LINE_BYTES:,} bytes.")
    return decode_json(line.text)


def _truncate_times(document: Any) -> int:
    """Truncate the times of a line to microseconds, which is the hub's precision; returns how many were finer."""
    truncated_count = 0
    for name in _TIME_FIELDS if isinstance(document, dict) else ():
        if isinstance(document.get(name), str) and (match := _NANOSECOND_TIMESTAMP.fullmatch(document[name])):
            document[name] = "".join(match.groups())
            truncated_count += 1
    return truncated_count


def _store_batch(batch: _ImportBatch, report: ImportReport, import_context: _ImportContext) -> None:
    report.line_count = batch.last_line_number
    report.truncated_time_count += batch.truncated_time_count
    for line_number, reason in batch.rejections:
        report.add_failure(line_number, WriteOutcome.REJECTED, reason)
    for _, group in groupby(batch.items, key=lambda numbered: _item_kind(numbered[1])):
        numbered_items = list(group)
        receipts = _store_items([item for _, item in numbered_items], import_context)
        for (line_number, _), receipt in zip(numbered_items, receipts, strict=True):
            if receipt.errors:
                report.add_failure(line_number, receipt.outcome, _failure_reason(receipt))
            else:
                report.outcome_counts[receipt.outcome] += 1


def _item_kind(item: RestorableItem) -> str:
    if isinstance(item, MemoryDraft):
        return "memory" if item.export_fields is None else "exported memory"
    return item.type


def _store_items(items: Sequence[Any], import_context: _ImportContext) -> list[WriteReceipt]:
    """Store items of one kind; returns a receipt for each."""
    if not isinstance(items[0], MemoryDraft):
        return conflict_records.restore_items(items, principal=import_context.principal)
    if items[0].export_fields is None:
        return write.store_drafts(items, principal=import_context.principal, on_conflict=import_context.on_conflict)
    return restore_drafts(
        items,
        principal=import_context.principal,
        on_conflict=import_context.on_conflict,
        progress=import_context.restore_progress,
    )


def _failure_reason(receipt: WriteReceipt) -> str:
    if receipt.outcome is not WriteOutcome.CONFLICT or not receipt.payload_id:
        return str(OperationRejectedError(receipt.errors or {}))
    message = " ".join(sentence for sentences in (receipt.errors or {}).values() for sentence in sentences)
    message = message.replace(CONTENT_CONFLICT_MESSAGE, "is stored with other content.")
    return f"payload_id {receipt.payload_id!r} {message}"


def _parse_item(document: Any, import_context: _ImportContext) -> RestorableItem:
    """The draft or item in a line. Raises OperationRejectedError."""
    if not isinstance(document, dict):
        return write.prepare_draft_for_principal(
            document, principal=import_context.principal, now=import_context.imported_at
        )
    if "type" in document and "payload_id" not in document:
        item = conflict_lines.parse_item(document)
        if isinstance(item, conflict_lines.DecisionLine):
            import_context.restore_progress.decision_ids.add(item.decision_id)
        return item
    if exported.EXPORT_FIELD_NAMES.isdisjoint(document):
        return write.prepare_draft_for_principal(
            document, principal=import_context.principal, now=import_context.imported_at
        )
    return _restore_export_fields(document, import_context)


def _restore_export_fields(document: Mapping[str, Any], import_context: _ImportContext) -> MemoryDraft:
    export_fields = exported.parse_export_fields(
        {name: value for name, value in document.items() if name in exported.EXPORT_FIELD_NAMES}
    )
    if export_fields.status not in (None, "active") and not import_context.principal.has_scope(Scope.CURATE):
        raise OperationRejectedError({"status": ["needs the scope `curate`."]}, "scope_required")
    envelope = {name: value for name, value in document.items() if name not in exported.EXPORT_FIELD_NAMES}
    if export_fields.status == "erased":
        envelope.pop("content", None)
    prepared = _prepare_exported_memory(envelope, import_context, is_erased=export_fields.status == "erased")
    if export_fields.asserted_at and export_fields.asserted_at > import_context.imported_at:
        export_fields = export_fields.model_copy(update={"asserted_at": import_context.imported_at})
    return complete_draft(
        prepared.envelope,
        source=prepared.source,
        actor_type=prepared.actor_type,
        actor_id=prepared.actor_id,
        timestamp=prepared.timestamp,
        # The fields that the first writer did not give; the line has their default values.
        defaulted_fields=frozenset(
            prepared.defaulted_fields if export_fields.defaulted_fields is None else export_fields.defaulted_fields
        ),
        content_forms=prepared.content_forms,
        export_fields=export_fields,
    )


def _prepare_exported_memory(
    envelope: dict[str, Any], import_context: _ImportContext, *, is_erased: bool
) -> MemoryDraft:
    """The draft of an exported envelope, with up to 2 * MAX_LABELS labels, because others may have added some."""
    labels = envelope.get("sensitivity_labels")
    extra_labels = labels[MAX_LABELS : 2 * MAX_LABELS + 1] if isinstance(labels, list) else []
    if isinstance(labels, list) and extra_labels:
        envelope["sensitivity_labels"] = labels[:MAX_LABELS]
        parse_envelope({"payload_id": "labels", "content": "labels", "sensitivity_labels": extra_labels})
    prepared = write.prepare_draft_for_principal(
        envelope, principal=import_context.principal, now=import_context.imported_at, allow_partial=is_erased
    )
    if not extra_labels:
        return prepared
    classification = Classification(
        namespace=prepared.namespace,
        classification_tier=prepared.classification_tier,
        sensitivity_labels=(*prepared.sensitivity_labels, *extra_labels),
    )
    return with_classification(prepared, classification)
