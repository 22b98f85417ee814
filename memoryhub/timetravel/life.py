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
from memoryhub.memories.querysets import SAID
from memoryhub.memories.records import WHOLE, Record, newest

MOST_VERSIONS = 500
MOST_KEYS = 100

Kind = Literal["believed", "replaced", "retired", "quarantined", "erased"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """One version that was said of a key. Half-open: it held from `start` up to `end`, or still does if that is None.

    What was believed held until the next value, what was replaced until what replaced it. Of anything else there is its
    beginning alone: it was never in anybody's way.
    """

    record: Record
    kind: Kind
    start: datetime
    end: datetime | None
    decision: UUID | None
    """The decision about a conflict that its standing comes from."""

    @property
    def has_extent(self) -> bool:
        return self.kind == "believed" or (self.end is not None and self.end > self.start)


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
    def spells(self) -> list[Spell]:
        """All of it, the latest event first."""
        spells = [spell for key in self.keys for spell in key.spells]
        return sorted(spells, key=lambda spell: (spell.start, spell.record["recorded_at"]), reverse=True)

    @property
    def events(self) -> list[datetime]:
        """The instants of event time at which something was said."""
        return sorted({spell.start for key in self.keys for spell in key.spells})


def life(subject: str, filters: MomentFilterSet) -> Life | None:
    """The life of `subject` as `filters` see it; None if they see nothing of it."""
    moment, about = filters.moment, filters.seen.filter(subject=subject)
    said = newest(moment.alive(about), MOST_VERSIONS + 1, (*WHOLE, "id", "decision", *SAID))
    if not said:
        return None
    believed = newest(moment.of(about).filter(status="active").believed(), MOST_KEYS + 1, WHOLE)
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
        starts = [record["timestamp"] for record, kind in zip(in_order, kinds, strict=True) if kind == "believed"]
        yield Key(collection=collection, spells=list(_spells(in_order, kinds, iter(starts[1:]), replaced_by)))


def _spells(
    values: Sequence[Record],
    kinds: Sequence[Kind],
    following: Iterator[datetime],
    replaced_by: dict[tuple[Any, int], Record],
) -> Iterator[Spell]:
    for record, kind in zip(values, kinds, strict=True):
        later = replaced_by.get((record["memory_id"], record["version"]))
        end = next(following, None) if kind == "believed" else later["timestamp"] if later else None
        known = {name: value for name, value in record.items() if name in WHOLE}
        yield Spell(record=known, kind=kind, start=record["timestamp"], end=end, decision=record["decision"])


def _kind(record: Record) -> Kind:
    if record["status"] == "erased":
        return "erased"
    if record["superseded_at"] is not None:
        return "replaced"
    kinds: dict[str, Kind] = {"retired": "retired", "quarantined": "quarantined"}
    return kinds.get(record["status"], "believed")


def _collection(record: Record) -> str:
    return str(record["collection"])


def _order(record: Record) -> tuple[Any, ...]:
    told = (record[said] or record[own] for said, own in SAID.items())
    return record["collection"], record["timestamp"], *told, record["version"]


def _version(record: Record) -> tuple[Any, ...]:
    return record["memory_id"], record["version"]
