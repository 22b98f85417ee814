"""Who may see an entry: the rule in Python, in the first wall and in PostgreSQL itself, held together."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from django.db import connection
from hypothesis import given
from psycopg import sql

from memoryhub.audit.models import AuditEntry
from memoryhub.config import SUPERUSER
from memoryhub.firewall import wall
from memoryhub.firewall.querysets import covered_by
from memoryhub.firewall.reach import reach_of
from memoryhub.firewall.types import Clearance, everything
from tests.audit.entries import append, event
from tests.harness.databases import address
from tests.harness.generated import clearances, examples, rolled_back
from tests.memories.rows import execute

SETTINGS = ("tiers", "blocked_labels", "required_labels", "namespaces", "writes_as")


def assert_all_agree(viewer: Clearance, actor: Clearance) -> None:
    covered = viewer.covers(actor)

    assert AuditEntry.objects.filter(covered_by(viewer)).exists() is covered
    with wall.behind(viewer):
        assert AuditEntry.objects.exists() is covered, "the database's own rule"


@pytest.mark.django_db
@pytest.mark.soak
@given(viewer=clearances(), actor=clearances())
@examples(300)
def test_the_database_and_python_agree_on_who_may_see_an_entry(viewer, actor):
    with rolled_back():
        append(event(actor))
        assert_all_agree(viewer, actor)


def cleared(**rule: Any) -> Clearance:
    words: dict[str, Any] = {name: frozenset(value) for name, value in rule.items() if isinstance(value, list)}
    return Clearance(**rule | words)


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
@pytest.mark.parametrize(("viewer", "actor", "seen"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_rule_at_its_edge(viewer, actor, seen):
    append(event(cleared(**actor)))

    assert cleared(**viewer).covers(cleared(**actor)) is seen
    assert_all_agree(cleared(**viewer), cleared(**actor))


@pytest.mark.django_db
@pytest.mark.parametrize("which", ["blocked", "required"])
def test_an_entry_whose_labels_are_not_spelled_as_they_are_compared_is_hidden(which):
    """Entries of earlier releases stay as they are, for their hashes: then nobody sees one who must not."""
    reach = reach_of(Clearance())
    append(replace(event(), reach=replace(reach, **{which: ["pre\u2011paid"]})))
    viewer = cleared(**{f"{which}_labels": ["pre\u2011paid"]})

    assert not AuditEntry.objects.filter(covered_by(viewer)).exists()
    assert AuditEntry.objects.filter(covered_by(Clearance())).exists()
    with wall.behind(viewer):
        assert not AuditEntry.objects.exists()


@pytest.fixture
def outsider(transactional_db) -> Iterator[psycopg.Connection[Any]]:
    """A role that owns nothing and may read and append; one entry is there for it to see."""
    append(event())
    name = sql.Identifier("outsider")
    server = address(str(connection.settings_dict["NAME"]))
    with psycopg.connect(server, user=SUPERUSER) as link:
        link.execute(sql.SQL("CREATE ROLE {}").format(name))
        for table in ("audit_entries", "audit_head"):
            link.execute(sql.SQL("GRANT SELECT, INSERT ON {} TO {}").format(sql.Identifier(table), name))
        link.execute(sql.SQL("SET LOCAL ROLE {}").format(name))
        yield link
        link.rollback()


def count(link: psycopg.Connection[Any]) -> int:
    row = link.execute("SELECT count(*) FROM audit_entries").fetchone()
    return int(row[0]) if row else -1


def test_who_says_nothing_sees_nothing(outsider):
    assert count(outsider) == 0


@pytest.mark.parametrize("value", ["", "x", "NULL", "{}"])
def test_settings_that_mean_nothing_show_nothing_and_raise_nothing(outsider, value):
    for name in SETTINGS:
        outsider.execute("SELECT set_config(%s, %s, true)", [f"memoryhub.{name}", value])

    assert count(outsider) == 0


@pytest.mark.parametrize("missing", SETTINGS[:4])
def test_one_setting_that_is_missing_hides_everything(outsider, missing):
    told = {"tiers": "{public,internal,confidential,restricted}", "blocked_labels": "{}", "required_labels": "{}",
            "namespaces": "*"}  # fmt: skip
    for name, value in told.items():
        outsider.execute("SELECT set_config(%s, %s, true)", [f"memoryhub.{name}", value])
    assert count(outsider) == 1

    outsider.execute("SELECT set_config(%s, '', true)", [f"memoryhub.{missing}"])

    assert count(outsider) == 0


def test_the_keeper_of_the_ledger_sees_it_whole(outsider):
    outsider.execute("SELECT set_config('memoryhub.writes_as', '*', true)")
    assert count(outsider) == 1

    outsider.execute("SELECT set_config('memoryhub.writes_as', '{crm}', true)")
    assert count(outsider) == 0


@pytest.mark.parametrize("statement", ["UPDATE audit_entries SET query = 'x'", "DELETE FROM audit_entries"])
def test_nothing_can_be_changed_that_may_be_appended(outsider, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        outsider.execute(statement)


@pytest.mark.django_db
def test_a_tier_that_is_no_longer_set_hides_what_it_reached(settings):
    append(event())
    settings.MEMORYHUB = settings.MEMORYHUB.model_copy(update={"tiers": ["public", "restricted"]})

    assert not AuditEntry.objects.filter(covered_by(everything())).exists()
    with wall.behind(everything()):
        assert not AuditEntry.objects.exists()


@pytest.mark.django_db
def test_the_owner_is_bound_too():
    append(event())

    with wall.behind(everything()):
        assert AuditEntry.objects.count() == 1
    with wall.behind(Clearance()):
        assert AuditEntry.objects.count() == 0
        # and appends nevertheless
        append(event(Clearance()), event())
        assert AuditEntry.objects.count() == 1
    assert execute("SELECT count(*) FROM audit_entries") == [(3,)]
