"""Append to the audit log: a chain of entries, each with the hash of the entry before it.

An entry's hash is the SHA-256 of its canonical form: the JSON object of all its columns except `hash`, with sorted
keys, without white space, in ASCII. In it `occurred_at` is a string of microseconds since 1970, and hashes are
hexadecimal. The first entry follows thirty-two zero bytes.

Guarantee: the chain has no gap and no fork, whatever number of sessions append and whatever is rolled back.

Why the obvious way breaks it. A sequence leaves gaps after a rollback, and two sessions that read the same last hash
fork the chain. So an appender locks the head until its transaction ends (`audit_lock_head`, in a migration of this
app). The lock is advisory: sessions that wait for the lock of a row all wake when it is released and race for it, while
those that wait for an advisory lock are served in their order. All writers share this lock, so an action appends its
entry last, just before COMMIT, with two statements for any number of entries.

Tests that notice: `tests/audit/test_log.py`, and `tests/audit/test_verify.py` for a chain that was tampered with.
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

from memoryhub.audit.actions import AuditAction
from memoryhub.audit.clearance_snapshot import ClearanceSnapshot

GENESIS_HASH = bytes(32)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# PostgreSQL cannot store NUL or lone surrogates; they are replaced, so that no entry fails because of them.
_UNSTORABLE_CHARACTERS = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """An event to append to the audit log. `details` is JSON without floats, secrets and content.

    Readers see those of `memory_ids` that they may see at the time of reading, but all of `details`. So `details` must
    hold for each of the memories alone, and must neither name nor count them.
    """

    principal: str
    action: AuditAction
    clearance_snapshot: ClearanceSnapshot
    memory_ids: Sequence[UUID] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    route: str = ""
    query: str = ""
    request_id: str = ""
    occurred_at: datetime | None = None
    """None is now by the database's clock, after the entry before. A given instant is stored unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainHead:
    """Number and hash of the last entry; by default those of an empty audit log."""

    seq: int = 0
    hash: bytes = GENESIS_HASH


def append_events(*audit_events: AuditEvent) -> ChainHead:
    """Append `audit_events` to the chain, in this order, within the caller's transaction; return the new head.

    Other appenders wait until that transaction ends. Raises TransactionManagementError outside a transaction.
    """
    if not connection.in_atomic_block:
        raise TransactionManagementError("An entry is appended in the transaction of the action that it records.")
    with connection.cursor() as cursor:
        head, occurred_at = _lock_head(cursor)
        rows = []
        for audit_event in audit_events:
            row = _build_row(audit_event, head, audit_event.occurred_at or occurred_at)
            head = ChainHead(seq=row["seq"], hash=bytes.fromhex(row["hash"]))
            rows.append(row)
            occurred_at += _MICROSECOND * (audit_event.occurred_at is None)
        cursor.execute(_INSERT_SQL, [json.dumps([_to_sql_row(row) for row in rows]), head.seq, head.hash, occurred_at])
    return head


def get_head() -> ChainHead:
    """Return the chain head as this transaction sees it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq, hash FROM audit_chain_head")
        row = cursor.fetchone()
    return ChainHead(seq=row[0], hash=bytes(row[1])) if row else ChainHead()


def compute_entry_hash(row: Mapping[str, Any]) -> bytes:
    """Return the hash (32 bytes) of an entry whose columns are given as JSON values."""
    canonical = json.dumps(row, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("ascii")).digest()


def _lock_head(cursor: Any) -> tuple[ChainHead, datetime]:
    """Return the head, locked until the transaction ends, and the instant of the next entry."""
    cursor.execute("SELECT seq, hash, occurred_at FROM audit_lock_head(%s)", [GENESIS_HASH])
    seq, last_hash, occurred_at = cursor.fetchone()
    return ChainHead(seq=seq, hash=bytes(last_hash)), occurred_at


def _build_row(audit_event: AuditEvent, previous_head: ChainHead, occurred_at: datetime) -> dict[str, Any]:
    row: dict[str, Any] = {
        "seq": previous_head.seq + 1,
        "occurred_at": str((occurred_at - _EPOCH) // _MICROSECOND),
        "principal": _to_jsonb_safe(audit_event.principal),
        "action": str(audit_event.action),
        "route": audit_event.route,
        "query": _to_jsonb_safe(audit_event.query),
        "memory_ids": [str(memory_id) for memory_id in audit_event.memory_ids],
        "details": _to_jsonb_safe(audit_event.details),
        "request_id": _to_jsonb_safe(audit_event.request_id),
        **audit_event.clearance_snapshot.to_columns(),
        "previous_hash": previous_head.hash.hex(),
    }
    return {**row, "hash": compute_entry_hash(row).hex()}


def _to_sql_row(row: dict[str, Any]) -> dict[str, Any]:
    """Convert a row for json_populate_recordset."""
    occurred_at = _EPOCH + int(row["occurred_at"]) * _MICROSECOND
    return {
        **row,
        "occurred_at": occurred_at.isoformat(),
        "previous_hash": f"\\x{row['previous_hash']}",
        "hash": f"\\x{row['hash']}",
    }


def _to_jsonb_safe(value: Any) -> Any:
    """Convert `value` to what jsonb returns for it, so that a later check computes the same canonical form."""
    if isinstance(value, str):
        return _UNSTORABLE_CHARACTERS.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {_to_jsonb_safe(str(name)): _to_jsonb_safe(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_jsonb_safe(item) for item in value]
    if value is None or isinstance(value, bool | int):
        return value
    raise TypeError(f"An entry does not hold a {type(value).__name__}.")


# One statement, so that the lock is held for as few round trips as possible.
_INSERT_SQL = """
WITH appended AS (
    INSERT INTO audit_entries (
        seq, occurred_at, principal, action, route, query, memory_ids, details, request_id, clearance_tiers,
        clearance_blocked_labels, clearance_required_labels, clearance_namespaces, previous_hash, hash
    )
    SELECT
        seq, occurred_at, principal, action, route, query, memory_ids, details, request_id, clearance_tiers,
        clearance_blocked_labels, clearance_required_labels, clearance_namespaces, previous_hash, hash
    FROM json_populate_recordset(NULL::audit_entries, %s)
)
UPDATE audit_chain_head SET seq = %s, hash = %s, last_occurred_at = %s WHERE id = 1
"""
