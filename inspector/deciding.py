"""The form by which a group is decided: what was typed, what that asks for, and what is wrong with it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import QueryDict

from inspector.values import Value
from memoryhub.conflicts.decisions import Told
from memoryhub.memories.envelope import Errors, Rejected

REASONS = (
    "Newer information.",
    "More trusted source.",
    "Confirmed with the person.",
    "Was a mistake.",
    "Both are true.",
)
MOST_TO_BEGIN_WITH = 20_000
UNDO_REASON = "Decided by mistake."
OUTCOMES = {
    "keep_one": "kept one value",
    "keep_several": "kept several values",
    "merge": "merged the values",
    "not_a_conflict": "found no conflict",
    "defer": "deferred it",
    "undo": "undid a decision",
}
NAMES = {"content": "The merged text", "keep": "What to keep", "until": "The date"}


class DecideForm:
    """A choice is the id of a memory, whose value is kept, or the outcome that is chosen for all of them."""

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
        """As it was typed, or one of the reasons that decide with one tap."""
        return str(self.data.get("tapped") or self.data.get("reason", ""))

    @property
    def until(self) -> str:
        return str(self.data.get("until", ""))

    @property
    def content(self) -> str:
        # A browser sends each line end of a textarea as CR LF.
        return str(self.data.get("content", "")).replace("\r\n", "\n")

    @property
    def evidence(self) -> str:
        return str(self.data.get("evidence", ""))

    @property
    def reasons(self) -> list[str]:
        """Reasons to pick from, the last one first."""
        return list(dict.fromkeys([*([self.last_reason] if self.last_reason else []), *REASONS]))

    @property
    def given(self) -> dict[str, Any]:
        """What the form asks for, in the words of `choices.Choice`. Raises Rejected if nothing is chosen."""
        told = {"reason": self.reason.strip()}
        match self.choice:
            case "":
                raise Rejected({"": ["Choose what is to become of it."]})
            case "keep_several":
                keep = self.data.getlist("keep")
                spells = {memory_id: spell for memory_id in keep if (spell := self._validity(memory_id))}
                return {**told, "outcome": "keep_several", "keep": keep, "validity": spells}
            case "merge":
                return {**told, "outcome": "merge", "content": self.content}
            case "defer":
                return {**told, "outcome": "defer", **({"until": _instant(self.until)} if self.until else {})}
            case "not_a_conflict":
                return {**told, "outcome": "not_a_conflict"}
            case memory_id:
                return {**told, "outcome": "keep_one", "keep": [memory_id]}

    def _validity(self, memory_id: str) -> dict[str, str]:
        typed = {name: self.data.get(f"{name}-{memory_id}", "") for name in ("from", "to")}
        return {name: _instant(value) for name, value in typed.items() if value}

    @property
    def sentences(self) -> list[str]:
        """What is wrong, a sentence for each mistake."""
        return [" ".join(filter(None, [_name(field), *said])) for field, said in self.errors.items()]

    def fields_of(self, value: Value) -> dict[str, Any]:
        """What the form says of a value: as it was typed, or as it is offered."""
        memory_id = str(value.memory["memory_id"])
        return {
            "memory_id": memory_id,
            "is_chosen": self.choice == memory_id,
            "is_kept": self.is_blank or "keep" not in self.data or memory_id in self.data.getlist("keep"),
            "since": self.data.get(f"from-{memory_id}", ""),
            "to": self.data.get(f"to-{memory_id}", ""),
        }

    def merged(self, newest: Value) -> str:
        """The merged text as it was typed, or what to begin with: masks are not for keeping, nor is a book."""
        if self.choice == "merge":
            return self.content
        content = str(newest.memory["content"])
        return "" if newest.has_secrets or len(content) > MOST_TO_BEGIN_WITH else content


def roles(told: Told) -> Mapping[UUID, str]:
    """What became of each memory of a decision."""
    named = {"kept": told.kept, "retired": told.retired, "left in force": told.left}
    return {memory_id: role for role, ids in named.items() for memory_id in ids}


def _name(field: str) -> str:
    first = field.partition(".")[0]
    return NAMES.get(first, first.capitalize())


def _instant(typed: str) -> str:
    """A date means its midnight in UTC, as everywhere."""
    return f"{typed}T00:00:00Z" if len(typed) == 10 else typed
