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

from memoryhub.config import APPLICATION
from tests.harness.databases import address, database, keepers_address
from tests.harness.generated import SOAK

ROOT = Path(__file__).resolve().parents[2]
LINES = 200_000 if SOAK else 9_000
SOURCES = ("crm", "mail", "chat")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lines of three sources, with a time or without one, some with embeddings of a batch's weight."""
    path = tmp_path_factory.mktemp("import") / "memories.jsonl"
    with path.open("w") as lines:
        for number in range(LINES):
            line = {
                "payload_id": f"p-{number // len(SOURCES)}",
                "source": SOURCES[number % len(SOURCES)],
                "content": f"Fact number {number}: {'Ada moved from Paris to London. ' * (number % 7)}",
                "subject": f"user:{number % 500}",
                "sensitivity_labels": ["pii"] if number % 11 == 0 else [],
                "metadata": {"line": number},
            }
            if number % 3:
                line["timestamp"] = f"2026-03-{number % 28 + 1:02}T12:00:00Z"
            lines.write(json.dumps(line) + "\n")
    return path


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    with database() as name:
        manage(name, "migrate", "--verbosity", "0")
        yield name


def started(name: str, *arguments: str) -> "subprocess.Popen[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MEMORYHUB_PORT")}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env={**environment, "DATABASE_URL": address(name, APPLICATION), "DATABASE_OWNER_URL": address(name)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def manage(name: str, *arguments: str) -> str:
    with started(name, *arguments) as process:
        said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return said


def count(name: str, question: str = "SELECT count(*) FROM memories") -> int:
    with psycopg.connect(keepers_address(name)) as own:
        row = own.execute(question.encode()).fetchone()
    assert row is not None
    return int(row[0])


def killed_after(name: str, rows: int, file: Path) -> int:
    """Import until there are `rows` rows at least, kill -9, and tell how many there are then."""
    with (
        started(name, "import_memories", str(file)) as process,
        psycopg.connect(keepers_address(name), autocommit=True) as own,
    ):
        try:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                found = own.execute("SELECT count(*) FROM memories").fetchone()
                if found and found[0] >= rows:
                    break
                assert process.poll() is None, process.stdout and process.stdout.read()
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        finally:
            process.kill()
        process.wait(30)
        # What the server was about to commit is committed or gone before anybody counts.
        while anybody_else(own):
            time.sleep(0.01)
    assert process.returncode == -signal.SIGKILL
    return count(name)


def anybody_else(own: "psycopg.Connection[tuple[int]]") -> bool:
    others = own.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ).fetchone()
    return others != (0,)


def test_an_import_killed_twice_and_run_again_stores_every_line_once(hub, file):
    first = killed_after(hub, 1, file)
    assert 0 < first < LINES, "killed in the middle"
    second = killed_after(hub, first + LINES // 4, file)
    assert first < second < LINES, "and again, further on"

    said = manage(hub, "import_memories", str(file))

    assert f"{LINES:,} lines" in said
    assert f"{LINES - second:,} created" in said
    assert f"{second:,} duplicate" in said
    assert count(hub) == LINES
    assert count(hub, "SELECT count(DISTINCT (source, payload_id)) FROM memories WHERE superseded_at IS NULL") == LINES
    assert count(hub, "SELECT count(DISTINCT (metadata->>'line')::int) FROM memories") == LINES
    assert count(hub, "SELECT count(*) FROM memories WHERE version <> 1") == 0
    for tally in ("memory_counts", "memory_days"):
        assert count(hub, f"SELECT sum(count) FROM {tally}") == LINES, "what is counted by trigger is not counted twice"
        assert count(hub, f"SELECT sum(written) FROM {tally}") == LINES

    third = manage(hub, "import_memories", str(file))

    assert "0 created" in third
    assert f"{LINES:,} duplicate" in third
    assert count(hub) == LINES
