"""Whether the database's schema is that of this code: behind it, or ahead of it."""

from django.core.management import CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

MAX_NAMED = 3
"""So many migrations are named in a sentence."""


def pending_migrations() -> list[str]:
    """Names of the migrations that the code has and the database has not. Raises what the database raises."""
    executor = MigrationExecutor(connection)
    return [str(migration) for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]


def unknown_migrations() -> list[str]:
    """Names of the migrations that the database has and the code does not know: a newer version made them.

    An app that was removed leaves its migrations behind, and a squashed migration those that it replaces.
    """
    loader = MigrationLoader(connection)
    known = set(loader.disk_migrations)
    for migration in loader.disk_migrations.values():
        known.update(migration.replaces)
    applied = set(loader.applied_migrations or ())
    return sorted(f"{app}.{name}" for app, name in applied - known if app in loader.migrated_apps)


def refuse_newer_schema() -> None:
    """Raise CommandError if a newer version of the code has migrated the database."""
    unknown = unknown_migrations()
    if not unknown:
        return
    more = f" and {len(unknown) - MAX_NAMED} more" if len(unknown) > MAX_NAMED else ""
    raise CommandError(
        f"The database's schema is newer than this code, which does not know {', '.join(unknown[:MAX_NAMED])}{more}. "
        "Install the version of memoryhub that made it, or a later one."
    )
