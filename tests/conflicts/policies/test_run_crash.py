"""A policy run that is killed with -9 half-way, and gone on with, has decided every group once."""

import json
import signal
import time
from collections.abc import Iterator

import psycopg
import pytest

from tests.harness.databases import temporary_database_name, unrestricted_dsn
from tests.harness.strategies import SOAK
from tests.transfer.test_import_crash import count_rows, has_other_sessions, run_manage, start_command

GROUP_COUNT = 10_000 if SOAK else 500
POLICY_ID = "7d1f3c54-6f0e-4f6e-9a43-0a2f6f6f1c55"
# As `policies.save_version` writes it; there is no command that does.
MAKE_POLICY_SQL = """
INSERT INTO policies (
    policy_id, version, name, classes, rules, is_enabled, created_at, principal, clearance_tiers,
    clearance_blocked_labels, clearance_required_labels
) VALUES (
    %s, 1, 'Newest first', '{contradiction,update,duplicate}', '[{"rule": "latest_event"}]', true, now(), 'test',
    '{public}', '{}', '{}'
)
"""
IN_FORCE_SQL = """
SELECT count(*) FROM decisions AS decision
WHERE outcome <> 'undo' AND NOT EXISTS (SELECT FROM decisions AS undo WHERE undo.undoes_id = decision.decision_id)
"""
ACTIVE_SQL = "SELECT count(*) FROM memories WHERE superseded_at IS NULL AND status = 'active'"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, migrated_database: str) -> Iterator[str]:
    path = tmp_path_factory.mktemp("policy") / "memories.jsonl"
    with path.open("w") as lines:
        for index in range(GROUP_COUNT):
            for day, city in enumerate(("Paris", "London", "Rome")[: 2 + index % 2], 1):
                line = {"payload_id": f"{index}-{day}", "source": "crm", "content": city, "collection": "city"}
                line |= {"subject": f"user:{index:05}", "timestamp": f"2026-03-{day:02}T12:00:00Z"}
                lines.write(json.dumps(line) + "\n")
    with temporary_database_name(migrated_database) as name:
        # Its privileges are given by the command.
        run_manage(name, "migrate", "--verbosity", "0")
        run_manage(name, "import_memories", str(path))
        with psycopg.connect(unrestricted_dsn(name)) as owner_connection:
            owner_connection.execute(MAKE_POLICY_SQL, [POLICY_ID])
        yield name


def kill_run_after(name: str, decisions: int, *arguments: str) -> int:
    """Carry the policy out until there are so many decisions, kill -9, and tell how many there are then."""
    with (
        start_command(name, "conflicts", "apply", POLICY_ID, *arguments) as process,
        psycopg.connect(unrestricted_dsn(name), autocommit=True) as owner_connection,
    ):
        try:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                row = owner_connection.execute("SELECT count(*) FROM decisions").fetchone()
                if row and row[0] >= decisions:
                    break
                assert process.poll() is None, process.stdout and process.stdout.read()
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        finally:
            process.kill()
        process.wait(30)
        while has_other_sessions(owner_connection):
            time.sleep(0.01)
    assert process.returncode == -signal.SIGKILL
    return count_rows(name, "SELECT count(*) FROM decisions")


def get_run_id(name: str) -> str:
    with psycopg.connect(unrestricted_dsn(name)) as owner_connection:
        row = owner_connection.execute("SELECT run_id FROM policy_runs ORDER BY started_at LIMIT 1").fetchone()
    assert row
    return str(row[0])


def test_a_run_killed_twice_and_gone_on_with_has_decided_every_group_once(hub):
    active = count_rows(hub, ACTIVE_SQL)
    first = kill_run_after(hub, 1)
    assert 0 < first < GROUP_COUNT, "killed in the middle"
    run = get_run_id(hub)
    assert count_rows(hub, "SELECT decisions_made FROM policy_runs") == first, (
        "a step and its progress are committed together"
    )
    second = kill_run_after(hub, first + GROUP_COUNT // 4, "--run", run)
    assert first < second < GROUP_COUNT, "and again, further on"

    output = run_manage(hub, "conflicts", "apply", POLICY_ID, "--run", run)

    assert f"{GROUP_COUNT:,} decided, 0 left" in output
    assert count_rows(hub, IN_FORCE_SQL) == GROUP_COUNT
    assert count_rows(hub, "SELECT count(DISTINCT (subject, collection)) FROM decisions") == GROUP_COUNT
    assert (
        count_rows(hub, "SELECT count(*) FROM decisions WHERE run_id IS NULL OR policy_version IS DISTINCT FROM 1") == 0
    )
    assert count_rows(hub, ACTIVE_SQL) == GROUP_COUNT
    assert count_rows(hub, "SELECT count(*) FROM memories WHERE superseded_at IS NULL AND version > 2") == 0

    assert "0 open groups, 0 decided" in run_manage(hub, "conflicts", "apply", POLICY_ID)

    assert f"{GROUP_COUNT:,} decisions undone." in run_manage(
        hub, "conflicts", "undo-run", run, "--reason", "Was a mistake."
    )
    assert (count_rows(hub, IN_FORCE_SQL), count_rows(hub, ACTIVE_SQL)) == (0, active)
