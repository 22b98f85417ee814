"""Reading the whole ledger and checking that every entry is the one that was appended."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.db import connection

from memoryhub.audit.ledger import Head, digest

CHUNK = 2_000
_COLUMNS = (
    "seq", "at", "principal", "action", "route", "query", "memory_ids", "details", "request_id", "reach_tiers",
    "reach_blocked", "reach_required", "reach_namespaces", "previous_hash", "hash",
)  # fmt: skip
Row = dict[str, Any]


class Broken(Exception):
    """The first entry that is not as it was appended, and what is wrong with it."""

    def __init__(self, seq: int, what: str) -> None:
        super().__init__(f"entry {seq:,} {what}")
        self.seq = seq


def verify(kept: Mapping[int, str] | None = None, *, is_hub_in_use: bool = False) -> Head:
    """The last entry of a ledger that is whole. Raises Broken.

    `kept` holds hashes (hexadecimal, by seq) that were written down elsewhere: whoever can rewrite the whole chain and
    its head is found out by these alone. A hub in use has appended entries, so that a ledger without any is broken.
    Asked in a transaction that sees every entry.
    """
    kept = kept or {}
    last, head = Head(), _head_of_nothing()
    for row, head_at_start in _stream():
        last, head = _follow(last, row, kept), head_at_start
    _ends_here(last, Head(seq=max(kept)) if kept else Head(), "what was kept")
    if head is None:
        raise Broken(last.seq, "is the last, and the head that should say so is gone")
    _ends_here(last, head, "the head")
    if is_hub_in_use and last.seq == 0:
        raise Broken(1, "is missing: there are memories, decisions or keys, and the ledger is empty")
    if head.seq < last.seq:
        raise Broken(head.seq + 1, "was inserted after the head")
    if head.hash != last.hash:
        raise Broken(last.seq, "is not the one that the head tells of")
    return last


def export() -> Iterator[str]:
    """Every entry as JSON, in order, as its hash was computed and with it."""
    for row, _ in _stream():
        yield json.dumps({**row, "details": json.loads(row["details"])}, separators=(",", ":"))


def _follow(last: Head, row: Row, kept: Mapping[int, str]) -> Head:
    """The head after `row`, which comes next."""
    seq, told = row["seq"], bytes.fromhex(row["hash"])
    if seq > last.seq + 1:
        raise Broken(last.seq + 1, "is missing")
    if seq <= last.seq:
        raise Broken(seq, "was inserted")
    if _hash_of(row) != told:
        raise Broken(seq, "was changed")
    if row["previous_hash"] != last.hash.hex():
        raise Broken(seq, "does not follow the entry before it")
    if kept.get(seq, row["hash"]) != row["hash"]:
        raise Broken(seq, "is not the one that was kept: it, or one before it, was written anew")
    return Head(seq=seq, hash=told)


def _hash_of(row: Row) -> bytes | None:
    content = {name: value for name, value in row.items() if name != "hash"}
    try:
        return digest({**content, "details": json.loads(row["details"])})
    except (ValueError, RecursionError):
        # Nothing that was appended looks like that.
        return None


def _ends_here(last: Head, wanted: Head, who: str) -> None:
    if wanted.seq > last.seq:
        raise Broken(last.seq + 1, f"is missing: {who} says that there are {wanted.seq:,}")


def _stream() -> Iterator[tuple[Row, Head | None]]:
    """Every entry, with the head as it was when the reading began."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(_ENTRIES)
        while found := cursor.fetchmany(CHUNK):
            for *values, seq, last in found:
                row = dict(zip(_COLUMNS, values, strict=True))
                yield row, None if seq is None else Head(seq=seq, hash=bytes(last))


def _head_of_nothing() -> Head | None:
    """The head of a ledger that has no entries; of none at all, too."""
    with connection.cursor() as cursor:
        cursor.execute(_HEAD_OF_NOTHING)
        found = cursor.fetchone()
    return Head(seq=found[0], hash=bytes(found[1])) if found else Head()


# Instants as numbers, documents as text: whatever was put into a row by hand can be read, infinity included.
_ENTRIES = """
SELECT seq, trunc(extract(epoch FROM at) * 1000000)::text, principal, action, route, query, memory_ids::text[],
       details::text, request_id, reach_tiers, reach_blocked, reach_required, reach_namespaces,
       encode(previous_hash, 'hex'), encode(hash, 'hex'), (SELECT seq FROM audit_head), (SELECT hash FROM audit_head)
FROM audit_entries ORDER BY audit_entries.seq
"""
_HEAD_OF_NOTHING = "SELECT seq, hash FROM audit_head WHERE NOT EXISTS (SELECT FROM audit_entries)"
