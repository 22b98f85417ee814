"""The PostgreSQL of the test run, started when the first test needs it (pytest loads this with -p).

Its address is known before it runs, and Django's settings read it here. It is thrown away after the run unless
MEMORYHUB_TEST_HOME names a directory to keep it in: then the next run finds the server's files and the migrated
database there.
"""

import atexit
import os
import shutil
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from memoryhub.config import SUPERUSER_ROLE, Config
from memoryhub.operations import embedded_postgres

# xdist's workers are children of the process that runs the server: they find its address and start nothing.
_is_given = "MEMORYHUB_TEST_DSN" in os.environ
if not _is_given:
    _kept_home = os.environ.get("MEMORYHUB_TEST_HOME")
    _cluster_config = Config(
        home=Path(_kept_home or Path(tempfile.mkdtemp(prefix="memoryhub-test-")) / "home").resolve(), database_url=None
    )
    os.environ["MEMORYHUB_TEST_DSN"] = _cluster_config.owner_dsn
    # A test reads its rows as an unrestricted reader; requests use row security (conftest).
    os.environ["DATABASE_URL"] = f"{_cluster_config.owner_dsn}&options={quote('-c memoryhub.writer_sources=*')}"
    os.environ["MEMORYHUB_HOME"] = str(_cluster_config.home)
    if not _kept_home:
        # Not TemporaryDirectory: its own finalizer would take the folder from under the running server.
        atexit.register(shutil.rmtree, _cluster_config.home.parent, ignore_errors=True)


@cache
def start_server() -> None:
    """Start the run's PostgreSQL, unless it was given or runs already; it stops when this process ends."""
    if _is_given:
        return
    stack = ExitStack()
    (_cluster_config.ensure_home() / "static").mkdir(exist_ok=True)
    stack.enter_context(embedded_postgres.run_server(_cluster_config))
    atexit.register(stack.close)
    # Nobody will miss this cluster if the machine loses its power: commits need not wait for the disk. Nor may
    # autovacuum come by when it likes: it sees nothing of what a test has not committed, takes a table for empty, and
    # the planner believes it.
    with psycopg.connect(_cluster_config.embedded_dsn(SUPERUSER_ROLE), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("SELECT pg_reload_conf()")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None):
        start_server()
