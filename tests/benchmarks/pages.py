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

from memoryhub.firewall.types import everything
from memoryhub.memories import facets, timeline
from memoryhub.memories.envelope import parse_instant
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import compiled
from memoryhub.memories.records import RECORD, WHOLE, question, values
from tests.benchmarks.generate import common_words, namespaces, rare_words, subject_names
from tests.benchmarks.store import Store

LIMIT = 50
DEEP = 2_000
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


def questions(store: Store) -> dict[str, Callable[[Random], Params]]:
    common, rare = common_words(100), rare_words(1000, count=store.count)
    places, subjects = [name for name, _, _ in namespaces()], subject_names()

    def classified(dice: Random) -> Params:
        return {
            "namespace": places[int(dice.random() ** 2 * len(places))],
            "tier": dice.choice(("public", "internal", "confidential", "restricted")),
            "actor_type": dice.choice(("agent", "user", "system")),
        }

    return {
        "list, unfiltered": lambda _: {},
        "list, by subject": lambda dice: {"subject": subjects[int(dice.random() ** 2 * len(subjects))]},
        "list, by namespace + tier + actor": classified,
        "list, by rare label": lambda dice: {"label": f"rare-{dice.randrange(200):03}"},
        "list, by common label": lambda dice: {"label": dice.choice(("pii", "financial", "legal", "health"))},
        "list, by rare substring": lambda dice: {"q": dice.choice(rare)},
        "list, by absent substring": lambda dice: {"q": f"qq{dice.randrange(10**6)}zz"},
        "list, by common substring": lambda dice: {"q": dice.choice(common)},
    }


def facet_questions(store: Store) -> dict[str, Callable[[Random], Params]]:
    listed = questions(store)
    return {
        "facets, unfiltered": listed["list, unfiltered"],
        "facets, by namespace": lambda dice: {"namespace": classified_namespace(dice)},
        "facets, by source": lambda dice: {"source": f"agent-{dice.randrange(12):02}"},
        "facets, by subject": listed["list, by subject"],
        "facets, by rare label": listed["list, by rare label"],
        "facets, by rare substring": listed["list, by rare substring"],
        "facets, by common substring": listed["list, by common substring"],
    }


def classified_namespace(dice: Random) -> str:
    return f"namespace-{int(dice.random() ** 2 * 200):03}"


def measure_pages(client: httpx.Client, store: Store, times: int) -> list[Timing]:
    timings = []
    with store.connect() as connection:
        for name, make in questions(store).items():
            timings.append(_ask(name, client, connection, make, "/api/memories", list_sql, times))
        timings.append(_deep(client, connection, times))
        timings.append(_details(client, connection, times))
        for name, make in facet_questions(store).items():
            timings.append(_ask(name, client, connection, make, "/api/facets", facet_sql, times))
        timings.append(
            _ask("histogram, unfiltered", client, connection, lambda _: {}, "/api/histogram", histogram_sql, times)
        )
    return timings


def measure_growth(
    big: httpx.Client, large: Store, little: httpx.Client, small: Store, times: int
) -> list[tuple[str, float, float]]:
    """Medians of the list pages on the small and on the large store, asked in turns."""
    found = []
    for name in questions(large):
        clients = ((little, questions(small)[name]), (big, questions(large)[name]))
        spent: tuple[list[float], list[float]] = ([], [])
        for number in range(times + 20):
            for (client, make), times_spent in zip(clients, spent, strict=True):
                times_spent.append(get(client, "/api/memories", {**make(Random(number)), "limit": str(LIMIT)})[0])
        found.append((name, median(spent[0][20:]), median(spent[1][20:])))
    return found


def _ask(
    name: str,
    client: httpx.Client,
    connection: psycopg.Connection[Any],
    make: Callable[[Random], Params],
    path: str,
    sql: Callable[[Params], Question],
    times: int,
) -> Timing:
    timing = Timing(name)
    more = {"limit": str(LIMIT)} if path == "/api/memories" else {}
    for number in range(times + 20):
        params = make(Random(number))
        http, _ = get(client, path, {**params, **more})
        bare = _fetch(connection, sql(params))
        if number >= 20:
            timing.http.append(http)
            timing.sql.append(bare)
    print(f"{name}: {median(timing.http):.1f} / {p95(timing.http):.1f} ms", file=sys.stderr)
    return timing


def _deep(client: httpx.Client, connection: psycopg.Connection[Any], times: int) -> Timing:
    """Pages from number 2,000 on, walked to by cursor as a reader would."""
    timing = Timing("list, page 2,000 and on")
    cursor = ""
    for number, (spent, page) in enumerate(islice(_walk(client), DEEP + times)):
        if number < DEEP:
            cursor = page["next_cursor"]
            continue
        timing.http.append(spent)
        timing.sql.append(_fetch(connection, after_sql(page["records"][0])))
    assert cursor
    return timing


def _walk(client: httpx.Client) -> Iterator[tuple[float, dict[str, Any]]]:
    params = {"limit": str(LIMIT)}
    while True:
        spent, page = get(client, "/api/memories", params)
        yield spent, page
        params["cursor"] = page["next_cursor"]


def _details(client: httpx.Client, connection: psycopg.Connection[Any], times: int) -> Timing:
    timing = Timing("detail")
    found = connection.execute("SELECT memory_id FROM memories TABLESAMPLE SYSTEM (1) LIMIT %s", [times]).fetchall()
    for (memory_id,) in found:
        timing.http.append(get(client, f"/api/memories/{memory_id}", {})[0])
        question = values(Memory.objects.visible_to(everything()).current().filter(memory_id=memory_id), WHOLE)
        timing.sql.append(_fetch(connection, compiled(question)))
    return timing


def get(client: httpx.Client, path: str, params: Params) -> tuple[float, Any]:
    """Milliseconds and the decoded answer."""
    started = time.perf_counter()
    answer = client.get(path, params=params)
    spent = (time.perf_counter() - started) * 1000
    assert answer.status_code == 200, answer.text
    return spent, answer.json()


def _fetch(connection: psycopg.Connection[Any], question: Question) -> float:
    """Milliseconds until all rows are here."""
    started = time.perf_counter()
    connection.execute(*question).fetchall()
    return (time.perf_counter() - started) * 1000


def _filters(params: Params) -> MemoryFilterSet:
    return MemoryFilterSet(QueryDict(urlencode(params)), clearance=everything())


def list_sql(params: Params) -> Question:
    """The page's own SQL. For a text or a label it is the better of its two ways, as the product's sample chooses."""
    filters = _filters(params)
    is_rare = params.get("q", "").startswith(("xq", "qq")) or params.get("label", "").startswith("rare")
    found = filters.candidates.looked_up(filters.sought) if is_rare else filters.candidates.read_for(filters.sought)
    return question(found, LIMIT + 1, RECORD)


def after_sql(record: dict[str, Any]) -> Question:
    following = _filters({}).candidates.before(parse_instant(record["timestamp"]), UUID(record["memory_id"]))
    return question(following, LIMIT + 1, RECORD)


def facet_sql(params: Params) -> Question:
    asked = facets.question(_filters(params))
    return asked.sql, asked.params


def histogram_sql(params: Params) -> Question:
    days = timeline.days(_filters(params))
    assert days is not None
    return compiled(days)
