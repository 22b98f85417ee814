"""The stores that the benchmarks ask: made once, kept under `.memoryhub/bench`."""

import json
import os
import subprocess
import sys
import time
import uuid
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import psycopg
from pgvector.psycopg import register_vector
from psycopg import sql
from psycopg.types.json import Jsonb

from memoryhub.config import SUPERUSER, Config
from memoryhub.memories.ingest import COLUMNS, vector
from memoryhub.memories.values import value_digest
from memoryhub.ops import embedded
from tests.benchmarks.generate import Row, rows

ROOT = Path(__file__).resolve().parents[2]
DIMENSIONS = 384
CHUNK = 20_000


class Store:
    """An embedded hub with `count` generated memories, served by the product itself."""

    def __init__(self, count: int, *, home: str = "") -> None:
        self.count = count
        self.home = ROOT / ".memoryhub" / (home or f"bench-{count}")
        self.config = Config(home=self.home, database_url=None)

    @contextmanager
    def served(self) -> Iterator[httpx.Client]:
        """A client of the running product with the admin's key."""
        environment = os.environ | {
            "MEMORYHUB_HOME": str(self.home),
            "MEMORYHUB_PORT": "0",
            "MEMORYHUB_DEMO": "0",
        }
        self.home.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "manage.py", "serve"]
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                url = server.stdout.readline().split()[-1]
                key = json.loads((self.home / "credentials.json").read_text())["keys"]["admin"]
                headers = {"Authorization": f"Bearer {key}"}
                with httpx.Client(base_url=url, headers=headers, timeout=120) as client:
                    _wait_for(client)
                    yield client
            finally:
                server.terminate()

    def connect(self) -> psycopg.Connection[Any]:
        # As the superuser, whom row-level security does not keep from COPY.
        options = "-c jit=off -c work_mem=32MB -c enable_seqscan=off -c max_parallel_workers_per_gather=0"
        connection = psycopg.connect(self.config.embedded_dsn(SUPERUSER), autocommit=True, options=options)
        connection.prepare_threshold = None
        return connection

    def generated(self) -> Iterator[Row]:
        """The memories that this store holds."""
        return rows(self.count, dimensions=DIMENSIONS)

    def load(self, connection: psycopg.Connection[Any]) -> Iterator[int]:
        """Copy the memories into the table, and tell from time to time how many are there."""
        generated, done = self.generated(), 0
        while chunk := list(islice(generated, CHUNK)):
            copy_rows(connection, chunk)
            yield (done := done + len(chunk))

    def fill(self) -> float | None:
        """Load the memories if they are not there yet. Answers the seconds it took."""
        with embedded.running(self.config), self.connect() as connection:
            found = connection.execute("SELECT count(*) FROM memories WHERE source LIKE 'agent-%'").fetchone()
            if found and found[0] >= self.count:
                return None
            started = time.perf_counter()
            indexes = _drop_gin(connection)
            for done in self.load(connection):
                print(f"\r{done:,} of {self.count:,} memories", end="", file=sys.stderr, flush=True)
            print(file=sys.stderr)
            for definition in indexes:
                connection.execute(definition)
            connection.execute("VACUUM (ANALYZE)")
            return time.perf_counter() - started


def _wait_for(client: httpx.Client) -> None:
    for _ in range(240):
        try:
            if client.get("/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.25)
    raise SystemExit("The server did not become ready.")


def _drop_gin(connection: psycopg.Connection[Any]) -> list[Any]:
    """Built once over all rows, the inverted indexes cost a tenth of what they cost row by row."""
    connection.execute("SET maintenance_work_mem = '1GB'")
    found = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'memories' AND indexdef LIKE '%USING gin%'"
    ).fetchall()
    for name, _ in found:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    return [definition for _, definition in found]


def copy_rows(connection: psycopg.Connection[Any], chunk: list[Row]) -> None:
    write_rows(connection, COLUMNS, (values_of(row) for row in chunk))


def write_rows(
    connection: psycopg.Connection[Any], columns: Mapping[str, str], values: Iterable[Mapping[str, Any]]
) -> None:
    register_vector(connection)
    statement = f"COPY memories ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    with connection.transaction(), connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(list(columns.values()))
        for given in values:
            copy.write_row([given.get(name, "") for name in columns])


def values_of(row: Row) -> dict[str, Any]:
    return row._asdict() | {
        "memory_id": uuid.uuid4(),
        "version": 1,
        "masked_content": None,
        "value_sha256": value_digest(row.content),
        "embedding": vector(array("f", row.embedding)) if row.embedding else None,
        "metadata": Jsonb({}),
        "sensitivity_labels": list(row.sensitivity_labels),
        "label_keys": sorted(row.sensitivity_labels),
        "schema_version": 1,
        "pinned": False,
        "expires_at": None,
        "propagation": None,
        "defaulted": ["request_id"],
        "fingerprint": sha256(f"{row.source}/{row.payload_id}".encode()).digest(),
        "status": "active",
        "decision": None,
        "sent_namespace": row.namespace,
        "sent_tier": row.classification_tier,
        "sent_labels": list(row.sensitivity_labels),
        "beyond_source": False,
        "is_other_spelling": False,
        "decided_beyond_source": False,
    }
