from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q

from memoryhub.audit.models import ClearanceSnapshotMixin
from memoryhub.conflicts import triggers
from memoryhub.conflicts.decisions.outcomes import OUTCOMES
from memoryhub.conflicts.decisions.querysets import DecisionQuerySet
from memoryhub.memories.models import NAME_LENGTH


class ConflictKeyMixin(models.Model):
    """The key of a group as columns. `namespace` is NULL if the group spans all namespaces."""

    subject = models.CharField(max_length=NAME_LENGTH)
    collection = models.CharField(max_length=NAME_LENGTH)
    namespace = models.CharField(max_length=NAME_LENGTH, null=True)

    class Meta:
        abstract = True

    @property
    def key(self) -> tuple[str, ...]:
        key = (self.subject, self.collection)
        return key if self.namespace is None else (*key, self.namespace)


class Decision(ConflictKeyMixin):
    """A resolution that was carried out, or its undo. Rows are never changed: an undo is a further decision.

    A decision is computed from all of its members, so only a clearance that sees all of them sees the decision.
    """

    id = models.BigAutoField(primary_key=True)
    decision_id = models.UUIDField(unique=True)
    decided_at = models.DateTimeField(
        default=None, help_text="When it was made: the record instant of the versions it made."
    )
    recorded_at = models.DateTimeField(
        default=None, help_text="When this hub came to know of it: later than `decided_at` where it was imported."
    )
    outcome = models.CharField(max_length=16)
    memory_ids = ArrayField(models.UUIDField(), help_text="All members of the group that it was made on.")
    kept_ids = ArrayField(models.UUIDField(), default=list)
    retired_ids = ArrayField(models.UUIDField(), default=list)
    still_active_ids = ArrayField(
        models.UUIDField(),
        default=list,
        help_text="Ids of losing memories that stay active because some clearance sees them but not the whole group.",
    )
    merged_id = models.UUIDField(null=True, help_text="The memory that was made of those that were retired.")
    accepted_hashes = ArrayField(
        models.BinaryField(), default=list, help_text="content_sha256 of the values that may stand side by side now."
    )
    validity = models.JSONField(default=dict, help_text='{memory_id: {"from": …, "to": …}} of what was kept.')
    deferred_until = models.DateTimeField(null=True, help_text="When a deferred group is open again by itself.")
    evidence = models.BinaryField(help_text="group_keys.compute_evidence of the members.")
    reason = models.TextField()
    principal = models.TextField()
    policy_id = models.UUIDField(null=True)
    policy_version = models.PositiveIntegerField(null=True)
    rule = models.TextField(default="", help_text="The rule of the policy that decided.")
    run_id = models.UUIDField(null=True)
    undoes_id = models.UUIDField(null=True, unique=True, help_text="The decision that this one undoes.")

    # The classifications of the members: a clearance that covers all of them may see the decision.
    tiers = ArrayField(models.CharField(max_length=64))
    any_labels = ArrayField(models.CharField(max_length=NAME_LENGTH * 3), default=list, help_text="Label keys of any.")
    common_labels = ArrayField(models.CharField(max_length=NAME_LENGTH * 3), default=list, help_text="Those of each.")
    namespaces = ArrayField(models.CharField(max_length=NAME_LENGTH))

    objects = DecisionQuerySet.as_manager()

    class Meta:
        db_table = "decisions"
        constraints = [
            models.CheckConstraint(condition=Q(outcome__in=OUTCOMES), name="decisions_outcome_valid"),
            models.CheckConstraint(
                condition=(Q(outcome="undo") & Q(undoes_id__isnull=False))
                | (~Q(outcome="undo") & Q(undoes_id__isnull=True)),
                name="decisions_undo_has_target",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="decisions_reason_required"),
        ]
        indexes = [
            models.Index(fields=["subject", "collection", "namespace", "id"], name="decisions_key"),
            models.Index(fields=["decided_at", "decision_id"], name="decisions_newest"),
            models.Index(fields=["run_id", "id"], condition=Q(run_id__isnull=False), name="decisions_run"),
            GinIndex(fields=["memory_ids"], name="decisions_memories"),
        ]
        triggers = [triggers.STAMP_RECORD_TIME, triggers.FORBID_CHANGE, triggers.FORBID_TRUNCATE]

    def __str__(self) -> str:
        return f"{self.outcome} by {self.principal}"

    def save(self, *_args: Any, **_kwargs: Any) -> None:
        raise TypeError("Decisions are written only by conflicts.decisions.resolve.")


class Claim(ConflictKeyMixin):
    """A principal that is deciding about a group; other principals wait until `expires_at`."""

    principal = models.TextField()
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "conflict_claims"
        constraints = [
            models.UniqueConstraint(
                fields=["subject", "collection", "namespace", "principal"],
                nulls_distinct=False,
                name="conflict_claims_key_principal_unique",
            )
        ]

    def __str__(self) -> str:
        return f"{self.principal} until {self.expires_at:%H:%M}"


class Policy(ClearanceSnapshotMixin):
    """One version of a policy: rules for the groups of a namespace and a collection. The newest version applies.

    All versions carry the clearance snapshot of the first one, so a clearance that covers one version covers them all.
    """

    id = models.BigAutoField(primary_key=True)
    policy_id = models.UUIDField()
    version = models.PositiveIntegerField()
    name = models.CharField(max_length=NAME_LENGTH)
    namespace = models.CharField(max_length=NAME_LENGTH, null=True, help_text="NULL: any.")
    collection = models.CharField(max_length=NAME_LENGTH, null=True, help_text="NULL: any.")
    classes = ArrayField(models.CharField(max_length=16), help_text="The classes of groups that it decides.")
    rules = models.JSONField(help_text='In order: [{"rule": "trusted_sources", "sources": ["crm"]}, …]')
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    principal = models.TextField()

    class Meta:
        db_table = "policies"
        verbose_name_plural = "policies"
        constraints = [models.UniqueConstraint(fields=["policy_id", "version"], name="policies_version_unique")]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


class PolicyRun(ClearanceSnapshotMixin):
    """One application of a policy to all open groups, in steps.

    A step is one transaction and continues after the last group of the step before it.
    """

    run_id = models.UUIDField(primary_key=True)
    policy = models.ForeignKey(Policy, on_delete=models.PROTECT)
    principal = models.TextField()
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    resume_after = models.JSONField(null=True, help_text="The key of the last group that was looked at.")
    groups_seen = models.PositiveIntegerField(default=0)
    decisions_made = models.PositiveIntegerField(default=0)
    groups_skipped = models.PositiveIntegerField(default=0, help_text="Groups that the rules leave to people.")
    decisions_undone = models.PositiveIntegerField(default=0, help_text="Decisions that were undone with the run.")
    undo_cursor = models.BigIntegerField(
        null=True, help_text="While it is undone in steps: the last decision (internal)."
    )

    class Meta:
        db_table = "policy_runs"
        indexes = [models.Index(fields=["-started_at"], name="policy_runs_newest")]

    def __str__(self) -> str:
        return f"{self.policy}: {self.decisions_made} of {self.groups_seen}"


class GroupClassCache(models.Model):
    """The cached class of a group, under the hash of the members that it was computed from.

    A caller must see all of these members to compute the hash, so the cache reveals nothing that is hidden from the
    caller.
    """

    members_hash = models.BinaryField(primary_key=True, help_text="group_keys.compute_evidence of the members.")
    conflict_class = models.CharField(max_length=16)
    model_version = models.CharField(max_length=32, help_text="Of the detector's weights.")

    class Meta:
        db_table = "conflict_class_cache"
        verbose_name_plural = "cached group classes"

    def __str__(self) -> str:
        return self.conflict_class
