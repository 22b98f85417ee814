"""Verify the audit log: read all of it and check that every entry is the one that was appended."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.db import connection

from memoryhub.audit.clearance_snapshot import SNAPSHOT_COLUMNS
from memoryhub.audit.log import ChainHead, compute_entry_hash

BATCH_SIZE = 2_000
_COLUMNS = (
    "seq", "occurred_at", "principal", "action", "route", "query", "memory_ids", "details", "request_id",
    *SNAPSHOT_COLUMNS, "previous_hash", "hash",
)  # fmt: skip
Row = dict[str, Any]


class ChainBrokenError(Exception):
    """The first entry that differs from what was appended, and how it differs."""

    def __init__(self, seq: int, problem: str) -> None:
        super().__init__(f"entry {seq:,} {problem}")
        self.seq = seq


def verify_chain(known_hashes: Mapping[int, str] | None = None, *, is_hub_in_use: bool = False) -> ChainHead:
    """Verify the whole audit log and return its last entry. Raises ChainBrokenError for the first broken entry.

    `known_hashes` maps seq to hashes (hexadecimal) that were written down elsewhere: only they reveal that somebody
    rewrote the whole chain and its head. A hub in use has appended entries, so with `is_hub_in_use` an empty audit log
    is broken. The caller's transaction must see every entry.
    """
    known_hashes = known_hashes or {}
    last_entry, head = ChainHead(), _head_of_empty_log()
    for row, head_at_start in _iter_rows():
        last_entry, head = _check_next(last_entry, row, known_hashes), head_at_start
    _check_end(last_entry, ChainHead(seq=max(known_hashes)) if known_hashes else ChainHead(), "the known hashes say")
    if head is None:
        raise ChainBrokenError(last_entry.seq, "is the last, and the head that should say so is gone")
    _check_end(last_entry, head, "the head says")
    if is_hub_in_use and last_entry.seq == 0:
        raise ChainBrokenError(1, "is missing: there are memories, decisions or keys, and the audit log is empty")
    if head.seq < last_entry.seq:
        raise ChainBrokenError(head.seq + 1, "was inserted after the head")
    if head.hash != last_entry.hash:
        raise ChainBrokenError(last_entry.seq, "is not the one that the head records")
    return last_entry


def export_entries() -> Iterator[str]:
    """Yield every entry as JSON, in order, in the form that was hashed and with its hash."""
    for row, _ in _iter_rows():
        yield json.dumps({**row, "details": json.loads(row["details"])}, separators=(",", ":"))


def _check_next(last_entry: ChainHead, row: Row, known_hashes: Mapping[int, str]) -> ChainHead:
    """Check `row`, the entry after `last_entry`, and return the head after it."""
    seq, stored_hash = row["seq"], bytes.fromhex(row["hash"])
    if seq > last_entry.seq + 1:
        raise ChainBrokenError(last_entry.seq + 1, "is missing")
    if seq <= last_entry.seq:
        raise ChainBrokenError(seq, "was inserted")
    if _recompute_hash(row) != stored_hash:
        raise ChainBrokenError(seq, "was changed")
    if row["previous_hash"] != last_entry.hash.hex():
        raise ChainBrokenError(seq, "does not follow the entry before it")
    if known_hashes.get(seq, row["hash"]) != row["hash"]:
        raise ChainBrokenError(seq, "is not the one in the known hashes: it, or one before it, was written anew")
    return ChainHead(seq=seq, hash=stored_hash)


def _recompute_hash(row: Row) -> bytes | None:
    content = {name: value for name, value in row.items() if name != "hash"}
    try:
        return compute_entry_hash({**content, "details": json.loads(row["details"])})
    except (ValueError, RecursionError):
        # No appended entry looks like this.
        return None


def _check_end(last_entry: ChainHead, expected_head: ChainHead, witness: str) -> None:
    if expected_head.seq > last_entry.seq:
        raise ChainBrokenError(last_entry.seq + 1, f"is missing: {witness} that there are {expected_head.seq:,}")


def _iter_rows() -> Iterator[tuple[Row, ChainHead | None]]:
    """Yield every entry, with the head as it was when the query began."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(_ENTRIES_SQL)
        while rows := cursor.fetchmany(BATCH_SIZE):
            for *values, seq, head_hash in rows:
                row = dict(zip(_COLUMNS, values, strict=True))
                yield row, None if seq is None else ChainHead(seq=seq, hash=bytes(head_hash))


def _head_of_empty_log() -> ChainHead | None:
    """Return the stored head if there are no entries; the default head if there are entries or no stored head."""
    with connection.cursor() as cursor:
        cursor.execute(_EMPTY_LOG_HEAD_SQL)
        row = cursor.fetchone()
    return ChainHead(seq=row[0], hash=bytes(row[1])) if row else ChainHead()


# Instants as numbers, documents as text: so any value that was put into a row by hand can be read, even infinity.
_ENTRIES_SQL = """
SELECT seq, trunc(extract(epoch FROM occurred_at) * 1000000)::text, principal, action, route, query, memory_ids::text[],
       details::text, request_id, clearance_tiers, clearance_blocked_labels, clearance_required_labels,
       clearance_namespaces, encode(previous_hash, 'hex'), encode(hash, 'hex'),
       (SELECT seq FROM audit_chain_head), (SELECT hash FROM audit_chain_head)
FROM audit_entries ORDER BY audit_entries.seq
"""
_EMPTY_LOG_HEAD_SQL = "SELECT seq, hash FROM audit_chain_head WHERE NOT EXISTS (SELECT FROM audit_entries)"
