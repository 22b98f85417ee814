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

from memoryhub.config import APPLICATION
from tests.harness.databases import address, database
from tests.harness.proxy import Fate, Proxy, proxying
from tests.ops.processes import process

START_SECONDS = 90
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running hub."""

    url: str
    home: Path
    database: str
    proxy: Proxy
    process: Popen[str]
    log: list[str]

    @property
    def credentials(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.home / "credentials.json").read_text())
        return read

    def client(self, key: str = "admin", **options: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.credentials['keys'][key]}"}
        # Without certificates to read, a client is made in no time; there is no TLS on this way.
        return httpx.Client(
            base_url=self.url, headers=headers, **{"timeout": 60, "trust_env": False, "verify": False, **options}
        )


def socket_of_the_tests() -> str:
    """The file on which the test's own PostgreSQL listens."""
    parts = conninfo_to_dict(os.environ["MEMORYHUB_TEST_DSN"])
    return f"{parts['host']}/.s.PGSQL.{parts.get('port', 5432)}"


@contextmanager
def serving(home: Path, **variables: str) -> Iterator[Served]:
    """The product on an empty database behind a proxy, ready to answer."""
    with database() as name, proxying(socket_of_the_tests()) as proxy:
        dsn = f"postgresql://{APPLICATION}@127.0.0.1:{proxy.port}/{name}?sslmode=disable&gssencmode=disable"
        settings = {
            "DATABASE_URL": dsn,
            "DATABASE_OWNER_URL": address(name),
            "MEMORYHUB_HOME": str(home),
            "MEMORYHUB_PORT": "0",
            "MEMORYHUB_DEMO": "false",
            "MEMORYHUB_WORKERS": "2",
            **variables,
        }
        with process(str(ROOT / "manage.py"), "serve", **settings) as server:
            url = _url(server)
            # A log that nobody reads fills its pipe, and then the server waits for ever.
            said: list[str] = []
            reader = threading.Thread(target=said.extend, args=(server.stdout,), daemon=True)
            reader.start()
            _wait_until_ready(url)
            yield Served(url=url, home=home, database=name, proxy=proxy, process=server, log=said)
            proxy.decide = lambda _: Fate.PASS
            server.terminate()
            server.wait(30)
            reader.join(30)


def _url(server: Popen[str]) -> str:
    said: list[str] = []
    assert server.stdout is not None
    for line in server.stdout:
        said.append(line)
        if " is at http://" in line:
            return str(line.split()[-1])
    raise AssertionError("serve ended:\n" + "".join(said))


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
