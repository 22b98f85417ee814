"""A throw-away PostgreSQL for the run, started before Django reads its settings (pytest loads this with -p)."""

import atexit
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

if "MEMORYHUB_TEST_DSN" not in os.environ:
    import psycopg

    from memoryhub.config import SUPERUSER_ROLE, Config
    from memoryhub.operations import embedded_postgres

    stack = ExitStack()
    atexit.register(stack.close)
    # Not TemporaryDirectory: its own finalizer would take the folder from under the running server.
    folder = tempfile.mkdtemp(prefix="memoryhub-test-")
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    cluster_config = Config(home=Path(folder) / "home", database_url=None)
    (cluster_config.ensure_home() / "static").mkdir()
    stack.enter_context(embedded_postgres.run_server(cluster_config))
    # Nobody will miss this cluster if the machine loses its power: commits need not wait for the disk. Nor may
    # autovacuum come by when it likes: it sees nothing of what a test has not committed, takes a table for empty, and
    # the planner believes it.
    with psycopg.connect(cluster_config.embedded_dsn(SUPERUSER_ROLE), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("SELECT pg_reload_conf()")
    # xdist's workers are children: they find the address here and start nothing.
    os.environ["MEMORYHUB_TEST_DSN"] = cluster_config.owner_dsn
    # A test reads its rows as an unrestricted reader; requests use row security (conftest).
    os.environ["DATABASE_URL"] = f"{cluster_config.owner_dsn}&options={quote('-c memoryhub.writer_sources=*')}"
    os.environ["MEMORYHUB_HOME"] = str(cluster_config.home)
