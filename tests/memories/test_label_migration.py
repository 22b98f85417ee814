"""Labels that were compared in NFC and casefolded alone: what becomes of rows that are stored in that form."""

import unicodedata
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction

from memoryhub.audit import ledger
from memoryhub.audit.ledger import Reach
from memoryhub.conflicts.models import Decision, PolicyRun
from memoryhub.firewall.querysets import covered_by
from memoryhub.firewall.types import Clearance, label_key, label_keys
from memoryhub.memories.models import Memory
from tests.core.evasions import EVASIONS, LABEL
from tests.harness.databases import world
from tests.memories.rows import WHOLE, close, execute, insert_row

SPELLINGS = [evade(LABEL) for evade in EVASIONS.values()]
OTHERS = [["plain"], ["eu", "HR"], ["stra\u00dfe"], [], ["\u0434\u0430\u043d\u043d\u044b\u0435"], ["two words"]]
LONG = "\ufdfa" * 255
# Without what came later.
LATER = ("value_sha256", "is_other_spelling", "decided_beyond_source")
ROW = {name: value for name, value in WHOLE.items() if name not in LATER}
TALLIES = {
    "memory_counts": "namespace, classification_tier, label_keys, source, actor_type, collection, kind, status",
    "memory_days": "namespace, classification_tier, label_keys, source, actor_type, status, day",
    "memory_totals": "classification_tier, label_keys, status, dimension, value",
}
WITH_VALUES = """
SELECT m.*, (timestamp AT TIME ZONE 'UTC')::date AS day, dimension, value FROM memories AS m
CROSS JOIN LATERAL (VALUES
    ('total', ''), ('source', source), ('actor_type', actor_type), ('namespace', namespace),
    ('collection', collection), ('day', (timestamp AT TIME ZONE 'UTC')::date::text)
) AS carried(dimension, value)
"""


def old_key(label: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", label).casefold())


def old_keys(*labels: str) -> list[str]:
    return sorted({old_key(label) for label in labels})


@dataclass(frozen=True)
class Upgraded:
    before: dict[int, tuple[Any, ...]]
    """By its id, what a row was before: where it lay in the table and its keys."""
    after: dict[int, tuple[Any, ...]]
    entries: list[Any]
    tallies: int


@pytest.fixture(scope="module")
def upgraded(django_db_setup, django_db_blocker) -> Iterator[Upgraded]:
    """A database in which rows of the form before were migrated."""
    with django_db_blocker.unblock(), world() as made, made.entered():
        migrate()
        # The clearances that going back spells as their keys, for the code before this.
        execute("INSERT INTO clearances (name, max_tier, blocked_labels, required_labels, every_namespace, namespaces)"
                " VALUES ('c', 'public', %s, %s, true, '{}')", [" \uff30II"], ["pre\u2011paid"])  # fmt: skip
        migrate("conflicts", "0005")
        migrate("memories", "0012")
        fill()
        before = stored_keys()
        entries = execute("SELECT to_jsonb(e) FROM audit_entries AS e ORDER BY seq")
        ((tallies,),) = execute("SELECT count(*) FROM memory_counts")
        migrate("memories", "0013")
        after = stored_keys()
        migrate()
        yield Upgraded(before=before, after=after, entries=entries, tallies=tallies)


def stored_keys() -> dict[int, tuple[Any, ...]]:
    return {row: tuple(rest) for row, *rest in execute("SELECT id, ctid, xmin, label_keys FROM memories")}


def migrate(*target: str) -> None:
    call_command("migrate", *target, verbosity=0, interactive=False)


def fill() -> None:
    for place, labels in enumerate(
        [*([spelling] for spelling in SPELLINGS), [LABEL, *SPELLINGS], *OTHERS, [LONG[:40]]]
    ):
        row = insert_row({
            **ROW, "payload_id": f"p-{place}", "source": ("crm", "mail")[place % 2], "sensitivity_labels": labels,
            "label_keys": old_keys(*labels), "expires_at": "9999-01-01T00:00:00Z" if place % 5 == 4 else None,
        })  # fmt: skip
        if place % 3 == 2:
            close(row)
    decide(["pii ", "eu"], ["eu"])
    decide(["\uff50\uff49\uff49", "pii", "pre\u2011paid"], ["pii", "pre\u2011paid"])
    execute("""
        INSERT INTO policies (policy_id, version, name, classes, rules, is_enabled, at, principal, reach_tiers,
            reach_blocked, reach_required)
        VALUES (gen_random_uuid(), 1, 'p', '{}', '[]', true, now(), 'user:root', '{public}', '{}', '{}')
    """)
    run = """
        INSERT INTO policy_runs (run_id, policy_id, principal, started, seen, decided, "left", undone, reach_tiers,
            reach_blocked, reach_required)
        SELECT gen_random_uuid(), id, 'user:root', now(), 0, 0, 0, 0, '{public}', %s, %s FROM policies
    """
    execute(run, ["pre\u2011paid", "x"], [" eu"])
    with transaction.atomic():
        reach = Reach(tiers=["public"], blocked=["pre\u2011paid"], required=["eu\u200b"])
        ledger.append(ledger.Event(principal="user:ada", action="memory.write", reach=reach))


def decide(some: list[str], every: list[str]) -> None:
    decision = """
        INSERT INTO decisions (decision_id, subject, collection, outcome, memory_ids, kept, retired, "left", settled,
            validity, evidence, reason, principal, rule, tiers, some_labels, all_labels, namespaces)
        VALUES (%s, 's', 'c', 'defer', '{}', '{}', '{}', '{}', '{}', '{}', '', 'r', 'user:ada', '', '{public}',
            %s, %s, '{}')
    """
    execute(decision, uuid.uuid4(), sorted(some), sorted(every))


def test_every_memory_has_the_keys_of_its_labels(upgraded):
    rows = list(Memory.objects.all())

    assert [row.label_keys for row in rows] == [sorted(label_keys(row.sensitivity_labels)) for row in rows]
    assert sum(row.label_keys == [LABEL] for row in rows) == len(SPELLINGS) + 1
    for word in (LABEL, *SPELLINGS):
        rule = Clearance(blocked_labels=frozenset({word}))
        assert set(Memory.objects.visible_to(rule)) == {row for row in rows if rule.permits(row)}


def test_memories_whose_keys_stay_are_not_touched(upgraded):
    after = upgraded.after

    touched = {row for row in after if after[row] != upgraded.before[row]}
    assert touched == {row for row in after if after[row][2] != upgraded.before[row][2]}
    assert 0 < len(touched) < len(after)


def test_tallies_of_what_is_one_label_now_are_one(upgraded):
    for table, columns in TALLIES.items():
        counted = execute(f"SELECT {columns}, count, written FROM {table}")
        recounted = execute(
            f"SELECT {columns}, count(*) FILTER (WHERE superseded_at IS NULL AND expires_at IS NULL), count(*)"
            f" FROM ({WITH_VALUES}) AS v" + ("" if table == "memory_totals" else " WHERE dimension = 'total'")
            + f" GROUP BY {columns}"
        )  # fmt: skip
        assert sorted(map(repr, counted)) == sorted(map(repr, recounted)), table
        assert execute(f"SELECT count(*) FROM {table} WHERE key <> md5(jsonb_build_array({columns})::text)::uuid") == [
            (0,)
        ]
    ((tallies,),) = execute("SELECT count(*) FROM memory_counts")
    assert tallies < upgraded.tallies


def test_decisions_are_found_by_the_labels_that_their_members_had(upgraded):
    labels = list(Decision.objects.order_by("id").values_list("some_labels", "all_labels"))

    assert labels == [(["eu", "pii"], ["eu"]), (["pii", "pre-paid"], ["pii", "pre-paid"])]


def test_a_policy_run_is_for_those_who_see_as_much(upgraded):
    run = PolicyRun.objects.get()

    assert (run.reach_blocked, run.reach_required) == (["pre-paid", "x"], ["eu"])
    held = Clearance(blocked_labels=frozenset({"pre-paid"}), required_labels=frozenset({"EU "}))
    assert PolicyRun.objects.filter(covered_by(held)).exists()


def test_entries_of_the_ledger_stay_as_they_are(upgraded):
    assert execute("SELECT to_jsonb(e) FROM audit_entries AS e ORDER BY seq") == upgraded.entries


def test_what_may_not_be_changed_or_seen_is_protected_as_before(upgraded):
    off = execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'O'")
    bound = execute("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")

    assert off == []
    assert {("memories",), ("decisions",), *((table,) for table in TALLIES)} <= set(bound)
    for table, column in (("memories", "label_keys"), ("decisions", "some_labels")):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            execute(f"UPDATE {table} SET {column} = '{{}}'")


def test_code_that_went_back_finds_the_keys_by_the_labels_of_its_clearances(upgraded):
    ((blocked, required),) = execute("SELECT blocked_labels, required_labels FROM clearances")

    assert (old_keys(*blocked), old_keys(*required)) == ([label_key("PII")], [label_key("pre-paid")])
