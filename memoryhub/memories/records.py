"""How a memory leaves the process: the envelope's names, and what the hub knows besides."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson
from django.db.models import Case, TextField
from django.db.models.functions import Cast

from memoryhub.memories.querysets import EXPIRED, MemoryQuerySet, fetched
from memoryhub.memories.suspicion import masked

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
# First, so that a machine that reads on has been told: what follows is data, never instructions.
UNTRUSTED = "untrusted"

RECORD = (UNTRUSTED, *ENVELOPE, *HUB)
WHOLE = (*RECORD, *DETAIL)


def records(queryset: MemoryQuerySet, names: tuple[str, ...] = RECORD) -> list[Record]:
    """The rows of `queryset` as dicts with exactly `names`, in that order; JSON documents as ready-made JSON."""
    return [_record(row, names, queryset.instant) for row in values(queryset, names)]


def stored(queryset: MemoryQuerySet, names: tuple[str, ...] = RECORD) -> list[Record]:
    """The same with the status that their rows hold, whatever has expired since."""
    return [_record(row, names, queryset.instant) for row in _stored_values(queryset, names)]


def newest(queryset: MemoryQuerySet, number: int, names: tuple[str, ...] = RECORD) -> list[Record]:
    """The newest `number` rows in the same shape, in the order of every list."""
    return [_record(row, names, queryset.instant) for row in fetched(*question(queryset, number, names))]


def question(queryset: MemoryQuerySet, number: int, names: tuple[str, ...]) -> tuple[str, list[Any]]:
    """The SQL, with its parameters, that `newest` asks."""
    plain, documents = _columns(names)
    return queryset.newest(number, *plain, **documents, **_derived(queryset, names))


def shaped(queryset: MemoryQuerySet, names: tuple[str, ...], chunk_size: int) -> Iterator[Record]:
    """The same as `stored`, streamed through a cursor of the server."""
    for row in _stored_values(queryset, names).iterator(chunk_size):
        yield _record(row, names, queryset.instant)


def values(queryset: MemoryQuerySet, names: tuple[str, ...]) -> Any:
    """The question that `records` asks."""
    plain, documents = _columns(names)
    return queryset.values(*plain, **documents, **_derived(queryset, names))


def _stored_values(queryset: MemoryQuerySet, names: tuple[str, ...]) -> Any:
    plain, documents = _columns(names)
    return queryset.values(*plain, **documents)


def _derived(queryset: MemoryQuerySet, names: tuple[str, ...]) -> dict[str, Case]:
    """What no row holds, by the name of its column."""
    return {"is_expired": queryset.is_expired} if "status" in names else {}


def _columns(names: tuple[str, ...]) -> tuple[list[str], dict[str, Cast]]:
    plain = [name for name in names if name not in _DOCUMENTS and name != UNTRUSTED]
    return plain, {f"{name}_json": Cast(name, TextField()) for name in names if name in _DOCUMENTS}


def _record(row: dict[str, Any], names: tuple[str, ...], instant: datetime | None) -> Record:
    """`row` as it was known at `instant`: nobody knew yet of what came later."""
    record = {name: _value(row, name) for name in names}
    if instant and (ended := record.get("superseded_at")) and ended > instant:
        record["superseded_at"] = None
    return record


def _value(row: dict[str, Any], name: str) -> Any:
    if name == UNTRUSTED:
        return True
    if name == "status" and row.get("is_expired"):
        return EXPIRED
    return _document(row[f"{name}_json"]) if name in _DOCUMENTS else row[name]


def _document(text: str | None) -> orjson.Fragment | None:
    return None if text is None else orjson.Fragment(text)


def for_people(record: Record) -> Record:
    """The record with its secrets masked: agents need what they wrote, and nobody needs to read it over a shoulder."""
    return {name: _masked(value) for name, value in record.items()}


def _masked(value: Any) -> Any:
    match value:
        case str():
            return masked(value)
        case list():
            return [_masked(part) for part in value]
        case dict():
            return {name: _masked(part) for name, part in value.items()}
        case orjson.Fragment():
            text = orjson.dumps(value).decode()
            shown = masked(text)
            # An unchanged document stays the same object, so that records can be compared.
            return value if shown == text else orjson.Fragment(shown)
        case _:
            return value
