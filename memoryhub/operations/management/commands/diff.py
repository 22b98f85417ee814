import sys
from typing import Any

import orjson
from django.core.management import BaseCommand, CommandError, CommandParser
from django.utils.http import urlencode

from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall import rls
from memoryhub.operations.management import filter_arguments
from memoryhub.timetravel.diff import Change, DiffFilterSet, DiffQuery, to_json
from memoryhub.transfer.jsonl_export import record_export


class Command(BaseCommand):
    help = "Write the changes between two instants as JSON lines. The filters are those of the API."

    def add_arguments(self, parser: CommandParser) -> None:
        filter_arguments.add_filter_arguments(parser, DiffFilterSet)

    def handle(self, *_args: Any, **options: Any) -> None:
        filter_arguments.lift_time_limit()
        try:
            filters = DiffFilterSet(
                filter_arguments.to_querydict(options), clearance=filter_arguments.get_clearance(options["clearance"])
            )
        except InvalidQueryError as error:
            raise CommandError(str(error)) from None
        record_export(urlencode(filters.active_filters), route="diff", clearance=filters.clearance)
        count = 0
        with rls.as_reader(filters.clearance):
            for change in DiffQuery.resolve(filters).iter_all():
                sys.stdout.buffer.write(_serialize_change(change))
                count += 1
        sys.stdout.buffer.flush()
        self.stderr.write(f"{count:,} lines written.")


def _serialize_change(change: Change) -> bytes:
    return orjson.dumps(to_json(change), option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)
