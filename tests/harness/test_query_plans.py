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

from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.principal import Principal
from memoryhub.memories import facets, histogram, pagination
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.records import DETAIL_FIELDS, newest_records
from memoryhub.operations import status
from memoryhub.timetravel import point_queries
from tests.harness.databases import mark_leakproof_functions, migrated_database_name, temporary_database
from tests.memories.raw_rows import execute

VISIBLE, HIDDEN = 6_000, 18_000
LOW = Clearance(max_tier="internal")
LOW_PRINCIPAL = Principal(name="key:low", clearance=LOW)
ROWS_SQL = """
INSERT INTO memories (
    memory_id, version, payload_id, request_id, source, subject, namespace, destination, collection, content, model,
    role, timestamp, idempotency_key, schema_version, transform_version, actor_type, actor_id, metadata,
    sensitivity_labels, classification_tier, kind, pinned, expires_at, normalized_labels, defaulted_fields, fingerprint,
    status,
    sent_namespace, sent_tier, sent_labels, exceeds_source_clearance, value_sha256,
    is_spelling_rejection, decision_exceeds_source
)
SELECT md5(%(tag)s || n)::uuid, 1, %(tag)s || n, '', 'crm', 'user:' || n %% 300, 'team-' || n %% 20, '', 'city',
       'Fact ' || n || ' of Paris' || CASE n %% 400 WHEN 7 THEN ' and rarities' ELSE '' END, '', '',
       %(start)s::timestamptz + n * interval '1 minute', '', 1, '', 'agent', '', '{}', label,
       tiers[1 + n %% cardinality(tiers)], 'fact', false,
       CASE WHEN n %% %(expiring_every)s = 1 THEN timestamptz '9999-01-01' END, label, '{}',
       sha256((%(tag)s || n)::bytea), 'active', '', 'public', '{}', false, sha256((%(tag)s || n)::bytea), false,
       false
FROM generate_series(1, %(count)s) AS n,
     LATERAL (SELECT %(tiers)s::varchar[] AS tiers,
                     CASE WHEN n %% 500 = 3 THEN '{rare}' WHEN n %% 3 = 0 THEN '{eu}' ELSE '{}' END::varchar[] AS label
     ) AS row_values
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


def list_page_reader(query_string: str) -> Callable[[], Any]:
    return lambda: pagination.list_page(_filter_set(query_string), principal=LOW_PRINCIPAL, params={"limit": "50"})


def facets_reader(query_string: str) -> Callable[[], Any]:
    return lambda: facets.count_facets(_filter_set(query_string))


def histogram_reader(query_string: str) -> Callable[[], Any]:
    return lambda: histogram.build_histogram(_filter_set(query_string))


def time_travel_reader(query_string: str) -> Callable[[], Any]:
    return lambda: point_queries.query_at(QueryDict(f"{query_string}&limit=50"), principal=LOW_PRINCIPAL)


def read_related() -> Any:
    related_memory = Memory(subject="user:7", collection="city")
    return newest_records(Memory.objects.visible_to(LOW).current().related_to(related_memory), 8, DETAIL_FIELDS)


def _filter_set(query_string: str) -> MemoryFilterSet:
    return MemoryFilterSet(QueryDict(query_string), clearance=LOW)


# Rows are planted anew before each time that it is asked, and are all known by then.
KNOWN_AT_QUERY = "known_at=9999-12-31"
READ_CASES: dict[str, Callable[[], Any]] = {
    "list": list_page_reader(""),
    "list by namespace": list_page_reader("namespace=team-7"),
    "list by namespace, tier and actor": list_page_reader("namespace=team-7&tier=internal&actor_type=agent"),
    "list by subject": list_page_reader("subject=user:7"),
    "list by common label": list_page_reader("label=eu"),
    "list by rare label": list_page_reader("label=rare"),
    "list by common text": list_page_reader("q=PARIS"),
    "list by rare text": list_page_reader("q=rarities"),
    "list by absent text": list_page_reader("q=nowhere"),
    "list of a time": list_page_reader("from=2024-01-02&to=2024-01-03"),
    "facets": facets_reader(""),
    "facets by namespace": facets_reader("namespace=team-7"),
    "facets by subject": facets_reader("subject=user:7"),
    "facets by label": facets_reader("label=rare"),
    "facets by rare text": facets_reader("q=rarities"),
    "histogram": histogram_reader(""),
    "histogram by namespace": histogram_reader("namespace=team-7"),
    "histogram by subject": histogram_reader("subject=user:7"),
    "histogram by rare text": histogram_reader("q=rarities"),
    "list as of an instant": list_page_reader("as_of=2024-01-03"),
    "list as it is known": list_page_reader(KNOWN_AT_QUERY),
    "list as it is known of an instant": list_page_reader(f"{KNOWN_AT_QUERY}&as_of=2024-01-03"),
    "list as it is known by namespace": list_page_reader(f"{KNOWN_AT_QUERY}&namespace=team-7"),
    "list as it is known by subject": list_page_reader(f"{KNOWN_AT_QUERY}&subject=user:7"),
    "list as it is known by rare label": list_page_reader(f"{KNOWN_AT_QUERY}&label=rare"),
    "list as it is known by rare text": list_page_reader(f"{KNOWN_AT_QUERY}&q=rarities"),
    "facets as they are known": facets_reader(KNOWN_AT_QUERY),
    "histogram as it is known": histogram_reader(KNOWN_AT_QUERY),
    "time travel": time_travel_reader(KNOWN_AT_QUERY),
    "state": time_travel_reader("view=state&as_of=2024-01-03"),
    "state of a subject": time_travel_reader("view=state&as_of=2024-01-03&subject=user:7"),
    "history": time_travel_reader("view=history&subject=user:7"),
    "status": lambda: (facets.count_active(LOW), status.count_writes(LOW)),
    "related": read_related,
}


def insert_rows(tag: str, count: int, tiers: list[str], *, start: str, expiring_every: int) -> None:
    sql_params: dict[str, Any] = {
        "tag": tag,
        "count": count,
        "tiers": tiers,
        "start": start,
        "expiring_every": expiring_every,
    }
    with connection.cursor() as cursor:
        cursor.execute(ROWS_SQL, sql_params)


@pytest.fixture(scope="module")
def costs(django_db_blocker) -> Iterator[tuple[dict[str, Cost], dict[str, Cost]]]:
    """What each read costs without hidden rows and with them."""
    with django_db_blocker.unblock(), temporary_database(migrated_database_name()) as database, database.activate():
        mark_leakproof_functions()
        execute("SET statement_timeout = 0")
        insert_rows("v", VISIBLE, ["public", "internal"], start="2024-01-01", expiring_every=1_000)
        execute("VACUUM (ANALYZE)")
        baseline_costs = {name: measure_cost(read_page) for name, read_page in READ_CASES.items()}
        insert_rows("h", HIDDEN, ["confidential", "restricted", "top-secret"], start="2026-01-01", expiring_every=2)
        execute("VACUUM (ANALYZE)")
        yield baseline_costs, {name: measure_cost(read_page) for name, read_page in READ_CASES.items()}


def measure_cost(read_page: Callable[[], Any]) -> Cost:
    with rls.as_reader(LOW):
        plans = [plan for statement in _capture_statements(read_page) for plan in _explain(*statement)]
    return Cost(
        rows=sum(_rows_touched(node) for plan in plans for node in _iter_nodes(plan) if not _is_heap(node)),
        pages=sum(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in plans),
        searches=sum(node.get("Index Searches", 0) for plan in plans for node in _iter_nodes(plan)),
        indexes={node.get("Index Name", "none") for plan in plans for node in _iter_nodes(plan) if not _is_heap(node)},
    )


def _capture_statements(read_page: Callable[[], Any]) -> list[tuple[str, Any]]:
    statement_list: list[tuple[str, Any]] = []

    def record_statement(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statement_list.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(record_statement):
        read_page()
    return statement_list


def _explain(sql: str, params: Any) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {sql}", params)
        plan_json = cursor.fetchone()[0]
    return [
        plan_document["Plan"] for plan_document in (json.loads(plan_json) if isinstance(plan_json, str) else plan_json)
    ]


def _iter_nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes that read a table or an index."""
    if plan["Node Type"].endswith("Scan") and ("Relation Name" in plan or "Index Name" in plan):
        yield plan
    for child in plan.get("Plans", []):
        yield from _iter_nodes(child)


def _is_heap(node: dict[str, Any]) -> bool:
    """Whether it fetches what an index below it has found."""
    return bool(node["Node Type"] == "Bitmap Heap Scan")


def _rows_touched(node: dict[str, Any]) -> int:
    removed_rows = sum(int(value) for name, value in node.items() if name.startswith("Rows Removed by"))
    return int((node["Actual Rows"] + removed_rows) * node["Actual Loops"])


@pytest.mark.parametrize("name", READ_CASES)
def test_hidden_rows_are_in_no_readers_way(name, costs):
    baseline_costs, with_hidden = costs

    assert with_hidden[name].is_like(baseline_costs[name]), (baseline_costs[name], with_hidden[name])


def test_no_read_goes_through_a_whole_table(costs):
    for name, cost_found in costs[1].items():
        assert "none" not in cost_found.indexes, name


def test_the_reads_do_read(costs):
    for name, cost_found in costs[0].items():
        assert cost_found.rows > 0 or "absent" in name, name
