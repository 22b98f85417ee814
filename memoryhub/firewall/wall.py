"""The second wall: what PostgreSQL's row-level security is told about who is asking.

Always within a transaction and for that transaction alone. A setting of the session would outlive the request on a
connection that the next one uses, and after RESET it would read '' and not NULL (measurements.md): missing and '' both
mean "sees nothing".
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from memoryhub.firewall.querysets import stored_tiers
from memoryhub.firewall.types import Clearance, label_keys

EVERY = "*"
"""Every namespace, or every source: not a text array, so that no name can be mistaken for it."""

_NAMES = ("tiers", "blocked_labels", "required_labels", "namespaces", "writes_as", "sees_quarantined")
_TELL = "SELECT " + ", ".join(f"set_config('memoryhub.{name}', %s, true)" for name in _NAMES)
_TOLD = "SELECT " + ", ".join(f"coalesce(current_setting('memoryhub.{name}', true), '')" for name in _NAMES)


@contextmanager
def behind(clearance: Clearance) -> Iterator[None]:
    """A transaction in which the database shows the rows that `clearance` may see, and no others."""
    namespaces = EVERY if clearance.namespaces is None else _words(clearance.namespaces)
    with _told(
        _words(stored_tiers(clearance)),
        _words(label_keys(clearance.blocked_labels)),
        _words(label_keys(clearance.required_labels)),
        namespaces,
        "",
        "on" if clearance.sees_quarantined else "",
    ):
        yield


@contextmanager
def writing(sources: Iterable[str] | None) -> Iterator[None]:
    """A transaction that writes rows of `sources`, and sees those alone; of every source, if None.

    A writer must find what it wrote before, whoever may read it by now; nothing of it may reach the writer but
    receipts.
    """
    with _told("", "", "", "", EVERY if sources is None else _words(sources), ""):
        yield


@contextmanager
def _told(*values: str) -> Iterator[None]:
    nested = connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        # The outermost transaction takes its settings with it. Within another one, what held there holds again.
        before = _ask(cursor) if nested else None
        cursor.execute(_TELL, values)
        yield
        if before is not None:
            cursor.execute(_TELL, before)


def _ask(cursor: Any) -> tuple[str, ...]:
    cursor.execute(_TOLD)
    found: tuple[str, ...] = cursor.fetchone()
    return found


def _words(words: Iterable[str]) -> str:
    """A text[] as PostgreSQL reads it."""
    quoted = ('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in sorted(words))
    return "{" + ",".join(quoted) + "}"
