"""Databases beside the test's own: empty ones for the product to fill, copies, and a way to ask one after the other."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import psycopg
from django.core.management import call_command
from django.db import connection, connections
from psycopg import sql
from psycopg.conninfo import make_conninfo

from memoryhub.config import APPLICATION, OWNER, SUPERUSER
from memoryhub.ops.roles import promise_no_leaks

_numbers = itertools.count(1)


def address(name: str, role: str = OWNER) -> str:
    """The libpq address of a database on the test's server, for one of its roles."""
    return make_conninfo(os.environ["MEMORYHUB_TEST_DSN"], dbname=name, user=role)


def keepers_address(name: str) -> str:
    """The same for a test that looks at all rows: as the owner, who is bound by row-level security, too."""
    return make_conninfo(address(name), options="-c memoryhub.writes_as=*")


@contextmanager
def database(template: str = "template1") -> Iterator[str]:
    """The name of a new database that is like `template`, which nobody may be connected to; gone after the block."""
    name = _create(template)
    try:
        yield name
    finally:
        _execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _create(template: str) -> str:
    name = f"memoryhub_{os.getpid()}_{next(_numbers)}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}")
    _execute(create.format(*map(sql.Identifier, (name, template, OWNER))))
    return name


def _execute(statement: sql.Composed) -> None:
    with psycopg.connect(os.environ["MEMORYHUB_TEST_DSN"], user=SUPERUSER, autocommit=True) as server:
        server.execute(statement)


@cache
def migrated() -> str:
    """The name of a database with all migrations, for copies; made once, and thrown away with the whole cluster."""
    name = _create("template1")
    place = World(name)
    with place.entered():
        call_command("migrate", verbosity=0, interactive=False)
    place.close()
    return name


class World:
    """A database that Django can be made to talk to for a while; it keeps one connection.

    As the application, the session is a superuser's that has taken the application's role, so that `as_keeper` can step
    out of it within a transaction.
    """

    def __init__(self, name: str, *, as_application: bool = False) -> None:
        self.name = name
        self.connection = connections.create_connection("default")
        settings = {**self.connection.settings_dict, "NAME": name}
        if as_application:
            options = settings["OPTIONS"]["options"].replace("-c memoryhub.writes_as=*", f"-c role={APPLICATION}")
            settings |= {"USER": SUPERUSER, "OPTIONS": {**settings["OPTIONS"], "options": options}}
        self.connection.settings_dict = settings

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
        cursor.execute("SELECT current_setting('role')")
        ((before,),) = cursor.fetchall()
        cursor.execute("SET LOCAL ROLE NONE")
        yield
        cursor.execute(f"SET LOCAL ROLE {before}")


def no_leaks() -> None:
    """What the embedded server's superuser says of functions that indexes need, said in the test's database."""
    superuser = make_conninfo(os.environ["MEMORYHUB_TEST_DSN"], user=SUPERUSER)
    promise_no_leaks(superuser, str(connections["default"].settings_dict["NAME"]))


@contextmanager
def world(template: str = "template1", *, as_application: bool = False) -> Iterator[World]:
    """A new database that is like `template`, as a world."""
    with database(template) as name:
        made = World(name, as_application=as_application)
        try:
            yield made
        finally:
            made.close()
