from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from memoryhub.memories.ingest import OnConflict, Outcome
from memoryhub.ops.importing import Report, import_lines, opened


class Command(BaseCommand):
    help = "Store memories from JSON lines (.jsonl, .jsonl.gz, or - for standard input). Run again, it adds nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("files", nargs="+", metavar="FILE")
        parser.add_argument(
            "--on-conflict",
            choices=list(OnConflict),
            default=OnConflict.REFUSE,
            help="what to do with a payload_id that is stored with other content (default: %(default)s)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        refused = 0
        for name in options["files"]:
            report = self._import(name, OnConflict(options["on_conflict"]))
            refused += report.outcomes[Outcome.REJECTED] + report.outcomes[Outcome.CONFLICT]
            self._tell(name, report)
        if refused:
            raise CommandError(f"{refused:,} lines were not stored; all others were.", returncode=1)

    def _import(self, name: str, on_conflict: OnConflict) -> Report:
        console = Console(stderr=True)
        try:
            size = None if name == "-" else Path(name).stat().st_size
            with opened(name) as (lines, position), _bar(console) as bar:
                task = bar.add_task(escape(Path(name).name), total=size, rows="")
                return import_lines(
                    lines,
                    on_conflict=on_conflict,
                    progress=lambda report: bar.update(
                        task, completed=position.tell() if size else report.lines, rows=f"{report.lines:,} lines"
                    ),
                )
        except (OSError, EOFError) as error:
            raise CommandError(f"{name} cannot be read: {error}. What was read before is stored.") from None

    def _tell(self, name: str, report: Report) -> None:
        for line, reason in report.bad:
            # A reason may repeat what a hostile line said; no control character of it reaches the terminal.
            self.stderr.write(f"{name}:{line}: {reason.encode('unicode_escape').decode('ascii')}")
        numbers = ", ".join(f"{number:,} {outcome}" for outcome, number in report.outcomes.items())
        self.stdout.write(f"{name}: {report.lines:,} lines: {numbers}")


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rows]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
