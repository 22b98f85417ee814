"""Reclassify memories: each change adds a version, and all changes of a request are one audit entry.

A plan says what would happen to each memory. Applying the plan does that, or nothing if a memory has changed since.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from heapq import nlargest
from typing import Any
from uuid import UUID

from django.core.signing import BadSignature, Signer

from memoryhub.audit.actions import AuditAction
from memoryhub.firewall import audit_events, rls
from memoryhub.firewall.clearance import Clearance, normalize_labels, widens_visibility
from memoryhub.firewall.models import ClearanceProfile
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories import clock
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import MAX_LABELS, Memory
from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.memories.records import DETAIL_FIELDS, MemoryRecord, newest_records
from memoryhub.memories.sql.tiers import LOOKUP_INDEX_GUARD
from memoryhub.memories.writes.classification_plan import (
    QUARANTINE_STATUSES,
    REFUSAL_MESSAGES,
    ClassificationChange,
    ClassificationPlan,
    ClassificationState,
    PlannedChange,
    TargetRow,
    stale_error,
)
from memoryhub.memories.writes.envelope import OperationRejectedError
from memoryhub.memories.writes.versions import add_changed_copies, write_transaction

MAX_PLAN_SIZE = 10_000
"""Maximum number of memories in one plan: every writer waits while a plan is applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationResult:
    """The result of an applied plan. `undo_token` undoes it; `undo_widens` says whether that widens again."""

    changed_count: int
    undo_token: str = ""
    undo_widens: bool = False


def plan_for_memory(memory_id: UUID, change: ClassificationChange, *, principal: Principal) -> ClassificationPlan:
    """Return the plan of `change` for one memory; it is empty if there is no such memory that `principal` may see."""
    return _plan_for_memories(
        Memory.objects.visible_to(principal.clearance).current().with_id(memory_id), change, principal
    )


def plan_for_filter(
    filters: MemoryFilterSet, change: ClassificationChange, *, principal: Principal
) -> ClassificationPlan:
    """Return the plan of `change` for the memories that match `filters`.

    Raises OperationRejectedError: `too_large` beyond MAX_PLAN_SIZE memories, `history_is_read_only` for a past
    `known_at`.
    """
    if filters.point_in_time.known_at is not None:
        raise OperationRejectedError({"known_at": ["is in the past, which cannot be changed."]}, "history_is_read_only")
    return _plan_for_memories(filters.results, change, principal)


def _plan_for_memories(
    memories: MemoryQuerySet, change: ClassificationChange, principal: Principal
) -> ClassificationPlan:
    with rls.as_reader(principal.clearance):
        rows = _fetch_rows(memories.visible_to(principal.clearance))
        changed_rows = [(row, change.apply_to(row.classification)) for row in rows]
    return _build_plan(changed_rows, principal=principal, requested_fields=change.requested_fields)


def plan_undo(token: str, *, principal: Principal) -> ClassificationPlan:
    """Return the plan that undoes what `principal` did under this token, as far as it is still current.

    Raises OperationRejectedError for a bad token.

    A record time belongs to one transaction: the versions that began then are the changed ones, and the versions that
    ended then are those before the change.
    """
    try:
        instant_text = _undo_signer(principal).unsign(token)
    except BadSignature:
        raise OperationRejectedError({"": ["You have no change to undo here."]}) from None
    instant = datetime.fromisoformat(instant_text)
    with rls.as_reader(principal.clearance):
        visible_memories = Memory.objects.visible_to(principal.clearance)
        rows = _fetch_rows(visible_memories.current().filter(LOOKUP_INDEX_GUARD, recorded_at=instant))
        previous_rows = _fetch_rows(
            visible_memories.with_ids([row.memory_id for row in rows]).filter(superseded_at=instant)
        )
        previous_states = {row.memory_id: row.classification for row in previous_rows}
        changed_rows = [(row, previous_states[row.memory_id]) for row in rows if row.memory_id in previous_states]
    return _build_plan(changed_rows, principal=principal, requested_fields={"undone_at": instant_text})


def sample_memories(plan: ClassificationPlan, limit: int) -> list[MemoryRecord]:
    """Return the newest `limit` of the memories that would change."""
    rows = nlargest(
        limit,
        (planned_change.row for planned_change in plan.effective_changes),
        key=lambda row: (row.timestamp, row.memory_id),
    )
    visible_memories = Memory.objects.visible_to(plan.principal.clearance).current()
    with rls.as_reader(plan.principal.clearance):
        return newest_records(visible_memories.with_ids([row.memory_id for row in rows]), limit, DETAIL_FIELDS)


def apply_plan(
    plan: ClassificationPlan, *, reason: str = "", route: str = "", request_id: str = ""
) -> ClassificationResult:
    """Carry out the effective changes of `plan` in one transaction; return the result after COMMIT.

    Raises MissingScopeError without the scope `curate`, and OperationRejectedError: `invalid_value` if memories
    would be widened without a reason, one of REFUSAL_MESSAGES if there is nothing else to do, `stale` if a memory has
    changed since.
    """
    plan.principal.require_scopes(Scope.CURATE)
    effective_changes = plan.effective_changes
    if plan.widened_count and not reason.strip():
        raise OperationRejectedError(
            {"reason": ["is required, because the change makes memories visible to more readers."]}
        )
    if not effective_changes:
        for code in plan.refusal_counts:
            raise OperationRejectedError({"": [REFUSAL_MESSAGES[code]]}, code)
        return ClassificationResult(changed_count=0)
    with write_transaction({planned_change.row.source for planned_change in effective_changes}):
        instant = clock.next_record_time()
        _lock_rows(effective_changes, plan.principal)
        add_changed_copies(
            {planned_change.row.id: _changed_columns(planned_change.after) for planned_change in effective_changes}
        )
        _record_audit_event(plan, reason=reason, route=route, request_id=request_id)
    undo_token = _undo_signer(plan.principal).sign(instant.isoformat())
    return ClassificationResult(
        changed_count=len(effective_changes),
        undo_token=undo_token,
        undo_widens=any(planned_change.narrows for planned_change in effective_changes),
    )


def _undo_signer(principal: Principal) -> Signer:
    return Signer(salt=f"memoryhub.undo:{principal.name}")


_ROW_COLUMNS = (
    "id", "memory_id", "version", "source", "timestamp", "namespace", "classification_tier", "sensitivity_labels",
    "status", "defaulted_fields",
)  # fmt: skip


def _fetch_rows(memories: MemoryQuerySet) -> list[TargetRow]:
    """Return the rows of `memories`, in the order in which all writers lock them.

    Raises OperationRejectedError beyond MAX_PLAN_SIZE.
    """
    rows = list(memories.order_by("memory_id").values_list(*_ROW_COLUMNS)[: MAX_PLAN_SIZE + 1])
    if len(rows) > MAX_PLAN_SIZE:
        raise OperationRejectedError(
            {"": [f"More than {MAX_PLAN_SIZE:,} memories match. Use a narrower filter."]}, "too_large"
        )
    return [_to_target_row(*values) for values in rows]


def _to_target_row(*values: Any) -> TargetRow:
    id_, memory_id, version, source, timestamp, namespace, tier, labels, status, defaulted_fields = values
    return TargetRow(
        id=id_,
        memory_id=memory_id,
        version=version,
        source=source,
        timestamp=timestamp,
        classification=ClassificationState(
            namespace=namespace,
            classification_tier=tier,
            sensitivity_labels=tuple(labels),
            status=status,
            defaulted_fields=tuple(defaulted_fields),
        ),
    )


def _build_plan(
    changed_rows: Iterable[tuple[TargetRow, ClassificationState]],
    *,
    principal: Principal,
    requested_fields: dict[str, Any],
) -> ClassificationPlan:
    clearances = {profile.name: profile.as_clearance() for profile in ClearanceProfile.objects.all()}
    # Cached, because ten thousand memories have only a few different classifications.
    cached_widens = cache(lambda before, after: widens_visibility(before, after, clearances.values()))
    cached_hidden_from = cache(lambda before, after: _clearances_losing_sight(before, after, clearances))
    cached_refusal = cache(
        lambda before, after: _refusal_code(before, after, principal, is_widened=cached_widens(before, after))
    )
    planned_changes = [
        PlannedChange(
            row=row,
            after=after,
            widens=cached_widens(row.classification, after),
            narrows=cached_widens(after, row.classification),
            hidden_from=cached_hidden_from(row.classification, after),
            refusal=cached_refusal(row.classification, after),
        )
        for row, after in changed_rows
    ]
    return ClassificationPlan(
        principal=principal, requested_fields=requested_fields, planned_changes=planned_changes, clearances=clearances
    )


def _clearances_losing_sight(
    before: ClassificationState, after: ClassificationState, clearances: Mapping[str, Clearance]
) -> frozenset[str]:
    return frozenset(
        name for name, clearance in clearances.items() if clearance.shows(before) and not clearance.shows(after)
    )


def _refusal_code(
    before: ClassificationState, after: ClassificationState, principal: Principal, *, is_widened: bool
) -> str:
    if before == after:
        return ""
    if before.status == "erased" or (before.status != after.status and before.status not in QUARANTINE_STATUSES):
        return "not_active"
    if not principal.clearance.permits(after):
        return "above_clearance"
    if len(after.sensitivity_labels) > max(MAX_LABELS, len(before.sensitivity_labels)):
        return "too_many_labels"
    return "declassification" if is_widened and not principal.has_scope(Scope.DECLASSIFY) else ""


def _lock_rows(effective_changes: list[PlannedChange], principal: Principal) -> None:
    """Lock the rows of the plan. Raises OperationRejectedError, `stale`, if one has changed or is hidden."""
    row_ids = [planned_change.row.id for planned_change in effective_changes]
    visible_rows = Memory.objects.visible_to(principal.clearance).current().filter(id__in=row_ids).order_by("memory_id")
    if list(visible_rows.select_for_update().values_list("id", flat=True)) != row_ids:
        raise stale_error()


def _changed_columns(after: ClassificationState) -> dict[str, Any]:
    return {
        **after.field_values,
        "normalized_labels": sorted(normalize_labels(after.sensitivity_labels)),
        "defaulted_fields": after.defaulted_fields,
    }


def _record_audit_event(plan: ClassificationPlan, *, reason: str, route: str, request_id: str) -> None:
    effective_changes = plan.effective_changes
    audit_events.record_audit_event(
        _audit_action(effective_changes),
        principal=plan.principal,
        memory_ids=[planned_change.row.memory_id for planned_change in effective_changes],
        # The details hold what is true of all memories; the versions of each memory hold what is true of it alone.
        details={
            "requested": plan.requested_fields,
            "before": _common_values(planned_change.before for planned_change in effective_changes),
            "after": _common_values(planned_change.after for planned_change in effective_changes),
            "reason": reason,
        },
        route=route,
        request_id=request_id,
    )


def _audit_action(effective_changes: list[PlannedChange]) -> AuditAction:
    status_changes = {
        (planned_change.before.status, planned_change.after.status) for planned_change in effective_changes
    }
    if status_changes == {("active", "quarantined")}:
        return AuditAction.MEMORY_QUARANTINE
    return (
        AuditAction.MEMORY_RELEASE if status_changes == {("quarantined", "active")} else AuditAction.MEMORY_RECLASSIFY
    )


def _common_values(classifications: Iterable[ClassificationState]) -> dict[str, Any]:
    first_values, *other_values = [classification.field_values for classification in classifications]
    return {
        name: value for name, value in first_values.items() if all(values[name] == value for values in other_values)
    }
