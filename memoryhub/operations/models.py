"""The failures of background jobs."""

from django.db import models


class JobFailures(models.Model):
    """How often a background job has failed, and how it failed last. The queue keeps no job that succeeded later."""

    name = models.CharField(primary_key=True, max_length=64)
    failures = models.BigIntegerField()
    last_failure_at = models.DateTimeField()
    last_error = models.CharField(max_length=128, help_text="The class of the exception, without its message.")

    class Meta:
        db_table = "job_failures"

    def __str__(self) -> str:
        return f"{self.name}: {self.failures}"
