"""Writing memories as JSON lines that `import_memories` reads back without loss."""

from collections.abc import Iterator
from typing import Any

import orjson
from django.db import transaction
from django.utils.http import urlencode

from memoryhub.audit import ledger
from memoryhub.firewall import wall
from memoryhub.firewall.reach import reach_of
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.memories.records import ENVELOPE, Record, shaped

CHUNK = 2_000
_ALSO = ("kind", "pinned", "expires_at", "propagation", "defaulted")
_HISTORY = ("memory_id", "version", "recorded_at", "superseded_at", "status")


def export_lines(filters: MemoryFilterSet, *, history: bool = False) -> Iterator[bytes]:
    """One line for each memory that `filters` find, in the order in which the hub came to know them.

    With `history`, every version that the caller may see of those memories, with what the hub knows of it.
    """
    names = (*ENVELOPE, "embedding", *_ALSO, *(_HISTORY if history else ()))
    _enter(filters)
    with wall.behind(filters.clearance):
        for row in shaped(_rows(filters, history).order_by("recorded_at", "id"), names, CHUNK):
            yield orjson.dumps(_without_defaults(row), option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


def _enter(filters: MemoryFilterSet) -> None:
    """Before the first line, and in a transaction of its own: an export may take long, and nobody waits for it."""
    told = ledger.Event(
        principal="system:export",
        action="memory.export",
        route="export_memories",
        query=urlencode(filters.active),
        reach=reach_of(filters.clearance),
    )
    with transaction.atomic():
        ledger.append(told)


def _rows(filters: MemoryFilterSet, history: bool) -> MemoryQuerySet:
    if not history:
        return filters.found
    return Memory.objects.visible_to(filters.clearance).filter(memory_id__in=filters.found.values("memory_id"))


def _without_defaults(row: Record) -> dict[str, Any]:
    """A column that came later than the envelope stands in a line only where it says something."""
    silent: dict[str, Any] = {
        "embedding": None,
        "kind": "fact",
        "pinned": False,
        "expires_at": None,
        "propagation": None,
    }
    return {name: value for name, value in row.items() if name not in silent or value != silent[name]}
