"""The status of the hub, limited to what the caller may know."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NotRequired

from django.conf import settings
from django.db import connection
from pydantic import Field
from typing_extensions import TypedDict

from memoryhub.access_log import read_log
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories import clock, facets
from memoryhub.memories.models import Memory
from memoryhub.operations import process
from memoryhub.operations.background_jobs import BACKGROUND_JOBS
from memoryhub.operations.worker_status import WorkerStatus, get_worker_status, list_jobs
from memoryhub.version import VERSION

DURABILITY_SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "data_checksums")
MAX_LAG_SECONDS = 60.0
"""A higher watermark lag suggests a writing transaction that hangs."""


@dataclass(frozen=True, slots=True)
class WriteCounts:
    total: int
    last_minute: int


class DatabaseStatus(TypedDict):
    """Whether the database accepts writes, and its version."""

    healthy: bool
    version: str


class HubStatus(TypedDict):
    """The status of the hub: all fields are measured, and counts are limited to what the caller may see."""

    status: Annotated[
        Literal["ok", "degraded"],
        Field(description="`degraded`: the database accepts no writes, a crash may lose some, or a writing "
        "transaction hangs."),
    ]  # fmt: skip
    reasons: NotRequired[Annotated[list[str], Field(description="Why the hub is degraded, for an admin.")]]
    version: str
    uptime_seconds: Annotated[int, Field(description="Since the server started; all of its workers answer the same.")]
    pid: Annotated[int, Field(description="The process that started the workers.")]
    bind: str
    memories_total: Annotated[int, Field(description="Active memories that the caller may see.")]
    writes_total: Annotated[int, Field(description="All versions that the caller may see.")]
    writes_1m: int
    reads_total: Annotated[
        int,
        Field(description="Reads by the caller; for an admin also the reads of all principals that saw no more than "
        "the admin may see."),
    ]  # fmt: skip
    reads_1m: int
    database: DatabaseStatus
    destinations: list[dict[str, Any]]
    watermark: Annotated[datetime, Field(description="The record time up to which every write is committed.")]
    watermark_lag_seconds: Annotated[
        float, Field(description="The age of the watermark: it grows while a transaction has been writing for long.")
    ]
    durability: dict[str, Any]
    worker: WorkerStatus


def get_status(principal: Principal) -> HubStatus:
    """Return the response of `GET /api/status`.

    All counts come from the database, so every worker reports the same ones.
    """
    is_writable = _is_writable()
    write_counts = count_writes(principal.clearance)
    read_total, reads_last_minute = read_log.count_reads(principal)
    durability = _get_durability_settings()
    watermark, watermark_lag_seconds = clock.watermark()
    reasons = list(
        _degraded_reasons(is_writable=is_writable, durability=durability, watermark_lag_seconds=watermark_lag_seconds)
    )
    status: HubStatus = {
        "status": "degraded" if reasons else "ok",
        "version": VERSION,
        "uptime_seconds": int(process.get_uptime_seconds()),
        "pid": process.get_server_pid(),
        "bind": f"{settings.APP_CONFIG.bind}:{settings.APP_CONFIG.port}",
        "memories_total": facets.count_active(principal.clearance),
        "writes_total": write_counts.total,
        "writes_1m": write_counts.last_minute,
        "reads_total": read_total,
        "reads_1m": reads_last_minute,
        "database": {"healthy": is_writable, "version": _get_server_version()},
        "destinations": [],
        "watermark": watermark,
        "watermark_lag_seconds": round(watermark_lag_seconds, 3),
        "durability": {**durability, "durable": _is_durable(durability)},
        "worker": get_worker_status(),
    }
    if principal.has_scope(Scope.ADMIN):
        status["reasons"] = reasons
    if principal.is_unrestricted_admin:
        status["worker"]["jobs"] = list_jobs(job.name for job in BACKGROUND_JOBS)
    return status


def _degraded_reasons(*, is_writable: bool, durability: dict[str, str], watermark_lag_seconds: float) -> Iterator[str]:
    """Yield the reasons why the hub is degraded, as sentences for an administrator."""
    if not is_writable:
        yield "The database accepts no writes at the moment."
    elif watermark_lag_seconds > MAX_LAG_SECONDS:
        yield (
            f"A transaction has been writing for {watermark_lag_seconds:,.0f} seconds: later writes are not visible in"
            " record time yet."
        )
    if not _is_durable(durability):
        disabled_settings = ", ".join(name for name, value in durability.items() if value != "on")
        yield f"A crash may lose stored memories: some settings of PostgreSQL are off ({disabled_settings})."


def _is_durable(durability: dict[str, str]) -> bool:
    return all(value == "on" for value in durability.values())


def _is_writable() -> bool:
    """Whether the database accepts writes from this connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_read_only') = 'off'")
        (is_writable,) = cursor.fetchone()
    return bool(is_writable)


def count_writes(clearance: Clearance) -> WriteCounts:
    """Count the versions that `clearance` may see: all of them, and those recorded in the last minute."""
    minute_ago = datetime.now(UTC) - timedelta(minutes=1)
    visible_versions = Memory.objects.visible_to(clearance)
    return WriteCounts(facets.count_versions_written(clearance), visible_versions.recorded_after(minute_ago).count())


def _get_durability_settings() -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(DURABILITY_SETTINGS)])
        return dict(sorted(cursor.fetchall()))


def _get_server_version() -> str:
    version_number: int = connection.pg_version  # type: ignore[attr-defined]
    return f"{version_number // 10_000}.{version_number % 10_000}"
