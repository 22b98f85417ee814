from django.contrib.postgres.fields import ArrayField
from django.db import models


class ReadCount(models.Model):
    """How often a principal read with one clearance, by minute: what `/api/status` counts for a caller.

    As an audit entry it is for those who may see all that the reader could see (firewall.querysets.covered_by).
    """

    principal = models.CharField(max_length=255)
    minute = models.DateTimeField()
    reads = models.BigIntegerField(default=0)
    reach_tiers = ArrayField(models.TextField())
    reach_blocked = ArrayField(models.TextField(), default=list)
    reach_required = ArrayField(models.TextField(), default=list)
    reach_namespaces = ArrayField(models.TextField(), null=True, help_text="NULL: every namespace.")
    reach_digest = models.BinaryField(help_text="Of the four above, which may be longer than an index takes.")

    class Meta:
        db_table = "read_counts"
        constraints = [
            models.UniqueConstraint(fields=["principal", "minute", "reach_digest"], name="read_counts_by_reach")
        ]

    def __str__(self) -> str:
        return f"{self.principal} {self.minute:%F %R}: {self.reads}"
