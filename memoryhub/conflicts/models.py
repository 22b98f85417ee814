from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q

from memoryhub.conflicts import triggers
from memoryhub.conflicts.querysets import DecisionQuerySet
from memoryhub.memories.models import NAME_LENGTH

OUTCOMES = ("keep_one", "keep_several", "merge", "not_a_conflict", "defer", "undo")


class Keyed(models.Model):
    """Something about the group of one key; `namespace` is NULL where a group spans all of them."""

    subject = models.CharField(max_length=NAME_LENGTH)
    collection = models.CharField(max_length=NAME_LENGTH)
    namespace = models.CharField(max_length=NAME_LENGTH, null=True)

    class Meta:
        abstract = True

    @property
    def key(self) -> tuple[str, ...]:
        key = (self.subject, self.collection)
        return key if self.namespace is None else (*key, self.namespace)


class Decision(Keyed):
    """What was decided about a group, by whom and on what; never changed: an undo is the next one.

    Whoever may see all the memories that it was made on may see it, and nobody else: it was computed from them all.
    """

    id = models.BigAutoField(primary_key=True)
    decision_id = models.UUIDField(unique=True)
    at = models.DateTimeField(default=None, help_text="When it was made: the record instant of the versions it made.")
    recorded_at = models.DateTimeField(
        default=None, help_text="When this hub came to know of it: later than `at` where it was imported."
    )
    outcome = models.CharField(max_length=16)
    memory_ids = ArrayField(models.UUIDField(), help_text="All members of the group that it was made on.")
    kept = ArrayField(models.UUIDField(), default=list)
    retired = ArrayField(models.UUIDField(), default=list)
    left = ArrayField(
        models.UUIDField(),
        default=list,
        help_text="Not kept, and yet in force: readers who cannot see all of the group would miss them.",
    )
    merged = models.UUIDField(null=True, help_text="The memory that was made of those that were retired.")
    settled = ArrayField(
        models.BinaryField(), default=list, help_text="content_sha256 of the values that may stand side by side now."
    )
    validity = models.JSONField(default=dict, help_text='{memory_id: {"from": …, "to": …}} of what was kept.')
    until = models.DateTimeField(null=True, help_text="When a deferred group is open again by itself.")
    evidence = models.BinaryField(help_text="keys.evidence_of the members.")
    reason = models.TextField()
    principal = models.TextField()
    policy = models.UUIDField(null=True)
    policy_version = models.PositiveIntegerField(null=True)
    rule = models.TextField(default="", help_text="The rule of the policy that decided.")
    run = models.UUIDField(null=True)
    reverses = models.UUIDField(null=True, unique=True, help_text="The decision that this one undoes.")

    # What the members were classified as: who may see them all may see this.
    tiers = ArrayField(models.CharField(max_length=64))
    some_labels = ArrayField(models.CharField(max_length=NAME_LENGTH * 3), default=list, help_text="Label keys of any.")
    all_labels = ArrayField(models.CharField(max_length=NAME_LENGTH * 3), default=list, help_text="Those of each.")
    namespaces = ArrayField(models.CharField(max_length=NAME_LENGTH))

    objects = DecisionQuerySet.as_manager()

    class Meta:
        db_table = "decisions"
        constraints = [
            models.CheckConstraint(condition=Q(outcome__in=OUTCOMES), name="decisions_outcome"),
            models.CheckConstraint(
                condition=(Q(outcome="undo") & Q(reverses__isnull=False))
                | (~Q(outcome="undo") & Q(reverses__isnull=True)),
                name="decisions_undo_something",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="decisions_have_a_reason"),
        ]
        indexes = [
            models.Index(fields=["subject", "collection", "namespace", "id"], name="decisions_key"),
            models.Index(fields=["at", "decision_id"], name="decisions_newest"),
            models.Index(fields=["run", "id"], condition=Q(run__isnull=False), name="decisions_run"),
            GinIndex(fields=["memory_ids"], name="decisions_memories"),
        ]
        triggers = [triggers.STAMP, triggers.APPEND_ONLY]

    def __str__(self) -> str:
        return f"{self.outcome} by {self.principal}"

    def save(self, *_args: Any, **_kwargs: Any) -> None:
        raise TypeError("Decisions are written by conflicts.decide alone.")


class Claim(Keyed):
    """Who is looking at a group in order to decide, and until when others wait."""

    principal = models.TextField()
    until = models.DateTimeField()

    class Meta:
        db_table = "conflict_claims"
        constraints = [
            models.UniqueConstraint(
                fields=["subject", "collection", "namespace", "principal"],
                nulls_distinct=False,
                name="conflict_claims_of_a_principal",
            )
        ]

    def __str__(self) -> str:
        return f"{self.principal} until {self.until:%H:%M}"


class Reached(models.Model):
    """What its maker could see: it is for those who see as much (firewall.querysets.covered_by)."""

    reach_tiers = ArrayField(models.TextField())
    reach_blocked = ArrayField(models.TextField(), default=list)
    reach_required = ArrayField(models.TextField(), default=list)
    reach_namespaces = ArrayField(models.TextField(), null=True, help_text="NULL: every namespace.")

    class Meta:
        abstract = True

    @property
    def reach(self) -> dict[str, list[str] | None]:
        """The columns above, as `firewall.reach.reach_columns` answers them."""
        return {each.name: getattr(self, each.name) for each in Reached._meta.local_fields}


class Policy(Reached):
    """One version of the rules by which groups of a namespace and a collection are decided; the newest holds.

    Its reach is that of its first version: who may see one version may see them all.
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
    at = models.DateTimeField(auto_now_add=True)
    principal = models.TextField()

    class Meta:
        db_table = "policies"
        verbose_name_plural = "policies"
        constraints = [models.UniqueConstraint(fields=["policy_id", "version"], name="policies_version")]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


class PolicyRun(Reached):
    """A policy carried out over all open groups, in steps: each is a transaction, and the next one begins after it."""

    run_id = models.UUIDField(primary_key=True)
    policy = models.ForeignKey(Policy, on_delete=models.PROTECT)
    principal = models.TextField()
    started = models.DateTimeField(auto_now_add=True)
    finished = models.DateTimeField(null=True)
    after = models.JSONField(null=True, help_text="The key of the last group that was looked at.")
    seen = models.PositiveIntegerField(default=0)
    decided = models.PositiveIntegerField(default=0)
    left = models.PositiveIntegerField(default=0, help_text="Groups that the rules leave to people.")
    undone = models.PositiveIntegerField(default=0, help_text="Decisions that were undone with the run.")
    undoing = models.BigIntegerField(null=True, help_text="While it is undone in steps: the last decision (internal).")

    class Meta:
        db_table = "policy_runs"
        indexes = [models.Index(fields=["-started"], name="policy_runs_newest")]

    def __str__(self) -> str:
        return f"{self.policy}: {self.decided} of {self.seen}"


class GroupClass(models.Model):
    """The class of a group, kept under what it was computed from: whoever may ask for it sees all of that."""

    evidence = models.BinaryField(primary_key=True, help_text="keys.evidence_of the members.")
    klass = models.CharField(max_length=16)
    version = models.CharField(max_length=32, help_text="Of the detector's weights.")

    class Meta:
        db_table = "conflict_classes"
        verbose_name_plural = "group classes"

    def __str__(self) -> str:
        return self.klass
