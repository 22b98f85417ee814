"""Check of the conflict lists: recount groups and decisions with plain queries, and compare the results."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count
from django.http import QueryDict

from memoryhub.conflicts.comparison_model import current_comparison_model
from memoryhub.conflicts.detector import compare
from memoryhub.conflicts.detector.compare import ConflictClass
from memoryhub.conflicts.groups import groups
from memoryhub.conflicts.groups.group_keys import (
    KEY_COLUMNS,
    REQUIRED_KEY_COLUMNS,
    SCOPE_COLUMNS,
    GroupKey,
    compute_evidence,
)
from memoryhub.conflicts.groups.group_queries import MAX_LISTED_MEMORIES, GroupQuery
from memoryhub.conflicts.groups.groups import Group, GroupFilterSet
from memoryhub.conflicts.models import Decision
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.principal import Principal
from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import MemoryQuerySet

_PAGE_LIMIT = "200"
GroupState = tuple[str, str]
"""Status of a group (open or decided) and its evidence."""


@dataclass(slots=True, kw_only=True)
class ConsistencyReport:
    open: int = 0
    decided: int = 0
    decisions: int = 0
    retired: int = 0
    """Memories that decisions retired."""
    findings: list[str] = field(default_factory=list)
    """One sentence for each inconsistency."""


def verify_conflicts(
    clearances: Iterable[Clearance], *, progress: Callable[[str, int], None] = lambda _, __: None
) -> ConsistencyReport:
    """Compare the conflict lists of each clearance with a recount of the rows that the clearance sees.

    Calls `progress` with the name of the current check and the number of items checked so far. Other transactions may
    write meanwhile: a group that changed since it was first read is left out.
    """
    report = ConsistencyReport()
    for clearance in clearances:
        with rls.as_reader(clearance):
            recount = _Recount(clearance)
            for scope in SCOPE_COLUMNS:
                recount.compare_scope(scope, report, progress)
            recount.check_decisions(report, progress)
    return report


class _Recount:
    """Groups and decisions visible to one clearance, read without index tricks and without caches."""

    def __init__(self, clearance: Clearance) -> None:
        self.clearance = clearance
        self.now = clock.database_now()

    @property
    def visible_versions(self) -> MemoryQuerySet:
        return Memory.objects.visible_to(self.clearance)

    @cached_property
    def decisions(self) -> dict[UUID, Decision]:
        rows = Decision.objects.visible_to(self.clearance).iterator()
        return {decision.decision_id: decision for decision in rows}

    @cached_property
    def undone_ids(self) -> set[UUID | None]:
        return {decision.undoes_id for decision in self.decisions.values()}

    @cached_property
    def in_force_decisions(self) -> dict[GroupKey, list[Decision]]:
        decisions_by_key: dict[GroupKey, list[Decision]] = defaultdict(list)
        for id_, decision in self.decisions.items():
            if decision.outcome != "undo" and id_ not in self.undone_ids and not _is_expired(decision, self.now):
                decisions_by_key[decision.key].append(decision)
        return decisions_by_key

    @cached_property
    def retired_values(self) -> dict[UUID, dict[UUID, bytes]]:
        """Hashes of the values that each decision ever retired: `{decision_id: {memory_id: value_sha256}}`."""
        values_by_decision: dict[UUID, dict[UUID, bytes]] = defaultdict(dict)
        versions = self.visible_versions.filter(status="retired", decision_id__isnull=False)
        for id_, memory_id, value in versions.values_list("decision_id", "memory_id", "value_sha256").iterator():
            values_by_decision[id_][memory_id] = bytes(value)
        return values_by_decision

    def compare_scope(self, scope: str, report: ConsistencyReport, progress: Callable[[str, int], None]) -> None:
        """Report the groups whose listed state or class differs from the recount."""
        expected = self.group_states(SCOPE_COLUMNS[scope])
        listed_states: dict[GroupKey, GroupState] = {}
        for group, conflict_class in self.iter_groups(scope):
            if group.key in listed_states:
                report.findings.append(f"{_format_key(group.key)} is listed twice.")
            listed_states[group.key] = (group.status, group.evidence)
            if group.conflict_class != conflict_class:
                report.findings.append(
                    f"{_format_key(group.key)} was kept as {group.conflict_class}, and is {conflict_class}."
                )
            progress(f"groups by {scope}", len(listed_states))
        mismatched_keys = [key for key in {**expected, **listed_states} if expected.get(key) != listed_states.get(key)]
        recounted_states = _Recount(self.clearance).group_states(SCOPE_COLUMNS[scope]) if mismatched_keys else {}
        report.findings += [
            f"{_format_key(key)} is {_format_state(expected.get(key))},"
            f" and listed as {_format_state(listed_states.get(key))}."
            for key in mismatched_keys
            if recounted_states.get(key) == expected.get(key)
        ]
        report.open += sum(status == "open" for status, _ in listed_states.values())
        report.decided += sum(status == "decided" for status, _ in listed_states.values())

    def iter_groups(self, scope: str) -> Iterator[tuple[Group, ConflictClass]]:
        """All listed groups, page by page, each with its class computed anew."""
        principal = Principal(name="system:verify", clearance=self.clearance)
        cursor = ""
        while True:
            filters = GroupFilterSet(QueryDict(f"status=all&scope={scope}"), clearance=self.clearance)
            page = groups.list_page(filters, principal=principal, params={"limit": _PAGE_LIMIT, "cursor": cursor})
            group_query = GroupQuery(filters=filters, key_columns=filters.key_columns)
            value_lists = group_query.load_values(page.groups, MAX_LISTED_MEMORIES, with_embeddings=True)
            for group, values in zip(page.groups, value_lists, strict=True):
                verdict = compare.classify_group(support.compared_value for support in values)
                # If the language model was needed and gave no answer, the right class is unknown: do not report it.
                yield (
                    group,
                    verdict.conflict_class
                    if verdict.version == current_comparison_model().version
                    else group.conflict_class,
                )
            if page.next_cursor is None:
                return
            cursor = page.next_cursor

    def group_states(self, columns: Sequence[str]) -> dict[GroupKey, GroupState]:
        """Recount the state of each group with these key columns."""
        states: dict[GroupKey, GroupState] = {}
        for key, values, members in self.find_conflicting_keys(columns):
            is_accepted = any(values <= _accepted_hashes(decision) for decision in self.in_force_decisions.get(key, ()))
            states[key] = ("decided" if is_accepted else "open", compute_evidence(members))
        for key, decisions in self.in_force_decisions.items():
            is_listed = len(key) == len(columns) and all(key[: len(REQUIRED_KEY_COLUMNS)])
            if is_listed and key not in states and (state := self.decided_state(key, decisions)):
                states[key] = state
        return states

    def find_conflicting_keys(
        self, columns: Sequence[str]
    ) -> Iterator[tuple[GroupKey, set[bytes], list[tuple[UUID, int]]]]:
        """Yield each key with several contents: the key, its content hashes, and (memory_id, version) of its members.

        The query is GROUP BY the key HAVING count(DISTINCT content) > 1.
        """
        rows = self.visible_versions.current().active().exclude(subject="").exclude(collection="").order_by()
        grouped = rows.values_list(*columns).annotate(
            value_count=Count("content", distinct=True),
            values_=ArrayAgg("content_sha256", distinct=True),
            members=ArrayAgg("memory_id", order_by="id"),
            versions=ArrayAgg("version", order_by="id"),
        )
        for *key, _, values, members, versions in grouped.filter(value_count__gt=1).iterator():
            yield tuple(key), set(map(bytes, values)), list(zip(members, versions, strict=True))

    def decided_state(self, key: GroupKey, decisions: Sequence[Decision]) -> GroupState | None:
        """State of a decided key with at most one active value; None if it has one value, retired ones included."""
        key_versions = self.visible_versions.current().unexpired().filter(**dict(zip(KEY_COLUMNS, key, strict=False)))
        decision_ids = [decision.decision_id for decision in decisions]
        active = list(key_versions.filter(status="active").values_list("memory_id", "version", "content_sha256"))
        retired_hashes = key_versions.filter(status="retired", decision_id__in=decision_ids).values_list(
            "content_sha256", flat=True
        )
        values = {bytes(value) for *_, value in active} | set(map(bytes, retired_hashes))
        members = [(memory_id, version) for memory_id, version, _ in active]
        return ("decided", compute_evidence(members)) if len(values) > 1 else None

    def check_decisions(self, report: ConsistencyReport, progress: Callable[[str, int], None]) -> None:
        """Check that each decision has its retired memories, and each retired memory its decision."""
        for count, decision in enumerate(self.decisions.values(), 1):
            missing_ids = set(decision.retired_ids) - self.retired_values.get(decision.decision_id, {}).keys()
            report.findings += [
                f"Memory {memory_id} was never retired by {decision.decision_id}." for memory_id in sorted(missing_ids)
            ]
            progress("decisions", count)
        retired_versions = self.visible_versions.filter(
            superseded_at__isnull=True, status="retired", decision_id__isnull=False
        )
        count = 0
        for count, row in enumerate(
            retired_versions.values_list("memory_id", "decision_id", "value_sha256").iterator(), 1
        ):
            if problem := self.retirement_error(*row):
                report.findings.append(f"Memory {row[0]} is retired by {row[1]}, {problem}.")
            progress("retired memories", count)
        report.decisions += len(self.decisions)
        report.retired += count

    def retirement_error(self, memory_id: UUID, decision_id: UUID, value: Any) -> str:
        decision = self.decisions.get(decision_id)
        if decision is None:
            # Some members of the decision may have been hidden from this clearance since.
            return "which is not a decision" if self.clearance.is_superset_of(unrestricted_clearance()) else ""
        if decision.outcome == "undo":
            merged_ids = {self.decisions[id_].merged_id for id_ in [decision.undoes_id] if id_ in self.decisions}
            return "" if memory_id in merged_ids else "an undo of a decision that did not create it"
        if decision_id in self.undone_ids:
            return "which was undone"
        rejected_values = self.retired_values.get(decision_id, {})
        values = {rejected_values[id_] for id_ in decision.retired_ids if id_ in rejected_values}
        return "" if memory_id in decision.retired_ids or bytes(value) in values else "which did not reject its value"


def _is_expired(decision: Decision, now: datetime) -> bool:
    return decision.deferred_until is not None and decision.deferred_until <= now


def _accepted_hashes(decision: Decision) -> set[bytes]:
    return set(map(bytes, decision.accepted_hashes))


def _format_key(key: GroupKey) -> str:
    return " / ".join(repr(part) for part in key)


def _format_state(state: GroupState | None) -> str:
    return "no group" if state is None else f"{state[0]} on {state[1][:12]}"
