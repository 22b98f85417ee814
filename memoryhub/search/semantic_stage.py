"""Rank memories by meaning: by the cosine of their vectors with that of a question.

Guarantee: hidden rows move no result. Every vector of the candidates is compared, and candidates are rows that the
caller may see. No index of nearest neighbours is used: such an index is read from neighbour to neighbour, so a hidden
row in it changes which visible rows are found.
"""

from memoryhub.core.sql import fetch_dicts
from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.search.models import EmbeddingModel
from memoryhub.search.ranked_rows import COLUMNS, StageResult, to_ranked_rows


def rank_by_meaning(candidates: MemoryQuerySet, vector: str, model: EmbeddingModel, *, limit: int) -> StageResult:
    """Return the `limit` candidates nearest to `vector`; the score is the cosine.

    `vector` is written as PostgreSQL reads it, and has unit length.
    """
    rows_sql, params = candidates.unordered_sql(*COLUMNS)
    rows = fetch_dicts(_EXACT_SQL.format(rows=rows_sql), [vector, *params, model.pk, limit])
    return StageResult(to_ranked_rows(rows))


_EXACT_SQL = """
SELECT candidate.id, memory_id, "timestamp", recorded_at, -(memory_embeddings.embedding <#> %s::halfvec) AS score
FROM ({rows}) AS candidate
JOIN memory_embeddings ON model_id = %s AND row_id = candidate.id
WHERE memory_embeddings.embedding IS NOT NULL
ORDER BY score DESC, "timestamp" DESC, memory_id DESC
LIMIT %s
"""
