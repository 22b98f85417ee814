"""What was known, and what was believed, at an instant of event time, of record time, or of both."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from django.http import QueryDict

from memoryhub.firewall.types import Principal
from memoryhub.memories import clock, pages
from memoryhub.memories.filters import MOMENT, BadQuery, MemoryFilterSet
from memoryhub.memories.moment import Moment
from memoryhub.memories.pages import Page
from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.memories.records import RECORD
from memoryhub.timetravel import history
from memoryhub.timetravel.history import HistoryFilterSet

PARAMETERS = ("view", *pages.PARAMETERS)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class StateFilterSet(MemoryFilterSet):
    """What was believed: of the values that the filters leave of a key, the latest.

    A text and labels are looked for in what was believed; all other filters say what may be believed.
    """

    listed = "state"

    @cached_property
    def candidates(self) -> MemoryQuerySet:
        return super().candidates.believed()


_FILTERS = {"list": MemoryFilterSet, "state": StateFilterSet, "history": HistoryFilterSet}
VIEWS = tuple(_FILTERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A page of what was known at `moment`, and how many memories have been erased since.

    They are missing, but for a history, where their versions stand blank.
    """

    page: Page
    moment: Moment
    erased: int


def travel(data: QueryDict, *, reader: Principal, names: tuple[str, ...] = RECORD) -> Answer:
    """The page that `data` asks for: filters, `as_of` or `known_at` or both, `view`, `limit` and `cursor`.

    A list needs an instant. What was believed without one is what is believed now, and a history, which is of one
    subject, is all of it. Without `known_at` it is what is known now, and stays that on the pages that follow. Raises
    BadQuery.
    """
    view = data.get("view") or "list"
    if view not in VIEWS:
        raise BadQuery({"view": [f"must be one of {', '.join(VIEWS)}."]})
    if view == "list" and not any(data.get(name) for name in MOMENT):
        raise BadQuery({"as_of": ["is needed here, unless known_at is given."]}, "missing_parameter")
    asked, cursor, now = _pinned(data)
    filters = _FILTERS[view](asked, clearance=reader.clearance, besides=PARAMETERS, now=now)
    of_view = history.page if isinstance(filters, HistoryFilterSet) else pages.page
    page = of_view(filters, reader=reader, parameters={"limit": data.get("limit", ""), "cursor": cursor}, names=names)
    next_cursor = page.next_cursor
    if next_cursor and not data.get("known_at"):
        next_cursor = f"{_micros(filters.moment.known_at)}~{next_cursor}"
    return Answer(
        page=Page(records=page.records, next_cursor=next_cursor),
        moment=filters.moment,
        erased=erased(filters),
    )


def erased(filters: MemoryFilterSet) -> int:
    """How many memories that `filters` might have found have been erased since."""
    gone: Any = filters.qs.filter(status="erased").values("memory_id").distinct()
    return 0 if "status" in filters.values else int(gone.count())


def _pinned(data: QueryDict) -> tuple[QueryDict, str, datetime | None]:
    """`data` with an instant of record time, the cursor within what was known then, and the now of the first page.

    The instant stands before the cursor, which is signed for it.
    """
    asked, cursor = data.copy(), data.get("cursor", "")
    if data.get("known_at"):
        return asked, cursor, None
    micros, _, rest = cursor.partition("~")
    if cursor and not (rest and micros.isascii() and micros.isdecimal() and len(micros) < 18):
        raise pages.bad_cursor()
    known_at = _EPOCH + int(micros) * _MICROSECOND if cursor else clock.settle()
    asked["known_at"] = known_at.isoformat()
    return asked, rest, known_at


def _micros(instant: datetime | None) -> int:
    return (instant - _EPOCH) // _MICROSECOND if instant else 0
