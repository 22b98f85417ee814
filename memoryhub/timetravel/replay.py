"""Replay: the answer to a query at an earlier point in time, beside the answer now.

Both are computed as the principal, with the clearance that it has now: time travel never declassifies.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from urllib.parse import urlsplit
from uuid import UUID

from django.http import QueryDict

from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall import rls
from memoryhub.firewall.principal import Principal
from memoryhub.memories import pagination
from memoryhub.memories.filter_fields import normalize_form_query
from memoryhub.memories.filters import POINT_IN_TIME_PARAMS, MemoryFilterSet
from memoryhub.memories.pagination import Page
from memoryhub.memories.point_in_time import PointInTime
from memoryhub.memories.records import LIST_FIELDS, MemoryRecord
from memoryhub.timetravel import point_queries

REPLAY_PARAMS = ("query", "as", *POINT_IN_TIME_PARAMS)
REPLAYABLE_PATHS = ("", "/", "/memories", "/api/memories", "/api/timetravel")
MAX_QUERY_CHARACTERS = 8_000
# Parameters of the display, not of the query.
_DISPLAY_PARAMS = ("back", "full")


class ChangeMark(StrEnum):
    """How a record of one answer compares with the other answer."""

    ONLY_THEN = "only_then"
    ONLY_NOW = "only_now"
    CHANGED = "changed"
    SAME = "same"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPair:
    """One row of the comparison: the record then, the record now, or both if they are the same memory."""

    then: MemoryRecord | None
    now: MemoryRecord | None
    mark: ChangeMark


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Both answers to one query, complete and in their order."""

    point_in_time: PointInTime
    then: Page
    now: Page

    @property
    def memory_ids(self) -> list[UUID]:
        return list(dict.fromkeys(record["memory_id"] for page in (self.then, self.now) for record in page.records))

    @property
    def pairs(self) -> list[RecordPair]:
        return list(_pair_records(self.then.records, self.now.records))

    @property
    def marks(self) -> dict[UUID, ChangeMark]:
        return {(pair.then or pair.now or {})["memory_id"]: pair.mark for pair in self.pairs}


def replay_query(
    query: str, *, instants: Mapping[str, str], principal: Principal, names: tuple[str, ...] = LIST_FIELDS
) -> Replay:
    """Answer `query`, the URL of a list or its query string, as `principal`, then and now.

    `instants` are `as_of` or `known_at` or both; they replace those in `query`. Raises InvalidQueryError.
    """
    params = _parse_query(query)
    if overrides := {name: value for name, value in instants.items() if value}:
        for name in POINT_IN_TIME_PARAMS:
            params.pop(name, None)
        params.update(overrides)
    with rls.as_reader(principal.clearance):
        past_page = point_queries.query_at(params, principal=principal, names=names)
        return Replay(
            point_in_time=past_page.point_in_time, then=past_page.page, now=_current_page(params, principal, names)
        )


def _current_page(params: QueryDict, principal: Principal, names: tuple[str, ...]) -> Page:
    """The list or the state now, without an instant."""
    current_params = params.copy()
    for name in POINT_IN_TIME_PARAMS:
        current_params.pop(name, None)
    filter_set_class = (
        point_queries.StateFilterSet if current_params.pop("view", [""])[-1] == "state" else MemoryFilterSet
    )
    filters = filter_set_class(current_params, clearance=principal.clearance, extra_params=pagination.PAGE_PARAMS)
    return pagination.list_page(
        filters,
        principal=principal,
        params={name: current_params.get(name, "") for name in pagination.PAGE_PARAMS},
        names=names,
    )


def _parse_query(query: str) -> QueryDict:
    """The parameters in `query`. A cursor is refused, because it is valid only for one caller and one instant."""
    if len(query) > MAX_QUERY_CHARACTERS:
        raise InvalidQueryError({"query": [f"must be at most {MAX_QUERY_CHARACTERS:,} characters long."]})
    text = query.strip()
    is_url = "?" in text or "/" in text.partition("=")[0]
    try:
        url = urlsplit(text if is_url else f"?{text}")
        params = normalize_form_query(QueryDict(url.query))
    except (ValueError, UnicodeError):
        raise InvalidQueryError({"query": ["is not a URL."]}) from None
    if url.path not in REPLAYABLE_PATHS:
        raise InvalidQueryError({"query": ["must be the URL of a list of memories, or its query string."]})
    if params.get("cursor"):
        raise InvalidQueryError({"query": ["must ask for a first page: leave out the cursor."]})
    if params.get("view", "list") not in ("", "list", "state"):
        raise InvalidQueryError({"query": ["can be replayed for the views list and state."]})
    for name in [name for name in params if name in _DISPLAY_PARAMS]:
        del params[name]
    return params


def _pair_records(then: Sequence[MemoryRecord], now: Sequence[MemoryRecord]) -> Iterator[RecordPair]:
    """The records of both answers in order; a memory that has moved within the list has two rows."""
    past_by_id, current_by_id = ({record["memory_id"]: record for record in page} for page in (then, now))

    def get_mark(record: MemoryRecord) -> ChangeMark:
        past_record, current_record = past_by_id.get(record["memory_id"]), current_by_id.get(record["memory_id"])
        if past_record is None or current_record is None:
            return ChangeMark.ONLY_NOW if past_record is None else ChangeMark.ONLY_THEN
        # Versions never change, so the same version number means the same record.
        return ChangeMark.SAME if past_record["version"] == current_record["version"] else ChangeMark.CHANGED

    matcher = SequenceMatcher(None, list(past_by_id), list(current_by_id), autojunk=False)
    for opcode, start, end, start_now, end_now in matcher.get_opcodes():
        if opcode == "equal":
            for past_record, current_record in zip(then[start:end], now[start_now:end_now], strict=True):
                yield RecordPair(then=past_record, now=current_record, mark=get_mark(past_record))
        else:
            yield from (RecordPair(then=record, now=None, mark=get_mark(record)) for record in then[start:end])
            yield from (RecordPair(then=None, now=record, mark=get_mark(record)) for record in now[start_now:end_now])
