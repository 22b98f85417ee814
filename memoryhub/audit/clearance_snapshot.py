"""What an actor could see when it acted: a value, and the columns of the rows that store it."""

from collections.abc import Sequence
from dataclasses import dataclass

SNAPSHOT_COLUMNS = ("clearance_tiers", "clearance_blocked_labels", "clearance_required_labels", "clearance_namespaces")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearanceSnapshot:
    """What an actor could see when it acted, with normalized labels.

    A reader with a lower clearance must not see the row that holds it: the row was computed from what the actor saw.
    By default the actor could see everything in `tiers`, so that no reader who sees less sees the row.
    """

    tiers: Sequence[str]
    blocked_labels: Sequence[str] = ()
    required_labels: Sequence[str] = ()
    namespaces: Sequence[str] | None = None

    def to_columns(self) -> dict[str, list[str] | None]:
        """Return the values of SNAPSHOT_COLUMNS. The opposite is `ClearanceSnapshotMixin.clearance_snapshot`."""
        namespaces = None if self.namespaces is None else list(self.namespaces)
        values = (list(self.tiers), list(self.blocked_labels), list(self.required_labels), namespaces)
        return dict(zip(SNAPSHOT_COLUMNS, values, strict=True))
