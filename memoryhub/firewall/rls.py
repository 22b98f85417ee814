"""Guarantee: a query that forgets `visible_to` still returns no hidden row; row-level security repeats the rule.

Each transaction names the clearance or the sources for which it runs, by settings (`memoryhub.tiers` and others). The
policies on the tables, in the migrations named `row_level_security`, compare each row with these settings. The
application's role owns no table and bypasses no policy (`operations/database_roles.py`).

Why the obvious way breaks it:

- A setting of the session would outlive the request on a connection that later requests use. Settings are always set
  within a transaction and for that transaction alone. After RESET a setting reads '' and not NULL, so a missing setting
  and '' both mean "sees nothing".
- A nested block resets the outer settings itself on success; PostgreSQL does it only on rollback.
- PostgreSQL evaluates a condition before the policy, for example in an index, only if its function is marked LEAKPROOF:
  another function could reveal hidden rows by an error. Without the mark, searches by text and label read every row, so
  `database_roles.LEAKPROOF_FUNCTIONS` are marked, and `doctor` reports if they are not.

Tests that notice: `tests/harness/test_row_security.py` (the policies alone, as the application's role),
`tests/firewall/test_rule_parity.py` (Python, query filter and policies agree), `tests/noninterference/test_reads.py`
(every route without the query filter), `tests/harness/test_query_plans.py` (the marked functions use their indexes).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypedDict, Unpack, cast

from django.db import connection, transaction

from memoryhub.firewall.clearance import Clearance, normalize_labels
from memoryhub.firewall.querysets import stored_tier_values

ALL = "*"
"""Every namespace, or every source. It is not a text array, so that no name can be mistaken for it."""


class _Settings(TypedDict, total=False):
    """The settings of a transaction; a missing one is '' and shows nothing."""

    tiers: str
    blocked_labels: str
    required_labels: str
    namespaces: str
    writer_sources: str
    sees_quarantined: str


_SETTING_NAMES = tuple(_Settings.__annotations__)
_SET_SETTINGS_SQL = "SELECT " + ", ".join(f"set_config('memoryhub.{name}', %s, true)" for name in _SETTING_NAMES)
_GET_SETTINGS_SQL = "SELECT " + ", ".join(
    f"coalesce(current_setting('memoryhub.{name}', true), '')" for name in _SETTING_NAMES
)


@contextmanager
def as_reader(clearance: Clearance) -> Iterator[None]:
    """Open a transaction in which the database shows the rows that `clearance` may see, and no others."""
    namespaces = ALL if clearance.namespaces is None else _format_text_array(clearance.namespaces)
    with _transaction_settings(
        tiers=_format_text_array(stored_tier_values(clearance)),
        blocked_labels=_format_text_array(normalize_labels(clearance.blocked_labels)),
        required_labels=_format_text_array(normalize_labels(clearance.required_labels)),
        namespaces=namespaces,
        sees_quarantined="on" if clearance.sees_quarantined else "",
    ):
        yield


@contextmanager
def as_writer(sources: Iterable[str] | None) -> Iterator[None]:
    """Open a transaction that writes and sees rows of `sources` alone; of every source, if None.

    A writer must find its earlier writes, no matter which clearances may read them now. Of these rows nothing but
    receipts may reach the writer.
    """
    with _transaction_settings(writer_sources=ALL if sources is None else _format_text_array(sources)):
        yield


@contextmanager
def _transaction_settings(**settings: Unpack[_Settings]) -> Iterator[None]:
    is_nested = connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        # The settings end with the outermost transaction. A nested block restores the settings of the block around it.
        previous_settings = _get_transaction_settings(cursor) if is_nested else None
        values = cast("dict[str, str]", settings)
        cursor.execute(_SET_SETTINGS_SQL, [values.get(name, "") for name in _SETTING_NAMES])
        yield
        if previous_settings is not None:
            cursor.execute(_SET_SETTINGS_SQL, previous_settings)


def _get_transaction_settings(cursor: Any) -> tuple[str, ...]:
    cursor.execute(_GET_SETTINGS_SQL)
    settings: tuple[str, ...] = cursor.fetchone()
    return settings


def _format_text_array(items: Iterable[str]) -> str:
    """Format a text[] as PostgreSQL reads it."""
    quoted_items = ('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in sorted(items))
    return "{" + ",".join(quoted_items) + "}"
