"""Write memories.

Guarantee: a write is stored exactly once, however often and by however many connections it is sent, and success is
reported only after COMMIT.

Why the obvious way breaks it. "Look whether it exists, then insert" stores it twice when two senders look at the same
time. `INSERT … ON CONFLICT` stores it once, but cannot compare, merge and classify what is there. And a sender whose
connection breaks at COMMIT does not know the outcome: sent again, its write must not count as another one. So:

- A write is identified by (source, payload_id). The unique index `memories_identity` over the current rows allows one.
- A writer takes the lock of the record clock (`memories/clock.py`) before it reads the current versions on which it
  decides, and holds it until COMMIT. Only repeated writes, which change nothing, are answered without it.
- A version stores the fingerprint of the write that made it. The same write sent again is a success without a new row,
  even if the memory was reclassified since.
- A connection that is lost after COMMIT was sent raises CommitOutcomeUnknownError: the answer is 503 `outcome_unknown`,
  and to send the write again is safe.

Guarantee: a writer holds the record clock for about a megabyte at most, and computes nothing from texts meanwhile.

Why the obvious way breaks it. To mask and canonicalize a long text takes up to a second, and to index it half a second.
Done for a whole batch while the clock is locked, that stops the writes of all other sources. So the texts come first
(`core.values.ContentForms`), and a long batch is stored in several transactions.

Tests that notice: `tests/harness/test_exactly_once.py` (fifty senders at once over two workers, through a proxy that
breaks connections before and after COMMIT), `tests/memories/test_write_transactions.py` (the order of events).
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from memoryhub.audit.actions import AuditAction
from memoryhub.firewall import audit_events
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.models import Source
from memoryhub.firewall.principal import Principal
from memoryhub.memories import clock
from memoryhub.memories.writes import rejected_values
from memoryhub.memories.writes.envelope import (
    Errors,
    MemoryDraft,
    OperationRejectedError,
    find_label_warnings,
    prepare_draft,
)
from memoryhub.memories.writes.identity import (
    Identity,
    NewVersion,
    OnConflict,
    StoredVersion,
    check_actor,
    find_current_versions,
    next_version,
)
from memoryhub.memories.writes.merge import read_envelopes
from memoryhub.memories.writes.versions import add_versions, write_transaction


class WriteOutcome(StrEnum):
    CREATED = "created"
    DUPLICATE = "duplicate"
    UPDATED = "updated"
    CONFLICT = "conflict"
    REJECTED = "rejected"


_STORED_OUTCOMES = (WriteOutcome.CREATED, WriteOutcome.UPDATED)
MAX_TRANSACTION_BYTES = 2**20
"""Bytes of content, documents and labels that one transaction stores, unless one memory has more.

Other writers wait meanwhile: PostgreSQL takes about half a second to index a megabyte of content.
"""
EXPIRED_WARNING = "has passed: the memory is stored, but expired, and only listed with status=expired."


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteReceipt:
    """The outcome of one envelope. `code` and `errors` say why it was not stored.

    An update has no version number: that would reveal how many versions others have made of the memory.
    """

    payload_id: str | None
    outcome: WriteOutcome
    memory_id: uuid.UUID | None = None
    decision_id: uuid.UUID | None = None
    """The decision that had rejected this value, so that it was stored as retired."""
    is_expired: bool = False
    """Whether `expires_at` had passed on arrival. It depends on the written envelope and the clock alone."""
    code: str = ""
    errors: Errors | None = None
    warnings: Errors | None = None
    """Warnings about an accepted envelope, in the shape of errors."""

    @property
    def status(self) -> Literal["retired", "expired", ""]:
        """The status, as far as its writer may know it; empty if the memory is active."""
        return "retired" if self.decision_id else "expired" if self.is_expired else ""

    @property
    def version(self) -> int | None:
        """1 for a memory that was created, else None."""
        return 1 if self.outcome is WriteOutcome.CREATED else None


def prepare_draft_for_principal(
    raw: Any, *, principal: Principal, now: datetime | None = None, allow_partial: bool = False
) -> MemoryDraft:
    """Return the draft in `raw` that `principal` may send.

    Raises OperationRejectedError: `invalid_value` and the like for a bad envelope, `source_mismatch` for a source that
    `principal` may not write as, `actor_mismatch` for an actor that it may not write for.
    """
    source = (isinstance(raw, Mapping) and raw.get("source")) or principal.source or ""
    if isinstance(source, str) and not principal.may_write_as(source):
        raise OperationRejectedError({"source": ["is not the source of this key."]}, "source_mismatch")
    draft = prepare_draft(
        raw,
        source=principal.source,
        actor_type=principal.actor_type,
        actor_id=principal.actor_id,
        now=now or datetime.now(UTC),
        allow_partial=allow_partial,
    )
    check_actor(draft, principal)
    return draft


def write_memories(
    raw_memories: Sequence[Any],
    *,
    principal: Principal,
    on_conflict: OnConflict = OnConflict.REFUSE,
    now: datetime | None = None,
    request_id: str = "",
) -> list[WriteReceipt]:
    """Store the valid ones of `raw_memories`; return a receipt for each, in order, after COMMIT."""
    drafts: dict[int, MemoryDraft] = {}
    receipts: dict[int, WriteReceipt] = {}
    for position, raw in enumerate(raw_memories):
        try:
            drafts[position] = prepare_draft_for_principal(
                raw, principal=principal, now=now, allow_partial=on_conflict is OnConflict.UPDATE
            )
        except OperationRejectedError as rejection:
            receipts[position] = build_rejection_receipt(_safe_payload_id(raw), rejection)
    stored_receipts = store_drafts(
        list(drafts.values()), principal=principal, on_conflict=on_conflict, request_id=request_id
    )
    for (position, draft), receipt in zip(drafts.items(), stored_receipts, strict=True):
        warnings = find_label_warnings("sensitivity_labels", draft.sensitivity_labels)
        if receipt.is_expired:
            warnings = warnings | {"expires_at": [EXPIRED_WARNING]}
        receipts[position] = replace(receipt, warnings=warnings) if warnings else receipt
    return [receipts[position] for position in range(len(raw_memories))]


def store_drafts(
    drafts: Sequence[MemoryDraft],
    *,
    principal: Principal,
    on_conflict: OnConflict = OnConflict.REFUSE,
    request_id: str = "",
) -> list[WriteReceipt]:
    """Store `drafts`; return a receipt for each, in order.

    One transaction stores them, with one audit entry. If they have more than MAX_TRANSACTION_BYTES, several do, one
    after the other: if one fails, the earlier ones are committed, and to send all drafts again stores the rest.
    """
    receipts: list[WriteReceipt] = []
    while remaining_drafts := drafts[len(receipts) :]:
        receipts += _store_leading_drafts(remaining_drafts, on_conflict, principal, request_id)
    return receipts


def _store_leading_drafts(
    drafts: Sequence[MemoryDraft], on_conflict: OnConflict, principal: Principal, request_id: str
) -> list[WriteReceipt]:
    """Store as many of the first ones of `drafts` as one transaction may; return a receipt for each of these.

    Repeated writes are answered without a lock. All other writes wait for the record clock, which lets one writer at a
    time through until it has committed: rows that are read from then on are up to date, no write is lost or doubled.
    Whatever takes long and depends on a text alone is computed before (`MemoryDraft.content_forms`).
    """
    drafts = _take_leading_drafts(drafts, {})
    sources = {draft.source for draft in drafts}
    with write_transaction(sources):
        # A source that does not exist yet is created with the clearance of the principal that writes as it first.
        clearances = dict.fromkeys(sources, principal.clearance) | Source.objects.get_clearances(sources)
        stored_versions = find_current_versions(_identities(drafts), principal)
        if on_conflict is OnConflict.UPDATE:
            stored_bytes = {identity: version.stored_bytes for identity, version in stored_versions.items()}
            drafts = _take_leading_drafts(drafts, stored_bytes)
        if all(
            _is_repeated_write(draft, stored_versions.get(identity_of(draft)), principal, clearances[draft.source])
            for draft in drafts
        ):
            return [
                build_receipt(draft, WriteOutcome.DUPLICATE, stored_versions[identity_of(draft)].memory_id)
                for draft in drafts
            ]
        receipts: dict[int, WriteReceipt] = {}
        for batch in split_into_distinct_batches(drafts):
            receipts |= _store_batch(batch, on_conflict, principal, clearances)
        ordered_receipts = [receipts[position] for position in range(len(drafts))]
        if any(receipt.outcome is WriteOutcome.CREATED for receipt in ordered_receipts):
            Source.objects.create_missing(sources, principal.clearance)
        audit_writes(ordered_receipts, principal, request_id)
    return ordered_receipts


def _take_leading_drafts(drafts: Sequence[MemoryDraft], stored_bytes: Mapping[Identity, int]) -> Sequence[MemoryDraft]:
    """Return the first ones of `drafts`, at least one, that together have at most MAX_TRANSACTION_BYTES.

    `stored_bytes` is what an update of each identity may write again.
    """
    total_bytes = 0
    for position, draft in enumerate(drafts):
        total_bytes += draft.estimate_bytes() + stored_bytes.get(identity_of(draft), 0)
        if position and total_bytes > MAX_TRANSACTION_BYTES:
            return drafts[:position]
    return drafts


def _is_repeated_write(
    draft: MemoryDraft, stored_version: StoredVersion | None, principal: Principal, clearance: Clearance
) -> bool:
    return (
        stored_version is not None
        and stored_version.is_same_write(draft, principal)
        and (principal.is_operator or clearance.permits(draft))
    )


def audit_writes(receipts: Sequence[WriteReceipt], principal: Principal, request_id: str) -> None:
    """Append one audit entry for the stored memories. Repeated writes and rejections change nothing: no entry."""
    memory_ids = [
        receipt.memory_id for receipt in receipts if receipt.outcome in _STORED_OUTCOMES and receipt.memory_id
    ]
    if memory_ids:
        audit_events.record_audit_event(
            AuditAction.MEMORY_WRITE, principal=principal, memory_ids=memory_ids, request_id=request_id
        )


def split_into_distinct_batches(drafts: Sequence[MemoryDraft]) -> list[dict[int, MemoryDraft]]:
    """Split `drafts`, by position, into batches with each identity at most once: later batches see the earlier ones."""
    batches: list[dict[int, MemoryDraft]] = []
    batch_indexes: dict[Identity, int] = {}
    for position, draft in enumerate(drafts):
        batch_index = batch_indexes[identity_of(draft)] = batch_indexes.get(identity_of(draft), -1) + 1
        if batch_index == len(batches):
            batches.append({})
        batches[batch_index][position] = draft
    return batches


def _store_batch(
    batch: dict[int, MemoryDraft], on_conflict: OnConflict, principal: Principal, clearances: Mapping[str, Clearance]
) -> dict[int, WriteReceipt]:
    clock.next_record_time()
    stored_versions = find_current_versions(_identities(batch.values()), principal)
    current_envelopes = (
        read_envelopes(_version_ids_to_merge(batch.values(), stored_versions, principal))
        if on_conflict is OnConflict.UPDATE
        else {}
    )
    receipts: dict[int, WriteReceipt] = {}
    new_versions: dict[int, NewVersion] = {}
    for position, draft in batch.items():
        stored_version = stored_versions.get(identity_of(draft))
        try:
            version = next_version(
                draft,
                stored_version,
                principal=principal,
                clearance=clearances[draft.source],
                on_conflict=on_conflict,
                current_envelope=current_envelopes.get(stored_version.id) if stored_version else None,
            )
        except OperationRejectedError as rejection:
            receipts[position] = build_rejection_receipt(draft.envelope.payload_id, rejection)
            continue
        if version is not None:
            new_versions[position] = version
        elif stored_version is not None:
            receipts[position] = build_receipt(draft, WriteOutcome.DUPLICATE, stored_version.memory_id)
    # Look up rejections by the draft as sent, so that others' reclassifications do not show.
    decision_ids = (
        rejected_values.find_rejecting_decisions(
            [version.sent_draft for version in new_versions.values()], principal.clearance
        )
        if new_versions
        else []
    )
    for (position, version), decision_id in zip(new_versions.items(), decision_ids, strict=True):
        if decision_id and version.status == "active":
            new_versions[position] = replace(version, status="retired", decision_id=decision_id)
        outcome = WriteOutcome.UPDATED if version.replaces else WriteOutcome.CREATED
        receipts[position] = build_receipt(version.sent_draft, outcome, version.memory_id, decision_id)
    add_versions(list(new_versions.values()))
    return receipts


def _version_ids_to_merge(
    drafts: Iterable[MemoryDraft], stored_versions: Mapping[Identity, StoredVersion], principal: Principal
) -> list[int]:
    """Return the ids of the stored versions that an update has to be merged over."""
    pairs = [(draft, stored_versions.get(identity_of(draft))) for draft in drafts]
    return [
        stored_version.id
        for draft, stored_version in pairs
        if stored_version and not stored_version.is_same_write(draft, principal)
    ]


def build_receipt(
    draft: MemoryDraft, outcome: WriteOutcome, memory_id: uuid.UUID, decision_id: uuid.UUID | None = None
) -> WriteReceipt:
    expires_at = draft.envelope.expires_at
    return WriteReceipt(
        payload_id=draft.envelope.payload_id,
        outcome=outcome,
        memory_id=memory_id,
        decision_id=decision_id,
        is_expired=expires_at is not None and expires_at <= datetime.now(UTC),
    )


def build_rejection_receipt(payload_id: str | None, rejection: OperationRejectedError) -> WriteReceipt:
    outcome = WriteOutcome.CONFLICT if rejection.code == "payload_id_conflict" else WriteOutcome.REJECTED
    return WriteReceipt(payload_id=payload_id, outcome=outcome, code=rejection.code, errors=rejection.errors)


def identity_of(draft: MemoryDraft) -> Identity:
    return (draft.source, draft.envelope.payload_id)


def _identities(drafts: Iterable[MemoryDraft]) -> list[Identity]:
    return [identity_of(draft) for draft in drafts]


def _safe_payload_id(raw: Any) -> str | None:
    """Return the payload_id of a rejected item if it is safe to repeat in a response; else None."""
    value = raw.get("payload_id") if isinstance(raw, Mapping) else None
    if not isinstance(value, str) or len(value) > 255:
        return None
    return value if value.isprintable() else None
