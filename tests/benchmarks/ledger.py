"""Appending to the chain of the ledger by many writers at once (threats.md, CC-10)."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from django.db import connection, transaction

from memoryhub.audit import ledger
from tests.benchmarks.store import Store

WRITERS, EACH = 16, 60
RATES = (0, 50, 200)
"""Appends a second of all writers together; 0 is as many as go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appends:
    wanted: int
    per_second: float
    spent: list[float]
    """Milliseconds of each."""


def measure_appends(store: Store) -> list[Appends]:
    """Threads of this process, each with a connection of its own; `store` is the default database and is served."""
    with store.served():
        _appends(0)
        return [_appends(rate) for rate in RATES]


def _appends(rate: int) -> Appends:
    started = time.perf_counter()
    with ThreadPoolExecutor(WRITERS) as writers:
        found = list(writers.map(lambda number: _writer(number, rate, started), range(WRITERS)))
    took = time.perf_counter() - started
    spent = [milliseconds for of_one in found for milliseconds in of_one]
    return Appends(wanted=rate, per_second=len(spent) / took, spent=spent)


def _writer(number: int, rate: int, started: float) -> list[float]:
    event = ledger.Event(principal=f"bench:{number}", action="memory.write", reach=ledger.Reach(tiers=["public"]))
    spent = []
    for turn in range(EACH):
        if rate:
            time.sleep(max(0.0, started + (turn * WRITERS + number) / rate - time.perf_counter()))
        before = time.perf_counter()
        with transaction.atomic():
            ledger.append(event)
        spent.append((time.perf_counter() - before) * 1000)
    connection.close()
    return spent
