"""What an operator should know about the database before trusting it with secrets, and of the language model if any."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from memoryhub.config import Config
from memoryhub.conflicts import entailment
from memoryhub.conflicts.entailment import Model, Unusable
from memoryhub.ops.roles import LEAKPROOF

WALLED = ("audit_entries", "decisions", "memories", "memory_counts", "memory_days", "memory_totals")
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check; `hint` says what to do about it."""

    check: str
    level: Level
    said: str
    hint: str = ""


def examine() -> Iterator[Finding]:
    """Every check, in order. Raises what the database raises when it cannot be asked."""
    yield _bound_by_security()
    yield _owns_nothing()
    yield _security_forced()
    yield _history_closed()
    yield _indexes_serve()
    yield _durable()
    config: Config = settings.MEMORYHUB
    if config.nli_model is not None:
        yield _model_answers(config.nli_model)


def _bound_by_security() -> Finding:
    above = _ask("SELECT FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls)")
    return _finding(
        "role",
        good="The application's role is bound by row-level security.",
        bad="The application's role is above row-level security." if above else "",
        hint="Serve as a role without SUPERUSER and BYPASSRLS (docs/postgresql.md).",
    )


def _owns_nothing() -> Finding:
    owned = _ask("SELECT FROM pg_tables WHERE schemaname = 'public' AND tableowner = current_user")
    return _finding(
        "owner",
        good="The application's role owns no tables.",
        bad=f"The application's role owns {len(owned)} tables and could switch the second wall off." if owned else "",
        hint="Set DATABASE_OWNER_URL and serve as another role (docs/postgresql.md).",
        level=Level.WARN,
    )


def _security_forced() -> Finding:
    bare = _ask(
        "SELECT wanted FROM unnest(%s::text[]) AS wanted WHERE NOT EXISTS ("
        " SELECT FROM pg_class AS c JOIN pg_policy ON polrelid = c.oid AND polpermissive"
        " WHERE c.oid = to_regclass(wanted) AND relrowsecurity AND relforcerowsecurity)",
        list(WALLED),
    )
    return _finding(
        "row security",
        good="Row-level security is forced.",
        bad=f"Row-level security is not forced on {_names(bare)}." if bare else "",
        hint="Run `manage.py migrate`; if that changes nothing, somebody has switched it off by hand.",
    )


def _history_closed() -> Finding:
    may = _ask(
        "SELECT WHERE has_table_privilege('memories', 'DELETE, TRUNCATE')"
        " OR has_column_privilege('memories', 'content', 'UPDATE')"
        " OR has_table_privilege('audit_entries', 'UPDATE, DELETE, TRUNCATE')"
    )
    return _finding(
        "history",
        good="The application may add to history, and not change it.",
        bad="Triggers alone keep the application from changing history." if may else "",
        hint="Use two roles, and run `manage.py migrate` as the owner (docs/postgresql.md).",
        level=Level.WARN,
    )


def _indexes_serve() -> Finding:
    slow = _ask(
        "SELECT wanted FROM unnest(%s::text[]) AS wanted JOIN pg_proc AS p ON p.oid = to_regprocedure(wanted)"
        " WHERE NOT proleakproof",
        list(LEAKPROOF),
    )
    return _finding(
        "indexes",
        good="Searches use their indexes behind row-level security.",
        bad=f"Searches by text and label read every row: not marked LEAKPROOF are {_names(slow)}." if slow else "",
        hint="A superuser marks them once (docs/postgresql.md).",
        level=Level.WARN,
    )


def _durable() -> Finding:
    off = _ask("SELECT name FROM pg_settings WHERE name = ANY(%s) AND setting = 'off' ORDER BY name", list(DURABLE))
    return _finding(
        "durability",
        good="What is acknowledged is on disk.",
        bad=f"Switched off: {_names(off)}. What was acknowledged may be lost." if off else "",
        hint="Switch it on in postgresql.conf.",
    )


def _model_answers(folder: Path) -> Finding:
    good, bad = "", entailment.why_not(folder)
    try:
        if not bad:
            good = _asked(Model(folder))
    except (Unusable, OSError) as error:
        bad = f"The language model is passed over: {error}."
    return _finding(
        "language model",
        good=good,
        bad=bad,
        hint="Until it is put right and memoryhub is started anew, conflicts are told by the rules alone.",
        level=Level.WARN,
    )


def _asked(model: Model) -> str:
    pair = ("The door is open.", "The door is closed.")
    model.ask(*pair)
    # The first answer took as long as it takes to load the model, and this one as long as any later one.
    began = time.perf_counter()
    model.ask(*pair)
    ms = (time.perf_counter() - began) * 1000
    return f"The language model {model.digest[:12]} compares two short sentences in {ms:.1f} ms."


def _finding(check: str, *, good: str, bad: str, hint: str, level: Level = Level.FAIL) -> Finding:
    if bad:
        return Finding(check=check, level=level, said=bad, hint=hint)
    return Finding(check=check, level=Level.OK, said=good)


def _names(rows: list[tuple[Any, ...]]) -> str:
    return ", ".join(name for (name,) in rows)


def _ask(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, list(parameters) or None)
        return list(cursor.fetchall())
