"""What `/api/status` says of the worker and its jobs, and to whom."""

import pytest

from memoryhub.operations.background_jobs import BACKGROUND_JOBS
from tests.factories import make_key
from tests.memories.raw_rows import execute

pytestmark = pytest.mark.django_db
ALIVE = "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (clock_timestamp() - interval '14 seconds')"
GONE = "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (clock_timestamp() - interval '16 seconds')"
HIGHEST = {"max_tier": "restricted"}


@pytest.mark.parametrize(
    ("statements", "is_alive", "was_seen"),
    [([], False, False), ([GONE], False, True), ([GONE, ALIVE], True, True)],
    ids=["never", "gone", "alive"],
)
def test_every_reader_learns_whether_a_worker_is_alive(api, statements, is_alive, was_seen):
    for statement in statements:
        execute(statement)

    worker = api(make_key()).get("/api/status").json()["worker"]

    assert (worker["alive"], worker["last_heartbeat"] is not None) == (is_alive, was_seen)
    assert worker.keys() == {"alive", "last_heartbeat"}


def test_an_admin_who_sees_everything_learns_how_the_jobs_do(api):
    execute(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, status)"
        " VALUES ('memoryhub', 'embed', 'todo'), ('memoryhub', 'embed', 'doing'), ('memoryhub', 'words', 'doing')"
    )
    execute("INSERT INTO job_failures VALUES ('words', 3, '2026-03-01T12:00:00Z', 'DataError'), ('old', 1, now(), 'E')")

    listed_jobs = api(make_key(scopes="admin", clearance=HIGHEST)).get("/api/status").json()["worker"]["jobs"]

    jobs = {job["name"]: job for job in listed_jobs}
    assert list(jobs) == sorted(["embed", "old", "words", *(job.name for job in BACKGROUND_JOBS)])
    assert jobs["embed"] == {
        "name": "embed", "waiting": 1, "running": 1, "failures": 0, "last_failure_at": None, "last_error": None,
    }  # fmt: skip
    assert jobs["words"] == {
        "name": "words", "waiting": 0, "running": 1, "failures": 3, "last_failure_at": "2026-03-01T12:00:00Z",
        "last_error": "DataError",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("scopes", "clearance"),
    [
        ("read curate audit", HIGHEST),
        ("admin", {"max_tier": "internal"}),
        ("admin", {**HIGHEST, "all_namespaces": False}),
    ],
    ids=str,
)
def test_nobody_else_learns_of_the_jobs_because_one_waits_after_every_write(api, scopes, clearance):
    execute("INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('memoryhub', 'embed')")

    worker = api(make_key(scopes=scopes, clearance=clearance)).get("/api/status").json()["worker"]

    assert "jobs" not in worker
