"""What is sent to the routes of policies, and what they answer, as the OpenAPI document tells it."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from rest_framework import serializers

from memoryhub.conflicts.detector import CLASSES
from memoryhub.conflicts.policies import Draft
from memoryhub.conflicts.prospects import LEFT
from memoryhub.conflicts.rules import RULES
from memoryhub.memories.envelope import Text
from memoryhub.memories.pages import DEFAULT_LIMIT, MAX_LIMIT


class NewVersion(Draft):
    """What the next version of a policy says: all of it, not only what changes."""

    version: Annotated[int, Field(ge=1, description="Required: the version that was read.")] = 0


class DryRun(BaseModel):
    """Which page of a dry run."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, description=f"At most {MAX_LIMIT}; more is cut to that.")] = DEFAULT_LIMIT
    cursor: Annotated[Text, Field(description="`next_cursor` of the page before.")] = ""


class Nothing(BaseModel):
    """An empty object."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class RuleSerializer(serializers.Serializer[Any]):
    rule = serializers.ChoiceField(choices=list(RULES))
    sources = serializers.ListField(child=serializers.CharField(), required=False)


class PolicySerializer(serializers.Serializer[Any]):
    """One version of a policy."""

    policy_id = serializers.UUIDField()
    version = serializers.IntegerField()
    name = serializers.CharField()
    namespace = serializers.CharField(allow_null=True, allow_blank=True, help_text="Null: any.")
    collection = serializers.CharField(allow_null=True, allow_blank=True, help_text="Null: any.")
    classes = serializers.ListField(child=serializers.ChoiceField(choices=CLASSES))
    rules = RuleSerializer(many=True)
    is_enabled = serializers.BooleanField()
    at = serializers.DateTimeField()
    principal = serializers.CharField(help_text="Who wrote this version.")


class PoliciesSerializer(serializers.Serializer[Any]):
    policies = PolicySerializer(many=True)


class WholePolicySerializer(PolicySerializer):
    versions = PolicySerializer(many=True, help_text="All of them, the newest first.")


class ProspectSerializer(serializers.Serializer[Any]):
    """What would become of one group."""

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
    words = serializers.CharField(help_text="Why it would be decided so, or left.")
    left = serializers.ChoiceField(choices=["", *LEFT], help_text="Empty: it would be decided.")


class TotalsSerializer(serializers.Serializer[Any]):
    seen = serializers.IntegerField()
    decided = serializers.DictField(child=serializers.IntegerField(), help_text="By rule.")
    left = serializers.DictField(child=serializers.IntegerField(), help_text="By the reason.")


class DryRunSerializer(serializers.Serializer[Any]):
    groups = ProspectSerializer(many=True)
    totals = TotalsSerializer(help_text="Of all pages up to this one.")
    next_cursor = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()


class RunSerializer(serializers.Serializer[Any]):
    """A policy carried out over the open groups."""

    run_id = serializers.UUIDField()
    policy_id = serializers.UUIDField()
    policy_version = serializers.IntegerField()
    policy_name = serializers.CharField()
    principal = serializers.CharField()
    started = serializers.DateTimeField()
    finished = serializers.DateTimeField(allow_null=True, help_text="Null: there are steps left.")
    seen = serializers.IntegerField(help_text="Open groups that were looked at.")
    decided = serializers.IntegerField()
    left = serializers.IntegerField()
    undone = serializers.IntegerField(help_text="Decisions that were undone with the run.")


class RunPageSerializer(serializers.Serializer[Any]):
    runs = RunSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()


class UndoingRunSerializer(serializers.Serializer[Any]):
    run = RunSerializer()
    undone = serializers.IntegerField(help_text="By this step.")
    refused = serializers.IntegerField()
    is_finished = serializers.BooleanField(help_text="If not, send it again.")
