"""GET /api/status of a real server: every field is measured, and the same from each of its workers."""

import http.client
import json
import time
from pathlib import Path
from typing import Any

import psycopg

from memoryhub.config import APP_ROLE, SUPERUSER_ROLE
from memoryhub.operations.background_jobs import BACKGROUND_JOBS
from tests.operations.processes import config_for_home, run_process
from tests.operations.test_serve import get_status, run_serve, wait_until

POLL_COUNT = 20
MAKE_KEY_SCRIPT = """
from django.contrib.auth.models import User
from memoryhub.firewall.models import ApiKey, ClearanceProfile

clearance = ClearanceProfile.objects.create(name="all", max_tier="restricted")
owner = User.objects.create(username="monitor")
_, secret = ApiKey.objects.create(owner, name="monitor", scopes=["admin"], clearance=clearance, source="monitor")
print("KEY", secret)
"""


class StatusMonitor:
    """Asks over a new connection each time, so that any worker may answer."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            connection.request(method, path, json.dumps(body) if body else None, self._headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        code, body = self.request("GET", "/api/status")
        assert code == 200, body
        assert isinstance(body, dict)
        return body

    def write(self, payload_id: str) -> int:
        return self.request("POST", "/api/memories", {"payload_id": payload_id, "content": payload_id})[0]


def make_status_key(home: Path) -> str:
    with run_process("manage.py", "shell", "-c", MAKE_KEY_SCRIPT, MEMORYHUB_HOME=str(home)) as shell:
        output, _ = shell.communicate()
    (secret,) = [line.split()[1] for line in output.splitlines() if line.startswith("KEY ")]
    return secret


def set_read_only(home: Path, *, is_read_only: bool) -> None:
    """As an operator does it: for sessions that begin from now on. Those that write are ended, when it begins."""
    with psycopg.connect(config_for_home(home).embedded_dsn(SUPERUSER_ROLE), autocommit=True) as session:
        session.execute("SET default_transaction_read_only = off")
        value = "on" if is_read_only else "off"
        session.execute(f"ALTER DATABASE memoryhub SET default_transaction_read_only = {value}".encode())
        if is_read_only:
            session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [APP_ROLE])


def is_non_decreasing(numbers: list[int]) -> bool:
    return numbers == sorted(numbers)


def test_each_worker_answers_the_same_through_reads_a_read_only_time_and_a_restart(tmp_path):
    home = tmp_path / "home"
    with run_serve(home, MEMORYHUB_WORKERS="2", MEMORYHUB_METRICS="loopback") as (server, port):
        key = make_status_key(home)
        monitor = StatusMonitor(port, key)
        get_status(port)
        responses = []
        for index in range(POLL_COUNT):
            assert monitor.write(f"p-{index}") == 201
            assert monitor.request("GET", "/api/memories")[0] == 200
            responses.append(monitor.status())

        assert {response["pid"] for response in responses} == {server.pid}
        assert {(response["status"], *response["reasons"]) for response in responses} == {("ok",)}
        assert is_non_decreasing([response["uptime_seconds"] for response in responses])
        assert is_non_decreasing([response["reads_total"] for response in responses])
        assert [response["memories_total"] for response in responses] == list(range(1, POLL_COUNT + 1))
        assert [response["writes_total"] for response in responses] == list(range(1, POLL_COUNT + 1))
        deadline = time.monotonic() + 20
        while monitor.status()["reads_total"] != POLL_COUNT:
            assert time.monotonic() < deadline, "polls are no reads, and no read is lost"

        wait_until(lambda: monitor.status()["worker"]["alive"])
        assert get_status(port, "/metrics") == 200
        assert {job["name"]: job["failures"] for job in monitor.status()["worker"]["jobs"]} == {
            job.name: 0 for job in BACKGROUND_JOBS
        }

        set_read_only(home, is_read_only=True)
        responses = [monitor.status() for _ in range(POLL_COUNT)]
        assert {(response["status"], response["database"]["healthy"]) for response in responses} == {
            ("degraded", False)
        }
        assert {tuple(response["reasons"]) for response in responses} == {
            ("The database accepts no writes at the moment.",)
        }
        assert monitor.write("new") == 503
        set_read_only(home, is_read_only=False)
        assert [monitor.write(f"again-{index}") for index in range(POLL_COUNT)] == [201] * POLL_COUNT
        responses = [monitor.status() for _ in range(POLL_COUNT)]
        assert {(response["status"], response["database"]["healthy"]) for response in responses} == {("ok", True)}
        before = responses[-1]
        server.terminate()
        server.wait(30)

    with run_serve(home, MEMORYHUB_WORKERS="2") as (server, port):
        get_status(port)
        responses = [StatusMonitor(port, key).status() for _ in range(POLL_COUNT)]
        assert {response["pid"] for response in responses} == {server.pid}
        assert max(response["uptime_seconds"] for response in responses) < 60
        counters = ("memories_total", "writes_total", "reads_total")
        assert {tuple(response[name] for name in counters) for response in responses} == {
            tuple(before[name] for name in counters)
        }
