"""Writing over HTTP, beside a COPY of the same rows in one transaction straight through psycopg."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any
from uuid import uuid4

import httpx

from tests.benchmarks.generate import Row, as_floats, rows
from tests.benchmarks.pages import Timing
from tests.benchmarks.store import DIMENSIONS, Store, copy_rows

BATCH, BATCHES, CLIENTS = 1_000, 20, 2


def measure_writes(client: httpx.Client, store: Store, times: int) -> list[Timing]:
    """Fresh memories with embeddings each time: a benchmark that is run again replays nothing."""
    with store.connect() as connection:
        run = uuid4().hex[:12]
        single, bare_single = _fresh(times, f"{run}-a"), _fresh(times, f"{run}-b")
        one = Timing("single write")
        for over_http, bare in zip(single, bare_single, strict=True):
            one.http.append(_post(client, _envelope(over_http)))
            one.sql.append(_copy(connection, [bare]))
        many = Timing("batch of 1,000")
        for number in range(BATCHES):
            batch = list(_fresh(BATCH, f"{run}-c{number}"))
            many.http.append(_post(client, [_envelope(row) for row in batch]))
            many.sql.append(_copy(connection, list(_fresh(BATCH, f"{run}-d{number}"))))
    return [one, many]


def rows_per_second(timing: Timing) -> float:
    return BATCH / (median(timing.http) / 1000)


def measure_throughput(address: str, key: str) -> float:
    """Rows a second while two clients, one for each worker, post batches of 1,000 at once."""
    run = uuid4().hex[:12]
    batches = [
        [json.dumps([_envelope(row) for row in _fresh(BATCH, f"{run}-{client}-{number}")]) for number in range(5)]
        for client in range(CLIENTS)
    ]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def post(bodies: list[str]) -> None:
        with httpx.Client(base_url=address, headers=headers, timeout=120) as client:
            for body in bodies:
                assert client.post("/api/memories", content=body).json()["created"] == BATCH

    with ThreadPoolExecutor(CLIENTS) as clients:
        started = time.perf_counter()
        list(clients.map(post, batches))
        return sum(map(len, batches)) * BATCH / (time.perf_counter() - started)


def _fresh(count: int, tag: str) -> Iterator[Row]:
    for row in rows(count, seed=99, dimensions=DIMENSIONS):
        yield row._replace(payload_id=f"{tag}-{row.payload_id}")


def _envelope(row: Row) -> dict[str, Any]:
    return row._asdict() | {"timestamp": row.timestamp.isoformat(), "embedding": list(as_floats(row.embedding or b""))}


def _post(client: httpx.Client, body: Any) -> float:
    request = client.build_request("POST", "/api/memories", json=body)
    started = time.perf_counter()
    answer = client.send(request)
    spent = (time.perf_counter() - started) * 1000
    assert answer.status_code in (200, 201), answer.text
    return spent


def _copy(connection: Any, batch: list[Row]) -> float:
    started = time.perf_counter()
    copy_rows(connection, batch)
    return (time.perf_counter() - started) * 1000
