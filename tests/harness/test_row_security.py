"""Row security alone: what PostgreSQL shows the application's own role, whatever the application forgets to filter.

FW-20, FW-27, AU-03. That no endpoint reveals anything without the query filter, FW-19: noninterference/test_reads.py.
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

from memoryhub.api.native import memories
from memoryhub.api.permissions import rls_scoped
from memoryhub.config import APP_ROLE
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.querysets import ClassifiedQuerySet
from memoryhub.memories.models import Memory, MemoryDayRollup, MemoryRollup, MemoryTotalRollup
from memoryhub.memories.writes import apply_decisions, classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.operations import database_roles
from tests.factories import store_drafts, utc
from tests.harness.databases import as_unrestricted_reader, database_dsn
from tests.harness.strategies import SOAK, prepare_memory
from tests.memories.raw_rows import execute
from tests.noninterference.reads.rows import STORY_STEPS
from tests.noninterference.worlds import HIGH, LOW, PairedWorlds, create_paired_worlds

RLS_MODELS = (Memory, MemoryRollup, MemoryDayRollup, MemoryTotalRollup)
# What the application reaches without a policy, each with the reason why that shows nobody a memory.
TABLES_WITHOUT_POLICY = {
    "record_clock": "one instant; /api/status publishes it",
    "audit_chain_head": "number and hash of the audit log's last entry, answered to nobody but `audit verify`",
    "read_counts": "who asked how often; one's own, and for an admin those of readers who see no more",
    "conflict_claims": "who is looking at the group of a key; shown to those who see all that its holder sees",
    "conflict_class_cache": "one word, under the hash of all that the asker sees of a group",
    "policies": "rules, no memory; visible to readers who see as much as their author",
    "policy_runs": "numbers; visible to readers who see as much as the principal that ran it",
    "sources": "no memory: the names under which keys write, and their clearances for writing; listed by no route",
    "api_keys": "no memory", "clearances": "no memory", "user_access": "no memory",
    "auth_user": "Django's", "auth_group": "Django's", "auth_permission": "Django's",
    "auth_group_permissions": "Django's", "auth_user_groups": "Django's",
    "auth_user_user_permissions": "Django's", "django_admin_log": "Django's",
    "django_content_type": "Django's", "django_migrations": "Django's", "django_session": "Django's",
    "axes_accessattempt": "sign-ins", "axes_accessattemptexpiration": "sign-ins", "axes_accessfailurelog": "sign-ins",
    "axes_accesslog": "sign-ins",
    "word_index_progress": "one instant of record time; answered to nobody",
    "embedding_models": "names of models, and instants that are answered to nobody",
    "job_failures": "names of jobs and classes of errors; shown to admins who see everything",
    "procrastinate_jobs": "the queue: names of jobs, without arguments", "procrastinate_events": "when they ran",
    "procrastinate_periodic_defers": "the queue's, unused", "procrastinate_workers": "heartbeats",
    "knox_authtoken": "knox's own table, which nothing uses",
}  # fmt: skip


@pytest.fixture(scope="module")
def worlds(django_db_blocker) -> Iterator[PairedWorlds]:
    with django_db_blocker.unblock(), create_paired_worlds() as paired_worlds:
        yield paired_worlds


@pytest.fixture
def hub(worlds) -> Iterator[None]:
    """A hub with two visible memories and a hundred hidden ones, seen by the application's role."""
    with worlds.run_steps(worlds.world_with_hidden, STORY_STEPS):
        yield


def test_the_application_neither_bypasses_row_security_nor_owns_a_table(hub):
    bypass_rows = execute("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
    owned = execute("SELECT relname FROM pg_class WHERE relowner = current_user::regrole AND relpersistence <> 't'")

    assert execute("SELECT current_user") == [(APP_ROLE,)]
    assert (bypass_rows, owned) == ([(False,)], [])


@pytest.mark.parametrize("missing_setting", [None, ""], ids=["missing", "empty"])
def test_who_does_not_say_who_asks_sees_nothing_and_no_error(hub, missing_setting):
    if missing_setting is not None:
        for name in ("tiers", "blocked_labels", "required_labels", "namespaces", "writer_sources"):
            execute("SELECT set_config(%s, %s, true)", f"memoryhub.{name}", missing_setting)

    assert [table.objects.count() for table in RLS_MODELS] == [0, 0, 0, 0]


@pytest.mark.parametrize("name", ["tiers", "blocked_labels", "required_labels", "namespaces"])
def test_one_setting_that_is_missing_hides_everything(hub, name):
    with rls.as_reader(unrestricted_clearance()):
        assert all(table.objects.exists() for table in RLS_MODELS)
        execute("SELECT set_config(%s, '', true)", f"memoryhub.{name}")

        assert [table.objects.count() for table in RLS_MODELS] == [0, 0, 0, 0]


def test_a_question_without_any_rule_gets_what_the_clearance_may_see(hub):
    with rls.as_reader(LOW):
        visible_contents = list(Memory.objects.values_list("content", flat=True))
        counted_tiers = {row.classification_tier for row in MemoryRollup.objects.all()}

    assert sorted(visible_contents) == ["London", "Paris"]
    assert counted_tiers == {"public"}


@pytest.mark.django_db
def test_after_a_block_within_another_the_outer_clearance_holds_again():
    with rls.as_reader(LOW):
        settings_before = execute("SELECT current_setting('memoryhub.tiers')")
        with rls.as_reader(unrestricted_clearance()):
            settings_within = execute("SELECT current_setting('memoryhub.tiers')")
        settings_after = execute("SELECT current_setting('memoryhub.tiers')")

    assert settings_within != settings_before == settings_after


def test_totals_that_know_no_namespace_answer_nobody_who_is_bound_to_some(hub):
    with rls.as_reader(LOW):
        assert MemoryTotalRollup.objects.count() == 0
    with rls.as_reader(Clearance(max_tier="internal")):
        assert MemoryTotalRollup.objects.count() > 0


@pytest.mark.parametrize(
    "clearance",
    [
        Clearance(),
        LOW,
        unrestricted_clearance(),
        replace(unrestricted_clearance(), sees_quarantined=False),
        Clearance(sees_quarantined=True),
        Clearance(max_tier="no such tier"),
        Clearance(max_tier="restricted", namespaces=frozenset()),
        Clearance(max_tier="restricted", namespaces=frozenset({'a "quoted", {odd} \\ name', "team"})),
        Clearance(max_tier="restricted", blocked_labels=frozenset({"EU"})),
        Clearance(max_tier="restricted", required_labels=frozenset({"eu", "pii"})),
    ],
)
def test_query_filter_and_row_security_show_the_same_rows(worlds, clearance):
    odd = prepare_memory(payload_id="odd", source="odd", namespace='a "quoted", {odd} \\ name', labels=["eu", "PII"])
    with worlds.run_steps(worlds.world_with_hidden, STORY_STEPS):
        store_drafts(
            [odd, prepare_memory(payload_id="without a tier", source="odd", tier=""), prepare_memory(payload_id="away")]
        )
        quarantine_by_payload_id("away")
        with as_unrestricted_reader():
            by_query_filter = set(Memory.objects.visible_to(clearance).values_list("memory_id", flat=True))
        with rls.as_reader(clearance):
            by_row_security = set(Memory.objects.values_list("memory_id", flat=True))

    assert by_row_security == by_query_filter


def test_query_filter_and_row_security_hide_the_rollups_of_quarantined_memories(hub):
    store_drafts([prepare_memory(payload_id="away")])
    quarantine_by_payload_id("away")
    for clearance in (unrestricted_clearance(), replace(unrestricted_clearance(), sees_quarantined=False)):
        for tally in (MemoryRollup, MemoryDayRollup, MemoryTotalRollup):
            with as_unrestricted_reader():
                by_query_filter = ClassifiedQuerySet(tally).visible_to(clearance).filter(status="quarantined").exists()
            with rls.as_reader(clearance):
                by_row_security = tally.objects.filter(status="quarantined").exists()
            assert by_query_filter is by_row_security is clearance.sees_quarantined, tally


def quarantine_by_payload_id(payload_id: str) -> None:
    with as_unrestricted_reader():
        (memory_id,) = Memory.objects.current().filter(payload_id=payload_id).values_list("memory_id", flat=True)
    classify.apply_plan(classify.plan_for_memory(memory_id, ClassificationChange(status="quarantined"), principal=HIGH))


def test_a_writer_sees_the_rows_of_its_own_source_alone(hub):
    with rls.as_writer({"hidden-source"}):
        assert set(Memory.objects.values_list("source", flat=True)) == {"hidden-source"}
    with rls.as_writer({"nobody"}):
        assert Memory.objects.count() == 0


def test_nobody_writes_under_a_source_that_is_not_theirs(hub):
    with (
        pytest.raises(DatabaseError, match="row-level security"),
        transaction.atomic(),
        rls.as_reader(unrestricted_clearance()),
    ):
        insert_with_source("other")
    with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic(), rls.as_writer({"mine"}):
        insert_with_source("other")


def test_nobody_closes_what_they_may_only_see(hub):
    with rls.as_reader(unrestricted_clearance()):
        assert Memory.objects.exists()
        assert Memory.objects.update(superseded_at=utc("2026-03-01 12:00")) == 0


def insert_with_source(source: str) -> None:
    """What ingest does, but for saying as whom it writes."""
    apply_decisions.store_merged_draft(prepare_memory(source=source), decision_id=uuid.uuid4())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE memories SET content = 'x'",
        "UPDATE memories SET classification_tier = 'public'",
        "DELETE FROM memories",
        "TRUNCATE memories",
        "UPDATE record_clock SET instant = now()",
        "SELECT setval('record_time_watermark', 1)",
        "SELECT nextval('record_time_watermark')",
        "ALTER SEQUENCE record_time_watermark RESTART",
        "UPDATE audit_entries SET principal = 'x'",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
        "ALTER TABLE memories DISABLE ROW LEVEL SECURITY",
        "DROP POLICY memories_select ON memories",
        "DELETE FROM django_migrations",
    ],
)
def test_the_application_may_not(hub, statement):
    with pytest.raises(DatabaseError, match=r"permission denied|must be owner"), transaction.atomic():
        execute(statement)


def test_what_the_application_had_too_much_is_taken_when_it_is_granted_again(hub):
    with as_unrestricted_reader():
        execute(f"GRANT DELETE ON memories TO {APP_ROLE}")
        database_roles.grant_app_privileges(APP_ROLE)

    with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
        execute("DELETE FROM memories")


def test_the_application_cannot_claim_another_record_time(hub):
    execute("SELECT set_config('memoryhub.record_time', '2001-01-01', true)")

    with rls.as_writer({"low"}):
        insert_with_source("low")
        assert Memory.objects.get().recorded_at.year == 2100


def test_every_table_that_the_application_reaches_has_a_forced_policy_or_a_reason(hub):
    """FW-27: a new table fails this test until somebody has thought about it."""
    table_rows = execute("""
        SELECT relname, relkind, relrowsecurity AND relforcerowsecurity,
               EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid)
        FROM pg_class AS c
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
          AND has_any_column_privilege(current_user, c.oid, 'SELECT')
    """)
    unprotected_tables = {name for name, _, is_forced, has_policy in table_rows if not (is_forced and has_policy)}

    assert unprotected_tables - TABLES_WITHOUT_POLICY.keys() == set()
    assert {"memories", "memory_rollups", "memory_day_rollups", "memory_total_rollups", "audit_entries"} <= {
        row[0] for row in table_rows
    } - unprotected_tables
    assert {kind for _, kind, _, _ in table_rows} == {"r"}, (
        "a view needs security_invoker, a foreign table row security of its own"
    )


def test_no_function_but_the_clock_runs_with_the_owners_rights(hub):
    function_rows = execute(
        "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace ORDER BY 1"
    )

    assert [name for (name,) in function_rows] == ["record_time_next", "record_time_stable"]


def test_the_application_cannot_report_a_future_instant(hub):
    """The watermark moves the clock of all writers: it is never moved past now."""
    ((before,),) = execute("SELECT instant FROM record_clock")
    ((settled_at, instant_stored),) = execute(
        "SELECT record_time_stable('9999-12-31', true), (SELECT instant FROM record_clock)"
    )
    ((tick,),) = execute("SELECT record_time_next()")

    assert before == settled_at == instant_stored
    assert tick - settled_at == timedelta(microseconds=1)


def test_high_and_low_in_turn_on_one_connection_leak_nothing(django_db_blocker, monkeypatch):
    """FW-20: low answers between high ones, bad requests, failing statements and aborted transactions."""
    with django_db_blocker.unblock(), create_paired_worlds() as worlds, worlds.world_with_hidden.activate():
        for step in STORY_STEPS:
            store_drafts(step.drafts)
        monkeypatch.setattr(memories.FacetsView, "get", rls_scoped(_fail_in_database))
        turns = itertools.cycle(
            [
                lambda: worlds.high.get("/api/memories?limit=200"),
                lambda: worlds.high.get("/api/memories?cursor=forged"),
                lambda: worlds.high.get("/api/facets"),
                lambda: worlds.high.get(f"/api/memories/{uuid.uuid4()}"),
                _abort_write,
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


def _fail_in_database(_view: Any, _request: Any) -> Any:
    execute("SELECT no_such_column FROM memories")


def _abort_write() -> None:
    with pytest.raises(DatabaseError), rls.as_writer(None):
        execute("SELECT no_such_column FROM memories")


def test_a_login_of_the_application_sees_nothing_by_itself(worlds):
    """Not a superuser who took the role, as the worlds are: the role's own login."""
    with psycopg.connect(database_dsn(worlds.world_without.name, APP_ROLE)) as login:
        assert login.execute("SELECT current_user, session_user").fetchone() == (APP_ROLE, APP_ROLE)
        assert login.execute("SELECT count(*) FROM memories").fetchone() == (0,)
