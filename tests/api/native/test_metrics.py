"""`GET /metrics`: who gets it in which mode, and what it says."""

from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from memoryhub.memories import word_index
from memoryhub.operations import metrics
from memoryhub.operations.background_jobs import BackgroundJob
from tests.api.responses import assert_problem
from tests.factories import make_key, make_memory
from tests.memories.raw_rows import execute

pytestmark = pytest.mark.django_db
HIGHEST = {"max_tier": "restricted"}


@pytest.fixture
def set_mode(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda mode: monkeypatch.setattr(settings.APP_CONFIG, "metrics", mode)


def make_admin_key() -> str:
    return make_key(scopes="admin", clearance=HIGHEST)


def get_metrics(**environ: str) -> Any:
    return Client().get("/metrics", **environ)  # type: ignore[arg-type]


def test_without_the_setting_it_is_a_missing_route_even_for_an_admin(api):
    assert_problem(get_metrics(), 404, "not_found")
    assert_problem(api(make_admin_key()).get("/metrics"), 404, "not_found")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"])
def test_programs_on_this_machine_need_no_key(set_mode, address):
    set_mode("loopback")

    response = get_metrics(REMOTE_ADDR=address)

    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain; version=")
    assert response["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize(
    "environ",
    [
        {"REMOTE_ADDR": "192.0.2.1"},
        {"REMOTE_ADDR": "192.0.2.1", "HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"REMOTE_ADDR": ""},
        # A proxy on this machine passes on what somebody elsewhere asks.
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_FORWARDED": ""},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_VIA": "1.1 proxy"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_REAL_IP": "192.0.2.1"},
    ],
    ids=str,
)
def test_on_other_machines_it_is_a_missing_route_also_with_a_key(set_mode, environ):
    set_mode("loopback")

    assert_problem(get_metrics(**environ), 404, "not_found")
    assert_problem(get_metrics(**environ, HTTP_AUTHORIZATION=f"Bearer {make_admin_key()}"), 404, "not_found")


def test_in_the_mode_key_an_admin_who_sees_everything_gets_it(api, set_mode):
    set_mode("key")

    assert api(make_admin_key()).get("/metrics").status_code == 200
    assert_problem(get_metrics(REMOTE_ADDR="127.0.0.1"), 401, "unauthorized")
    assert_problem(api("mh_" + "a" * 61).get("/metrics"), 401, "unauthorized")
    for key in (make_key(scopes="read curate audit", clearance=HIGHEST), make_key(scopes="admin")):
        assert_problem(api(key).get("/metrics"), 403, "forbidden")
    assert api(make_admin_key()).post("/metrics", {}).status_code == 405


def test_it_tells_of_the_worker_its_jobs_and_the_indexes(set_mode, monkeypatch):
    set_mode("loopback")
    job = BackgroundJob(name="words", has_work=lambda: False, run=lambda _: 0)
    monkeypatch.setattr(metrics, "BACKGROUND_JOBS", (job,))
    monkeypatch.setattr(metrics, "INDEX_LAGS", {"words": lambda: 1.5})
    execute("INSERT INTO procrastinate_workers DEFAULT VALUES")
    execute("INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('memoryhub', 'embed')")
    execute("INSERT INTO job_failures VALUES ('words', 3, now(), 'DataError')")

    lines = get_metrics().content.decode().splitlines()

    assert [line for line in lines if not line.startswith("#")] == [
        "memoryhub_worker_alive 1.0",
        'memoryhub_jobs{job="embed",state="waiting"} 1.0',
        'memoryhub_jobs{job="embed",state="running"} 0.0',
        'memoryhub_jobs{job="words",state="waiting"} 0.0',
        'memoryhub_jobs{job="words",state="running"} 0.0',
        'memoryhub_job_failures_total{job="embed"} 0.0',
        'memoryhub_job_failures_total{job="words"} 3.0',
        'memoryhub_index_lag_seconds{index="words"} 1.5',
    ]


def test_of_memories_it_tells_only_how_long_they_wait_for_the_indexes(set_mode):
    def read_other_lines() -> list[str]:
        lines = get_metrics().content.decode().splitlines()
        return [line for line in lines if not line.startswith("memoryhub_index_lag_seconds")]

    set_mode("loopback")
    before = read_other_lines()
    make_memory(content="Hidden.", tier="restricted", source="hidden-source")

    assert read_other_lines() == before
    assert 'memoryhub_index_lag_seconds{index="words"} +Inf' in get_metrics().content.decode()
    while word_index.index_words(10):
        pass
    assert 'memoryhub_index_lag_seconds{index="words"} 0.0' in get_metrics().content.decode()
