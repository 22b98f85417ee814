"""Points in time on two axes: event time, which producers report, and record time, which is the hub's own."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.db.models import Exists, OuterRef

from memoryhub.memories import clock
from memoryhub.memories.querysets import MemoryQuerySet


@dataclass(frozen=True, slots=True, kw_only=True)
class PointInTime:
    """An instant on each of two axes. `as_of=None` is no limit of event time, `known_at=None` is now in record time."""

    as_of: datetime | None = None
    known_at: datetime | None = None
    clipped: tuple[str, ...] = ()
    """The names of the instants that lay in the future and were replaced by now."""

    @classmethod
    def resolve(
        cls, *, as_of: datetime | None, known_at: datetime | None, now: datetime | None = None
    ) -> "PointInTime":
        """Return the requested point in time, clipped to now, so that an answer about it does not change."""
        requested_instants = {"as_of": as_of, "known_at": known_at}
        resolved_instants = {
            "as_of": None if as_of is None else min(as_of, now or clock.database_now()),
            "known_at": None if known_at is None else clock.stable_record_time(known_at),
        }
        return cls(
            **resolved_instants,
            clipped=tuple(name for name, instant in requested_instants.items() if instant != resolved_instants[name]),
        )

    @property
    def valid_at(self) -> datetime | None:
        """The instant at which expiry is judged. `expires_at` is event time, so `as_of` takes precedence."""
        return self.as_of or self.known_at

    def current_versions(self, rows: MemoryQuerySet) -> MemoryQuerySet:
        """Return the versions that were current then, whatever their status, of events up to then."""
        current_rows = rows.current() if self.known_at is None else rows.known_at(self.known_at)
        current_rows = current_rows.with_valid_at(self.valid_at)
        return current_rows.filter(timestamp__lte=self.as_of) if self.as_of else current_rows

    def active_versions(self, rows: MemoryQuerySet) -> MemoryQuerySet:
        """Return the versions that were current and active then, and had not expired."""
        return self.current_versions(rows).active()

    def known_versions(self, rows: MemoryQuerySet) -> MemoryQuerySet:
        """Return all versions that were known then, current or superseded."""
        known_rows = rows if self.known_at is None else rows.recorded_by(self.known_at)
        return known_rows.with_valid_at(self.valid_at)

    def visible_known_versions(self, rows: MemoryQuerySet) -> MemoryQuerySet:
        """Return all versions that were known then, of memories whose version that was current then may be seen."""
        current_rows = replace(self, as_of=None).current_versions(rows).with_id(OuterRef("memory_id"))
        return self.known_versions(rows).filter(Exists(current_rows))

    def versions_of(self, rows: MemoryQuerySet, memory_id: UUID) -> MemoryQuerySet:
        """Return all versions of one memory that were known then, of events up to then, the newest first.

        The result is empty unless one of them was current then. History never declassifies: a memory that may not be
        seen now is not shown as it was before.
        """
        known_rows = (
            self.known_versions(rows).with_id(memory_id).filter(Exists(self.current_versions(rows).with_id(memory_id)))
        )
        return (known_rows.filter(timestamp__lte=self.as_of) if self.as_of else known_rows).order_by("-version")


NOW = PointInTime()
