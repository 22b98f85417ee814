"""What somebody would have received, had they asked a question at an earlier instant, beside what they receive now.

It is answered as them, behind the wall of the clearance that they hold now: time travel never declassifies.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from urllib.parse import urlsplit
from uuid import UUID

from django.http import QueryDict

from memoryhub.firewall import wall
from memoryhub.firewall.types import Principal
from memoryhub.memories import pages
from memoryhub.memories.filters import MOMENT, BadQuery, MemoryFilterSet, read_form
from memoryhub.memories.moment import Moment
from memoryhub.memories.pages import Page
from memoryhub.memories.records import RECORD, Record
from memoryhub.timetravel import travel

ASKED = ("query", "as", *MOMENT)
LISTS = ("", "/", "/memories", "/api/memories", "/api/timetravel")
LONGEST_QUERY = 8_000
# How a list was shown, and not what was asked of it.
_MANNERS = ("list", "whole")


class Mark(StrEnum):
    """What became of a record of either answer."""

    ONLY_THEN = "only_then"
    ONLY_NOW = "only_now"
    CHANGED = "changed"
    SAME = "same"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A place in the answers: what stood there then, what stands there now, or both, if it is the same memory."""

    then: Record | None
    now: Record | None
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Both answers to one question, whole and in their order."""

    moment: Moment
    then: Page
    now: Page

    @property
    def memory_ids(self) -> list[UUID]:
        return list(dict.fromkeys(record["memory_id"] for page in (self.then, self.now) for record in page.records))

    @property
    def pairs(self) -> list[Pair]:
        return list(_pairs(self.then.records, self.now.records))

    @property
    def marks(self) -> dict[UUID, Mark]:
        return {(pair.then or pair.now or {})["memory_id"]: pair.mark for pair in self.pairs}


def replay(query: str, *, instants: Mapping[str, str], caller: Principal, names: tuple[str, ...] = RECORD) -> Replay:
    """Answer `query`, the address of a list or what stands behind its question mark, as `caller`, then and now.

    `instants` are `as_of` or `known_at` or both; they take the place of those in `query`. Raises BadQuery.
    """
    asked = _read(query)
    if given := {name: value for name, value in instants.items() if value}:
        for name in MOMENT:
            asked.pop(name, None)
        asked.update(given)
    with wall.behind(caller.clearance):
        then = travel.travel(asked, reader=caller, names=names)
        return Replay(moment=then.moment, then=then.page, now=_now(asked, caller, names))


def _now(asked: QueryDict, caller: Principal, names: tuple[str, ...]) -> Page:
    """The plain list, or state, as it is when it is asked for without an instant."""
    of_now = asked.copy()
    for name in MOMENT:
        of_now.pop(name, None)
    of_view = travel.StateFilterSet if of_now.pop("view", [""])[-1] == "state" else MemoryFilterSet
    filters = of_view(of_now, clearance=caller.clearance, besides=pages.PARAMETERS)
    return pages.page(
        filters, reader=caller, parameters={name: of_now.get(name, "") for name in pages.PARAMETERS}, names=names
    )


def _read(query: str) -> QueryDict:
    """The question in `query`. A later page is none: its cursor is good for one caller and one instant alone."""
    if len(query) > LONGEST_QUERY:
        raise BadQuery({"query": [f"must be at most {LONGEST_QUERY:,} characters long."]})
    text = query.strip()
    is_address = "?" in text or "/" in text.partition("=")[0]
    try:
        parts = urlsplit(text if is_address else f"?{text}")
        asked = read_form(QueryDict(parts.query))
    except (ValueError, UnicodeError):
        raise BadQuery({"query": ["is not an address."]}) from None
    if parts.path not in LISTS:
        raise BadQuery({"query": ["must be the address of a list of memories, or what stands behind its ?."]})
    if asked.get("cursor"):
        raise BadQuery({"query": ["must ask for a first page: leave out the cursor."]})
    if asked.get("view", "list") not in ("", "list", "state"):
        raise BadQuery({"query": ["can be replayed for the views list and state."]})
    for name in [name for name in asked if name in _MANNERS]:
        del asked[name]
    return asked


def _pairs(then: Sequence[Record], now: Sequence[Record]) -> Iterator[Pair]:
    """The records of both in their orders; a memory that stands elsewhere now has two places."""
    before, after = ({record["memory_id"]: record for record in page} for page in (then, now))

    def mark(record: Record) -> Mark:
        one, other = before.get(record["memory_id"]), after.get(record["memory_id"])
        if one is None or other is None:
            return Mark.ONLY_NOW if one is None else Mark.ONLY_THEN
        # A version is what it is for ever.
        return Mark.SAME if one["version"] == other["version"] else Mark.CHANGED

    matcher = SequenceMatcher(None, list(before), list(after), autojunk=False)
    for kind, start, end, start_now, end_now in matcher.get_opcodes():
        if kind == "equal":
            for one, other in zip(then[start:end], now[start_now:end_now], strict=True):
                yield Pair(then=one, now=other, mark=mark(one))
        else:
            yield from (Pair(then=record, now=None, mark=mark(record)) for record in then[start:end])
            yield from (Pair(then=None, now=record, mark=mark(record)) for record in now[start_now:end_now])
