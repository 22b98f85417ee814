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
from memoryhub.firewall.reach import reach_of
from memoryhub.firewall.types import Principal, Scope, opens
from memoryhub.memories import clock, rejected
from memoryhub.memories.envelope import Draft, Errors, Numbers, Rejected, draft
from memoryhub.memories.models import Memory


class Outcome(StrEnum):
    CREATED = "created"
    DUPLICATE = "duplicate"
    UPDATED = "updated"
    CONFLICT = "conflict"
    REJECTED = "rejected"


_WRITTEN = (Outcome.CREATED, Outcome.UPDATED)


class OnConflict(StrEnum):
    """What to do when a payload_id is written again with other content."""

    REFUSE = "refuse"
    UPDATE = "update"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The fate of one envelope. `code` and `errors` say why it was not stored."""

    payload_id: str | None
    outcome: Outcome
    memory_id: uuid.UUID | None = None
    version: int | None = None
    decision: uuid.UUID | None = None
    """The decision that had rejected what it says, so that it was stored as retired."""
    code: str = ""
    errors: Errors | None = None


@dataclass(frozen=True, slots=True)
class _Stored:
    """What is known of the version in force."""

    id: int | None
    memory_id: uuid.UUID
    version: int
    fingerprint: bytes
    namespace: str = ""
    classification_tier: str = ""
    sensitivity_labels: Sequence[str] = ()
    status: str = "active"
    decision: uuid.UUID | None = None

    def has(self, made: Draft) -> bool:
        """Whether storing `made` would add nothing."""
        return self.fingerprint == made.fingerprint or (made.version is not None and made.version <= self.version)

    def answer(self, payload_id: str, outcome: Outcome) -> Receipt:
        return Receipt(
            payload_id=payload_id,
            outcome=outcome,
            memory_id=self.memory_id,
            version=self.version,
            decision=self.decision,
        )


Identity = tuple[str, str]


def accept(raw: Any, *, by: Principal, now: datetime | None = None) -> Draft:
    """The draft that `by` may store.

    Raises Rejected: `invalid_value` and the like for a bad envelope, `source_mismatch` for a source that is not the
    writer's, `actor_mismatch` for an actor that the writer may not speak for, `above_clearance` for a memory that the
    writer itself may not see.
    """
    named = raw.get("source") if isinstance(raw, Mapping) else None
    if isinstance(named, str) and named and named != by.source and Scope.ADMIN not in by.scopes:
        raise Rejected({"source": ["is not the source of this key."]}, "source_mismatch")
    made = draft(raw, source=by.source, actor_type=by.actor_type, actor_id=by.actor_id, now=now or datetime.now(UTC))
    if not by.may_speak_for(actor_type=made.actor_type):
        raise Rejected({"actor_type": ["is not one that this key may write for."]}, "actor_mismatch")
    if not by.may_speak_as(actor_id=made.actor_id):
        raise Rejected({"actor_id": ["is not the actor of this key."]}, "actor_mismatch")
    if not by.clearance.permits(made):
        field = "classification_tier" if made.classification_tier not in by.clearance.tiers() else "namespace"
        raise Rejected({field: ["is beyond this writer's clearance."]}, "above_clearance")
    return made


def write(
    raws: Sequence[Any],
    *,
    by: Principal,
    on_conflict: OnConflict = OnConflict.REFUSE,
    now: datetime | None = None,
    request_id: str = "",
) -> list[Receipt]:
    """Store what can be stored of `raws` and tell the fate of each, in order, after COMMIT."""
    accepted: dict[int, Draft] = {}
    receipts: dict[int, Receipt] = {}
    for position, raw in enumerate(raws):
        try:
            accepted[position] = accept(raw, by=by, now=now)
        except Rejected as reason:
            receipts[position] = Receipt(
                payload_id=_payload_id(raw), outcome=Outcome.REJECTED, code=reason.code, errors=reason.errors
            )
    stored = store(list(accepted.values()), by=by, on_conflict=on_conflict, request_id=request_id)
    receipts |= dict(zip(accepted, stored, strict=True))
    return [receipts[position] for position in range(len(raws))]


def store(
    drafts: Sequence[Draft], *, by: Principal, on_conflict: OnConflict = OnConflict.REFUSE, request_id: str = ""
) -> list[Receipt]:
    """Store `drafts` in one transaction, with one entry in the ledger, and tell the fate of each, in order.

    Replays are answered without a lock. Everything else waits for the record clock, which lets one writer at a time
    through until it has committed: from then on what is read is what holds, and no write is lost or doubled.
    """
    with committed({made.source for made in drafts}):
        stored = _lookup(_identities(drafts))
        if all((known := stored.get(_identity(made))) and known.has(made) for made in drafts):
            return [stored[_identity(made)].answer(made.envelope.payload_id, Outcome.DUPLICATE) for made in drafts]
        receipts: dict[int, Receipt] = {}
        for wave in _waves(drafts):
            receipts |= _store_wave(wave, on_conflict, by)
        told = [receipts[position] for position in range(len(drafts))]
        _enter(told, by, request_id)
    return told


def _enter(receipts: Sequence[Receipt], by: Principal, request_id: str) -> None:
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
def committed(sources: Iterable[str]) -> Iterator[None]:
    """A transaction that writes as `sources`. Raises OutcomeUnknown when it is lost after COMMIT was sent."""
    sent = False
    try:
        with wall.writing(sources):
            yield
            sent = True
    except (DatabaseError, InterfaceError) as error:
        if sent and is_lost_connection(error):
            raise OutcomeUnknown from error
        raise


def _waves(drafts: Sequence[Draft]) -> list[dict[int, Draft]]:
    """`drafts` by position, split so that no identity stands twice in one wave: later ones see the earlier."""
    waves: list[dict[int, Draft]] = []
    seen: dict[Identity, int] = {}
    for position, made in enumerate(drafts):
        turn = seen[_identity(made)] = seen.get(_identity(made), -1) + 1
        if turn == len(waves):
            waves.append({})
        waves[turn][position] = made
    return waves


def _store_wave(wave: dict[int, Draft], on_conflict: OnConflict, by: Principal) -> dict[int, Receipt]:
    clock.tick()
    stored = _lookup(_identities(wave.values()))
    receipts: dict[int, Receipt] = {}
    written: list[tuple[int, Draft, _Stored, Outcome]] = []
    closing: list[int] = []
    for position, made in wave.items():
        known = stored.get(_identity(made))
        if known is None:
            fresh = _Stored(None, uuid.uuid4(), 1, made.fingerprint)
            outcome = Outcome.CREATED
        elif known.has(made):
            receipts[position] = known.answer(made.envelope.payload_id, Outcome.DUPLICATE)
            continue
        elif on_conflict is OnConflict.REFUSE and made.version is None:
            receipts[position] = _conflict(made)
            continue
        elif opens(known, made) and not by.may(Scope.DECLASSIFY):
            receipts[position] = _declassification(made)
            continue
        else:
            # A writer does not take its own memory out of quarantine.
            status = known.status if known.status == "quarantined" else "active"
            fresh = _Stored(None, known.memory_id, known.version + 1, made.fingerprint, status=status)
            outcome = Outcome.UPDATED
            closing.append(known.id or 0)
        written.append((position, made, fresh, outcome))
    decided = rejected.decisions([made for _, made, fresh, _ in written], by.clearance) if written else []
    rows: list[tuple[Draft, _Stored]] = []
    for (position, made, fresh, outcome), decision in zip(written, decided, strict=True):
        due = replace(fresh, status="retired", decision=decision) if decision and fresh.status == "active" else fresh
        rows.append((made, due))
        receipts[position] = due.answer(made.envelope.payload_id, outcome)
    _close(closing)
    _copy(rows)
    return receipts


def add(made: Draft, *, decision: uuid.UUID) -> uuid.UUID:
    """Store a memory that a decision made, in the caller's transaction after its tick; the memory's id."""
    fresh = _Stored(None, uuid.uuid4(), 1, made.fingerprint, decision=decision)
    _copy([(made, fresh)])
    return fresh.memory_id


def _conflict(made: Draft) -> Receipt:
    return Receipt(
        payload_id=made.envelope.payload_id,
        outcome=Outcome.CONFLICT,
        code="payload_id_conflict",
        errors={"payload_id": ["is stored already with other content; on_conflict=update adds a version."]},
    )


def _declassification(made: Draft) -> Receipt:
    return Receipt(
        payload_id=made.envelope.payload_id,
        outcome=Outcome.REJECTED,
        code="declassification",
        errors={"classification_tier": ["or labels are more closed by now: this writer may not open them."]},
    )


def _identity(made: Draft) -> Identity:
    return (made.source, made.envelope.payload_id)


def _identities(drafts: Iterable[Draft]) -> list[Identity]:
    return [_identity(made) for made in drafts]


def _lookup(identities: list[Identity]) -> dict[Identity, _Stored]:
    """The versions in force under `identities`, whoever may see them: a writer learns of its own source's alone."""
    with connection.cursor() as cursor:
        cursor.execute(
            _BY_IDENTITY, [[source for source, _ in identities], [payload_id for _, payload_id in identities]]
        )
        return {(source, payload_id): _Stored(*rest) for source, payload_id, *rest in cursor.fetchall()}


# A join, not two lists: each pair is one descent of the index, whatever the planner believes about the table.
_BY_IDENTITY = """
SELECT m.source, m.payload_id, m.id, m.memory_id, m.version, m.fingerprint, m.namespace, m.classification_tier,
    m.sensitivity_labels, m.status
FROM unnest(%s::varchar[], %s::varchar[]) AS wanted(source, payload_id)
CROSS JOIN LATERAL (
    SELECT * FROM memories WHERE source = wanted.source AND payload_id = wanted.payload_id AND superseded_at IS NULL
    LIMIT 1
) AS m
"""


def _close(ids: list[int]) -> None:
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
}


_NAMES = ", ".join(COLUMNS)
_STAGING = (
    "CREATE TEMP TABLE IF NOT EXISTS incoming ("
    + ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    + ") ON COMMIT DELETE ROWS"
)
_MOVE = "INSERT INTO memories ({names}) SELECT {names} FROM pg_temp.incoming"


def _copy(rows: list[tuple[Draft, _Stored]]) -> None:
    if not rows:
        return
    # COPY is psycopg's: what it raises becomes Django's, as everywhere, and so is told apart by whoever answers.
    with connection.wrap_database_errors, _cursor_that_knows_vectors() as cursor:
        # Where row-level security holds there is no COPY into the table itself.
        cursor.execute(_STAGING)
        cursor.execute("DELETE FROM pg_temp.incoming")
        with cursor.copy(f"COPY pg_temp.incoming ({_NAMES}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(list(COLUMNS.values()))
            for made, version in rows:
                copy.write_row(_row(made, version))
        cursor.execute(_MOVE.format(names=_NAMES))


def _cursor_that_knows_vectors() -> Any:
    """A cursor of a connection that was taught the extension's type, once, and before the cursor was made."""
    raw: Connection[Any] = connection.connection
    if raw.adapters.types.get("vector") is None:
        register_vector(raw)
    return connection.cursor()


def _row(made: Draft, version: _Stored) -> list[Any]:
    envelope = made.envelope
    special: dict[str, Any] = {
        "memory_id": version.memory_id,
        "version": version.version,
        "source": made.source,
        "timestamp": made.timestamp,
        "actor_type": made.actor_type,
        "actor_id": made.actor_id,
        "embedding": None if envelope.embedding is None else vector(envelope.embedding),
        "metadata": Jsonb(envelope.metadata, dumps=_dumps),
        "classification_tier": made.classification_tier,
        "propagation": None if envelope.propagation is None else Jsonb(envelope.propagation, dumps=_dumps),
        "label_keys": list(made.label_keys),
        "defaulted": list(made.defaulted),
        "fingerprint": made.fingerprint,
        "status": version.status,
        "decision": version.decision,
    }
    return [special[name] if name in special else getattr(envelope, name) for name in COLUMNS]


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
