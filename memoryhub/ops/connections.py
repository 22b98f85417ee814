"""Connections with the database that outlive a request."""

from typing import Any

from django.db import connection


def close_read_only_connection(**_: Any) -> None:
    """Close this thread's connection if it began when the database accepted no writes, so that a request opens another.

    A session keeps `default_transaction_read_only` as its database or role had it at the start. A kept connection would
    go on refusing writes when the database accepts them again. PostgreSQL reports the setting to the client by itself,
    so this asks nothing.
    """
    session = connection.connection
    if session is None or session.closed or connection.in_atomic_block:
        return
    if session.info.parameter_status("default_transaction_read_only") == "on":
        connection.close()
