"""Responses about policies: their versions, dry runs and runs."""

from collections.abc import Mapping
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from memoryhub.api.responses.memories import PageResponse
from memoryhub.conflicts.detector.compare import CLASSES
from memoryhub.conflicts.groups.group_keys import encode_id
from memoryhub.conflicts.policies.dry_runs import EvaluationTotals
from memoryhub.conflicts.policies.policies import PolicyDocument
from memoryhub.conflicts.policies.policy_evaluation import SKIP_REASONS, GroupEvaluation
from memoryhub.conflicts.policies.policy_runs import PolicyRunDocument
from memoryhub.core.shapes import one_value_of


class PolicyListResponse(TypedDict):
    """The current versions of the policies."""

    policies: list[PolicyDocument]


class PolicyDetailResponse(PolicyDocument):
    """The current version of a policy, and all of its versions."""

    versions: Annotated[list[PolicyDocument], Field(description="All versions, newest first.")]


_EvaluationClassField = TypedDict(
    "_EvaluationClassField",
    {"class": Annotated[str, one_value_of(["", *CLASSES], "Empty if no rule decides, so that it was not computed.")]},
)


class GroupEvaluationResponse(_EvaluationClassField):
    """What a policy would decide about one group."""

    untrusted: Literal[True]
    id: Annotated[str, Field(description="The id of the group.")]
    subject: str
    collection: str
    value_count: int
    memory_count: int
    keep: Annotated[UUID | None, Field(description="The newest memory with the value that would be kept.")]
    value: Annotated[str | None, Field(description="The value that would be kept.")]
    rule: Annotated[str, Field(description="The rule that decides.")]
    explanation: Annotated[str, Field(description="The reason of the decision, or of leaving the group out.")]
    skip_reason: Annotated[str, one_value_of(["", *SKIP_REASONS], "Empty if the policy would decide the group.")]


class DryRunResponse(PageResponse):
    """A page of a dry run."""

    groups: list[GroupEvaluationResponse]
    totals: Annotated[EvaluationTotals, Field(description="The totals of all pages up to this one.")]


class PolicyRunPageResponse(PageResponse):
    """A page of runs."""

    runs: list[PolicyRunDocument]


class PolicyRunUndoResponse(TypedDict):
    """The result of one step of undoing a run."""

    run: PolicyRunDocument
    undone_count: Annotated[int, Field(description="Decisions that this step has undone.")]
    refused_count: Annotated[int, Field(description="Decisions that this step could not undo.")]
    is_finished: Annotated[bool, Field(description="If false, another step is needed.")]


def build_evaluation(evaluation: GroupEvaluation, contents: Mapping[UUID, str]) -> GroupEvaluationResponse:
    """Return the response for one group; `contents` are the values that would be kept, by memory."""
    return {
        "untrusted": True,
        "id": encode_id(*evaluation.key),
        "subject": evaluation.key[0],
        "collection": evaluation.key[1],
        "class": evaluation.conflict_class,
        "value_count": evaluation.value_count,
        "memory_count": evaluation.memory_count,
        "keep": evaluation.keep,
        "value": contents.get(evaluation.keep) if evaluation.keep else None,
        "rule": evaluation.rule,
        "explanation": SKIP_REASONS.get(evaluation.skip_reason, evaluation.explanation),
        "skip_reason": evaluation.skip_reason,
    }
