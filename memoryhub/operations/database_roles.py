"""The two database roles: the owner migrates; the application owns nothing and is bound by row-level security."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.conf import settings
from django.db import connection, connections
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from memoryhub.config import SUPERUSER_ROLE, Config

ALL_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")
# The application's privileges on tables that it must not change freely. On all other tables it has ALL_PRIVILEGES.
TABLE_PRIVILEGES: dict[str, tuple[str, ...]] = {
    "audit_entries": ("SELECT", "INSERT"),
    "audit_chain_head": ("SELECT", "INSERT", "UPDATE"),
    "decisions": ("SELECT", "INSERT"),
    "django_migrations": ("SELECT",),
    "memories": ("SELECT", "INSERT", "UPDATE (superseded_at)"),
    "memory_rollups": ("SELECT", "INSERT", "UPDATE"),
    "memory_day_rollups": ("SELECT", "INSERT", "UPDATE"),
    "memory_total_rollups": ("SELECT", "INSERT", "UPDATE"),
    "record_clock": ("SELECT",),
}
# Behind row-level security PostgreSQL uses an index for a function only if the function is marked leakproof, that is,
# reveals nothing about its arguments. These qualify: no error depends on a value, and they write nothing.
LEAKPROOF_FUNCTIONS = (
    "pg_catalog.arraycontains(anyarray, anyarray)",
    "memory_tier_trigrams(text, text)",
    "memory_tier_labels(varchar[], text)",
    "memory_tier_words(tsvector, text)",
)


@contextmanager
def connect_as_owner() -> Iterator[None]:
    """Within the block, this thread's default connection is one of the owner of the tables."""
    config: Config = settings.APP_CONFIG
    app_connection = connections["default"]
    owner_connection = connections.create_connection("default")
    # Tests use another database on the same server.
    database_name = app_connection.settings_dict["NAME"]
    owner_connection.settings_dict = {
        **app_connection.settings_dict,
        **config.to_django_database(config.owner_dsn),
        "NAME": database_name,
    }
    connections["default"] = owner_connection
    try:
        with owner_connection.cursor() as cursor:
            # Migrations rewrite whole tables and wait for locks, so they run without time limits.
            cursor.execute("SET statement_timeout = 0")
            cursor.execute("SET lock_timeout = 0")
        yield
    finally:
        owner_connection.close()
        connections["default"] = app_connection


def grant_app_privileges(role: str) -> None:
    """Grant `role` the application's privileges and revoke all others. Needs the owner's connection."""
    role_identifier = sql.Identifier(role)
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        cursor.execute("SELECT current_schema()")
        schema = sql.Identifier(cursor.fetchone()[0])
        statements = [
            sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}").format(schema, role_identifier),
            sql.SQL("GRANT USAGE ON ALL SEQUENCES IN SCHEMA {} TO {}").format(schema, role_identifier),
            # Only the record clock moves this sequence.
            sql.SQL("REVOKE ALL ON SEQUENCE record_time_watermark FROM {}").format(role_identifier),
        ]
        for table in tables:
            privileges = sql.SQL(", ").join(map(sql.SQL, TABLE_PRIVILEGES.get(table, ALL_PRIVILEGES)))
            statements.append(
                sql.SQL("GRANT {} ON {} TO {}").format(privileges, sql.Identifier(table), role_identifier)
            )
        cursor.execute(sql.SQL("; ").join(statements))


def set_function_search_paths() -> None:
    """Make the hub's PL/pgSQL functions look names up in the hub's schema. Needs the owner's connection.

    Their bodies are read when they run, unlike those of SQL functions, so the session's `search_path` would decide
    which tables they read and write. A migration that replaces a function resets this; the next call sets it again.
    """
    with connection.cursor() as cursor:
        cursor.execute(_FUNCTIONS_WITHOUT_SEARCH_PATH_SQL)
        for function, schema in cursor.fetchall():
            statement = sql.SQL("ALTER FUNCTION {} SET search_path = {}, pg_temp")
            cursor.execute(statement.format(sql.SQL(function), sql.Identifier(schema)))


def mark_leakproof(superuser_dsn: str, database: str) -> None:
    """Mark `LEAKPROOF_FUNCTIONS` as leakproof in a database, which only a superuser may do."""
    with psycopg.connect(superuser_dsn, dbname=database, autocommit=True) as superuser_connection:
        for function in LEAKPROOF_FUNCTIONS:
            # After a backward migration the function does not exist.
            if superuser_connection.execute("SELECT 1 WHERE to_regprocedure(%s) IS NOT NULL", [function]).rowcount:
                superuser_connection.execute(sql.SQL("ALTER FUNCTION {} LEAKPROOF").format(sql.SQL(function)))


def apply_database_privileges() -> None:
    """Grant and set what a migrated database needs besides its schema. Call it within `connect_as_owner`."""
    config: Config = settings.APP_CONFIG
    set_function_search_paths()
    app_role = conninfo_to_dict(config.dsn).get("user")
    if app_role and app_role != conninfo_to_dict(config.owner_dsn).get("user"):
        grant_app_privileges(str(app_role))
    if config.is_embedded:
        mark_leakproof(config.embedded_dsn(SUPERUSER_ROLE), str(connection.settings_dict["NAME"]))


_FUNCTIONS_WITHOUT_SEARCH_PATH_SQL = """
SELECT p.oid::regprocedure::text, current_schema()
FROM pg_proc AS p
JOIN pg_language AS l ON l.oid = p.prolang
LEFT JOIN pg_depend AS d ON d.objid = p.oid AND d.deptype = 'e'
WHERE p.pronamespace = current_schema()::regnamespace AND p.proowner = current_user::regrole
  AND l.lanname = 'plpgsql' AND p.proconfig IS NULL AND d.objid IS NULL
"""
