"""How an exception stands in the log: what kind it was and where it came from, and not what it said.

What an exception says may be what a caller sent or what is stored: a row that failed a constraint, a text that could
not be converted. A log is read by others than memories are.
"""

import traceback
from collections.abc import Iterator
from types import TracebackType

import psycopg

# These speak of code.
PLAIN = (TypeError, AttributeError, NameError, ImportError, OSError)
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def described(exc_info: ExcInfo) -> str:
    """The exception and those that led to it, the first one first."""
    causes = reversed(list(_causes(exc_info[1])))
    return "\nthen ".join(_kind(error) + "\n" + "".join(traceback.format_tb(error.__traceback__)) for error in causes)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _kind(error: BaseException) -> str:
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    if isinstance(error, psycopg.Error):
        said = filter(None, (error.sqlstate, error.diag.table_name, error.diag.constraint_name))
        return " ".join([name, *said])
    return f"{name}: {error}" if isinstance(error, PLAIN) else name
