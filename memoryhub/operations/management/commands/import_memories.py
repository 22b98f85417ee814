from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from memoryhub.memories.writes.identity import OnConflict
from memoryhub.operations.management import filter_arguments
from memoryhub.transfer.jsonl_import import MAX_REPORTED, ImportReport, import_lines
from memoryhub.transfer.line_files import open_lines


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
            help="how to handle a payload_id that is stored with other content (default: %(default)s)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        failure_count, unreadable_messages = 0, []
        filter_arguments.lift_time_limit()
        for name in options["files"]:
            report = self._import_file(name, OnConflict(options["on_conflict"]))
            failure_count += report.failure_count
            self._write_report(name, report)
            if report.database_error:
                raise CommandError(
                    f"The import of {name} stopped in the batch that ends with line {report.line_count:,}."
                    f" {report.database_error}"
                    " The batches before it are stored: run it again to store the rest.",
                    returncode=1,
                )
            if report.read_error:
                position_text = f" beyond line {report.line_count:,}" if report.line_count else ""
                unreadable_messages.append(f"{name} cannot be read{position_text}: {report.read_error}.")
        error_messages = [
            *unreadable_messages,
            *([f"{failure_count:,} lines were not stored; all other lines were."] if failure_count else []),
        ]
        if error_messages:
            raise CommandError(" ".join(error_messages), returncode=1)

    def _import_file(self, name: str, on_conflict: OnConflict) -> ImportReport:
        console = Console(stderr=True)
        try:
            size = None if name == "-" else Path(name).stat().st_size
            with open_lines(name) as file, _create_progress_bar(console) as progress_bar:
                task = progress_bar.add_task(escape(Path(name).name), total=size, rows="")
                raw_stream = file.raw_stream
                return import_lines(
                    file,
                    on_conflict=on_conflict,
                    report_progress=lambda report: progress_bar.update(
                        task,
                        completed=raw_stream.tell() if size and raw_stream else report.line_count,
                        rows=f"{report.line_count:,} lines",
                    ),
                )
        except OSError as error:
            return ImportReport(read_error=error.strerror or str(error))

    def _write_report(self, name: str, report: ImportReport) -> None:
        for line_number, reason in report.failures:
            self.stderr.write(f"{name}:{line_number}: {_escape_control_characters(reason)}")
        if report.failure_count > MAX_REPORTED:
            self.stderr.write(f"{name}: {report.failure_count - MAX_REPORTED:,} more lines were not stored.")
        for reason, count in report.reason_counts.most_common() if report.failure_count > 1 else ():
            self.stderr.write(f"{name}: {count:,} times {_escape_control_characters(reason)}")
        counts_text = ", ".join(f"{count:,} {outcome}" for outcome, count in report.outcome_counts.items())
        truncation_text = (
            f", {report.truncated_time_count:,} truncated to microseconds" if report.truncated_time_count else ""
        )
        self.stdout.write(f"{name}: {report.line_count:,} lines: {counts_text}{truncation_text}")


def _escape_control_characters(reason: str) -> str:
    # A reason may quote a hostile line: none of its control characters may reach the terminal.
    return reason.encode("unicode_escape").decode("ascii")


def _create_progress_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rows]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
