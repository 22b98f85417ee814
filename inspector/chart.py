"""The timeline as a drawing: bars in a coordinate system of their own, and links that lie over them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from inspector import moment
from inspector.search import Search, as_parameter
from memoryhub.memories.timeline import Bucket, Histogram

WIDTH = 1200
HEIGHT = 56
RAIL = 24
"""The strip below the bars, along which the instant is chosen."""
LOWEST = 2
WIDEST = 60
# A target must be wide enough to hit: so many links at most on a wide screen, and on a telephone.
FINE = 30
COARSE = 10
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time that a link zooms into."""

    x: float
    width: float
    words: str
    count: int
    url: str
    as_of: str
    """The stretch's last instant, and the list as of then; for the last stretch the list without an end."""
    as_of_words: str
    as_of_url: str
    is_here: bool

    @property
    def end(self) -> float:
        return round(self.x + self.width, 2)

    @property
    def notch(self) -> float:
        return HEIGHT + RAIL / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    bars: list[Bar]
    fine: list[Span]
    coarse: list[Span]
    range: str
    ticks: list[str]
    wider_url: str | None
    all_url: str | None
    earlier_url: str | None
    later_url: str | None
    handle: float
    """Where along the drawing the list ends."""
    width: int = WIDTH
    height: int = HEIGHT
    rail: int = RAIL

    @property
    def tall(self) -> int:
        return self.height + self.rail

    @property
    def later(self) -> float:
        return round(self.width - self.handle, 2)


def draw(histogram: Histogram, search: Search, as_of: datetime | None = None) -> Chart | None:
    """The drawing, or None if there is nothing to draw. `histogram` goes on beyond `as_of`, at which the list ends."""
    buckets = histogram.buckets
    if not buckets or not histogram.highest:
        return None
    start, end = buckets[0].start, buckets[-1].end
    is_limited = "from" in search.params or "to" in search.params
    fine = _spans(buckets, FINE, search, as_of)
    earlier, later = _steps(fine, as_of)
    return Chart(
        bars=_bars(buckets, histogram.highest),
        fine=fine,
        coarse=_spans(buckets, COARSE, search, as_of),
        earlier_url=earlier,
        later_url=later,
        handle=place(as_of, start, end) if as_of else WIDTH,
        range=_between(start, end) + (" (the newest only)" if histogram.capped else ""),
        ticks=ticks(start, end),
        wider_url=_wider(start, end, search) if is_limited else None,
        all_url=search.without_time() if is_limited else None,
    )


def _bars(buckets: Sequence[Bucket], highest: int) -> list[Bar]:
    step = WIDTH / len(buckets)
    bars = []
    for place, bucket in enumerate(buckets):
        if bucket.count:
            height = max(round(bucket.count / highest * HEIGHT, 1), LOWEST)
            bars.append(
                Bar(x=round(place * step, 2), y=HEIGHT - height, width=round(min(step * 0.8, WIDEST), 2), height=height)
            )
    return bars


def _spans(buckets: Sequence[Bucket], most: int, search: Search, as_of: datetime | None) -> list[Span]:
    """At most `most` links, each over as many buckets as that takes; none where nothing happened."""
    together = -(-len(buckets) // most)
    step = WIDTH / len(buckets)
    spans = []
    for first in range(0, len(buckets), together):
        covered = buckets[first : first + together]
        start, end = covered[0].start, covered[-1].end
        count = sum(bucket.count for bucket in covered)
        if count:
            is_last = not any(bucket.count for bucket in buckets[first + together :])
            last = end - MICROSECOND
            spans.append(
                Span(
                    x=round(first * step, 2),
                    width=round(len(covered) * step, 2),
                    words=_between(start, end),
                    count=count,
                    url=search.within(from_=as_parameter(start), to=as_parameter(end)),
                    as_of="" if is_last else moment.as_parameter(last),
                    as_of_words="the latest" if is_last else moment.said(last),
                    as_of_url=search.as_of("" if is_last else moment.as_parameter(last)),
                    is_here=as_of == last or (is_last and as_of is None),
                )
            )
    return spans


def _steps(spans: Sequence[Span], as_of: datetime | None) -> tuple[str | None, str | None]:
    """The list as of the end of the stretch before, and of the one after."""
    stops = [(moment.parsed(span.as_of) or _END, span.as_of_url) for span in spans]
    here = as_of or _END
    before = [url for stop, url in stops if stop < here]
    after = [url for stop, url in stops if stop > here]
    return before[-1] if before else None, after[0] if after else None


def place(instant: datetime, start: datetime, end: datetime) -> float:
    """Where an instant lies on an axis from `start` to `end`."""
    return round(min(max((instant - start) / (end - start), 0), 1) * WIDTH, 2)


def _wider(start: datetime, end: datetime, search: Search) -> str:
    """Three times the range, around the same middle."""
    try:
        start, end = start - (end - start), end + (end - start)
    except OverflowError:
        return search.without_time()
    return search.within(from_=as_parameter(start), to=as_parameter(end))


def ticks(start: datetime, end: datetime) -> list[str]:
    """Five instants in words, spread evenly from `start` to `end`."""
    span = end - start
    moments = [start + span * part / 4 for part in range(5)]
    if span <= 3 * DAY:
        return [f"{_day(moment)}, {moment:%H:%M}" for moment in moments]
    return [_day(moment, with_year=span > 300 * DAY) for moment in moments]


def _between(start: datetime, end: datetime) -> str:
    """A half-open range in words, its last day or hour included as people count."""
    if (end - start) % DAY or start.time() != datetime.min.time():
        return f"{_day(start, with_year=True)}, {start:%H:%M} – {_until(start, end)} UTC"
    last = end - DAY
    if last <= start:
        return _day(start, with_year=True)
    return f"{_day(start, with_year=start.year != last.year)} – {_day(last, with_year=True)}"


def _until(start: datetime, end: datetime) -> str:
    return f"{end:%H:%M}" if end.date() == start.date() else f"{_day(end)}, {end:%H:%M}"


def _day(moment: datetime, *, with_year: bool = False) -> str:
    return f"{moment.day} {moment:%b}" + (f" {moment.year}" if with_year else "")


_END = datetime.max.replace(tzinfo=UTC)
