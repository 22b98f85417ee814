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

from memoryhub.memories.ingest import COLUMNS
from tests.benchmarks.generate import Row, rows
from tests.benchmarks.pages import LIMIT, Params, facet_questions, get, questions
from tests.benchmarks.store import CHUNK, DIMENSIONS, ROOT, Store, values_of, write_rows

HIGHEST, LOW, PUBLIC = "restricted", "confidential", "public"
WARM_UP = 20
LOW_KEY = """
from django.contrib.auth.models import User
from memoryhub.firewall.models import ApiKey, ClearanceRecord
held, _ = ClearanceRecord.objects.get_or_create(name="bench-%(tier)s", defaults={"max_tier": "%(tier)s"})
owner, _ = User.objects.get_or_create(username="bench-low")
print(ApiKey.objects.create(owner, name="bench-%(tier)s-%(number)s", scopes=["read"], clearance=held)[1])
"""
# Filters that no index answers, with a value that one memory in RARE_IN has and one that none has.
UNINDEXED = {
    **{name: {"rare": "rare", "absent": "nowhere"} for name in ("model", "role", "actor_id", "destination")},
    "status": {"rare": "retired", "absent": "erased"},
}
RARE_IN = 5_000


@dataclass
class Pair:
    """Milliseconds of one question asked many times, without hidden rows and with them."""

    name: str
    without: list[float] = field(default_factory=list)
    hidden: list[float] = field(default_factory=list)

    @property
    def difference(self) -> float:
        return median(self.hidden) - median(self.without)

    @property
    def limit(self) -> float:
        return max(median(self.without) * 0.05, 1.0)

    @property
    def effect(self) -> float:
        """|A - 0.5| of Mann and Whitney: how far it is from a coin's toss which of two answers came later."""
        ranked = sorted([(spent, 0) for spent in self.without] + [(spent, 1) for spent in self.hidden])
        ranks = sum(rank for rank, (_, is_hidden) in enumerate(ranked, 1) if is_hidden)
        number = len(self.hidden)
        return abs((ranks - number * (number + 1) / 2) / (number * len(self.without)) - 0.5)


class HiddenStore(Store):
    """Memories of the lower tiers, and `hidden` ones beyond them that are newer and like them in all other ways."""

    def __init__(self, count: int, hidden: int) -> None:
        super().__init__(count + hidden, home=f"bench-{count}-hidden-{hidden}-rare")
        self.visible, self.hidden = count, hidden

    def generated(self) -> Iterator[Row]:
        for row in rows(self.visible, dimensions=DIMENSIONS):
            yield row._replace(classification_tier=LOW) if row.classification_tier == HIGHEST else row
        for row in rows(self.hidden, dimensions=DIMENSIONS):
            newer = row.timestamp + timedelta(days=1_000)
            yield row._replace(payload_id=f"hidden-{row.payload_id}", classification_tier=HIGHEST, timestamp=newer)

    def load(self, connection: psycopg.Connection[Any]) -> Iterator[int]:
        generated, done = self.generated(), 0
        while chunk := list(islice(generated, CHUNK)):
            write_rows(connection, COLUMNS, map(_with_rarities, chunk))
            yield (done := done + len(chunk))

    def key(self, tier: str) -> str:
        """A new key that sees `tier` and what is below; asked while the store is served."""
        made = subprocess.run(
            [
                sys.executable,
                "manage.py",
                "shell",
                "--no-imports",
                "-c",
                LOW_KEY % {"tier": tier, "number": os.urandom(4).hex()},
            ],
            cwd=ROOT,
            env=os.environ | {"MEMORYHUB_HOME": str(self.home)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return made.stdout.split()[-1]


def _with_rarities(row: Row) -> dict[str, Any]:
    """A row's values. Some rows have a rare one, visible and hidden rows as often, and no row two of them."""
    number = crc32(row.payload_id.encode()) % RARE_IN
    rare = list(UNINDEXED)[number : number + 1]
    return values_of(row) | {name: UNINDEXED[name]["rare"] for name in rare}


def measure_hidden(count: int, hidden: int, times: int) -> list[Pair]:
    """Every read route of both stores, asked by a low key, and the filters without an index by a public one."""
    without, with_hidden = HiddenStore(count, 0), HiddenStore(count, hidden)
    for store in (without, with_hidden):
        with store.served():
            store.fill()
    with without.served() as here, with_hidden.served() as there:
        pairs: list[Pair] = []
        for tier, asked in ((LOW, _pairs(here, there, without, times)), (PUBLIC, _unindexed(here, there, times // 10))):
            for client, store in ((here, without), (there, with_hidden)):
                client.headers["Authorization"] = f"Bearer {store.key(tier)}"
            pairs += asked
        return pairs


def _unindexed(here: httpx.Client, there: httpx.Client, times: int) -> Iterator[Pair]:
    """For a public key: in both stores there are memories that it may not see, in one of them `hidden` more."""
    for route, path in (("list", "/api/memories"), ("facets", "/api/facets")):
        for name, values in UNINDEXED.items():
            for kind, value in values.items():
                asked = f"{route}, public key, by {kind} {name}"
                yield _ask(asked, here, there, [path, path], partial(_always, {name: value}), times)


def _always(params: Params, _: Random) -> Params:
    return dict(params)


def _pairs(here: httpx.Client, there: httpx.Client, store: Store, times: int) -> Iterator[Pair]:
    newest = [get(client, "/api/memories", {"limit": "1"})[1]["records"][0] for client in (here, there)]
    details = [f"/api/memories/{found['memory_id']}" for found in newest]
    routes = {"/api/memories": questions(store), "/api/facets": facet_questions(store)}
    for path, asked in routes.items():
        # A route as often as was told, what else it can be asked a tenth as often.
        for place, (name, make) in enumerate(asked.items()):
            yield _ask(name, here, there, [path, path], make, times // 10 if place else times)
    for name, path in {"histogram": "/api/histogram", "status": "/api/status"}.items():
        yield _ask(name, here, there, [path, path], lambda _: {}, times)
    yield _ask("detail", here, there, details, lambda _: {}, times)
    yield _ask("versions", here, there, [f"{path}/versions" for path in details], lambda _: {}, times)


def _ask(
    name: str,
    here: httpx.Client,
    there: httpx.Client,
    paths: list[str],
    make: Callable[[Random], Params],
    times: int,
) -> Pair:
    pair = Pair(name)
    for number in range(times + WARM_UP):
        params = make(Random(number)) | ({"limit": str(LIMIT)} if name.startswith("list") else {})
        asked = [(here, paths[0], pair.without), (there, paths[1], pair.hidden)]
        # Who is asked first would be asked with a colder cache, or a warmer one.
        for client, path, spent in asked if number % 2 else reversed(asked):
            took, _ = get(client, path, params)
            if number >= WARM_UP:
                spent.append(took)
    print(f"{name}: {pair.difference:+.2f} ms of {median(pair.without):.1f}", file=sys.stderr)
    return pair


def measure_walls(addresses: list[str], keys: list[str], times: int) -> Pair:
    """The list page of two running servers over the same store, asked in turns: without the walls, and with them."""
    headers = [{"Authorization": f"Bearer {key}"} for key in keys]
    with (
        httpx.Client(base_url=addresses[0], headers=headers[0], timeout=120) as here,
        httpx.Client(base_url=addresses[1], headers=headers[1], timeout=120) as there,
    ):
        return _ask("list, unfiltered", here, there, ["/api/memories"] * 2, lambda _: {}, times)
