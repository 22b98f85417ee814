"""Databases beside the test's own: empty ones for the product to fill, copies, and a way to ask one after the other."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.db import connection, connections
from psycopg import sql
from psycopg.conninfo import make_conninfo

from memoryhub.config import APPLICATION, OWNER, SUPERUSER

_numbers = itertools.count(1)


def address(name: str) -> str:
    """The libpq address of a database on the test's server."""
    return make_conninfo(os.environ["MEMORYHUB_TEST_DSN"], dbname=name)


@contextmanager
def database(template: str = "template1") -> Iterator[str]:
    """The name of a new database that is like `template`, which nobody may be connected to; gone after the block."""
    name = f"memoryhub_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(os.environ["MEMORYHUB_TEST_DSN"], user=SUPERUSER, autocommit=True) as server:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}")
        server.execute(create.format(*map(sql.Identifier, (name, template, OWNER))))
        try:
            yield name
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


class World:
    """A database that Django can be made to talk to for a while, as the application; it keeps one connection.

    The session is a superuser's that has taken the application's role, so that `as_keeper` can step out of it within a
    transaction.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.connection = connections.create_connection("default")
        settings = self.connection.settings_dict
        options = settings["OPTIONS"]["options"].replace("-c memoryhub.writes_as=*", f"-c role={APPLICATION}")
        self.connection.settings_dict = {
            **settings,
            "NAME": name,
            "USER": SUPERUSER,
            "OPTIONS": {**settings["OPTIONS"], "options": options},
        }

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Everything that asks the default database in this thread asks this one."""
        outside = connections["default"]
        connections["default"] = self.connection
        try:
            yield
        finally:
            connections["default"] = outside

    def close(self) -> None:
        self.connection.close()


@contextmanager
def as_keeper() -> Iterator[None]:
    """In a transaction within a world: what a superuser sees and may do, above row-level security."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL ROLE NONE")
        yield
        cursor.execute(f"SET LOCAL ROLE {APPLICATION}")


@contextmanager
def world(template: str = "template1") -> Iterator[World]:
    """A new database that is like `template`, as a world."""
    with database(template) as name:
        made = World(name)
        try:
            yield made
        finally:
            made.close()
