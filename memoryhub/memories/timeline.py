"""How the memories that a caller may see spread over event time."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Literal

from django.db import connection
from django.db.models import DateField, QuerySet, Sum
from django.db.models.functions import Cast

from memoryhub.memories.facets import LIVE_CAP, counted_live, tally
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import MemoryDay, MemoryTotal
from memoryhub.memories.substring import Matches

BARS = 100
HOURLY_UP_TO = timedelta(days=3)
_DAY = timedelta(days=1)
_WIDTHS = (1, 2, 7, 14, 28, 91, 182, 364)
_TALLIED = {
    "namespace": "namespace",
    "source": "source",
    "actor_type": "actor_type",
    "tier": "classification_tier",
    "status": "status",
    "from": "day__gte",
    "to": "day__lt",
}
_BROAD = {"tier": "classification_tier", "status": "status", "from": "value__gte", "to": "value__lt"}
Counted = dict[datetime, int]


@dataclass(frozen=True, slots=True)
class Bucket:
    """Memories with start <= timestamp < end."""

    start: datetime
    end: datetime
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    buckets: list[Bucket]
    capped: bool
    """Whether more memories match than were counted: then the newest `LIVE_CAP` are shown."""

    @property
    def highest(self) -> int:
        return max((bucket.count for bucket in self.buckets), default=0)


def histogram(filters: MemoryFilterSet) -> Histogram:
    """At most about `BARS` buckets of one width over what `filters` find, in UTC.

    The axis runs over the days asked for by `from` and `to`, else over those that hold visible matches.
    """
    start, end = filters.values.get("from"), filters.values.get("to")
    if start and end and end - start <= HOURLY_UP_TO:
        counted, capped = _live(counted_live(filters), "hour")
        hour = start.replace(minute=0, second=0, microsecond=0)
        return Histogram(buckets=_buckets(counted, timedelta(hours=1), hour, end), capped=capped)
    counted, capped = _daily(filters)
    if not counted:
        return Histogram(buckets=[], capped=False)
    first, last = min(counted), max(counted)
    # What is counted by the day must lie in bars that begin with a day.
    start, end = datetime.combine(start or first, time(), UTC), end or _at_most(last, _DAY)
    return Histogram(buckets=_buckets(counted, _width(end - start), start, end), capped=capped)


def _daily(filters: MemoryFilterSet) -> tuple[Counted, bool]:
    tallied = days(filters)
    if tallied is None:
        return _live(counted_live(filters), "day")
    mortal = filters.candidates.read_for(filters.sought).mortal(filters.wanted_status)
    counted, _ = _live(Matches(mortal, cut=False), "day")
    for day, number in tallied:
        midnight = datetime.combine(day, time(), UTC)
        counted[midnight] = counted.get(midnight, 0) + int(number)
    return counted, False


def days(filters: MemoryFilterSet) -> QuerySet[Any, Any] | None:
    """(day, count) of what the tally holds of `filters`; None if they ask for more than it knows."""
    if _cuts_a_day(filters):
        return None
    if (totals := tally(filters, _BROAD, MemoryTotal)) is not None:
        days_of_totals = totals.filter(dimension="day").annotate(day=Cast("value", DateField()))
        return days_of_totals.values_list("day").annotate(number=Sum("count"))
    if (tallied := tally(filters, _TALLIED, MemoryDay)) is not None:
        return tallied.values_list("day").annotate(number=Sum("count"))
    return None


def _cuts_a_day(filters: MemoryFilterSet) -> bool:
    return any(name in filters.values and filters.values[name].time() != time() for name in ("from", "to"))


def _live(matches: Matches, unit: Literal["hour", "day"]) -> tuple[Counted, bool]:
    sql, params = matches.rows.newest(LIVE_CAP)
    with connection.cursor() as cursor:
        cursor.execute(_BY_UNIT.format(rows=sql), [unit, *params])
        counted: Counted = dict(cursor.fetchall())
    return counted, matches.cut or sum(counted.values()) >= LIVE_CAP


def _buckets(counted: Counted, width: timedelta, start: datetime, end: datetime) -> list[Bucket]:
    """Buckets of `width` from `start` up to the first that reaches `end`."""
    numbers = [0] * max(-((start - end) // width), 1)
    for moment, number in counted.items():
        # The end of time is the end of the last bar.
        numbers[min((moment - start) // width, len(numbers) - 1)] += number
    return [
        Bucket(start + place * width, _at_most(start, (place + 1) * width), number)
        for place, number in enumerate(numbers)
    ]


def _width(span: timedelta) -> timedelta:
    days = -(-(span // _DAY) // BARS)
    return next((width for width in _WIDTHS if width >= days), days) * _DAY


def _at_most(start: datetime, distance: timedelta) -> datetime:
    """`start` + `distance`, or the end of time."""
    return start + distance if distance <= _END - start else _END


_END = datetime.max.replace(tzinfo=UTC)
_BY_UNIT = """
SELECT date_trunc(%s, timestamp, 'UTC') AS moment, count(*) FROM ({rows}) AS matched GROUP BY moment
"""
