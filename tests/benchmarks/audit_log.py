"""Appending to the hash chain of the audit log by many writers at once (CC-10)."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from django.db import connection, transaction

from memoryhub.audit import log
from memoryhub.audit.actions import AuditAction
from memoryhub.audit.clearance_snapshot import ClearanceSnapshot
from tests.benchmarks.store import Store

WRITER_COUNT, ENTRIES_PER_WRITER = 16, 60
RATES = (0, 50, 200)
"""Appends a second of all writers together; 0 is as many as go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendResult:
    target_rate: int
    per_second: float
    seconds: list[float]
    """Milliseconds of each."""


def measure_appends(store: Store) -> list[AppendResult]:
    """Threads of this process, each with a connection of its own; `store` is the default database and is served."""
    with store.serve():
        _measure_rate(0)
        return [_measure_rate(rate) for rate in RATES]


def _measure_rate(rate: int) -> AppendResult:
    start_time = time.perf_counter()
    with ThreadPoolExecutor(WRITER_COUNT) as writers:
        writer_seconds = list(
            writers.map(lambda writer_index: _run_writer(writer_index, rate, start_time), range(WRITER_COUNT))
        )
    seconds = time.perf_counter() - start_time
    timings = [milliseconds for writer_times in writer_seconds for milliseconds in writer_times]
    return AppendResult(target_rate=rate, per_second=len(timings) / seconds, seconds=timings)


def _run_writer(writer_index: int, rate: int, start_time: float) -> list[float]:
    event = log.AuditEvent(
        principal=f"bench:{writer_index}",
        action=AuditAction.MEMORY_WRITE,
        clearance_snapshot=ClearanceSnapshot(tiers=["public"]),
    )
    timings = []
    for turn in range(ENTRIES_PER_WRITER):
        if rate:
            time.sleep(max(0.0, start_time + (turn * WRITER_COUNT + writer_index) / rate - time.perf_counter()))
        before = time.perf_counter()
        with transaction.atomic():
            log.append_events(event)
        timings.append((time.perf_counter() - before) * 1000)
    connection.close()
    return timings
