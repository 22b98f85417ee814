"""The background jobs, and what is remembered of each: a job finds its own work in the database, so no write waits.

To add a job, add a line to `BACKGROUND_JOBS`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from django.db.models import F
from django.db.models.functions import Now

from memoryhub.memories.word_index import has_unindexed_words, index_words
from memoryhub.operations.models import JobFailures
from memoryhub.search.embedding_index import embed_memories, has_unembedded_memories

MAX_CLASS_NAME = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundJob:
    """Work that the worker does in batches, again and again, as long as there is some.

    Both functions run in a thread with a database connection of its own, outside of a transaction. The application's
    role sees no memory until the function says for whom it reads (`firewall/rls.py`). A job may be killed at any time
    and is then done again, so a batch is one transaction, or harmless if it is repeated.
    """

    name: str
    """Stays the same from version to version: it names the job in the queue and in metrics."""
    has_work: Callable[[], bool]
    """Whether there is something to do. It is asked every second, so it must be cheap."""
    run: Callable[[int], int]
    """Process at most as many rows as the argument says; return their number, 0 if nothing was left to do."""
    batch_size: int = 500


BACKGROUND_JOBS: tuple[BackgroundJob, ...] = (
    BackgroundJob(name="index_words", has_work=has_unindexed_words, run=index_words, batch_size=2_000),
    BackgroundJob(name="embed_memories", has_work=has_unembedded_memories, run=embed_memories, batch_size=256),
)


def record_failure(name: str, error: Exception) -> None:
    """Count a failure of a job. Of the exception only the class is stored: its message may quote what is stored."""
    error_class = type(error).__qualname__[:MAX_CLASS_NAME]
    JobFailures.objects.update_or_create(
        name=name,
        defaults={"failures": F("failures") + 1, "last_failure_at": Now(), "last_error": error_class},
        create_defaults={"failures": 1, "last_failure_at": Now(), "last_error": error_class},
    )
