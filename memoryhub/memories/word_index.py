"""The index of words. Guarantee: a search for words finds every version, however far the index is behind.

Computing and indexing the words of a memory takes longer than storing it, so a writer does not wait for it: the
worker adds the words of new versions in the order of their record time. `WordIndexProgress` is the instant up to which
it has come. Versions that were recorded later are few, and searches compute their words when they read them
(`sql.search_conditions.RowWords`).

A version is not updated in place, so its words do not change. A migration that computes `Memory.masked_content` or the
words anew must empty the table and reset the progress.
"""

from typing import ClassVar

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import connection, models
from django.db.models import F, Q

from memoryhub.core.sql import fetch_dicts
from memoryhub.firewall import rls
from memoryhub.memories.sql.record_progress import next_instant_sql, versions_between_sql
from memoryhub.memories.sql.search_conditions import WORD_INDEX_GUARD, tier_words


class MemoryWords(models.Model):
    """The words of one version of a memory: the stems of its searched text, with their positions."""

    row = models.OneToOneField(
        "memories.Memory", on_delete=models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="+"
    )
    tier = models.CharField(max_length=64)
    words = SearchVectorField()

    objects: ClassVar[models.Manager["MemoryWords"]] = models.Manager()

    class Meta:
        db_table = "memory_words"
        indexes = [
            # Without a list of pending entries, which every search would read through, whatever tiers they are of.
            GinIndex(
                tier_words(F("words"), F("tier")),
                condition=WORD_INDEX_GUARD,
                fastupdate=False,
                name="memory_words_tier_words",
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class WordIndexProgress(models.Model):
    """The instant of record time up to which all versions are in the index: one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    recorded_through = models.DateTimeField()

    class Meta:
        db_table = "word_index_progress"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="word_index_progress_is_one_row")]

    def __str__(self) -> str:
        return self.recorded_through.isoformat()


def index_words(limit: int) -> int:
    """Add the words of the next versions to the index; return how many were added, 0 if it is complete.

    About `limit` versions: those of one instant are added together.
    """
    with rls.as_writer(None), connection.cursor() as cursor:
        cursor.execute("INSERT INTO word_index_progress VALUES (1, '0001-01-01Z') ON CONFLICT DO NOTHING")
        # Another worker waits here, and goes on behind this one.
        cursor.execute("SELECT recorded_through FROM word_index_progress FOR UPDATE")
        (indexed_through,) = cursor.fetchone()
        cursor.execute(_NEXT_INSTANT_SQL, [limit, indexed_through, limit, limit])
        (next_instant,) = cursor.fetchone()
        if next_instant is None or next_instant == indexed_through:
            return 0
        cursor.execute(_ADD_WORDS_SQL, [indexed_through, next_instant])
        added_count: int = cursor.rowcount
        cursor.execute("UPDATE word_index_progress SET recorded_through = %s", [next_instant])
    return added_count


def has_unindexed_words() -> bool:
    """Whether a version was recorded that is not in the index yet."""
    return bool(fetch_dicts(_IS_BEHIND_SQL, [])[0]["is_behind"])


def measure_lag_seconds() -> float:
    """Return how far the index is behind the memories; infinite if it has no version yet."""
    return float(fetch_dicts(_LAG_SQL, [])[0]["seconds"]) if has_unindexed_words() else 0.0


_LAG_SQL = "SELECT extract(epoch FROM clock_timestamp() - memory_words_indexed_through()) AS seconds"
_IS_BEHIND_SQL = """
SELECT coalesce((SELECT instant FROM record_clock) > memory_words_indexed_through(), false) AS is_behind
"""
_INDEX_GUARD = "schema_version >= 1"
_NEXT_INSTANT_SQL = next_instant_sql("recorded_at", _INDEX_GUARD)
_ADD_WORDS_SQL = f"""
INSERT INTO memory_words (row_id, tier, words)
{
    versions_between_sql(
        "recorded_at",
        _INDEX_GUARD,
        "id, classification_tier, memory_words(CASE WHEN masked_content IS NULL THEN content ELSE masked_content END)",
    )
}
"""
