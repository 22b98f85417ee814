"""The distribution over event time of the memories that a caller may see."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Literal

from django.db import connection
from django.db.models import DateField, QuerySet, Sum
from django.db.models.functions import Cast

from memoryhub.memories.facets import MAX_LIVE_COUNTED, expiring_matches, live_matches, rollup_rows
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import MemoryDayRollup, MemoryTotalRollup
from memoryhub.memories.text_search import Matches

TARGET_BUCKETS = 100
MAX_HOURLY_SPAN = timedelta(days=3)
_DAY = timedelta(days=1)
_BUCKET_DAYS = (1, 2, 7, 14, 28, 91, 182, 364)
_ROLLUP_LOOKUPS = {
    "namespace": "namespace",
    "source": "source",
    "actor_type": "actor_type",
    "tier": "classification_tier",
    "status": "status",
    "from": "day__gte",
    "to": "day__lt",
}
_TOTAL_LOOKUPS = {"tier": "classification_tier", "status": "status", "from": "value__gte", "to": "value__lt"}
CountsByInstant = dict[datetime, int]


@dataclass(frozen=True, slots=True)
class Bucket:
    """Memories with start <= timestamp < end."""

    start: datetime
    end: datetime
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    buckets: list[Bucket]
    is_capped: bool
    """Whether more memories match than were counted. Then the newest `MAX_LIVE_COUNTED` are shown."""

    @property
    def max_count(self) -> int:
        return max((bucket.count for bucket in self.buckets), default=0)


def build_histogram(filters: MemoryFilterSet) -> Histogram:
    """Return at most about TARGET_BUCKETS buckets of equal width over the memories that match `filters`, in UTC.

    The axis covers the days of the filters `from` and `to`, else those with visible matches.
    """
    start, end = filters.values.get("from"), filters.values.get("to")
    if start and end and end - start <= MAX_HOURLY_SPAN:
        counts, is_capped = _count_live(live_matches(filters), "hour")
        hour = start.replace(minute=0, second=0, microsecond=0)
        return Histogram(buckets=_build_buckets(counts, timedelta(hours=1), hour, end), is_capped=is_capped)
    counts, is_capped = _count_days(filters)
    if not counts:
        return Histogram(buckets=[], is_capped=False)
    first_day, last_day = min(counts), max(counts)
    # Counts by day need buckets that begin with a day.
    start, end = datetime.combine(start or first_day, time(), UTC), end or _add_clamped(last_day, _DAY)
    return Histogram(buckets=_build_buckets(counts, _bucket_width(end - start), start, end), is_capped=is_capped)


def _count_days(filters: MemoryFilterSet) -> tuple[CountsByInstant, bool]:
    rollup_days = daily_rollup(filters)
    if rollup_days is None:
        return _count_live(live_matches(filters), "day")
    counts, _ = _count_live(Matches(expiring_matches(filters), is_truncated=False), "day")
    for day, count in rollup_days:
        midnight = datetime.combine(day, time(), UTC)
        counts[midnight] = counts.get(midnight, 0) + int(count)
    return counts, False


def daily_rollup(filters: MemoryFilterSet) -> QuerySet[Any, Any] | None:
    """Return (day, count) of a rollup's rows that match `filters`; None if no rollup has the columns they need."""
    if _splits_a_day(filters):
        return None
    if (totals := rollup_rows(filters, _TOTAL_LOOKUPS, MemoryTotalRollup)) is not None:
        total_days = totals.filter(dimension="day").annotate(day=Cast("value", DateField()))
        return total_days.values_list("day").annotate(subtotal=Sum("count"))
    if (rollups := rollup_rows(filters, _ROLLUP_LOOKUPS, MemoryDayRollup)) is not None:
        return rollups.values_list("day").annotate(subtotal=Sum("count"))
    return None


def _splits_a_day(filters: MemoryFilterSet) -> bool:
    return any(name in filters.values and filters.values[name].time() != time() for name in ("from", "to"))


def _count_live(matches: Matches, unit: Literal["hour", "day"]) -> tuple[CountsByInstant, bool]:
    sql, params = matches.rows.newest_sql(MAX_LIVE_COUNTED)
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS_BY_UNIT_SQL.format(rows=sql), [unit, *params])
        counts: CountsByInstant = dict(cursor.fetchall())
    return counts, matches.is_truncated or sum(counts.values()) >= MAX_LIVE_COUNTED


def _build_buckets(counts: CountsByInstant, width: timedelta, start: datetime, end: datetime) -> list[Bucket]:
    """Return buckets of `width` from `start` up to the first one that reaches `end`."""
    bucket_counts = [0] * max(-((start - end) // width), 1)
    for instant, count in counts.items():
        # The last possible instant belongs to the last bucket.
        bucket_counts[min((instant - start) // width, len(bucket_counts) - 1)] += count
    return [
        Bucket(start + index * width, _add_clamped(start, (index + 1) * width), count)
        for index, count in enumerate(bucket_counts)
    ]


def _bucket_width(span: timedelta) -> timedelta:
    bucket_days = -(-(span // _DAY) // TARGET_BUCKETS)
    return next((width for width in _BUCKET_DAYS if width >= bucket_days), bucket_days) * _DAY


def _add_clamped(start: datetime, distance: timedelta) -> datetime:
    """Return `start` + `distance`, or the last possible instant if that is earlier."""
    return start + distance if distance <= _MAX_INSTANT - start else _MAX_INSTANT


_MAX_INSTANT = datetime.max.replace(tzinfo=UTC)
_COUNTS_BY_UNIT_SQL = """
SELECT date_trunc(%s, timestamp, 'UTC') AS instant, count(*) FROM ({rows}) AS matched GROUP BY instant
"""
