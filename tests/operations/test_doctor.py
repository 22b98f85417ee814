"""Each thing that the doctor looks for, broken; on a database that is set up as the embedded one is."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from memoryhub.config import APP_ROLE, OWNER_ROLE
from memoryhub.operations import database_roles, doctor
from memoryhub.operations.doctor import Level, run_doctor_checks
from tests.harness.databases import DatabaseHandle, as_unrestricted_reader, temporary_database
from tests.memories.raw_rows import execute

DOCS_PAGE = Path(__file__).resolve().parents[2] / "docs/operations/postgresql.md"


@pytest.fixture(scope="module")
def hub(django_db_blocker) -> Iterator[DatabaseHandle]:
    with django_db_blocker.unblock(), temporary_database(as_application=True) as database, database.activate():
        call_command("migrate", verbosity=0, interactive=False)
        with database_roles.connect_as_owner():
            database_roles.grant_app_privileges(APP_ROLE)
        execute("BEGIN")
        with as_unrestricted_reader():
            for statement in _leakproof_functions():
                execute(statement)
        execute("COMMIT")
        # A worker, for as long as the tests take.
        execute("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() + interval '1 hour')")
        yield database


@pytest.fixture(autouse=True)
def _synchronous_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not (tests/postgres_plugin.py), of which one test tells; the others look for something else."""
    monkeypatch.setattr(
        doctor, "DURABILITY_SETTINGS", tuple(name for name in doctor.DURABILITY_SETTINGS if name != "fsync")
    )


def _leakproof_functions() -> list[str]:
    """What docs/operations/postgresql.md tells a superuser to run in the database."""
    return re.findall(r"ALTER FUNCTION .* LEAKPROOF", DOCS_PAGE.read_text())


def levels_by_check() -> dict[str, Level]:
    return {finding.check: finding.level for finding in run_doctor_checks()}


def test_the_page_marks_the_functions_that_the_doctor_asks_about():
    assert sorted(_leakproof_functions()) == sorted(
        f"ALTER FUNCTION {function} LEAKPROOF" for function in database_roles.LEAKPROOF_FUNCTIONS
    )


def test_every_table_with_row_security_is_checked(hub):
    with hub.activate(), connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relrowsecurity ORDER BY relname")
        assert [name for (name,) in cursor.fetchall()] == sorted(doctor.RLS_TABLES)


def test_a_database_set_up_as_the_page_says_is_well(hub, capsys):
    with hub.activate():
        call_command("doctor")

    assert set(checks_in_output(capsys.readouterr().out)) == {"OK"}


def checks_in_output(output: str) -> list[str]:
    return [line.split()[0] for line in output.splitlines() if line and not line.startswith(" ")]


BROKEN_SETUPS = {
    "role": ("SET LOCAL ROLE NONE", Level.FAIL),
    "owner": (f"ALTER TABLE axes_accesslog OWNER TO {APP_ROLE}", Level.WARN),
    "row security": ("ALTER TABLE memory_day_rollups NO FORCE ROW LEVEL SECURITY", Level.FAIL),
    "history": (f"GRANT UPDATE ON audit_entries TO {APP_ROLE}", Level.WARN),
    "indexes": ("ALTER FUNCTION memory_tier_trigrams(text, text) NOT LEAKPROOF", Level.WARN),
    "worker": ("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '16 seconds'", Level.WARN),
    "durability": ("SET LOCAL synchronous_commit = off", Level.FAIL),
}


@pytest.mark.parametrize("check", BROKEN_SETUPS)
def test_what_is_broken_is_found(hub, check):
    statement, level = BROKEN_SETUPS[check]
    with hub.activate():
        execute("BEGIN")
        if check == "role":
            execute(statement)
        else:
            with as_unrestricted_reader():
                execute(statement)
        levels = levels_by_check()
        execute("ROLLBACK")

    assert levels[check] is level
    if check != "role":
        assert {name for name, found_level in levels.items() if found_level is not Level.OK} == {check}


def test_a_server_that_does_not_wait_for_the_disk_is_found(hub, monkeypatch):
    monkeypatch.undo()

    with hub.activate():
        assert levels_by_check()["durability"] is Level.FAIL
        (message,) = [finding.message for finding in run_doctor_checks() if finding.check == "durability"]
    assert "fsync" in message


def test_a_policy_that_is_dropped_is_found_and_ends_the_command_with_a_sentence(hub, capsys):
    with hub.activate():
        execute("BEGIN")
        with as_unrestricted_reader():
            execute("DROP POLICY memories_select ON memories; DROP POLICY memories_insert ON memories")
            execute("DROP POLICY memories_update ON memories")
        with pytest.raises(CommandError, match="not fully in force"):
            call_command("doctor", "--json")
        execute("ROLLBACK")

    assert '"check":"row security","level":"fail"' in capsys.readouterr().out


def test_the_owner_alone_may_serve_and_is_warned(hub, django_db_blocker):
    with django_db_blocker.unblock(), hub.activate(), database_roles.connect_as_owner():
        assert execute("SELECT current_user") == [(OWNER_ROLE,)]
        levels = levels_by_check()

    assert (levels["owner"], levels["history"], levels["row security"]) == (Level.WARN, Level.WARN, Level.OK)


def test_what_the_owner_does_to_a_whole_table_may_take_its_time(hub):
    with hub.activate(), database_roles.connect_as_owner():
        assert execute("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')") == [("0", "0")]
    with hub.activate():
        assert execute("SHOW statement_timeout") == [("10s",)]
