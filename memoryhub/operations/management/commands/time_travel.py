import sys
from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from django.core.management import BaseCommand, CommandParser
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from memoryhub.memories.filters import POINT_IN_TIME_PARAMS, MemoryFilterSet
from memoryhub.operations.management import filter_arguments
from memoryhub.timetravel.point_queries import VIEWS, TimeTravelPage
from memoryhub.transfer.jsonl_export import iter_time_travel_pages


class Command(BaseCommand):
    help = "Write the memories as of an instant of either time, as JSON lines. The filters are those of the API."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "instant",
            nargs="?",
            default="",
            metavar="INSTANT",
            help="instant of event time, such as 2026-03-01T12:30:00Z",
        )
        parser.add_argument("--known-at", default="", metavar="INSTANT", help="instant of record time (default: now)")
        parser.add_argument("--view", choices=VIEWS, default="list", help="the view (default: %(default)s)")
        filter_arguments.add_filter_arguments(parser, MemoryFilterSet, without=POINT_IN_TIME_PARAMS)

    def handle(self, *_args: Any, **options: Any) -> None:
        filter_arguments.lift_time_limit()
        params = filter_arguments.to_querydict(options)
        params["view"] = options["view"]
        for name, instant in zip(POINT_IN_TIME_PARAMS, (options["instant"], options["known_at"]), strict=True):
            if instant:
                params[name] = instant
        with filter_arguments.errors_as_command_errors():
            line_count, last_page = self._write_lines(
                iter_time_travel_pages(params, clearance=filter_arguments.get_clearance(options["clearance"]))
            )
        self.stderr.write(f"{line_count:,} lines written: {', '.join(_iter_remarks(last_page))}.")

    def _write_lines(self, pages: Iterable[TimeTravelPage]) -> tuple[int, TimeTravelPage]:
        """Write all pages as JSON lines; return the number of lines and the last page."""
        line_count = 0
        with _create_progress_bar() as progress_bar:
            task = progress_bar.add_task("", total=None, rows="")
            for page in pages:
                for record in page.page.records:
                    sys.stdout.buffer.write(orjson.dumps(record, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))
                line_count += len(page.page.records)
                progress_bar.update(task, rows=f"{line_count:,} lines")
        sys.stdout.buffer.flush()
        return line_count, page


def _iter_remarks(page: TimeTravelPage) -> Iterator[str]:
    """Yield the instants that repeat the query, and the number of memories erased since."""
    for name in POINT_IN_TIME_PARAMS:
        if instant := getattr(page.point_in_time, name):
            yield f"{name} {instant.isoformat()}{' (now)' if name in page.point_in_time.clipped else ''}"
    if page.erased_count:
        yield f"{page.erased_count:,} erased since"


def _create_progress_bar() -> Progress:
    console = Console(stderr=True)
    columns = TextColumn("{task.fields[rows]}"), TimeElapsedColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
