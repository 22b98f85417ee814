"""Classify errors into responses that reveal no internal details."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from django.db import DatabaseError, InterfaceError, OperationalError


class InvalidQueryError(ValueError):
    """A query string that cannot be answered: its errors by parameter, each a sentence without its subject."""

    def __init__(self, errors: dict[str, list[str]], code: str = "invalid_parameter") -> None:
        super().__init__("; ".join(f"{name} {'; '.join(messages)}" for name, messages in errors.items()))
        self.errors = errors
        self.code = code


class CommitOutcomeUnknownError(Exception):
    """The connection was lost during COMMIT: the write may or may not have happened. A retry is stored only once."""


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    status: int
    code: str
    detail: str
    retry_after_seconds: int | None = None


INTERNAL = ErrorInfo(500, "internal", "The server failed. The request id identifies the error in its log.")
UNAVAILABLE = ErrorInfo(503, "database_unavailable", "The database cannot be reached at the moment.", 2)
OUTCOME_UNKNOWN = ErrorInfo(
    503,
    "outcome_unknown",
    "The connection was lost while the write was committed. Send it again: it is stored once.",
    1,
)
_INVALID = ErrorInfo(400, "invalid_value", "A value cannot be stored or compared.")
_TOO_LARGE = ErrorInfo(413, "too_large", "A value is too large for the database.")
_SERIALIZATION = ErrorInfo(503, "serialization", "The write conflicted with a concurrent one. Try again.", 1)
_BUSY = ErrorInfo(503, "busy", "The rows are locked by another transaction. Try again.", 2)
_TIMEOUT = ErrorInfo(
    503, "query_timeout", "The request took too long. Use a narrower filter, or send fewer memories at once.", 2
)
_READ_ONLY = ErrorInfo(503, "read_only", "The database accepts no writes at the moment.", 10)
_DISK_FULL = ErrorInfo(
    503, "disk_full", "The disk of the database is full: no writes are possible until there is free space.", 30
)
_TOO_MANY_CONNECTIONS = ErrorInfo(
    503, "too_many_connections", "The database accepts no more connections at the moment. Try again.", 5
)
_OUT_OF_RESOURCES = ErrorInfo(
    503, "out_of_resources", "The database has run out of memory or another resource. Try again.", 10
)

# By SQLSTATE, or by its first three or two characters; the longest match decides.
_ERROR_INFO_BY_SQLSTATE = {
    "22": _INVALID,
    "54": _TOO_LARGE,
    "40": _SERIALIZATION,
    "55P03": _BUSY,
    "57014": _TIMEOUT,
    # A transaction that was idle, or open, for too long was ended.
    "25P03": _TIMEOUT,
    "25P04": _TIMEOUT,
    "53": _OUT_OF_RESOURCES,
    "53100": _DISK_FULL,
    "53300": _TOO_MANY_CONNECTIONS,
    "08": UNAVAILABLE,
    "57P": UNAVAILABLE,
    "25006": _READ_ONLY,
}


# If a session cannot begin, libpq passes on the server's message, but not its SQLSTATE.
_REJECTED_SESSION = re.compile(
    r"too many clients already|remaining connection slots are reserved|too many connections for (role|database) "
)


def classify_error(error: BaseException) -> ErrorInfo:
    """Return the status, code and text that a caller may see for `error`."""
    if isinstance(error, CommitOutcomeUnknownError):
        return OUTCOME_UNKNOWN
    if state := find_sqlstate(error):
        return next(
            (_ERROR_INFO_BY_SQLSTATE[key] for key in (state, state[:3], state[:2]) if key in _ERROR_INFO_BY_SQLSTATE),
            INTERNAL,
        )
    # Without a SQLSTATE the server sent no answer: the connection was refused, cut or closed.
    connection_errors = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)
    return UNAVAILABLE if isinstance(error, connection_errors) else INTERNAL


def find_sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE of the database error that caused `error`, for the log; None if there is none."""
    for cause in _iter_causes(error):
        if isinstance(cause, psycopg.Error) and cause.sqlstate:
            return cause.sqlstate
        if isinstance(cause, psycopg.OperationalError) and _REJECTED_SESSION.search(str(cause)):
            return "53300"
    return None


def is_lost_connection(error: DatabaseError | InterfaceError) -> bool:
    return classify_error(error) is UNAVAILABLE


def _iter_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
