from django.db import models


class ReadCount(models.Model):
    """How often a principal read, by minute: what `/api/status` tells a caller about its own reads."""

    principal = models.CharField(max_length=255)
    minute = models.DateTimeField()
    reads = models.BigIntegerField(default=0)

    class Meta:
        db_table = "read_counts"
        constraints = [models.UniqueConstraint(fields=["principal", "minute"], name="read_counts_by_minute")]

    def __str__(self) -> str:
        return f"{self.principal} {self.minute:%F %R}: {self.reads}"
