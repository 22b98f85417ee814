"""How the worker and its jobs do, as the database knows it: the worker may run on another machine."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, NotRequired

from django.db import connection
from pydantic import Field
from typing_extensions import TypedDict

MAX_HEARTBEAT_AGE_SECONDS = 15.0
"""A worker with an older heartbeat counts as gone; a worker sends three heartbeats in that time."""


class JobStatus(TypedDict):
    name: str
    waiting: Annotated[int, Field(description="In the queue, also for another try after a failure.")]
    running: int
    failures: Annotated[int, Field(description="Failures so far. A job that failed is tried again after a pause.")]
    last_failure_at: datetime | None
    last_error: Annotated[str | None, Field(description="The class of the last failure's exception.")]


class WorkerStatus(TypedDict):
    """Whether background jobs are done."""

    alive: Annotated[bool, Field(description="Whether a worker has sent a heartbeat in the last 15 seconds.")]
    last_heartbeat: datetime | None
    jobs: NotRequired[
        Annotated[
            list[JobStatus], Field(description="The jobs by name, for an admin whose clearance shows every memory.")
        ]
    ]


def get_worker_status() -> WorkerStatus:
    """Return whether a worker is alive. That depends on no memory, so every reader may know it."""
    with connection.cursor() as cursor:
        cursor.execute(_WORKER_SQL, [MAX_HEARTBEAT_AGE_SECONDS])
        last_heartbeat, is_alive = cursor.fetchone()
    return {"alive": is_alive, "last_heartbeat": last_heartbeat}


def list_jobs(names: Iterable[str]) -> list[JobStatus]:
    """Return the jobs `names` and all others that the database knows, in order of their names.

    A job that waits tells that something was written, and a failure may be due to one memory. So this is for those who
    may see every memory.
    """
    with connection.cursor() as cursor:
        cursor.execute(_JOBS_SQL, [list(names)])
        return [
            {
                "name": name,
                "waiting": waiting,
                "running": running,
                "failures": failures,
                "last_failure_at": last_failure_at,
                "last_error": last_error,
            }
            for name, waiting, running, failures, last_failure_at, last_error in cursor.fetchall()
        ]


_WORKER_SQL = """
SELECT max(last_heartbeat), coalesce(max(last_heartbeat) > clock_timestamp() - make_interval(secs => %s), false)
FROM procrastinate_workers
"""
_JOBS_SQL = """
SELECT
    name, count(*) FILTER (WHERE status = 'todo'), count(*) FILTER (WHERE status = 'doing'),
    coalesce(max(failures), 0), max(last_failure_at), max(last_error)
FROM (
    SELECT unnest(%s::text[]) AS name UNION SELECT task_name FROM procrastinate_jobs UNION SELECT name FROM job_failures
) AS names
LEFT JOIN procrastinate_jobs ON task_name = name
LEFT JOIN job_failures USING (name)
GROUP BY name
ORDER BY name
"""
