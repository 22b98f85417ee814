"""A worker with a job of the tests': `python -m tests.operations.worker_script NAME [--parent-pid PID]`.

The job adds 1 to `done` of each row of the table `numbers` in which it is 0, ten rows at a time.
"""

import argparse
import os
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.settings")
django.setup()

from django.db import connection, transaction  # noqa: E402 - after the setup

from memoryhub.operations import worker  # noqa: E402 - after the setup
from memoryhub.operations.background_jobs import BackgroundJob  # noqa: E402 - after the setup
from memoryhub.operations.models import JobFailures  # noqa: E402 - after the setup

CREATE_SQL = """
CREATE TABLE numbers (id integer PRIMARY KEY, done integer NOT NULL DEFAULT 0);
CREATE TABLE runs (pid integer, started_at timestamptz DEFAULT clock_timestamp());
CREATE TABLE secrets AS SELECT 'nobody may read this' AS content;
GRANT SELECT ON secrets TO memoryhub_app;
GRANT SELECT, UPDATE ON numbers TO memoryhub_app;
GRANT SELECT, INSERT ON runs TO memoryhub_app;
INSERT INTO numbers SELECT generate_series(1, 100);
"""
BATCH_SQL = """
WITH batch AS (SELECT id FROM numbers WHERE done = 0 ORDER BY id LIMIT %s)
UPDATE numbers SET done = done + 1 WHERE id IN (SELECT id FROM batch)
"""


def has_work() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM numbers WHERE done = 0)")
        return bool(cursor.fetchone()[0])


def run_batch(limit: int) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(BATCH_SQL, [limit])
        return int(cursor.rowcount)


def run_slow_batch(limit: int) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO runs VALUES (%s)", [os.getpid()])
        cursor.execute(BATCH_SQL, [limit])
        count = int(cursor.rowcount)
        cursor.execute("SELECT pg_sleep(0.2)")
    return count


def run_failing_batch(limit: int) -> int:
    """Fail once."""
    if not JobFailures.objects.exists():
        with connection.cursor() as cursor:
            cursor.execute("SELECT (SELECT content FROM secrets)::integer")
    return run_batch(limit)


def run_hanging_batch(_limit: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO runs VALUES (%s)", [os.getpid()])
    time.sleep(600)
    return 1


RUNS = {"quick": run_batch, "slow": run_slow_batch, "failing": run_failing_batch, "hanging": run_hanging_batch}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=RUNS)
    parser.add_argument("--parent-pid", type=int)
    arguments = parser.parse_args()
    worker.POLL_SECONDS = worker.FETCH_SECONDS = 0.1
    worker.HEARTBEAT_SECONDS, worker.STALLED_SECONDS = 0.3, 1.5
    worker.STOP_SECONDS = worker.RECONNECT_SECONDS = 0.5
    job = BackgroundJob(name="numbers", has_work=has_work, run=RUNS[arguments.name], batch_size=10)
    worker.run_worker([job], parent_pid=arguments.parent_pid)
