"""The histogram as an SVG chart: bars in a coordinate system of its own, and links above them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from inspector import time_context
from inspector.presenters.memory_search import MemorySearch, format_date_or_instant
from memoryhub.memories.histogram import Bucket, Histogram

CHART_WIDTH = 1200
CHART_HEIGHT = 56
RAIL_HEIGHT = 24
"""Height of the strip below the bars, where the reader chooses the instant."""
MIN_BAR_HEIGHT = 2
MAX_BAR_WIDTH = 60
# Maximum number of links on a wide screen and on a telephone: each link must be wide enough to tap.
MAX_WIDE_LINKS = 30
MAX_NARROW_LINKS = 10
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeLink:
    """A time range of the chart that a link zooms into."""

    x: float
    width: float
    label: str
    count: int
    url: str
    as_of: str
    """The last instant of the range, and the list as of that instant; for the last range, the list without `as_of`."""
    as_of_label: str
    as_of_url: str
    is_active: bool

    @property
    def end_x(self) -> float:
        return round(self.x + self.width, 2)

    @property
    def notch_y(self) -> float:
        return CHART_HEIGHT + RAIL_HEIGHT / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramChart:
    bars: list[Bar]
    wide_links: list[RangeLink]
    narrow_links: list[RangeLink]
    range_label: str
    axis_labels: list[str]
    wider_url: str | None
    all_url: str | None
    earlier_url: str | None
    later_url: str | None
    cursor_x: float
    """Position of the list's `as_of` on the x axis."""
    width: int = CHART_WIDTH
    height: int = CHART_HEIGHT
    rail_height: int = RAIL_HEIGHT

    @property
    def total_height(self) -> int:
        return self.height + self.rail_height

    @property
    def later_width(self) -> float:
        return round(self.width - self.cursor_x, 2)


def build_histogram_chart(
    histogram: Histogram, search: MemorySearch, as_of: datetime | None = None
) -> HistogramChart | None:
    """Return the chart, or None if there are no counts. `histogram` also covers the time after `as_of`."""
    buckets = histogram.buckets
    if not buckets or not histogram.max_count:
        return None
    start, end = buckets[0].start, buckets[-1].end
    has_time_filter = "from" in search.params or "to" in search.params
    wide_links = _build_links(buckets, MAX_WIDE_LINKS, search, as_of)
    earlier_url, later_url = _find_step_urls(wide_links, as_of)
    return HistogramChart(
        bars=_build_bars(buckets, histogram.max_count),
        wide_links=wide_links,
        narrow_links=_build_links(buckets, MAX_NARROW_LINKS, search, as_of),
        earlier_url=earlier_url,
        later_url=later_url,
        cursor_x=x_position(as_of, start, end) if as_of else CHART_WIDTH,
        range_label=_format_range(start, end) + (" (the newest only)" if histogram.is_capped else ""),
        axis_labels=format_axis_labels(start, end),
        wider_url=_build_wider_url(start, end, search) if has_time_filter else None,
        all_url=search.without_time_url if has_time_filter else None,
    )


def _build_bars(buckets: Sequence[Bucket], max_count: int) -> list[Bar]:
    step = CHART_WIDTH / len(buckets)
    bars = []
    for index, bucket in enumerate(buckets):
        if bucket.count:
            height = max(round(bucket.count / max_count * CHART_HEIGHT, 1), MIN_BAR_HEIGHT)
            bars.append(
                Bar(
                    x=round(index * step, 2),
                    y=CHART_HEIGHT - height,
                    width=round(min(step * 0.8, MAX_BAR_WIDTH), 2),
                    height=height,
                )
            )
    return bars


def _build_links(
    buckets: Sequence[Bucket], max_links: int, search: MemorySearch, as_of: datetime | None
) -> list[RangeLink]:
    """Return at most `max_links` links, each over equally many buckets; none for ranges without counts."""
    buckets_per_link = -(-len(buckets) // max_links)
    step = CHART_WIDTH / len(buckets)
    links = []
    for index in range(0, len(buckets), buckets_per_link):
        link_buckets = buckets[index : index + buckets_per_link]
        start, end = link_buckets[0].start, link_buckets[-1].end
        count = sum(bucket.count for bucket in link_buckets)
        if count:
            is_last = not any(bucket.count for bucket in buckets[index + buckets_per_link :])
            last_instant = end - MICROSECOND
            links.append(
                RangeLink(
                    x=round(index * step, 2),
                    width=round(len(link_buckets) * step, 2),
                    label=_format_range(start, end),
                    count=count,
                    url=search.url_replacing(from_=format_date_or_instant(start), to=format_date_or_instant(end)),
                    as_of="" if is_last else time_context.format_iso_instant(last_instant),
                    as_of_label="the latest" if is_last else time_context.format_instant(last_instant),
                    as_of_url=search.as_of_url("" if is_last else time_context.format_iso_instant(last_instant)),
                    is_active=as_of == last_instant or (is_last and as_of is None),
                )
            )
    return links


def _find_step_urls(links: Sequence[RangeLink], as_of: datetime | None) -> tuple[str | None, str | None]:
    """Return the list's addresses as of the end of the previous range and of the next one, each None if missing."""
    link_ends = [(time_context.parse_instant(link.as_of) or _MAX_INSTANT, link.as_of_url) for link in links]
    current_instant = as_of or _MAX_INSTANT
    earlier_urls = [url for link_end, url in link_ends if link_end < current_instant]
    later_urls = [url for link_end, url in link_ends if link_end > current_instant]
    return earlier_urls[-1] if earlier_urls else None, later_urls[0] if later_urls else None


def x_position(instant: datetime, start: datetime, end: datetime) -> float:
    """Return the x position of an instant on an axis from `start` to `end`."""
    return round(min(max((instant - start) / (end - start), 0), 1) * CHART_WIDTH, 2)


def _build_wider_url(start: datetime, end: datetime, search: MemorySearch) -> str:
    """Return the list for a range three times as long, with the same middle."""
    try:
        start, end = start - (end - start), end + (end - start)
    except OverflowError:
        return search.without_time_url
    return search.url_replacing(from_=format_date_or_instant(start), to=format_date_or_instant(end))


def format_axis_labels(start: datetime, end: datetime) -> list[str]:
    """Return five labels, evenly spaced from `start` to `end`."""
    duration = end - start
    instants = [start + duration * quarter / 4 for quarter in range(5)]
    if duration <= 3 * DAY:
        return [f"{_format_day(instant)}, {instant:%H:%M}" for instant in instants]
    return [_format_day(instant, with_year=duration > 300 * DAY) for instant in instants]


def _format_range(start: datetime, end: datetime) -> str:
    """Format a half-open range. Whole days are written with the last day included."""
    if (end - start) % DAY or start.time() != datetime.min.time():
        return f"{_format_day(start, with_year=True)}, {start:%H:%M} – {_format_range_end(start, end)} UTC"
    last_day = end - DAY
    if last_day <= start:
        return _format_day(start, with_year=True)
    return f"{_format_day(start, with_year=start.year != last_day.year)} – {_format_day(last_day, with_year=True)}"


def _format_range_end(start: datetime, end: datetime) -> str:
    return f"{end:%H:%M}" if end.date() == start.date() else f"{_format_day(end)}, {end:%H:%M}"


def _format_day(instant: datetime, *, with_year: bool = False) -> str:
    return f"{instant.day} {instant:%b}" + (f" {instant.year}" if with_year else "")


_MAX_INSTANT = datetime.max.replace(tzinfo=UTC)
