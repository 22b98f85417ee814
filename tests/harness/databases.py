"""Databases beside the test's own: empty ones for the product to fill, copies, and a way to ask one after the other."""

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from uuid import uuid4

import psycopg
from django.core.management import call_command
from django.db import connection, connections
from psycopg import sql
from psycopg.conninfo import make_conninfo

from memoryhub.config import APP_ROLE, OWNER_ROLE, SUPERUSER_ROLE
from memoryhub.operations.database_roles import mark_leakproof
from tests.postgres_plugin import start_server


def database_dsn(name: str, role: str = OWNER_ROLE) -> str:
    """The libpq address of a database on the test's server, for one of its roles."""
    start_server()
    return make_conninfo(os.environ["MEMORYHUB_TEST_DSN"], dbname=name, user=role)


def unrestricted_dsn(name: str) -> str:
    """The same for a test that looks at all rows: as the owner, who is bound by row-level security, too."""
    return make_conninfo(database_dsn(name), options="-c memoryhub.writer_sources=*")


@contextmanager
def temporary_database_name(template: str = "template1") -> Iterator[str]:
    """The name of a new database that is like `template`, which nobody may be connected to; gone after the block."""
    name = _create_database(template)
    try:
        yield name
    finally:
        _drop_database(name)


def _drop_database(name: str) -> None:
    _execute_as_superuser(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _create_database(template: str) -> str:
    name = f"memoryhub_{uuid4().hex[:16]}"
    create_sql = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}")
    _execute_as_superuser(create_sql.format(*map(sql.Identifier, (name, template, OWNER_ROLE))))
    return name


def _execute_as_superuser(statement: sql.Composed) -> None:
    with psycopg.connect(database_dsn("postgres", SUPERUSER_ROLE), autocommit=True) as server:
        server.execute(statement)


@cache
def migrated_database_name() -> str:
    """The name of a database with all migrations, for copies; made once, and gone when this process ends."""
    name = _create_database("template1")
    atexit.register(_drop_database, name)
    database = DatabaseHandle(name)
    with database.activate():
        call_command("migrate", verbosity=0, interactive=False)
    database.close()
    return name


class DatabaseHandle:
    """A database that Django can be made to talk to for a while; it keeps one connection.

    As the application, the session is a superuser's that has taken the application's role, so that
    `as_unrestricted_reader` can step out of it within a transaction.
    """

    def __init__(self, name: str, *, as_application: bool = False) -> None:
        self.name = name
        self.connection = connections.create_connection("default")
        settings = {**self.connection.settings_dict, "NAME": name}
        if as_application:
            options = settings["OPTIONS"]["options"].replace("-c memoryhub.writer_sources=*", f"-c role={APP_ROLE}")
            settings |= {"USER": SUPERUSER_ROLE, "OPTIONS": {**settings["OPTIONS"], "options": options}}
        self.connection.settings_dict = settings

    @contextmanager
    def activate(self) -> Iterator[None]:
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
def as_unrestricted_reader() -> Iterator[None]:
    """In a transaction within a world: what a superuser sees and may do, above row-level security."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('role')")
        ((before,),) = cursor.fetchall()
        cursor.execute("SET LOCAL ROLE NONE")
        yield
        cursor.execute(f"SET LOCAL ROLE {before}")


def mark_leakproof_functions() -> None:
    """What the embedded server's superuser says of functions that indexes need, said in the test's database."""
    mark_leakproof(database_dsn("postgres", SUPERUSER_ROLE), str(connections["default"].settings_dict["NAME"]))


@contextmanager
def temporary_database(template: str = "template1", *, as_application: bool = False) -> Iterator[DatabaseHandle]:
    """A new database that is like `template`, as a world."""
    with temporary_database_name(template) as name:
        database = DatabaseHandle(name, as_application=as_application)
        try:
            yield database
        finally:
            database.close()
