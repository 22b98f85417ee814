"""An import that is killed with -9 half-way, and run again, has stored every line once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from memoryhub.config import APP_ROLE
from tests.harness.databases import database_dsn, temporary_database_name, unrestricted_dsn
from tests.harness.strategies import SOAK

ROOT = Path(__file__).resolve().parents[2]
LINE_COUNT = 200_000 if SOAK else 9_000
SOURCES = ("crm", "mail", "chat")


@pytest.fixture(scope="module")
def import_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lines of three sources, with a time or without one, some with embeddings of a batch's weight."""
    path = tmp_path_factory.mktemp("import") / "memories.jsonl"
    with path.open("w") as lines:
        for index in range(LINE_COUNT):
            line = {
                "payload_id": f"p-{index // len(SOURCES)}",
                "source": SOURCES[index % len(SOURCES)],
                "content": f"Fact number {index}: {'Ada moved from Paris to London. ' * (index % 7)}",
                "subject": f"user:{index % 500}",
                "sensitivity_labels": ["pii"] if index % 11 == 0 else [],
                "metadata": {"line": index},
            }
            if index % 3:
                line["timestamp"] = f"2026-03-{index % 28 + 1:02}T12:00:00Z"
            lines.write(json.dumps(line) + "\n")
    return path


@pytest.fixture(scope="module")
def hub(migrated_database: str) -> Iterator[str]:
    with temporary_database_name(migrated_database) as name:
        # The command grants the privileges of the application.
        run_manage(name, "migrate", "--verbosity", "0")
        yield name


def start_command(name: str, *arguments: str) -> "subprocess.Popen[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MEMORYHUB_PORT")}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env={**environment, "DATABASE_URL": database_dsn(name, APP_ROLE), "DATABASE_OWNER_URL": database_dsn(name)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_manage(name: str, *arguments: str) -> str:
    with start_command(name, *arguments) as process:
        output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


def count_rows(name: str, query: str = "SELECT count(*) FROM memories") -> int:
    with psycopg.connect(unrestricted_dsn(name)) as owner_connection:
        row = owner_connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def kill_import_after(name: str, rows: int, import_file: Path) -> int:
    """Import until there are `rows` rows at least, kill -9, and tell how many there are then."""
    with (
        start_command(name, "import_memories", str(import_file)) as process,
        psycopg.connect(unrestricted_dsn(name), autocommit=True) as owner_connection,
    ):
        try:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                row = owner_connection.execute("SELECT count(*) FROM memories").fetchone()
                if row and row[0] >= rows:
                    break
                assert process.poll() is None, process.stdout and process.stdout.read()
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        finally:
            process.kill()
        process.wait(30)
        # What the server was about to commit is committed or gone before anybody counts.
        while has_other_sessions(owner_connection):
            time.sleep(0.01)
    assert process.returncode == -signal.SIGKILL
    return count_rows(name)


def has_other_sessions(owner_connection: "psycopg.Connection[tuple[int]]") -> bool:
    session_row = owner_connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ).fetchone()
    return session_row != (0,)


def test_an_import_killed_twice_and_run_again_stores_every_line_once(hub, import_file):
    first = kill_import_after(hub, 1, import_file)
    assert 0 < first < LINE_COUNT, "killed in the middle"
    second = kill_import_after(hub, first + LINE_COUNT // 4, import_file)
    assert first < second < LINE_COUNT, "and again, further on"

    output = run_manage(hub, "import_memories", str(import_file))

    assert f"{LINE_COUNT:,} lines" in output
    assert f"{LINE_COUNT - second:,} created" in output
    assert f"{second:,} duplicate" in output
    assert count_rows(hub) == LINE_COUNT
    assert (
        count_rows(hub, "SELECT count(DISTINCT (source, payload_id)) FROM memories WHERE superseded_at IS NULL")
        == LINE_COUNT
    )
    assert count_rows(hub, "SELECT count(DISTINCT (metadata->>'line')::int) FROM memories") == LINE_COUNT
    assert count_rows(hub, "SELECT count(*) FROM memories WHERE version <> 1") == 0
    for rollup_table in ("memory_rollups", "memory_day_rollups"):
        assert count_rows(hub, f"SELECT sum(count) FROM {rollup_table}") == LINE_COUNT, (
            "what is counted by trigger is not counted twice"
        )
        assert count_rows(hub, f"SELECT sum(versions_written) FROM {rollup_table}") == LINE_COUNT

    third_output = run_manage(hub, "import_memories", str(import_file))

    assert "0 created" in third_output
    assert f"{LINE_COUNT:,} duplicate" in third_output
    assert count_rows(hub) == LINE_COUNT
