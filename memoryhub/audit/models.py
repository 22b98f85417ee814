from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q

from memoryhub.audit import triggers


class AuditEntry(models.Model):
    """One thing that was done, or one answer that was read, chained to the entry before it. Never any content.

    `seq` counts everything that ever happened: like a memory's internal id it never leaves the process, except to the
    operator's command line.
    """

    seq = models.BigIntegerField(primary_key=True, help_text="1, 2, 3, … without a gap.")
    at = models.DateTimeField(help_text="When it happened: the database's clock, for a read the answering process's.")
    principal = models.TextField()
    action = models.TextField(help_text="noun.verb, such as memory.read")
    route = models.TextField(default="", help_text="The name of the URL pattern that was asked.")
    query = models.TextField(default="", help_text="The query string as it was given.")
    memory_ids = ArrayField(models.UUIDField(), default=list, help_text="The memories that were touched or returned.")
    details = models.JSONField(default=dict)
    request_id = models.TextField(default="")
    reach_tiers = ArrayField(models.TextField(), help_text="The tiers that the actor could see.")
    reach_blocked = ArrayField(models.TextField(), default=list)
    reach_required = ArrayField(models.TextField(), default=list)
    reach_namespaces = ArrayField(models.TextField(), null=True, help_text="NULL: every namespace.")
    previous_hash = models.BinaryField()
    hash = models.BinaryField(help_text="SHA-256 over all of the above in canonical form (audit.ledger).")

    class Meta:
        db_table = "audit_entries"
        verbose_name_plural = "audit entries"
        constraints = [models.CheckConstraint(condition=Q(seq__gte=1), name="audit_entries_count_from_one")]
        indexes = [
            # Who has seen this memory; what has this principal been told; what happened last.
            GinIndex(fields=["memory_ids"], name="audit_entries_memories"),
            models.Index(fields=["principal", "at", "seq"], name="audit_entries_principal"),
            models.Index(fields=["at", "seq"], name="audit_entries_newest"),
        ]
        triggers = [triggers.APPEND_ONLY]

    def __str__(self) -> str:
        return f"{self.seq}: {self.action} by {self.principal}"

    def save(self, *_args: Any, **_kwargs: Any) -> None:
        raise TypeError("Entries are written by audit.ledger alone.")


class AuditHead(models.Model):
    """The last entry, in one row. Who appends has a turn at it (`audit_turn`), until the transaction ends."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField()
    hash = models.BinaryField()
    at = models.DateTimeField(help_text="What happens next happened later than this.")

    class Meta:
        db_table = "audit_head"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="audit_head_is_one_row")]

    def __str__(self) -> str:
        return f"{self.seq}"
