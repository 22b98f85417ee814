"""The history of one subject along event time: the values of each key, and the periods in which they held.

It covers all of event time, as known at one instant. Hidden versions are omitted and their neighbours become adjacent,
so the timeline shows no gap where something is hidden.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, pairwise
from typing import Any, Literal
from uuid import UUID

from memoryhub.memories.filters import PointInTimeFilterSet
from memoryhub.memories.point_in_time import NOW
from memoryhub.memories.querysets import ASSERTED_COLUMNS
from memoryhub.memories.records import DETAIL_FIELDS, MemoryRecord, newest_records

MAX_VERSIONS = 500
MAX_COLLECTIONS = 100

PeriodKind = Literal["current", "expired", "superseded", "retired", "quarantined", "erased"]
Interval = tuple[datetime, datetime | None]
"""A half-open stretch of event time; the end None means that there is no end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuePeriod:
    """One version under a key. Half-open: it held from `start` up to `end`, or still holds if that is None.

    A current value held until the next value or until it expired, and again once later values had expired. A superseded
    version held until the version that superseded it. All other kinds have a beginning only.
    """

    record: MemoryRecord
    kind: PeriodKind
    start: datetime
    end: datetime | None
    intervals: Sequence[Interval] = ()
    """When the version was the value of its key."""
    decision_id: UUID | None
    """The conflict decision that set the version's status."""

    @property
    def has_duration(self) -> bool:
        return self.kind == "current" or (self.end is not None and self.end > self.start)

    @property
    def version_key(self) -> tuple[UUID, int]:
        return self.record["memory_id"], self.record["version"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionHistory:
    """A collection and all periods of the subject in it, in the order of event time."""

    collection: str
    periods: list[ValuePeriod]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectHistory:
    collections: list[CollectionHistory]
    current_values: list[MemoryRecord]
    """The value of each key at the requested point in time."""
    has_more: bool
    """Whether there are more versions than the newest MAX_VERSIONS."""
    has_more_collections: bool

    @property
    def is_empty(self) -> bool:
        return not self.collections

    def current_at(self, as_of: datetime | None) -> set[tuple[UUID, int]]:
        """(memory_id, version) of the value of each key, for events up to `as_of`."""
        version_keys: set[tuple[UUID, int]] = set()
        for collection in self.collections:
            candidates = [
                period
                for period in collection.periods
                if period.kind == "current" and (as_of is None or period.start <= as_of)
            ]
            version_keys |= {period.version_key for period in candidates[-1:]}
        return version_keys

    @property
    def periods(self) -> list[ValuePeriod]:
        """All periods, the latest event first."""
        periods = [period for collection in self.collections for period in collection.periods]
        return sorted(periods, key=lambda period: (period.start, period.record["recorded_at"]), reverse=True)

    @property
    def event_times(self) -> list[datetime]:
        """The distinct starts of all periods, the earliest first."""
        return sorted({period.start for collection in self.collections for period in collection.periods})


def get_subject_history(subject: str, filters: PointInTimeFilterSet) -> SubjectHistory | None:
    """The history of `subject` at the filters' point in time.

    It is empty if the subject has versions now and had none then. Returns None if it has none now, either.
    """
    point_in_time, subject_rows = filters.point_in_time, filters.visible_versions.filter(subject=subject)
    records = newest_records(
        point_in_time.visible_known_versions(subject_rows),
        MAX_VERSIONS + 1,
        (*DETAIL_FIELDS, "id", "decision_id", *ASSERTED_COLUMNS),
    )
    if not records:
        exists_now = bool(newest_records(NOW.visible_known_versions(subject_rows), 1, ("memory_id",)))
        return (
            SubjectHistory(collections=[], current_values=[], has_more=False, has_more_collections=False)
            if exists_now
            else None
        )
    current_values = newest_records(
        point_in_time.active_versions(subject_rows).latest_per_key(), MAX_COLLECTIONS + 1, DETAIL_FIELDS
    )
    return SubjectHistory(
        collections=list(_iter_collections(records[:MAX_VERSIONS])),
        current_values=sorted(current_values[:MAX_COLLECTIONS], key=_collection_name),
        has_more=len(records) > MAX_VERSIONS,
        has_more_collections=len(current_values) > MAX_COLLECTIONS,
    )


def _iter_collections(records: Sequence[MemoryRecord]) -> Iterator[CollectionHistory]:
    successors: dict[tuple[Any, int], MemoryRecord] = {}
    for memory_id, versions in groupby(sorted(records, key=_version_order), key=lambda record: record["memory_id"]):
        ordered_versions = list(versions)
        for version, successor in pairwise(ordered_versions):
            successors[memory_id, version["version"]] = successor
    # The order in which values supersede each other, as in `MemoryQuerySet.latest_per_key`.
    for collection, values in groupby(sorted(records, key=_value_order), key=_collection_name):
        ordered_values = list(values)
        kinds = [_classify_record(record) for record in ordered_values]
        yield CollectionHistory(collection=collection, periods=list(_iter_periods(ordered_values, kinds, successors)))


def _iter_periods(
    values: Sequence[MemoryRecord],
    kinds: Sequence[PeriodKind],
    successors: dict[tuple[Any, int], MemoryRecord],
) -> Iterator[ValuePeriod]:
    effective_records = [record for record, kind in zip(values, kinds, strict=True) if kind in ("current", "expired")]
    next_index = iter(range(1, len(effective_records) + 1))
    for record, kind in zip(values, kinds, strict=True):
        successor = successors.get((record["memory_id"], record["version"]))
        intervals = (
            _compute_intervals(record, effective_records[next(next_index) :]) if kind in ("current", "expired") else []
        )
        end = intervals[-1][1] if intervals else successor["timestamp"] if successor else None
        visible_fields = {name: value for name, value in record.items() if name in DETAIL_FIELDS}
        yield ValuePeriod(
            record=visible_fields,
            kind=kind,
            start=record["timestamp"],
            end=end,
            intervals=intervals,
            decision_id=record["decision_id"],
        )


def _compute_intervals(record: MemoryRecord, later_records: Sequence[MemoryRecord]) -> list[Interval]:
    """When a value was that of its key: from its event until it expired, minus the time of `later_records`."""
    intervals: list[Interval] = []
    start, end = record["timestamp"], record["expires_at"]
    for later_record in later_records:
        if end is not None and later_record["timestamp"] >= end:
            break
        if later_record["timestamp"] > start:
            intervals.append((start, later_record["timestamp"]))
        if later_record["expires_at"] is None:
            return intervals or [(start, start)]
        start = max(start, later_record["expires_at"])
    if end is None or start < end:
        intervals.append((start, end))
    return intervals or [(record["timestamp"], record["timestamp"])]


def _classify_record(record: MemoryRecord) -> PeriodKind:
    if record["status"] == "erased":
        return "erased"
    if record["superseded_at"] is not None:
        return "superseded"
    kinds: dict[str, PeriodKind] = {"retired": "retired", "quarantined": "quarantined", "expired": "expired"}
    return kinds.get(record["status"], "current")


def _collection_name(record: MemoryRecord) -> str:
    return str(record["collection"])


def _value_order(record: MemoryRecord) -> tuple[Any, ...]:
    assertion_values = (
        record[asserted_column] or record[recorded_column]
        for asserted_column, recorded_column in ASSERTED_COLUMNS.items()
    )
    return record["collection"], record["timestamp"], *assertion_values, record["version"]


def _version_order(record: MemoryRecord) -> tuple[Any, ...]:
    return record["memory_id"], record["version"]
