"""Which memories of a list are disputed, for whoever reads it, at its moment."""

from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.conflicts import chips
from memoryhub.conflicts.keys import id_of
from memoryhub.firewall.types import Clearance, everything
from memoryhub.memories import clock, records
from memoryhub.memories.models import Memory
from memoryhub.memories.moment import NOW, Moment
from tests.builders import make_memory, store
from tests.conflicts.test_groups import decide_about, dispute, found
from tests.harness.generated import classified, clearances, examples, planted, rolled_back

pytestmark = pytest.mark.django_db

ADA = id_of("user:ada", "city")


def listed(clearance: Clearance, moment: Moment = NOW) -> list[dict[str, Any]]:
    return records.records(moment.of(Memory.objects.visible_to(clearance)))


def disputed(clearance: Clearance | None = None, moment: Moment = NOW) -> dict[UUID, str]:
    reader = clearance or everything()
    return chips.disputed(listed(reader, moment), clearance=reader, moment=moment)


ROWS = st.fixed_dictionaries(
    {
        "subject": st.sampled_from(["", "user:ada", "user:bob"]),
        "collection": st.sampled_from(["", "city"]),
        "content": st.sampled_from(["Paris", "Berlin"]),
    }
)


@examples(60, soak=2_000)
@given(rows=st.lists(st.tuples(ROWS, classified()), max_size=12), clearance=clearances())
def test_the_disputed_memories_are_the_members_of_open_groups(rows, clearance):
    with rolled_back():
        store([planted(**row, **firewalled) for row, firewalled in rows])

        expected = {member["memory_id"]: group.id for group in found(clearance=clearance) for member in group.members}
        assert disputed(clearance) == expected


def test_who_agree_dispute_nothing():
    for content in ("Paris", "Paris"):
        make_memory(subject="user:ada", collection="city", content=content)

    assert disputed() == {}


def test_a_hidden_rival_makes_no_memory_look_disputed():
    make_memory(subject="user:ada", collection="city", content="Paris")
    make_memory(subject="user:ada", collection="city", content="Berlin", tier="restricted")

    assert disputed(Clearance()) == {}
    assert set(disputed().values()) == {ADA}


def test_what_was_decided_is_disputed_no_more_until_a_value_joins():
    dispute("user:ada")
    dispute("user:bob")
    decide_about("user:ada", outcome="not_a_conflict")

    assert set(disputed().values()) == {id_of("user:bob", "city")}
    make_memory(subject="user:ada", collection="city", content="Rome")
    assert set(disputed().values()) == {ADA, id_of("user:bob", "city")}


def test_what_others_decided_on_hidden_memories_changes_nothing():
    dispute("user:ada")
    make_memory(subject="user:ada", collection="city", content="Rome", tier="restricted")

    decide_about("user:ada", outcome="not_a_conflict")

    assert set(disputed(Clearance()).values()) == {ADA}
    assert disputed() == {}


def test_a_retired_memory_is_disputed_no_more():
    paris, _ = dispute("user:ada")
    decide_about("user:ada", outcome="keep_one", keep=[paris.memory_id])
    rome = make_memory(subject="user:ada", collection="city", content="Rome")

    assert disputed() == {paris.memory_id: ADA, rome.memory_id: ADA}


def test_an_earlier_moment_has_its_own_disputes():
    dispute("user:ada")
    before = Moment.asked(as_of=None, known_at=clock.settle())
    decide_about("user:ada", outcome="not_a_conflict")
    early = Moment.asked(as_of=Memory.objects.earliest("timestamp").timestamp, known_at=None)

    assert set(disputed(moment=before).values()) == {ADA}
    assert disputed() == {}
    assert disputed(moment=early) == {}


@pytest.mark.parametrize("number", [0, 1, 20])
def test_a_list_takes_one_query(number):
    for each in range(number):
        dispute(f"user:{each}")
    rows = listed(everything())

    with CaptureQueriesContext(connection) as captured:
        assert len(chips.disputed(rows, clearance=everything(), moment=NOW)) == 2 * number

    assert len(captured) == min(number, 1)
