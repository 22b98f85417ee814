"""The rule which groups are open, once more in plain Python over all rows and all decisions: the oracle of tests."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from memoryhub.conflicts.groups.group_keys import GroupKey, compute_evidence
from memoryhub.conflicts.models import Decision
from memoryhub.firewall.clearance import Clearance
from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from memoryhub.memories.point_in_time import NOW, PointInTime

GroupState = tuple[str, str]
"""Status of a group and its evidence."""


def recount_open_members(clearance: Clearance, point_in_time: PointInTime = NOW) -> dict[GroupKey, set[UUID]]:
    """The members of each open group of a subject and collection."""
    recount = Recount(clearance, point_in_time)
    open_keys = {key for key, (status, _) in recount.iter_states(2) if status == "open"}
    return {key: {row.memory_id for row in recount.active_rows(recount.rows_by_key(2)[key])} for key in open_keys}


class Recount:
    """What one clearance sees at a point in time, with the firewall's rule in Python."""

    def __init__(self, clearance: Clearance, point_in_time: PointInTime = NOW) -> None:
        self.clearance, self.point_in_time = clearance, point_in_time
        self.now = clock.database_now()
        self.versions = list(Memory.objects.all())
        # Time travel does not declassify: a version is visible only if the latest one is.
        self.visible_ids = {
            row.memory_id for row in self.versions if row.superseded_at is None and clearance.shows(row)
        }

    def iter_states(self, key_size: int) -> Iterator[tuple[GroupKey, GroupState]]:
        """The state of each group, open or decided, whose key has so many parts."""
        decisions = self.decisions_in_force()
        for key, rows in self.rows_by_key(key_size).items():
            active_rows = self.active_rows(rows)
            contents = {bytes(row.content_sha256) for row in active_rows}
            is_accepted = any(contents <= set(map(bytes, decision.accepted_hashes)) for decision in decisions[key])
            evidence = compute_evidence((row.memory_id, row.version) for row in active_rows)
            if len(contents) > 1:
                yield key, ("decided" if is_accepted else "open", evidence)
            elif decisions[key] and len(contents | self.retired_contents(rows, decisions[key])) > 1:
                yield key, ("decided", evidence)

    def rows_by_key(self, key_size: int) -> dict[GroupKey, list[Memory]]:
        """The visible versions that were current then, by key. Memories without a subject or collection have none."""
        rows: dict[GroupKey, list[Memory]] = defaultdict(list)
        for row in self.versions:
            if (
                row.memory_id in self.visible_ids
                and self.clearance.shows(row)
                and self.is_current(row.recorded_at, row.superseded_at)
                and (self.point_in_time.as_of is None or row.timestamp <= self.point_in_time.as_of)
                and row.subject
                and row.collection
            ):
                rows[(row.subject, row.collection, row.namespace)[:key_size]].append(row)
        return rows

    def active_rows(self, rows: list[Memory]) -> list[Memory]:
        return [row for row in rows if row.status == "active" and self.is_unexpired(row)]

    def retired_contents(self, rows: list[Memory], decisions: list[Decision]) -> set[bytes]:
        decision_ids = {decision.decision_id for decision in decisions}
        return {
            bytes(row.content_sha256)
            for row in rows
            if row.status == "retired" and row.decision_id in decision_ids and self.is_unexpired(row)
        }

    def decisions_in_force(self) -> dict[GroupKey, list[Decision]]:
        """The visible decisions that were known then, not undone then, and not past their snooze then, by key."""
        known_at = self.point_in_time.known_at
        known = [row for row in Decision.objects.all() if known_at is None or row.recorded_at <= known_at]
        undone_ids = {decision.undoes_id for decision in known}
        decisions: dict[GroupKey, list[Decision]] = defaultdict(list)
        for decision in known:
            if (
                decision.outcome != "undo"
                and decision.decision_id not in undone_ids
                and (decision.deferred_until is None or decision.deferred_until > (known_at or self.now))
                and self.sees_decision(decision)
            ):
                decisions[decision.key].append(decision)
        return decisions

    def sees_decision(self, decision: Decision) -> bool:
        """Whether the members may be seen now, and might be seen as they were classified at the decision."""
        members = [
            row
            for row in self.versions
            if row.memory_id in decision.memory_ids
            and row.recorded_at < decision.decided_at
            and (row.superseded_at is None or row.superseded_at >= decision.decided_at)
        ]
        return set(decision.memory_ids) <= self.visible_ids and all(map(self.clearance.shows, members))

    def is_current(self, recorded_at: datetime, superseded_at: datetime | None) -> bool:
        known_at = self.point_in_time.known_at
        if known_at is None:
            return superseded_at is None
        return recorded_at <= known_at and (superseded_at is None or superseded_at > known_at)

    def is_unexpired(self, row: Memory) -> bool:
        return row.expires_at is None or row.expires_at > (self.point_in_time.valid_at or self.now)
