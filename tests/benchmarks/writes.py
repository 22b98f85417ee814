"""Writing over HTTP, beside a COPY of the same rows in one transaction straight through psycopg."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any
from uuid import uuid4

import httpx

from tests.benchmarks.generate import Row, decode_embedding, generate_rows
from tests.benchmarks.pages import Timing
from tests.benchmarks.store import DIMENSIONS, Store, copy_rows

BATCH_SIZE, BATCH_COUNT, CLIENT_COUNT = 1_000, 20, 2


def measure_writes(client: httpx.Client, store: Store, times: int) -> list[Timing]:
    """Fresh memories with embeddings each time: a benchmark that is run again replays nothing."""
    with store.connect() as connection:
        run = uuid4().hex[:12]
        single, bare_single = _fresh_rows(times, f"{run}-a"), _fresh_rows(times, f"{run}-b")
        single_write = Timing("single write")
        for over_http, sql_seconds in zip(single, bare_single, strict=True):
            single_write.http.append(_timed_post(client, _make_envelope(over_http)))
            single_write.sql.append(_timed_copy(connection, [sql_seconds]))
        batch_write = Timing("batch of 1,000")
        for batch_index in range(BATCH_COUNT):
            batch = list(_fresh_rows(BATCH_SIZE, f"{run}-c{batch_index}"))
            batch_write.http.append(_timed_post(client, [_make_envelope(row) for row in batch]))
            batch_write.sql.append(_timed_copy(connection, list(_fresh_rows(BATCH_SIZE, f"{run}-d{batch_index}"))))
    return [single_write, batch_write]


def rows_per_second(timing: Timing) -> float:
    return BATCH_SIZE / (median(timing.http) / 1000)


def measure_throughput(url: str, key: str) -> float:
    """Rows a second while two clients, one for each worker, post batches of 1,000 at once."""
    run = uuid4().hex[:12]
    batches = [
        [
            json.dumps([_make_envelope(row) for row in _fresh_rows(BATCH_SIZE, f"{run}-{client}-{batch_index}")])
            for batch_index in range(5)
        ]
        for client in range(CLIENT_COUNT)
    ]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def post_batches(bodies: list[str]) -> None:
        with httpx.Client(base_url=url, headers=headers, timeout=120) as client:
            for body in bodies:
                assert client.post("/api/memories", content=body).json()["created"] == BATCH_SIZE

    with ThreadPoolExecutor(CLIENT_COUNT) as clients:
        start_time = time.perf_counter()
        list(clients.map(post_batches, batches))
        return sum(map(len, batches)) * BATCH_SIZE / (time.perf_counter() - start_time)


def _fresh_rows(count: int, tag: str) -> Iterator[Row]:
    for row in generate_rows(count, seed=99, dimensions=DIMENSIONS):
        yield row._replace(payload_id=f"{tag}-{row.payload_id}")


def _make_envelope(row: Row) -> dict[str, Any]:
    return row._asdict() | {
        "timestamp": row.timestamp.isoformat(),
        "embedding": list(decode_embedding(row.embedding or b"")),
    }


def _timed_post(client: httpx.Client, body: Any) -> float:
    request = client.build_request("POST", "/api/memories", json=body)
    start_time = time.perf_counter()
    response = client.send(request)
    elapsed = (time.perf_counter() - start_time) * 1000
    assert response.status_code in (200, 201), response.text
    return elapsed


def _timed_copy(connection: Any, batch: list[Row]) -> float:
    start_time = time.perf_counter()
    copy_rows(connection, batch)
    return (time.perf_counter() - start_time) * 1000
