import sys
from collections.abc import Iterator
from typing import IO, Any

from django.core.management import BaseCommand, CommandError, CommandParser

from memoryhub.memories.filters import BadQuery, MemoryFilterSet
from memoryhub.ops.exporting import Summary, export_lines
from memoryhub.ops.management import questions


class Command(BaseCommand):
    help = (
        "Write memories of every status, decisions and policies as JSON lines that import_memories reads back. The"
        " filters are those of the API; a filtered export has the decisions about its own memories, and no policies."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--output", "-o", default="-", metavar="FILE", help="default: standard output")
        parser.add_argument("--history", action="store_true", help="every version, not the one in force alone")
        parser.add_argument(
            "--active-only", action="store_true", help="leave out memories that are retired, quarantined or erased"
        )
        questions.add_options(parser, MemoryFilterSet.base_filters)

    def handle(self, *_args: Any, **options: Any) -> None:
        questions.lift_time_limit()
        try:
            filters = MemoryFilterSet(questions.asked(options), clearance=questions.clearance(options["clearance"]))
        except BadQuery as error:
            raise CommandError(str(error)) from None
        if options["output"] == "-":
            self._write(sys.stdout.buffer, filters, options)
            return
        try:
            with open(options["output"], "xb") as file:
                self._write(file, filters, options)
        except OSError as error:
            raise CommandError(f"{options['output']} cannot be written: {error.strerror}.") from None

    def _write(self, file: IO[bytes], filters: MemoryFilterSet, options: dict[str, Any]) -> None:
        summary = Summary()
        lines = export_lines(filters, history=options["history"], active_only=options["active_only"], summary=summary)
        for line in lines:
            file.write(line)
        file.flush()
        for sentence in _sentences(summary):
            self.stderr.write(sentence)


def _sentences(summary: Summary) -> Iterator[str]:
    written = summary.memories + summary.others.total()
    others = "".join(f", {number:,} of type {type_}" for type_, number in summary.others.items())
    yield f"{written:,} lines written: {summary.memories:,} versions of memories{others}."
    if summary.inactive:
        told = ", ".join(f"{number:,} {status}" for status, number in sorted(summary.inactive.items()))
        yield f"{summary.inactive.total():,} memories left out by --active-only: {told}."
    if summary.earlier_versions:
        yield f"{summary.earlier_versions:,} earlier versions left out: --history writes them, too."
    if summary.decisions:
        yield f"{summary.decisions:,} decisions left out: not all of their memories are in this export."
