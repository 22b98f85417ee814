"""What a steward has closed, its writer does not open again (AZ-03)."""

from dataclasses import replace
from typing import Any

import pytest

from memoryhub.firewall.types import Principal, Scope, everything
from memoryhub.memories import ingest, relabel
from memoryhub.memories.ingest import OnConflict, Outcome, Receipt
from memoryhub.memories.models import Memory
from tests.builders import OPERATOR, envelope, make_memory

pytestmark = pytest.mark.django_db

AGENT = Principal(name="key:agent", source="test", scopes=frozenset({Scope.WRITE}), clearance=everything())
STEWARD = Principal(name="user:steward", scopes=frozenset(Scope), clearance=everything())


def update(memory: Memory, **fields: Any) -> Receipt:
    sent = envelope(payload_id=memory.payload_id, content="By now.", **fields)
    return ingest.write([sent], by=AGENT, on_conflict=OnConflict.UPDATE)[0]


def in_force(memory: Memory) -> Memory:
    return Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)


@pytest.mark.parametrize("fields", [{"tier": "public", "labels": ["eu"]}, {"labels": ["hr"]}], ids=["tier", "label"])
def test_an_update_opens_nothing(fields):
    memory = make_memory(tier="internal", labels=["eu"])

    told = update(memory, **fields)

    assert (told.outcome, told.code) == (Outcome.REJECTED, "declassification")
    assert in_force(memory) == memory


def reclassify(memory: Memory, **change: Any) -> None:
    asked = relabel.read(change, relabel.Change)
    done = relabel.carry_out(relabel.plan_one(memory.memory_id, asked, by=STEWARD), reason="Because.")
    assert done.changed == 1


def classification(memory: Memory) -> tuple[str, set[str]]:
    found = in_force(memory)
    return found.classification_tier, set(found.sensitivity_labels)


RAISED = {"classification_tier": "restricted", "add_labels": ["hr"]}


@pytest.mark.parametrize(
    ("change", "sent", "stored"),
    [
        ({}, {}, ("internal", {"eu"})),
        ({}, {"tier": "confidential", "labels": ["eu", "us"]}, ("confidential", {"eu", "us"})),
        (RAISED, {}, ("restricted", {"eu", "hr"})),
        (RAISED, {"tier": "internal", "labels": ["eu"]}, ("restricted", {"eu", "hr"})),
        (RAISED, {"tier": "confidential", "labels": ["eu", "us"]}, ("restricted", {"eu", "us", "hr"})),
        ({"classification_tier": "public", "remove_labels": ["eu"]}, {}, ("public", set())),
        (
            {"classification_tier": "public", "remove_labels": ["eu"]},
            {"tier": "internal", "labels": ["eu"]},
            ("internal", {"eu"}),
        ),
    ],
    ids=["unsent", "raised", "others raised", "others raised, sent", "both raised", "others lowered", "sent again"],
)
def test_an_update_stores_the_stricter_of_what_is_sent_and_what_others_made_of_it(change, sent, stored):
    memory = make_memory(tier="internal", labels=["eu"])
    if change:
        reclassify(memory, **change)

    assert update(memory, **sent).outcome is Outcome.UPDATED
    assert classification(memory) == stored


@pytest.mark.parametrize("is_raised", [False, True])
def test_the_answer_to_an_update_does_not_tell_that_somebody_raised_the_memory(is_raised):
    memory = make_memory(tier="internal", labels=["eu"])
    if is_raised:
        reclassify(memory, **RAISED)

    sent: list[dict[str, Any]] = [{"tier": "public"}, {"labels": []}, {"namespace": "elsewhere"}, {"tier": "internal"}]
    codes = [update(memory, **fields).code for fields in sent]

    assert codes == ["declassification", "declassification", "declassification", ""]


def test_an_update_leaves_a_memory_in_the_namespace_that_somebody_else_moved_it_to():
    memory = make_memory(namespace="alpha")
    moved = envelope(payload_id=memory.payload_id, content=memory.content, namespace="omega")
    assert ingest.write([moved], by=OPERATOR, on_conflict=OnConflict.UPDATE)[0].outcome is Outcome.UPDATED

    assert update(memory, namespace="alpha").outcome is Outcome.UPDATED
    assert in_force(memory).namespace == "omega"


def test_a_writer_that_may_declassify_takes_back_what_it_sent_and_not_what_others_raised():
    memory = make_memory(tier="internal", labels=["eu"])
    reclassify(memory, add_labels=["hr"])

    sent = envelope(payload_id=memory.payload_id, content="By now.", tier="public", labels=["us"])
    (receipt,) = ingest.write([sent], by=replace(AGENT, scopes=frozenset(Scope)), on_conflict=OnConflict.UPDATE)

    assert receipt.outcome is Outcome.UPDATED
    assert classification(memory) == ("public", {"us", "hr"})


def test_an_update_may_leave_a_memory_as_closed_as_it_is_or_close_it():
    memory = make_memory(tier="internal", labels=["eu"])

    assert update(memory, tier="confidential", labels=["EU", "hr"]).outcome is Outcome.UPDATED


def test_an_update_leaves_a_quarantined_memory_where_it_is():
    memory = make_memory()
    change = relabel.read({"status": "quarantined"}, relabel.Change)
    relabel.carry_out(relabel.plan_one(memory.memory_id, change, by=STEWARD))

    assert update(memory).outcome is Outcome.UPDATED
    assert in_force(memory).status == "quarantined"
