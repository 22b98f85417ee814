"""The form that classifies one memory or many: its choices, its input and its errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.facets import FacetValue
from memoryhub.memories.records import MemoryRecord
from memoryhub.memories.writes.envelope import Errors

FORM_FIELDS = ("classification_tier", "add_labels", "remove_labels", "set_status", "reason")
# Form fields that are neither part of the change nor filters.
NON_FILTER_FIELDS = ("csrfmiddlewaretoken", "confirmation_token", "version")
FIELD_LABELS = {"classification_tier": "The tier", "add_labels": "A label to add", "remove_labels": "A label to remove"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelChoice:
    """A label that can be removed.

    The form sends `value` instead of the label, because a label may contain a secret.
    """

    value: str
    text: str
    count: int = 0
    is_chosen: bool = False


class ClassifyForm:
    """The choices, input, errors and warnings of the form. `data` is empty before the form is sent."""

    def __init__(
        self, data: QueryDict, *, principal: Principal, labels: Mapping[str, str], tier: str | None = None
    ) -> None:
        self.data = data
        self.labels = labels
        self.current_tier = tier
        self.tiers = [name for name in principal.clearance.visible_tiers() if name != tier]
        self.may_widen = principal.has_scope(Scope.DECLASSIFY)
        self.errors: Errors = {}
        self.warnings: Errors = {}
        self.counts: Mapping[str, int] = {}

    @classmethod
    def for_memory(cls, memory: MemoryRecord, *, principal: Principal, data: QueryDict | None = None) -> "ClassifyForm":
        labels = {str(index): label for index, label in enumerate(memory["sensitivity_labels"])}
        return cls(data or QueryDict(), principal=principal, labels=labels, tier=memory["classification_tier"])

    @classmethod
    def for_filter(cls, label_counts: Sequence[FacetValue], *, principal: Principal, data: QueryDict) -> "ClassifyForm":
        selected_labels = data.getlist("remove_labels")
        form = cls(
            data,
            principal=principal,
            labels={label: label for label in [*selected_labels, *(label_count.value for label_count in label_counts)]},
        )
        form.counts = {label_count.value: label_count.count for label_count in label_counts}
        return form

    @property
    def tier(self) -> str:
        return str(self.data.get("classification_tier", ""))

    @property
    def added_labels(self) -> str:
        return str(self.data.get("add_labels", ""))

    @property
    def status(self) -> str:
        return str(self.data.get("set_status", ""))

    @property
    def reason(self) -> str:
        return str(self.data.get("reason", ""))

    @property
    def label_choices(self) -> list[LabelChoice]:
        selected_labels = self.data.getlist("remove_labels")
        return [
            LabelChoice(value=value, text=label, count=self.counts.get(value, 0), is_chosen=value in selected_labels)
            for value, label in self.labels.items()
        ]

    @property
    def hidden_fields(self) -> list[tuple[str, str]]:
        """The input as hidden fields, for a second form that requests the same change."""
        return [(name, value) for name in FORM_FIELDS if name != "reason" for value in self.data.getlist(name) if value]

    @property
    def change_fields(self) -> dict[str, Any]:
        """The input as fields of `ClassificationChange`."""
        removed_labels = [self.labels[value] for value in self.data.getlist("remove_labels") if value in self.labels]
        fields = {
            "classification_tier": self.tier,
            "add_labels": [line.strip() for line in self.added_labels.splitlines() if line.strip()],
            "remove_labels": removed_labels,
            "status": self.status,
        }
        return {name: value for name, value in fields.items() if value}

    @property
    def change_data(self) -> dict[str, Any]:
        return {**self.change_fields, "reason": self.reason}

    @property
    def error_messages(self) -> list[str]:
        """One sentence per error."""
        return format_messages(self.errors)

    @property
    def warning_messages(self) -> list[str]:
        """One sentence per added label that a reader may mistake for another one."""
        return format_messages(self.warnings)


def format_messages(errors: Errors) -> list[str]:
    """Format errors or warnings by field as sentences that begin with the field's label."""
    return [
        " ".join(filter(None, [_get_field_label(field), *field_messages])) for field, field_messages in errors.items()
    ]


def _get_field_label(field: str) -> str:
    field_name = field.partition(".")[0]
    return FIELD_LABELS.get(field_name, field_name.capitalize())
