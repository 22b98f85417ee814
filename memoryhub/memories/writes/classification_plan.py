"""Changes of classifications, and plans that say what a change would do to each memory.

`classify` makes the plans and applies them.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from django.utils.crypto import constant_time_compare, salted_hmac
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from memoryhub.firewall.clearance import Clearance, normalize_label, normalize_labels
from memoryhub.firewall.principal import Principal
from memoryhub.memories.models import MAX_LABELS
from memoryhub.memories.writes.envelope import Errors, OperationRejectedError, find_label_warnings
from memoryhub.memories.writes.validated_types import Labels, NewLabels, Text, Tier, one_of

MAX_REASON = 1_000
MAX_CHANGE_GROUPS = 50
QUARANTINE_STATUSES = ("active", "quarantined")
"""The statuses between which a memory is quarantined and released; retired and erased memories are in neither."""

REFUSAL_MESSAGES = {
    "above_clearance": "The memory would be hidden from you, and you could not undo the change.",
    "declassification": "The memory would become visible to more readers, which needs the scope declassify.",
    "not_active": "The memory is retired or erased.",
    "too_many_labels": f"The memory would have more than {MAX_LABELS} labels.",
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
            raise PydanticCustomError("empty", "The request changes no field.")
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
    """What a change would do to each memory, in the order of their ids, for a principal that sees all of them."""

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


def stale_error() -> OperationRejectedError:
    return OperationRejectedError(
        {"": ["The classification has changed since it was read. Nothing was changed; read it again."]}, "stale"
    )
