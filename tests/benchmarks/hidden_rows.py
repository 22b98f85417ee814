"""What hidden rows cost a reader: the same questions to a store with hidden rows and to one without, in turns."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import islice
from random import Random
from statistics import median
from typing import Any
from zlib import crc32

import httpx
import psycopg

from memoryhub.memories.writes.versions import COLUMN_TYPES
from tests.benchmarks.generate import Row, generate_rows
from tests.benchmarks.pages import PAGE_LIMIT, Params, facet_questions, list_questions, timed_get
from tests.benchmarks.store import CHUNK_SIZE, DIMENSIONS, ROOT, Store, row_values, write_rows

HIGHEST_TIER, LOW_TIER, PUBLIC_TIER = "restricted", "confidential", "public"
WARM_UP_TIMES = 20
MAKE_LOW_KEY = """
from django.contrib.auth.models import User
from memoryhub.firewall.models import ApiKey, ClearanceProfile
profile, _ = ClearanceProfile.objects.get_or_create(name="bench-%(tier)s", defaults={"max_tier": "%(tier)s"})
owner, _ = User.objects.get_or_create(username="bench-low")
print(ApiKey.objects.create(owner, name="bench-%(tier)s-%(number)s", scopes=["read"], clearance=profile)[1])
"""
# Filters that no index answers, with a value that one memory in RARE_INTERVAL has and one that none has.
UNINDEXED_PARAMS = {
    **{name: {"rare": "rare", "absent": "nowhere"} for name in ("model", "role", "actor_id", "destination")},
    "status": {"rare": "retired", "absent": "erased"},
}
RARE_INTERVAL = 5_000


@dataclass
class TimingPair:
    """Milliseconds of one question asked many times, without hidden rows and with them."""

    name: str
    without_hidden: list[float] = field(default_factory=list)
    with_hidden: list[float] = field(default_factory=list)

    @property
    def difference(self) -> float:
        return median(self.with_hidden) - median(self.without_hidden)

    @property
    def limit(self) -> float:
        return max(median(self.without_hidden) * 0.05, 1.0)

    @property
    def effect(self) -> float:
        """|A - 0.5| of Mann and Whitney: how far it is from a coin's toss which of two answers came later."""
        ranked_seconds = sorted(
            [(elapsed, 0) for elapsed in self.without_hidden] + [(elapsed, 1) for elapsed in self.with_hidden]
        )
        ranks = sum(rank for rank, (_, is_hidden) in enumerate(ranked_seconds, 1) if is_hidden)
        hidden_count = len(self.with_hidden)
        return abs((ranks - hidden_count * (hidden_count + 1) / 2) / (hidden_count * len(self.without_hidden)) - 0.5)


class HiddenStore(Store):
    """Memories of the lower tiers, and `hidden` ones beyond them that are newer and like them in all other ways."""

    def __init__(self, count: int, hidden: int) -> None:
        super().__init__(count + hidden, home=f"bench-{count}-hidden-{hidden}-rare")
        self.visible, self.hidden = count, hidden

    def generate_rows(self) -> Iterator[Row]:
        for row in generate_rows(self.visible, dimensions=DIMENSIONS):
            yield row._replace(classification_tier=LOW_TIER) if row.classification_tier == HIGHEST_TIER else row
        for row in generate_rows(self.hidden, dimensions=DIMENSIONS):
            newer_timestamp = row.timestamp + timedelta(days=1_000)
            yield row._replace(
                payload_id=f"hidden-{row.payload_id}", classification_tier=HIGHEST_TIER, timestamp=newer_timestamp
            )

    def load(self, connection: psycopg.Connection[Any]) -> Iterator[int]:
        generated, loaded_rows = self.generate_rows(), 0
        while chunk := list(islice(generated, CHUNK_SIZE)):
            write_rows(connection, COLUMN_TYPES, map(_with_rare_values, chunk))
            yield (loaded_rows := loaded_rows + len(chunk))

    def make_key(self, tier: str) -> str:
        """A new key that sees `tier` and what is below; asked while the store is served."""
        key_process = subprocess.run(
            [
                sys.executable,
                "manage.py",
                "shell",
                "--no-imports",
                "-c",
                MAKE_LOW_KEY % {"tier": tier, "number": os.urandom(4).hex()},
            ],
            cwd=ROOT,
            env=os.environ | {"MEMORYHUB_HOME": str(self.home)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return key_process.stdout.split()[-1]


def _with_rare_values(row: Row) -> dict[str, Any]:
    """A row's values. Some rows have a rare one, visible and hidden rows as often, and no row two of them."""
    bucket = crc32(row.payload_id.encode()) % RARE_INTERVAL
    rare = list(UNINDEXED_PARAMS)[bucket : bucket + 1]
    return row_values(row) | {name: UNINDEXED_PARAMS[name]["rare"] for name in rare}


def measure_hidden(count: int, hidden: int, times: int) -> list[TimingPair]:
    """Every read route of both stores, asked by a low key, and the filters without an index by a public one."""
    baseline_store, with_hidden = HiddenStore(count, 0), HiddenStore(count, hidden)
    for store in (baseline_store, with_hidden):
        with store.serve():
            store.fill()
    with baseline_store.serve() as baseline_client, with_hidden.serve() as hidden_client:
        pairs: list[TimingPair] = []
        for tier, timing_pairs in (
            (LOW_TIER, _measure_pairs(baseline_client, hidden_client, baseline_store, times)),
            (PUBLIC_TIER, _unindexed_pairs(baseline_client, hidden_client, times // 10)),
        ):
            for client, store in ((baseline_client, baseline_store), (hidden_client, with_hidden)):
                client.headers["Authorization"] = f"Bearer {store.make_key(tier)}"
            pairs += timing_pairs
        return pairs


def _unindexed_pairs(baseline_client: httpx.Client, hidden_client: httpx.Client, times: int) -> Iterator[TimingPair]:
    """For a public key: in both stores there are memories that it may not see, in one of them `hidden` more."""
    for route, path in (("list", "/api/memories"), ("facets", "/api/facets")):
        for name, values in UNINDEXED_PARAMS.items():
            for kind, value in values.items():
                label = f"{route}, public key, by {kind} {name}"
                yield _measure_pair(
                    label, baseline_client, hidden_client, [path, path], partial(_constant_params, {name: value}), times
                )


def _constant_params(params: Params, _: Random) -> Params:
    return dict(params)


def _measure_pairs(
    baseline_client: httpx.Client, hidden_client: httpx.Client, store: Store, times: int
) -> Iterator[TimingPair]:
    newest = [
        timed_get(client, "/api/memories", {"limit": "1"})[1]["records"][0]
        for client in (baseline_client, hidden_client)
    ]
    details = [f"/api/memories/{record['memory_id']}" for record in newest]
    routes = {"/api/memories": list_questions(store), "/api/facets": facet_questions(store)}
    for path, param_makers in routes.items():
        # The first query of a route `times` times, its other queries a tenth as often.
        for index, (name, make_params) in enumerate(param_makers.items()):
            yield _measure_pair(
                name, baseline_client, hidden_client, [path, path], make_params, times // 10 if index else times
            )
    for name, path in {"histogram": "/api/histogram", "status": "/api/status"}.items():
        yield _measure_pair(name, baseline_client, hidden_client, [path, path], lambda _: {}, times)
    yield _measure_pair("detail", baseline_client, hidden_client, details, lambda _: {}, times)
    yield _measure_pair(
        "versions", baseline_client, hidden_client, [f"{path}/versions" for path in details], lambda _: {}, times
    )


def _measure_pair(
    name: str,
    baseline_client: httpx.Client,
    hidden_client: httpx.Client,
    paths: list[str],
    make_params: Callable[[Random], Params],
    times: int,
) -> TimingPair:
    pair = TimingPair(name)
    for iteration in range(times + WARM_UP_TIMES):
        params = make_params(Random(iteration)) | ({"limit": str(PAGE_LIMIT)} if name.startswith("list") else {})
        requests = [(baseline_client, paths[0], pair.without_hidden), (hidden_client, paths[1], pair.with_hidden)]
        # Who is asked first would be asked with a colder cache, or a warmer one.
        for client, path, timings in requests if iteration % 2 else reversed(requests):
            seconds, _ = timed_get(client, path, params)
            if iteration >= WARM_UP_TIMES:
                timings.append(seconds)
    print(f"{name}: {pair.difference:+.2f} ms of {median(pair.without_hidden):.1f}", file=sys.stderr)
    return pair


def measure_servers(addresses: list[str], keys: list[str], times: int) -> TimingPair:
    """The list page of two running servers over the same store, asked in turns: without row security, and with it."""
    headers = [{"Authorization": f"Bearer {key}"} for key in keys]
    with (
        httpx.Client(base_url=addresses[0], headers=headers[0], timeout=120) as first_client,
        httpx.Client(base_url=addresses[1], headers=headers[1], timeout=120) as second_client,
    ):
        return _measure_pair(
            "list, unfiltered", first_client, second_client, ["/api/memories"] * 2, lambda _: {}, times
        )
