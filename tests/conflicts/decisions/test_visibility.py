"""Each defence of decisions with the other ones taken away: what mutants of them must be noticed by."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.http import QueryDict

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts.decisions import claims, decision_queries, resolve
from memoryhub.conflicts.decisions.resolve import Resolution, ResolutionRequest
from memoryhub.conflicts.groups import groups, open_groups
from memoryhub.conflicts.groups.group_keys import GroupKey, compute_evidence
from memoryhub.conflicts.groups.groups import Group, GroupFilterSet
from memoryhub.conflicts.models import Decision
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from memoryhub.memories.point_in_time import NOW
from memoryhub.memories.writes import classify, rejected_values
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.memories.writes.envelope import MemoryDraft, OperationRejectedError, parse_body, prepare_draft
from tests.conflicts.decisions.resolution_steps import KEY, make_value
from tests.factories import envelope, make_user
from tests.memories.raw_rows import execute

pytestmark = pytest.mark.django_db

STEWARD = Principal(
    name="user:steward", scopes=frozenset({Scope.READ, Scope.CURATE}), clearance=unrestricted_clearance()
)
ADMIN = Principal(name="user:root", scopes=frozenset({Scope.ADMIN}), clearance=unrestricted_clearance())
HIGHEST_TIER = unrestricted_clearance().max_tier


def resolve_group(
    principal: Principal = STEWARD, key: GroupKey = KEY, evidence: str | None = None, **choice: Any
) -> resolve.ResolutionResult:
    members = resolve.list_members(key, principal)
    read_evidence = (
        compute_evidence((member.memory_id, member.version) for member in members) if evidence is None else evidence
    )
    return resolve.resolve(
        ResolutionRequest(key=key, evidence=read_evidence, resolution=Resolution(reason="Asked her.", **choice)),
        principal=principal,
    )


def defer_group(principal: Principal = STEWARD, evidence: str | None = None) -> resolve.ResolutionResult:
    return resolve_group(principal, evidence=evidence, outcome="defer")


def count_with_query_filter(clearance: Clearance) -> int:
    return int(Decision.objects.visible_to(clearance).count())


def count_with_row_security(clearance: Clearance) -> int:
    with rls.as_reader(clearance):
        return len(execute("SELECT id FROM decisions"))


CLEARANCES = {
    "everything": (unrestricted_clearance(), 1),
    "a lower tier": (Clearance(max_tier="internal"), 0),
    "a blocked label of one": (Clearance(max_tier=HIGHEST_TIER, blocked_labels=frozenset({"PII"})), 0),
    "a blocked label of none": (Clearance(max_tier=HIGHEST_TIER, blocked_labels=frozenset({"hr"})), 1),
    "a required label of one": (Clearance(max_tier=HIGHEST_TIER, required_labels=frozenset({"pii"})), 0),
    "a required label of both": (Clearance(max_tier=HIGHEST_TIER, required_labels=frozenset({"EU"})), 1),
    "one namespace": (Clearance(max_tier=HIGHEST_TIER, namespaces=frozenset({"a"})), 0),
    "both namespaces": (Clearance(max_tier=HIGHEST_TIER, namespaces=frozenset({"a", "b"})), 1),
}


@pytest.mark.parametrize("count_visible", [count_with_query_filter, count_with_row_security])
@pytest.mark.parametrize("name", CLEARANCES)
def test_query_filter_and_row_security_each_show_a_decision_to_those_who_may_see_all_its_memories(count_visible, name):
    make_value("Paris", tier="restricted", labels=["pii", "eu"], namespace="a")
    make_value("Berlin", tier="internal", labels=["eu"], namespace="b")
    defer_group()
    clearance, expected_count = CLEARANCES[name]

    assert count_visible(clearance) == expected_count


@pytest.mark.parametrize("change", [{"classification_tier": "restricted"}, {"add_labels": ["hr"]}], ids=str)
def test_the_query_filter_alone_hides_a_decision_with_a_memory_that_is_hidden_since(change):
    make_value("Paris", tier="internal"), make_value("Berlin", tier="internal")
    defer_group()
    low = Clearance(max_tier="internal", blocked_labels=frozenset({"hr"}))
    assert count_with_query_filter(low) == 1
    hidden = Memory.objects.get(content="Berlin")
    classify.apply_plan(
        classify.plan_for_memory(hidden.memory_id, parse_body(change, ClassificationChange), principal=ADMIN)
    )

    assert count_with_query_filter(low) == 0


@pytest.mark.parametrize(
    ("first_fields", "second_fields", "later_fields", "clearance"),
    [
        ({"tier": "restricted"}, {"tier": "internal"}, {"tier": "internal"}, Clearance(max_tier="internal")),
        ({"labels": ["pii"]}, {}, {"labels": []}, Clearance(max_tier=HIGHEST_TIER, blocked_labels=frozenset({"pii"}))),
        (
            {},
            {"labels": ["eu"]},
            {"labels": ["eu"]},
            Clearance(max_tier=HIGHEST_TIER, required_labels=frozenset({"eu"})),
        ),
        (
            {"namespace": "b"},
            {"namespace": "a"},
            {"namespace": "a"},
            Clearance(max_tier=HIGHEST_TIER, namespaces=frozenset({"a"})),
        ),
    ],
)
def test_the_query_filter_alone_also_uses_the_classification_at_decision_time(
    first_fields, second_fields, later_fields, clearance
):
    make_value("Paris", payload_id="p", **first_fields), make_value("Berlin", **second_fields)
    defer_group()
    make_value("Paris", payload_id="p", **later_fields)
    assert Memory.objects.visible_to(clearance).current().count() == 2

    assert count_with_query_filter(clearance) == 0


def test_who_does_not_say_who_asks_sees_no_decision_and_adds_none():
    make_value("Paris"), make_value("Berlin")
    defer_group()
    names = [field.column for field in Decision._meta.concrete_fields if field.column not in ("id", "decision_id")]
    columns = ", ".join(f'"{name}"' for name in names)
    copy_sql = f"INSERT INTO decisions (decision_id, {columns}) SELECT gen_random_uuid(), {columns} FROM decisions"

    execute("SET LOCAL memoryhub.writer_sources = ''")
    assert execute("SELECT id FROM decisions") == []
    with (
        rls.as_reader(unrestricted_clearance()),
        pytest.raises(ProgrammingError, match="row-level security"),
        transaction.atomic(),
    ):
        execute(copy_sql)
    execute("SET LOCAL memoryhub.writer_sources = '*'")
    execute(copy_sql)
    assert len(execute("SELECT id FROM decisions")) == 2


def test_a_decision_is_undone_once_though_two_find_it_in_force(monkeypatch):
    make_value("Paris"), make_value("Berlin")
    decision = defer_group().decision_id
    assert decision
    resolve.undo_decisions([decision], principal=STEWARD, reason="No.")
    monkeypatch.setattr(resolve, "_undo_refusal", lambda _members: "")

    with pytest.raises(IntegrityError), transaction.atomic():
        resolve.undo_decisions([decision], principal=STEWARD, reason="No.")


@pytest.mark.parametrize(
    "statement",
    ["UPDATE decisions SET reason = 'Another.'", "DELETE FROM decisions", "TRUNCATE decisions"],
)
def test_a_decision_is_never_changed_nor_taken_away(statement):
    make_value("Paris"), make_value("Berlin")
    defer_group()

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        execute(statement)


@pytest.mark.parametrize("evidence", ["", "00" * 32])
def test_without_the_evidence_nothing_is_decided(evidence):
    make_value("Paris"), make_value("Berlin")

    with pytest.raises(OperationRejectedError):
        defer_group(evidence=evidence)

    assert not Decision.objects.exists()


def test_a_decision_has_the_instant_that_the_database_gives_it():
    make_value("Paris"), make_value("Berlin")
    defer_group()
    with connection.cursor() as cursor:
        cursor.execute("SELECT record_time_current()")
        ((instant,),) = cursor.fetchall()

    assert Decision.objects.get().decided_at == instant


def test_a_merged_value_is_as_closed_as_the_most_closed_of_them():
    make_value("Paris", tier="internal"), make_value("Berlin", tier="restricted"), make_value("Rome", tier="public")

    resolve_group(outcome="merge", content="All over Europe")

    assert Memory.objects.get(content="All over Europe").classification_tier == "restricted"


def test_nobody_decides_what_somebody_else_has_claimed():
    other_principal = Principal(name="user:other", scopes=STEWARD.scopes, clearance=unrestricted_clearance())
    make_user("other", max_tier=HIGHEST_TIER, scopes="read curate")
    make_value("Paris"), make_value("Berlin")
    claims.take_claim(KEY, principal=other_principal)

    with pytest.raises(OperationRejectedError) as exc_info:
        defer_group()

    assert exc_info.value.code == "claimed_by_other"
    assert defer_group(other_principal).decision_id


def test_a_decision_and_its_undo_are_in_the_audit_log():
    paris, berlin = make_value("Paris"), make_value("Berlin")
    decision = defer_group().decision_id
    assert decision
    resolve.undo_decisions([decision], principal=STEWARD, reason="No.")

    entries = AuditEntry.objects.filter(action__startswith="conflict.").order_by("seq")
    assert [(entry.action, entry.principal, entry.details["reason"]) for entry in entries] == [
        ("conflict.resolve", STEWARD.name, "Asked her."),
        ("conflict.undo", STEWARD.name, "No."),
    ]
    assert all(set(entry.memory_ids) == {paris.memory_id, berlin.memory_id} for entry in entries)


@pytest.fixture
def query_filter_only() -> None:
    """Row-level security is taken away, until the test is over."""
    for table in ("memories", "decisions"):
        execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")


@pytest.mark.usefixtures("query_filter_only")
class TestQueryFilterOnly:
    low_principal = Principal(name="user:low", scopes=STEWARD.scopes, clearance=Clearance(max_tier="internal"))

    def test_lets_nobody_undo_what_they_may_not_see(self):
        make_value("Paris", tier="restricted"), make_value("Berlin", tier="restricted")
        decision = defer_group().decision_id
        assert decision

        assert [
            result.refusal for result in resolve.undo_decisions([decision], principal=self.low_principal, reason="No.")
        ] == ["not_found"]
        assert Decision.objects.count() == 1

    def test_lets_nobody_decide_on_what_they_may_not_see(self):
        (
            make_value("Paris", tier="internal"),
            make_value("Berlin", tier="internal"),
            make_value("Rome", tier="restricted"),
        )

        assert len(resolve.list_members(KEY, self.low_principal)) == 2
        defer_group(self.low_principal)
        assert len(Decision.objects.get().memory_ids) == 2

    def test_lets_no_hidden_rejection_have_a_say(self):
        """What arrives is as closed, so every reader of it may see the rejected memory: its writer may see neither."""
        paris, _ = make_value("Paris", tier="restricted"), make_value("Berlin", tier="restricted")
        keep_memory(paris)

        assert rejected_values.find_rejecting_decisions(
            [prepare_arrival("Berlin", tier="restricted")], STEWARD.clearance
        ) != [None]
        assert rejected_values.find_rejecting_decisions(
            [prepare_arrival("Berlin", tier="restricted")], self.low_principal.clearance
        ) == [None]

    def test_lists_no_decision_on_what_is_hidden(self):
        make_value("Paris", tier="internal"), make_value("Berlin", tier="restricted")
        decision = defer_group().decision_id
        assert decision

        for principal, expected_count in ((STEWARD, 1), (self.low_principal, 0)):
            assert len(decision_queries.list_page(QueryDict(), principal=principal).decisions) == expected_count
            assert len(list(decision_queries.iter_decisions(QueryDict(), principal=principal))) == expected_count
            assert len(decision_queries.list_for_keys([KEY], clearance=principal.clearance)[KEY]) == expected_count
            assert (decision_queries.get_decision(decision, principal=principal) is not None) == bool(expected_count)

    def test_names_no_merged_memory_that_is_hidden_since(self):
        make_value("Paris", tier="internal"), make_value("Berlin", tier="internal")
        resolve_group(outcome="merge", content="Both of them")
        assert [
            record.merged_id
            for record in decision_queries.list_for_keys([KEY], clearance=self.low_principal.clearance)[KEY]
        ] != [None]
        merged_memory = Memory.objects.get(content="Both of them")
        change = ClassificationChange(classification_tier="restricted")
        classify.apply_plan(classify.plan_for_memory(merged_memory.memory_id, change, principal=ADMIN))

        assert [
            record.merged_id
            for record in decision_queries.list_for_keys([KEY], clearance=self.low_principal.clearance)[KEY]
        ] == [None]

    def test_makes_no_dispute_of_a_rival_that_is_hidden(self):
        memory = make_value("Paris", tier="internal")
        make_value("Berlin", tier="restricted")

        assert (is_disputed(memory, STEWARD), group_statuses(STEWARD)) == (True, ["open"])
        assert (is_disputed(memory, self.low_principal), group_statuses(self.low_principal)) == (False, [])

    def test_takes_a_group_for_decided_only_by_what_its_reader_may_see(self):
        memory = make_value("Paris", tier="internal")
        make_value("Berlin", tier="internal"), make_value("Rome", tier="restricted")
        defer_group()

        assert (is_disputed(memory, STEWARD), group_statuses(STEWARD)) == (False, ["decided"])
        assert (is_disputed(memory, self.low_principal), group_statuses(self.low_principal)) == (True, ["open"])

    def test_shows_no_retired_value_that_is_hidden_since(self):
        paris, berlin, rome = (make_value(content, tier="internal") for content in ("Paris", "Berlin", "Rome"))
        keep_memory(paris)
        change = ClassificationChange(classification_tier="restricted")
        classify.apply_plan(classify.plan_for_memory(berlin.memory_id, change, principal=ADMIN))

        assert group_statuses(STEWARD) == ["decided"]
        assert group_statuses(self.low_principal) == []
        page_groups = list_page(self.low_principal, "status=all")
        assert [member for group in page_groups for member in group.members] == []
        (whole_group,) = list_page(STEWARD, "status=all")
        assert {memory.memory_id for memory in (paris, berlin, rome)} == {
            memory_json["memory_id"] for memory_json in whole_group.members
        }


class TestStatus:
    def test_a_group_that_was_decided_is_in_dispute_no_more_until_something_is_said(self):
        memory = make_value("Paris")
        make_value("Berlin")
        assert (is_disputed(memory), group_statuses()) == (True, ["open"])

        decision = defer_group().decision_id
        assert (is_disputed(memory), group_statuses()) == (False, ["decided"])

        make_value("Rome")
        assert (is_disputed(memory), group_statuses()) == (True, ["open"])
        assert [group.is_reopened for group in list_page(STEWARD, "status=all")] == [True]
        defer_group()
        assert (is_disputed(memory), group_statuses()) == (False, ["decided"])

        assert decision
        newest = Decision.objects.latest("decided_at")
        resolve.undo_decisions([decision, newest.decision_id], principal=STEWARD, reason="No.")
        assert (is_disputed(memory), group_statuses()) == (True, ["open"])

    def test_a_group_that_was_put_off_is_open_again_when_the_time_has_come(self):
        memory = make_value("Paris")
        make_value("Berlin")
        resolve_group(outcome="defer", deferred_until=(clock.database_now() + timedelta(seconds=2)).isoformat())
        assert (is_disputed(memory), group_statuses()) == (False, ["decided"])

        execute("SELECT pg_sleep(2.1)")
        assert (is_disputed(memory), group_statuses()) == (True, ["open"])

    def test_a_value_that_comes_again_is_no_new_one(self):
        memory = make_value("Paris")
        make_value("Berlin")
        defer_group()
        make_value("Berlin", source="crm")

        assert (is_disputed(memory), group_statuses()) == (False, ["decided"])

    def test_a_decision_about_another_key_decides_nothing_here(self):
        memory = make_value("Paris", namespace="work")
        make_value("Berlin", namespace="work")
        resolve_group(key=(*KEY, "work"), outcome="defer")

        assert (is_disputed(memory), group_statuses()) == (True, ["open"])
        assert [group.status for group in list_page(STEWARD, "status=all&scope=namespace")] == ["decided"]


def keep_memory(memory: Memory) -> None:
    resolve_group(outcome="keep_one", keep=[memory.memory_id])


def list_page(principal: Principal, query: str) -> list[Group]:
    filters = GroupFilterSet(QueryDict(query), clearance=principal.clearance)
    return groups.list_page(filters, principal=principal, params={}).groups


def group_statuses(principal: Principal = STEWARD) -> list[str]:
    return [group.status for group in list_page(principal, "status=all")]


def is_disputed(memory: Memory, principal: Principal = STEWARD) -> bool:
    record = {name: getattr(memory, name) for name in ("memory_id", "subject", "collection", "status")}
    return bool(open_groups.find_disputed_group_ids([record], clearance=principal.clearance, point_in_time=NOW))


def prepare_arrival(content: str, tier: str) -> MemoryDraft:
    # Of another source: to its own, a memory is what it sent.
    fields = envelope(subject=KEY[0], collection=KEY[1], content=content, tier=tier, source="elsewhere")
    return prepare_draft(fields, source="elsewhere", actor_type="agent", actor_id="", now=datetime.now(UTC))
