"""Which groups are open, wherever that is shown, and which memories of a list are disputed, at its instant."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from inspector.presenters.conflict_queue import ConflictQueue
from memoryhub.conflicts.decisions import resolve
from memoryhub.conflicts.decisions.resolve import Resolution, ResolutionRequest
from memoryhub.conflicts.groups import class_counts, open_groups
from memoryhub.conflicts.groups.consistency import verify_conflicts
from memoryhub.conflicts.groups.group_keys import GroupKey, compute_evidence, decode_id, encode_id
from memoryhub.conflicts.groups.groups import GroupFilterSet, find_next_group_id
from memoryhub.conflicts.models import Decision
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories import clock, records
from memoryhub.memories.models import Memory
from memoryhub.memories.point_in_time import NOW, PointInTime
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.memories.writes.envelope import parse_body
from tests.conflicts.groups.recount import Recount, recount_open_members
from tests.conflicts.groups.test_groups import list_all_groups, make_conflict, resolve_group
from tests.conflicts.policies.policy_factories import dry_run_policy, make_policy
from tests.factories import make_memory, store_drafts
from tests.harness.strategies import (
    KNOWN_TIERS,
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
    return open_groups.find_disputed_group_ids(
        list_records(effective_clearance, point_in_time), clearance=effective_clearance, point_in_time=point_in_time
    )


CLEARANCES = (
    unrestricted_clearance(),
    Clearance(),
    Clearance(max_tier="confidential", blocked_labels=frozenset({"PII"})),
    Clearance(max_tier="restricted", namespaces=frozenset({"team"})),
)
WEIGHTED_READERS = [*CLEARANCES[:1] * 4, *CLEARANCES]
HISTORY_ROW_STRATEGY = st.fixed_dictionaries(
    {
        "subject": st.sampled_from(["user:ada", "user:ada", "caf\u00e9", ""]),
        "collection": st.just("city"),
        "content": st.sampled_from(["Paris", "Berlin", "Rome"]),
        "namespace": st.sampled_from(["", "team"]),
        "tier": st.sampled_from([*KNOWN_TIERS[:1] * 3, *KNOWN_TIERS]),
        "labels": st.sampled_from([[], [], ["pii"]]),
        "timestamp": st.sampled_from(["2026-03-01T12:00:00Z", "2026-03-03T12:00:00Z"]),
        "expires_at": st.sampled_from([None, None, None, "2026-03-04T12:00:00Z"]),
    }
)
SNOOZE_SECONDS = 0.02
ACTION_STRATEGY = st.fixed_dictionaries(
    {
        "clearance": st.sampled_from(WEIGHTED_READERS),
        "size": st.sampled_from([2, 2, 3]),
        "index": st.integers(0, 3),
        "outcome": st.sampled_from(
            ["keep_one", "keep_several", "merge", "not_a_conflict", "defer", "snooze", "undo", "reclassify"]
        ),
        "joins": st.none() | st.none() | HISTORY_ROW_STRATEGY,
    }
)


@example_settings(10, soak_examples=1_500)
@given(
    rows=st.lists(HISTORY_ROW_STRATEGY, min_size=5, max_size=12),
    actions=st.lists(ACTION_STRATEGY, min_size=2, max_size=5),
    reader=st.sampled_from(WEIGHTED_READERS),
    scope=st.sampled_from(["collection", "collection", "namespace"]),
    as_of=st.sampled_from(["2026-03-02T12:00:00Z", "2026-03-03T12:00:00Z"]),
    instant_index=st.integers(0, 5),
)
def test_lists_queue_dry_run_and_marks_agree_with_the_recount(*, rows, actions, reader, scope, as_of, instant_index):
    with roll_back():
        policy = make_policy()
        store_drafts([prepare_memory(**row) for row in rows])
        instants = [clock.stable_record_time()]
        for action in actions:
            _take_action(**action)
            instants.append(clock.stable_record_time())
        time.sleep(SNOOZE_SECONDS)

        known_at = instants[instant_index % len(instants)].isoformat()
        for point in ({}, {"as_of": as_of}, {"known_at": known_at}, {"known_at": known_at, "as_of": as_of}):
            _check_lists(reader, scope, point)
            _check_marks(reader, point)
        open_keys = sorted(recount_open_members(reader))
        assert [item.key for item in dry_run_policy(policy, principal=_principal(reader))] == open_keys
        assert list(_walk_queue(ConflictQueue(QueryDict("class=all")), reader)) == open_keys
        assert verify_conflicts([reader]).findings == []


def _check_lists(reader: Clearance, scope: str, point: dict[str, str]) -> None:
    query = urlencode({"scope": scope, **point})
    filters = GroupFilterSet(QueryDict(query), clearance=reader)
    expected = dict(Recount(reader, filters.point_in_time).iter_states(len(filters.key_columns)))
    all_groups = list_all_groups(f"{query}&status=all", clearance=reader, limit=3)
    assert {group.key: (group.status, group.evidence) for group in all_groups} == expected
    assert len(all_groups) == len(expected)
    for status in ("open", "decided"):
        expected_keys = [key for key, (state, _) in sorted(expected.items()) if state == status]
        status_query = f"{query}&status={status}"
        assert [group.key for group in list_all_groups(status_query, clearance=reader)] == expected_keys
        status_filters = GroupFilterSet(QueryDict(status_query), clearance=reader)
        assert class_counts.count_by_class(status_filters).total == len(expected_keys)


def _check_marks(reader: Clearance, point: dict[str, str]) -> None:
    point_in_time = GroupFilterSet(QueryDict(urlencode(point)), clearance=reader).point_in_time
    open_members = recount_open_members(reader, point_in_time)
    assert disputed_groups(reader, point_in_time) == {
        memory_id: encode_id(*key) for key, memory_ids in open_members.items() for memory_id in memory_ids
    }


def _walk_queue(queue: ConflictQueue, reader: Clearance) -> Iterator[GroupKey]:
    key: GroupKey | None = None
    while True:
        group_id = find_next_group_id(queue.build_filters(reader), key)
        if group_id is None:
            return
        key = decode_id(group_id)
        yield key


def _principal(clearance: Clearance) -> Principal:
    return Principal(name="user:steward", scopes=frozenset(Scope), clearance=clearance)


def _take_action(*, clearance: Clearance, size: int, index: int, outcome: str, joins: dict[str, Any] | None) -> None:
    principal = _principal(clearance)
    if outcome == "undo":
        decision_ids = list(Decision.objects.visible_to(clearance).values_list("decision_id", flat=True).order_by("id"))
        resolve.undo_decisions(decision_ids[index : index + 1], principal=principal, reason="It was wrong.")
    elif outcome == "reclassify":
        memory_ids = Memory.objects.filter(superseded_at=None).order_by("id").values_list("memory_id", flat=True)
        _reclassify(memory_ids[index], index)
    elif keys := sorted(key for key, _ in Recount(clearance).iter_states(size)):
        _resolve(keys[index % len(keys)], outcome, principal)
    if joins:
        store_drafts([prepare_memory(**joins)])


def _reclassify(memory_id: UUID, index: int) -> None:
    change = {"classification_tier": KNOWN_TIERS[index]}
    plan = classify.plan_for_memory(
        memory_id,
        parse_body(change, ClassificationChange),
        principal=_principal(unrestricted_clearance()),
    )
    classify.apply_plan(plan, reason="Reviewed.")


def _resolve(key: GroupKey, outcome: str, principal: Principal) -> None:
    members = resolve.list_members(key, principal)
    values = list({member.content_sha256: member.memory_id for member in members}.values())
    snooze_end = clock.database_now() + timedelta(seconds=SNOOZE_SECONDS)
    choices: dict[str, dict[str, Any]] = {
        "keep_one": {"keep": values[:1]},
        "keep_several": {"keep": values[:2]},
        "merge": {"content": f"Both: {uuid4()}"},
        "snooze": {"outcome": "defer", "deferred_until": snooze_end.isoformat()},
    }
    choice: dict[str, Any] = {"outcome": outcome, "reason": "Asked.", **choices.get(outcome, {})}
    evidence = compute_evidence((member.memory_id, member.version) for member in members)
    resolve.resolve_many(
        [ResolutionRequest(key=key, evidence=evidence, resolution=Resolution(**choice))], principal=principal
    )


ROW_STRATEGY = st.fixed_dictionaries(
    {
        "subject": st.sampled_from(["", "user:ada", "user:bob"]),
        "collection": st.sampled_from(["", "city"]),
        "content": st.sampled_from(["Paris", "Berlin"]),
    }
)


@example_settings(25, soak_examples=2_000)
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
            len(open_groups.find_disputed_group_ids(rows, clearance=unrestricted_clearance(), point_in_time=NOW))
            == 2 * count
        )

    assert len(query_log) == min(count, 1)
