"""Care for database connections that outlive a request."""

from typing import Any

from django.db import connection


def close_read_only_connection(**_: Any) -> None:
    """Close this thread's connection if it began when the database was read-only, so that the request opens another.

    A session keeps the `default_transaction_read_only` of its start, so a persistent connection would refuse writes
    even when the database accepts them again. PostgreSQL reports the setting to the client unasked: this sends no
    query.
    """
    session = connection.connection
    if session is None or session.closed or connection.in_atomic_block:
        return
    if session.info.parameter_status("default_transaction_read_only") == "on":
        connection.close()
