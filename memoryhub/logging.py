"""Log exceptions with their type and origin, but without their message.

The message may quote what a caller sent or what is stored, such as a row that failed a constraint. Readers of the log
may lack the clearance for that.
"""

import traceback
from collections.abc import Iterator
from types import TracebackType

import psycopg

# The messages of these types describe code, not data.
SAFE_MESSAGE_TYPES = (TypeError, AttributeError, NameError, ImportError, OSError)
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def render_exception(exc_info: ExcInfo) -> str:
    """Return the exception and its causes with their tracebacks, the first cause first."""
    causes = reversed(list(_iter_causes(exc_info[1])))
    return "\nthen ".join(
        _exception_summary(error) + "\n" + "".join(traceback.format_tb(error.__traceback__)) for error in causes
    )


def _iter_causes(error: BaseException | None) -> Iterator[BaseException]:
    visited_ids: set[int] = set()
    while error is not None and id(error) not in visited_ids:
        visited_ids.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _exception_summary(error: BaseException) -> str:
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    if isinstance(error, psycopg.Error):
        fields = filter(None, (error.sqlstate, error.diag.table_name, error.diag.constraint_name))
        return " ".join([name, *fields])
    return f"{name}: {error}" if isinstance(error, SAFE_MESSAGE_TYPES) else name
