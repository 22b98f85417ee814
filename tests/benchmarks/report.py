"""RESULTS.md: what was measured, on what, and how."""

from datetime import date
from pathlib import Path
from statistics import median

from tests.benchmarks.pages import Timing, p95
from tests.benchmarks.writes import rows_per_second

METHOD = """\
How: `make bench`. The product itself is served (`manage.py serve`: granian, 2 workers of 2 threads, embedded
PostgreSQL 18) and asked over HTTP on localhost by one client with a kept connection and the admin's key; right after
each request the same SQL goes straight through psycopg, so that both meet the same caches and the same noise. 200
varied questions each, 20 before them to warm up. Times are milliseconds, p50 / p95. Client, server and database share
the machine's cores. Read the ratios; the milliseconds belong to this machine.
"""


def write_report(
    path: Path,
    *,
    machine: str,
    day: date,
    rows: int,
    filled: float | None,
    pages: list[Timing],
    writes: list[Timing],
    throughput: float,
    growth: list[tuple[str, float, float]],
) -> None:
    batch = writes[-1]
    lines = [
        "# What memoryhub costs",
        "",
        f"{day.isoformat()}, {machine}; {rows:,} generated memories with 384-d embeddings.",
        "",
        METHOD,
        "## Reading (pages of 50)",
        "",
        *_table(pages),
        "",
        "## Writing (with 384-d embeddings; beside it one COPY transaction of the same rows)",
        "",
        *_table(writes),
        "",
        f"Batches of 1,000 over HTTP: {rows_per_second(batch):,.0f} rows/s from one client,"
        f" {throughput:,.0f} rows/s from two at once.",
        *(
            [f"Loading the store: {rows / filled:,.0f} rows/s with its inverted indexes built at the end."]
            if filled
            else []
        ),
        "",
        "## Growth: the list page (p50 over HTTP, asked in turns in one run)",
        "",
        "| page | small store | large store | ratio |",
        "|---|---|---|---|",
        *(f"| {name} | {small:.1f} | {large:.1f} | {large / small:.2f} |" for name, small, large in growth),
    ]
    path.write_text("\n".join(lines) + "\n")


def _table(timings: list[Timing]) -> list[str]:
    return [
        "| question | HTTP p50 / p95 | SQL p50 / p95 | ratio of p50 |",
        "|---|---|---|---|",
        *(f"| {t.name} | {_pair(t.http)} | {_pair(t.sql)} | {t.ratio:.1f} |" for t in timings),
    ]


def _pair(milliseconds: list[float]) -> str:
    return f"{median(milliseconds):.1f} / {p95(milliseconds):.1f}"
