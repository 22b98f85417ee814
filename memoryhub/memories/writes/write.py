"""Write memories: idempotent under (source, payload_id), one transaction, success only after COMMIT."""

import json
import struct
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from django.db import DatabaseError, InterfaceError, connection
from pgvector import Vector
from pgvector.psycopg import register_vector
from psycopg import Connection
from psycopg.types.json import Jsonb

from memoryhub.audit.actions import AuditAction
from memoryhub.core.errors import CommitOutcomeUnknownError, is_lost_connection
from memoryhub.core.secrets import mask_secrets_or_none
from memoryhub.firewall import audit_events, rls
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.models import Source
from memoryhub.firewall.principal import Principal
from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from memoryhub.memories.values import compute_value_digest
from memoryhub.memories.writes import rejected_values
from memoryhub.memories.writes.envelope import (
    Errors,
    MemoryDraft,
    Numbers,
    OperationRejectedError,
    find_label_warnings,
    prepare_draft,
)
from memoryhub.memories.writes.identity import (
    Classification,
    Identity,
    NewVersion,
    OnConflict,
    StoredVersion,
    check_actor,
    find_current_versions,
    next_version,
)
from memoryhub.memories.writes.merge import read_envelopes

__all__ = [
    "OnConflict",
    "WriteOutcome",
    "WriteReceipt",
    "prepare_authorized_draft",
    "store_drafts",
    "store_merged_draft",
    "write_memories",
    "write_transaction",
]


class WriteOutcome(StrEnum):
    CREATED = "created"
    DUPLICATE = "duplicate"
    UPDATED = "updated"
    CONFLICT = "conflict"
    REJECTED = "rejected"


_STORED_OUTCOMES = (WriteOutcome.CREATED, WriteOutcome.UPDATED)
EXPIRED_WARNING = "has come already: the memory is expired, and found with status=expired alone."


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
    """Whether `expires_at` had passed on arrival. It depends on the written envelope alone."""
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


def prepare_authorized_draft(
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
            drafts[position] = prepare_authorized_draft(
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
    """Store `drafts` in one transaction with one audit entry; return a receipt for each, in order.

    Replays are answered without a lock. All other writes wait for the record clock, which lets one writer at a time
    through until it has committed: rows that are read from then on are up to date, and no write is lost or doubled.
    """
    sources = {draft.source for draft in drafts}
    with write_transaction(sources):
        # A source that does not exist yet is created with the clearance of the principal that writes as it first.
        clearances = dict.fromkeys(sources, principal.clearance) | Source.objects.get_clearances(sources)
        stored_versions = find_current_versions(_identities(drafts), principal)
        if all(
            _is_replay(draft, stored_versions.get(identity_of(draft)), principal, clearances[draft.source])
            for draft in drafts
        ):
            return [
                build_receipt(draft, WriteOutcome.DUPLICATE, stored_versions[identity_of(draft)].memory_id)
                for draft in drafts
            ]
        receipts: dict[int, WriteReceipt] = {}
        for batch in split_by_identity(drafts):
            receipts |= _store_batch(batch, on_conflict, principal, clearances)
        ordered_receipts = [receipts[position] for position in range(len(drafts))]
        if any(receipt.outcome is WriteOutcome.CREATED for receipt in ordered_receipts):
            Source.objects.create_missing(sources, principal.clearance)
        audit_writes(ordered_receipts, principal, request_id)
    return ordered_receipts


def _is_replay(
    draft: MemoryDraft, stored_version: StoredVersion | None, principal: Principal, clearance: Clearance
) -> bool:
    return (
        stored_version is not None
        and stored_version.is_same_write(draft, principal)
        and (principal.is_operator or clearance.permits(draft))
    )


def audit_writes(receipts: Sequence[WriteReceipt], principal: Principal, request_id: str) -> None:
    """Append one audit entry for the stored memories. A replay or a rejection changes nothing and is not recorded."""
    memory_ids = [
        receipt.memory_id for receipt in receipts if receipt.outcome in _STORED_OUTCOMES and receipt.memory_id
    ]
    if memory_ids:
        audit_events.record_audit_event(
            AuditAction.MEMORY_WRITE, principal=principal, memory_ids=memory_ids, request_id=request_id
        )


@contextmanager
def write_transaction(sources: Iterable[str] | None) -> Iterator[None]:
    """Open a transaction that writes as `sources`, or as every source if None.

    Raises CommitOutcomeUnknownError if the connection is lost after COMMIT was sent.
    """
    is_commit_sent = False
    try:
        with rls.as_writer(sources):
            yield
            is_commit_sent = True
    except (DatabaseError, InterfaceError) as error:
        if is_commit_sent and is_lost_connection(error):
            raise CommitOutcomeUnknownError from error
        raise


def split_by_identity(drafts: Sequence[MemoryDraft]) -> list[dict[int, MemoryDraft]]:
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
                merge_base=current_envelopes.get(stored_version.id) if stored_version else None,
            )
        except OperationRejectedError as rejection:
            receipts[position] = build_rejection_receipt(draft.envelope.payload_id, rejection)
            continue
        if version is not None:
            new_versions[position] = version
        elif stored_version is not None:
            receipts[position] = build_receipt(draft, WriteOutcome.DUPLICATE, stored_version.memory_id)
    # Whether a value was rejected before is decided by what its source wrote, not by how others reclassified it.
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
    close_versions([version.replaces.id for version in new_versions.values() if version.replaces])
    bulk_insert_versions(list(new_versions.values()))
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


def store_merged_draft(draft: MemoryDraft, *, decision_id: uuid.UUID) -> uuid.UUID:
    """Store a memory that a decision created, in the caller's transaction after `next_record_time`; return its id."""
    memory_id = uuid.uuid4()
    version = NewVersion(
        draft=draft,
        sent_draft=draft,
        memory_id=memory_id,
        decision_id=decision_id,
        last_sent=Classification.from_row(draft),
    )
    bulk_insert_versions([version])
    return memory_id


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


def close_versions(ids: list[int]) -> None:
    if ids:
        # The trigger replaces this instant with the record time.
        Memory.objects.filter(id__in=ids).update(superseded_at=datetime.now(UTC))


COLUMN_TYPES: dict[str, str] = {
    "memory_id": "uuid",
    "version": "int4",
    "payload_id": "varchar",
    "request_id": "varchar",
    "source": "varchar",
    "subject": "varchar",
    "namespace": "varchar",
    "destination": "varchar",
    "collection": "varchar",
    "content": "text",
    "masked_content": "text",
    "value_sha256": "bytea",
    "model": "varchar",
    "role": "varchar",
    "timestamp": "timestamptz",
    "idempotency_key": "varchar",
    "schema_version": "int2",
    "transform_version": "varchar",
    "actor_type": "varchar",
    "actor_id": "varchar",
    "embedding": "vector",
    "metadata": "jsonb",
    "sensitivity_labels": "varchar[]",
    "classification_tier": "varchar",
    "kind": "varchar",
    "pinned": "bool",
    "expires_at": "timestamptz",
    "propagation": "jsonb",
    "normalized_labels": "varchar[]",
    "defaulted_fields": "varchar[]",
    "fingerprint": "bytea",
    "status": "varchar",
    "decision_id": "uuid",
    "is_spelling_rejection": "bool",
    "decision_exceeds_source": "bool",
    "sent_namespace": "varchar",
    "sent_tier": "varchar",
    "sent_labels": "varchar[]",
    "exceeds_source_clearance": "bool",
}


# Additional columns that only imported versions set; for others they are null.
_STAGED_COLUMN_TYPES = COLUMN_TYPES | {
    "asserted_at": "timestamptz",
    "asserted_version_id": "int8",
    "superseded_at": "timestamptz",
}
_STAGED_COLUMNS = ", ".join(_STAGED_COLUMN_TYPES)
_CREATE_STAGING_SQL = (
    "CREATE TEMP TABLE IF NOT EXISTS staged_memories ("
    + ", ".join(f"{name} {kind}" for name, kind in _STAGED_COLUMN_TYPES.items())
    + ") ON COMMIT DELETE ROWS"
)
# A version that ended before this hub knew of it is current at no instant; see triggers.STAMP_RECORD_TIME.
_SUPERSEDED_AT_SQL = "CASE WHEN superseded_at IS NOT NULL THEN '-infinity'::timestamptz END"
_STAGED_VALUES = ", ".join(_SUPERSEDED_AT_SQL if name == "superseded_at" else name for name in _STAGED_COLUMN_TYPES)
_INSERT_STAGED_SQL = "INSERT INTO memories ({names}) SELECT {values} FROM pg_temp.staged_memories"


def bulk_insert_versions(versions: Sequence[NewVersion]) -> None:
    if not versions:
        return
    # COPY is a call of psycopg: its errors are wrapped as Django's, so that callers can classify them as usual.
    with connection.wrap_database_errors, _vector_cursor() as cursor:
        # PostgreSQL does not support COPY FROM into a table with row-level security, so the rows pass a staging table.
        cursor.execute(_CREATE_STAGING_SQL)
        cursor.execute("DELETE FROM pg_temp.staged_memories")
        with cursor.copy(f"COPY pg_temp.staged_memories ({_STAGED_COLUMNS}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(list(_STAGED_COLUMN_TYPES.values()))
            for version in versions:
                copy.write_row(_to_row(version))
        cursor.execute(_INSERT_STAGED_SQL.format(names=_STAGED_COLUMNS, values=_STAGED_VALUES))


def _vector_cursor() -> Any:
    """Return a cursor of a connection with the vector type registered, once and before the cursor is created."""
    psycopg_connection: Connection[Any] = connection.connection
    if psycopg_connection.adapters.types.get("vector") is None:
        register_vector(psycopg_connection)
    return connection.cursor()


def _to_row(version: NewVersion) -> list[Any]:
    draft, last_sent = version.draft, version.last_sent
    envelope = draft.envelope
    column_values: dict[str, Any] = {
        "memory_id": version.memory_id,
        "version": version.version,
        "source": draft.source,
        "masked_content": mask_secrets_or_none(envelope.content),
        "value_sha256": compute_value_digest(envelope.content),
        "timestamp": draft.timestamp,
        "actor_type": draft.actor_type,
        "actor_id": draft.actor_id,
        "embedding": None if envelope.embedding is None else to_vector(envelope.embedding),
        "metadata": Jsonb(envelope.metadata, dumps=_dump_json),
        "classification_tier": draft.classification_tier,
        "propagation": None if envelope.propagation is None else Jsonb(envelope.propagation, dumps=_dump_json),
        "normalized_labels": list(draft.normalized_labels),
        "defaulted_fields": list(draft.defaulted_fields),
        "fingerprint": b"" if version.status == "erased" else version.sent_draft.fingerprint,
        "status": version.status,
        "decision_id": version.decision_id,
        "is_spelling_rejection": version.is_spelling_rejection,
        "decision_exceeds_source": version.decision_exceeds_source,
        "sent_namespace": last_sent.namespace,
        "sent_tier": last_sent.classification_tier,
        "sent_labels": list(last_sent.sensitivity_labels),
        "exceeds_source_clearance": version.exceeds_source_clearance,
        "asserted_at": version.asserted_at,
        "asserted_version_id": version.asserted_version_id,
        "superseded_at": draft.timestamp if version.is_superseded else None,
    }
    return [column_values[name] if name in column_values else getattr(envelope, name) for name in _STAGED_COLUMN_TYPES]


def to_vector(numbers: Numbers) -> Vector:
    """Convert 32-bit numbers to pgvector's type without a list: the dimension, two zero bytes, big-endian floats."""
    big_endian = numbers[:]
    if sys.byteorder == "little":
        big_endian.byteswap()
    return Vector.from_binary(struct.pack(">HH", len(big_endian), 0) + big_endian.tobytes())


def _dump_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _safe_payload_id(raw: Any) -> str | None:
    """Return the payload_id of a rejected item if it is safe to repeat in a response; else None."""
    value = raw.get("payload_id") if isinstance(raw, Mapping) else None
    if not isinstance(value, str) or len(value) > 255:
        return None
    return value if value.isprintable() else None
