import sys
from typing import IO, Any

from django.core.management import BaseCommand, CommandError, CommandParser

from memoryhub.memories.filters import BadQuery, MemoryFilterSet
from memoryhub.ops.exporting import export_lines
from memoryhub.ops.management import questions


class Command(BaseCommand):
    help = "Write memories as JSON lines that import_memories reads back. The filters are those of the API."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--output", "-o", default="-", metavar="FILE", help="default: standard output")
        parser.add_argument("--history", action="store_true", help="every version, not the one in force alone")
        questions.add_options(parser, MemoryFilterSet.base_filters)

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            filters = MemoryFilterSet(questions.asked(options), clearance=questions.clearance(options["clearance"]))
        except BadQuery as error:
            raise CommandError(str(error)) from None
        if options["output"] == "-":
            self._write(sys.stdout.buffer, filters, options["history"])
            return
        try:
            with open(options["output"], "xb") as file:
                self._write(file, filters, options["history"])
        except OSError as error:
            raise CommandError(f"{options['output']} cannot be written: {error.strerror}.") from None

    def _write(self, file: IO[bytes], filters: MemoryFilterSet, history: bool) -> None:
        count = 0
        for line in export_lines(filters, history=history):
            file.write(line)
            count += 1
        file.flush()
        self.stderr.write(f"{count:,} lines written.")
