"""What a decision hides from readers or opens to them, and which readers see it in lists and in the database."""

from uuid import uuid4

import pytest
from django.http import QueryDict

from memoryhub.conflicts.decisions import decision_queries, resolve
from memoryhub.conflicts.models import Decision
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.memories.writes.envelope import OperationRejectedError
from tests.conflicts.decisions.resolution_steps import (
    KEY,
    STEWARD,
    current_statuses,
    current_version,
    keep_values,
    make_steward,
    make_value,
    resolution_request,
    undo_decisions,
)
from tests.factories import make_clearance, make_memory

pytestmark = pytest.mark.django_db


class TestTheFirewall:
    def test_nothing_is_retired_that_readers_would_miss_without_seeing_why(self):
        """FW-12: a resolution writes nothing low-visible from the high side."""
        low, high = make_value("Paris", tier="public"), make_value("Berlin", tier="restricted")

        outcome = keep_values(high)

        assert (outcome.retired_ids, outcome.still_active_ids) == ([], [low.memory_id])
        assert current_statuses(low, high) == ["active", "active"]
        assert current_version(low).version == 1

    def test_a_hidden_loser_is_retired(self):
        low, high = make_value("Paris", tier="public"), make_value("Berlin", tier="restricted")

        outcome = keep_values(low)

        assert (outcome.retired_ids, outcome.still_active_ids) == ([high.memory_id], [])

    def test_a_decision_that_saw_more_than_a_reader_retires_nothing_of_that_readers(self):
        kept_memory, loser, hidden = make_value("Paris"), make_value("Berlin"), make_value("Rome", labels=["pii"])

        outcome = keep_values(kept_memory)

        assert (outcome.retired_ids, outcome.still_active_ids) == ([hidden.memory_id], [loser.memory_id])

    def test_a_decision_is_seen_by_those_who_see_all_that_it_was_made_on(self):
        paris, _ = make_value("Paris", tier="public"), make_value("Berlin", tier="restricted")
        outcome = keep_values(paris)
        low = make_steward("user:low", max_tier="public")

        for principal, expected_count in ((STEWARD, 1), (low, 0)):
            assert len(decision_queries.list_page(QueryDict(), principal=principal).decisions) == expected_count
            assert len(decision_queries.list_for_keys([KEY], clearance=principal.clearance)[KEY]) == expected_count
            assert (
                decision_queries.get_decision(outcome.decision_id or uuid4(), principal=principal) is not None
            ) == bool(expected_count)
        assert [result.refusal for result in undo_decisions(outcome.decision_id, principal=low)] == ["not_found"]

    def test_a_decision_is_hidden_with_a_memory_that_is_classified_more_closely_later(self):
        paris, berlin = make_value("Paris", tier="public"), make_value("Berlin", tier="public")
        keep_values(paris)
        low = make_steward("user:low", max_tier="public")
        assert decision_queries.list_page(QueryDict(), principal=low).decisions
        admin = Principal(name="user:root", scopes=frozenset({Scope.ADMIN}), clearance=unrestricted_clearance())
        change = ClassificationChange(classification_tier="restricted")
        classify.apply_plan(classify.plan_for_memory(berlin.memory_id, change, principal=admin))

        assert decision_queries.list_page(QueryDict(), principal=low).decisions == []

    def test_a_merged_memory_opens_nothing(self):
        make_clearance(max_tier="restricted", required_labels=["eu"])
        make_value("Paris", labels=["eu"]), make_value("Berlin")

        with pytest.raises(OperationRejectedError) as exc_info:
            resolve.resolve(resolution_request(outcome="merge", content="Both"), principal=STEWARD)

        assert exc_info.value.code == "would_widen_visibility"


def test_a_list_of_decisions_is_walked_page_by_page():
    decision_ids = []
    for index in range(5):
        key = (f"user:{index}", "city")
        for content in ("Paris", "Berlin"):
            make_memory(subject=key[0], collection=key[1], content=content)
        decision_ids.append(
            resolve.resolve(
                resolution_request(key=key, outcome="defer", reason=f"Reason {index}"), principal=STEWARD
            ).decision_id
        )
    undo_decisions(decision_ids[0])
    records, cursor = [], ""
    while True:
        query = QueryDict(f"limit=2&cursor={cursor}" if cursor else "limit=2")
        page = decision_queries.list_page(query, principal=STEWARD)
        records += page.decisions
        if not (cursor := page.next_cursor or ""):
            break
    assert [record.decision_id for record in records[1:]] == decision_ids[::-1]
    assert records[0].undoes_id == decision_ids[0]
    assert [record.is_in_force for record in records] == [False, True, True, True, True, False]
    assert list(decision_queries.iter_decisions(QueryDict(), principal=STEWARD)) == records
    for query_text, expected in (
        ("q=reason 3", [decision_ids[3]]),
        ("subject=user:2", [decision_ids[2]]),
        ("in_force=true", decision_ids[:0:-1]),
        ("outcome=undo", [records[0].decision_id]),
        ("principal=user:bob", []),
    ):
        page = decision_queries.list_page(QueryDict(query_text), principal=STEWARD)
        assert [record.decision_id for record in page.decisions] == expected


def test_the_database_shows_a_decision_to_nobody_who_may_not_see_what_it_was_made_on():
    (
        make_value("Paris", tier="restricted", labels=["pii"], namespace="a"),
        make_value("Berlin", tier="internal", namespace="b"),
    )
    resolve.resolve(resolution_request(outcome="defer"), principal=STEWARD)
    for clearance, expected_count in (
        (unrestricted_clearance(), 1),
        (Clearance(max_tier="internal"), 0),
        (Clearance(max_tier="restricted", blocked_labels=frozenset({"PII"})), 0),
        (Clearance(max_tier="restricted", required_labels=frozenset({"pii"})), 0),
        (Clearance(max_tier="restricted", namespaces=frozenset({"a"})), 0),
        (Clearance(max_tier="restricted", namespaces=frozenset({"a", "b"})), 1),
    ):
        with rls.as_reader(clearance):
            assert Decision.objects.visible_to(clearance).count() == expected_count
