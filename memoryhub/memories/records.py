"""How a memory leaves the process: the envelope's names, and what the hub knows besides."""

from collections.abc import Iterator
from typing import Any

import orjson
from django.db.models import TextField
from django.db.models.functions import Cast

from memoryhub.memories.querysets import MemoryQuerySet

Record = dict[str, Any]

ENVELOPE = (
    "payload_id", "request_id", "source", "subject", "namespace", "destination", "collection", "content", "model",
    "role", "timestamp", "idempotency_key", "schema_version", "transform_version", "actor_type", "actor_id", "metadata",
    "sensitivity_labels", "classification_tier",
)  # fmt: skip
HUB = ("memory_id", "version", "recorded_at", "status")
DETAIL = ("superseded_at", "kind", "pinned", "expires_at", "propagation", "defaulted")
# jsonb as the text it is: numbers that Python or a JSON library would round stay as they are.
_DOCUMENTS = ("metadata", "propagation")

RECORD = (*ENVELOPE, *HUB)
WHOLE = (*RECORD, *DETAIL)


def records(queryset: MemoryQuerySet, names: tuple[str, ...] = RECORD) -> list[Record]:
    """The rows of `queryset` as dicts with exactly `names`, in that order; JSON documents as ready-made JSON."""
    return [_record(row, names) for row in values(queryset, names)]


def shaped(queryset: MemoryQuerySet, names: tuple[str, ...], chunk_size: int) -> Iterator[Record]:
    """The same, streamed through a cursor of the server."""
    for row in values(queryset, names).iterator(chunk_size):
        yield _record(row, names)


def values(queryset: MemoryQuerySet, names: tuple[str, ...]) -> Any:
    """The question that `records` asks."""
    plain = [name for name in names if name not in _DOCUMENTS]
    documents = {f"{name}_json": Cast(name, TextField()) for name in names if name in _DOCUMENTS}
    return queryset.values(*plain, **documents)


def _record(row: dict[str, Any], names: tuple[str, ...]) -> Record:
    return {name: _document(row[f"{name}_json"]) if name in _DOCUMENTS else row[name] for name in names}


def _document(text: str | None) -> orjson.Fragment | None:
    return None if text is None else orjson.Fragment(text)
