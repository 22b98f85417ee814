"""Writing memories: idempotent under (source, payload_id), one transaction, success only after COMMIT."""

import json
import struct
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from django.db import DatabaseError, InterfaceError, connection
from pgvector import Vector
from pgvector.psycopg import register_vector
from psycopg import Connection
from psycopg.types.json import Jsonb

from memoryhub.audit import ledger
from memoryhub.faults import OutcomeUnknown, is_lost_connection
from memoryhub.firewall import wall
from memoryhub.firewall.models import Source
from memoryhub.firewall.reach import reach_of
from memoryhub.firewall.types import Clearance, Principal
from memoryhub.memories import clock, rejected
from memoryhub.memories.envelope import Draft, Errors, Numbers, Rejected, draft, label_warnings
from memoryhub.memories.identity import (
    Classification,
    Identity,
    NewVersion,
    OnConflict,
    StoredVersion,
    check_actor,
    look_up,
    next_version,
)
from memoryhub.memories.merge import read_envelopes
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import EXPIRED
from memoryhub.memories.suspicion import masked_or_none
from memoryhub.memories.values import value_digest

__all__ = ["OnConflict", "Outcome", "Receipt", "accept", "add", "committed", "store", "write"]


class Outcome(StrEnum):
    CREATED = "created"
    DUPLICATE = "duplicate"
    UPDATED = "updated"
    CONFLICT = "conflict"
    REJECTED = "rejected"


_WRITTEN = (Outcome.CREATED, Outcome.UPDATED)
EXPIRED_WARNING = "has come already: the memory is expired, and found with status=expired alone."


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of one envelope. `code` and `errors` say why it was not stored.

    An update has no version number: that would count the versions that somebody else made of the memory.
    """

    payload_id: str | None
    outcome: Outcome
    memory_id: uuid.UUID | None = None
    decision: uuid.UUID | None = None
    """The decision that had rejected what it says, so that it was stored as retired."""
    is_expired: bool = False
    """Whether its `expires_at` had come when it arrived. Told from what was written alone."""
    code: str = ""
    errors: Errors | None = None
    warnings: Errors | None = None
    """What its writer may want to know of an envelope that was accepted, as errors are told."""

    @property
    def status(self) -> str:
        """`retired` or `expired` if what was written does not hold; else empty, as far as its writer may know."""
        return "retired" if self.decision else EXPIRED if self.is_expired else ""

    @property
    def version(self) -> int | None:
        """1 for a memory that was created."""
        return 1 if self.outcome is Outcome.CREATED else None


def accept(raw: Any, *, by: Principal, now: datetime | None = None, may_be_partial: bool = False) -> Draft:
    """The draft in `raw` that `by` may send.

    Raises Rejected: `invalid_value` and the like for a bad envelope, `source_mismatch` for a source that `by` may not
    write as, `actor_mismatch` for an actor that it may not write for.
    """
    named = (isinstance(raw, Mapping) and raw.get("source")) or by.source or ""
    if isinstance(named, str) and not by.may_write_as(named):
        raise Rejected({"source": ["is not the source of this key."]}, "source_mismatch")
    made = draft(
        raw,
        source=by.source,
        actor_type=by.actor_type,
        actor_id=by.actor_id,
        now=now or datetime.now(UTC),
        may_be_partial=may_be_partial,
    )
    check_actor(made, by)
    return made


def write(
    raws: Sequence[Any],
    *,
    by: Principal,
    on_conflict: OnConflict = OnConflict.REFUSE,
    now: datetime | None = None,
    request_id: str = "",
) -> list[Receipt]:
    """Store what can be stored of `raws`; a receipt for each, in order, after COMMIT."""
    accepted: dict[int, Draft] = {}
    receipts: dict[int, Receipt] = {}
    for position, raw in enumerate(raws):
        try:
            accepted[position] = accept(raw, by=by, now=now, may_be_partial=on_conflict is OnConflict.UPDATE)
        except Rejected as reason:
            receipts[position] = refusal_of(_payload_id(raw), reason)
    stored = store(list(accepted.values()), by=by, on_conflict=on_conflict, request_id=request_id)
    for (position, made), receipt in zip(accepted.items(), stored, strict=True):
        warnings = label_warnings("sensitivity_labels", made.sensitivity_labels)
        if receipt.is_expired:
            warnings = warnings | {"expires_at": [EXPIRED_WARNING]}
        receipts[position] = replace(receipt, warnings=warnings) if warnings else receipt
    return [receipts[position] for position in range(len(raws))]


def store(
    drafts: Sequence[Draft], *, by: Principal, on_conflict: OnConflict = OnConflict.REFUSE, request_id: str = ""
) -> list[Receipt]:
    """Store `drafts` in one transaction, with one entry in the audit log; a receipt for each, in order.

    Replays are answered without a lock. Everything else waits for the record clock, which lets one writer at a time
    through until it has committed: from then on what is read is what holds, and no write is lost or doubled.
    """
    sources = {made.source for made in drafts}
    with committed(sources):
        # A source that does not exist yet is created with the clearance of whom writes as it first.
        clearances = dict.fromkeys(sources, by.clearance) | Source.objects.clearances(sources)
        stored = look_up(_identities(drafts), by)
        if all(_is_replay(made, stored.get(identity_of(made)), by, clearances[made.source]) for made in drafts):
            return [receipt_of(made, Outcome.DUPLICATE, stored[identity_of(made)].memory_id) for made in drafts]
        receipts: dict[int, Receipt] = {}
        for wave in waves(drafts):
            receipts |= _store_wave(wave, on_conflict, by, clearances)
        ordered = [receipts[position] for position in range(len(drafts))]
        if any(one.outcome is Outcome.CREATED for one in ordered):
            Source.objects.create_missing(sources, by.clearance)
        record_writes(ordered, by, request_id)
    return ordered


def _is_replay(made: Draft, stored: StoredVersion | None, by: Principal, clearance: Clearance) -> bool:
    return stored is not None and stored.is_written_by(made, by) and (by.is_operator or clearance.permits(made))


def record_writes(receipts: Sequence[Receipt], by: Principal, request_id: str) -> None:
    """One entry in the ledger for what was stored; a replay or a refusal changes nothing and enters nothing."""
    written = [one.memory_id for one in receipts if one.outcome in _WRITTEN and one.memory_id]
    if written:
        event = ledger.Event(
            principal=by.name,
            action="memory.write",
            memory_ids=written,
            reach=reach_of(by.clearance),
            request_id=request_id,
        )
        ledger.append(event)


@contextmanager
def committed(sources: Iterable[str] | None) -> Iterator[None]:
    """A transaction that writes as `sources`, or as every source if None.

    Raises OutcomeUnknown when it is lost after COMMIT was sent.
    """
    sent = False
    try:
        with wall.writing(sources):
            yield
            sent = True
    except (DatabaseError, InterfaceError) as error:
        if sent and is_lost_connection(error):
            raise OutcomeUnknown from error
        raise


def waves(drafts: Sequence[Draft]) -> list[dict[int, Draft]]:
    """`drafts` by position, split so that no identity stands twice in one wave: later ones see the earlier."""
    waves: list[dict[int, Draft]] = []
    seen: dict[Identity, int] = {}
    for position, made in enumerate(drafts):
        turn = seen[identity_of(made)] = seen.get(identity_of(made), -1) + 1
        if turn == len(waves):
            waves.append({})
        waves[turn][position] = made
    return waves


def _store_wave(
    wave: dict[int, Draft], on_conflict: OnConflict, by: Principal, clearances: Mapping[str, Clearance]
) -> dict[int, Receipt]:
    clock.tick()
    stored = look_up(_identities(wave.values()), by)
    envelopes = read_envelopes(_to_merge(wave.values(), stored, by)) if on_conflict is OnConflict.UPDATE else {}
    receipts: dict[int, Receipt] = {}
    due: dict[int, NewVersion] = {}
    for position, made in wave.items():
        known = stored.get(identity_of(made))
        try:
            version = next_version(
                made,
                known,
                by=by,
                clearance=clearances[made.source],
                on_conflict=on_conflict,
                to_merge=envelopes.get(known.id) if known else None,
            )
        except Rejected as reason:
            receipts[position] = refusal_of(made.envelope.payload_id, reason)
            continue
        if version is not None:
            due[position] = version
        elif known is not None:
            receipts[position] = receipt_of(made, Outcome.DUPLICATE, known.memory_id)
    # What its source wrote decides whether a value was rejected before, not what others classified it as.
    decided = rejected.decisions([version.written for version in due.values()], by.clearance) if due else []
    for (position, version), decision in zip(due.items(), decided, strict=True):
        if decision and version.status == "active":
            due[position] = replace(version, status="retired", decision=decision)
        outcome = Outcome.UPDATED if version.replaces else Outcome.CREATED
        receipts[position] = receipt_of(version.written, outcome, version.memory_id, decision)
    close_versions([version.replaces.id for version in due.values() if version.replaces])
    copy_versions(list(due.values()))
    return receipts


def _to_merge(drafts: Iterable[Draft], stored: Mapping[Identity, StoredVersion], by: Principal) -> list[int]:
    """The stored versions that an update has to be merged over."""
    pairs = [(made, stored.get(identity_of(made))) for made in drafts]
    return [known.id for made, known in pairs if known and not known.is_written_by(made, by)]


def add(made: Draft, *, decision: uuid.UUID) -> uuid.UUID:
    """Store a memory that a decision made, in the caller's transaction after its tick; the memory's id."""
    memory_id = uuid.uuid4()
    version = NewVersion(
        draft=made, written=made, memory_id=memory_id, decision=decision, last_sent=Classification.of(made)
    )
    copy_versions([version])
    return memory_id


def receipt_of(made: Draft, outcome: Outcome, memory_id: uuid.UUID, decision: uuid.UUID | None = None) -> Receipt:
    ends = made.envelope.expires_at
    return Receipt(
        payload_id=made.envelope.payload_id,
        outcome=outcome,
        memory_id=memory_id,
        decision=decision,
        is_expired=ends is not None and ends <= datetime.now(UTC),
    )


def refusal_of(payload_id: str | None, reason: Rejected) -> Receipt:
    outcome = Outcome.CONFLICT if reason.code == "payload_id_conflict" else Outcome.REJECTED
    return Receipt(payload_id=payload_id, outcome=outcome, code=reason.code, errors=reason.errors)


def identity_of(made: Draft) -> Identity:
    return (made.source, made.envelope.payload_id)


def _identities(drafts: Iterable[Draft]) -> list[Identity]:
    return [identity_of(made) for made in drafts]


def close_versions(ids: list[int]) -> None:
    if ids:
        # The trigger puts the record instant in place of whatever stands here.
        Memory.objects.filter(id__in=ids).update(superseded_at=datetime.now(UTC))


COLUMNS: dict[str, str] = {
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
    "label_keys": "varchar[]",
    "defaulted": "varchar[]",
    "fingerprint": "bytea",
    "status": "varchar",
    "decision": "uuid",
    "is_other_spelling": "bool",
    "decided_beyond_source": "bool",
    "sent_namespace": "varchar",
    "sent_tier": "varchar",
    "sent_labels": "varchar[]",
    "beyond_source": "bool",
}


# Those besides, which a version has that is imported; of others they are null.
_COPIED = COLUMNS | {"said_at": "timestamptz", "said_id": "int8", "superseded_at": "timestamptz"}
_NAMES = ", ".join(_COPIED)
_STAGING = (
    "CREATE TEMP TABLE IF NOT EXISTS incoming ("
    + ", ".join(f"{name} {kind}" for name, kind in _COPIED.items())
    + ") ON COMMIT DELETE ROWS"
)
# What ended before this hub knew of it is in force at no instant; see triggers.STAMP.
_ENDED = "CASE WHEN superseded_at IS NOT NULL THEN '-infinity'::timestamptz END"
_VALUES = ", ".join(_ENDED if name == "superseded_at" else name for name in _COPIED)
_MOVE = "INSERT INTO memories ({names}) SELECT {values} FROM pg_temp.incoming"


def copy_versions(versions: Sequence[NewVersion]) -> None:
    if not versions:
        return
    # COPY is psycopg's: what it raises becomes Django's, as everywhere, and so is told apart by whoever answers.
    with connection.wrap_database_errors, _cursor_that_knows_vectors() as cursor:
        # Where row-level security holds there is no COPY into the table itself.
        cursor.execute(_STAGING)
        cursor.execute("DELETE FROM pg_temp.incoming")
        with cursor.copy(f"COPY pg_temp.incoming ({_NAMES}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(list(_COPIED.values()))
            for version in versions:
                copy.write_row(_row(version))
        cursor.execute(_MOVE.format(names=_NAMES, values=_VALUES))


def _cursor_that_knows_vectors() -> Any:
    """A cursor of a connection that was taught the extension's type, once, and before the cursor was made."""
    raw: Connection[Any] = connection.connection
    if raw.adapters.types.get("vector") is None:
        register_vector(raw)
    return connection.cursor()


def _row(version: NewVersion) -> list[Any]:
    made, sent = version.draft, version.last_sent
    envelope = made.envelope
    special: dict[str, Any] = {
        "memory_id": version.memory_id,
        "version": version.version,
        "source": made.source,
        "masked_content": masked_or_none(envelope.content),
        "value_sha256": value_digest(envelope.content),
        "timestamp": made.timestamp,
        "actor_type": made.actor_type,
        "actor_id": made.actor_id,
        "embedding": None if envelope.embedding is None else vector(envelope.embedding),
        "metadata": Jsonb(envelope.metadata, dumps=_dumps),
        "classification_tier": made.classification_tier,
        "propagation": None if envelope.propagation is None else Jsonb(envelope.propagation, dumps=_dumps),
        "label_keys": list(made.label_keys),
        "defaulted": list(made.defaulted),
        "fingerprint": b"" if version.status == "erased" else version.written.fingerprint,
        "status": version.status,
        "decision": version.decision,
        "is_other_spelling": version.is_other_spelling,
        "decided_beyond_source": version.decided_beyond_source,
        "sent_namespace": sent.namespace,
        "sent_tier": sent.classification_tier,
        "sent_labels": list(sent.sensitivity_labels),
        "beyond_source": version.beyond_source,
        "said_at": version.said_at,
        "said_id": version.said_id,
        "superseded_at": made.timestamp if version.is_superseded else None,
    }
    return [special[name] if name in special else getattr(envelope, name) for name in _COPIED]


def vector(numbers: Numbers) -> Vector:
    """32-bit numbers as pgvector's type, without a detour over a list: its size, two empty bytes, big-endian floats."""
    wire = numbers[:]
    if sys.byteorder == "little":
        wire.byteswap()
    return Vector.from_binary(struct.pack(">HH", len(wire), 0) + wire.tobytes())


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _payload_id(raw: Any) -> str | None:
    """The id a rejected item came with, where it can be repeated in an answer."""
    value = raw.get("payload_id") if isinstance(raw, Mapping) else None
    if not isinstance(value, str) or len(value) > 255:
        return None
    return value if value.isprintable() else None
