import sys
from typing import IO, Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.http import QueryDict

from memoryhub.firewall.models import ClearanceRecord
from memoryhub.firewall.types import Clearance, everything
from memoryhub.memories.filters import BadQuery, MemoryFilterSet
from memoryhub.ops.exporting import export_lines


class Command(BaseCommand):
    help = "Write memories as JSON lines that import_memories reads back. The filters are those of the API."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--output", "-o", default="-", metavar="FILE", help="default: standard output")
        parser.add_argument("--history", action="store_true", help="every version, not the one in force alone")
        parser.add_argument("--clearance", metavar="NAME", help="only what this clearance sees (default: everything)")
        for name in MemoryFilterSet.base_filters:
            parser.add_argument(f"--{name.replace('_', '-')}", dest=f"filter_{name}", action="append", default=[])

    def handle(self, *_args: Any, **options: Any) -> None:
        wanted = QueryDict(mutable=True)
        for name in MemoryFilterSet.base_filters:
            wanted.setlist(name, options[f"filter_{name}"])
        try:
            filters = MemoryFilterSet(wanted, clearance=_clearance(options["clearance"]))
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


def _clearance(name: str | None) -> Clearance:
    if name is None:
        return everything()
    try:
        return ClearanceRecord.objects.get(name=name).as_clearance()
    except ClearanceRecord.DoesNotExist:
        raise CommandError(f"There is no clearance named {name!r}.") from None
