#!/usr/bin/env python
"""Django's command line, with the embedded PostgreSQL running for as long as the command does."""

import os
import sys

WITHOUT_DATABASE = {"check", "collectstatic", "help", "makemigrations", "spectacular", "version", "--help", "--version"}


def main(argv: list[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.settings")
    from django.conf import settings
    from django.core.management import execute_from_command_line

    wants_help = len(argv) < 2 or argv[1] in WITHOUT_DATABASE or not {"-h", "--help"}.isdisjoint(argv)
    if wants_help or not settings.APP_CONFIG.is_embedded:
        return execute_from_command_line(argv)
    from memoryhub.operations import embedded_postgres

    with embedded_postgres.run_server(settings.APP_CONFIG):
        return execute_from_command_line(argv)


if __name__ == "__main__":
    main(sys.argv)
