"""The worker: it runs the background jobs, from a queue in PostgreSQL. No other module uses procrastinate.

Guarantee: work that is in the database is done, whatever process is killed, and no job runs twice at a time.

Why the obvious way breaks it:

- A write that enqueues a job would be slower, and a job that was lost would leave its rows undone. So a write enqueues
  nothing. Every second the worker asks each job whether it has work (`_poll`). If so, it puts the job into the queue,
  where at most one of a name waits.
- A worker that was killed leaves its job marked as running, and no other one would begin. Its heartbeats end, and after
  `STALLED_SECONDS` another worker takes the job back into the queue (`_requeue_stalled_jobs`).
- A worker may lose its heartbeats and still be running, for example on a machine that was suspended. So a job also
  holds an advisory lock, which PostgreSQL releases when the connection ends (`_hold_job_lock`).
- A thread cannot be interrupted, and Python waits for its threads at the end. So jobs run in threads that are daemons,
  with a database connection each: a batch that hangs delays the end of the worker by `STOP_SECONDS` and no longer.

Tests that notice: `tests/operations/test_worker.py`.
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from queue import SimpleQueue
from typing import Any, NoReturn

import psycopg
import structlog
from django.db import DatabaseError, close_old_connections, connection
from procrastinate import App, PsycopgConnector, RetryStrategy, exceptions
from procrastinate.contrib.django import connector_params
from procrastinate.jobs import Job, Status
from procrastinate.retry import RetryDecision

from memoryhub.operations.background_jobs import BackgroundJob, record_failure
from memoryhub.operations.worker_status import MAX_HEARTBEAT_AGE_SECONDS

QUEUE = "memoryhub"
POLL_SECONDS = 1.0
FETCH_SECONDS = 2.0
"""How often the queue is read for jobs whose pause is over. Other jobs are announced by the database."""
MAX_RUN_SECONDS = 30.0
"""After this time a job that still has work goes to the end of the queue."""
STOP_SECONDS = 3.0
"""How long a batch may still run after the worker was told to stop; then its job is left to the next worker."""
HEARTBEAT_SECONDS = 5.0
STALLED_SECONDS = MAX_HEARTBEAT_AGE_SECONDS
RECONNECT_SECONDS = 2.0
MAX_PAUSE_DOUBLINGS = 8
"""A job that fails is tried again after 2, 4, 8 … seconds, at most after 256."""
KEEP_FAILED_HOURS = 7 * 24
JOB_LOCK_ID = 0x6D656D6A  # the first half of the advisory lock ids: arbitrary, but the same in every process
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

log = structlog.get_logger(__name__)


class JobFailedError(Exception):
    """A background job failed. It names no cause, because the queue logs what it is raised."""


class _WorkerEndedError(Exception):
    """The queue's worker ended by itself, because it lost the database."""


def run_worker(jobs: Sequence[BackgroundJob], *, parent_pid: int | None = None) -> None:
    """Run `jobs` until SIGINT, SIGTERM or SIGHUP, or until the process `parent_pid` is not the parent of this one.

    While the database cannot be used, it tries again.
    """
    asyncio.run(_Worker(jobs).run_until_stopped(parent_pid))


class _Worker:
    def __init__(self, jobs: Sequence[BackgroundJob]) -> None:
        self._jobs = jobs
        self._stop_event = threading.Event()
        self._logged_type: type | None = None
        self._poll_thread = _DatabaseThread("poll")
        self._job_threads = {job.name: _DatabaseThread(job.name) for job in jobs}

    async def run_until_stopped(self, parent_pid: int | None) -> None:
        stopped = asyncio.create_task(_wait_for_stop(parent_pid))
        while not stopped.done():
            run = asyncio.create_task(self._run())
            await asyncio.wait({run, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                self._stop_event.set()
                run.cancel()
            (error,) = await asyncio.gather(run, return_exceptions=True)
            if not stopped.done():
                self._log_interruption(error)
                await asyncio.wait({stopped}, timeout=RECONNECT_SECONDS)

    def _log_interruption(self, error: BaseException | None) -> None:
        """Log why the worker does not run: once, however often it tries again."""
        cause = _find_cause(error)
        if type(cause) is not self._logged_type:
            self._logged_type = type(cause)
            is_database_error = isinstance(cause, psycopg.Error)
            log.warning(
                "the worker does not run and tries again",
                error=type(cause).__qualname__,
                exc_info=None if is_database_error else cause,
            )

    async def _run(self) -> NoReturn:
        """Run the jobs until an error or a cancellation, which waits for the current batches."""
        app = App(connector=PsycopgConnector(kwargs=connector_params(), min_size=1, max_size=2, timeout=10))
        for job in self._jobs:
            self._add_task(app, job)
        try:
            await app.open_async()
            await app.job_manager.delete_old_jobs(
                KEEP_FAILED_HOURS, include_failed=True, include_cancelled=True, include_aborted=True
            )
            self._logged_type = None
            async with asyncio.TaskGroup() as group:
                group.create_task(self._poll(app))
                group.create_task(self._run_queue(app))
        finally:
            # Also if it was cancelled while it opened: the tasks of an open pool cannot be cancelled.
            await app.close_async()
        raise AssertionError("neither of the tasks returns")

    async def _run_queue(self, app: App) -> NoReturn:
        await app.run_worker_async(
            queues=[QUEUE],
            concurrency=max(1, len(self._jobs)),
            delete_jobs="successful",
            install_signal_handlers=False,
            fetch_job_polling_interval=FETCH_SECONDS,
            shutdown_graceful_timeout=STOP_SECONDS,
            update_heartbeat_interval=HEARTBEAT_SECONDS,
            stalled_worker_timeout=STALLED_SECONDS,
        )
        raise _WorkerEndedError

    def _add_task(self, app: App, job: BackgroundJob) -> None:
        async def run_job() -> None:
            try:
                is_done = await self._job_threads[job.name].call(_run_batches, job, self._stop_event)
            except JobFailedError:
                # Another worker may have put the job into the queue when this one began. It would be in the way of this
                # one, which waits there for its next try.
                await _remove_waiting_job(app, job.name)
                raise
            if not is_done:
                await _enqueue(app, job.name)

        # Retries are those of one job: the lock keeps a second one from running meanwhile.
        retry = _CappedRetry(exponential_wait=2)
        app.task(name=job.name, queue=QUEUE, lock=job.name, queueing_lock=job.name, retry=retry)(run_job)

    async def _poll(self, app: App) -> NoReturn:
        """Put the jobs that have work into the queue, unless they wait or run."""
        while True:
            queued_jobs = list(await app.job_manager.list_jobs_async(queue=QUEUE))
            if any(job.status == Status.DOING.value for job in queued_jobs):
                await _requeue_stalled_jobs(app)
            pending_names = {
                job.task_name for job in queued_jobs if job.status in (Status.TODO.value, Status.DOING.value)
            }
            for job in self._jobs:
                if job.name not in pending_names and await self._poll_thread.call(_has_work, job):
                    await _enqueue(app, job.name)
            await asyncio.sleep(POLL_SECONDS)


class _CappedRetry(RetryStrategy):
    """Try again for ever: work that is in the database remains to be done."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        return super().get_retry_decision(
            exception=exception, job=job.evolve(attempts=min(job.attempts, MAX_PAUSE_DOUBLINGS - 1))
        )


class _DatabaseThread:
    """A thread that keeps one database connection and calls one function at a time."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Future[bool], Callable[[], bool]]] = SimpleQueue()
        threading.Thread(target=self._run_calls, name=name, daemon=True).start()

    async def call(self, function: Callable[..., bool], *arguments: Any) -> bool:
        """Return what the function returns in the thread, or raise what it raises. It is not interrupted."""
        future: Future[bool] = Future()
        self._calls.put((future, partial(function, *arguments)))
        return await asyncio.wrap_future(future)

    def _run_calls(self) -> NoReturn:
        while True:
            future, function = self._calls.get()
            if future.set_running_or_notify_cancel():
                close_old_connections()
                try:
                    future.set_result(function())
                except Exception as error:
                    future.set_exception(error)


def _has_work(job: BackgroundJob) -> bool:
    try:
        return job.has_work()
    except Exception:
        # Then the job fails, too, and its failures are counted and followed by pauses.
        return True


def _run_batches(job: BackgroundJob, stop_event: threading.Event) -> bool:
    """Run a job for as long as it may; return whether all of its work is done. Raises JobFailedError."""
    try:
        with _hold_job_lock(job.name) as is_locked:
            started_at = time.monotonic()
            while is_locked and job.run(job.batch_size):
                if stop_event.is_set() or time.monotonic() - started_at > MAX_RUN_SECONDS:
                    return False
            return True
    except Exception as error:
        log.warning("a background job failed", job=job.name, exc_info=True)
        with suppress(Exception):
            close_old_connections()
            record_failure(job.name, error)
        raise JobFailedError from None


@contextmanager
def _hold_job_lock(name: str) -> Iterator[bool]:
    """Hold the lock of a job in this hub's schema, if no other process holds it; yield whether it is held."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, hashtext(current_schema() || '.' || %s))", [JOB_LOCK_ID, name])
        (is_locked,) = cursor.fetchone()
    try:
        yield is_locked
    finally:
        # Without a connection the lock is gone, too.
        if is_locked and connection.connection is not None:
            with suppress(DatabaseError), connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_advisory_unlock(%s, hashtext(current_schema() || '.' || %s))", [JOB_LOCK_ID, name]
                )


def _find_cause(error: BaseException | None) -> BaseException | None:
    """Return the error that another one stands for: the first of a group, the cause of one of the queue."""
    while True:
        match error:
            case BaseExceptionGroup(exceptions=(first, *_)):
                error = first
            case exceptions.ConnectorException(__cause__=BaseException() as cause):
                error = cause
            case _:
                return error


async def _enqueue(app: App, name: str) -> None:
    with suppress(exceptions.AlreadyEnqueued):
        await app.tasks[name].defer_async()


async def _remove_waiting_job(app: App, name: str) -> None:
    for job in await app.job_manager.list_jobs_async(queueing_lock=name, status=Status.TODO.value):
        if job.id is not None:
            await app.job_manager.cancel_job_by_id_async(job.id, delete_job=True)


async def _requeue_stalled_jobs(app: App) -> None:
    """Take the jobs of workers that have ended without a word back into the queue."""
    for job in await app.job_manager.get_stalled_jobs(queue=QUEUE, seconds_since_heartbeat=STALLED_SECONDS):
        try:
            await app.job_manager.retry_job(job, retry_at=datetime.now(UTC))
        except exceptions.UniqueViolation:
            # Another one waits already, and cannot begin before this one has ended.
            await app.job_manager.finish_job(job, status=Status.FAILED, delete_job=True)
        except exceptions.ConnectorException:
            # Another worker was faster.
            continue


async def _wait_for_stop(parent_pid: int | None) -> None:
    """Return when a signal asks for a stop, or when the parent of this process is not `parent_pid` any more."""
    signalled = asyncio.Event()
    for signal_number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(signal_number, signalled.set)
    while not signalled.is_set() and parent_pid in (None, os.getppid()):
        with suppress(TimeoutError):
            await asyncio.wait_for(signalled.wait(), POLL_SECONDS)
