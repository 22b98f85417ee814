"""The worker as a process of its own, in the application's role, on a real database."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import psycopg
import pytest

from memoryhub.config import APP_ROLE, SUPERUSER_ROLE
from memoryhub.operations.database_roles import grant_app_privileges
from memoryhub.operations.worker import JOB_LOCK_ID
from tests.harness.databases import database_dsn, temporary_database, temporary_database_name, unrestricted_dsn
from tests.operations.processes import run_process
from tests.operations.worker_script import CREATE_SQL

DONE_ONCE = [(1, 100)]


class NumbersDatabase:
    """A hub's database with the table of the job, asked as its owner."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home

    def query(self, statement: str) -> list[Any]:
        with psycopg.connect(unrestricted_dsn(self.name), autocommit=True) as owner:
            cursor = owner.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def cut_connections(self) -> None:
        """End the connections of the application."""
        with psycopg.connect(database_dsn(self.name, SUPERUSER_ROLE), autocommit=True) as superuser:
            superuser.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = %s",
                [self.name, APP_ROLE],
            )

    def count_done(self) -> list[Any]:
        return self.query("SELECT done, count(*) FROM numbers GROUP BY done ORDER BY done")

    def list_jobs(self) -> list[Any]:
        return self.query("SELECT task_name, status::text, args::text FROM procrastinate_jobs")

    @contextmanager
    def run_worker(self, run: str, *arguments: str) -> Iterator[Popen[str]]:
        settings = {"DATABASE_URL": database_dsn(self.name, APP_ROLE), "MEMORYHUB_HOME": str(self.home)}
        with run_process("-m", "tests.operations.worker_script", run, *arguments, **settings) as worker:
            yield worker


@pytest.fixture
def database(migrated_database: str, django_db_blocker: Any, tmp_path: Path) -> Iterator[NumbersDatabase]:
    with temporary_database(migrated_database) as handle:
        with django_db_blocker.unblock(), handle.activate():
            grant_app_privileges(APP_ROLE)
        numbers = NumbersDatabase(handle.name, tmp_path)
        numbers.query(CREATE_SQL)
        yield numbers


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def stop(worker: Popen[str], signal_number: int = signal.SIGTERM) -> tuple[float, str]:
    """The seconds that the worker takes to end, and what it has written."""
    started_at = time.monotonic()
    worker.send_signal(signal_number)
    output, _ = worker.communicate(timeout=20)
    return time.monotonic() - started_at, output


def test_a_job_that_was_killed_is_done_by_the_next_worker_and_no_row_is_done_twice(database):
    with database.run_worker("slow") as worker:
        wait_until(lambda: len(database.query("SELECT 1 FROM runs")) >= 2)
        worker.kill()
        worker.wait()
    assert database.list_jobs() == [("numbers", "doing", "{}")]
    assert database.query("SELECT 1 FROM numbers WHERE done = 0") != []

    with database.run_worker("quick") as worker:
        wait_until(lambda: database.count_done() == DONE_ONCE)
        wait_until(lambda: database.list_jobs() == [])

        # what is written later is found without being announced
        database.query("INSERT INTO numbers VALUES (101)")
        wait_until(lambda: database.count_done() == [(1, 101)])
        wait_until(lambda: database.list_jobs() == [])
        seconds, output = stop(worker, signal.SIGINT)

    assert (worker.returncode, output) == (0, "")
    assert seconds < 5


def test_two_workers_share_the_work_and_only_one_of_them_runs_a_job_at_a_time(database):
    with database.run_worker("slow") as first, database.run_worker("slow") as second:
        wait_until(lambda: database.count_done() == DONE_ONCE)
        wait_until(lambda: len(database.query("SELECT 1 FROM procrastinate_workers")) == 2)

        # one ends in the middle of a job: the other goes on
        database.query("UPDATE numbers SET done = 0")
        wait_until(lambda: database.count_done() != [(0, 100)])
        stop(first)
        wait_until(lambda: database.count_done() == DONE_ONCE)
        stop(second)

    gaps = database.query(
        "SELECT min(gap) FROM (SELECT started_at - lag(started_at) OVER (ORDER BY started_at) AS gap FROM runs) AS gaps"
    )
    assert gaps[0][0].total_seconds() > 0.2
    assert database.query("SELECT 1 FROM procrastinate_workers") == []


def test_a_job_does_not_run_beside_one_whose_worker_is_taken_for_dead(database):
    with psycopg.connect(database_dsn(database.name)) as silent_worker:
        silent_worker.execute("SELECT pg_advisory_lock(%s, hashtext('public.numbers'))", [JOB_LOCK_ID])
        with database.run_worker("quick") as worker:
            wait_until(lambda: database.query("SELECT 1 FROM procrastinate_jobs_id_seq WHERE last_value > 2"))
            assert database.count_done() == [(0, 100)]
            silent_worker.close()
            wait_until(lambda: database.count_done() == DONE_ONCE)
            stop(worker)


def test_a_failure_is_counted_and_tried_again_and_its_message_is_nowhere(database):
    with database.run_worker("failing") as worker:
        wait_until(lambda: database.query("SELECT 1 FROM job_failures") != [])
        wait_until(lambda: database.count_done() == DONE_ONCE)
        wait_until(lambda: database.list_jobs() == [])
        _, output = stop(worker)

    assert database.query("SELECT name, failures, last_error FROM job_failures") == [("numbers", 1, "DataError")]
    assert "a background job failed" in output
    assert "run_failing_batch" in output
    assert "nobody may read" not in output


def test_a_worker_that_is_stopped_leaves_its_job_to_the_next_one(database):
    with database.run_worker("slow") as worker:
        wait_until(lambda: database.query("SELECT 1 FROM runs"))
        seconds, _ = stop(worker)
    assert worker.returncode == 0
    assert seconds < 5
    assert database.list_jobs() == [("numbers", "todo", "{}")]

    # a batch that hangs is not waited for
    with database.run_worker("hanging") as worker:
        wait_until(lambda: len(database.query(f"SELECT 1 FROM runs WHERE pid = {worker.pid}")) == 1)
        seconds, _ = stop(worker)
    assert seconds < 5
    assert database.list_jobs() == [("numbers", "todo", "{}")]
    assert database.query("SELECT 1 FROM procrastinate_workers") == []


def test_a_worker_whose_connections_are_cut_goes_on(database):
    with database.run_worker("slow") as worker:
        wait_until(lambda: database.query("SELECT 1 FROM runs"))
        database.cut_connections()
        wait_until(lambda: database.count_done() == DONE_ONCE)
        stop(worker)

    assert worker.returncode == 0


def test_a_worker_waits_for_a_database_that_is_not_migrated_and_ends_with_its_parent(tmp_path):
    with temporary_database_name() as name:
        database = NumbersDatabase(name, tmp_path)
        with database.run_worker("quick", "--parent-pid", str(os.getpid())) as worker:
            assert worker.stdout is not None
            assert "UndefinedTable" in worker.stdout.readline()
            stop(worker)
        with database.run_worker("quick", "--parent-pid", "1") as worker:
            worker.communicate(timeout=20)
    assert worker.returncode == 0
