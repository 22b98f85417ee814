"""The form that resolves a group: its input, the resolution it requests, and its errors."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import QueryDict

from inspector.presenters.conflict_group import ValueCard
from memoryhub.conflicts.decisions.decision_queries import DecisionRecord
from memoryhub.memories.writes.envelope import Errors, OperationRejectedError

SUGGESTED_REASONS = (
    "Newer information.",
    "More trusted source.",
    "Confirmed with the person.",
    "Was a mistake.",
    "Both are true.",
)
MAX_PREFILL_CHARS = 20_000
UNDO_REASON = "Decided by mistake."
OUTCOME_LABELS = {
    "keep_one": "kept one value",
    "keep_several": "kept several values",
    "merge": "merged the values",
    "not_a_conflict": "found no conflict",
    "defer": "snoozed the conflict",
    "undo": "undid a decision",
}
FIELD_LABELS = {"content": "The merged text", "keep": "What to keep", "deferred_until": "The date"}


class ResolveForm:
    """`choice` is the id of a memory whose value is kept, or an outcome that applies to all values."""

    def __init__(self, data: QueryDict, *, last_reason: str = "") -> None:
        self.data = data
        self.last_reason = last_reason
        self.errors: Errors = {}

    @property
    def is_blank(self) -> bool:
        return not self.data

    @property
    def choice(self) -> str:
        return str(self.data.get("choice", ""))

    @property
    def reason(self) -> str:
        """The reason that was typed, or that of a button which decides at once."""
        return str(self.data.get("quick_reason") or self.data.get("reason", ""))

    @property
    def deferred_until(self) -> str:
        return str(self.data.get("deferred_until", ""))

    @property
    def content(self) -> str:
        # Browsers send line ends of a textarea as CR LF.
        return str(self.data.get("content", "")).replace("\r\n", "\n")

    @property
    def evidence(self) -> str:
        return str(self.data.get("evidence", ""))

    @property
    def reasons(self) -> list[str]:
        """Suggested reasons; the one that was used last comes first."""
        return list(dict.fromkeys([*([self.last_reason] if self.last_reason else []), *SUGGESTED_REASONS]))

    @property
    def resolution_data(self) -> dict[str, Any]:
        """The input as fields of `Resolution`. Raises OperationRejectedError if nothing is chosen."""
        common_fields = {"reason": self.reason.strip()}
        match self.choice:
            case "":
                raise OperationRejectedError({"": ["Choose what is to become of it."]})
            case "keep_several":
                kept_ids = self.data.getlist("keep")
                periods = {memory_id: period for memory_id in kept_ids if (period := self._get_validity(memory_id))}
                return {**common_fields, "outcome": "keep_several", "keep": kept_ids, "validity": periods}
            case "merge":
                return {**common_fields, "outcome": "merge", "content": self.content}
            case "defer":
                return {
                    **common_fields,
                    "outcome": "defer",
                    **({"deferred_until": _parse_date_input(self.deferred_until)} if self.deferred_until else {}),
                }
            case "not_a_conflict":
                return {**common_fields, "outcome": "not_a_conflict"}
            case memory_id:
                return {**common_fields, "outcome": "keep_one", "keep": [memory_id]}

    def _get_validity(self, memory_id: str) -> dict[str, str]:
        dates = {name: self.data.get(f"{name}-{memory_id}", "") for name in ("from", "to")}
        return {name: _parse_date_input(value) for name, value in dates.items() if value}

    @property
    def error_messages(self) -> list[str]:
        """One sentence per error."""
        return [
            " ".join(filter(None, [_get_field_label(field), *field_messages]))
            for field, field_messages in self.errors.items()
        ]

    def build_value_fields(self, card: ValueCard) -> dict[str, Any]:
        """Return the form's fields for one value, with the input so far or the defaults."""
        memory_id = str(card.memory["memory_id"])
        return {
            "memory_id": memory_id,
            "is_chosen": self.choice == memory_id,
            "is_kept": self.is_blank or "keep" not in self.data or memory_id in self.data.getlist("keep"),
            "since": self.data.get(f"from-{memory_id}", ""),
            "to": self.data.get(f"to-{memory_id}", ""),
        }

    def get_merged_content(self, newest_card: ValueCard) -> str:
        """Return the typed merged text; at first the newest value, or "" if it has secrets or is very long."""
        if self.choice == "merge":
            return self.content
        content = str(newest_card.memory["content"])
        return "" if newest_card.has_secrets or len(content) > MAX_PREFILL_CHARS else content


def map_memory_roles(decision: DecisionRecord) -> Mapping[UUID, str]:
    """Map each memory of a decision to what the decision did with it."""
    ids_by_role = {
        "kept": decision.kept_ids,
        "retired": decision.retired_ids,
        "still active": decision.still_active_ids,
    }
    return {memory_id: role for role, ids in ids_by_role.items() for memory_id in ids}


def _get_field_label(field: str) -> str:
    field_name = field.partition(".")[0]
    return FIELD_LABELS.get(field_name, field_name.capitalize())


def _parse_date_input(date_text: str) -> str:
    """Expand a date to its midnight in UTC."""
    return f"{date_text}T00:00:00Z" if len(date_text) == 10 else date_text
