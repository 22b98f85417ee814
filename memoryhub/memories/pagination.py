"""Keyset pagination: the same cost at any depth, and cursors that nobody but their recipient can use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall.cursors import create_cursor_codec
from memoryhub.firewall.principal import Principal
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.memories.records import LIST_FIELDS, MemoryRecord, newest_records
from memoryhub.memories.sql.search_conditions import SearchTerms
from memoryhub.memories.text_search import newest_matching

DEFAULT_LIMIT = 20
MAX_LIMIT = 200
MAX_SCANNED = 20_000
"""Maximum number of memories that are read one by one to fill a page with matches of a common text or label."""
PAGE_PARAMS = ("limit", "cursor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some records of a list, and the cursor of the next page."""

    records: list[MemoryRecord]
    next_cursor: str | None

    @property
    def has_more(self) -> bool:
        return self.next_cursor is not None


class Keyset(NamedTuple):
    """A row's position in a list that is newest first. `version` matters if a memory is in the list more than once."""

    timestamp: datetime
    memory_id: UUID
    version: int


def list_page(
    filters: MemoryFilterSet, *, principal: Principal, params: Mapping[str, str], names: tuple[str, ...] = LIST_FIELDS
) -> Page:
    """Return the page of `filters` that `limit` and `cursor` in `params` select; its records have the fields `names`.

    Raises InvalidQueryError, with the same message for every invalid cursor.
    """

    def fetch_after(keyset: Keyset | None, limit: int) -> list[MemoryRecord]:
        candidates = (
            filters.candidates.after_keyset(keyset.timestamp, keyset.memory_id) if keyset else filters.candidates
        )
        return _newest_page(candidates, filters.search_terms, limit, names)

    return paginate(fetch_after, filters, principal=principal, params=params)


def paginate(
    fetch_after: Callable[[Keyset | None, int], list[MemoryRecord]],
    filters: MemoryFilterSet,
    *,
    principal: Principal,
    params: Mapping[str, str],
) -> Page:
    """Return the page that `params` select. `fetch_after` returns up to so many rows of the list after a keyset."""
    limit = parse_limit(params.get("limit", ""))
    codec = create_cursor_codec(principal, filters.cursor_kind, sorted(filters.active_filters))
    cursor = params.get("cursor")
    rows = fetch_after(Keyset(*codec.decode(cursor, datetime, UUID, int)) if cursor else None, limit + 1)
    if len(rows) <= limit:
        return Page(records=rows, next_cursor=None)
    last_row = rows[limit - 1]
    next_cursor = codec.encode(last_row["timestamp"], last_row["memory_id"], last_row["version"])
    return Page(records=rows[:limit], next_cursor=next_cursor)


def _newest_page(
    candidates: MemoryQuerySet, search_terms: SearchTerms, limit: int, names: tuple[str, ...]
) -> list[MemoryRecord]:
    if not search_terms:
        return newest_records(candidates, limit, names)
    matches = newest_matching(candidates, search_terms, target_count=limit, max_scanned=MAX_SCANNED)
    rows = newest_records(matches.rows, limit, names)
    if len(rows) == limit or not matches.is_truncated:
        return rows
    # The range held fewer matches than its sample predicted.
    return newest_records(candidates.matching_by_index(search_terms), limit, names)


def parse_limit(text: str) -> int:
    """Return the number of records on a page: 20 by default, at most 200. Raises InvalidQueryError."""
    return parse_positive_int("limit", text, default=DEFAULT_LIMIT, maximum=MAX_LIMIT)


def exceeds_limit(text: str) -> bool:
    """Whether `text` is a page size above MAX_LIMIT."""
    digits = text.lstrip("0")
    return digits.isascii() and digits.isdecimal() and (len(digits) > 4 or int(digits) > MAX_LIMIT)


def parse_positive_int(name: str, text: str, *, default: int, maximum: int) -> int:
    """Return a whole number of at least 1, clamped to `maximum`. Raises InvalidQueryError."""
    if text == "":
        return default
    if not (text.isascii() and text.isdecimal()) or not text.strip("0"):
        raise InvalidQueryError({name: ["must be a whole number of at least 1."]})
    digits = text.lstrip("0")
    return maximum if len(digits) > 4 else min(int(digits), maximum)
