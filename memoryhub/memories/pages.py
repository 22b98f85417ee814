"""Pages by keyset: the same cost at any depth, and cursors that nobody else can use."""

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.core.signing import BadSignature, Signer

from memoryhub.firewall.cursors import signer_of
from memoryhub.firewall.types import Principal
from memoryhub.memories.filters import BadQuery, MemoryFilterSet
from memoryhub.memories.querysets import MemoryQuerySet, Sought
from memoryhub.memories.records import RECORD, Record, newest
from memoryhub.memories.substring import newest_matches

DEFAULT_LIMIT = 20
MAX_LIMIT = 200
MAX_SCAN = 20_000
"""Memories that are read one by one, at most, to fill a page with those that have a common text or label."""
PARAMETERS = ("limit", "cursor")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_KEY = struct.Struct(">q16s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some records of a list, and the cursor that asks for those after them."""

    records: list[Record]
    next_cursor: str | None

    @property
    def has_more(self) -> bool:
        return self.next_cursor is not None


def page(
    filters: MemoryFilterSet, *, reader: Principal, parameters: Mapping[str, str], names: tuple[str, ...] = RECORD
) -> Page:
    """The page of `filters` that `limit` and `cursor` in `parameters` ask for, its records with `names`.

    Raises BadQuery, for every bad cursor with the same words.
    """
    limit = parse_limit(parameters.get("limit", ""))
    signer = signer_of(reader, "memories", sorted(filters.active))
    candidates = filters.candidates
    if parameters.get("cursor"):
        candidates = candidates.before(*_read(parameters["cursor"], signer))
    rows = _newest(candidates, filters.sought, limit + 1, names)
    if len(rows) <= limit:
        return Page(records=rows, next_cursor=None)
    last = rows[limit - 1]
    return Page(records=rows[:limit], next_cursor=_write(last["timestamp"], last["memory_id"], signer))


def _newest(candidates: MemoryQuerySet, sought: Sought, wanted: int, names: tuple[str, ...]) -> list[Record]:
    if not sought:
        return newest(candidates, wanted, names)
    matches = newest_matches(candidates, sought, wanted=wanted, scan=MAX_SCAN)
    rows = newest(matches.rows, wanted, names)
    if len(rows) == wanted or not matches.cut:
        return rows
    # The stretch held fewer than its sample promised.
    return newest(candidates.looked_up(sought), wanted, names)


def parse_limit(text: str) -> int:
    """How many records a page holds: 20 unless asked, at most 200. Raises BadQuery."""
    if text == "":
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdecimal()) or not text.strip("0"):
        raise BadQuery({"limit": ["must be a whole number of at least 1."]})
    digits = text.lstrip("0")
    return MAX_LIMIT if len(digits) > 4 else min(int(digits), MAX_LIMIT)


def _write(timestamp: datetime, memory_id: UUID, signer: Signer) -> str:
    key = _KEY.pack((timestamp - _EPOCH) // _MICROSECOND, memory_id.bytes)
    return signer.sign(base64.urlsafe_b64encode(key).decode())


def _read(cursor: str, signer: Signer) -> tuple[datetime, UUID]:
    try:
        micros, memory_id = _KEY.unpack(base64.urlsafe_b64decode(signer.unsign(cursor)))
    except (BadSignature, ValueError):
        raise BadQuery({"cursor": ["is not a cursor of this list."]}, "bad_cursor") from None
    return _EPOCH + micros * _MICROSECOND, UUID(bytes=memory_id)
