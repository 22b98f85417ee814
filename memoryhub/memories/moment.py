"""When memories are looked at: event time, which the producers tell, and record time, which is the hub's own."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.db.models import Exists, OuterRef

from memoryhub.memories import clock
from memoryhub.memories.querysets import MemoryQuerySet


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When memories are looked at, on two axes. None is no limit of event time, and of record time now."""

    as_of: datetime | None = None
    known_at: datetime | None = None
    clipped: tuple[str, ...] = ()
    """What lay in the future when it was asked for: these instants are now instead."""

    @classmethod
    def asked(cls, *, as_of: datetime | None, known_at: datetime | None, now: datetime | None = None) -> "Moment":
        """The moment of which an answer can be given that stays: what is asked for, short of what is still to come."""
        given = {"as_of": as_of, "known_at": known_at}
        held = {
            "as_of": None if as_of is None else min(as_of, now or clock.now()),
            "known_at": None if known_at is None else clock.settle(known_at),
        }
        return cls(**held, clipped=tuple(name for name, asked in given.items() if asked != held[name]))

    @property
    def valid_at(self) -> datetime | None:
        """The instant at which it is judged what has expired: until when something is valid is event time."""
        return self.as_of or self.known_at

    def of(self, rows: MemoryQuerySet) -> MemoryQuerySet:
        """The versions in force then, whatever their status, of events up to then."""
        in_force = rows.current() if self.known_at is None else rows.known_at(self.known_at)
        in_force = in_force.judged_at(self.valid_at)
        return in_force.filter(timestamp__lte=self.as_of) if self.as_of else in_force

    def active(self, rows: MemoryQuerySet) -> MemoryQuerySet:
        """What held then: of the versions in force those that were active and had not expired."""
        return self.of(rows).active()

    def recorded(self, rows: MemoryQuerySet) -> MemoryQuerySet:
        """All versions that were known then, in force or not."""
        known = rows if self.known_at is None else rows.recorded_by(self.known_at)
        return known.judged_at(self.valid_at)

    def visible_history(self, rows: MemoryQuerySet) -> MemoryQuerySet:
        """All versions that were known then, of memories of which the version that was in force may be seen."""
        in_force = replace(self, as_of=None).of(rows).with_id(OuterRef("memory_id"))
        return self.recorded(rows).filter(Exists(in_force))

    def history(self, rows: MemoryQuerySet, memory_id: UUID) -> MemoryQuerySet:
        """All versions of one memory that were known then, of events up to then, the newest first.

        None, unless one of them is in force. History never declassifies: what may not be seen now is not seen as it was
        before.
        """
        known = self.recorded(rows).with_id(memory_id).filter(Exists(self.of(rows).with_id(memory_id)))
        return (known.filter(timestamp__lte=self.as_of) if self.as_of else known).order_by("-version")


NOW = Moment()
