"""A policy run that is killed with -9 half-way, and gone on with, has decided every group once."""

import json
import signal
import time
from collections.abc import Iterator

import psycopg
import pytest

from tests.harness.databases import database, keepers_address
from tests.harness.generated import SOAK
from tests.ops.test_import_crash import anybody_else, count, manage, started

GROUPS = 10_000 if SOAK else 1_000
POLICY = "7d1f3c54-6f0e-4f6e-9a43-0a2f6f6f1c55"
# As `policies.save` writes it; there is no command that does.
MADE = """
INSERT INTO policies (
    policy_id, version, name, classes, rules, is_enabled, at, principal, reach_tiers, reach_blocked, reach_required
) VALUES (
    %s, 1, 'Newest first', '{contradiction,update,duplicate}', '[{"rule": "latest_event"}]', true, now(), 'test',
    '{public}', '{}', '{}'
)
"""
IN_FORCE = """
SELECT count(*) FROM decisions AS made
WHERE outcome <> 'undo' AND NOT EXISTS (SELECT FROM decisions AS undo WHERE undo.reverses = made.decision_id)
"""
ACTIVE = "SELECT count(*) FROM memories WHERE superseded_at IS NULL AND status = 'active'"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("policy") / "memories.jsonl"
    with path.open("w") as lines:
        for number in range(GROUPS):
            for day, city in enumerate(("Paris", "London", "Rome")[: 2 + number % 2], 1):
                line = {"payload_id": f"{number}-{day}", "source": "crm", "content": city, "collection": "city"}
                line |= {"subject": f"user:{number:05}", "timestamp": f"2026-03-{day:02}T12:00:00Z"}
                lines.write(json.dumps(line) + "\n")
    with database() as name:
        manage(name, "migrate", "--verbosity", "0")
        manage(name, "import_memories", str(path))
        with psycopg.connect(keepers_address(name)) as own:
            own.execute(MADE, [POLICY])
        yield name


def killed_after(name: str, decisions: int, *arguments: str) -> int:
    """Carry the policy out until there are so many decisions, kill -9, and tell how many there are then."""
    with (
        started(name, "conflicts", "apply", POLICY, *arguments) as process,
        psycopg.connect(keepers_address(name), autocommit=True) as own,
    ):
        try:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                found = own.execute("SELECT count(*) FROM decisions").fetchone()
                if found and found[0] >= decisions:
                    break
                assert process.poll() is None, process.stdout and process.stdout.read()
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        finally:
            process.kill()
        process.wait(30)
        while anybody_else(own):
            time.sleep(0.01)
    assert process.returncode == -signal.SIGKILL
    return count(name, "SELECT count(*) FROM decisions")


def run_of(name: str) -> str:
    with psycopg.connect(keepers_address(name)) as own:
        row = own.execute("SELECT run_id FROM policy_runs ORDER BY started LIMIT 1").fetchone()
    assert row
    return str(row[0])


def test_a_run_killed_twice_and_gone_on_with_has_decided_every_group_once(hub):
    active = count(hub, ACTIVE)
    first = killed_after(hub, 1)
    assert 0 < first < GROUPS, "killed in the middle"
    run = run_of(hub)
    assert count(hub, "SELECT decided FROM policy_runs") == first, "a step and its progress are committed together"
    second = killed_after(hub, first + GROUPS // 4, "--run", run)
    assert first < second < GROUPS, "and again, further on"

    said = manage(hub, "conflicts", "apply", POLICY, "--run", run)

    assert f"{GROUPS:,} decided, 0 left" in said
    assert count(hub, IN_FORCE) == GROUPS
    assert count(hub, "SELECT count(DISTINCT (subject, collection)) FROM decisions") == GROUPS
    assert count(hub, "SELECT count(*) FROM decisions WHERE run IS NULL OR policy_version IS DISTINCT FROM 1") == 0
    assert count(hub, ACTIVE) == GROUPS
    assert count(hub, "SELECT count(*) FROM memories WHERE superseded_at IS NULL AND version > 2") == 0

    assert "0 open groups, 0 decided" in manage(hub, "conflicts", "apply", POLICY)

    assert f"{GROUPS:,} decisions undone." in manage(hub, "conflicts", "undo-run", run, "--reason", "Was a mistake.")
    assert (count(hub, IN_FORCE), count(hub, ACTIVE)) == (0, active)
