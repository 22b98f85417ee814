"""Reclassify memories: each change adds a version, and all changes of a request are one audit entry.

A plan says what would happen to each memory. Applying the plan does that, or nothing if a memory has changed since.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from heapq import nlargest
from typing import Annotated, Any, Self, TypeVar
from uuid import UUID

from django.core.signing import BadSignature, Signer
from django.utils.crypto import constant_time_compare, salted_hmac
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from memoryhub.audit.actions import AuditAction
from memoryhub.firewall import audit_events, rls
from memoryhub.firewall.clearance import Clearance, normalize_label, normalize_labels, widens_visibility
from memoryhub.firewall.models import ClearanceProfile
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories import clock
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import MAX_LABELS, Memory
from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.memories.records import DETAIL_FIELDS, MemoryRecord, newest_records
from memoryhub.memories.sql.tiers import LOOKUP_INDEX_GUARD
from memoryhub.memories.writes.envelope import (
    Errors,
    Labels,
    NewLabels,
    OperationRejectedError,
    Text,
    Tier,
    find_label_warnings,
    one_of,
    rejection_from_pydantic,
)
from memoryhub.memories.writes.versions import add_changed_copies, write_transaction

MAX_PLAN_SIZE = 10_000
"""Maximum number of memories in one plan: every writer waits while a plan is applied."""
MAX_REASON = 1_000
MAX_CHANGE_GROUPS = 50
QUARANTINE_STATUSES = ("active", "quarantined")
"""The statuses between which a memory is quarantined and released; retired and erased memories are in neither."""

REFUSAL_MESSAGES = {
    "above_clearance": "It would be hidden from you, and you could not undo it.",
    "declassification": "It would be seen by readers who could not see it, and you may not declassify.",
    "not_active": "It is retired or erased.",
    "too_many_labels": f"It would carry more than {MAX_LABELS} labels.",
}


def _validate_reason(value: str) -> str:
    if len(value) > MAX_REASON:
        raise PydanticCustomError("reason", f"must be at most {MAX_REASON:,} characters long.")
    return value


Reason = Annotated[Text, AfterValidator(_validate_reason)]


class ClassificationChange(BaseModel):
    """A change of a classification. Fields that are not given stay; labels are compared in normalized form."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    classification_tier: Tier = ""
    add_labels: NewLabels = Field(default_factory=list)
    remove_labels: Labels = Field(default_factory=list)
    status: Annotated[str, one_of(*QUARANTINE_STATUSES)] = ""
    reason: Reason = ""

    @model_validator(mode="after")
    def _validate_change(self) -> Self:
        if not self.requested_fields:
            raise PydanticCustomError("empty", "There is nothing named to change.")
        if normalize_labels(self.add_labels) & normalize_labels(self.remove_labels):
            raise PydanticCustomError("both", "The same label is added and removed.")
        return self

    @property
    def requested_fields(self) -> dict[str, Any]:
        """The fields that were given, without the reason."""
        fields = self.model_dump(include={"classification_tier", "add_labels", "remove_labels", "status"})
        return {name: value for name, value in fields.items() if value}

    @property
    def warnings(self) -> Errors:
        """What a reader may mistake in the added labels, in the shape of errors."""
        return find_label_warnings("add_labels", self.add_labels)

    def apply_to(self, before: "ClassificationState") -> "ClassificationState":
        removed_keys, existing_keys = normalize_labels(self.remove_labels), normalize_labels(before.sensitivity_labels)
        remaining_labels = [label for label in before.sensitivity_labels if normalize_label(label) not in removed_keys]
        added_labels = {
            normalize_label(label): label for label in self.add_labels if normalize_label(label) not in existing_keys
        }
        after = replace(
            before,
            classification_tier=self.classification_tier or before.classification_tier,
            sensitivity_labels=(*remaining_labels, *added_labels.values()),
            status=self.status or before.status,
        )
        # A field that a curator has set no longer counts as defaulted.
        changed_fields = {name for name, value in before.field_values.items() if after.field_values[name] != value}
        return replace(
            after, defaulted_fields=tuple(name for name in before.defaulted_fields if name not in changed_fields)
        )


BodyModel = TypeVar("BodyModel", bound=BaseModel)


def parse_body(body: Any, model: type[BodyModel]) -> BodyModel:
    """Parse `body`, a decoded JSON value. Raises OperationRejectedError with the errors of every field."""
    if not isinstance(body, Mapping):
        raise OperationRejectedError({"": ["must be a JSON object."]})
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise rejection_from_pydantic(error) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationState:
    """The classification and the status of a memory, and which of its fields were defaulted."""

    namespace: str
    classification_tier: str
    sensitivity_labels: tuple[str, ...]
    status: str
    defaulted_fields: tuple[str, ...]

    @property
    def key(self) -> tuple[str, tuple[str, ...], str]:
        return self.classification_tier, self.sensitivity_labels, self.status

    @property
    def field_values(self) -> dict[str, Any]:
        """The values that a change can set."""
        return {
            "classification_tier": self.classification_tier,
            "sensitivity_labels": list(self.sensitivity_labels),
            "status": self.status,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRow:
    """The current version of one memory, as far as a plan needs it."""

    id: int
    memory_id: UUID
    version: int
    source: str
    timestamp: datetime
    classification: ClassificationState


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedChange:
    """What a plan does to one memory: nothing, if `after` equals `before` or there is a `refusal`."""

    row: TargetRow
    after: ClassificationState
    widens: bool
    narrows: bool
    """Whether undoing the change would make the memory visible to more readers."""
    hidden_from: frozenset[str]
    """The names of the stored clearances that see the memory before the change, and not after it."""
    refusal: str

    @property
    def before(self) -> ClassificationState:
        return self.row.classification

    @property
    def is_effective(self) -> bool:
        return not self.refusal and self.after != self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationPlan:
    """What a change would do to each memory, in the order of their ids, for a principal who may see them all."""

    principal: Principal
    requested_fields: dict[str, Any]
    planned_changes: list[PlannedChange]
    clearances: Mapping[str, Clearance] = field(default_factory=dict)
    """The stored clearances, by name."""

    @property
    def effective_changes(self) -> list[PlannedChange]:
        return [planned_change for planned_change in self.planned_changes if planned_change.is_effective]

    @property
    def widened_count(self) -> int:
        """The number of memories that would be visible to a clearance that could not see them."""
        return sum(planned_change.widens for planned_change in self.effective_changes)

    @property
    def narrowed_count(self) -> int:
        """The number of memories that would be hidden from a stored clearance that sees them."""
        return sum(bool(planned_change.hidden_from) for planned_change in self.effective_changes)

    @property
    def hidden_from(self) -> list[str]:
        """The names of those clearances, as far as they see no more than the principal does."""
        names = {name for planned_change in self.effective_changes for name in planned_change.hidden_from}
        return sorted(name for name in names if self.principal.clearance.is_superset_of(self.clearances[name]))

    @property
    def unchanged_count(self) -> int:
        return sum(planned_change.after == planned_change.before for planned_change in self.planned_changes)

    @property
    def refusal_counts(self) -> dict[str, int]:
        return dict(
            Counter(planned_change.refusal for planned_change in self.planned_changes if planned_change.refusal)
        )

    @property
    def change_groups(self) -> list[tuple[int, PlannedChange]]:
        """(count, one example) of equal planned changes; the most frequent first."""
        changes_by_kind = {
            (planned_change.before.key, planned_change.after.key, planned_change.widens): planned_change
            for planned_change in self.effective_changes
        }
        counts = Counter(
            (planned_change.before.key, planned_change.after.key, planned_change.widens)
            for planned_change in self.effective_changes
        )
        return [(count, changes_by_kind[change_kind]) for change_kind, count in counts.most_common(MAX_CHANGE_GROUPS)]

    @property
    def confirmation_token(self) -> str:
        """Identifies this plan: built again it has the same token, with other memories or versions another one."""
        evidence = [
            (
                planned_change.row.memory_id.hex,
                planned_change.row.version,
                planned_change.after.field_values,
                planned_change.refusal,
            )
            for planned_change in self.planned_changes
        ]
        return salted_hmac(
            "memoryhub.reclassify", repr((self.principal.name, evidence)), algorithm="sha256"
        ).hexdigest()

    def check_token(self, token: str) -> None:
        """Raise OperationRejectedError, `stale`, if `token` is that of another plan."""
        if not constant_time_compare(token, self.confirmation_token):
            raise stale_error()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationResult:
    """The result of an applied plan. `undo_token` undoes it; `undo_widens` says whether that widens again."""

    changed_count: int
    undo_token: str = ""
    undo_widens: bool = False


def stale_error() -> OperationRejectedError:
    return OperationRejectedError(
        {"": ["It has changed since it was read. Nothing was done; look at it again."]}, "stale"
    )


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
        raise OperationRejectedError({"known_at": ["is history, which stays as it is."]}, "history_is_read_only")
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
        raise OperationRejectedError({"": ["There is nothing here that you could undo."]}) from None
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
        raise OperationRejectedError({"reason": ["is required: this opens memories to more readers."]})
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
            {"": [f"More than {MAX_PLAN_SIZE:,} memories are meant. Narrow it down."]}, "too_large"
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
