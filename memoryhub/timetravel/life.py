"""The life of one subject: what was said of it, key by key, and what of that was believed from when to when.

It is drawn along event time, all of it, from what was known at an instant. What a reader may not see is not there, and
what stands before it and after it meet: a life tells of no gap.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, pairwise
from typing import Any, Literal
from uuid import UUID

from memoryhub.memories.filters import MomentFilterSet
from memoryhub.memories.moment import NOW
from memoryhub.memories.querysets import SAID
from memoryhub.memories.records import WHOLE, Record, newest

MOST_VERSIONS = 500
MOST_KEYS = 100

Kind = Literal["believed", "expired", "replaced", "retired", "quarantined", "erased"]
Span = tuple[datetime, datetime | None]
"""A half-open stretch of event time; None is no end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """One version that was said of a key. Half-open: it held from `start` up to `end`, or still does if that is None.

    What was believed held until the next value or until it expired, and again once later values had expired; what was
    replaced held until what replaced it. Of anything else there is its beginning alone: it was never in anybody's way.
    """

    record: Record
    kind: Kind
    start: datetime
    end: datetime | None
    spans: Sequence[Span] = ()
    """When it was the value of its key."""
    decision: UUID | None
    """The decision about a conflict that its standing comes from."""

    @property
    def has_extent(self) -> bool:
        return self.kind == "believed" or (self.end is not None and self.end > self.start)

    @property
    def key(self) -> tuple[UUID, int]:
        return self.record["memory_id"], self.record["version"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A collection, and all that was said of the subject there, in the order of event time."""

    collection: str
    spells: list[Spell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    keys: list[Key]
    believed: list[Record]
    """The value of each key at the moment that is asked about."""
    has_more: bool
    """Whether more was said than the newest MOST_VERSIONS."""
    has_more_keys: bool

    @property
    def is_empty(self) -> bool:
        return not self.keys

    def held_at(self, as_of: datetime | None) -> set[tuple[UUID, int]]:
        """The keys of the spells that are the values of their keys, of events up to an instant."""
        held: set[tuple[UUID, int]] = set()
        for key in self.keys:
            said = [one for one in key.spells if one.kind == "believed" and (as_of is None or one.start <= as_of)]
            held |= {one.key for one in said[-1:]}
        return held

    @property
    def spells(self) -> list[Spell]:
        """All of it, the latest event first."""
        spells = [spell for key in self.keys for spell in key.spells]
        return sorted(spells, key=lambda spell: (spell.start, spell.record["recorded_at"]), reverse=True)

    @property
    def events(self) -> list[datetime]:
        """The instants of event time at which something was said."""
        return sorted({spell.start for key in self.keys for spell in key.spells})


def life(subject: str, filters: MomentFilterSet) -> Life | None:
    """The life of `subject` as `filters` see it: empty if there is something now and was nothing then, else None."""
    moment, about = filters.moment, filters.seen.filter(subject=subject)
    said = newest(moment.visible_history(about), MOST_VERSIONS + 1, (*WHOLE, "id", "decision", *SAID))
    if not said:
        is_there_now = bool(newest(NOW.visible_history(about), 1, ("memory_id",)))
        return Life(keys=[], believed=[], has_more=False, has_more_keys=False) if is_there_now else None
    believed = newest(moment.active(about).believed(), MOST_KEYS + 1, WHOLE)
    return Life(
        keys=list(_keys(said[:MOST_VERSIONS])),
        believed=sorted(believed[:MOST_KEYS], key=_collection),
        has_more=len(said) > MOST_VERSIONS,
        has_more_keys=len(believed) > MOST_KEYS,
    )


def _keys(said: Sequence[Record]) -> Iterator[Key]:
    replaced_by: dict[tuple[Any, int], Record] = {}
    for memory_id, versions in groupby(sorted(said, key=_version), key=lambda record: record["memory_id"]):
        written = list(versions)
        for earlier, later in pairwise(written):
            replaced_by[memory_id, earlier["version"]] = later
    # The order in which values supersede each other (MemoryQuerySet.believed).
    for collection, values in groupby(sorted(said, key=_order), key=_collection):
        in_order = list(values)
        kinds = [_kind(record) for record in in_order]
        yield Key(collection=collection, spells=list(_spells(in_order, kinds, replaced_by)))


def _spells(
    values: Sequence[Record],
    kinds: Sequence[Kind],
    replaced_by: dict[tuple[Any, int], Record],
) -> Iterator[Spell]:
    held = [record for record, kind in zip(values, kinds, strict=True) if kind in ("believed", "expired")]
    following = iter(range(1, len(held) + 1))
    for record, kind in zip(values, kinds, strict=True):
        later = replaced_by.get((record["memory_id"], record["version"]))
        spans = _spans(record, held[next(following) :]) if kind in ("believed", "expired") else []
        end = spans[-1][1] if spans else later["timestamp"] if later else None
        known = {name: value for name, value in record.items() if name in WHOLE}
        yield Spell(
            record=known, kind=kind, start=record["timestamp"], end=end, spans=spans, decision=record["decision"]
        )


def _spans(record: Record, later: Sequence[Record]) -> list[Span]:
    """When a value was that of its key: from its event until it expired, without the time of `later` values."""
    spans: list[Span] = []
    start, end = record["timestamp"], record["expires_at"]
    for other in later:
        if end is not None and other["timestamp"] >= end:
            break
        if other["timestamp"] > start:
            spans.append((start, other["timestamp"]))
        if other["expires_at"] is None:
            return spans or [(start, start)]
        start = max(start, other["expires_at"])
    if end is None or start < end:
        spans.append((start, end))
    return spans or [(record["timestamp"], record["timestamp"])]


def _kind(record: Record) -> Kind:
    if record["status"] == "erased":
        return "erased"
    if record["superseded_at"] is not None:
        return "replaced"
    kinds: dict[str, Kind] = {"retired": "retired", "quarantined": "quarantined", "expired": "expired"}
    return kinds.get(record["status"], "believed")


def _collection(record: Record) -> str:
    return str(record["collection"])


def _order(record: Record) -> tuple[Any, ...]:
    told = (record[said] or record[own] for said, own in SAID.items())
    return record["collection"], record["timestamp"], *told, record["version"]


def _version(record: Record) -> tuple[Any, ...]:
    return record["memory_id"], record["version"]
