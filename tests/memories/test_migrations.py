"""Every migration of the rooms goes forward, back and forward again, and leaves the same schema (MG-01)."""

from importlib import import_module
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from memoryhub.conflicts.models import Policy
from memoryhub.firewall.models import ApiKey
from memoryhub.firewall.types import everything, tier_order
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import MemoryQuerySet, Sought, fetched
from tests.builders import make_key, make_user, store
from tests.harness.databases import World, migrated, world
from tests.harness.generated import planted
from tests.memories.rows import WHOLE, execute, insert_row

FUNCTIONS = "0001_functions"
# They change rows, and no schema.
DATA = {"0006_label_keys", "0013_label_keys"}
SCHEMA = {
    "columns": "SELECT table_name, column_name, data_type, is_nullable, column_default, generation_expression"
    " FROM information_schema.columns WHERE table_schema = 'public'",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace",
    "triggers": "SELECT tgrelid::regclass::text, tgname, tgenabled::text, pg_get_triggerdef(oid) FROM pg_trigger"
    " WHERE NOT tgisinternal",
    "policies": "SELECT tablename, policyname, cmd, qual, with_check FROM pg_policies WHERE schemaname = 'public'",
    "functions": "SELECT p.oid::regprocedure::text, pg_get_functiondef(p.oid) FROM pg_proc AS p"
    " LEFT JOIN pg_depend AS d ON d.objid = p.oid AND d.deptype = 'e'"
    " WHERE pronamespace = 'public'::regnamespace AND d.objid IS NULL",
    "storage": "SELECT relname, reloptions::text FROM pg_class WHERE relnamespace = 'public'::regnamespace",
    "toast": "SELECT attrelid::regclass::text, attname, attstorage::text FROM pg_attribute"
    " WHERE attrelid = to_regclass('memories') AND NOT attisdropped",
}


@pytest.fixture
def empty(django_db_blocker):
    with django_db_blocker.unblock(), world(migrated()) as made, made.entered():
        yield made


def schema() -> dict[str, list[str]]:
    return {name: sorted(map(repr, execute(question))) for name, question in SCHEMA.items()}


def migrate(*target: str) -> None:
    call_command("migrate", *target, verbosity=0, interactive=False)


def migrations(app: str) -> list[str]:
    graph = MigrationLoader(connection).graph
    return sorted(name for label, name in graph.nodes if label == app)


@pytest.mark.parametrize("app", ["memories", "conflicts"])
def test_every_migration_goes_back_and_forward_again(empty: World, app):
    if app == "memories":
        # It stands on all of these.
        migrate("conflicts", "zero")
    steps = migrations(app)
    states = {steps[-1]: schema()}
    for step in reversed(steps[:-1]):
        migrate(app, step)
        states[step] = schema()
    for step in steps[1:]:
        migrate(app, step)
        assert schema() == states[step], step
    schemas = [step for step in steps if step not in DATA]
    assert len({repr(states[step]) for step in schemas}) == len(schemas), "each of them does something"


def test_going_back_leaves_nothing_of_the_table_behind(empty: World):
    migrate("memories", FUNCTIONS)
    left = schema()

    for kind in ("columns", "indexes", "constraints", "triggers"):
        assert not [
            line for line in left[kind] if ("memor" in line and "audit" not in line) or "record_clock" in line
        ], kind


def test_the_functions_go_and_come_again(empty: World):
    """The first migration in SQL: its other half, the extension, is the superuser's and is not dropped here."""
    whole = schema()
    migrate("memories", FUNCTIONS)
    functions = import_module(f"memoryhub.memories.migrations.{FUNCTIONS}")
    execute(functions.DROP)
    assert not [line for line in schema()["functions"] if line.startswith(("('memory_", "('record_"))]
    execute(functions.CREATE)
    migrate()

    assert schema() == whole


@pytest.mark.parametrize("app", ["audit", "firewall", "ops", "conflicts"])
def test_the_migrations_of_the_other_rooms_go_back_and_forward_again(empty: World, app):
    whole = schema()
    migrate(app, "zero")
    assert schema() != whole
    migrate()

    assert schema() == whole


def test_a_hub_that_went_back_and_forward_takes_memories_again(empty: World):
    store([planted(payload_id="before")])
    migrate("memories", FUNCTIONS)
    migrate()
    store([planted(payload_id="after")])

    assert list(Memory.objects.values_list("payload_id", flat=True)) == ["after"]


def test_a_final_sigma_that_was_stored_before_is_found_by_the_index(empty: World):
    migrate("memories", "0015_value_digests")
    for payload_id, content in (("before", "\u03bf\u03b4\u03cc\u03c2"), ("other", "Paris")):
        row = WHOLE | {"memory_id": uuid4(), "payload_id": payload_id, "content": content}
        del row["decided_beyond_source"]
        insert_row(row)
    migrate()
    rows: MemoryQuerySet = Memory.objects.visible_to(everything()).current()

    ((others,),) = execute(
        "SELECT string_agg(quote_ident(indexname), ', ') FROM pg_indexes WHERE tablename = 'memories'"
        " AND indexname NOT IN ('memories_grams', 'memories_pkey', 'memories_version', 'memories_latest',"
        " 'memories_identity')"
    )
    execute(f"DROP INDEX {others}")
    execute("SET enable_seqscan = off")
    execute("SET enable_indexscan = off")
    found = rows.looked_up(Sought(text="\u039f\u0394\u038c\u03a3"))

    assert "memories_grams" in found.at_once().explain()
    assert [row["payload_id"] for row in fetched(*found.newest(10, "payload_id"))] == ["before"]


def test_policies_of_before_are_for_those_who_see_what_their_makers_see_by_now(empty: World):
    migrate("conflicts", "0003_policy_runs_undone")
    make_user("ada", scopes="admin", max_tier="internal", blocked_labels=["PII"], every_namespace=False)
    make_key(scopes="admin", clearance={"max_tier": "public"})
    (key,) = ApiKey.objects.values_list("name", flat=True)
    makers = [["user:ada"], [f"key:{key}"], ["user:gone"], ["user:ada", f"key:{key}"], ["user:ada", "user:ada"]]
    for number, principals in enumerate(makers):
        for version, principal in enumerate(principals, 1):
            execute(
                "INSERT INTO policies (policy_id, version, name, classes, rules, is_enabled, at, principal)"
                " VALUES (%s, %s, %s, '{}', '[]', true, now(), %s)",
                UUID(int=number), version, str(number), principal,
            )  # fmt: skip
    migrate()

    found = Policy.objects.order_by("policy_id", "version").values_list(
        "name", "reach_tiers", "reach_blocked", "reach_namespaces"
    )
    ada: tuple[object, ...] = (["public", "internal"], ["pii"], [])
    everything: tuple[object, ...] = (tier_order(), [], None)
    assert [(name, tuple(reach)) for name, *reach in found] == [
        ("0", ada), ("1", (["public"], [], None)), ("2", everything), *[("3", everything)] * 2, *[("4", ada)] * 2,
    ]  # fmt: skip


def test_the_reads_of_before_count_for_those_who_see_every_tier_and_go_back_together(empty: World):
    migrate("ops", "0001_initial")
    execute("INSERT INTO read_counts (principal, minute, reads) VALUES ('user:ada', '2026-03-01T12:00Z', 7)")
    migrate()
    assert execute("SELECT reads, reach_tiers, reach_namespaces FROM read_counts") == [(7, tier_order(), None)]
    execute(
        "INSERT INTO read_counts (principal, minute, reads, reach_tiers, reach_blocked, reach_required, reach_digest)"
        " VALUES ('user:ada', '2026-03-01T12:00Z', 5, '{public}', '{}', '{}', 'x')"
    )
    migrate("ops", "0001_initial")

    assert execute("SELECT principal, reads FROM read_counts") == [("user:ada", 12)]
    migrate()


@pytest.mark.django_db
def test_the_models_are_what_the_migrations_make():
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
