"""What the commands that write memories out have in common: filters as options, and somebody's clearance."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management import CommandError, CommandParser
from django.db import DatabaseError, ProgrammingError, connection
from django.http import QueryDict

from memoryhub.faults import fault_of
from memoryhub.firewall.models import ClearanceRecord
from memoryhub.firewall.types import Clearance, everything
from memoryhub.memories.filters import BadQuery


def add_options(parser: CommandParser, filters: Iterable[str]) -> None:
    """`--clearance`, and an option for each of `filters`; `asked` and `clearance` read them."""
    parser.add_argument("--clearance", metavar="NAME", help="only what this clearance sees (default: everything)")
    for name in filters:
        parser.add_argument(
            f"--{name.replace('_', '-')}", dest=f"filter_{name}", metavar="VALUE", action="append", default=[]
        )


def asked(options: dict[str, Any]) -> QueryDict:
    """The filters that were given, as they would stand in an address."""
    query = QueryDict(mutable=True)
    for option, values in options.items():
        if option.startswith("filter_"):
            query.setlist(option.removeprefix("filter_"), values)
    return query


def clearance(name: str | None) -> Clearance:
    if name is None:
        return everything()
    try:
        return ClearanceRecord.objects.get(name=name).as_clearance()
    except ClearanceRecord.DoesNotExist:
        raise CommandError(f"There is no clearance named {name!r}.") from None


def lift_time_limit() -> None:
    """Let statements of this session take as long as they take: all of a large hub takes longer than a page may."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")


@contextmanager
def answered() -> Iterator[None]:
    """What cannot be answered is said in one sentence."""
    try:
        yield
    except BadQuery as error:
        raise CommandError(str(error)) from None
    except ProgrammingError:
        raise CommandError("The database's schema is not up to date: run `manage.py migrate` first.") from None
    except DatabaseError as error:
        raise CommandError(f"The database cannot be asked: {fault_of(error).detail}") from None
