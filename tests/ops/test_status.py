"""GET /api/status of a real server: every field is measured, and the same from each of its workers."""

import http.client
import json
import time
from pathlib import Path
from typing import Any

import psycopg

from memoryhub.config import APPLICATION, SUPERUSER
from tests.ops.processes import config_of, process
from tests.ops.test_serve import get, serving

POLLS = 50
MAKE_KEY = """
from django.contrib.auth.models import User
from memoryhub.firewall.models import ApiKey, ClearanceRecord

clearance = ClearanceRecord.objects.create(name="all", max_tier="restricted")
owner = User.objects.create(username="monitor")
_, secret = ApiKey.objects.create(owner, name="monitor", scopes=["admin"], clearance=clearance, source="monitor")
print("KEY", secret)
"""


class Monitor:
    """Asks over a new connection each time, so that any worker may answer."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            connection.request(method, path, json.dumps(body) if body else None, self._headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        code, body = self.call("GET", "/api/status")
        assert code == 200, body
        assert isinstance(body, dict)
        return body

    def write(self, payload_id: str) -> int:
        return self.call("POST", "/api/memories", {"payload_id": payload_id, "content": payload_id})[0]


def make_key(home: Path) -> str:
    with process("manage.py", "shell", "-c", MAKE_KEY, MEMORYHUB_HOME=str(home)) as shell:
        output, _ = shell.communicate()
    (secret,) = [line.split()[1] for line in output.splitlines() if line.startswith("KEY ")]
    return secret


def set_read_only(home: Path, *, on: bool) -> None:
    """As an operator does it: for sessions that begin from now on. Those that write are ended, when it begins."""
    with psycopg.connect(config_of(home).embedded_dsn(SUPERUSER), autocommit=True) as session:
        session.execute("SET default_transaction_read_only = off")
        value = "on" if on else "off"
        session.execute(f"ALTER DATABASE memoryhub SET default_transaction_read_only = {value}".encode())
        if on:
            session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [APPLICATION])


def never_falls(numbers: list[int]) -> bool:
    return numbers == sorted(numbers)


def test_each_worker_answers_the_same_through_reads_a_read_only_time_and_a_restart(tmp_path):
    home = tmp_path / "home"
    with serving(home, MEMORYHUB_WORKERS="2") as (server, port):
        key = make_key(home)
        monitor = Monitor(port, key)
        get(port)
        answers = []
        for number in range(POLLS):
            assert monitor.write(f"p-{number}") == 201
            assert monitor.call("GET", "/api/memories")[0] == 200
            answers.append(monitor.status())

        assert {answer["pid"] for answer in answers} == {server.pid}
        assert {(answer["status"], *answer["reasons"]) for answer in answers} == {("ok",)}
        assert never_falls([answer["uptime_seconds"] for answer in answers])
        assert never_falls([answer["reads_total"] for answer in answers])
        assert [answer["memories_total"] for answer in answers] == list(range(1, POLLS + 1))
        assert [answer["writes_total"] for answer in answers] == list(range(1, POLLS + 1))
        deadline = time.monotonic() + 20
        while monitor.status()["reads_total"] != POLLS:
            assert time.monotonic() < deadline, "polls are no reads, and no read is lost"

        set_read_only(home, on=True)
        answers = [monitor.status() for _ in range(POLLS)]
        assert {(answer["status"], answer["database"]["healthy"]) for answer in answers} == {("degraded", False)}
        assert {tuple(answer["reasons"]) for answer in answers} == {("The database accepts no writes at the moment.",)}
        assert monitor.write("new") == 503
        set_read_only(home, on=False)
        assert [monitor.write(f"again-{number}") for number in range(POLLS)] == [201] * POLLS
        answers = [monitor.status() for _ in range(POLLS)]
        assert {(answer["status"], answer["database"]["healthy"]) for answer in answers} == {("ok", True)}
        before = answers[-1]
        server.terminate()
        server.wait(30)

    with serving(home, MEMORYHUB_WORKERS="2") as (server, port):
        get(port)
        answers = [Monitor(port, key).status() for _ in range(POLLS)]
        assert {answer["pid"] for answer in answers} == {server.pid}
        assert max(answer["uptime_seconds"] for answer in answers) < 60
        counters = ("memories_total", "writes_total", "reads_total")
        assert {tuple(answer[name] for name in counters) for answer in answers} == {
            tuple(before[name] for name in counters)
        }
