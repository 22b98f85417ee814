"""Compare the database's schema with the code: is it older or newer?"""

from django.core.management import CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from memoryhub.operations.program import PROGRAM_NAME

MAX_NAMED_MIGRATIONS = 3
"""At most this many migrations are named in an error."""


_PRERELEASE_MIGRATION = ("memories", "0001_functions")
"""The first migration of hubs from before version 0.2.0, when the migrations were squashed."""


def list_pending_migrations() -> list[str]:
    """Return the names of migrations that are not applied yet. Raises DatabaseError."""
    executor = MigrationExecutor(connection)
    return [str(migration) for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]


def list_unknown_migrations() -> list[str]:
    """Return the names of applied migrations that this code does not know: a newer version made them.

    Migrations of removed apps do not count, nor do those that a squashed migration replaces.
    """
    loader = MigrationLoader(connection)
    known_migrations = set(loader.disk_migrations)
    for migration in loader.disk_migrations.values():
        known_migrations.update(migration.replaces)
    applied_migrations = set(loader.applied_migrations or ())
    return sorted(f"{app}.{name}" for app, name in applied_migrations - known_migrations if app in loader.migrated_apps)


def reject_newer_schema() -> None:
    """Raise CommandError if a newer version of the code has migrated the database."""
    unknown_names = list_unknown_migrations()
    if not unknown_names:
        return
    remainder = (
        f" and {len(unknown_names) - MAX_NAMED_MIGRATIONS} more" if len(unknown_names) > MAX_NAMED_MIGRATIONS else ""
    )
    first_names = ", ".join(unknown_names[:MAX_NAMED_MIGRATIONS])
    raise CommandError(
        "The database's schema is newer than this version of memoryhub, which lacks the migrations "
        f"{first_names}{remainder}."
        " Install the version that created it, or a later one."
    )


def reject_prerelease_schema() -> None:
    """Raise CommandError if the database was made by a version before 0.2.0."""
    if _PRERELEASE_MIGRATION in (MigrationLoader(connection).applied_migrations or ()):
        raise CommandError(
            "This hub was made by a version before 0.2.0, whose tables are not carried over. Write its memories with "
            f"`{PROGRAM_NAME} export_memories --history` of that version, and import them into a new hub (another "
            "MEMORYHUB_HOME or another database)."
        )


def reject_missing_schema() -> None:
    """Raise CommandError if the first schema of the session's search_path does not exist.

    PostgreSQL skips it silently, and the hub would use the tables of the next schema: those of another hub.
    """
    with connection.cursor() as cursor:
        cursor.execute(_MISSING_FIRST_SCHEMA_SQL)
        missing_schema = cursor.fetchone()
    if missing_schema:
        raise CommandError(
            f"The search_path begins with the schema {missing_schema[0]}, which does not exist in this database. "
            "Create it (CREATE SCHEMA), or take it out of the search_path."
        )


# `"$user"` is in the default search_path and names the schema of the role, which need not exist.
_MISSING_FIRST_SCHEMA_SQL = """
SELECT name FROM (
    SELECT btrim(entry) AS name
    FROM unnest(string_to_array(current_setting('search_path'), ',')) WITH ORDINALITY AS entries(entry, position)
    WHERE btrim(entry) NOT IN ('"$user"', '')
    ORDER BY position LIMIT 1
) AS first_entry
WHERE to_regnamespace(name) IS NULL
"""
