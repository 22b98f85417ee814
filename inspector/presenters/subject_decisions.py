"""Decisions about the conflicts of a subject, for its page."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from inspector.forms.resolve_form import OUTCOME_LABELS
from memoryhub.conflicts.decisions import decision_queries
from memoryhub.conflicts.decisions.decision_queries import DecisionRecord
from memoryhub.conflicts.groups.group_keys import GroupKey
from memoryhub.firewall.clearance import Clearance
from memoryhub.timetravel.subject_history import MAX_COLLECTIONS, SubjectHistory


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionWithUndo:
    """A decision and its undo, if there is one."""

    decision: DecisionRecord
    undo: DecisionRecord | None

    @property
    def outcome_label(self) -> str:
        return OUTCOME_LABELS[self.decision.outcome]

    @property
    def summary(self) -> str:
        """How many memories the decision kept, retired, left active or merged."""
        counts = (
            (len(self.decision.kept_ids), "kept"),
            (len(self.decision.retired_ids), "retired"),
            (len(self.decision.still_active_ids), "still active, for readers who may not see all of it"),
            (1 if self.decision.merged_id else 0, "made of them"),
        )
        return ", ".join(f"{count} {label}" for count, label in counts if count)


def list_subject_decisions(
    history: SubjectHistory, clearance: Clearance, known_at: datetime | None
) -> list[DecisionWithUndo]:
    """Return the decisions made until `known_at` about the keys of a subject that `clearance` may see, newest first."""
    known_decisions = [
        decision
        for key_decisions in decision_queries.list_for_keys(
            sorted(set(_iter_group_keys(history))), clearance=clearance
        ).values()
        for decision in key_decisions
        if known_at is None or decision.recorded_at <= known_at
    ]
    undo_by_decision_id = {decision.undoes_id: decision for decision in known_decisions if decision.undoes_id}
    entries = [
        DecisionWithUndo(decision=decision, undo=undo_by_decision_id.get(decision.decision_id))
        for decision in known_decisions
        if decision.outcome != "undo"
    ]
    return sorted(entries, key=lambda entry: (entry.decision.decided_at, entry.decision.decision_id), reverse=True)


def collect_decision_times(entries: list[DecisionWithUndo]) -> dict[str, list[datetime]]:
    """Return the times of decisions and undos by collection."""
    times: dict[str, list[datetime]] = defaultdict(list)
    for entry in entries:
        times[entry.decision.collection] += [
            decision.decided_at for decision in (entry.decision, entry.undo) if decision
        ]
    return times


def index_decision_ids(entries: list[DecisionWithUndo]) -> dict[UUID | None, UUID]:
    """Map the `decision_id` of a version to the decision on the page, where an undo is part of what it undoes."""
    return {
        decision.decision_id: entry.decision.decision_id
        for entry in entries
        for decision in (entry.decision, entry.undo)
        if decision
    }


def _iter_group_keys(history: SubjectHistory) -> Iterator[GroupKey]:
    for collection_history in history.collections[:MAX_COLLECTIONS]:
        for period in collection_history.periods:
            group_key = (period.record["subject"], collection_history.collection)
            yield group_key
            yield (*group_key, period.record["namespace"])
