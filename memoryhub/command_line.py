"""The command line: Django's commands, with the embedded PostgreSQL running for as long as the command does.

`manage.py` in a checkout and the console script `memoryhub` of an installed package both run `main`.
"""

import os
import sys

from django.conf import settings
from django.core.management import execute_from_command_line

from memoryhub.operations import embedded_postgres

COMMANDS_WITHOUT_DATABASE = {
    "check", "collectstatic", "help", "makemigrations", "spectacular", "version", "--help", "--version",
}  # fmt: skip


def main() -> None:
    """Run the command in `sys.argv`. Django exits with its own message and status if the command fails."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.settings")
    argv = sys.argv
    wants_help = len(argv) < 2 or argv[1] in COMMANDS_WITHOUT_DATABASE or not {"-h", "--help"}.isdisjoint(argv)
    if wants_help or not settings.APP_CONFIG.is_embedded:
        return execute_from_command_line(argv)
    with embedded_postgres.run_server(settings.APP_CONFIG):
        return execute_from_command_line(argv)
