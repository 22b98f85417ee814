"""A diff leads from the state at one instant to the state at the other: two diffs make one."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from tests.factories import make_key, make_memory
from tests.harness.strategies import example_settings
from tests.timetravel.diff_steps import classify_memory, current_instant, get_diff

pytestmark = pytest.mark.django_db

TIER_STRATEGY = st.sampled_from(["public", "internal", "restricted"])
WRITE_STRATEGY = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 3), st.integers(0, 2), st.sampled_from(["", "user:ada", "user:bob"])),
    st.tuples(st.just("classify"), st.integers(0, 3), TIER_STRATEGY, st.just("")),
    st.tuples(st.just("mark"), st.integers(0, 3), st.sampled_from(["quarantined", "active"]), st.just("")),
    st.tuples(st.just("expire"), st.integers(0, 3), st.integers(0, 2), st.just("")),
)


def apply_write(write_tuple: tuple[Any, ...]) -> None:
    action, payload_number, value, subject = write_tuple
    memory = Memory.objects.filter(payload_id=f"p{payload_number}", superseded_at=None).first()
    if action == "write":
        make_memory(payload_id=f"p{payload_number}", content=f"Value {value}.", subject=subject, tier="restricted")
    elif action == "expire":
        expires_at = clock.database_now() + timedelta(milliseconds=value * 5)
        make_memory(payload_id=f"p{payload_number}", content="Short.", expires_at=expires_at, tier="restricted")
    elif memory:
        change = {"classification_tier": value} if action == "classify" else {"status": value}
        classify_memory(memory, **change)


def state_from_diff(caller: Any, instant: str, axis: str) -> dict[Any, Any]:
    """What the diff from the beginning leads to, which is what there was: checked against the lists."""
    return apply_changes({}, get_diff(caller, until=instant, axis=axis, limit=200)["changes"], axis)


def apply_changes(state: dict[Any, Any], changes: list[Any], axis: str) -> dict[Any, Any]:
    after = dict(state)
    for change in changes:
        end = change["after"] or change["before"]
        is_of_a_key = axis == "event" and end["subject"]
        key = (end["subject"], end["collection"]) if is_of_a_key else change["memory_id"]
        assert without_version(after.get(key)) == without_version(change["before"]), (change["kinds"], key)
        after.pop(key, None)
        if change["after"]:
            after[key] = change["after"]
    return after


def without_version(record: Any) -> Any:
    """A version may be written again without a change."""
    return record and {
        name: value for name, value in record.items() if name not in ("version", "recorded_at", "defaulted_fields")
    }


@example_settings(5, soak_examples=200)
@given(
    writes=st.lists(st.lists(WRITE_STRATEGY, max_size=4), min_size=3, max_size=3),
    max_tier=st.sampled_from(["public", "restricted"]),
)
def test_two_diffs_make_one(api, writes, max_tier):
    caller = api(make_key(clearance={"max_tier": max_tier}))
    instants = [current_instant()]
    for write_batch in writes:
        for write in write_batch:
            apply_write(write)
        instants.append(current_instant())
    _, a, b, c = instants
    for axis in ("record", "event"):
        state_at_a = state_from_diff(caller, a, axis)
        by_steps = apply_changes(
            apply_changes(state_at_a, get_diff(caller, since=a, until=b, axis=axis, limit=200)["changes"], axis),
            get_diff(caller, since=b, until=c, axis=axis, limit=200)["changes"],
            axis,
        )
        at_once = apply_changes(state_at_a, get_diff(caller, since=a, until=c, axis=axis, limit=200)["changes"], axis)
        state_at_c = state_from_diff(caller, c, axis)
        for result_state in (by_steps, at_once):
            assert {key: without_version(end) for key, end in result_state.items()} == {
                key: without_version(end) for key, end in state_at_c.items()
            }, axis


@example_settings(5, soak_examples=200)
@given(writes=st.lists(WRITE_STRATEGY, max_size=8))
def test_the_diff_from_the_beginning_is_the_list_of_then(api, writes):
    caller = api(make_key(scopes="read curate", clearance={"max_tier": "restricted"}))
    for write in writes:
        apply_write(write)
    instant = current_instant()
    listed_state = {
        record["memory_id"]: record["version"]
        for status in ("active", "quarantined")
        for record in caller.get("/api/memories", known_at=instant, status=status, limit=200).json()["records"]
    }

    changes = get_diff(caller, until=instant, limit=200)["changes"]

    assert {change["memory_id"]: change["after"]["version"] for change in changes} == listed_state


@example_settings(5, soak_examples=200)
@given(writes=st.lists(WRITE_STRATEGY, max_size=8), max_tier=TIER_STRATEGY)
def test_what_is_believed_after_is_the_state_of_then(api, writes, max_tier):
    caller = api(make_key(clearance={"max_tier": max_tier}))
    for write in writes:
        apply_write(write)
    until = current_instant()
    params = {"as_of": until, "known_at": until, "view": "state", "limit": 200}
    current_ids = {record["memory_id"] for record in caller.get("/api/timetravel", **params).json()["records"]}

    changes = get_diff(caller, until=until, known_at=until, axis="event", limit=200)["changes"]

    assert {change["memory_id"] for change in changes if change["subject"]} == current_ids
