"""Store the versions of an export with their ids, numbers, statuses and decisions.

A line of a history is one version of a memory: it is stored after the versions before it, or before those that are
already stored, and is compared with the version that is stored under its number. Any other line is the current state of
a memory. An import does not activate memories that are retired, quarantined or erased here, unless a history continues
from its own versions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.models import Source
from memoryhub.firewall.principal import Principal
from memoryhub.memories import clock
from memoryhub.memories.writes import rejected_values
from memoryhub.memories.writes.envelope import MemoryDraft, OperationRejectedError
from memoryhub.memories.writes.exported import ExportFields
from memoryhub.memories.writes.identity import (
    Classification,
    NewVersion,
    OnConflict,
    StoredVersion,
    check_actor,
    check_clearance,
    payload_id_conflict,
    reject_hidden_overwrite,
    with_classification,
)
from memoryhub.memories.writes.stored_versions import (
    AssertedVersion,
    StoredMemory,
    find_stored_memories,
    get_export_fields,
)
from memoryhub.memories.writes.versions import add_versions, write_transaction
from memoryhub.memories.writes.write import (
    WriteOutcome,
    WriteReceipt,
    audit_writes,
    build_receipt,
    build_rejection_receipt,
    split_into_distinct_batches,
)

STATUSES_BY_VISIBILITY = ("erased", "quarantined", "retired", "active")
"""The statuses, from the one in which a memory is least visible to the active one."""


@dataclass(slots=True)
class ImportProgress:
    """The state of one import over all of its batches."""

    decision_ids: set[UUID] = field(default_factory=set)
    """Decisions that the exporting hub knew: an active value stays active in spite of them."""
    diverged_ids: set[UUID] = field(default_factory=set)
    """Memories of which a version is stored here with other content."""
    verified_versions: dict[UUID, int] = field(default_factory=dict)
    """The last version that is stored here as in the file, of memories that are not active."""

    def mark_verified(self, version: StoredVersion | NewVersion, status: str) -> None:
        self.verified_versions.pop(version.memory_id, None)
        if status != "active":
            self.verified_versions[version.memory_id] = version.version


def restore_drafts(
    drafts: Sequence[MemoryDraft], *, principal: Principal, on_conflict: OnConflict, progress: ImportProgress
) -> list[WriteReceipt]:
    """Store exported drafts in one transaction; return a receipt for each, in order, after COMMIT."""
    sources = {draft.source for draft in drafts}
    with write_transaction(None if principal.is_operator else sources):
        clearances = dict.fromkeys(sources, principal.clearance) | Source.objects.get_clearances(sources)
        receipts: dict[int, WriteReceipt] = {}
        for batch in split_into_distinct_batches(drafts):
            receipts |= _restore_batch(batch, _ImportContext(principal, clearances, on_conflict, progress))
        ordered_receipts = [receipts[position] for position in range(len(drafts))]
        if any(receipt.outcome is WriteOutcome.CREATED for receipt in ordered_receipts):
            Source.objects.create_missing(sources, principal.clearance)
        audit_writes(ordered_receipts, principal, "")
    return ordered_receipts


@dataclass(frozen=True, slots=True)
class _ImportContext:
    principal: Principal
    clearances: Mapping[str, Clearance]
    on_conflict: OnConflict
    progress: ImportProgress


def _restore_batch(batch: Mapping[int, MemoryDraft], context: _ImportContext) -> dict[int, WriteReceipt]:
    clock.next_record_time()
    receipts: dict[int, WriteReceipt] = {}
    new_versions: dict[int, NewVersion] = {}
    for (position, draft), stored_memory in zip(
        batch.items(), _find_stored_memories(list(batch.values()), context), strict=True
    ):
        try:
            version = _next_version(draft, stored_memory, context)
        except OperationRejectedError as rejection:
            receipts[position] = build_rejection_receipt(draft.envelope.payload_id, rejection)
            continue
        if version is not None:
            new_versions[position] = version
        elif stored_memory.current is not None:
            receipts[position] = build_receipt(draft, WriteOutcome.DUPLICATE, stored_memory.current.memory_id)
    _retire_rejected(new_versions, context)
    for position, version in new_versions.items():
        outcome = WriteOutcome.UPDATED if version.replaces else WriteOutcome.CREATED
        receipts[position] = build_receipt(version.sent_draft, outcome, version.memory_id, version.decision_id)
    add_versions(list(new_versions.values()))
    return receipts


def _retire_rejected(new_versions: dict[int, NewVersion], context: _ImportContext) -> None:
    """Retire versions that would be active but were rejected here, by a decision that the export does not know."""
    progress = context.progress
    progress.decision_ids |= {version.decision_id for version in new_versions.values() if version.decision_id}
    active_versions = {
        position: version
        for position, version in new_versions.items()
        if version.status == "active" and not version.is_superseded
    }
    if active_versions:
        decision_ids = rejected_values.find_rejecting_decisions(
            [version.sent_draft for version in active_versions.values()], context.principal.clearance
        )
        for (position, version), decision_id in zip(active_versions.items(), decision_ids, strict=True):
            if decision_id and decision_id not in progress.decision_ids:
                new_versions[position] = replace(version, status="retired", decision_id=decision_id)
    for version in new_versions.values():
        is_from_file = version.replaces is None or get_export_fields(version.draft).is_history_version
        if is_from_file and not version.is_superseded and version.status == _export_status(version.draft):
            progress.mark_verified(version, version.status)


def _next_version(draft: MemoryDraft, stored_memory: StoredMemory, context: _ImportContext) -> NewVersion | None:
    """Return the version that a line adds; None if it adds nothing.

    Raises OperationRejectedError, `payload_id_conflict` and the like.
    """
    export_fields = get_export_fields(draft)
    if stored_memory.current is None:
        if stored_memory.is_id_taken:
            raise payload_id_conflict("has the memory_id of another memory.")
        return _first_version(draft, context)
    if export_fields.is_history_version and context.principal.is_operator:
        return _history_version(draft, stored_memory, stored_memory.current, context)
    return _snapshot_version(draft, stored_memory, stored_memory.current, context)


def _first_version(draft: MemoryDraft, context: _ImportContext) -> NewVersion:
    check_clearance(draft, context.principal, context.clearances[draft.source])
    check_actor(draft, context.principal)
    export_fields = get_export_fields(draft)
    is_operator = context.principal.is_operator
    last_sent = _last_sent(draft) if is_operator else Classification.from_row(draft)
    return NewVersion(
        draft=draft,
        sent_draft=with_classification(draft, last_sent),
        memory_id=(is_operator and export_fields.memory_id) or uuid4(),
        version=(is_operator and export_fields.version) or 1,
        status=_export_status(draft),
        last_sent=last_sent,
        exceeds_source_clearance=_exceeds_source_clearance(draft, context),
        asserted_at=export_fields.asserted_at if is_operator else None,
        **(_decision_fields(export_fields) if is_operator else {}),
    )


def _history_version(
    draft: MemoryDraft, stored_memory: StoredMemory, current: AssertedVersion, context: _ImportContext
) -> NewVersion | None:
    export_fields, stored_version, progress = (
        get_export_fields(draft),
        stored_memory.same_or_next_version,
        context.progress,
    )
    if export_fields.memory_id != current.memory_id:
        raise payload_id_conflict("is stored as another memory: its memory_id is another one.")
    if current.memory_id in progress.diverged_ids:
        raise payload_id_conflict("belongs to a history of which an earlier version is stored with other content.")
    if stored_version is None:
        return _appended_version(draft, current, context)
    if stored_version.version != export_fields.version:
        _reject_reviving(draft, current)
        return replace(
            _following_version(draft, current, asserted_like=stored_version), replaces=None, is_superseded=True
        )
    if not _is_same_version(draft, stored_version):
        progress.diverged_ids.add(current.memory_id)
        raise payload_id_conflict(f"is stored with other content as version {stored_version.version}.")
    progress.mark_verified(stored_version, stored_version.status)
    return None


def _appended_version(draft: MemoryDraft, current: AssertedVersion, context: _ImportContext) -> NewVersion:
    continues_history = (
        context.progress.verified_versions.get(current.memory_id) == current.version and current.status != "erased"
    )
    if not (
        continues_history
        or STATUSES_BY_VISIBILITY.index(_export_status(draft)) <= STATUSES_BY_VISIBILITY.index(current.status)
    ):
        raise payload_id_conflict(f"is {current.status} here, and an import does not bring it back.")
    _reject_erasing(draft, current)
    if _exceeds_source_clearance(draft, context):
        reject_hidden_overwrite(draft, current)
    return _following_version(draft, current, asserted_like=current)


def _snapshot_version(
    draft: MemoryDraft, stored_memory: StoredMemory, current: AssertedVersion, context: _ImportContext
) -> NewVersion | None:
    export_fields = get_export_fields(draft)
    is_same_memory = export_fields.memory_id == current.memory_id
    same_number_version = stored_memory.same_or_next_version
    rows = [current]
    if is_same_memory and same_number_version is not None and same_number_version.version == export_fields.version:
        rows.append(same_number_version)
    if any(_is_same_version(draft, row) for row in rows):
        return None
    if context.on_conflict is OnConflict.REFUSE or not context.principal.is_operator:
        raise payload_id_conflict("is stored with other content, or another classification or status.")
    _reject_reviving(draft, current)
    _reject_erasing(draft, current)
    if _exceeds_source_clearance(draft, context):
        reject_hidden_overwrite(draft, current)
    is_newer = is_same_memory and export_fields.version is not None and export_fields.version > current.version
    least_visible_status = min((_export_status(draft), current.status), key=STATUSES_BY_VISIBILITY.index)
    return replace(
        _following_version(draft, current, asserted_like=current),
        version=export_fields.version if is_newer and export_fields.version else current.version + 1,
        status=least_visible_status,
        decision_id=export_fields.decision_id if least_visible_status == export_fields.status else None,
    )


def _following_version(draft: MemoryDraft, current: AssertedVersion, *, asserted_like: AssertedVersion) -> NewVersion:
    """Return the version of the stored memory that an operator's line describes."""
    export_fields, last_sent = get_export_fields(draft), _last_sent(draft, current)
    # A version that only reclassifies or retires keeps the position of the value that it repeats.
    is_repetition = export_fields.asserted_at == asserted_like.asserted_at
    return NewVersion(
        draft=draft,
        sent_draft=with_classification(draft, last_sent),
        memory_id=current.memory_id,
        version=export_fields.version or current.version + 1,
        replaces=current,
        status=_export_status(draft),
        last_sent=last_sent,
        exceeds_source_clearance=current.exceeds_source_clearance,
        asserted_at=export_fields.asserted_at,
        asserted_version_id=asserted_like.asserted_version_id if is_repetition else None,
        **_decision_fields(export_fields),
    )


def _decision_fields(export_fields: ExportFields) -> dict[str, Any]:
    """Return the fields of a line about the decision that set its version's status."""
    return {
        "decision_id": export_fields.decision_id,
        "is_spelling_rejection": export_fields.is_spelling_rejection,
        "decision_exceeds_source": export_fields.decision_exceeds_source,
    }


def _reject_reviving(draft: MemoryDraft, current: StoredVersion) -> None:
    if current.status == "erased" and _export_status(draft) != "erased":
        raise payload_id_conflict("was erased here, and an import does not bring it back.")


def _reject_erasing(draft: MemoryDraft, current: StoredVersion) -> None:
    if _export_status(draft) == "erased" and current.status != "erased":
        raise payload_id_conflict("was erased where the export was made, and not here.")


def _is_same_version(draft: MemoryDraft, row: AssertedVersion) -> bool:
    """Whether a line and a stored version hold the same."""
    export_fields = get_export_fields(draft)
    if export_fields.status not in (None, row.status):
        return False
    if row.status == "erased":
        return export_fields.status == "erased"
    # The fingerprint of a row is that of what its source sent, however the row was reclassified since.
    sent_draft = with_classification(draft, _last_sent(draft, row))
    return row.fingerprint == sent_draft.fingerprint and row.is_classified_as(draft)


def _last_sent(draft: MemoryDraft, row: StoredVersion | None = None) -> Classification:
    """Return what the source last sent: from the line, else as stored, else the classification of the line."""
    export_fields, fallback = get_export_fields(draft), row.last_sent if row else Classification.from_row(draft)
    tier, labels = export_fields.sent_tier, export_fields.sent_labels
    return Classification(
        namespace=fallback.namespace if export_fields.sent_namespace is None else export_fields.sent_namespace,
        classification_tier=fallback.classification_tier if tier is None else tier,
        sensitivity_labels=fallback.sensitivity_labels if labels is None else tuple(labels),
    )


def _exceeds_source_clearance(draft: MemoryDraft, context: _ImportContext) -> bool:
    return context.principal.is_operator and (
        get_export_fields(draft).exceeds_source_clearance
        or not context.clearances[draft.source].permits(_last_sent(draft))
    )


def _export_status(draft: MemoryDraft) -> str:
    return get_export_fields(draft).status or "active"


def _find_stored_memories(drafts: Sequence[MemoryDraft], context: _ImportContext) -> list[StoredMemory]:
    exceeds_source_clearance = [_exceeds_source_clearance(draft, context) for draft in drafts]
    return find_stored_memories(drafts, exceeds_source_clearance, by_memory_id=context.principal.is_operator)
