"""Response schemas, for the OpenAPI document."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from memoryhub.conflicts.detector.compare import CLASSES
from memoryhub.conflicts.groups.groups import MAX_LISTED_MEMORIES, MAX_MEMBERS
from memoryhub.conflicts.models import OUTCOMES
from memoryhub.memories.filters import FILTER_STATUSES
from memoryhub.memories.models import STATUSES
from memoryhub.memories.writes.write import WriteOutcome
from memoryhub.timetravel.diff import AXES
from memoryhub.timetravel.diff_sql import KINDS
from memoryhub.timetravel.replay import ChangeMark


class ProblemResponse(serializers.Serializer[Any]):
    """RFC 9457 problem details."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField(help_text="Stable; for programs to branch on.")
    detail = serializers.CharField()
    request_id = serializers.CharField()
    errors = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()), required=False, help_text="Sentences by field."
    )


def _build_warnings_field() -> serializers.DictField:
    """Build the field that warns a writer of labels that imitate others. Such labels are stored unchanged."""
    return serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="Sentences by field: labels in which letters of one script pass for letters of another.",
    )


@extend_schema_field({"type": "boolean", "const": True})
class AlwaysTrueField(serializers.BooleanField):
    """A field that is true in every response."""


class PeriodResponse(serializers.Serializer[Any]):
    """The event time during which a value holds; null is no limit."""

    locals()["from"] = serializers.DateTimeField(allow_null=True)
    to = serializers.DateTimeField(allow_null=True)


class DecisionResponse(serializers.Serializer[Any]):
    """A decision about a group. It is visible only to readers who may see all memories that it was made on."""

    id = serializers.UUIDField()
    conflict_id = serializers.CharField(help_text="The group's.")
    decided_at = serializers.DateTimeField(help_text="Record time: that of the versions that it made.")
    outcome = serializers.ChoiceField(choices=OUTCOMES)
    subject = serializers.CharField(allow_blank=True)
    collection = serializers.CharField(allow_blank=True)
    namespace = serializers.CharField(allow_blank=True, allow_null=True, help_text="Null: the group spans all of them.")
    memory_ids = serializers.ListField(child=serializers.UUIDField(), help_text="All that it was decided on.")
    kept_ids = serializers.ListField(child=serializers.UUIDField())
    retired_ids = serializers.ListField(child=serializers.UUIDField())
    still_active_ids = serializers.ListField(
        child=serializers.UUIDField(),
        help_text="Not kept, and still active: some of their readers do not see all of the group.",
    )
    merged_id = serializers.UUIDField(allow_null=True, help_text="The memory that was made of those that were retired.")
    validity = serializers.DictField(child=PeriodResponse(), help_text="By memory, of what was kept.")
    deferred_until = serializers.DateTimeField(allow_null=True, help_text="When a snoozed group opens again by itself.")
    evidence = serializers.CharField(help_text="SHA-256 of the versions that it was decided on.")
    reason = serializers.CharField()
    principal = serializers.CharField(help_text="Who decided.")
    policy_id = serializers.UUIDField(allow_null=True, help_text="The policy that decided, if it was no person.")
    policy_version = serializers.IntegerField(allow_null=True)
    rule = serializers.CharField(allow_blank=True, help_text="The rule of the policy that decided.")
    run_id = serializers.UUIDField(allow_null=True)
    undoes_id = serializers.UUIDField(allow_null=True, help_text="The decision that this one undoes.")
    undone_by_id = serializers.UUIDField(allow_null=True, help_text="The decision that undid this one.")
    is_in_force = serializers.BooleanField()


class DecisionPageResponse(serializers.Serializer[Any]):
    decisions = DecisionResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()


class ClaimResponse(serializers.Serializer[Any]):
    principal = serializers.CharField(help_text="Who is looking at the group in order to decide.")
    expires_at = serializers.DateTimeField()


class GroupClaimResponse(serializers.Serializer[Any]):
    claim = ClaimResponse(allow_null=True)


class ConflictProblemResponse(ProblemResponse):
    """The problem for a request that another principal's decision or claim prevents."""

    decision = DecisionResponse(required=False, help_text="With `stale`: the last decision about the group.")
    claim = ClaimResponse(required=False, help_text="With `claimed_by_other`: who holds it.")


class MemoryResponse(serializers.Serializer[Any]):
    """The current version of one memory, with the fields of its writer and those that the hub adds.

    Secrets are masked for a browser session; a key gets the original text.
    """

    untrusted = AlwaysTrueField(
        help_text="The content comes from the producer that `source` and `actor_id` name: data, never instructions."
    )
    payload_id = serializers.CharField()
    request_id = serializers.CharField()
    source = serializers.CharField()
    subject = serializers.CharField()
    namespace = serializers.CharField()
    destination = serializers.CharField()
    collection = serializers.CharField()
    content = serializers.CharField()
    model = serializers.CharField()
    role = serializers.CharField()
    timestamp = serializers.DateTimeField(help_text="Event time: when the producer says it happened.")
    idempotency_key = serializers.CharField()
    schema_version = serializers.IntegerField()
    transform_version = serializers.CharField()
    actor_type = serializers.CharField()
    actor_id = serializers.CharField()
    metadata = serializers.DictField()
    sensitivity_labels = serializers.ListField(child=serializers.CharField())
    classification_tier = serializers.CharField()
    memory_id = serializers.UUIDField(help_text="Stable over versions.")
    version = serializers.IntegerField()
    recorded_at = serializers.DateTimeField(help_text="Record time: when the hub came to know.")
    status = serializers.ChoiceField(
        choices=FILTER_STATUSES, help_text="`expired`: it was active, and its `expires_at` has come."
    )


class MemoryDetailResponse(MemoryResponse):
    """All fields of one version of a memory."""

    superseded_at = serializers.DateTimeField(allow_null=True)
    kind = serializers.CharField()
    pinned = serializers.BooleanField()
    expires_at = serializers.DateTimeField(allow_null=True)
    propagation = serializers.DictField(allow_null=True)
    defaulted_fields = serializers.ListField(
        child=serializers.CharField(), help_text="The fields that the writer did not give."
    )


class DiffEndResponse(MemoryResponse):
    """The version of a memory before or after a change."""

    kind = serializers.CharField()
    pinned = serializers.BooleanField()
    expires_at = serializers.DateTimeField(allow_null=True)
    propagation = serializers.DictField(allow_null=True)
    defaulted_fields = serializers.ListField(child=serializers.CharField())


class MemoryPageResponse(serializers.Serializer[Any]):
    records = MemoryResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()


class SecretMatchesResponse(serializers.Serializer[Any]):
    records = MemoryDetailResponse(many=True)
    is_capped = serializers.BooleanField(help_text="Whether there are more, or more had to be read: narrow it down.")


class MemoryVersionsResponse(serializers.Serializer[Any]):
    versions = MemoryDetailResponse(many=True)


RECEIPT_STATUSES = ("retired", "expired")


class WriteReceiptResponse(serializers.Serializer[Any]):
    payload_id = serializers.CharField(allow_null=True)
    memory_id = serializers.UUIDField()
    version = serializers.IntegerField(required=False, help_text="1, of a memory that was created.")
    outcome = serializers.ChoiceField(choices=[WriteOutcome.CREATED, WriteOutcome.DUPLICATE, WriteOutcome.UPDATED])
    status = serializers.ChoiceField(
        choices=RECEIPT_STATUSES,
        required=False,
        help_text="It does not hold: what it says was rejected before, or its `expires_at` has come.",
    )
    decision_id = serializers.UUIDField(required=False, help_text="The decision that rejected it.")
    warnings = _build_warnings_field()


class WriteResultResponse(serializers.Serializer[Any]):
    payload_id = serializers.CharField(allow_null=True)
    memory_id = serializers.UUIDField(required=False)
    version = serializers.IntegerField(required=False)
    outcome = serializers.ChoiceField(choices=list(WriteOutcome))
    status = serializers.ChoiceField(choices=RECEIPT_STATUSES, required=False)
    decision_id = serializers.UUIDField(required=False)
    warnings = _build_warnings_field()
    code = serializers.CharField(required=False)
    errors = serializers.DictField(child=serializers.ListField(child=serializers.CharField()), required=False)


class WriteBatchResponse(serializers.Serializer[Any]):
    results = WriteResultResponse(many=True)
    created = serializers.IntegerField()
    duplicate = serializers.IntegerField()
    updated = serializers.IntegerField()
    conflict = serializers.IntegerField()
    rejected = serializers.IntegerField()


class RejectedBatchResponse(WriteBatchResponse, ProblemResponse):
    """The problem for a batch of which no envelope was stored."""


class MemoryClassificationResponse(serializers.Serializer[Any]):
    """The new classification of one memory."""

    memory_id = serializers.UUIDField()
    version = serializers.IntegerField()
    recorded_at = serializers.DateTimeField()
    classification_tier = serializers.CharField()
    sensitivity_labels = serializers.ListField(child=serializers.CharField())
    status = serializers.ChoiceField(choices=FILTER_STATUSES)
    warnings = _build_warnings_field()


class ClassificationResponse(serializers.Serializer[Any]):
    classification_tier = serializers.CharField()
    sensitivity_labels = serializers.ListField(child=serializers.CharField())
    status = serializers.ChoiceField(choices=STATUSES)


class ClassificationChangeResponse(serializers.Serializer[Any]):
    count = serializers.IntegerField()
    widens = serializers.BooleanField(help_text="Somebody sees it then who does not see it now.")
    before = ClassificationResponse()
    after = ClassificationResponse()


class ClassificationPlanResponse(serializers.Serializer[Any]):
    """The changes to the memories that match a filter, planned or applied."""

    matched = serializers.IntegerField()
    changed = serializers.IntegerField()
    unchanged = serializers.IntegerField(help_text="They are classified so already.")
    widened = serializers.IntegerField(help_text="Of those changed: seen by somebody who does not see them now.")
    refusals = serializers.DictField(child=serializers.IntegerField(), help_text="Left as they are, by the reason why.")
    changes = ClassificationChangeResponse(many=True, help_text="The most frequent ones.")
    warnings = _build_warnings_field()
    confirmation_token = serializers.CharField(
        required=False, help_text="Of a dry run: sent with the same body, it is done."
    )


class FacetValueResponse(serializers.Serializer[Any]):
    value = serializers.CharField(allow_blank=True)
    count = serializers.IntegerField()


class FacetDimensionsResponse(serializers.Serializer[Any]):
    source = FacetValueResponse(many=True)
    actor_type = FacetValueResponse(many=True)
    namespace = FacetValueResponse(many=True)
    collection = FacetValueResponse(many=True)
    tier = FacetValueResponse(many=True)
    label = FacetValueResponse(many=True)


class FacetsResponse(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    is_capped = serializers.BooleanField(help_text="More match than were counted: the numbers speak of the newest.")
    facets = FacetDimensionsResponse()


class HistogramBucketResponse(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    count = serializers.IntegerField()


class HistogramResponse(serializers.Serializer[Any]):
    buckets = HistogramBucketResponse(many=True)
    is_capped = serializers.BooleanField()


class AuditEntryResponse(serializers.Serializer[Any]):
    """One action, or one response that was read."""

    occurred_at = serializers.DateTimeField()
    principal = serializers.CharField(help_text="Who: user:<name>, key:<name> or system.")
    action = serializers.CharField(help_text="What: noun.verb, such as memory.read.")
    route = serializers.CharField(help_text="The name of the route that was asked.")
    query = serializers.CharField(help_text="The query string as it was given.")
    memory_ids = serializers.ListField(
        child=serializers.UUIDField(), help_text="Of the memories that were touched or returned, those you may see."
    )
    details = serializers.DictField()
    request_id = serializers.CharField()


class AuditPageResponse(serializers.Serializer[Any]):
    entries = AuditEntryResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()


class DatabaseStatusResponse(serializers.Serializer[Any]):
    healthy = serializers.BooleanField()
    version = serializers.CharField()


class StatusResponse(serializers.Serializer[Any]):
    status = serializers.ChoiceField(
        choices=["ok", "degraded"],
        help_text="`degraded`: no writes are accepted, a crash may lose some, or a writer has been hanging.",
    )
    reasons = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="Why it is degraded, for an admin."
    )
    version = serializers.CharField()
    uptime_seconds = serializers.IntegerField(help_text="Since the server started, whichever worker answers.")
    pid = serializers.IntegerField(help_text="Of the server that started the workers.")
    bind = serializers.CharField()
    memories_total = serializers.IntegerField(help_text="Active memories that the caller may see.")
    writes_total = serializers.IntegerField(help_text="Versions ever written that the caller may see.")
    writes_1m = serializers.IntegerField()
    reads_total = serializers.IntegerField(
        help_text="The caller's own reads; for an admin also the reads of everybody who saw no more than it may see."
    )
    reads_1m = serializers.IntegerField()
    database = DatabaseStatusResponse()
    destinations = serializers.ListField(child=serializers.DictField())
    durability = serializers.DictField()
    watermark = serializers.DateTimeField(help_text="What was known up to this instant will not change.")
    watermark_lag_seconds = serializers.FloatField(
        help_text="How long ago that is: more than a moment while somebody writes long."
    )


class TimeTravelPageResponse(MemoryPageResponse):
    as_of = serializers.DateTimeField(allow_null=True, help_text="The effective instant; null is no limit.")
    known_at = serializers.DateTimeField(help_text="The effective instant.")
    erased_count = serializers.IntegerField(
        help_text="How many memories were erased since: missing, or blank in a history."
    )


class ReplaySideResponse(serializers.Serializer[Any]):
    records = MemoryResponse(many=True)
    has_more = serializers.BooleanField()


class ReplayResponse(serializers.Serializer[Any]):
    """The first page of both results, each in its own order."""

    locals()["as"] = serializers.CharField()
    refusal = serializers.CharField(help_text="Why this principal gets no answer at all, if so.")
    as_of = serializers.DateTimeField(allow_null=True, help_text="The effective instant; null is no limit.")
    known_at = serializers.DateTimeField(allow_null=True, help_text="The effective instant.")
    then = ReplaySideResponse()
    now = ReplaySideResponse()
    marks = serializers.DictField(
        child=serializers.ChoiceField(choices=list(ChangeMark)), help_text="What became of each memory, by its id."
    )


class TextSegmentResponse(serializers.Serializer[Any]):
    op = serializers.ChoiceField(choices=["equal", "insert", "delete"])
    text = serializers.CharField()


class MemoryChangeResponse(serializers.Serializer[Any]):
    """One memory before and after a change; on the event axis, one subject and collection."""

    memory_id = serializers.UUIDField()
    subject = serializers.CharField()
    collection = serializers.CharField()
    kinds = serializers.ListField(child=serializers.ChoiceField(choices=KINDS))
    changed_at = serializers.DateTimeField(help_text="When it changed; on the event axis, when it happened.")
    before = DiffEndResponse(allow_null=True)
    after = DiffEndResponse(allow_null=True)
    text_diff = TextSegmentResponse(many=True, allow_null=True, help_text="Of the content, if it differs.")
    fields = serializers.ListField(child=serializers.CharField(), help_text="The fields that differ.")


class DiffCountsResponse(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    is_capped = serializers.BooleanField(help_text="More changed than was counted: the numbers speak of the newest.")
    kinds = serializers.DictField(child=serializers.IntegerField())
    subjects = FacetValueResponse(many=True)
    sources = FacetValueResponse(many=True)


class DiffResponse(serializers.Serializer[Any]):
    since = serializers.DateTimeField(help_text="The effective instant.")
    until = serializers.DateTimeField(help_text="The effective instant.")
    axis = serializers.ChoiceField(choices=AXES)
    changes = MemoryChangeResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()
    counts = DiffCountsResponse()


class GroupMemberResponse(serializers.Serializer[Any]):
    memory_id = serializers.UUIDField()
    payload_id = serializers.CharField()
    version = serializers.IntegerField()
    source = serializers.CharField()
    actor_type = serializers.CharField()
    actor_id = serializers.CharField(allow_blank=True)
    namespace = serializers.CharField(allow_blank=True)
    timestamp = serializers.DateTimeField()
    recorded_at = serializers.DateTimeField()
    classification_tier = serializers.CharField(allow_blank=True)
    sensitivity_labels = serializers.ListField(child=serializers.CharField())
    status = serializers.ChoiceField(choices=["active", "retired"], help_text="`retired` by an active decision.")


class GroupMemberDetailResponse(GroupMemberResponse):
    ts = serializers.DateTimeField(help_text="As `timestamp`.")
    content = serializers.CharField()


class GroupValueResponse(serializers.Serializer[Any]):
    content = serializers.CharField()
    memories = GroupMemberResponse(many=True, help_text="Those that say it, the newest first.")


class ConflictResponse(serializers.Serializer[Any]):
    untrusted = AlwaysTrueField()
    id = serializers.CharField(help_text="Stable: the same key, the same id.")
    locals()["class"] = serializers.ChoiceField(choices=CLASSES, help_text="The most serious of its pairs.")
    status = serializers.ChoiceField(choices=["open", "decided"], help_text="`open`: it waits for somebody to decide.")
    reopened = serializers.BooleanField(help_text="It is open because of a value that its decision had not seen.")
    evidence = serializers.CharField(help_text="SHA-256 of the versions that can be decided on.")
    decision = DecisionResponse(allow_null=True, help_text="The last active one.")
    subject = serializers.CharField(allow_blank=True)
    entity_key = serializers.CharField(allow_blank=True, help_text="The collection.")
    entity = serializers.CharField(allow_blank=True, help_text="As `entity_key`.")
    namespace = serializers.CharField(required=False, allow_blank=True, help_text="With `scope=namespace`.")
    conflicting_values = serializers.ListField(child=serializers.CharField())
    sources = serializers.ListField(child=serializers.CharField())
    timestamps = serializers.ListField(child=serializers.DateTimeField(), help_text="When each value was said last.")
    count = serializers.IntegerField(help_text="Distinct values.")
    group_size = serializers.IntegerField(help_text="As `count`.")
    memory_count = serializers.IntegerField(help_text="Memories; the newest of them are listed.")
    has_more_values = serializers.BooleanField(help_text="There are more values than listed: `count` of them.")
    has_more_memories = serializers.BooleanField(
        help_text=f"There are more memories than listed: {MAX_LISTED_MEMORIES} in a list, {MAX_MEMBERS} of one group."
    )
    values = GroupValueResponse(many=True)
    memories = GroupMemberDetailResponse(many=True)


class FeatureContributionResponse(serializers.Serializer[Any]):
    question = serializers.CharField()
    name = serializers.CharField()
    value = serializers.FloatField()
    weight = serializers.FloatField()
    contribution = serializers.FloatField(help_text="`value` times `weight`, in log-odds of the question's yes.")
    explanation = serializers.CharField()


class PairVerdictResponse(serializers.Serializer[Any]):
    values = serializers.ListField(child=serializers.IntegerField(), help_text="Their places in `values`.")
    locals()["class"] = serializers.ChoiceField(choices=CLASSES)
    confidence = serializers.FloatField()
    version = serializers.CharField(help_text="Of the detector's weights, and of the language model if there is one.")
    features = FeatureContributionResponse(many=True)


class ConflictDetailResponse(ConflictResponse):
    pairs = PairVerdictResponse(many=True, help_text="Of the newest values, with what speaks for the class of each.")
    decisions = DecisionResponse(many=True, help_text="All about this group, the newest first.")
    claim = ClaimResponse(allow_null=True, help_text="Who is deciding about it just now.")


class ConflictPageResponse(serializers.Serializer[Any]):
    conflicts = ConflictResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()


class ReadyResponse(serializers.Serializer[Any]):
    status = serializers.CharField()
    version = serializers.CharField()
