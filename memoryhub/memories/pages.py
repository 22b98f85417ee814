"""Pages by keyset: the same cost at any depth, and cursors that nobody else can use."""

import base64
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
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
_KEY = struct.Struct(">q16si")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some records of a list, and the cursor that asks for those after them."""

    records: list[Record]
    next_cursor: str | None

    @property
    def has_more(self) -> bool:
        return self.next_cursor is not None


class Place(NamedTuple):
    """A row's place in a list that is newest first. Its version matters where a memory stands in it more than once."""

    timestamp: datetime
    memory_id: UUID
    version: int


def page(
    filters: MemoryFilterSet, *, reader: Principal, parameters: Mapping[str, str], names: tuple[str, ...] = RECORD
) -> Page:
    """The page of `filters` that `limit` and `cursor` in `parameters` ask for, its records with `names`.

    Raises BadQuery, for every bad cursor with the same words.
    """

    def rows_after(place: Place | None, wanted: int) -> list[Record]:
        candidates = filters.candidates.before(place.timestamp, place.memory_id) if place else filters.candidates
        return _newest(candidates, filters.sought, wanted, names)

    return paged(rows_after, filters, reader=reader, parameters=parameters)


def paged(
    rows_after: Callable[[Place | None, int], list[Record]],
    filters: MemoryFilterSet,
    *,
    reader: Principal,
    parameters: Mapping[str, str],
) -> Page:
    """The page that `parameters` ask for of a list whose rows `rows_after` tells: after a place, so many of them."""
    limit = parse_limit(parameters.get("limit", ""))
    signer = signer_of(reader, filters.listed, sorted(filters.active))
    cursor = parameters.get("cursor")
    rows = rows_after(_read(cursor, signer) if cursor else None, limit + 1)
    if len(rows) <= limit:
        return Page(records=rows, next_cursor=None)
    return Page(records=rows[:limit], next_cursor=_write(rows[limit - 1], signer))


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
    return parse_number("limit", text, default=DEFAULT_LIMIT, most=MAX_LIMIT)


def exceeds_limit(text: str) -> bool:
    """Whether `text` asks for a larger page than there is."""
    digits = text.lstrip("0")
    return digits.isascii() and digits.isdecimal() and (len(digits) > 4 or int(digits) > MAX_LIMIT)


def parse_number(name: str, text: str, *, default: int, most: int) -> int:
    """A whole number of at least 1, clamped to `most`. Raises BadQuery."""
    if text == "":
        return default
    if not (text.isascii() and text.isdecimal()) or not text.strip("0"):
        raise BadQuery({name: ["must be a whole number of at least 1."]})
    digits = text.lstrip("0")
    return most if len(digits) > 4 else min(int(digits), most)


def _write(row: Record, signer: Signer) -> str:
    key = _KEY.pack((row["timestamp"] - _EPOCH) // _MICROSECOND, row["memory_id"].bytes, row["version"])
    return signer.sign(base64.urlsafe_b64encode(key).decode())


def bad_cursor() -> BadQuery:
    return BadQuery({"cursor": ["is not a cursor of this list."]}, "bad_cursor")


def _read(cursor: str, signer: Signer) -> Place:
    try:
        micros, memory_id, version = _KEY.unpack(base64.urlsafe_b64decode(signer.unsign(cursor)))
    except (BadSignature, ValueError, struct.error):
        raise bad_cursor() from None
    return Place(_EPOCH + micros * _MICROSECOND, UUID(bytes=memory_id), version)
