"""Writing memories as JSON lines that `import_memories` reads back without loss."""

from collections.abc import Iterator
from typing import Any

import orjson
from django.db import transaction
from django.http import QueryDict
from django.utils.http import urlencode

from memoryhub.audit import ledger
from memoryhub.firewall import wall
from memoryhub.firewall.reach import reach_of
from memoryhub.firewall.types import Clearance, Principal
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.pages import MAX_LIMIT
from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.memories.records import ENVELOPE, Record, shaped
from memoryhub.timetravel.travel import Answer, travel

EXPORTER = "system:export"
CHUNK = 2_000
_ALSO = ("kind", "pinned", "expires_at", "propagation", "defaulted")
_HISTORY = ("memory_id", "version", "recorded_at", "superseded_at", "status")


def export_lines(filters: MemoryFilterSet, *, history: bool = False) -> Iterator[bytes]:
    """One line for each memory that `filters` find, in the order in which the hub came to know them.

    With `history`, every version that the caller may see of those memories, with what the hub knows of it.
    """
    names = (*ENVELOPE, "embedding", *_ALSO, *(_HISTORY if history else ()))
    _enter(urlencode(filters.active), route="export_memories", clearance=filters.clearance)
    with wall.behind(filters.clearance):
        for row in shaped(_rows(filters, history).order_by("recorded_at", "id"), names, CHUNK):
            yield orjson.dumps(_without_defaults(row), option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


def travelled(data: QueryDict, *, clearance: Clearance) -> Iterator[Answer]:
    """All pages of what `data` asks of `timetravel`; there is one at least. Raises BadQuery."""
    asked = data.copy()
    asked["limit"] = str(MAX_LIMIT)
    reader = Principal(name=EXPORTER, clearance=clearance)
    cursor: str | None = ""
    while cursor is not None:
        asked["cursor"] = cursor
        with wall.behind(clearance):
            answer = travel(asked, reader=reader)
        if not cursor:
            _enter(data.urlencode(), route="as_of", clearance=clearance)
        yield answer
        cursor = answer.page.next_cursor


def _enter(query: str, *, route: str, clearance: Clearance) -> None:
    """Before the first line, and in a transaction of its own: an export may take long, and nobody waits for it."""
    told = ledger.Event(principal=EXPORTER, action="memory.export", route=route, query=query, reach=reach_of(clearance))
    with transaction.atomic():
        ledger.append(told)


def _rows(filters: MemoryFilterSet, history: bool) -> MemoryQuerySet:
    if not history:
        return filters.found
    return filters.moment.recorded(filters.seen).with_ids(filters.found.values("memory_id"))


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
