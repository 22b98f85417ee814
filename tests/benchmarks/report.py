"""RESULTS.md: what was measured, on what, and how."""

from datetime import date
from pathlib import Path
from statistics import median

from tests.benchmarks.audit_log import AppendResult
from tests.benchmarks.hidden_rows import TimingPair
from tests.benchmarks.pages import Timing, p95
from tests.benchmarks.writes import rows_per_second

METHOD_TEXT = """\
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
    fill_seconds: float | None,
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
        METHOD_TEXT,
        "## Reading (pages of 50)",
        "",
        *_timing_table(pages),
        "",
        "## Writing (with 384-d embeddings; beside it one COPY transaction of the same rows)",
        "",
        *_timing_table(writes),
        "",
        f"Batches of 1,000 over HTTP: {rows_per_second(batch):,.0f} rows/s from one client,"
        f" {throughput:,.0f} rows/s from two at once.",
        *(
            [f"Loading the store: {rows / fill_seconds:,.0f} rows/s with its inverted indexes built at the end."]
            if fill_seconds
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


def hidden_section(pairs: list[TimingPair], *, rows: int, hidden: int, times: int) -> list[str]:
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
            f"| {p.name} | {len(p.without_hidden):,} | {median(p.without_hidden):.2f} | {median(p.with_hidden):.2f}"
            f" | {p.difference:+.2f} | {p.limit:.2f} | {p.effect:.3f}"
            f" | {'yes' if abs(p.difference) < p.limit else '**no**'} |"
            for p in pairs
        ),
    ]


def servers_section(pair: TimingPair) -> list[str]:
    """The lines of "Cost of row security"."""
    ratio = median(pair.with_hidden) / median(pair.without_hidden)
    return [
        "## Cost of row security",
        "",
        "| page | without row security and audit log | with | ratio |",
        "|---|---|---|---|",
        f"| {pair.name} | {median(pair.without_hidden):.2f} | {median(pair.with_hidden):.2f} | {ratio:.2f} |",
    ]


def audit_log_section(appends: list[AppendResult], writers: int) -> list[str]:
    """The lines of "Appending to the audit log"."""
    return [
        "## Appending to the audit log",
        "",
        f"{writers} writers at once, each in transactions of its own; milliseconds until COMMIT has returned.",
        "",
        "| asked for | appended | p50 / p95 |",
        "|---|---|---|",
        *(
            f"| {f'{a.target_rate:,} a second' if a.target_rate else 'as many as go'} | {a.per_second:,.0f} a second"
            f" | {_format_milliseconds(a.seconds)} |"
            for a in appends
        ),
    ]


def history_section(timings: list[tuple[Timing, str]], *, rows: int, changed_rows: int) -> list[str]:
    """The lines of "Time travel"."""
    by_name = {timing.name: timing for timing, _ in timings}

    def line(timing: Timing, note: str) -> str:
        ratio = f"{median(timing.http) / median(by_name[note].http):.2f}" if note else ""
        sql_time = _format_milliseconds(timing.sql) if any(timing.sql) else ""
        return f"| {timing.name} | {_format_milliseconds(timing.http)} | {sql_time} | {ratio} |"

    return [
        "## Time travel",
        "",
        f"{rows:,} memories and {changed_rows:,} superseded versions of them; record time follows event time"
        " within minutes, a change within a month. Pages of 50 over HTTP at instants so far into it; beside them the"
        " same SQL.",
        "",
        "| question | HTTP p50 / p95 | SQL p50 / p95 | p50 of the same page now |",
        "|---|---|---|---|",
        *(line(timing, remark) for timing, remark in timings),
    ]


def replace_section(path: Path, lines: list[str]) -> None:
    """Put a section in the place of the one with the same title, or at the end."""
    before, _, rest = path.read_text().partition(f"{lines[0]}\n") if path.exists() else ("", "", "")
    _, title, after = rest.partition("\n## ")
    path.write_text(f"{before.rstrip()}\n\n" + "\n".join(lines) + "\n" + (f"{title}{after}" if title else ""))


def _timing_table(timings: list[Timing]) -> list[str]:
    return [
        "| question | HTTP p50 / p95 | SQL p50 / p95 | ratio of p50 |",
        "|---|---|---|---|",
        *(
            f"| {t.name} | {_format_milliseconds(t.http)} | {_format_milliseconds(t.sql)} | {t.ratio:.1f} |"
            for t in timings
        ),
    ]


def _format_milliseconds(milliseconds: list[float]) -> str:
    return f"{median(milliseconds):.1f} / {p95(milliseconds):.1f}"
