import sys
from collections.abc import Iterator
from typing import IO, Any

from django.core.management import BaseCommand, CommandError, CommandParser

from memoryhub.core.errors import InvalidQueryError
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.operations.management import filter_arguments
from memoryhub.transfer.jsonl_export import ExportSummary, iter_jsonl

FORMATS = {"jsonl": iter_jsonl}
"""A format is a generator of bytes with the signature of `iter_jsonl`, in a module of `memoryhub/transfer/`."""


class Command(BaseCommand):
    help = (
        "Write memories of every status, decisions and policies as JSON lines that import_memories reads back. The"
        " filters are those of the API; a filtered export has the decisions about its own memories, and no policies."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--output", "-o", default="-", metavar="FILE", help="file to write (default: standard output)"
        )
        parser.add_argument(
            "--format", choices=FORMATS, default="jsonl", help="format of the export (default: %(default)s)"
        )
        parser.add_argument("--history", action="store_true", help="write every version, not only the current ones")
        parser.add_argument(
            "--active-only", action="store_true", help="leave out retired, quarantined and erased memories"
        )
        filter_arguments.add_filter_arguments(parser, MemoryFilterSet)

    def handle(self, *_args: Any, **options: Any) -> None:
        filter_arguments.lift_time_limit()
        try:
            filters = MemoryFilterSet(
                filter_arguments.to_querydict(options), clearance=filter_arguments.get_clearance(options["clearance"])
            )
        except InvalidQueryError as error:
            raise CommandError(str(error)) from None
        if options["output"] == "-":
            self._write_export(sys.stdout.buffer, filters, options)
            return
        try:
            with open(options["output"], "xb") as file:
                self._write_export(file, filters, options)
        except OSError as error:
            raise CommandError(f"{options['output']} cannot be written: {error.strerror}.") from None

    def _write_export(self, file: IO[bytes], filters: MemoryFilterSet, options: dict[str, Any]) -> None:
        summary = ExportSummary()
        chunks = FORMATS[options["format"]](
            filters, include_history=options["history"], is_active_only=options["active_only"], summary=summary
        )
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        for sentence in _iter_summary_sentences(summary):
            self.stderr.write(sentence)


def _iter_summary_sentences(summary: ExportSummary) -> Iterator[str]:
    line_count = summary.memory_count + summary.other_line_counts.total()
    other_lines = "".join(f", {count:,} of type {type_}" for type_, count in summary.other_line_counts.items())
    yield f"{line_count:,} lines written: {summary.memory_count:,} versions of memories{other_lines}."
    if summary.inactive_counts:
        inactive_text = ", ".join(f"{count:,} {status}" for status, count in sorted(summary.inactive_counts.items()))
        yield f"{summary.inactive_counts.total():,} memories left out by --active-only: {inactive_text}."
    if summary.skipped_version_count:
        yield f"{summary.skipped_version_count:,} earlier versions left out: use --history to include them."
    if summary.skipped_decision_count:
        yield f"{summary.skipped_decision_count:,} decisions left out: some of their memories are not in this export."
