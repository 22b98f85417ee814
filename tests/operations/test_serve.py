import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import psycopg
import pytest

from memoryhub.config import Config
from memoryhub.operations.embedded_postgres import run_server
from tests.harness.strategies import SOAK
from tests.operations.processes import config_for_home, is_running, list_workers, query_value, run_process, server_pid


@contextmanager
def run_serve(
    home, *, port=0, before: list[str] | None = None, script: str = "manage.py", **variables: str
) -> Iterator[tuple[Popen[str], int]]:
    """`manage.py serve` in `home`, and the port that it says it listens on; its lines until then go to `before`."""
    settings = {"MEMORYHUB_HOME": str(home), "MEMORYHUB_PORT": str(port), "MEMORYHUB_DEMO": "false", **variables}
    with run_process(script, "serve", **settings) as server:
        output_lines: list[str] = [] if before is None else before
        assert server.stdout is not None
        for line in server.stdout:
            output_lines.append(line)
            if line.startswith("memoryhub ") and " is at http://127.0.0.1:" in line:
                break
        else:
            pytest.fail("serve ended:\n" + "".join(output_lines))
        yield server, int(output_lines[-1].rpartition(":")[2])


def get_status(port: int, path: str = "/health") -> int:
    """The status of the answer, asked again while the workers come up."""
    for _ in range(100):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except ConnectionRefusedError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise AssertionError(f"nobody listens on {port}")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_responding(config: Config) -> bool:
    try:
        return query_value(config) == 1
    except psycopg.OperationalError:
        return False


def test_its_life_in_one_home(tmp_path):
    """Starts in a used home are quick, so one home serves for several sentences."""
    home = tmp_path / "a home"
    before: list[str] = []
    with run_serve(home, before=before, MEMORYHUB_WORKER="false") as (server, port):
        # nothing listens while it migrates, so it says that it does
        count = sum("Migrating the database: " in line and "Nothing listens until" in line for line in before)
        assert (count, sum("Migrated the database in " in line for line in before)) == (1, 1)
        # on a port of its own choice, and an address may be long
        assert get_status(port) == 200
        assert get_status(port, "/health?" + "x" * (8190 - len("GET /health? HTTP/1.1"))) == 200
        # no worker was asked for; it would start a second after the others
        time.sleep(1.5)
        assert list_workers(server.pid) == []
        # killed with -9, web processes and PostgreSQL left to themselves

    start_time = time.monotonic()
    before = []
    with run_serve(home, before=before) as (server, port):
        assert get_status(port) == 200
        # On a machine that does nothing else it takes less than five seconds, and the run of all tests has none.
        assert time.monotonic() - start_time < (5 if SOAK else 25), "a warm start is quick"
        assert not any("igrat" in line for line in before), "there was nothing to migrate"

        # it starts a worker, and again if that is killed
        wait_until(lambda: list_workers(server.pid) != [])
        (killed,) = list_workers(server.pid)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: list_workers(server.pid) not in ([], [killed]))

        # kill -9 again, and the port must be free for the next start at once
        server.kill()
        server.wait()
        wait_until(lambda: list_workers(server.pid) == [])
    with run_serve(home, port=port) as (server, restarted_url):
        assert restarted_url == port
        assert get_status(port) == 200

        # a taken port is one sentence
        with run_process("manage.py", "serve", MEMORYHUB_HOME=str(home), MEMORYHUB_PORT=str(port)) as second:
            output, _ = second.communicate()
        assert second.returncode == 1
        assert f"Port {port} on 127.0.0.1 is taken" in output
        assert "Traceback" not in output
        assert get_status(port) == 200

        # a second server would leave an address in credentials.json that ends with it: the home is in use
        output = refusal_message(home)
        assert f"MEMORYHUB_HOME={home} is in use: a hub serves it at http://127.0.0.1:{port}." in output
        assert json.loads((home / "credentials.json").read_text())["url"] == f"http://127.0.0.1:{port}"

        # a PostgreSQL that was killed is there again a moment later
        killed = server_pid(home)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: not is_running(killed) and is_responding(config_for_home(home)))
        assert get_status(port) == 200

        # Ctrl-C in a terminal reaches the whole group
        wait_until(lambda: list_workers(server.pid) != [])
        pid = server_pid(home)
        os.killpg(server.pid, signal.SIGINT)
        output, _ = server.communicate(timeout=30)
        assert server.returncode == 0
        assert "Traceback" not in output
    assert not is_running(pid)
    assert list_workers(server.pid) == []

    # a database that a newer version migrated is refused
    with run_server(config_for_home(home)), psycopg.connect(config_for_home(home).owner_dsn, autocommit=True) as owner:
        owner.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('memories', '9999_future', now())")
        assert (
            "newer than this version of memoryhub, which lacks the migrations memories.9999_future."
            in refusal_message(home)
        )
        owner.execute("DELETE FROM django_migrations WHERE name = '9999_future'")

    # without the credentials file no line asks for a new account: there are some
    (home / "credentials.json").unlink()
    with run_serve(home) as (server, port):
        assert server.stdout is not None
        assert server.stdout.readline().startswith("Sign-in: with an account of this database")

        # and a stop leaves nothing behind
        pid = server_pid(home)
        server.terminate()
        assert server.wait(30) == 0
    assert not is_running(pid)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def refusal_message(home: Path) -> str:
    """What a start on another port says that does not come to serve."""
    with run_process("manage.py", "serve", MEMORYHUB_HOME=str(home), MEMORYHUB_PORT="0") as server:
        output, _ = server.communicate(timeout=60)
    assert server.returncode == 1
    assert "Traceback" not in output
    return output


def test_an_address_that_is_not_ours_is_one_sentence(tmp_path):
    with run_process("manage.py", "serve", MEMORYHUB_HOME=str(tmp_path / "home"), MEMORYHUB_BIND="192.0.2.1") as server:
        output, _ = server.communicate()

    assert server.returncode == 1
    assert "cannot listen on 192.0.2.1 port 8000" in output
    assert "Traceback" not in output
