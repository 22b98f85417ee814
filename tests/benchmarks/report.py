"""RESULTS.md: what was measured, on what, and how."""

from datetime import date
from pathlib import Path
from statistics import median

from tests.benchmarks.hidden import Pair
from tests.benchmarks.ledger import Appends
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


def hidden_section(pairs: list[Pair], *, rows: int, hidden: int, times: int) -> list[str]:
    """The lines of "Hidden rows": two stores that a low key sees as one and the same."""
    return [
        "## Hidden rows",
        "",
        f"{rows:,} memories that a low key may see; beside them none, or {hidden:,} that it may not see, newer and like"
        f" them in all other ways. {times:,} pairs of requests a route over HTTP, in turns; medians in ms.",
        "A is the chance that the answer with hidden rows is the later of two.",
        "",
        "| question | pairs | without | with | difference | limit | &#124;A - 0.5&#124; | holds |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {p.name} | {len(p.without):,} | {median(p.without):.2f} | {median(p.hidden):.2f} | {p.difference:+.2f}"
            f" | {p.limit:.2f} | {p.effect:.3f} | {'yes' if abs(p.difference) < p.limit else '**no**'} |"
            for p in pairs
        ),
    ]


def walls_section(pair: Pair) -> list[str]:
    """The lines of "Cost of the walls"."""
    ratio = median(pair.hidden) / median(pair.without)
    return [
        "## Cost of the walls",
        "",
        "| page | without walls and ledger | with | ratio |",
        "|---|---|---|---|",
        f"| {pair.name} | {median(pair.without):.2f} | {median(pair.hidden):.2f} | {ratio:.2f} |",
    ]


def ledger_section(appends: list[Appends], writers: int) -> list[str]:
    """The lines of "Appending to the ledger"."""
    return [
        "## Appending to the ledger",
        "",
        f"{writers} writers at once, each in transactions of its own; milliseconds until COMMIT has returned.",
        "",
        "| asked for | appended | p50 / p95 |",
        "|---|---|---|",
        *(
            f"| {f'{a.wanted:,} a second' if a.wanted else 'as many as go'} | {a.per_second:,.0f} a second"
            f" | {_pair(a.spent)} |"
            for a in appends
        ),
    ]


def history_section(timings: list[tuple[Timing, str]], *, rows: int, changed: int) -> list[str]:
    """The lines of "Time travel"."""
    by_name = {timing.name: timing for timing, _ in timings}

    def line(timing: Timing, beside: str) -> str:
        ratio = f"{median(timing.http) / median(by_name[beside].http):.2f}" if beside else ""
        bare = _pair(timing.sql) if any(timing.sql) else ""
        return f"| {timing.name} | {_pair(timing.http)} | {bare} | {ratio} |"

    return [
        "## Time travel",
        "",
        f"{rows:,} memories and {changed:,} superseded versions of them; record time follows event time within minutes,"
        " a change within a month. Pages of 50 over HTTP at instants so far into it; beside them the same SQL.",
        "",
        "| question | HTTP p50 / p95 | SQL p50 / p95 | p50 of the same page now |",
        "|---|---|---|---|",
        *(line(timing, beside) for timing, beside in timings),
    ]


def replace_section(path: Path, lines: list[str]) -> None:
    """Put a section in the place of the one with the same title, or at the end."""
    before, _, rest = path.read_text().partition(f"{lines[0]}\n") if path.exists() else ("", "", "")
    _, title, after = rest.partition("\n## ")
    path.write_text(f"{before.rstrip()}\n\n" + "\n".join(lines) + "\n" + (f"{title}{after}" if title else ""))


def _table(timings: list[Timing]) -> list[str]:
    return [
        "| question | HTTP p50 / p95 | SQL p50 / p95 | ratio of p50 |",
        "|---|---|---|---|",
        *(f"| {t.name} | {_pair(t.http)} | {_pair(t.sql)} | {t.ratio:.1f} |" for t in timings),
    ]


def _pair(milliseconds: list[float]) -> str:
    return f"{median(milliseconds):.1f} / {p95(milliseconds):.1f}"
