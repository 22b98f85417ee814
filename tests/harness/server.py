"""The product as it is started by hand: `manage.py serve`, two workers, a home and a database of its own."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx
from psycopg.conninfo import conninfo_to_dict

from memoryhub.config import APP_ROLE
from tests.harness.databases import database_dsn, temporary_database_name
from tests.harness.proxy import Interference, Proxy, run_proxy
from tests.operations.processes import run_process

START_SECONDS = 90
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class RunningServer:
    """A running hub."""

    url: str
    home: Path
    database: str
    proxy: Proxy
    process: Popen[str]
    log: list[str]

    @property
    def credentials(self) -> dict[str, Any]:
        credentials_json: dict[str, Any] = json.loads((self.home / "credentials.json").read_text())
        return credentials_json

    def client(self, key: str = "admin", **options: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.credentials['keys'][key]}"}
        # Without certificates to read, a client is made in no time; there is no TLS on this way.
        return httpx.Client(
            base_url=self.url, headers=headers, **{"timeout": 60, "trust_env": False, "verify": False, **options}
        )


def postgres_socket_path() -> str:
    """The file on which the test's own PostgreSQL listens."""
    parts = conninfo_to_dict(os.environ["MEMORYHUB_TEST_DSN"])
    return f"{parts['host']}/.s.PGSQL.{parts.get('port', 5432)}"


@contextmanager
def run_server(home: Path, template: str, **variables: str) -> Iterator[RunningServer]:
    """The product on a copy of the database `template` behind a proxy, ready to answer."""
    with temporary_database_name(template) as name, run_proxy(postgres_socket_path()) as proxy:
        dsn = f"postgresql://{APP_ROLE}@127.0.0.1:{proxy.port}/{name}?sslmode=disable&gssencmode=disable"
        settings = {
            "DATABASE_URL": dsn,
            "DATABASE_OWNER_URL": database_dsn(name),
            "MEMORYHUB_HOME": str(home),
            "MEMORYHUB_PORT": "0",
            "MEMORYHUB_DEMO": "false",
            "MEMORYHUB_WORKERS": "2",
            # What a test measures or interrupts is the web processes, unless it asks for a worker.
            "MEMORYHUB_WORKER": "false",
            **variables,
        }
        with run_process(str(ROOT / "manage.py"), "serve", **settings) as server:
            url = _read_url(server)
            # A log that nobody reads fills its pipe, and then the server waits for ever.
            output_lines: list[str] = []
            reader = threading.Thread(target=output_lines.extend, args=(server.stdout,), daemon=True)
            reader.start()
            _wait_until_ready(url)
            yield RunningServer(url=url, home=home, database=name, proxy=proxy, process=server, log=output_lines)
            proxy.choose_interference = lambda _: Interference.PASS
            server.terminate()
            server.wait(30)
            reader.join(30)


def _read_url(server: Popen[str]) -> str:
    output_lines: list[str] = []
    assert server.stdout is not None
    for line in server.stdout:
        output_lines.append(line)
        if " is at http://" in line:
            return str(line.split()[-1])
    raise AssertionError("serve ended:\n" + "".join(output_lines))


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/ready", trust_env=False, timeout=10).status_code == 200:
                return
        except (httpx.TransportError, OSError):
            pass
        time.sleep(0.05)
    raise AssertionError(f"{url} did not become ready")
