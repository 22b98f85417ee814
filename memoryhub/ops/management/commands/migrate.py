"""`manage.py migrate`: Django's own, as the owner of the tables, and the application's rights after it."""

from typing import Any

from django.core.management.commands import migrate

from memoryhub.ops import roles, schema


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        with roles.as_owner():
            if not options["plan"] and not options["check_unapplied"]:
                # Else an old version would give the application rights to tables that it does not know.
                schema.refuse_newer_schema()
            super().handle(*args, **options)
            if not options["plan"] and not options["check_unapplied"]:
                roles.settle()
