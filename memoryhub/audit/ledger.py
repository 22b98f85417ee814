"""Appending to the ledger: entries that follow one another, each with the hash of the one before it.

An entry's hash is SHA-256 over its canonical form: the JSON object of all its columns but `hash`, with sorted keys, no
white space and ASCII alone. There `at` is a text, microseconds since 1970, and hashes are in hexadecimal. The first
entry follows thirty-two zero bytes.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.transaction import TransactionManagementError

NO_HASH = bytes(32)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# PostgreSQL stores neither, and no entry must fail for a text in it.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What an actor could see when it acted, labels in the form in which they are compared.

    Whoever may see less than that may not see the entry: it was computed from what the actor saw. By default it is all
    that `tiers` hold, so that nobody sees the entry who sees less.
    """

    tiers: Sequence[str]
    blocked: Sequence[str] = ()
    required: Sequence[str] = ()
    namespaces: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something to tell the ledger. `details` is JSON without floats, secrets and content.

    Readers see those of `memory_ids` that they may see at the time of reading, but all of `details`: what stands there
    must hold for each of the memories alone, and must neither name nor count them.
    """

    principal: str
    action: str
    reach: Reach
    memory_ids: Sequence[UUID] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    route: str = ""
    query: str = ""
    request_id: str = ""
    at: datetime | None = None
    """None is now, by the database's clock and after the entry before it; an instant that is given stands as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The last entry."""

    seq: int = 0
    hash: bytes = NO_HASH


def append(*events: Event) -> Head:
    """Chain `events`, in this order, within the caller's transaction; the head after them.

    Other appenders wait until that transaction ends. Raises TransactionManagementError if there is none.
    """
    if not connection.in_atomic_block:
        raise TransactionManagementError("An entry is appended in the transaction of the deed that it tells of.")
    with connection.cursor() as cursor:
        head, now = _lock(cursor)
        rows = []
        for event in events:
            row = _row(event, head, event.at or now)
            head = Head(seq=row["seq"], hash=bytes.fromhex(row["hash"]))
            rows.append(row)
            now += _MICROSECOND * (event.at is None)
        cursor.execute(_APPEND, [json.dumps([_in_sql(row) for row in rows]), head.seq, head.hash, now])
    return head


def head() -> Head:
    """The last entry, as this transaction sees it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq, hash FROM audit_head")
        found = cursor.fetchone()
    return Head(seq=found[0], hash=bytes(found[1])) if found else Head()


def digest(row: Mapping[str, Any]) -> bytes:
    """The hash of an entry whose columns are given as JSON has them."""
    canonical = json.dumps(row, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("ascii")).digest()


def _lock(cursor: Any) -> tuple[Head, datetime]:
    """The head, locked until the transaction ends, and the instant of the next entry."""
    cursor.execute("SELECT seq, hash, at FROM audit_turn(%s)", [NO_HASH])
    seq, last, now = cursor.fetchone()
    return Head(seq=seq, hash=bytes(last)), now


def _row(event: Event, previous: Head, at: datetime) -> dict[str, Any]:
    row: dict[str, Any] = {
        "seq": previous.seq + 1,
        "at": str((at - _EPOCH) // _MICROSECOND),
        "principal": _storable(event.principal),
        "action": event.action,
        "route": event.route,
        "query": _storable(event.query),
        "memory_ids": [str(memory_id) for memory_id in event.memory_ids],
        "details": _storable(event.details),
        "request_id": _storable(event.request_id),
        "reach_tiers": list(event.reach.tiers),
        "reach_blocked": list(event.reach.blocked),
        "reach_required": list(event.reach.required),
        "reach_namespaces": None if event.reach.namespaces is None else list(event.reach.namespaces),
        "previous_hash": previous.hash.hex(),
    }
    return {**row, "hash": digest(row).hex()}


def _in_sql(row: dict[str, Any]) -> dict[str, Any]:
    """A row as json_populate_recordset takes it."""
    at = _EPOCH + int(row["at"]) * _MICROSECOND
    return {
        **row,
        "at": at.isoformat(),
        "previous_hash": f"\\x{row['previous_hash']}",
        "hash": f"\\x{row['hash']}",
    }


def _storable(value: Any) -> Any:
    """`value` as jsonb gives it back: the same bytes must come out of the canonical form later."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {_storable(str(name)): _storable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(inner) for inner in value]
    if value is None or isinstance(value, bool | int):
        return value
    raise TypeError(f"An entry does not hold a {type(value).__name__}.")


# One statement: the lock is held for as few round trips as there can be.
_APPEND = """
WITH appended AS (
    INSERT INTO audit_entries (
        seq, at, principal, action, route, query, memory_ids, details, request_id, reach_tiers, reach_blocked,
        reach_required, reach_namespaces, previous_hash, hash
    )
    SELECT
        seq, at, principal, action, route, query, memory_ids, details, request_id, reach_tiers, reach_blocked,
        reach_required, reach_namespaces, previous_hash, hash
    FROM json_populate_recordset(NULL::audit_entries, %s)
)
UPDATE audit_head SET seq = %s, hash = %s, at = %s WHERE id = 1
"""
