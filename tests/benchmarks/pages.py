"""Reading: each question over HTTP and, right after it, as the same SQL straight through psycopg."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from statistics import median, quantiles
from typing import Any
from uuid import UUID

import httpx
import psycopg
from django.http import QueryDict
from django.utils.http import urlencode

from memoryhub.core.sql import compile_sql
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.memories import facets, histogram
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.records import DETAIL_FIELDS, LIST_FIELDS, newest_records_sql, record_values
from memoryhub.memories.writes.validated_types import parse_instant
from tests.benchmarks.generate import common_words, namespaces, rare_words, subject_names
from tests.benchmarks.store import Store

PAGE_LIMIT = 50
DEEP_PAGE = 2_000
Params = dict[str, str]
Question = tuple[str, list[Any]]


@dataclass
class Timing:
    """Milliseconds of one question asked many times, over HTTP and as bare SQL."""

    name: str
    http: list[float] = field(default_factory=list)
    sql: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return median(self.http) / median(self.sql)


def p95(values_: list[float]) -> float:
    return quantiles(values_, n=20)[-1]


def list_questions(store: Store) -> dict[str, Callable[[Random], Params]]:
    common, rare = common_words(100), rare_words(1000, count=store.count)
    namespace_names, subjects = [name for name, _, _ in namespaces()], subject_names()

    def random_classification(generator: Random) -> Params:
        return {
            "namespace": namespace_names[int(generator.random() ** 2 * len(namespace_names))],
            "tier": generator.choice(("public", "internal", "confidential", "restricted")),
            "actor_type": generator.choice(("agent", "user", "system")),
        }

    return {
        "list, unfiltered": lambda _: {},
        "list, by subject": lambda rng: {"subject": subjects[int(rng.random() ** 2 * len(subjects))]},
        "list, by namespace + tier + actor": random_classification,
        "list, by rare label": lambda rng: {"label": f"rare-{rng.randrange(200):03}"},
        "list, by common label": lambda rng: {"label": rng.choice(("pii", "financial", "legal", "health"))},
        "list, by rare substring": lambda rng: {"q": rng.choice(rare)},
        "list, by absent substring": lambda rng: {"q": f"qq{rng.randrange(10**6)}zz"},
        "list, by common substring": lambda rng: {"q": rng.choice(common)},
    }


def facet_questions(store: Store) -> dict[str, Callable[[Random], Params]]:
    list_params = list_questions(store)
    return {
        "facets, unfiltered": list_params["list, unfiltered"],
        "facets, by namespace": lambda rng: {"namespace": classified_namespace(rng)},
        "facets, by source": lambda rng: {"source": f"agent-{rng.randrange(12):02}"},
        "facets, by subject": list_params["list, by subject"],
        "facets, by rare label": list_params["list, by rare label"],
        "facets, by rare substring": list_params["list, by rare substring"],
        "facets, by common substring": list_params["list, by common substring"],
    }


def classified_namespace(rng: Random) -> str:
    return f"namespace-{int(rng.random() ** 2 * 200):03}"


def measure_pages(client: httpx.Client, store: Store, times: int) -> list[Timing]:
    timings = []
    with store.connect() as connection:
        for name, make_params in list_questions(store).items():
            timings.append(_measure_request(name, client, connection, make_params, "/api/memories", list_sql, times))
        timings.append(_measure_deep_page(client, connection, times))
        timings.append(_measure_details(client, connection, times))
        for name, make_params in facet_questions(store).items():
            timings.append(_measure_request(name, client, connection, make_params, "/api/facets", facet_sql, times))
        timings.append(
            _measure_request(
                "histogram, unfiltered", client, connection, lambda _: {}, "/api/histogram", histogram_sql, times
            )
        )
    return timings


def measure_growth(
    large_client: httpx.Client, large: Store, small_client: httpx.Client, small: Store, times: int
) -> list[tuple[str, float, float]]:
    """Medians of the list pages on the small and on the large store, asked in turns."""
    timings = []
    for name in list_questions(large):
        clients = ((small_client, list_questions(small)[name]), (large_client, list_questions(large)[name]))
        client_timings: tuple[list[float], list[float]] = ([], [])
        for iteration in range(times + 20):
            for (client, make_params), times_spent in zip(clients, client_timings, strict=True):
                times_spent.append(
                    timed_get(client, "/api/memories", {**make_params(Random(iteration)), "limit": str(PAGE_LIMIT)})[0]
                )
        timings.append((name, median(client_timings[0][20:]), median(client_timings[1][20:])))
    return timings


def _measure_request(
    name: str,
    client: httpx.Client,
    connection: psycopg.Connection[Any],
    make_params: Callable[[Random], Params],
    path: str,
    sql: Callable[[Params], Question],
    times: int,
) -> Timing:
    timing = Timing(name)
    limit_params = {"limit": str(PAGE_LIMIT)} if path == "/api/memories" else {}
    for iteration in range(times + 20):
        params = make_params(Random(iteration))
        http, _ = timed_get(client, path, {**params, **limit_params})
        sql_seconds = _timed_fetch(connection, sql(params))
        if iteration >= 20:
            timing.http.append(http)
            timing.sql.append(sql_seconds)
    print(f"{name}: {median(timing.http):.1f} / {p95(timing.http):.1f} ms", file=sys.stderr)
    return timing


def _measure_deep_page(client: httpx.Client, connection: psycopg.Connection[Any], times: int) -> Timing:
    """Pages from number 2,000 on, walked to by cursor as a reader would."""
    timing = Timing("list, page 2,000 and on")
    cursor = ""
    for page_index, (elapsed, page) in enumerate(islice(_walk_pages(client), DEEP_PAGE + times)):
        if page_index < DEEP_PAGE:
            cursor = page["next_cursor"]
            continue
        timing.http.append(elapsed)
        timing.sql.append(_timed_fetch(connection, after_sql(page["records"][0])))
    assert cursor
    return timing


def _walk_pages(client: httpx.Client) -> Iterator[tuple[float, dict[str, Any]]]:
    params = {"limit": str(PAGE_LIMIT)}
    while True:
        elapsed, page = timed_get(client, "/api/memories", params)
        yield elapsed, page
        params["cursor"] = page["next_cursor"]


def _measure_details(client: httpx.Client, connection: psycopg.Connection[Any], times: int) -> Timing:
    timing = Timing("detail")
    rows = connection.execute("SELECT memory_id FROM memories TABLESAMPLE SYSTEM (1) LIMIT %s", [times]).fetchall()
    for (memory_id,) in rows:
        timing.http.append(timed_get(client, f"/api/memories/{memory_id}", {})[0])
        query = record_values(
            Memory.objects.visible_to(unrestricted_clearance()).current().filter(memory_id=memory_id), DETAIL_FIELDS
        )
        timing.sql.append(_timed_fetch(connection, compile_sql(query)))
    return timing


def timed_get(client: httpx.Client, path: str, params: Params) -> tuple[float, Any]:
    """Milliseconds and the decoded answer."""
    start_time = time.perf_counter()
    response = client.get(path, params=params)
    elapsed = (time.perf_counter() - start_time) * 1000
    assert response.status_code == 200, response.text
    return elapsed, response.json()


def _timed_fetch(connection: psycopg.Connection[Any], query: Question) -> float:
    """Milliseconds until all rows are here."""
    start_time = time.perf_counter()
    connection.execute(*query).fetchall()
    return (time.perf_counter() - start_time) * 1000


def _filter_set(params: Params) -> MemoryFilterSet:
    return MemoryFilterSet(QueryDict(urlencode(params)), clearance=unrestricted_clearance())


def list_sql(params: Params) -> Question:
    """The page's own SQL. For a text or a label it is the better of its two ways, as the product's sample chooses."""
    filters = _filter_set(params)
    is_rare = params.get("q", "").startswith(("xq", "qq")) or params.get("label", "").startswith("rare")
    matching = (
        filters.candidates.matching_by_index(filters.search_terms)
        if is_rare
        else filters.candidates.matching_by_scan(filters.search_terms)
    )
    return newest_records_sql(matching, PAGE_LIMIT + 1, LIST_FIELDS)


def after_sql(record: dict[str, Any]) -> Question:
    next_page = _filter_set({}).candidates.after_keyset(parse_instant(record["timestamp"]), UUID(record["memory_id"]))
    return newest_records_sql(next_page, PAGE_LIMIT + 1, LIST_FIELDS)


def facet_sql(params: Params) -> Question:
    count_query = facets.build_count_query(_filter_set(params))
    return count_query.sql, count_query.params


def histogram_sql(params: Params) -> Question:
    days = histogram.daily_rollup(_filter_set(params))
    assert days is not None
    return compile_sql(days)
