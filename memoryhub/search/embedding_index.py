"""Embed memories, a batch at a time. A write enqueues nothing: what is new is found by its record time.

Nothing is embedded within a transaction, because a model may take a minute. The row of the model is locked before the
vectors are stored, and they are dropped if another worker has stored them by then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any

from django.db import connection
from pgvector import HalfVector

from memoryhub.core.errors import InvalidQueryError
from memoryhub.core.sql import fetch_dicts
from memoryhub.firewall import rls
from memoryhub.language.embedder import Embedder, configured_embedder
from memoryhub.language.embedding_values import Vector, normalize_vectors
from memoryhub.language.errors import EmbedderUnavailableError, TextsRejectedError
from memoryhub.memories.sql.record_progress import next_instant_sql, versions_between_sql
from memoryhub.search.models import EmbeddingModel

FIRST_INSTANT = "0001-01-01Z"
MAX_CLOSED_ROWS = 10_000
"""About so many superseded versions are marked as not live in one transaction."""


@dataclass(frozen=True, slots=True)
class _Batch:
    model_id: int
    embedded_through: datetime
    last_instant: datetime
    rows: list[dict[str, Any]]


def embed_memories(limit: int) -> int:
    """Embed the next versions, and mark those that were superseded; return how many, 0 if there is nothing to do.

    About `limit` versions: those of one instant are embedded together. A version whose text is that of the version
    before it gets the same vector. Raises EmbedderUnavailableError; nothing is stored then, and the next call tries
    again.
    """
    embedder = configured_embedder()
    if embedder is None:
        return 0
    register_model(embedder)
    closed_count = _mark_superseded_rows(embedder)
    batch = _read_batch(embedder, limit)
    if batch is None:
        return closed_count
    embeddings = {row["searched_text"]: row["reusable_embedding"] for row in batch.rows if row["searched_text"]}
    new_texts = [text for text, embedding in embeddings.items() if embedding is None]
    for text, vector in zip(new_texts, _embed_texts(embedder, new_texts), strict=True):
        embeddings[text] = vector and format_vector(vector)
    _store_batch(batch, [embeddings.get(row["searched_text"]) for row in batch.rows])
    return closed_count + len(batch.rows)


def format_vector(vector: Vector) -> str:
    """Return a vector as PostgreSQL reads it, with the precision in which it is stored."""
    return str(HalfVector(vector).to_text())


def parse_embedding(numbers: Sequence[float]) -> Vector:
    """Return a caller's vector at unit length. Raises InvalidQueryError, also if no model is configured."""
    try:
        embedder = configured_embedder()
        if embedder is None:
            raise EmbedderUnavailableError("The hub has no embedding model, so it has no vectors to compare.")
        (vector,) = normalize_vectors([numbers], count=1, dimensions=embedder.dimensions, producer="The request")
    except EmbedderUnavailableError as error:
        raise InvalidQueryError({"embedding": [str(error)]}) from None
    return vector


def register_model(embedder: Embedder) -> None:
    """Make sure that there is a row for the model of `embedder`."""
    with connection.cursor() as cursor:
        cursor.execute(_REGISTER_SQL, [embedder.name, embedder.dimensions, FIRST_INSTANT, FIRST_INSTANT])


def has_unembedded_memories() -> bool:
    """Whether a version was recorded or superseded that the configured model has not come to yet.

    Raises EmbedderUnavailableError.
    """
    embedder = configured_embedder()
    return embedder is not None and bool(fetch_dicts(_IS_BEHIND_SQL, [embedder.name])[0]["is_behind"])


def measure_lag_seconds() -> float:
    """Return how far the vectors are behind the memories; infinite if the model cannot be used."""
    try:
        embedder = configured_embedder()
        if embedder is None or not has_unembedded_memories():
            return 0.0
    except EmbedderUnavailableError:
        return inf
    rows = fetch_dicts(_LAG_SQL, [embedder.name])
    return float(rows[0]["seconds"]) if rows else inf


def find_model(embedder: Embedder) -> EmbeddingModel | None:
    """Return the row of the model of `embedder`; None if it has embedded nothing yet."""
    return EmbeddingModel.objects.filter(name=embedder.name, dimensions=embedder.dimensions).first()


def _read_batch(embedder: Embedder, limit: int) -> _Batch | None:
    with rls.as_writer(None):
        (model,) = fetch_dicts("SELECT id, embedded_through FROM embedding_models WHERE name = %s", [embedder.name])
        embedded_through = model["embedded_through"]
        (batch_end,) = fetch_dicts(_NEXT_RECORDED_SQL, [limit, embedded_through, limit, limit])
        if batch_end["instant"] in (None, embedded_through):
            return None
        rows = fetch_dicts(_BATCH_SQL, [embedded_through, batch_end["instant"], model["id"]])
    return _Batch(model["id"], embedded_through, batch_end["instant"], rows)


def _embed_texts(embedder: Embedder, texts: Sequence[str]) -> list[Vector | None]:
    """Return the vector of each text, None for a text that the model refuses even if it is alone."""
    if not texts:
        return []
    try:
        return list(embedder.embed_documents(texts))
    except TextsRejectedError:
        if len(texts) == 1:
            return [None]
        middle = len(texts) // 2
        return _embed_texts(embedder, texts[:middle]) + _embed_texts(embedder, texts[middle:])


def _store_batch(batch: _Batch, embeddings: Sequence[str | None]) -> None:
    with rls.as_writer(None), connection.cursor() as cursor:
        cursor.execute(_ADVANCE_SQL, [batch.last_instant, batch.model_id, batch.embedded_through])
        if cursor.rowcount:
            row_ids = [row["id"] for row in batch.rows]
            cursor.execute(_ADD_EMBEDDINGS_SQL, [batch.model_id, row_ids, list(embeddings)])


def _mark_superseded_rows(embedder: Embedder) -> int:
    with rls.as_writer(None), connection.cursor() as cursor:
        # Another worker waits here, and goes on behind this one.
        cursor.execute("SELECT id, closed_through FROM embedding_models WHERE name = %s FOR UPDATE", [embedder.name])
        model_id, closed_through = cursor.fetchone()
        limit = MAX_CLOSED_ROWS
        cursor.execute(_NEXT_SUPERSEDED_SQL, [limit, closed_through, limit, limit])
        (next_instant,) = cursor.fetchone()
        if next_instant in (None, closed_through):
            return 0
        cursor.execute(_MARK_SUPERSEDED_SQL, [model_id, closed_through, next_instant])
        marked_count: int = cursor.rowcount
        cursor.execute(_CLOSE_SQL, [next_instant, model_id])
    return marked_count


_REGISTER_SQL = """
INSERT INTO embedding_models (name, dimensions, embedded_through, closed_through) VALUES (%s, %s, %s, %s)
ON CONFLICT (name) DO NOTHING
"""
_IS_BEHIND_SQL = """
SELECT model.id IS NULL
       OR coalesce((SELECT instant FROM record_clock) > least(embedded_through, closed_through), false) AS is_behind
FROM (SELECT) AS one_row LEFT JOIN embedding_models AS model ON model.name = %s
"""
_LAG_SQL = """
SELECT extract(epoch FROM clock_timestamp() - least(embedded_through, closed_through)) AS seconds
FROM embedding_models WHERE name = %s
"""
_ADVANCE_SQL = "UPDATE embedding_models SET embedded_through = %s WHERE id = %s AND embedded_through = %s"
_CLOSE_SQL = "UPDATE embedding_models SET closed_through = %s WHERE id = %s"
_RECORDED = ("recorded_at", "schema_version >= 1")
_SUPERSEDED = ("superseded_at", "superseded_at IS NOT NULL")
_NEXT_RECORDED_SQL = next_instant_sql(*_RECORDED)
_NEXT_SUPERSEDED_SQL = next_instant_sql(*_SUPERSEDED)
_SEARCHED_TEXT_SQL = "CASE WHEN {0}.masked_content IS NULL THEN {0}.content ELSE {0}.masked_content END"
# The vector of the version before, if it has the same text.
_BATCH_SQL = f"""
SELECT version.id, {_SEARCHED_TEXT_SQL.format("version")} AS searched_text, previous.embedding AS reusable_embedding
FROM ({versions_between_sql(*_RECORDED, "version.*")}) AS version
LEFT JOIN LATERAL (
    SELECT memory_embeddings.embedding::text
    FROM memories JOIN memory_embeddings ON model_id = %s AND row_id = memories.id
    WHERE memories.version >= 1 AND memory_id = version.memory_id AND memories.version = version.version - 1
      AND {_SEARCHED_TEXT_SQL.format("memories")} = {_SEARCHED_TEXT_SQL.format("version")}
    OFFSET 0
) AS previous ON true
ORDER BY version.id
"""  # noqa: S608 - constants
_ADD_EMBEDDINGS_SQL = """
INSERT INTO memory_embeddings (model_id, row_id, tier, is_live, embedding)
SELECT %s, memories.id, classification_tier, superseded_at IS NULL AND status <> 'quarantined',
       embedded.embedding::halfvec
FROM unnest(%s::bigint[], %s::text[]) AS embedded(row_id, embedding) JOIN memories ON memories.id = row_id
"""
_MARK_SUPERSEDED_SQL = f"""
UPDATE memory_embeddings SET is_live = false
WHERE is_live AND model_id = %s AND row_id = ANY (ARRAY({versions_between_sql(*_SUPERSEDED, "version.id")}))
"""  # noqa: S608 - constants
