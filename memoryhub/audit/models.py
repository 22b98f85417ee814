from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q

from memoryhub.audit import triggers
from memoryhub.audit.clearance_snapshot import ClearanceSnapshot


class ClearanceSnapshotMixin(models.Model):
    """What the actor of a row could see. Only a clearance that covers it (`snapshot_covered_q`) sees the row."""

    clearance_tiers = ArrayField(models.TextField())
    clearance_blocked_labels = ArrayField(models.TextField(), default=list)
    clearance_required_labels = ArrayField(models.TextField(), default=list)
    clearance_namespaces = ArrayField(models.TextField(), null=True, help_text="NULL: every namespace.")

    class Meta:
        abstract = True

    @property
    def clearance_snapshot(self) -> ClearanceSnapshot:
        return ClearanceSnapshot(
            tiers=self.clearance_tiers,
            blocked_labels=self.clearance_blocked_labels,
            required_labels=self.clearance_required_labels,
            namespaces=self.clearance_namespaces,
        )


class AuditEntry(ClearanceSnapshotMixin):
    """One action, or one response that was read, chained to the entry before it. An entry never holds content.

    `seq` counts all events of the hub. Like a memory's internal id it never leaves the process, except to the
    operator's command line.
    """

    seq = models.BigIntegerField(primary_key=True, help_text="1, 2, 3, … without a gap.")
    occurred_at = models.DateTimeField(
        help_text="When it happened: the database's clock, for a read the answering process's."
    )
    principal = models.TextField()
    action = models.TextField(help_text="noun.verb, such as memory.read")
    route = models.TextField(default="", help_text="The URL pattern's name.")
    query = models.TextField(default="", help_text="The raw query string.")
    memory_ids = ArrayField(models.UUIDField(), default=list, help_text="The memories that were touched or returned.")
    details = models.JSONField(default=dict)
    request_id = models.TextField(default="")
    previous_hash = models.BinaryField()
    hash = models.BinaryField(help_text="SHA-256 over all of the above in canonical form (audit.log).")

    class Meta:
        db_table = "audit_entries"
        verbose_name_plural = "audit entries"
        constraints = [models.CheckConstraint(condition=Q(seq__gte=1), name="audit_entries_seq_positive")]
        indexes = [
            # Answer: who has seen this memory; what has this principal read; what happened last.
            GinIndex(fields=["memory_ids"], name="audit_entries_memories"),
            models.Index(fields=["principal", "occurred_at", "seq"], name="audit_entries_principal"),
            models.Index(fields=["occurred_at", "seq"], name="audit_entries_newest"),
        ]
        triggers = [triggers.FORBID_CHANGE, triggers.FORBID_TRUNCATE]

    def __str__(self) -> str:
        return f"{self.seq}: {self.action} by {self.principal}"

    def save(self, *_args: Any, **_kwargs: Any) -> None:
        raise TypeError("Entries are written only by audit.log.")


class AuditChainHead(models.Model):
    """Number and hash of the last entry, in one row.

    An appender locks it (`audit_lock_head`) until its transaction ends.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField()
    hash = models.BinaryField()
    last_occurred_at = models.DateTimeField(help_text="The next entry occurs later than this.")

    class Meta:
        db_table = "audit_chain_head"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="audit_chain_head_single_row")]

    def __str__(self) -> str:
        return f"{self.seq}"
