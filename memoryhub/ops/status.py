"""How the hub is doing, as far as a caller may know."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from memoryhub.firewall.types import Clearance, Principal, Scope
from memoryhub.memories import clock, facets
from memoryhub.memories.models import Memory
from memoryhub.ops import process, reads
from memoryhub.version import VERSION

DURABILITY = ("fsync", "synchronous_commit", "full_page_writes", "data_checksums")
MAX_LAG_SECONDS = 60.0
"""A record that is complete only up to an earlier instant than that is a sign of a writer that hangs."""


@dataclass(frozen=True, slots=True)
class Writes:
    total: int
    last_minute: int


def status(reader: Principal) -> dict[str, Any]:
    """The fields of `GET /api/status`, all of them measured; every count is of what `reader` may see or did.

    The counts are those of the database, the same whichever worker is asked.
    """
    is_writable = _is_writable()
    written = writes(reader.clearance)
    read_total, read_lately = reads.counts(reader)
    durability = _durability()
    horizon, lag = clock.horizon()
    reasons = list(_reasons(is_writable=is_writable, durability=durability, lag_seconds=lag))
    return {
        "status": "degraded" if reasons else "ok",
        **({"reasons": reasons} if reader.may(Scope.ADMIN) else {}),
        "version": VERSION,
        "uptime_seconds": int(process.uptime_seconds()),
        "pid": process.pid(),
        "bind": f"{settings.MEMORYHUB.bind}:{settings.MEMORYHUB.port}",
        "memories_total": facets.total(reader.clearance),
        "writes_total": written.total,
        "writes_1m": written.last_minute,
        "reads_total": read_total,
        "reads_1m": read_lately,
        "database": {"healthy": is_writable, "version": _server_version()},
        "destinations": [],
        "horizon": horizon,
        "lag_seconds": round(lag, 3),
        "durability": {**durability, "durable": _is_durable(durability)},
    }


def _reasons(*, is_writable: bool, durability: dict[str, str], lag_seconds: float) -> Iterator[str]:
    """Sentences for an administrator: why the hub is degraded."""
    if not is_writable:
        yield "The database accepts no writes at the moment."
    elif lag_seconds > MAX_LAG_SECONDS:
        yield f"A transaction has been writing for {lag_seconds:,.0f} seconds: later writes are not in the record yet."
    if not _is_durable(durability):
        off = ", ".join(name for name, value in durability.items() if value != "on")
        yield f"A crash may lose what was stored: PostgreSQL's settings are not all on ({off})."


def _is_durable(durability: dict[str, str]) -> bool:
    return all(value == "on" for value in durability.values())


def _is_writable() -> bool:
    """Whether the database accepts writes from this connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_read_only') = 'off'")
        (is_writable,) = cursor.fetchone()
    return bool(is_writable)


def writes(clearance: Clearance) -> Writes:
    """Versions that `clearance` may see: ever written, and recorded in the last minute."""
    lately = datetime.now(UTC) - timedelta(minutes=1)
    seen = Memory.objects.visible_to(clearance)
    return Writes(facets.written(clearance), seen.recorded_after(lately).count())


def _durability() -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(DURABILITY)])
        return dict(sorted(cursor.fetchall()))


def _server_version() -> str:
    number: int = connection.pg_version  # type: ignore[attr-defined]
    return f"{number // 10_000}.{number % 10_000}"
