"""Each thing that the doctor looks for, broken; on a database that is set up as the embedded one is."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from memoryhub.config import APPLICATION, OWNER
from memoryhub.ops import doctor, roles
from memoryhub.ops.doctor import Level, examine
from tests.harness.databases import World, as_keeper, world
from tests.memories.rows import execute

PAGE = Path(__file__).resolve().parents[2] / "docs" / "postgresql.md"


@pytest.fixture(scope="module")
def hub(django_db_blocker) -> Iterator[World]:
    with django_db_blocker.unblock(), world(as_application=True) as made, made.entered():
        call_command("migrate", verbosity=0, interactive=False)
        with roles.as_owner():
            roles.grant(APPLICATION)
        execute("BEGIN")
        with as_keeper():
            for statement in _marks():
                execute(statement)
        execute("COMMIT")
        yield made


@pytest.fixture(autouse=True)
def _the_cluster_waits_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not (tests/cluster.py), of which one test tells; the others look for something else."""
    monkeypatch.setattr(doctor, "DURABLE", tuple(name for name in doctor.DURABLE if name != "fsync"))


def _marks() -> list[str]:
    """What docs/postgresql.md tells a superuser to run in the database."""
    return re.findall(r"ALTER FUNCTION .* LEAKPROOF", PAGE.read_text())


def findings() -> dict[str, Level]:
    return {finding.check: finding.level for finding in examine()}


def test_the_page_marks_the_functions_that_the_doctor_asks_about():
    assert sorted(_marks()) == sorted(f"ALTER FUNCTION {function} LEAKPROOF" for function in roles.LEAKPROOF)


def test_every_table_behind_the_wall_is_asked_about(hub):
    with hub.entered(), connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relrowsecurity ORDER BY relname")
        assert [name for (name,) in cursor.fetchall()] == sorted(doctor.WALLED)


def test_a_database_set_up_as_the_page_says_is_well(hub, capsys):
    with hub.entered():
        call_command("doctor")

    assert set(findings_in(capsys.readouterr().out)) == {"OK"}


def findings_in(said: str) -> list[str]:
    return [line.split()[0] for line in said.splitlines() if line and not line.startswith(" ")]


BROKEN = {
    "role": ("SET LOCAL ROLE NONE", Level.FAIL),
    "owner": (f"ALTER TABLE axes_accesslog OWNER TO {APPLICATION}", Level.WARN),
    "row security": ("ALTER TABLE memory_days NO FORCE ROW LEVEL SECURITY", Level.FAIL),
    "history": (f"GRANT UPDATE ON audit_entries TO {APPLICATION}", Level.WARN),
    "indexes": ("ALTER FUNCTION memory_tier_grams(text, text) NOT LEAKPROOF", Level.WARN),
    "durability": ("SET LOCAL synchronous_commit = off", Level.FAIL),
}


@pytest.mark.parametrize("check", BROKEN)
def test_what_is_broken_is_found(hub, check):
    statement, level = BROKEN[check]
    with hub.entered():
        execute("BEGIN")
        if check == "role":
            execute(statement)
        else:
            with as_keeper():
                execute(statement)
        found = findings()
        execute("ROLLBACK")

    assert found[check] is level
    if check != "role":
        assert {name for name, seen in found.items() if seen is not Level.OK} == {check}


def test_a_server_that_does_not_wait_for_the_disk_is_found(hub, monkeypatch):
    monkeypatch.undo()

    with hub.entered():
        assert findings()["durability"] is Level.FAIL
        (said,) = [finding.said for finding in examine() if finding.check == "durability"]
    assert "fsync" in said


def test_a_policy_that_is_dropped_is_found_and_ends_the_command_with_a_sentence(hub, capsys):
    with hub.entered():
        execute("BEGIN")
        with as_keeper():
            execute("DROP POLICY memories_seen ON memories; DROP POLICY memories_added ON memories")
            execute("DROP POLICY memories_changed ON memories")
        with pytest.raises(CommandError, match="do not hold"):
            call_command("doctor", "--json")
        execute("ROLLBACK")

    assert '"check":"row security","level":"fail"' in capsys.readouterr().out


def test_the_owner_alone_may_serve_and_is_warned(hub, django_db_blocker):
    with django_db_blocker.unblock(), hub.entered(), roles.as_owner():
        assert execute("SELECT current_user") == [(OWNER,)]
        found = findings()

    assert (found["owner"], found["history"], found["row security"]) == (Level.WARN, Level.WARN, Level.OK)


def test_what_the_owner_does_to_a_whole_table_may_take_its_time(hub):
    with hub.entered(), roles.as_owner():
        assert execute("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')") == [("0", "0")]
    with hub.entered():
        assert execute("SHOW statement_timeout") == [("10s",)]
