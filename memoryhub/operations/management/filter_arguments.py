"""Shared by the commands that export memories: filters as options, and the clearance of the reader."""

from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management import CommandError, CommandParser
from django.db import DatabaseError, ProgrammingError, connection
from django.http import QueryDict

from memoryhub.core.errors import InvalidQueryError, classify_error
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.models import ClearanceProfile
from memoryhub.memories.filter_fields import EXCLUDING_SUFFIX
from memoryhub.memories.filters import PointInTimeFilterSet
from memoryhub.operations.program import PROGRAM_NAME


def add_filter_arguments(
    parser: CommandParser, filter_set: type[PointInTimeFilterSet], *, without: Container[str] = ()
) -> None:
    """Add `--clearance` and the options of each filter; `get_clearance` and `to_querydict` read them.

    A filter that takes several values has an option `--not-…`, too, for those that it excludes.
    """
    parser.add_argument(
        "--clearance", metavar="NAME", help="write only memories that this clearance sees (default: all memories)"
    )
    for name in filter_set.base_filters:
        if name in without:
            continue
        option = name.replace("_", "-")
        options = {f"--{option}": name}
        if name in filter_set.repeatable_params():
            options[f"--not-{option}"] = name + EXCLUDING_SUFFIX
        for flag, param in options.items():
            parser.add_argument(flag, dest=f"filter_{param}", metavar=name.upper(), action="append", default=[])


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
