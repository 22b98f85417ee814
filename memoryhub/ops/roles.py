"""Two roles: the owner, who migrates, and the application, whom row-level security binds and who owns nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.conf import settings
from django.db import connection, connections
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from memoryhub.config import SUPERUSER, Config

EVERYTHING = ("SELECT", "INSERT", "UPDATE", "DELETE")
# What the application may do to the tables that it must not change at will; to all others everything.
PRIVILEGES: dict[str, tuple[str, ...]] = {
    "audit_entries": ("SELECT", "INSERT"),
    "audit_head": ("SELECT", "INSERT", "UPDATE"),
    "decisions": ("SELECT", "INSERT"),
    "django_migrations": ("SELECT",),
    "memories": ("SELECT", "INSERT", "UPDATE (superseded_at)"),
    "memory_counts": ("SELECT", "INSERT", "UPDATE"),
    "memory_days": ("SELECT", "INSERT", "UPDATE"),
    "memory_totals": ("SELECT", "INSERT", "UPDATE"),
    "record_clock": ("SELECT",),
}
# Behind row-level security PostgreSQL uses an index for these only if it is told that they give nothing away about
# what they compare. They do not: they raise nothing that depends on a value, and write nothing.
LEAKPROOF = (
    "pg_catalog.arraycontains(anyarray, anyarray)",
    "memory_tier_grams(text, text)",
    "memory_tier_labels(varchar[], text)",
)


@contextmanager
def as_owner() -> Iterator[None]:
    """Within the block this thread asks the default database as the owner of its tables."""
    config: Config = settings.MEMORYHUB
    application = connections["default"]
    owner = connections.create_connection("default")
    # A test has another database on the same server.
    name = application.settings_dict["NAME"]
    owner.settings_dict = {**application.settings_dict, **config.django_database(config.owner_dsn), "NAME": name}
    connections["default"] = owner
    try:
        with owner.cursor() as cursor:
            # What is done to a whole table, and waiting for whoever uses it, take the time they take.
            cursor.execute("SET statement_timeout = 0")
            cursor.execute("SET lock_timeout = 0")
        yield
    finally:
        owner.close()
        connections["default"] = application


def grant(role: str) -> None:
    """Give `role` what the application needs, and take from it what it had beyond that. Asked as the owner."""
    name = sql.Identifier(role)
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        statements = [
            sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(name),
            sql.SQL("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {}").format(name),
            # That one is moved by the clock alone.
            sql.SQL("REVOKE ALL ON SEQUENCE record_told FROM {}").format(name),
        ]
        for table in tables:
            privileges = sql.SQL(", ").join(map(sql.SQL, PRIVILEGES.get(table, EVERYTHING)))
            statements.append(sql.SQL("GRANT {} ON {} TO {}").format(privileges, sql.Identifier(table), name))
        cursor.execute(sql.SQL("; ").join(statements))


def promise_no_leaks(superuser_dsn: str, database: str) -> None:
    """Mark the functions of `LEAKPROOF` in a database, which takes a superuser."""
    with psycopg.connect(superuser_dsn, dbname=database, autocommit=True) as server:
        for function in LEAKPROOF:
            # Migrated back, the database has them no more.
            if server.execute("SELECT 1 WHERE to_regprocedure(%s) IS NOT NULL", [function]).rowcount:
                server.execute(sql.SQL("ALTER FUNCTION {} LEAKPROOF").format(sql.SQL(function)))


def settle() -> None:
    """What a migrated database needs besides its schema. Asked as the owner, within `as_owner`."""
    config: Config = settings.MEMORYHUB
    application = conninfo_to_dict(config.dsn).get("user")
    if application and application != conninfo_to_dict(config.owner_dsn).get("user"):
        grant(str(application))
    if config.embedded:
        promise_no_leaks(config.embedded_dsn(SUPERUSER), str(connection.settings_dict["NAME"]))
