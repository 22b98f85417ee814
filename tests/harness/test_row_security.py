"""The second wall alone: what PostgreSQL shows the application's own role, whatever the application forgets to ask.

FW-20, FW-27, AU-03. That every door tells nothing without the first wall, FW-19, is shown in test_two_worlds.
"""

import itertools
import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from memoryhub.api import views
from memoryhub.api.permissions import walled
from memoryhub.config import APPLICATION
from memoryhub.firewall import wall
from memoryhub.firewall.types import Clearance, everything
from memoryhub.memories import ingest, relabel
from memoryhub.memories.models import Memory, MemoryCount, MemoryDay, MemoryTotal
from memoryhub.memories.querysets import ClassifiedQuerySet
from memoryhub.ops import roles
from tests.builders import at, store
from tests.harness.databases import address, as_keeper
from tests.harness.generated import SOAK, planted
from tests.harness.two_worlds.rows import STORY
from tests.harness.worlds import HIGH, LOW, Worlds, two_worlds
from tests.memories.rows import execute

TABLES = (Memory, MemoryCount, MemoryDay, MemoryTotal)
# What the application reaches without a policy, each with the reason why that shows nobody a memory.
WITHOUT_POLICY = {
    "record_clock": "one instant; /api/status publishes it",
    "audit_head": "number and hash of the ledger's last entry, answered to nobody but `audit verify`",
    "read_counts": "who asked how often; one's own, and for an admin those of readers who see no more",
    "conflict_claims": "who is looking at the group of a key; told to those who see all that its holder sees",
    "conflict_classes": "one word, under the hash of all that the asker sees of a group",
    "policies": "rules, no memory; told to those who see as much as whoever made them",
    "policy_runs": "numbers; told to those who see as much as whoever ran it",
    "sources": "no memory: the names under which keys write, and their clearances for writing; listed by no route",
    "api_keys": "no memory", "clearances": "no memory", "user_clearances": "no memory",
    "auth_user": "Django's", "auth_group": "Django's", "auth_permission": "Django's",
    "auth_group_permissions": "Django's", "auth_user_groups": "Django's",
    "auth_user_user_permissions": "Django's", "django_admin_log": "Django's",
    "django_content_type": "Django's", "django_migrations": "Django's", "django_session": "Django's",
    "axes_accessattempt": "sign-ins", "axes_accessattemptexpiration": "sign-ins", "axes_accessfailurelog": "sign-ins",
    "axes_accesslog": "sign-ins",
    "knox_authtoken": "knox's own table, which nothing uses",
}  # fmt: skip


@pytest.fixture(scope="module")
def worlds(django_db_blocker) -> Iterator[Worlds]:
    with django_db_blocker.unblock(), two_worlds() as made:
        yield made


@pytest.fixture
def hub(worlds) -> Iterator[None]:
    """A hub with two visible memories and a hundred hidden ones, seen by the application's role."""
    with worlds.inside(worlds.with_hidden, STORY):
        yield


def test_the_application_is_neither_above_the_wall_nor_the_owner_of_a_table(hub):
    above = execute("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
    owned = execute("SELECT relname FROM pg_class WHERE relowner = current_user::regrole AND relpersistence <> 't'")

    assert execute("SELECT current_user") == [(APPLICATION,)]
    assert (above, owned) == ([(False,)], [])


@pytest.mark.parametrize("unset", [None, ""], ids=["missing", "empty"])
def test_who_does_not_say_who_asks_sees_nothing_and_no_error(hub, unset):
    if unset is not None:
        for name in ("tiers", "blocked_labels", "required_labels", "namespaces", "writes_as"):
            execute("SELECT set_config(%s, %s, true)", f"memoryhub.{name}", unset)

    assert [table.objects.count() for table in TABLES] == [0, 0, 0, 0]


@pytest.mark.parametrize("name", ["tiers", "blocked_labels", "required_labels", "namespaces"])
def test_one_setting_that_is_missing_hides_everything(hub, name):
    with wall.behind(everything()):
        assert all(table.objects.exists() for table in TABLES)
        execute("SELECT set_config(%s, '', true)", f"memoryhub.{name}")

        assert [table.objects.count() for table in TABLES] == [0, 0, 0, 0]


def test_a_question_without_any_rule_gets_what_the_clearance_may_see(hub):
    with wall.behind(LOW):
        seen = list(Memory.objects.values_list("content", flat=True))
        counted = {row.classification_tier for row in MemoryCount.objects.all()}

    assert sorted(seen) == ["London", "Paris"]
    assert counted == {"public"}


def test_totals_that_know_no_namespace_answer_nobody_who_is_bound_to_some(hub):
    with wall.behind(LOW):
        assert MemoryTotal.objects.count() == 0
    with wall.behind(Clearance(max_tier="internal")):
        assert MemoryTotal.objects.count() > 0


@pytest.mark.parametrize(
    "clearance",
    [
        Clearance(),
        LOW,
        everything(),
        replace(everything(), sees_quarantined=False),
        Clearance(sees_quarantined=True),
        Clearance(max_tier="no such tier"),
        Clearance(max_tier="restricted", namespaces=frozenset()),
        Clearance(max_tier="restricted", namespaces=frozenset({'a "quoted", {odd} \\ name', "team"})),
        Clearance(max_tier="restricted", blocked_labels=frozenset({"EU"})),
        Clearance(max_tier="restricted", required_labels=frozenset({"eu", "pii"})),
    ],
)
def test_both_walls_show_the_same_rows(worlds, clearance):
    odd = planted(payload_id="odd", source="odd", namespace='a "quoted", {odd} \\ name', labels=["eu", "PII"])
    with worlds.inside(worlds.with_hidden, STORY):
        store([odd, planted(payload_id="without a tier", source="odd", tier=""), planted(payload_id="away")])
        quarantine("away")
        with as_keeper():
            by_the_first = set(Memory.objects.visible_to(clearance).values_list("memory_id", flat=True))
        with wall.behind(clearance):
            by_the_second = set(Memory.objects.values_list("memory_id", flat=True))

    assert by_the_second == by_the_first


def test_the_tallies_of_what_is_in_quarantine_are_behind_both_walls(hub):
    store([planted(payload_id="away")])
    quarantine("away")
    for clearance in (everything(), replace(everything(), sees_quarantined=False)):
        for tally in (MemoryCount, MemoryDay, MemoryTotal):
            with as_keeper():
                by_the_first = ClassifiedQuerySet(tally).visible_to(clearance).filter(status="quarantined").exists()
            with wall.behind(clearance):
                by_the_second = tally.objects.filter(status="quarantined").exists()
            assert by_the_first is by_the_second is clearance.sees_quarantined, tally


def quarantine(payload_id: str) -> None:
    with as_keeper():
        (memory_id,) = Memory.objects.current().filter(payload_id=payload_id).values_list("memory_id", flat=True)
    relabel.carry_out(relabel.plan_one(memory_id, relabel.Change(status="quarantined"), by=HIGH))


def test_a_writer_sees_the_rows_of_its_own_source_alone(hub):
    with wall.writing({"hidden-source"}):
        assert set(Memory.objects.values_list("source", flat=True)) == {"hidden-source"}
    with wall.writing({"nobody"}):
        assert Memory.objects.count() == 0


def test_nobody_writes_under_a_source_that_is_not_theirs(hub):
    with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic(), wall.behind(everything()):
        insert_as("other")
    with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic(), wall.writing({"mine"}):
        insert_as("other")


def test_nobody_closes_what_they_may_only_see(hub):
    with wall.behind(everything()):
        assert Memory.objects.exists()
        assert Memory.objects.update(superseded_at=at("2026-03-01 12:00")) == 0


def insert_as(source: str) -> None:
    """What ingest does, but for saying as whom it writes."""
    ingest.add(planted(source=source), decision=uuid.uuid4())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE memories SET content = 'x'",
        "UPDATE memories SET classification_tier = 'public'",
        "DELETE FROM memories",
        "TRUNCATE memories",
        "UPDATE record_clock SET instant = now()",
        "SELECT setval('record_told', 1)",
        "SELECT nextval('record_told')",
        "ALTER SEQUENCE record_told RESTART",
        "UPDATE audit_entries SET principal = 'x'",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
        "ALTER TABLE memories DISABLE ROW LEVEL SECURITY",
        "DROP POLICY memories_seen ON memories",
        "DELETE FROM django_migrations",
    ],
)
def test_the_application_may_not(hub, statement):
    with pytest.raises(DatabaseError, match=r"permission denied|must be owner"), transaction.atomic():
        execute(statement)


def test_what_the_application_had_too_much_is_taken_when_it_is_granted_again(hub):
    with as_keeper():
        execute(f"GRANT DELETE ON memories TO {APPLICATION}")
        roles.grant(APPLICATION)

    with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
        execute("DELETE FROM memories")


def test_the_application_cannot_claim_another_record_time(hub):
    execute("SELECT set_config('memoryhub.record_instant', '2001-01-01', true)")

    with wall.writing({"low"}):
        insert_as("low")
        assert Memory.objects.get().recorded_at.year == 2100


def test_every_table_that_the_application_reaches_has_a_forced_policy_or_a_reason(hub):
    """FW-27: a new table fails this test until somebody has thought about it."""
    reached = execute("""
        SELECT relname, relkind, relrowsecurity AND relforcerowsecurity,
               EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid)
        FROM pg_class AS c
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
          AND has_any_column_privilege(current_user, c.oid, 'SELECT')
    """)
    bare = {name for name, _, forced, has_policy in reached if not (forced and has_policy)}

    assert bare - WITHOUT_POLICY.keys() == set()
    assert {"memories", "memory_counts", "memory_days", "memory_totals", "audit_entries"} <= {
        row[0] for row in reached
    } - bare
    assert {kind for _, kind, _, _ in reached} == {"r"}, (
        "a view needs security_invoker, a foreign table a wall of its own"
    )


def test_no_function_but_the_clock_runs_with_the_owners_rights(hub):
    found = execute("SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace ORDER BY 1")

    assert [name for (name,) in found] == ["record_settle", "record_tick"]


def test_the_application_cannot_tell_an_instant_that_is_still_to_come(hub):
    """What was told moves the clock of all who write: it is never moved past now."""
    ((before,),) = execute("SELECT instant FROM record_clock")
    ((settled, told),) = execute("SELECT record_settle('9999-12-31', true), (SELECT instant FROM record_clock)")
    ((tick,),) = execute("SELECT record_tick()")

    assert before == settled == told
    assert tick - settled == timedelta(microseconds=1)


def test_high_and_low_in_turn_on_one_connection_leak_nothing(django_db_blocker, monkeypatch):
    """FW-20: low answers between high ones, bad requests, failing statements and aborted transactions."""
    with django_db_blocker.unblock(), two_worlds() as worlds, worlds.with_hidden.entered():
        for step in STORY:
            store(step.drafts)
        monkeypatch.setattr(views.FacetsView, "get", walled(_fail_in_the_database))
        turns = itertools.cycle(
            [
                lambda: worlds.high.get("/api/memories?limit=200"),
                lambda: worlds.high.get("/api/memories?cursor=forged"),
                lambda: worlds.high.get("/api/facets"),
                lambda: worlds.high.get(f"/api/memories/{uuid.uuid4()}"),
                _abort_a_write,
            ]
        )
        expected = worlds.key.get("/api/memories")
        session = connection.connection.info.backend_pid
        statuses = set()
        for _ in range(10_000 if SOAK else 150):
            statuses.add(getattr(next(turns)(), "status", None))
            assert worlds.key.get("/api/memories") == expected
            assert execute("SELECT coalesce(current_setting('memoryhub.tiers', true), '')") == [("",)]

        assert json.loads(expected.body)["records"], "the low caller does see something"
        assert statuses == {200, 400, 404, 500, None}
        assert connection.connection.info.backend_pid == session, "all on one connection"


def _fail_in_the_database(_view: Any, _request: Any) -> Any:
    execute("SELECT no_such_column FROM memories")


def _abort_a_write() -> None:
    with pytest.raises(DatabaseError), wall.writing(None):
        execute("SELECT no_such_column FROM memories")


def test_a_login_of_the_application_sees_nothing_by_itself(worlds):
    """Not a superuser who took the role, as the worlds are: the role's own login."""
    with psycopg.connect(address(worlds.without.name, APPLICATION)) as login:
        assert login.execute("SELECT current_user, session_user").fetchone() == (APPLICATION, APPLICATION)
        assert login.execute("SELECT count(*) FROM memories").fetchone() == (0,)
