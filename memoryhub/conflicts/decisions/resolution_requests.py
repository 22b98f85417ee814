"""Requests to resolve a group, and their results."""

from dataclasses import dataclass, field
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Given
from pydantic_core import PydanticCustomError

from memoryhub.conflicts.decisions.outcomes import RESOLUTION_OUTCOMES, OutcomeRule
from memoryhub.conflicts.groups.group_keys import GroupKey
from memoryhub.memories.writes.classification_plan import Reason
from memoryhub.memories.writes.envelope import OperationRejectedError
from memoryhub.memories.writes.validated_types import Instant, Text, one_of

MAX_RESOLVABLE_MEMBERS = 10_000
"""Members of a group that can be resolved at once: every other writer waits meanwhile."""
REFUSAL_MESSAGES = {
    "above_clearance": "The resulting memory would be hidden from you.",
    "already_undone": "The decision was already undone.",
    "cannot_undo_undo": "The decision is an undo. Make another decision instead.",
    "claimed_by_other": "Another principal is deciding about this conflict now.",
    "invalid_value": "The decision is not possible.",
    "not_found": "There is no such conflict.",
    "stale": "The conflict has changed since it was read. Nothing was changed; read it again.",
    "too_large": f"The conflict has more than {MAX_RESOLVABLE_MEMBERS:,} memories.",
    "would_widen_visibility": "Readers who may not see all of the values would see the merged one.",
}
_OUTCOME_FIELDS = {
    "keep": "keep names memories with keep_one and keep_several; otherwise it must be empty.",
    "content": "content is required with merge, and only allowed with it.",
    "validity": "validity is only allowed with keep_several, for memories in keep.",
    "deferred_until": "deferred_until is only allowed with defer.",
}
"""The fields of a resolution that depend on its outcome, each with the error if it is missing or must not be given."""


class ValidityPeriod(BaseModel):
    """The period of event time in which a value holds; half-open."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True)

    since: Annotated[Instant | None, Given(alias="from")] = None
    to: Instant | None = None

    @model_validator(mode="after")
    def _validate_order(self) -> Self:
        if self.since and self.to and self.since >= self.to:
            raise PydanticCustomError("span", "must end after it begins.")
        return self


MemoryId = Annotated[UUID, Given(strict=False)]


class Resolution(BaseModel):
    """What a curator chooses for a group. A memory in `keep` keeps all members with the same content."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    outcome: Annotated[str, one_of(*RESOLUTION_OUTCOMES), Given(json_schema_extra={"enum": list(RESOLUTION_OUTCOMES)})]
    keep: Annotated[list[MemoryId], Given(max_length=1_000)] = Given(default_factory=list)
    content: Text = ""
    validity: dict[MemoryId, ValidityPeriod] = Given(default_factory=dict)
    deferred_until: Instant | None = None
    reason: Reason

    @model_validator(mode="after")
    def _validate_outcome(self) -> Self:
        if not self.reason.strip():
            raise PydanticCustomError("reason", "A reason is required.")
        fields = {name: getattr(self, name) for name in _OUTCOME_FIELDS} | {"content": self.content.strip()}
        for name, value in fields.items():
            if (value and name not in self.outcome_rule.fields) or (
                not value and name == self.outcome_rule.required_field
            ):
                raise PydanticCustomError(name, _OUTCOME_FIELDS[name])
        if not self.validity.keys() <= set(self.keep):
            raise PydanticCustomError("validity", _OUTCOME_FIELDS["validity"])
        return self

    @property
    def outcome_rule(self) -> OutcomeRule:
        return RESOLUTION_OUTCOMES[self.outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionRequest:
    """A resolution, with the evidence of the group that the caller has read."""

    key: GroupKey
    evidence: str
    resolution: Resolution
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyAttribution:
    """The policy and the run that make a decision in place of a person."""

    policy_id: UUID
    policy_version: int
    run_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionResult:
    """The result of a request: a decision, or a refusal, which is a key of REFUSAL_MESSAGES."""

    key: GroupKey
    decision_id: UUID | None = None
    kept_ids: list[UUID] = field(default_factory=list)
    retired_ids: list[UUID] = field(default_factory=list)
    still_active_ids: list[UUID] = field(default_factory=list)
    merged_id: UUID | None = None
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoResult:
    """The result of undoing a decision: the undo, or a refusal, which is a key of REFUSAL_MESSAGES."""

    undoes_id: UUID
    decision_id: UUID | None = None
    restored_ids: list[UUID] = field(default_factory=list)
    refusal: str = ""


def refusal_error(code: str) -> OperationRejectedError:
    """The error for a key of REFUSAL_MESSAGES."""
    return OperationRejectedError({"": [REFUSAL_MESSAGES[code]]}, code)
