"""The life of a subject as a drawing: a lane for each key, along one axis of event time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from inspector import chart
from inspector.moment import as_parameter, said
from inspector.text import shorten, without_hidden
from memoryhub.timetravel.life import Key, Life, Span, Spell

HEIGHT = 28
MOST_LANES = 40
TITLE = 80
# A drawing ends a little after the last event, so that what holds from then on can be seen.
_TAIL = 20
_SHORTEST = timedelta(hours=1)
_EARLIEST, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
# Where in its lane each kind lies: what is believed is thick, and what it is no more lies thin below it.
_PLACES = {"believed": (4, 14)}
_BELOW = (21, 5)


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
    words: str
    segments: list[Segment]
    ticks: list[Tick]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    lanes: list[Lane]
    more_lanes: int
    axis: list[str]
    handle: float | None
    """Where along the axis the instant lies that is looked at; None is its end."""
    width: int = chart.WIDTH
    height: int = HEIGHT

    @property
    def later(self) -> float:
        return round(self.width - (self.width if self.handle is None else self.handle), 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The way along the events: the instants before and after the one that is looked at."""

    at: int
    of: int
    previous: str | None
    following: str | None
    """"" is the end, which is now."""


def draw(life: Life, as_of: datetime | None, decided: Mapping[str, Iterable[datetime]] | None = None) -> Drawing:
    """`decided` is when there was a decision about a collection: of record time, which ends where the axis does."""
    events = life.events
    first, last = events[0], max([events[-1], *([as_of] if as_of else [])])
    start = min(first, as_of) if as_of else first
    tail = max((last - start) / _TAIL, _SHORTEST)
    end = last + tail if tail <= _LATEST - last else _LATEST
    # One event at the end of time has no room after it.
    start = start if start < end else end - _SHORTEST
    return Drawing(
        lanes=[_lane(key, start, end, (decided or {}).get(key.collection, ())) for key in life.keys[:MOST_LANES]],
        more_lanes=len(life.keys[MOST_LANES:]),
        axis=chart.ticks(start, end),
        handle=chart.place(as_of, start, end) if as_of else None,
    )


def steps(events: Sequence[datetime], as_of: datetime | None) -> Steps:
    """At an event `previous` is the one before; between two of them it is the one that happened last."""
    before = [event for event in events if as_of is None or event < as_of]
    after = [event for event in events if as_of is not None and event > as_of]
    following = None if as_of is None else as_parameter(after[0]) if after else ""
    return Steps(
        at=len(events) - len(after),
        of=len(events),
        previous=as_parameter(before[-1]) if before else None,
        following=following,
    )


def _lane(key: Key, start: datetime, end: datetime, decided: Iterable[datetime]) -> Lane:
    values = sum(spell.kind == "believed" for spell in key.spells)
    others = len(key.spells) - values
    words = f"{values} value{'' if values == 1 else 's'}" + (f", {others} no longer believed" if others else "")
    return Lane(
        collection=key.collection,
        words=words,
        segments=[
            _segment(spell, span, start, end) for spell in key.spells if spell.has_extent for span in _spans(spell)
        ],
        ticks=[
            *(Tick(x=chart.place(spell.start, start, end), kind=spell.kind) for spell in key.spells),
            *(Tick(x=chart.place(instant, start, end), kind="decided") for instant in decided),
        ],
    )


def _spans(spell: Spell) -> Sequence[Span]:
    return spell.spans or [(spell.start, spell.end)]


def _segment(spell: Spell, span: Span, start: datetime, end: datetime) -> Segment:
    y, height = _PLACES.get(spell.kind, _BELOW)
    first, last = span
    x = chart.place(first, start, end)
    width = chart.place(min(last, end), start, end) - x if last else chart.WIDTH - x
    until = f"until {said(last)}" if last else "from then on"
    value = without_hidden(shorten(str(spell.record["content"]), TITLE))
    title = f"{spell.kind}: {value} — from {said(first)}, {until}"
    return Segment(x=x, y=y, width=round(max(width, 0), 2), height=height, kind=spell.kind, title=title)
