"""Request and response schemas of the policy routes, for validation and the OpenAPI document."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from rest_framework import serializers

from memoryhub.conflicts.detector.compare import CLASSES
from memoryhub.conflicts.policies.policies import PolicyInput
from memoryhub.conflicts.policies.policy_evaluation import SKIP_REASONS
from memoryhub.conflicts.policies.rules import RULES
from memoryhub.memories.pagination import DEFAULT_LIMIT, MAX_LIMIT
from memoryhub.memories.writes.envelope import Text


class PolicyVersionRequest(PolicyInput):
    """The next version of a policy: all fields, not only those that change."""

    version: Annotated[int, Field(ge=1, description="Required: the version that was read.")] = 0


class DryRunRequest(BaseModel):
    """The page of a dry run."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, description=f"At most {MAX_LIMIT}; more is cut to that.")] = DEFAULT_LIMIT
    cursor: Annotated[Text, Field(description="`next_cursor` of the page before.")] = ""


class EmptyRequest(BaseModel):
    """An empty object."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class PolicyRuleResponse(serializers.Serializer[Any]):
    rule = serializers.ChoiceField(choices=list(RULES))
    sources = serializers.ListField(child=serializers.CharField(), required=False)


class PolicyResponse(serializers.Serializer[Any]):
    """One version of a policy."""

    policy_id = serializers.UUIDField()
    version = serializers.IntegerField()
    name = serializers.CharField()
    namespace = serializers.CharField(allow_null=True, allow_blank=True, help_text="Null: any.")
    collection = serializers.CharField(allow_null=True, allow_blank=True, help_text="Null: any.")
    classes = serializers.ListField(child=serializers.ChoiceField(choices=CLASSES))
    rules = PolicyRuleResponse(many=True)
    is_enabled = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    principal = serializers.CharField(help_text="Who wrote this version.")


class PolicyListResponse(serializers.Serializer[Any]):
    policies = PolicyResponse(many=True)


class PolicyDetailResponse(PolicyResponse):
    versions = PolicyResponse(many=True, help_text="All of them, the newest first.")


class GroupEvaluationResponse(serializers.Serializer[Any]):
    """What a policy would do with one group."""

    untrusted = serializers.BooleanField()
    id = serializers.CharField(help_text="The group's.")
    subject = serializers.CharField()
    collection = serializers.CharField(allow_blank=True)
    locals()["class"] = serializers.ChoiceField(
        choices=["", *CLASSES], help_text="Empty where no rule names a value: nobody asked."
    )
    value_count = serializers.IntegerField()
    memory_count = serializers.IntegerField()
    keep = serializers.UUIDField(allow_null=True, help_text="A memory that says what would be kept.")
    value = serializers.CharField(allow_null=True, help_text="What would be kept.")
    rule = serializers.CharField(allow_blank=True, help_text="The rule that decides.")
    explanation = serializers.CharField(help_text="Why it would be decided so, or skipped.")
    skip_reason = serializers.ChoiceField(choices=["", *SKIP_REASONS], help_text="Empty: it would be decided.")


class EvaluationTotalsResponse(serializers.Serializer[Any]):
    groups_seen = serializers.IntegerField()
    decided_by_rule = serializers.DictField(child=serializers.IntegerField())
    skipped_by_reason = serializers.DictField(child=serializers.IntegerField())


class DryRunResponse(serializers.Serializer[Any]):
    groups = GroupEvaluationResponse(many=True)
    totals = EvaluationTotalsResponse(help_text="Of all pages up to this one.")
    next_cursor = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()


class PolicyRunResponse(serializers.Serializer[Any]):
    """One run of a policy over the open groups."""

    run_id = serializers.UUIDField()
    policy_id = serializers.UUIDField()
    policy_version = serializers.IntegerField()
    policy_name = serializers.CharField()
    principal = serializers.CharField()
    started_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True, help_text="Null: there are steps left.")
    groups_seen = serializers.IntegerField(help_text="Open groups that were looked at.")
    decisions_made = serializers.IntegerField()
    groups_skipped = serializers.IntegerField()
    decisions_undone = serializers.IntegerField(help_text="Decisions that were undone with the run.")


class PolicyRunPageResponse(serializers.Serializer[Any]):
    runs = PolicyRunResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()


class PolicyRunUndoResponse(serializers.Serializer[Any]):
    run = PolicyRunResponse()
    undone_count = serializers.IntegerField(help_text="By this step.")
    refused_count = serializers.IntegerField()
    is_finished = serializers.BooleanField(help_text="If not, send it again.")
