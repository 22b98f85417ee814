"""Every migration of the rooms goes forward, back and forward again, and leaves the same schema (MG-01)."""

import ast
from importlib import import_module
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from memoryhub.memories.models import Memory
from tests.factories import store_drafts
from tests.harness.databases import DatabaseHandle, migrated_database_name, temporary_database
from tests.harness.strategies import prepare_memory
from tests.memories.raw_rows import execute

FUNCTIONS = "0001_sql_functions"
EXPECTED_SCHEMA = {
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
def empty_database(django_db_blocker):
    with django_db_blocker.unblock(), temporary_database(migrated_database_name()) as database, database.activate():
        yield database


def read_schema() -> dict[str, list[str]]:
    return {name: sorted(map(repr, execute(query))) for name, query in EXPECTED_SCHEMA.items()}


def migrate_to(*target: str) -> None:
    call_command("migrate", *target, verbosity=0, interactive=False)


def migration_names(app: str) -> list[str]:
    graph = MigrationLoader(connection).graph
    return sorted(name for label, name in graph.nodes if label == app)


@pytest.mark.parametrize("app", ["memories", "conflicts"])
def test_every_migration_goes_back_and_forward_again(empty_database: DatabaseHandle, app):
    if app == "memories":
        # It stands on all of these.
        migrate_to("conflicts", "zero")
        migrate_to("search", "zero")
    steps = migration_names(app)
    states = {steps[-1]: read_schema()}
    for step in reversed(steps[:-1]):
        migrate_to(app, step)
        states[step] = read_schema()
    for step in steps[1:]:
        migrate_to(app, step)
        assert read_schema() == states[step], step
    assert len({repr(states[step]) for step in steps}) == len(steps), "each of them does something"


def test_going_back_leaves_nothing_of_the_table_behind(empty_database: DatabaseHandle):
    migrate_to("memories", FUNCTIONS)
    remaining_schema = read_schema()

    for kind in ("columns", "indexes", "constraints", "triggers"):
        assert not [
            line
            for line in remaining_schema[kind]
            if ("memor" in line and "audit" not in line) or "record_clock" in line
        ], kind


def test_the_functions_are_dropped_and_created_again(empty_database: DatabaseHandle):
    """The first migration in SQL: its other half, the extension, is the superuser's and is not dropped here."""
    full_schema = read_schema()
    migrate_to("conflicts", "zero")
    migrate_to("memories", FUNCTIONS)
    functions = import_module(f"memoryhub.memories.migrations.{FUNCTIONS}")
    execute(functions.DROP)
    assert not [line for line in read_schema()["functions"] if line.startswith(("('memory_", "('record_"))]
    execute(functions.TEXT + functions.RECORD_TIME)
    migrate_to()

    assert read_schema() == full_schema


@pytest.mark.parametrize("app", ["audit", "firewall", "access_log", "conflicts", "search"])
def test_the_migrations_of_the_other_rooms_go_back_and_forward_again(empty_database: DatabaseHandle, app):
    full_schema = read_schema()
    migrate_to(app, "zero")
    assert read_schema() != full_schema
    migrate_to()

    assert read_schema() == full_schema


def test_a_hub_that_went_back_and_forward_takes_memories_again(empty_database: DatabaseHandle):
    store_drafts([prepare_memory(payload_id="before")])
    migrate_to("memories", FUNCTIONS)
    migrate_to()
    store_drafts([prepare_memory(payload_id="after")])

    assert list(Memory.objects.values_list("payload_id", flat=True)) == ["after"]


@pytest.mark.django_db
def test_the_models_are_what_the_migrations_make():
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_no_migration_imports_code_of_the_hub():
    migrations = sorted(Path("memoryhub").glob("*/migrations/0*.py"))
    assert len(migrations) > 10
    for path in migrations:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.split(".")[0] in ("memoryhub", "inspector")], path


@pytest.mark.django_db
def test_every_function_that_looks_names_up_when_it_runs_has_a_search_path_of_its_own():
    functions = execute(
        "SELECT p.proname, p.proconfig FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang"
        " WHERE p.pronamespace = current_schema()::regnamespace AND l.lanname = 'plpgsql'"
    )

    assert len(functions) > 10
    assert {name: config for name, config in functions if config != ["search_path=public, pg_temp"]} == {}


@pytest.fixture
def database_with_schema(django_db_blocker):
    """An empty database whose sessions look names up in the schema `hub` first; that it exists is up to the test."""
    with django_db_blocker.unblock(), temporary_database() as database, database.activate():
        execute(f"ALTER DATABASE {connection.ops.quote_name(database.name)} SET search_path = hub, public")
        connection.close()
        yield database


def test_a_hub_lives_in_any_schema(database_with_schema: DatabaseHandle):
    execute("CREATE SCHEMA hub")
    migrate_to()
    store_drafts([prepare_memory(payload_id="first")])
    store_drafts([prepare_memory(payload_id="second")])

    ((schemas,),) = execute(
        "SELECT array_agg(DISTINCT schemaname::text) FROM pg_tables WHERE tablename IN ('memories', 'audit_entries')"
    )
    assert schemas == ["hub"]
    # Whatever a session looks up first.
    execute("CREATE SCHEMA other")
    execute("CREATE TABLE other.record_clock (id integer, instant timestamptz)")
    execute("SET search_path = other, hub, public")
    store_drafts([prepare_memory(payload_id="third")])
    assert execute("SELECT count(*) FROM other.record_clock") == [(0,)]
    assert Memory.objects.count() == 3


def test_a_search_path_whose_first_schema_does_not_exist_is_refused(database_with_schema: DatabaseHandle):
    with pytest.raises(CommandError, match="begins with the schema hub, which does not exist"):
        migrate_to()

    assert execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_a_hub_of_before_the_first_release_is_refused_in_a_sentence(empty_database: DatabaseHandle):
    execute("INSERT INTO django_migrations (app, name, applied) VALUES ('memories', '0001_functions', now())")

    with pytest.raises(CommandError, match=r"before 0\.2\.0, whose tables are not carried over"):
        migrate_to()
