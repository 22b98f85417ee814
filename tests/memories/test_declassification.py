"""What a steward has closed, its writer does not open again (AZ-03)."""

from dataclasses import replace
from typing import Any

import pytest

from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import classify, write
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.memories.writes.envelope import parse_body
from memoryhub.memories.writes.identity import OnConflict
from memoryhub.memories.writes.write import WriteOutcome, WriteReceipt
from tests.factories import OPERATOR, envelope, make_memory

pytestmark = pytest.mark.django_db

AGENT = Principal(name="key:agent", source="test", scopes=frozenset({Scope.WRITE}), clearance=unrestricted_clearance())
STEWARD = Principal(name="user:steward", scopes=frozenset(Scope), clearance=unrestricted_clearance())


def update_memory(memory: Memory, **fields: Any) -> WriteReceipt:
    payload = envelope(payload_id=memory.payload_id, content="By now.", **fields)
    return write.write_memories([payload], principal=AGENT, on_conflict=OnConflict.UPDATE)[0]


def current_version(memory: Memory) -> Memory:
    return Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)


@pytest.mark.parametrize("fields", [{"tier": "public", "labels": ["eu"]}, {"labels": ["hr"]}], ids=["tier", "label"])
def test_an_update_opens_nothing(fields):
    memory = make_memory(tier="internal", labels=["eu"])

    receipt_ = update_memory(memory, **fields)

    assert (receipt_.outcome, receipt_.code) == (WriteOutcome.REJECTED, "declassification")
    assert current_version(memory) == memory


def reclassify_memory(memory: Memory, **change: Any) -> None:
    classification_change = parse_body(change, ClassificationChange)
    result = classify.apply_plan(
        classify.plan_for_memory(memory.memory_id, classification_change, principal=STEWARD), reason="Because."
    )
    assert result.changed_count == 1


def classification_of(memory: Memory) -> tuple[str, set[str]]:
    current = current_version(memory)
    return current.classification_tier, set(current.sensitivity_labels)


RAISED_FIELDS = {"classification_tier": "restricted", "add_labels": ["hr"]}


@pytest.mark.parametrize(
    ("change", "sent_fields", "expected"),
    [
        ({}, {}, ("internal", {"eu"})),
        ({}, {"tier": "confidential", "labels": ["eu", "us"]}, ("confidential", {"eu", "us"})),
        (RAISED_FIELDS, {}, ("restricted", {"eu", "hr"})),
        (RAISED_FIELDS, {"tier": "internal", "labels": ["eu"]}, ("restricted", {"eu", "hr"})),
        (RAISED_FIELDS, {"tier": "confidential", "labels": ["eu", "us"]}, ("restricted", {"eu", "us", "hr"})),
        ({"classification_tier": "public", "remove_labels": ["eu"]}, {}, ("public", set())),
        (
            {"classification_tier": "public", "remove_labels": ["eu"]},
            {"tier": "internal", "labels": ["eu"]},
            ("internal", {"eu"}),
        ),
    ],
    ids=["unsent", "raised", "others raised", "others raised, sent", "both raised", "others lowered", "sent again"],
)
def test_an_update_stores_the_stricter_of_what_is_sent_and_what_others_made_of_it(change, sent_fields, expected):
    memory = make_memory(tier="internal", labels=["eu"])
    if change:
        reclassify_memory(memory, **change)

    assert update_memory(memory, **sent_fields).outcome is WriteOutcome.UPDATED
    assert classification_of(memory) == expected


@pytest.mark.parametrize("is_raised", [False, True])
def test_the_response_to_an_update_does_not_reveal_that_somebody_raised_the_memory(is_raised):
    memory = make_memory(tier="internal", labels=["eu"])
    if is_raised:
        reclassify_memory(memory, **RAISED_FIELDS)

    sent_variants: list[dict[str, Any]] = [
        {"tier": "public"},
        {"labels": []},
        {"namespace": "elsewhere"},
        {"tier": "internal"},
    ]
    codes = [update_memory(memory, **fields).code for fields in sent_variants]

    assert codes == ["declassification", "declassification", "declassification", ""]


def test_an_update_leaves_a_memory_in_the_namespace_that_somebody_else_moved_it_to():
    memory = make_memory(namespace="alpha")
    moved_envelope = envelope(payload_id=memory.payload_id, content=memory.content, namespace="omega")
    assert (
        write.write_memories([moved_envelope], principal=OPERATOR, on_conflict=OnConflict.UPDATE)[0].outcome
        is WriteOutcome.UPDATED
    )

    assert update_memory(memory, namespace="alpha").outcome is WriteOutcome.UPDATED
    assert current_version(memory).namespace == "omega"


def test_a_writer_that_may_declassify_takes_back_what_it_sent_and_not_what_others_raised():
    memory = make_memory(tier="internal", labels=["eu"])
    reclassify_memory(memory, add_labels=["hr"])

    payload = envelope(payload_id=memory.payload_id, content="By now.", tier="public", labels=["us"])
    (receipt,) = write.write_memories(
        [payload], principal=replace(AGENT, scopes=frozenset(Scope)), on_conflict=OnConflict.UPDATE
    )

    assert receipt.outcome is WriteOutcome.UPDATED
    assert classification_of(memory) == ("public", {"us", "hr"})


def test_an_update_may_leave_a_memory_as_closed_as_it_is_or_close_it():
    memory = make_memory(tier="internal", labels=["eu"])

    assert update_memory(memory, tier="confidential", labels=["EU", "hr"]).outcome is WriteOutcome.UPDATED


def test_an_update_leaves_a_quarantined_memory_where_it_is():
    memory = make_memory()
    change = parse_body({"status": "quarantined"}, ClassificationChange)
    classify.apply_plan(classify.plan_for_memory(memory.memory_id, change, principal=STEWARD))

    assert update_memory(memory).outcome is WriteOutcome.UPDATED
    assert current_version(memory).status == "quarantined"
