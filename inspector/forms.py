"""The form by which one memory, or many, are classified: what it offers, what was typed, and what that asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from memoryhub.firewall.types import Principal, Scope
from memoryhub.memories.envelope import Errors
from memoryhub.memories.facets import FacetValue
from memoryhub.memories.records import Record

FIELDS = ("classification_tier", "add_labels", "remove_labels", "set_status", "reason")
# What a form carries besides, and what is no filter either.
BESIDE = ("csrfmiddlewaretoken", "token", "version")
NAMES = {"classification_tier": "The tier", "add_labels": "A label to add", "remove_labels": "A label to remove"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A label that can be removed. `value` stands for it in the form, for a label may itself be a secret."""

    value: str
    text: str
    count: int = 0
    is_chosen: bool = False


class ClassifyForm:
    """What was typed into a form, or nothing yet, and what is wrong with it."""

    def __init__(self, data: QueryDict, *, by: Principal, labels: Mapping[str, str], tier: str | None = None) -> None:
        self.data = data
        self.labels = labels
        self.stands = tier
        self.tiers = [name for name in by.clearance.tiers() if name != tier]
        self.may_open = by.may(Scope.DECLASSIFY)
        self.errors: Errors = {}
        self.warnings: Errors = {}
        self.counts: Mapping[str, int] = {}

    @classmethod
    def of_memory(cls, memory: Record, *, by: Principal, data: QueryDict | None = None) -> "ClassifyForm":
        labels = {str(place): label for place, label in enumerate(memory["sensitivity_labels"])}
        return cls(data or QueryDict(), by=by, labels=labels, tier=memory["classification_tier"])

    @classmethod
    def of_many(cls, counted: Sequence[FacetValue], *, by: Principal, data: QueryDict) -> "ClassifyForm":
        chosen = data.getlist("remove_labels")
        made = cls(data, by=by, labels={label: label for label in [*chosen, *(one.value for one in counted)]})
        made.counts = {one.value: one.count for one in counted}
        return made

    @property
    def tier(self) -> str:
        return str(self.data.get("classification_tier", ""))

    @property
    def added(self) -> str:
        return str(self.data.get("add_labels", ""))

    @property
    def status(self) -> str:
        return str(self.data.get("set_status", ""))

    @property
    def reason(self) -> str:
        return str(self.data.get("reason", ""))

    @property
    def choices(self) -> list[Choice]:
        chosen = self.data.getlist("remove_labels")
        return [
            Choice(value=value, text=label, count=self.counts.get(value, 0), is_chosen=value in chosen)
            for value, label in self.labels.items()
        ]

    @property
    def kept(self) -> list[tuple[str, str]]:
        """What was typed, for a form that asks for the same."""
        return [(name, value) for name in FIELDS if name != "reason" for value in self.data.getlist(name) if value]

    @property
    def asked(self) -> dict[str, Any]:
        """What the form asks for, in the words of `relabel.Change`."""
        removed = [self.labels[value] for value in self.data.getlist("remove_labels") if value in self.labels]
        named = {
            "classification_tier": self.tier,
            "add_labels": [line.strip() for line in self.added.splitlines() if line.strip()],
            "remove_labels": removed,
            "status": self.status,
        }
        return {name: value for name, value in named.items() if value}

    @property
    def change(self) -> dict[str, Any]:
        return {**self.asked, "reason": self.reason}

    @property
    def sentences(self) -> list[str]:
        """What is wrong, a sentence for each mistake."""
        return sentences(self.errors)

    @property
    def cautions(self) -> list[str]:
        """What a reader may mistake, a sentence for each label that is added."""
        return sentences(self.warnings)


def sentences(errors: Errors) -> list[str]:
    """Errors by field, or warnings, each with its subject."""
    return [" ".join(filter(None, [_name(field), *said])) for field, said in errors.items()]


def _name(field: str) -> str:
    first = field.partition(".")[0]
    return NAMES.get(first, first.capitalize())
