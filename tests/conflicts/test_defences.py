"""Each defence of decisions with the other ones taken away: what mutants of them must be noticed by."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.http import QueryDict

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts import chips, claims, decide, decisions, groups
from memoryhub.conflicts.decide import Choice, Wish
from memoryhub.conflicts.groups import Group, GroupFilterSet
from memoryhub.conflicts.keys import Key, evidence_of
from memoryhub.conflicts.models import Decision
from memoryhub.firewall import wall
from memoryhub.firewall.types import Clearance, Principal, Scope, everything
from memoryhub.memories import clock, rejected, relabel
from memoryhub.memories.envelope import Draft, Rejected, draft
from memoryhub.memories.models import Memory
from memoryhub.memories.moment import NOW
from tests.builders import envelope, make_memory, make_user
from tests.memories.rows import execute

pytestmark = pytest.mark.django_db

KEY = ("user:ada", "city")
STEWARD = Principal(name="user:steward", scopes=frozenset({Scope.READ, Scope.INSPECT}), clearance=everything())
ADMIN = Principal(name="user:root", scopes=frozenset({Scope.ADMIN}), clearance=everything())
HIGHEST = everything().max_tier


def say(content: str, **fields: Any) -> Memory:
    return make_memory(subject=KEY[0], collection=KEY[1], content=content, **fields)


def choose(by: Principal = STEWARD, key: Key = KEY, evidence: str | None = None, **choice: Any) -> decide.Outcome:
    found = decide.members(key, by)
    read = evidence_of((member.memory_id, member.version) for member in found) if evidence is None else evidence
    return decide.decide(Wish(key=key, evidence=read, choice=Choice(reason="Asked her.", **choice)), by=by)


def put_off(by: Principal = STEWARD, evidence: str | None = None) -> decide.Outcome:
    return choose(by, evidence=evidence, outcome="defer")


def seen_through_the_first_wall(clearance: Clearance) -> int:
    return int(Decision.objects.visible_to(clearance).count())


def seen_through_the_second_wall(clearance: Clearance) -> int:
    with wall.behind(clearance):
        return len(execute("SELECT id FROM decisions"))


CLEARANCES = {
    "everything": (everything(), 1),
    "a lower tier": (Clearance(max_tier="internal"), 0),
    "a blocked label of one": (Clearance(max_tier=HIGHEST, blocked_labels=frozenset({"PII"})), 0),
    "a blocked label of none": (Clearance(max_tier=HIGHEST, blocked_labels=frozenset({"hr"})), 1),
    "a required label of one": (Clearance(max_tier=HIGHEST, required_labels=frozenset({"pii"})), 0),
    "a required label of both": (Clearance(max_tier=HIGHEST, required_labels=frozenset({"EU"})), 1),
    "one namespace": (Clearance(max_tier=HIGHEST, namespaces=frozenset({"a"})), 0),
    "both namespaces": (Clearance(max_tier=HIGHEST, namespaces=frozenset({"a", "b"})), 1),
}


@pytest.mark.parametrize("look", [seen_through_the_first_wall, seen_through_the_second_wall])
@pytest.mark.parametrize("name", CLEARANCES)
def test_each_wall_alone_shows_a_decision_to_those_who_may_see_all_that_it_was_made_on(look, name):
    say("Paris", tier="restricted", labels=["pii", "eu"], namespace="a")
    say("Berlin", tier="internal", labels=["eu"], namespace="b")
    put_off()
    clearance, number = CLEARANCES[name]

    assert look(clearance) == number


@pytest.mark.parametrize("change", [{"classification_tier": "restricted"}, {"add_labels": ["hr"]}], ids=str)
def test_the_first_wall_alone_hides_a_decision_with_a_memory_that_is_hidden_since(change):
    say("Paris", tier="internal"), say("Berlin", tier="internal")
    put_off()
    low = Clearance(max_tier="internal", blocked_labels=frozenset({"hr"}))
    assert seen_through_the_first_wall(low) == 1
    hidden = Memory.objects.get(content="Berlin")
    relabel.carry_out(relabel.plan_one(hidden.memory_id, relabel.read(change, relabel.Change), by=ADMIN))

    assert seen_through_the_first_wall(low) == 0


@pytest.mark.parametrize(
    ("one", "other", "then", "clearance"),
    [
        ({"tier": "restricted"}, {"tier": "internal"}, {"tier": "internal"}, Clearance(max_tier="internal")),
        ({"labels": ["pii"]}, {}, {"labels": []}, Clearance(max_tier=HIGHEST, blocked_labels=frozenset({"pii"}))),
        ({}, {"labels": ["eu"]}, {"labels": ["eu"]}, Clearance(max_tier=HIGHEST, required_labels=frozenset({"eu"}))),
        (
            {"namespace": "b"},
            {"namespace": "a"},
            {"namespace": "a"},
            Clearance(max_tier=HIGHEST, namespaces=frozenset({"a"})),
        ),
    ],
)
def test_the_first_wall_alone_goes_by_what_the_memories_were_when_it_was_decided_too(one, other, then, clearance):
    say("Paris", payload_id="p", **one), say("Berlin", **other)
    put_off()
    say("Paris", payload_id="p", **then)
    assert Memory.objects.visible_to(clearance).current().count() == 2

    assert seen_through_the_first_wall(clearance) == 0


def test_who_does_not_say_who_asks_sees_no_decision_and_adds_none():
    say("Paris"), say("Berlin")
    put_off()
    names = [field.column for field in Decision._meta.concrete_fields if field.column not in ("id", "decision_id")]
    columns = ", ".join(f'"{name}"' for name in names)
    copied = f"INSERT INTO decisions (decision_id, {columns}) SELECT gen_random_uuid(), {columns} FROM decisions"

    execute("SET LOCAL memoryhub.writes_as = ''")
    assert execute("SELECT id FROM decisions") == []
    with wall.behind(everything()), pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
        execute(copied)
    execute("SET LOCAL memoryhub.writes_as = '*'")
    execute(copied)
    assert len(execute("SELECT id FROM decisions")) == 2


def test_a_decision_is_undone_once_though_two_find_it_in_force(monkeypatch):
    say("Paris"), say("Berlin")
    decision = put_off().decision_id
    assert decision
    decide.undo([decision], by=STEWARD, reason="No.")
    monkeypatch.setattr(decide, "_why_not_undone", lambda _found: "")

    with pytest.raises(IntegrityError), transaction.atomic():
        decide.undo([decision], by=STEWARD, reason="No.")


@pytest.mark.parametrize(
    "statement",
    ["UPDATE decisions SET reason = 'Another.'", "DELETE FROM decisions", "TRUNCATE decisions"],
)
def test_a_decision_is_never_changed_nor_taken_away(statement):
    say("Paris"), say("Berlin")
    put_off()

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        execute(statement)


@pytest.mark.parametrize("evidence", ["", "00" * 32])
def test_without_the_evidence_nothing_is_decided(evidence):
    say("Paris"), say("Berlin")

    with pytest.raises(Rejected):
        put_off(evidence=evidence)

    assert not Decision.objects.exists()


def test_a_decision_has_the_instant_that_the_database_gives_it():
    say("Paris"), say("Berlin")
    put_off()
    with connection.cursor() as cursor:
        cursor.execute("SELECT record_instant()")
        ((instant,),) = cursor.fetchall()

    assert Decision.objects.get().at == instant


def test_a_merged_value_is_as_closed_as_the_most_closed_of_them():
    say("Paris", tier="internal"), say("Berlin", tier="restricted"), say("Rome", tier="public")

    choose(outcome="merge", content="All over Europe")

    assert Memory.objects.get(content="All over Europe").classification_tier == "restricted"


def test_nobody_decides_what_somebody_else_has_claimed():
    other = Principal(name="user:other", scopes=STEWARD.scopes, clearance=everything())
    make_user("other", max_tier=HIGHEST, scopes="read inspect")
    say("Paris"), say("Berlin")
    claims.claim(KEY, by=other)

    with pytest.raises(Rejected) as refused:
        put_off()

    assert refused.value.code == "claimed"
    assert put_off(other).decision_id


def test_a_decision_and_its_undo_stand_in_the_ledger():
    paris, berlin = say("Paris"), say("Berlin")
    decision = put_off().decision_id
    assert decision
    decide.undo([decision], by=STEWARD, reason="No.")

    entries = AuditEntry.objects.filter(action__startswith="conflict.").order_by("seq")
    assert [(entry.action, entry.principal, entry.details["reason"]) for entry in entries] == [
        ("conflict.decide", STEWARD.name, "Asked her."),
        ("conflict.undo", STEWARD.name, "No."),
    ]
    assert all(set(entry.memory_ids) == {paris.memory_id, berlin.memory_id} for entry in entries)


@pytest.fixture
def first_wall_alone() -> None:
    """Row-level security is taken away, until the test is over."""
    for table in ("memories", "decisions"):
        execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")


@pytest.mark.usefixtures("first_wall_alone")
class TestTheFirstWallAlone:
    low = Principal(name="user:low", scopes=STEWARD.scopes, clearance=Clearance(max_tier="internal"))

    def test_lets_nobody_undo_what_they_may_not_see(self):
        say("Paris", tier="restricted"), say("Berlin", tier="restricted")
        decision = put_off().decision_id
        assert decision

        assert [one.refusal for one in decide.undo([decision], by=self.low, reason="No.")] == ["not_found"]
        assert Decision.objects.count() == 1

    def test_lets_nobody_decide_on_what_they_may_not_see(self):
        say("Paris", tier="internal"), say("Berlin", tier="internal"), say("Rome", tier="restricted")

        assert len(decide.members(KEY, self.low)) == 2
        put_off(self.low)
        assert len(Decision.objects.get().memory_ids) == 2

    def test_lets_no_hidden_rejection_have_a_say(self):
        """What arrives is as closed, so whoever may see it may see what was rejected: its writer may see neither."""
        paris, _ = say("Paris", tier="restricted"), say("Berlin", tier="restricted")
        keep(paris)

        assert rejected.decisions([arriving("Berlin", tier="restricted")], STEWARD.clearance) != [None]
        assert rejected.decisions([arriving("Berlin", tier="restricted")], self.low.clearance) == [None]

    def test_lists_no_decision_on_what_is_hidden(self):
        say("Paris", tier="internal"), say("Berlin", tier="restricted")
        decision = put_off().decision_id
        assert decision

        for reader, number in ((STEWARD, 1), (self.low, 0)):
            assert len(decisions.page(QueryDict(), reader=reader).decisions) == number
            assert len(list(decisions.every(QueryDict(), reader=reader))) == number
            assert len(decisions.about([KEY], clearance=reader.clearance)[KEY]) == number
            assert (decisions.one(decision, reader=reader) is not None) == bool(number)

    def test_names_no_merged_memory_that_is_hidden_since(self):
        say("Paris", tier="internal"), say("Berlin", tier="internal")
        choose(outcome="merge", content="Both of them")
        assert [told.merged for told in decisions.about([KEY], clearance=self.low.clearance)[KEY]] != [None]
        merged = Memory.objects.get(content="Both of them")
        change = relabel.Change(classification_tier="restricted")
        relabel.carry_out(relabel.plan_one(merged.memory_id, change, by=ADMIN))

        assert [told.merged for told in decisions.about([KEY], clearance=self.low.clearance)[KEY]] == [None]

    def test_makes_no_dispute_of_a_rival_that_is_hidden(self):
        memory = say("Paris", tier="internal")
        say("Berlin", tier="restricted")

        assert (disputed(memory, STEWARD), statuses(STEWARD)) == (True, ["open"])
        assert (disputed(memory, self.low), statuses(self.low)) == (False, [])

    def test_takes_a_group_for_decided_only_by_what_its_reader_may_see(self):
        memory = say("Paris", tier="internal")
        say("Berlin", tier="internal"), say("Rome", tier="restricted")
        put_off()

        assert (disputed(memory, STEWARD), statuses(STEWARD)) == (False, ["decided"])
        assert (disputed(memory, self.low), statuses(self.low)) == (True, ["open"])

    def test_tells_of_no_retired_value_that_is_hidden_since(self):
        paris, berlin, rome = (say(content, tier="internal") for content in ("Paris", "Berlin", "Rome"))
        keep(paris)
        change = relabel.Change(classification_tier="restricted")
        relabel.carry_out(relabel.plan_one(berlin.memory_id, change, by=ADMIN))

        assert statuses(STEWARD) == ["decided"]
        assert statuses(self.low) == []
        found = page_of(self.low, "status=all")
        assert [member for group in found for member in group.members] == []
        (whole,) = page_of(STEWARD, "status=all")
        assert {memory.memory_id for memory in (paris, berlin, rome)} == {each["memory_id"] for each in whole.members}


class TestStatus:
    def test_a_group_that_was_decided_is_in_dispute_no_more_until_something_is_said(self):
        memory = say("Paris")
        say("Berlin")
        assert (disputed(memory), statuses()) == (True, ["open"])

        decision = put_off().decision_id
        assert (disputed(memory), statuses()) == (False, ["decided"])

        say("Rome")
        assert (disputed(memory), statuses()) == (True, ["open"])
        assert [group.is_reopened for group in page_of(STEWARD, "status=all")] == [True]
        put_off()
        assert (disputed(memory), statuses()) == (False, ["decided"])

        assert decision
        newest = Decision.objects.latest("at")
        decide.undo([decision, newest.decision_id], by=STEWARD, reason="No.")
        assert (disputed(memory), statuses()) == (True, ["open"])

    def test_a_group_that_was_put_off_is_open_again_when_the_time_has_come(self):
        memory = say("Paris")
        say("Berlin")
        choose(outcome="defer", until=(clock.now() + timedelta(seconds=0.5)).isoformat())
        assert (disputed(memory), statuses()) == (False, ["decided"])

        execute("SELECT pg_sleep(0.6)")
        assert (disputed(memory), statuses()) == (True, ["open"])

    def test_a_value_that_comes_again_is_no_new_one(self):
        memory = say("Paris")
        say("Berlin")
        put_off()
        say("Berlin", source="crm")

        assert (disputed(memory), statuses()) == (False, ["decided"])

    def test_a_decision_about_another_key_decides_nothing_here(self):
        memory = say("Paris", namespace="work")
        say("Berlin", namespace="work")
        choose(key=(*KEY, "work"), outcome="defer")

        assert (disputed(memory), statuses()) == (True, ["open"])
        assert [group.status for group in page_of(STEWARD, "status=all&scope=namespace")] == ["decided"]


def keep(memory: Memory) -> None:
    choose(outcome="keep_one", keep=[memory.memory_id])


def page_of(by: Principal, query: str) -> list[Group]:
    filters = GroupFilterSet(QueryDict(query), clearance=by.clearance)
    return groups.page(filters, reader=by, parameters={}).groups


def statuses(by: Principal = STEWARD) -> list[str]:
    return [group.status for group in page_of(by, "status=all")]


def disputed(memory: Memory, by: Principal = STEWARD) -> bool:
    record = {name: getattr(memory, name) for name in ("memory_id", "subject", "collection", "status")}
    return bool(chips.disputed([record], clearance=by.clearance, moment=NOW))


def arriving(content: str, tier: str) -> Draft:
    fields = envelope(subject=KEY[0], collection=KEY[1], content=content, tier=tier)
    return draft(fields, source="test", actor_type="agent", actor_id="", now=datetime.now(UTC))
