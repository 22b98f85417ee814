import sys
from typing import Any

import orjson
from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils.http import urlencode

from memoryhub.audit import ledger
from memoryhub.firewall import wall
from memoryhub.firewall.reach import reach_of
from memoryhub.memories.filters import BadQuery
from memoryhub.ops.management import questions
from memoryhub.timetravel.diff import Change, DiffFilterSet, Question, as_json


class Command(BaseCommand):
    help = "Write what differs between two instants as JSON lines. The filters are those of the API."

    def add_arguments(self, parser: CommandParser) -> None:
        questions.add_options(parser, DiffFilterSet.base_filters)

    def handle(self, *_args: Any, **options: Any) -> None:
        questions.lift_time_limit()
        try:
            filters = DiffFilterSet(questions.asked(options), clearance=questions.clearance(options["clearance"]))
        except BadQuery as error:
            raise CommandError(str(error)) from None
        _enter(filters)
        count = 0
        with wall.behind(filters.clearance):
            for change in Question.asked(filters).every():
                sys.stdout.buffer.write(_line(change))
                count += 1
        sys.stdout.buffer.flush()
        self.stderr.write(f"{count:,} lines written.")


def _enter(filters: DiffFilterSet) -> None:
    """Before the first line, and in a transaction of its own, as of an export."""
    told = ledger.Event(
        principal="system:export",
        action="memory.export",
        route="diff",
        query=urlencode(filters.active),
        reach=reach_of(filters.clearance),
    )
    with transaction.atomic():
        ledger.append(told)


def _line(change: Change) -> bytes:
    return orjson.dumps(as_json(change), option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)
