"""Which readers see an entry: the rule in Python, in the query filter and in PostgreSQL itself, compared."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from django.db import connection
from hypothesis import given
from psycopg import sql

from memoryhub.audit.models import AuditEntry
from memoryhub.config import SUPERUSER_ROLE
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.clearance_snapshot import snapshot_clearance, snapshot_covered_q
from tests.audit.event_factories import append_events, make_event
from tests.harness.databases import database_dsn
from tests.harness.strategies import clearance_strategy, example_settings, roll_back
from tests.memories.raw_rows import execute

SETTINGS = ("tiers", "blocked_labels", "required_labels", "namespaces", "writer_sources")


def assert_all_agree(reader_clearance: Clearance, actor: Clearance) -> None:
    is_covered = reader_clearance.is_superset_of(actor)

    assert AuditEntry.objects.filter(snapshot_covered_q(reader_clearance)).exists() is is_covered
    with rls.as_reader(reader_clearance):
        assert AuditEntry.objects.exists() is is_covered, "the database's own rule"


@pytest.mark.django_db
@pytest.mark.soak
@given(reader_clearance=clearance_strategy(), actor=clearance_strategy())
@example_settings(300)
def test_the_database_and_python_agree_on_who_may_see_an_entry(reader_clearance, actor):
    with roll_back():
        append_events(make_event(actor))
        assert_all_agree(reader_clearance, actor)


def make_clearance(**rule: Any) -> Clearance:
    arguments: dict[str, Any] = {name: frozenset(value) for name, value in rule.items() if isinstance(value, list)}
    return Clearance(**rule | arguments)


CASES: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    ("one sees what one did oneself", {}, {}, True),
    ("a higher tier sees a lower one's", {"max_tier": "internal"}, {}, True),
    ("a lower tier does not see a higher one's", {}, {"max_tier": "internal"}, False),
    ("who saw nothing may be seen by everybody", {}, {"max_tier": "x"}, True),
    ("who is blocked from a label does not see those who are not", {"blocked_labels": ["pii"]}, {}, False),
    ("but sees those who are", {"blocked_labels": ["pii"]}, {"blocked_labels": ["PII", "x"]}, True),
    ("who needs a label does not see those who do not", {"required_labels": ["eu"]}, {}, False),
    ("but sees those who do", {"required_labels": ["EU"]}, {"required_labels": ["eu", "x"]}, True),
    ("who is bound to namespaces does not see those who are not", {"namespaces": ["a"]}, {}, False),
    ("but sees those who are bound to fewer", {"namespaces": ["a", "b"]}, {"namespaces": ["b"]}, True),
    ("and not those who are bound to others", {"namespaces": ["a"]}, {"namespaces": ["b"]}, False),
    ("a namespace may be called as every namespace is", {"namespaces": ["*"]}, {"namespaces": ["b"]}, False),
    ("a name may hold what lists are made of", {"namespaces": ['a,"{}\\', "b"]}, {"namespaces": ['a,"{}\\']}, True),
]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("reader_clearance", "actor", "is_visible"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_rule_at_its_edge(reader_clearance, actor, is_visible):
    append_events(make_event(make_clearance(**actor)))

    assert make_clearance(**reader_clearance).is_superset_of(make_clearance(**actor)) is is_visible
    assert_all_agree(make_clearance(**reader_clearance), make_clearance(**actor))


@pytest.mark.django_db
@pytest.mark.parametrize("column", ["blocked_labels", "required_labels"])
def test_an_entry_whose_labels_are_not_spelled_as_they_are_compared_is_hidden(column):
    """Entries of earlier releases stay as they are, for their hashes: then nobody sees one who must not."""
    clearance_snapshot = snapshot_clearance(Clearance())
    append_events(replace(make_event(), clearance_snapshot=replace(clearance_snapshot, **{column: ["pre\u2011paid"]})))
    reader_clearance = make_clearance(**{column: ["pre\u2011paid"]})

    assert not AuditEntry.objects.filter(snapshot_covered_q(reader_clearance)).exists()
    assert AuditEntry.objects.filter(snapshot_covered_q(Clearance())).exists()
    with rls.as_reader(reader_clearance):
        assert not AuditEntry.objects.exists()


@pytest.fixture
def outsider(transactional_db) -> Iterator[psycopg.Connection[Any]]:
    """A role that owns nothing and may read and append; one entry is there for it to see."""
    append_events(make_event())
    name = sql.Identifier("outsider")
    server = database_dsn(str(connection.settings_dict["NAME"]))
    with psycopg.connect(server, user=SUPERUSER_ROLE) as superuser_connection:
        superuser_connection.execute(sql.SQL("CREATE ROLE {}").format(name))
        for table in ("audit_entries", "audit_chain_head"):
            superuser_connection.execute(
                sql.SQL("GRANT SELECT, INSERT ON {} TO {}").format(sql.Identifier(table), name)
            )
        superuser_connection.execute(sql.SQL("SET LOCAL ROLE {}").format(name))
        yield superuser_connection
        superuser_connection.rollback()


def count_entries(rls_connection: psycopg.Connection[Any]) -> int:
    row = rls_connection.execute("SELECT count(*) FROM audit_entries").fetchone()
    return int(row[0]) if row else -1


def test_who_says_nothing_sees_nothing(outsider):
    assert count_entries(outsider) == 0


@pytest.mark.parametrize("value", ["", "x", "NULL", "{}"])
def test_settings_that_mean_nothing_show_nothing_and_raise_nothing(outsider, value):
    for name in SETTINGS:
        outsider.execute("SELECT set_config(%s, %s, true)", [f"memoryhub.{name}", value])

    assert count_entries(outsider) == 0


@pytest.mark.parametrize("missing", SETTINGS[:4])
def test_one_setting_that_is_missing_hides_everything(outsider, missing):
    expected_settings = {
        "tiers": "{public,internal,confidential,restricted}",
        "blocked_labels": "{}",
        "required_labels": "{}",
        "namespaces": "*",
    }
    for name, value in expected_settings.items():
        outsider.execute("SELECT set_config(%s, %s, true)", [f"memoryhub.{name}", value])
    assert count_entries(outsider) == 1

    outsider.execute("SELECT set_config(%s, '', true)", [f"memoryhub.{missing}"])

    assert count_entries(outsider) == 0


def test_the_unrestricted_reader_sees_the_whole_audit_log(outsider):
    outsider.execute("SELECT set_config('memoryhub.writer_sources', '*', true)")
    assert count_entries(outsider) == 1

    outsider.execute("SELECT set_config('memoryhub.writer_sources', '{crm}', true)")
    assert count_entries(outsider) == 0


@pytest.mark.parametrize("statement", ["UPDATE audit_entries SET query = 'x'", "DELETE FROM audit_entries"])
def test_nothing_can_be_changed_that_may_be_appended(outsider, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        outsider.execute(statement)


@pytest.mark.django_db
def test_a_removed_tier_hides_the_entries_of_actors_who_had_it(settings):
    append_events(make_event())
    settings.APP_CONFIG = settings.APP_CONFIG.model_copy(update={"tiers": ["public", "restricted"]})

    assert not AuditEntry.objects.filter(snapshot_covered_q(unrestricted_clearance())).exists()
    with rls.as_reader(unrestricted_clearance()):
        assert not AuditEntry.objects.exists()


@pytest.mark.django_db
def test_the_owner_is_bound_too():
    append_events(make_event())

    with rls.as_reader(unrestricted_clearance()):
        assert AuditEntry.objects.count() == 1
    with rls.as_reader(Clearance()):
        assert AuditEntry.objects.count() == 0
        # and appends nevertheless
        append_events(make_event(Clearance()), make_event())
        assert AuditEntry.objects.count() == 1
    assert execute("SELECT count(*) FROM audit_entries") == [(3,)]
