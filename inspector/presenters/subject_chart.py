"""The timeline of a subject as an SVG chart: one lane per collection along event time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from inspector.presenters import histogram_chart
from inspector.presenters.safe_text import replace_hidden, shorten
from inspector.time_context import format_instant, format_iso_instant
from memoryhub.timetravel.subject_history import CollectionHistory, Interval, SubjectHistory, ValuePeriod

LANE_HEIGHT = 28
MAX_LANES = 40
MAX_TITLE_CHARS = 80
# The axis ends a little after the last event, so that the last value is visible.
_TAIL_DIVISOR = 20
_MIN_TAIL = timedelta(hours=1)
_MIN_INSTANT, _MAX_INSTANT = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
# (y, height) of a period in its lane: the current value is thick, all others are a thin line below it.
_SEGMENT_GEOMETRY = {"current": (4, 14)}
_THIN_SEGMENT = (21, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    x: float
    y: int
    width: float
    height: int
    kind: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    x: float
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    collection: str
    summary: str
    segments: list[Segment]
    ticks: list[Tick]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectChart:
    lanes: list[Lane]
    more_lanes: int
    axis_labels: list[str]
    cursor_x: float | None
    """Position of `as_of` on the x axis; None is its end."""
    width: int = histogram_chart.CHART_WIDTH
    height: int = LANE_HEIGHT

    @property
    def later_width(self) -> float:
        return round(self.width - (self.width if self.cursor_x is None else self.cursor_x), 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSteps:
    """Navigation along the events: the instants before and after `as_of`."""

    position: int
    total: int
    previous_instant: str | None
    next_instant: str | None
    """"" is now, without `as_of`."""


def build_subject_chart(
    history: SubjectHistory, as_of: datetime | None, decision_times: Mapping[str, Iterable[datetime]] | None = None
) -> SubjectChart:
    """Build the chart.

    `decision_times` are the decisions by collection: record time, shown on the axis of event time.
    """
    events = history.event_times
    first_event, last_event = events[0], max([events[-1], *([as_of] if as_of else [])])
    start = min(first_event, as_of) if as_of else first_event
    tail = max((last_event - start) / _TAIL_DIVISOR, _MIN_TAIL)
    end = last_event + tail if tail <= _MAX_INSTANT - last_event else _MAX_INSTANT
    # A single event at the maximum datetime leaves no room after it.
    start = start if start < end else end - _MIN_TAIL
    return SubjectChart(
        lanes=[
            _build_lane(collection_history, start, end, (decision_times or {}).get(collection_history.collection, ()))
            for collection_history in history.collections[:MAX_LANES]
        ],
        more_lanes=len(history.collections[MAX_LANES:]),
        axis_labels=histogram_chart.format_axis_labels(start, end),
        cursor_x=histogram_chart.x_position(as_of, start, end) if as_of else None,
    )


def build_event_steps(events: Sequence[datetime], as_of: datetime | None) -> EventSteps:
    """Return the steps around `as_of`. Between two events `previous_instant` is the earlier one of them."""
    earlier_events = [event for event in events if as_of is None or event < as_of]
    later_events = [event for event in events if as_of is not None and event > as_of]
    next_instant = None if as_of is None else format_iso_instant(later_events[0]) if later_events else ""
    return EventSteps(
        position=len(events) - len(later_events),
        total=len(events),
        previous_instant=format_iso_instant(earlier_events[-1]) if earlier_events else None,
        next_instant=next_instant,
    )


def _build_lane(
    collection_history: CollectionHistory, start: datetime, end: datetime, decision_times: Iterable[datetime]
) -> Lane:
    value_count = sum(period.kind == "current" for period in collection_history.periods)
    past_count = len(collection_history.periods) - value_count
    summary = f"{value_count} value{'' if value_count == 1 else 's'}" + (
        f", {past_count} no longer current" if past_count else ""
    )
    return Lane(
        collection=collection_history.collection,
        summary=summary,
        segments=[
            _build_segment(period, span, start, end)
            for period in collection_history.periods
            if period.has_duration
            for span in _get_spans(period)
        ],
        ticks=[
            *(
                Tick(x=histogram_chart.x_position(period.start, start, end), kind=period.kind)
                for period in collection_history.periods
            ),
            *(Tick(x=histogram_chart.x_position(instant, start, end), kind="decision") for instant in decision_times),
        ],
    )


def _get_spans(period: ValuePeriod) -> Sequence[Interval]:
    return period.intervals or [(period.start, period.end)]


def _build_segment(period: ValuePeriod, span: Interval, start: datetime, end: datetime) -> Segment:
    y, height = _SEGMENT_GEOMETRY.get(period.kind, _THIN_SEGMENT)
    span_start, span_end = span
    x = histogram_chart.x_position(span_start, start, end)
    width = (
        histogram_chart.x_position(min(span_end, end), start, end) - x if span_end else histogram_chart.CHART_WIDTH - x
    )
    end_text = f"until {format_instant(span_end)}" if span_end else "from then on"
    value = replace_hidden(shorten(str(period.record["content"]), MAX_TITLE_CHARS))
    title = f"{period.kind}: {value} — from {format_instant(span_start)}, {end_text}"
    return Segment(x=x, y=y, width=round(max(width, 0), 2), height=height, kind=period.kind, title=title)
