"""What went wrong, told in a way that gives nothing away (threats.md, "Error contract")."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from django.db import DatabaseError, InterfaceError, OperationalError


class OutcomeUnknown(Exception):
    """The connection was lost during COMMIT: the write may or may not have happened. Sent again, it is told."""


@dataclass(frozen=True, slots=True)
class Fault:
    status: int
    code: str
    detail: str
    retry_after_seconds: int | None = None


INTERNAL = Fault(500, "internal", "Something went wrong on our side. The request id helps to find it in the log.")
UNAVAILABLE = Fault(503, "database_unavailable", "The database cannot be reached at the moment.", 2)
OUTCOME_UNKNOWN = Fault(
    503,
    "outcome_unknown",
    "The connection was lost while the write was committed. Send it again: it is stored once.",
    1,
)
_INVALID = Fault(400, "invalid_value", "A value cannot be stored or compared.")
_TOO_LARGE = Fault(413, "too_large", "A value is larger than the database can hold.")
_SERIALIZATION = Fault(503, "serialization", "Other writers were faster. Try again.", 1)
_BUSY = Fault(503, "busy", "The rows are locked by another transaction. Try again.", 2)
_TIMEOUT = Fault(503, "query_timeout", "The question took too long. Narrow it down.", 2)
_READ_ONLY = Fault(503, "read_only", "The database accepts no writes at the moment.", 10)
_DISK_FULL = Fault(503, "disk_full", "The disk of the database is full: nothing can be stored until it has room.", 30)
_TOO_MANY_CONNECTIONS = Fault(
    503, "too_many_connections", "The database accepts no more connections at the moment. Try again.", 5
)
_OUT_OF_RESOURCES = Fault(
    503, "out_of_resources", "The database has no memory, or another resource, left for this. Try again.", 10
)

# SQLSTATE, or its class of two characters; the longer one decides.
_BY_SQLSTATE = {
    "22": _INVALID,
    "54": _TOO_LARGE,
    "40": _SERIALIZATION,
    "55P03": _BUSY,
    "57014": _TIMEOUT,
    "53": _OUT_OF_RESOURCES,
    "53100": _DISK_FULL,
    "53300": _TOO_MANY_CONNECTIONS,
    "08": UNAVAILABLE,
    "57P": UNAVAILABLE,
    "25006": _READ_ONLY,
}


# libpq passes the server's words on when a session cannot begin, and not their SQLSTATE.
_REFUSED_SESSION = re.compile(
    r"too many clients already|remaining connection slots are reserved|too many connections for (role|database) "
)


def fault_of(error: BaseException) -> Fault:
    """The fault that a caller is told of for `error`."""
    if isinstance(error, OutcomeUnknown):
        return OUTCOME_UNKNOWN
    if state := sqlstate_of(error):
        return next((_BY_SQLSTATE[key] for key in (state, state[:3], state[:2]) if key in _BY_SQLSTATE), INTERNAL)
    # Without a SQLSTATE the server never answered: refused, cut, or gone.
    lost = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)
    return UNAVAILABLE if isinstance(error, lost) else INTERNAL


def sqlstate_of(error: BaseException) -> str | None:
    """The SQLSTATE of the database error that led to `error`, for the log. None if the database gave none."""
    for cause in _causes(error):
        if isinstance(cause, psycopg.Error) and cause.sqlstate:
            return cause.sqlstate
        if isinstance(cause, psycopg.OperationalError) and _REFUSED_SESSION.search(str(cause)):
            return "53300"
    return None


def is_lost_connection(error: DatabaseError | InterfaceError) -> bool:
    return fault_of(error) is UNAVAILABLE


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
