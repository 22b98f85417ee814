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

from memoryhub.config import SUPERUSER_ROLE, Config
from memoryhub.core.values import compute_value_digest
from memoryhub.memories.writes.versions import COLUMN_TYPES, to_vector
from memoryhub.operations import embedded_postgres
from tests.benchmarks.generate import Row, generate_rows

ROOT = Path(__file__).resolve().parents[2]
DIMENSIONS = 384
CHUNK_SIZE = 20_000


class Store:
    """An embedded hub with `count` generated memories, served by the product itself."""

    def __init__(self, count: int, *, home: str = "") -> None:
        self.count = count
        self.home = ROOT / ".memoryhub" / (home or f"bench-{count}")
        self.config = Config(home=self.home, database_url=None)

    @contextmanager
    def serve(self) -> Iterator[httpx.Client]:
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
                # The first start says before that the database is migrated.
                url = next(line.split()[-1] for line in server.stdout if " is at http" in line)
                key = json.loads((self.home / "credentials.json").read_text())["keys"]["admin"]
                headers = {"Authorization": f"Bearer {key}"}
                with httpx.Client(base_url=url, headers=headers, timeout=120) as client:
                    _wait_until_ready(client)
                    yield client
            finally:
                server.terminate()

    def connect(self) -> psycopg.Connection[Any]:
        # As the superuser, whom row-level security does not keep from COPY.
        options = "-c jit=off -c work_mem=32MB -c enable_seqscan=off -c max_parallel_workers_per_gather=0"
        connection = psycopg.connect(self.config.embedded_dsn(SUPERUSER_ROLE), autocommit=True, options=options)
        connection.prepare_threshold = None
        return connection

    def generate_rows(self) -> Iterator[Row]:
        """The memories that this store holds."""
        return generate_rows(self.count, dimensions=DIMENSIONS)

    def load(self, connection: psycopg.Connection[Any]) -> Iterator[int]:
        """Copy the memories into the table, and yield from time to time how many are there."""
        generated, loaded_rows = self.generate_rows(), 0
        while chunk := list(islice(generated, CHUNK_SIZE)):
            copy_rows(connection, chunk)
            yield (loaded_rows := loaded_rows + len(chunk))

    def fill(self) -> float | None:
        """Load the memories if they are not there yet. Answers the seconds it took."""
        with embedded_postgres.run_server(self.config), self.connect() as connection:
            row = connection.execute("SELECT count(*) FROM memories WHERE source LIKE 'agent-%'").fetchone()
            if row and row[0] >= self.count:
                return None
            start_time = time.perf_counter()
            indexes = _drop_gin(connection)
            for loaded_rows in self.load(connection):
                print(f"\r{loaded_rows:,} of {self.count:,} memories", end="", file=sys.stderr, flush=True)
            print(file=sys.stderr)
            for definition in indexes:
                connection.execute(definition)
            connection.execute("VACUUM (ANALYZE)")
            return time.perf_counter() - start_time


def _wait_until_ready(client: httpx.Client) -> None:
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
    rows = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'memories' AND indexdef LIKE '%USING gin%'"
    ).fetchall()
    for name, _ in rows:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    return [definition for _, definition in rows]


def copy_rows(connection: psycopg.Connection[Any], chunk: list[Row]) -> None:
    write_rows(connection, COLUMN_TYPES, (row_values(row) for row in chunk))


def write_rows(
    connection: psycopg.Connection[Any], columns: Mapping[str, str], values: Iterable[Mapping[str, Any]]
) -> None:
    register_vector(connection)
    statement = f"COPY memories ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    with connection.transaction(), connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(list(columns.values()))
        for values_row in values:
            copy.write_row([values_row.get(name, "") for name in columns])


def row_values(row: Row) -> dict[str, Any]:
    return row._asdict() | {
        "memory_id": uuid.uuid4(),
        "version": 1,
        "masked_content": None,
        "value_sha256": compute_value_digest(row.content),
        "embedding": to_vector(array("f", row.embedding)) if row.embedding else None,
        "metadata": Jsonb({}),
        "sensitivity_labels": list(row.sensitivity_labels),
        "normalized_labels": sorted(row.sensitivity_labels),
        "schema_version": 1,
        "pinned": False,
        "expires_at": None,
        "propagation": None,
        "defaulted_fields": ["request_id"],
        "fingerprint": sha256(f"{row.source}/{row.payload_id}".encode()).digest(),
        "status": "active",
        "decision_id": None,
        "sent_namespace": row.namespace,
        "sent_tier": row.classification_tier,
        "sent_labels": list(row.sensitivity_labels),
        "exceeds_source_clearance": False,
        "is_spelling_rejection": False,
        "decision_exceeds_source": False,
        **dict.fromkeys(("asserted_at", "asserted_version_id", "superseded_at")),
    }
