from django.db import models

from memoryhub.audit.models import ClearanceSnapshotMixin


class ReadCount(ClearanceSnapshotMixin):
    """Reads of a principal with one clearance in one minute, as `/api/status` counts them."""

    principal = models.CharField(max_length=255)
    minute = models.DateTimeField()
    reads = models.BigIntegerField(default=0)
    clearance_digest = models.BinaryField(help_text="Of the snapshot, which may be longer than an index takes.")

    class Meta:
        db_table = "read_counts"
        constraints = [
            models.UniqueConstraint(fields=["principal", "minute", "clearance_digest"], name="read_counts_by_clearance")
        ]

    def __str__(self) -> str:
        return f"{self.principal} {self.minute:%F %R}: {self.reads}"
