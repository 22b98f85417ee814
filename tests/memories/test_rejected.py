"""What was rejected and arrives again: those that said it, too, count if whoever sees the new one sees them."""

from typing import Any

import pytest

from memoryhub.conflicts import decide
from memoryhub.conflicts.choices import Choice, Wish
from memoryhub.conflicts.keys import evidence_of
from memoryhub.memories.models import Memory
from tests.builders import WRITER, make_memory

pytestmark = pytest.mark.django_db

ABOUT: dict[str, Any] = {"subject": "user:ada", "collection": "city"}


def reject(*contents: str, kept: str) -> None:
    """Keep one value of the group, which is made of these contents and what stands there."""
    made = [make_memory(content=content, **ABOUT) for content in (*contents, kept)]
    found = decide.members(("user:ada", "city"), WRITER)
    evidence = evidence_of((member.memory_id, member.version) for member in found)
    choice = Choice(outcome="keep_one", keep=[made[-1].memory_id], reason="Asked her.")
    decide.decide(Wish(key=("user:ada", "city"), evidence=evidence, choice=choice), by=WRITER)


@pytest.mark.parametrize("hidden", [0, 1, 30])
def test_hidden_memories_that_were_rejected_for_saying_the_same_do_not_crowd_out_the_one_that_is_seen(hidden):
    """FW-12"""
    reject("Berlin", kept="Paris")
    for number in range(hidden):
        again = make_memory(content="Berlin", tier="restricted", labels=[f"team-{number % 3}"], **ABOUT)
        assert again.status == "retired"

    seen = make_memory(content="Berlin", source="crm", **ABOUT)

    decisions = set(Memory.objects.filter(status="retired").values_list("decision", flat=True))
    assert seen.status == "retired"
    assert decisions == {seen.decision}


def test_a_value_that_was_rejected_of_a_more_trusted_actor_alone_is_rejected_again():
    """However many less trusted ones have said it since."""
    reject("Berlin", kept="Paris")
    make_memory(content="Berlin", actor_type="user", payload_id="trusted", **ABOUT)
    reject(kept="Paris, again")
    for _ in range(30):
        make_memory(content="Berlin", actor_type="agent", **ABOUT)

    assert make_memory(content="Berlin", actor_type="system", **ABOUT).status == "retired"
