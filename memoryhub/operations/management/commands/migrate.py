"""`manage.py migrate`: Django's command, run as the owner of the tables; then grant the application's privileges."""

from typing import Any

from django.core.management.commands import migrate

from memoryhub.operations import database_roles, schema


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        with database_roles.connect_as_owner():
            if not options["plan"] and not options["check_unapplied"]:
                schema.reject_missing_schema()
                schema.reject_prerelease_schema()
                # Otherwise an old version would grant the application privileges on tables that it does not know.
                schema.reject_newer_schema()
            super().handle(*args, **options)
            if not options["plan"] and not options["check_unapplied"]:
                database_roles.apply_database_privileges()
