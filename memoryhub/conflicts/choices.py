"""What is asked for about a group, and what became of it."""

from dataclasses import dataclass, field
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Given
from pydantic_core import PydanticCustomError

from memoryhub.conflicts.keys import Key
from memoryhub.memories.envelope import Instant, Rejected, Text
from memoryhub.memories.relabel import Reason

MOST_MEMBERS = 10_000
"""Memories of one group that can be decided on at once: every writer waits meanwhile."""
REFUSALS = {
    "above_clearance": "What comes of it would be hidden from you.",
    "already_undone": "It was undone already.",
    "claimed": "Somebody else is deciding about it just now.",
    "invalid_value": "It cannot be decided so.",
    "is_undo": "It is an undo. Decide again instead.",
    "not_found": "There is no such conflict.",
    "stale": "The conflict is another one since it was read. Nothing was done; look at it again.",
    "too_large": f"It has more than {MOST_MEMBERS:,} memories.",
    "would_open": "Readers who may not see all of the values would see the merged one.",
}
_KEEPING = {"keep_one", "keep_several"}


class Validity(BaseModel):
    """From when to when a value holds, in event time; half-open."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True)

    since: Annotated[Instant | None, Given(alias="from")] = None
    to: Instant | None = None

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if self.since and self.to and self.since >= self.to:
            raise PydanticCustomError("span", "must end later than it begins.")
        return self


MemoryId = Annotated[UUID, Given(strict=False)]


class Choice(BaseModel):
    """What is to become of a group. Memories stand for what they say: all that say the same are kept with them."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    outcome: Literal["keep_one", "keep_several", "merge", "not_a_conflict", "defer"]
    keep: Annotated[list[MemoryId], Given(max_length=1_000)] = Given(default_factory=list)
    content: Text = ""
    validity: dict[MemoryId, Validity] = Given(default_factory=dict)
    until: Instant | None = None
    reason: Reason

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.reason.strip():
            raise PydanticCustomError("reason", "A reason is required.")
        if bool(self.keep) != (self.outcome in _KEEPING):
            raise PydanticCustomError("keep", "keep names memories with keep_one and keep_several, and is empty else.")
        if bool(self.content.strip()) != (self.outcome == "merge"):
            raise PydanticCustomError("content", "content is given with merge, and with nothing else.")
        if self.validity and (self.outcome != "keep_several" or not self.validity.keys() <= set(self.keep)):
            raise PydanticCustomError("validity", "validity is of what keep_several keeps.")
        if self.until and self.outcome != "defer":
            raise PydanticCustomError("until", "until is given with defer alone.")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A choice about a group, as it was read."""

    key: Key
    evidence: str
    choice: Choice
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Automatic:
    """The policy that decides, instead of a person."""

    policy: UUID
    policy_version: int
    run: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a wish: a decision, or a refusal, which is a key of REFUSALS."""

    key: Key
    decision_id: UUID | None = None
    kept: list[UUID] = field(default_factory=list)
    retired: list[UUID] = field(default_factory=list)
    left: list[UUID] = field(default_factory=list)
    merged: UUID | None = None
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What became of the wish to undo a decision: the undo, or a refusal, which is a key of REFUSALS."""

    reverses: UUID
    decision_id: UUID | None = None
    restored: list[UUID] = field(default_factory=list)
    refusal: str = ""


def refused(code: str) -> Rejected:
    """The refusal of a code of REFUSALS."""
    return Rejected({"": [REFUSALS[code]]}, code)
