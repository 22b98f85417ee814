"""Responses about conflicts: groups, claims and decisions."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from memoryhub.api.problems import ProblemResponse
from memoryhub.api.responses.memories import PageResponse
from memoryhub.conflicts.decisions import decision_queries
from memoryhub.conflicts.decisions.claims import ClaimHolder
from memoryhub.conflicts.decisions.decision_queries import DecisionRecord
from memoryhub.conflicts.detector.compare import ConflictClass, FeatureContribution
from memoryhub.conflicts.groups.group_queries import Status
from memoryhub.conflicts.groups.groups import MAX_LISTED_MEMORIES, MAX_MEMBERS, Group
from memoryhub.core.shapes import DocumentedAs, select_fields

DecisionResponse = Annotated[dict[str, Any], DocumentedAs(DecisionRecord)]


class DecisionPageResponse(PageResponse):
    """A page of decisions."""

    decisions: list[DecisionResponse]


class GroupClaimResponse(TypedDict):
    """The claim of a group."""

    claim: ClaimHolder | None


class ConflictProblemMembers(TypedDict, total=False):
    """What a problem says beyond its code if another principal's decision or claim prevents a request."""

    decision: Annotated[DecisionResponse, Field(description="With `stale`: the last decision about the group.")]
    claim: Annotated[ClaimHolder, Field(description="With `claimed_by_other`: the principal that holds the claim.")]


class ConflictProblemResponse(ProblemResponse, ConflictProblemMembers):
    """The problem for a request that another principal's decision or claim prevents."""


class GroupMemberResponse(TypedDict):
    """A memory of a group."""

    memory_id: UUID
    payload_id: str
    version: int
    source: str
    actor_type: str
    actor_id: str
    namespace: str
    timestamp: datetime
    recorded_at: datetime
    classification_tier: str
    sensitivity_labels: list[str]
    status: Annotated[Literal["active", "retired"], Field(description="`retired` by an active decision.")]


class GroupMemberDetailResponse(GroupMemberResponse):
    """A memory of a group with its content."""

    ts: Annotated[datetime, Field(description="The same as `timestamp`.")]
    content: str


class GroupValueResponse(TypedDict):
    """One of the values of a group."""

    content: str
    memories: Annotated[list[GroupMemberResponse], Field(description="The memories with this value, newest first.")]


_ConflictClassField = TypedDict(
    "_ConflictClassField",
    {"class": Annotated[ConflictClass, Field(description="The most serious class of its pairs of values.")]},
)


class ConflictResponse(_ConflictClassField):
    """A group, under the names of the native API and under those that older clients read."""

    untrusted: Literal[True]
    id: Annotated[str, Field(description="Derived from the key of the group, so it never changes.")]
    status: Annotated[Status, Field(description="`open`: the group waits for a decision.")]
    reopened: Annotated[bool, Field(description="Whether its last decision does not cover all of its values.")]
    evidence: Annotated[str, Field(description="SHA-256 of the versions that a decision would be about.")]
    decision: Annotated[DecisionResponse | None, Field(description="The last decision in force.")]
    subject: str
    entity_key: Annotated[str, Field(description="The collection.")]
    entity: Annotated[str, Field(description="The same as `entity_key`.")]
    namespace: NotRequired[Annotated[str, Field(description="With `scope=namespace`.")]]
    conflicting_values: list[str]
    sources: list[str]
    timestamps: Annotated[list[datetime], Field(description="The latest event time of each value.")]
    count: Annotated[int, Field(description="The least number of distinct values of a group.")]
    group_size: Annotated[int, Field(description="The same as `count`.")]
    memory_count: Annotated[int, Field(description="Memories of the group; the newest of them are listed.")]
    has_more_values: Annotated[bool, Field(description="Whether there are more values than listed: `count` of them.")]
    has_more_memories: Annotated[
        bool,
        Field(description="Whether there are more memories than listed: a list has at most "
        f"{MAX_LISTED_MEMORIES} of a group, a single group {MAX_MEMBERS}."),
    ]  # fmt: skip
    values: list[GroupValueResponse]
    memories: list[GroupMemberDetailResponse]


_PairClassField = TypedDict("_PairClassField", {"class": ConflictClass})


class PairVerdictResponse(_PairClassField):
    """The conflict class of two values, and the features that it was computed from."""

    values: Annotated[list[int], Field(description="The indexes of both values in `values` of the group.")]
    confidence: float
    version: Annotated[
        str, Field(description="The version of the detector's weights, and of the language model if there is one.")
    ]
    features: list[FeatureContribution]


class ConflictDetailResponse(ConflictResponse):
    """One group with its pairs, its decisions and its claim."""

    pairs: Annotated[list[PairVerdictResponse], Field(description="The pairs of the newest values.")]
    decisions: Annotated[list[DecisionResponse], Field(description="All decisions about this group, newest first.")]
    claim: Annotated[ClaimHolder | None, Field(description="The principal that is deciding about the group now.")]


class ConflictPageResponse(PageResponse):
    """A page of groups."""

    conflicts: list[ConflictResponse]


def build_conflict(group: Group, group_decisions: Iterable[DecisionRecord]) -> ConflictResponse:
    """Return the response for one group; `group_decisions` include its decision in force, if there is one."""
    subject, collection, *namespace = group.key
    current_decision_id = group.decision and group.decision.decision_id
    current_decision = next(
        (decision for decision in group_decisions if decision.decision_id == current_decision_id), None
    )
    conflict: ConflictResponse = {
        "untrusted": True,
        "id": group.id,
        "class": group.conflict_class,
        "status": group.status,
        "reopened": group.is_reopened,
        "evidence": group.evidence,
        "decision": decision_queries.to_json(current_decision) if current_decision else None,
        "subject": subject,
        "entity_key": collection,
        "entity": collection,
        "conflicting_values": [value.content for value in group.values],
        "sources": sorted({member["source"] for member in group.members}),
        "timestamps": [value.memories[0]["timestamp"] for value in group.values],
        "count": group.value_count,
        "group_size": group.value_count,
        "memory_count": group.memory_count,
        "has_more_values": group.has_more_values,
        "has_more_memories": group.has_more_memories,
        "values": [
            GroupValueResponse(
                content=value.content,
                memories=[select_fields(GroupMemberResponse, memory) for memory in value.memories],
            )
            for value in group.values
        ],
        "memories": [
            select_fields(GroupMemberDetailResponse, member | {"ts": member["timestamp"]}) for member in group.members
        ],
    }
    if namespace:
        conflict["namespace"] = namespace[0]
    return conflict


def iter_pairs(group: Group) -> Iterator[PairVerdictResponse]:
    """Yield the verdicts about the pairs of the newest values, with all numbers rounded."""
    for left_index, right_index, verdict in group.pair_verdicts:
        features = [
            replace(feature, value=round(feature.value, 4), contribution=round(feature.contribution, 4))
            for feature in verdict.features
        ]
        yield {
            "values": [left_index, right_index],
            "class": verdict.conflict_class,
            "confidence": round(verdict.confidence, 4),
            "version": verdict.version,
            "features": features,
        }
