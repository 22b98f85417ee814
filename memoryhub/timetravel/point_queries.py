"""Queries at a point in time: an instant of event time, of record time, or of both."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.http import QueryDict

from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall.cursors import create_cursor_codec
from memoryhub.firewall.principal import Principal
from memoryhub.memories import clock, pagination
from memoryhub.memories.filters import POINT_IN_TIME_PARAMS, MemoryFilterSet
from memoryhub.memories.pagination import Page
from memoryhub.memories.point_in_time import PointInTime
from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.memories.records import LIST_FIELDS
from memoryhub.timetravel import history
from memoryhub.timetravel.history import HistoryFilterSet

TIME_TRAVEL_PARAMS = ("view", *pagination.PAGE_PARAMS)


class StateFilterSet(MemoryFilterSet):
    """The state: the latest of the values of each key that the filters leave.

    Text and labels are searched in the resulting values; all other filters apply before the latest value is chosen.
    """

    cursor_kind = "state"

    @cached_property
    def candidates(self) -> MemoryQuerySet:
        return super().candidates.latest_per_key()


_FILTER_SETS = {"list": MemoryFilterSet, "state": StateFilterSet, "history": HistoryFilterSet}
VIEWS = tuple(_FILTER_SETS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeTravelPage:
    """A page of what was known at `point_in_time`, and the number of memories that have been erased since.

    Erased memories are missing from the page, except in a history, which shows their versions blank.
    """

    page: Page
    point_in_time: PointInTime
    erased_count: int


def query_at(params: QueryDict, *, principal: Principal, names: tuple[str, ...] = LIST_FIELDS) -> TimeTravelPage:
    """The page given by `params`: filters, `as_of` or `known_at` or both, `view`, `limit` and `cursor`.

    The view `list` needs an instant. Without one, `state` shows the present values, and `history`, which needs a
    subject, shows all versions. `known_at` defaults to now, and the pages that follow keep that instant. Raises
    InvalidQueryError.
    """
    view = params.get("view") or "list"
    if view not in VIEWS:
        raise InvalidQueryError({"view": [f"must be one of {', '.join(VIEWS)}."]})
    if view == "list" and not any(params.get(name) for name in POINT_IN_TIME_PARAMS):
        raise InvalidQueryError({"as_of": ["is required unless known_at is given."]}, "missing_parameter")
    # The instant is encoded around the cursor of the list, which is valid for this instant only.
    codec = create_cursor_codec(principal, "record time")
    pinned_params, cursor, known_at = params.copy(), params.get("cursor", ""), None
    if not params.get("known_at"):
        known_at, cursor = codec.decode(cursor, datetime, str) if cursor else (clock.stable_record_time(), "")
        pinned_params["known_at"] = known_at.isoformat()
    filters = _FILTER_SETS[view](
        pinned_params, clearance=principal.clearance, extra_params=TIME_TRAVEL_PARAMS, now=known_at
    )
    list_view = history.list_page if isinstance(filters, HistoryFilterSet) else pagination.list_page
    page = list_view(
        filters, principal=principal, params={"limit": params.get("limit", ""), "cursor": cursor}, names=names
    )
    next_cursor = page.next_cursor
    if next_cursor and known_at:
        next_cursor = codec.encode(known_at, next_cursor)
    return TimeTravelPage(
        page=Page(records=page.records, next_cursor=next_cursor),
        point_in_time=filters.point_in_time,
        erased_count=count_erased(filters),
    )


def count_erased(filters: MemoryFilterSet) -> int:
    """Number of memories erased since that `filters` might have matched; 0 with a filter on the status."""
    erased_ids: Any = filters.qs.filter(status="erased").values("memory_id").distinct()
    return 0 if "status" in filters.values else int(erased_ids.count())
