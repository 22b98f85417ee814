"""Which memories of a list are disputed, for its reader, at its instant."""

from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.conflicts.groups import disputed
from memoryhub.conflicts.groups.group_keys import encode_id
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.memories import clock, records
from memoryhub.memories.models import Memory
from memoryhub.memories.point_in_time import NOW, PointInTime
from tests.conflicts.groups.test_groups import list_all_groups, make_conflict, resolve_group
from tests.factories import make_memory, store_drafts
from tests.harness.strategies import (
    classification_strategy,
    clearance_strategy,
    example_settings,
    prepare_memory,
    roll_back,
)

pytestmark = pytest.mark.django_db

ADA_GROUP_ID = encode_id("user:ada", "city")


def list_records(clearance: Clearance, point_in_time: PointInTime = NOW) -> list[dict[str, Any]]:
    return records.fetch_records(point_in_time.current_versions(Memory.objects.visible_to(clearance)))


def disputed_groups(clearance: Clearance | None = None, point_in_time: PointInTime = NOW) -> dict[UUID, str]:
    effective_clearance = clearance or unrestricted_clearance()
    return disputed.find_disputed_group_ids(
        list_records(effective_clearance, point_in_time), clearance=effective_clearance, point_in_time=point_in_time
    )


ROW_STRATEGY = st.fixed_dictionaries(
    {
        "subject": st.sampled_from(["", "user:ada", "user:bob"]),
        "collection": st.sampled_from(["", "city"]),
        "content": st.sampled_from(["Paris", "Berlin"]),
    }
)


@example_settings(60, soak_examples=2_000)
@given(rows=st.lists(st.tuples(ROW_STRATEGY, classification_strategy()), max_size=12), clearance=clearance_strategy())
def test_the_disputed_memories_are_the_members_of_open_groups(rows, clearance):
    with roll_back():
        store_drafts([prepare_memory(**row, **firewalled) for row, firewalled in rows])

        expected = {
            member["memory_id"]: group.id for group in list_all_groups(clearance=clearance) for member in group.members
        }
        assert disputed_groups(clearance) == expected


def test_who_agree_dispute_nothing():
    for content in ("Paris", "Paris"):
        make_memory(subject="user:ada", collection="city", content=content)

    assert disputed_groups() == {}


def test_a_hidden_rival_makes_no_memory_look_disputed():
    make_memory(subject="user:ada", collection="city", content="Paris")
    make_memory(subject="user:ada", collection="city", content="Berlin", tier="restricted")

    assert disputed_groups(Clearance()) == {}
    assert set(disputed_groups().values()) == {ADA_GROUP_ID}


def test_what_was_decided_is_disputed_no_more_until_a_value_joins():
    make_conflict("user:ada")
    make_conflict("user:bob")
    resolve_group("user:ada", outcome="not_a_conflict")

    assert set(disputed_groups().values()) == {encode_id("user:bob", "city")}
    make_memory(subject="user:ada", collection="city", content="Rome")
    assert set(disputed_groups().values()) == {ADA_GROUP_ID, encode_id("user:bob", "city")}


def test_what_others_decided_on_hidden_memories_changes_nothing():
    make_conflict("user:ada")
    make_memory(subject="user:ada", collection="city", content="Rome", tier="restricted")

    resolve_group("user:ada", outcome="not_a_conflict")

    assert set(disputed_groups(Clearance()).values()) == {ADA_GROUP_ID}
    assert disputed_groups() == {}


def test_a_retired_memory_is_disputed_no_more():
    paris, _ = make_conflict("user:ada")
    resolve_group("user:ada", outcome="keep_one", keep=[paris.memory_id])
    rome = make_memory(subject="user:ada", collection="city", content="Rome")

    assert disputed_groups() == {paris.memory_id: ADA_GROUP_ID, rome.memory_id: ADA_GROUP_ID}


def test_an_earlier_moment_has_its_own_disputes():
    make_conflict("user:ada")
    before = PointInTime.resolve(as_of=None, known_at=clock.stable_record_time())
    resolve_group("user:ada", outcome="not_a_conflict")
    early_instant = PointInTime.resolve(as_of=Memory.objects.earliest("timestamp").timestamp, known_at=None)

    assert set(disputed_groups(point_in_time=before).values()) == {ADA_GROUP_ID}
    assert disputed_groups() == {}
    assert disputed_groups(point_in_time=early_instant) == {}


@pytest.mark.parametrize("count", [0, 1, 20])
def test_a_list_takes_one_query(count):
    for index in range(count):
        make_conflict(f"user:{index}")
    rows = list_records(unrestricted_clearance())

    with CaptureQueriesContext(connection) as query_log:
        assert (
            len(disputed.find_disputed_group_ids(rows, clearance=unrestricted_clearance(), point_in_time=NOW))
            == 2 * count
        )

    assert len(query_log) == min(count, 1)
