from django.contrib.postgres.fields import ArrayField
from django.db import models


class ReadCount(models.Model):
    """Reads of a principal with one clearance in one minute, as `/api/status` counts them.

    Visible as an audit entry is: if the viewer's clearance covers the reader's
    (`firewall.querysets.snapshot_covered_q`).
    """

    principal = models.CharField(max_length=255)
    minute = models.DateTimeField()
    reads = models.BigIntegerField(default=0)
    clearance_tiers = ArrayField(models.TextField())
    clearance_blocked_labels = ArrayField(models.TextField(), default=list)
    clearance_required_labels = ArrayField(models.TextField(), default=list)
    clearance_namespaces = ArrayField(models.TextField(), null=True, help_text="NULL: every namespace.")
    clearance_digest = models.BinaryField(help_text="Of the four above, which may be longer than an index takes.")

    class Meta:
        db_table = "read_counts"
        constraints = [
            models.UniqueConstraint(fields=["principal", "minute", "clearance_digest"], name="read_counts_by_clearance")
        ]

    def __str__(self) -> str:
        return f"{self.principal} {self.minute:%F %R}: {self.reads}"
