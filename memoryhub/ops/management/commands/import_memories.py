from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from memoryhub.memories.ingest import OnConflict
from memoryhub.ops.importing import MAX_REPORTED, Report, import_lines
from memoryhub.ops.line_files import opened
from memoryhub.ops.management import questions


class Command(BaseCommand):
    help = (
        "Store memories, decisions and policies from JSON lines (.jsonl, .jsonl.gz, or - for standard input). Run"
        " again, it adds nothing. What an export says of status and versions is restored; nothing that is retired,"
        " quarantined or erased here comes back into force. Record times are those of this hub."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("files", nargs="+", metavar="FILE")
        parser.add_argument(
            "--on-conflict",
            choices=list(OnConflict),
            default=OnConflict.REFUSE,
            help="what to do with a payload_id that is stored with other content (default: %(default)s)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        refused, unreadable = 0, []
        questions.lift_time_limit()
        for name in options["files"]:
            report = self._import(name, OnConflict(options["on_conflict"]))
            refused += report.refused
            self._tell(name, report)
            if report.interruption:
                raise CommandError(
                    f"The import of {name} ended in the lines up to {report.lines:,}. {report.interruption}"
                    " What was stored before stays: run it again, and it adds what is missing.",
                    returncode=1,
                )
            if report.damage:
                beyond = f" beyond line {report.lines:,}" if report.lines else ""
                unreadable.append(f"{name} cannot be read{beyond}: {report.damage}.")
        faults = [*unreadable, *([f"{refused:,} lines were not stored; all others were."] if refused else [])]
        if faults:
            raise CommandError(" ".join(faults), returncode=1)

    def _import(self, name: str, on_conflict: OnConflict) -> Report:
        console = Console(stderr=True)
        try:
            size = None if name == "-" else Path(name).stat().st_size
            with opened(name) as file, _bar(console) as bar:
                task = bar.add_task(escape(Path(name).name), total=size, rows="")
                position = file.position
                return import_lines(
                    file,
                    on_conflict=on_conflict,
                    progress=lambda report: bar.update(
                        task,
                        completed=position.tell() if size and position else report.lines,
                        rows=f"{report.lines:,} lines",
                    ),
                )
        except OSError as error:
            return Report(damage=error.strerror or str(error))

    def _tell(self, name: str, report: Report) -> None:
        for line, reason in report.bad:
            self.stderr.write(f"{name}:{line}: {_harmless(reason)}")
        if report.refused > MAX_REPORTED:
            self.stderr.write(f"{name}: {report.refused - MAX_REPORTED:,} more lines were not stored.")
        for reason, number in report.reasons.most_common() if report.refused > 1 else ():
            self.stderr.write(f"{name}: {number:,} times {_harmless(reason)}")
        numbers = ", ".join(f"{number:,} {outcome}" for outcome, number in report.outcomes.items())
        cut = f", {report.truncated:,} truncated to microseconds" if report.truncated else ""
        self.stdout.write(f"{name}: {report.lines:,} lines: {numbers}{cut}")


def _harmless(reason: str) -> str:
    # A reason may repeat what a hostile line said; no control character of it reaches the terminal.
    return reason.encode("unicode_escape").decode("ascii")


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
