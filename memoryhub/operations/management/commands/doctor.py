"""`manage.py doctor`: check whether the firewall's guarantees hold on this database."""

from typing import Any

import orjson
from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from memoryhub.core.errors import classify_error
from memoryhub.operations.doctor import Level, run_doctor_checks


class Command(BaseCommand):
    help = "Check the database's roles, row-level security and durability. Exits with 1 when a check fails."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="write one JSON line for each check")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            findings = list(run_doctor_checks())
        except DatabaseError as error:
            raise CommandError(f"The database cannot be queried: {classify_error(error).detail}") from None
        for finding in findings:
            if options["json"]:
                self.stdout.write(orjson.dumps(finding).decode())
            else:
                hint = f"\n      {finding.hint}" if finding.hint else ""
                self.stdout.write(f"{finding.level.upper():<5} {finding.message}{hint}")
        if any(finding.level is Level.FAIL for finding in findings):
            raise CommandError("The firewall is not fully in force on this database: at least one check failed.")
