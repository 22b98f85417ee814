"""The lines of an export for decisions, policies and policy runs: their fields, and the checks of an import."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from memoryhub.conflicts.decisions.outcomes import OUTCOMES
from memoryhub.memories.writes.envelope import OperationRejectedError, rejection_from_pydantic
from memoryhub.memories.writes.exported import Id
from memoryhub.memories.writes.validated_types import Document, Instant, Name, Text, one_of


def _validate_hex(value: str) -> str:
    try:
        return bytes.fromhex(value).hex()
    except ValueError:
        raise PydanticCustomError("hexadecimal", "must be hexadecimal.") from None


HexHash = Annotated[str, AfterValidator(_validate_hex)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Version = Annotated[int, Field(ge=1)]


class ExportItem(BaseModel):
    """A line of an export that is not a memory."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    type: str


class ClearanceSnapshotItem(ExportItem):
    """An item that is visible to clearances that see everything its maker could see."""

    clearance_tiers: list[Text]
    clearance_blocked_labels: list[Text]
    clearance_required_labels: list[Text]
    clearance_namespaces: list[Text] | None


class PolicyLine(ClearanceSnapshotItem):
    type: Literal["policy"]
    policy_id: Id
    version: Version
    name: Name
    namespace: Name | None
    collection: Name | None
    classes: list[Text]
    rules: list[dict[str, Any]]
    is_enabled: bool
    created_at: Instant
    principal: Text


class PolicyRunLine(ClearanceSnapshotItem):
    type: Literal["policy_run"]
    run_id: Id
    policy_id: Id
    policy_version: Version
    principal: Text
    started_at: Instant
    finished_at: Instant | None
    resume_after: list[Text] | None
    groups_seen: NonNegativeInt
    decisions_made: NonNegativeInt
    groups_skipped: NonNegativeInt
    decisions_undone: NonNegativeInt


class MemoryReference(BaseModel):
    """A memory of a decision: its id, and what identifies it in another hub."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    memory_id: Id
    source: Name
    payload_id: Name

    @property
    def identity(self) -> tuple[UUID, str, str]:
        return self.memory_id, self.source, self.payload_id


class DecisionLine(ExportItem):
    type: Literal["decision"]
    decision_id: Id
    decided_at: Instant
    outcome: Annotated[str, one_of(*OUTCOMES)]
    subject: Name
    collection: Name
    namespace: Name | None
    memory_ids: list[Id]
    kept_ids: list[Id]
    retired_ids: list[Id]
    still_active_ids: list[Id]
    merged_id: Id | None
    memories: list[MemoryReference]
    accepted_hashes: list[HexHash]
    validity: dict[Id, Document]
    deferred_until: Instant | None
    evidence: HexHash
    reason: Annotated[Text, Field(min_length=1)]
    principal: Text
    policy_id: Id | None
    policy_version: Version | None
    rule: Text
    run_id: Id | None
    undoes_id: Id | None
    tiers: list[Text]
    any_labels: list[Text]
    common_labels: list[Text]
    namespaces: list[Text]


_LINE_TYPES: dict[str, type[ExportItem]] = {"policy": PolicyLine, "policy_run": PolicyRunLine, "decision": DecisionLine}


def parse_item(raw: Mapping[str, Any]) -> ExportItem:
    """The item in a line. Raises OperationRejectedError with the errors of all fields."""
    line_type = _LINE_TYPES.get(raw["type"]) if isinstance(raw["type"], str) else None
    if line_type is None:
        raise OperationRejectedError({"type": [f"must be one of {', '.join(_LINE_TYPES)}."]})
    try:
        return line_type.model_validate(raw)
    except ValidationError as error:
        raise rejection_from_pydantic(error) from None
