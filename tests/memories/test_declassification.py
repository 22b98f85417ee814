"""What a steward has closed, its writer does not open again (AZ-03)."""

from typing import Any

import pytest

from memoryhub.firewall.types import Principal, Scope, everything
from memoryhub.memories import ingest, relabel
from memoryhub.memories.ingest import OnConflict, Outcome, Receipt
from memoryhub.memories.models import Memory
from tests.builders import envelope, make_memory

pytestmark = pytest.mark.django_db

AGENT = Principal(name="key:agent", source="test", scopes=frozenset({Scope.WRITE}), clearance=everything())
STEWARD = Principal(name="user:steward", scopes=frozenset(Scope), clearance=everything())


def update(memory: Memory, **fields: Any) -> Receipt:
    sent = envelope(payload_id=memory.payload_id, content="By now.", **fields)
    return ingest.write([sent], by=AGENT, on_conflict=OnConflict.UPDATE)[0]


def in_force(memory: Memory) -> Memory:
    return Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)


@pytest.mark.parametrize("fields", [{"tier": "public", "labels": ["eu"]}, {"tier": "internal"}], ids=["tier", "label"])
def test_an_update_opens_nothing(fields):
    memory = make_memory(tier="internal", labels=["eu"])

    told = update(memory, **fields)

    assert (told.outcome, told.code) == (Outcome.REJECTED, "declassification")
    assert in_force(memory) == memory


def test_an_update_may_leave_a_memory_as_closed_as_it_is_or_close_it():
    memory = make_memory(tier="internal", labels=["eu"])

    assert update(memory, tier="confidential", labels=["EU", "hr"]).outcome is Outcome.UPDATED


def test_an_update_leaves_a_quarantined_memory_where_it_is():
    memory = make_memory()
    change = relabel.read({"status": "quarantined"}, relabel.Change)
    relabel.carry_out(relabel.plan_one(memory.memory_id, change, by=STEWARD))

    assert update(memory).outcome is Outcome.UPDATED
    assert in_force(memory).status == "quarantined"
