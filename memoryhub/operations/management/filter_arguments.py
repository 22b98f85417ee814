"""Shared by the commands that export memories: filters as options, and the clearance of the reader."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management import CommandError, CommandParser
from django.db import DatabaseError, ProgrammingError, connection
from django.http import QueryDict

from memoryhub.core.errors import InvalidQueryError, classify_error
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.models import ClearanceProfile
from memoryhub.operations.program import PROGRAM_NAME


def add_filter_arguments(parser: CommandParser, filters: Iterable[str]) -> None:
    """Add `--clearance` and one option per filter; `get_clearance` and `to_querydict` read them."""
    parser.add_argument(
        "--clearance", metavar="NAME", help="write only memories that this clearance sees (default: all memories)"
    )
    for name in filters:
        parser.add_argument(
            f"--{name.replace('_', '-')}", dest=f"filter_{name}", metavar=name.upper(), action="append", default=[]
        )


def to_querydict(options: dict[str, Any]) -> QueryDict:
    """Return the given filters as the query string of a URL would have them."""
    query = QueryDict(mutable=True)
    for option_name, values in options.items():
        if option_name.startswith("filter_"):
            query.setlist(option_name.removeprefix("filter_"), values)
    return query


def get_clearance(name: str | None) -> Clearance:
    if name is None:
        return unrestricted_clearance()
    try:
        return ClearanceProfile.objects.get(name=name).as_clearance()
    except ClearanceProfile.DoesNotExist:
        raise CommandError(f"There is no clearance named {name!r}.") from None


def lift_time_limit() -> None:
    """Remove the statement timeout of this session: an export of a large hub takes longer than a page may."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")


@contextmanager
def errors_as_command_errors() -> Iterator[None]:
    """Turn errors of a query into a CommandError of one sentence."""
    try:
        yield
    except InvalidQueryError as error:
        raise CommandError(str(error)) from None
    except ProgrammingError:
        raise CommandError(f"The database's schema is not up to date: run `{PROGRAM_NAME} migrate` first.") from None
    except DatabaseError as error:
        raise CommandError(f"The database cannot be queried: {classify_error(error).detail}") from None
