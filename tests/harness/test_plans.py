"""What is hidden costs a reader nothing: each read's plan, with hidden rows in the table and without.

Plans are PostgreSQL's own account of the rows and pages that it touched. Hidden rows are newer than all others, share
their subjects, namespaces, labels and words, and many have a time to live.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection
from django.http import QueryDict

from memoryhub.firewall import wall
from memoryhub.firewall.types import Clearance, Principal
from memoryhub.memories import facets, pages, timeline
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.records import WHOLE, newest
from memoryhub.ops import status
from memoryhub.timetravel import travel
from tests.harness.databases import migrated, no_leaks, world
from tests.memories.rows import execute

VISIBLE, HIDDEN = 6_000, 18_000
LOW = Clearance(max_tier="internal")
READER = Principal(name="key:low", clearance=LOW)
ROWS = """
INSERT INTO memories (
    memory_id, version, payload_id, request_id, source, subject, namespace, destination, collection, content, model,
    role, timestamp, idempotency_key, schema_version, transform_version, actor_type, actor_id, metadata,
    sensitivity_labels, classification_tier, kind, pinned, expires_at, label_keys, defaulted, fingerprint, status,
    sent_namespace, sent_tier, sent_labels, beyond_source, value_sha256,
    is_other_spelling, decided_beyond_source
)
SELECT md5(%(tag)s || n)::uuid, 1, %(tag)s || n, '', 'crm', 'user:' || n %% 300, 'team-' || n %% 20, '', 'city',
       'Fact ' || n || ' of Paris' || CASE n %% 400 WHEN 7 THEN ' and rarities' ELSE '' END, '', '',
       %(start)s::timestamptz + n * interval '1 minute', '', 1, '', 'agent', '', '{}', label,
       tiers[1 + n %% cardinality(tiers)], 'fact', false,
       CASE WHEN n %% %(mortal)s = 1 THEN timestamptz '9999-01-01' END, label, '{}',
       sha256((%(tag)s || n)::bytea), 'active', '', 'public', '{}', false, sha256((%(tag)s || n)::bytea), false,
       false
FROM generate_series(1, %(number)s) AS n,
     LATERAL (SELECT %(tiers)s::varchar[] AS tiers,
                     CASE WHEN n %% 500 = 3 THEN '{rare}' WHEN n %% 3 = 0 THEN '{eu}' ELSE '{}' END::varchar[] AS label
     ) AS made
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What the statements of one read touched."""

    rows: int
    pages: int
    searches: int
    """How often an index was gone down, each time by its depth."""
    indexes: set[str]

    def is_like(self, other: "Cost") -> bool:
        """Whether nobody could tell the two apart: a row and a page more may be the depth of a tree, each time."""
        return (
            self.indexes == other.indexes
            and abs(self.rows - other.rows) <= 2
            and abs(self.pages - other.pages) <= 4 + other.pages // 10 + other.searches
        )


def listed(query: str) -> Callable[[], Any]:
    return lambda: pages.page(_filters(query), reader=READER, parameters={"limit": "50"})


def counted(query: str) -> Callable[[], Any]:
    return lambda: facets.count(_filters(query))


def drawn(query: str) -> Callable[[], Any]:
    return lambda: timeline.histogram(_filters(query))


def travelled(query: str) -> Callable[[], Any]:
    return lambda: travel.travel(QueryDict(f"{query}&limit=50"), reader=READER)


def related() -> Any:
    about = Memory(subject="user:7", collection="city")
    return newest(Memory.objects.visible_to(LOW).current().beside(about), 8, WHOLE)


def _filters(query: str) -> MemoryFilterSet:
    return MemoryFilterSet(QueryDict(query), clearance=LOW)


# Rows are planted anew before each time that it is asked, and are all known by then.
KNOWN = "known_at=9999-12-31"
READS: dict[str, Callable[[], Any]] = {
    "list": listed(""),
    "list by namespace": listed("namespace=team-7"),
    "list by namespace, tier and actor": listed("namespace=team-7&tier=internal&actor_type=agent"),
    "list by subject": listed("subject=user:7"),
    "list by common label": listed("label=eu"),
    "list by rare label": listed("label=rare"),
    "list by common text": listed("q=PARIS"),
    "list by rare text": listed("q=rarities"),
    "list by absent text": listed("q=nowhere"),
    "list of a time": listed("from=2024-01-02&to=2024-01-03"),
    "facets": counted(""),
    "facets by namespace": counted("namespace=team-7"),
    "facets by subject": counted("subject=user:7"),
    "facets by label": counted("label=rare"),
    "facets by rare text": counted("q=rarities"),
    "histogram": drawn(""),
    "histogram by namespace": drawn("namespace=team-7"),
    "histogram by subject": drawn("subject=user:7"),
    "histogram by rare text": drawn("q=rarities"),
    "list as of an instant": listed("as_of=2024-01-03"),
    "list as it is known": listed(KNOWN),
    "list as it is known of an instant": listed(f"{KNOWN}&as_of=2024-01-03"),
    "list as it is known by namespace": listed(f"{KNOWN}&namespace=team-7"),
    "list as it is known by subject": listed(f"{KNOWN}&subject=user:7"),
    "list as it is known by rare label": listed(f"{KNOWN}&label=rare"),
    "list as it is known by rare text": listed(f"{KNOWN}&q=rarities"),
    "facets as they are known": counted(KNOWN),
    "histogram as it is known": drawn(KNOWN),
    "time travel": travelled(KNOWN),
    "state": travelled("view=state&as_of=2024-01-03"),
    "state of a subject": travelled("view=state&as_of=2024-01-03&subject=user:7"),
    "history": travelled("view=history&subject=user:7"),
    "status": lambda: (facets.total(LOW), status.writes(LOW)),
    "related": related,
}


def plant(tag: str, number: int, tiers: list[str], *, start: str, mortal: int) -> None:
    told: dict[str, Any] = {"tag": tag, "number": number, "tiers": tiers, "start": start, "mortal": mortal}
    with connection.cursor() as cursor:
        cursor.execute(ROWS, told)


@pytest.fixture(scope="module")
def costs(django_db_blocker) -> Iterator[tuple[dict[str, Cost], dict[str, Cost]]]:
    """What each read costs without hidden rows and with them."""
    with django_db_blocker.unblock(), world(migrated()) as made, made.entered():
        no_leaks()
        plant("v", VISIBLE, ["public", "internal"], start="2024-01-01", mortal=1_000)
        execute("VACUUM (ANALYZE)")
        without = {name: cost(read) for name, read in READS.items()}
        plant("h", HIDDEN, ["confidential", "restricted", "top-secret"], start="2026-01-01", mortal=2)
        execute("VACUUM (ANALYZE)")
        yield without, {name: cost(read) for name, read in READS.items()}


def cost(read: Callable[[], Any]) -> Cost:
    with wall.behind(LOW):
        plans = [plan for statement in _statements(read) for plan in _explained(*statement)]
    return Cost(
        rows=sum(_touched(node) for plan in plans for node in _nodes(plan) if not _is_heap(node)),
        pages=sum(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in plans),
        searches=sum(node.get("Index Searches", 0) for plan in plans for node in _nodes(plan)),
        indexes={node.get("Index Name", "none") for plan in plans for node in _nodes(plan) if not _is_heap(node)},
    )


def _statements(read: Callable[[], Any]) -> list[tuple[str, Any]]:
    said: list[tuple[str, Any]] = []

    def listen(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        said.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(listen):
        read()
    return said


def _explained(sql: str, params: Any) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {sql}", params)
        told = cursor.fetchone()[0]
    return [each["Plan"] for each in (json.loads(told) if isinstance(told, str) else told)]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes that read a table or an index."""
    if plan["Node Type"].endswith("Scan") and ("Relation Name" in plan or "Index Name" in plan):
        yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


def _is_heap(node: dict[str, Any]) -> bool:
    """Whether it fetches what an index below it has found."""
    return bool(node["Node Type"] == "Bitmap Heap Scan")


def _touched(node: dict[str, Any]) -> int:
    removed = sum(int(value) for name, value in node.items() if name.startswith("Rows Removed by"))
    return int((node["Actual Rows"] + removed) * node["Actual Loops"])


@pytest.mark.parametrize("name", READS)
def test_hidden_rows_are_in_no_readers_way(name, costs):
    without, with_hidden = costs

    assert with_hidden[name].is_like(without[name]), (without[name], with_hidden[name])


def test_no_read_goes_through_a_whole_table(costs):
    for name, found in costs[1].items():
        assert "none" not in found.indexes, name


def test_the_reads_do_read(costs):
    for name, found in costs[0].items():
        assert found.rows > 0 or "absent" in name, name
