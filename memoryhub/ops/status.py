"""How the hub is doing, as far as a caller may know."""

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from memoryhub.firewall.types import Clearance, Principal
from memoryhub.memories import clock, facets
from memoryhub.memories.models import Memory
from memoryhub.ops import reads
from memoryhub.version import VERSION

DURABILITY = ("fsync", "synchronous_commit", "full_page_writes", "data_checksums")
STARTED = time.monotonic()


@dataclass(frozen=True, slots=True)
class Writes:
    total: int
    last_minute: int


def status(reader: Principal) -> dict[str, Any]:
    """The fields of `GET /api/status`; every count is of what `reader` may see or did."""
    written = writes(reader.clearance)
    read_total, read_lately = reads.counts(reader)
    durability = _durability()
    horizon, lag = clock.horizon()
    return {
        "status": "ok",
        "version": VERSION,
        "uptime_seconds": int(time.monotonic() - STARTED),
        "pid": os.getpid(),
        "bind": f"{settings.MEMORYHUB.bind}:{settings.MEMORYHUB.port}",
        "memories_total": facets.total(reader.clearance),
        "writes_total": written.total,
        "writes_1m": written.last_minute,
        "reads_total": read_total,
        "reads_1m": read_lately,
        "database": {"healthy": True, "version": _server_version()},
        "destinations": [],
        "horizon": horizon,
        "lag_seconds": round(lag, 3),
        "durability": {**durability, "durable": all(value == "on" for value in durability.values())},
    }


def writes(clearance: Clearance) -> Writes:
    """Versions that `clearance` may see: ever written, and recorded in the last minute."""
    lately = datetime.now(UTC) - timedelta(minutes=1)
    seen = Memory.objects.visible_to(clearance)
    return Writes(facets.written(clearance), seen.recorded_after(lately).count())


def pending_migrations() -> bool:
    """Whether the database's schema is behind the code's. Raises what the database raises."""
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _durability() -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(DURABILITY)])
        return dict(sorted(cursor.fetchall()))


def _server_version() -> str:
    number: int = connection.pg_version  # type: ignore[attr-defined]
    return f"{number // 10_000}.{number % 10_000}"
