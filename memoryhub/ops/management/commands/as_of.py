import sys
from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from django.core.management import BaseCommand, CommandParser
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from memoryhub.memories.filters import MOMENT, MemoryFilterSet
from memoryhub.ops.exporting import travelled
from memoryhub.ops.management import questions
from memoryhub.timetravel.travel import VIEWS, Answer


class Command(BaseCommand):
    help = "Write what was known, or believed, at an instant as JSON lines. The filters are those of the API."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "instant", nargs="?", default="", metavar="INSTANT", help="of event time, such as 2026-03-01T12:30:00Z"
        )
        parser.add_argument("--known-at", default="", metavar="INSTANT", help="of record time (default: now)")
        parser.add_argument("--view", choices=VIEWS, default="list", help="default: %(default)s")
        questions.add_options(parser, (name for name in MemoryFilterSet.base_filters if name not in MOMENT))

    def handle(self, *_args: Any, **options: Any) -> None:
        questions.lift_time_limit()
        wanted = questions.asked(options)
        wanted["view"] = options["view"]
        for name, instant in zip(MOMENT, (options["instant"], options["known_at"]), strict=True):
            if instant:
                wanted[name] = instant
        with questions.answered():
            lines, last = self._write(travelled(wanted, clearance=questions.clearance(options["clearance"])))
        self.stderr.write(f"{lines:,} lines written: {', '.join(_remarks(last))}.")

    def _write(self, answers: Iterable[Answer]) -> tuple[int, Answer]:
        """How many lines there were, and what came last."""
        lines = 0
        with _bar() as bar:
            task = bar.add_task("", total=None, rows="")
            for answer in answers:
                for record in answer.page.records:
                    sys.stdout.buffer.write(orjson.dumps(record, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))
                lines += len(answer.page.records)
                bar.update(task, rows=f"{lines:,} lines")
        sys.stdout.buffer.flush()
        return lines, answer


def _remarks(last: Answer) -> Iterator[str]:
    """The instants, with which the same can be asked for again, and what the lines lack."""
    for name in MOMENT:
        if instant := getattr(last.moment, name):
            yield f"{name} {instant.isoformat()}{' (now)' if name in last.moment.clipped else ''}"
    if last.erased:
        yield f"{last.erased:,} erased since"


def _bar() -> Progress:
    console = Console(stderr=True)
    columns = TextColumn("{task.fields[rows]}"), TimeElapsedColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
