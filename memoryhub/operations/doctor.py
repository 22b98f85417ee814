"""Checks of the database's roles, row security and durability, and of the configured language models."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from memoryhub.config import Config
from memoryhub.language import nli
from memoryhub.language.embedder import Embedder, configured_embedder
from memoryhub.language.errors import EmbedderUnavailableError, ModelUnavailableError
from memoryhub.language.nli import NliModel
from memoryhub.operations.database_roles import LEAKPROOF_FUNCTIONS
from memoryhub.operations.program import PROGRAM_NAME
from memoryhub.operations.worker_status import get_worker_status

RLS_TABLES = (
    "audit_entries", "decisions", "memories", "memory_day_rollups", "memory_embeddings", "memory_rollups",
    "memory_total_rollups", "memory_words",
)  # fmt: skip
DURABILITY_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit")


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The outcome of one check; `hint` says how to fix a failure."""

    check: str
    level: Level
    message: str
    hint: str = ""


def run_doctor_checks() -> Iterator[CheckResult]:
    """Yield the results of all checks in order. Raises DatabaseError if the database cannot be queried."""
    yield _check_app_role()
    yield _check_table_ownership()
    yield _check_rls_forced()
    yield _check_history_privileges()
    yield _check_leakproof_functions()
    yield _check_durability()
    yield _check_worker()
    config: Config = settings.APP_CONFIG
    if config.embedder != "none":
        yield _check_embedder()
    if config.nli_model is not None:
        yield _check_nli_model(config.nli_model)


def _check_app_role() -> CheckResult:
    exempt_roles = _query("SELECT FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls)")
    return _check_result(
        "role",
        ok_message="Row-level security applies to the application's role.",
        failure_message="The application's role bypasses row-level security." if exempt_roles else "",
        hint="Serve as a role without SUPERUSER and BYPASSRLS (docs/operations/postgresql.md).",
    )


def _check_table_ownership() -> CheckResult:
    owned_tables = _query("SELECT FROM pg_tables WHERE schemaname = current_schema() AND tableowner = current_user")
    return _check_result(
        "owner",
        ok_message="The application's role owns no tables.",
        failure_message=(
            f"The application's role owns {len(owned_tables)} tables and could switch row-level security off."
            if owned_tables
            else ""
        ),
        hint="Set DATABASE_OWNER_URL and serve as another role (docs/operations/postgresql.md).",
        level=Level.WARN,
    )


def _check_rls_forced() -> CheckResult:
    unprotected_tables = _query(
        "SELECT required_table FROM unnest(%s::text[]) AS required_table WHERE NOT EXISTS ("
        " SELECT FROM pg_class AS c JOIN pg_policy ON polrelid = c.oid AND polpermissive"
        " WHERE c.oid = to_regclass(required_table) AND relrowsecurity AND relforcerowsecurity)",
        list(RLS_TABLES),
    )
    return _check_result(
        "row security",
        ok_message="Row-level security is forced.",
        failure_message=f"Row-level security is not forced on {_join_names(unprotected_tables)}."
        if unprotected_tables
        else "",
        hint=f"Run `{PROGRAM_NAME} migrate`. If that does not help, row-level security was disabled by hand.",
    )


def _check_history_privileges() -> CheckResult:
    excess_privileges = _query(
        "SELECT WHERE has_table_privilege('memories', 'DELETE, TRUNCATE')"
        " OR has_column_privilege('memories', 'content', 'UPDATE')"
        " OR has_table_privilege('audit_entries', 'UPDATE, DELETE, TRUNCATE')"
    )
    return _check_result(
        "history",
        ok_message="The application's role can add versions and audit entries, but not change them.",
        failure_message="Only triggers prevent the application from changing versions and audit entries."
        if excess_privileges
        else "",
        hint=f"Use two roles, and run `{PROGRAM_NAME} migrate` as the owner (docs/operations/postgresql.md).",
        level=Level.WARN,
    )


def _check_leakproof_functions() -> CheckResult:
    unmarked_functions = _query(
        "SELECT signature FROM unnest(%s::text[]) AS signature JOIN pg_proc AS p ON p.oid = to_regprocedure(signature)"
        " WHERE NOT proleakproof",
        list(LEAKPROOF_FUNCTIONS),
    )
    return _check_result(
        "indexes",
        ok_message="Searches use their indexes behind row-level security.",
        failure_message=(
            f"Searches by text and label read every row: not marked LEAKPROOF are {_join_names(unmarked_functions)}."
            if unmarked_functions
            else ""
        ),
        hint="A superuser marks them once (docs/operations/postgresql.md).",
        level=Level.WARN,
    )


def _check_durability() -> CheckResult:
    disabled_settings = _query(
        "SELECT name FROM pg_settings WHERE name = ANY(%s) AND setting = 'off' ORDER BY name", list(DURABILITY_SETTINGS)
    )
    return _check_result(
        "durability",
        ok_message="Acknowledged writes are on disk.",
        failure_message=f"Switched off: {_join_names(disabled_settings)}. A crash may lose acknowledged writes."
        if disabled_settings
        else "",
        hint="Switch it on in postgresql.conf.",
    )


def _check_worker() -> CheckResult:
    worker = get_worker_status()
    last_heartbeat = worker["last_heartbeat"]
    last_seen = f" since {last_heartbeat:%F %T} UTC" if last_heartbeat else ""
    return _check_result(
        "worker",
        ok_message="A worker does the background jobs.",
        failure_message="" if worker["alive"] else f"No worker does the background jobs{last_seen}.",
        hint=f"`serve` starts one, unless MEMORYHUB_WORKER is false. `{PROGRAM_NAME} worker` runs it alone.",
        level=Level.WARN,
    )


def _check_embedder() -> CheckResult:
    ok_message = failure_message = ""
    try:
        if embedder := configured_embedder():
            ok_message = _measure_embedder(embedder)
    except EmbedderUnavailableError as error:
        failure_message = str(error)
    return _check_result(
        "embedder",
        ok_message=ok_message,
        failure_message=failure_message,
        hint="Until it is put right, new memories get no embedding. Nothing else depends on it.",
        level=Level.WARN,
    )


def _measure_embedder(embedder: Embedder) -> str:
    question = "Where does Ada live?"
    embedder.embed_query(question)
    # The first question includes loading the model; this one takes as long as any later one.
    started_at = time.perf_counter()
    embedder.embed_query(question)
    elapsed_ms = (time.perf_counter() - started_at) * 1000
    return f"The embedder {embedder.name[:140]} embeds a short question in {elapsed_ms:.1f} ms."


def _check_nli_model(folder: Path) -> CheckResult:
    ok_message, failure_message = "", nli.find_config_error(folder)
    try:
        if not failure_message:
            ok_message = _measure_model(NliModel(folder))
    except (ModelUnavailableError, OSError) as error:
        failure_message = f"The language model is not used: {error}."
    return _check_result(
        "language model",
        ok_message=ok_message,
        failure_message=failure_message,
        hint="Until it is put right and memoryhub is started anew, conflicts are detected by the rules alone.",
        level=Level.WARN,
    )


def _measure_model(model: NliModel) -> str:
    sentences = ("The door is open.", "The door is closed.")
    model.predict(*sentences)
    # The first prediction includes loading the model; this one takes as long as any later one.
    started_at = time.perf_counter()
    model.predict(*sentences)
    elapsed_ms = (time.perf_counter() - started_at) * 1000
    return f"The language model {model.digest[:12]} compares two short sentences in {elapsed_ms:.1f} ms."


def _check_result(
    check: str, *, ok_message: str, failure_message: str, hint: str, level: Level = Level.FAIL
) -> CheckResult:
    if failure_message:
        return CheckResult(check=check, level=level, message=failure_message, hint=hint)
    return CheckResult(check=check, level=Level.OK, message=ok_message)


def _join_names(rows: list[tuple[Any, ...]]) -> str:
    return ", ".join(name for (name,) in rows)


def _query(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, list(parameters) or None)
        return list(cursor.fetchall())
