"""`manage.py worker`: run the background jobs until a signal stops it."""

import argparse
import os
from typing import Any

from django.core.management import BaseCommand, CommandParser

from memoryhub.operations.background_jobs import BACKGROUND_JOBS
from memoryhub.operations.worker import run_worker

NICENESS = 5


class Command(BaseCommand):
    help = "Run the background jobs until a signal stops it. `serve` starts one unless MEMORYHUB_WORKER is false."
    requires_system_checks: list[str] = ["memoryhub"]

    def add_arguments(self, parser: CommandParser) -> None:
        # `serve` names itself: its worker ends when it was killed, and gives way to its web processes.
        parser.add_argument("--parent-pid", type=int, help=argparse.SUPPRESS)

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["parent_pid"]:
            os.nice(NICENESS)
        run_worker(BACKGROUND_JOBS, parent_pid=options["parent_pid"])
