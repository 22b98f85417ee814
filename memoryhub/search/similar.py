"""The memories that are nearest in meaning to one."""

from dataclasses import dataclass
from uuid import UUID

from memoryhub.core.sql import fetch_dicts
from memoryhub.language.embedder import configured_embedder
from memoryhub.language.errors import EmbedderUnavailableError
from memoryhub.memories.filters import PointInTimeFilterSet
from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.memories.records import LIST_FIELDS, MemoryRecord, fetch_records
from memoryhub.search.embedding_index import find_model
from memoryhub.search.models import EmbeddingModel
from memoryhub.search.search import Meaning
from memoryhub.search.semantic_stage import rank_by_meaning

MAX_SIMILAR = 10
MIN_SIMILARITY = 0.5
"""Less similar memories are not shown. With the hub's own model, unrelated sentences rarely have a cosine above 0.3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarMemory:
    """A memory and the cosine of its vector with that of the other one, at most 1."""

    memory: MemoryRecord
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarMemories:
    """The most similar memories, the most similar first, and whether there was a vector to compare."""

    memories: list[SimilarMemory]
    meaning: Meaning


def find_similar(
    filters: PointInTimeFilterSet, memory_id: UUID, names: tuple[str, ...] = LIST_FIELDS
) -> SimilarMemories:
    """Return the active memories that are most similar to a visible one, at the point in time of `filters`."""
    current_rows: MemoryQuerySet = filters.point_in_time.current_versions(filters.visible_versions)
    try:
        embedder = configured_embedder()
    except EmbedderUnavailableError as error:
        return SimilarMemories(memories=[], meaning=Meaning(reason=str(error)))
    model = embedder and find_model(embedder)
    vector = model and _read_vector(current_rows.with_id(memory_id), model)
    if not model or not vector:
        reason = "The memory has not been embedded yet." if embedder else "The operator has chosen no embedding model."
        return SimilarMemories(memories=[], meaning=Meaning(reason=reason))
    candidates = filters.point_in_time.active_versions(filters.visible_versions)
    ranked_rows = [
        row
        for row in rank_by_meaning(candidates, vector, model, limit=MAX_SIMILAR + 1).rows
        if row.memory_id != memory_id and row.score >= MIN_SIMILARITY
    ][:MAX_SIMILAR]
    records = {
        record["memory_id"]: record
        for record in fetch_records(current_rows.with_ids([row.memory_id for row in ranked_rows]), names)
    }
    return SimilarMemories(
        memories=[SimilarMemory(memory=records[row.memory_id], similarity=row.score) for row in ranked_rows],
        meaning=Meaning(is_used=True, model=model.name),
    )


def _read_vector(rows: MemoryQuerySet, model: EmbeddingModel) -> str:
    rows_sql, params = rows.unordered_sql("id")
    vectors = fetch_dicts(_VECTOR_SQL.format(rows=rows_sql), [model.pk, *params])
    return str(vectors[0]["embedding"] or "") if vectors else ""


_VECTOR_SQL = """
SELECT embedding::text AS embedding FROM memory_embeddings
WHERE model_id = %s AND row_id = ANY (ARRAY(SELECT id FROM ({rows}) AS own))
"""
