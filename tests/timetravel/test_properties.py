"""What holds of every instant, whatever has happened: tried with many histories, on a real database."""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories import clock, pagination
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.records import MemoryRecord
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.memories.writes.envelope import parse_body
from memoryhub.timetravel.point_queries import VIEWS, TimeTravelPage, query_at
from tests.factories import make_memory
from tests.harness.strategies import example_settings, roll_back

pytestmark = pytest.mark.django_db

STEWARD = Principal(
    name="user:sue",
    clearance=Clearance(max_tier="restricted"),
    scopes=frozenset({Scope.READ, Scope.CURATE, Scope.DECLASSIFY}),
)
LOW = Principal(name="key:low", clearance=Clearance(max_tier="internal", blocked_labels=frozenset({"pii"})))
READERS = (STEWARD, LOW)
START = datetime(2026, 3, 1, tzinfo=UTC)
HOURS = range(6)
SUBJECTS, COLLECTIONS = ("", "user:ada", "user:bob"), ("", "city")
CHANGES: tuple[dict[str, Any], ...] = (
    {"classification_tier": "restricted"},
    {"classification_tier": "public"},
    {"add_labels": ["pii"]},
    {"remove_labels": ["pii"]},
    {"status": "quarantined"},
    {"status": "active"},
)
write_strategy = st.fixed_dictionaries(
    {
        "payload_id": st.sampled_from([f"p{index}" for index in range(5)]),
        "subject": st.sampled_from(SUBJECTS),
        "collection": st.sampled_from(COLLECTIONS),
        "content": st.sampled_from(["Paris.", "London.", "Rome."]),
        "timestamp": st.sampled_from([START + timedelta(hours=hour) for hour in HOURS]),
        "tier": st.sampled_from(["public", "internal", "restricted"]),
        "labels": st.sampled_from([[], ["PII"]]),
    }
)
classification_strategy = st.tuples(st.integers(0, 4), st.sampled_from(CHANGES))
action_strategy = st.lists(st.one_of(write_strategy, classification_strategy), min_size=1, max_size=14)
hour_strategy = st.sampled_from([None, *HOURS])


def perform_actions(all_actions: list[Any]) -> list[datetime]:
    """An instant of record time after each of the deeds."""
    instants = []
    for action in all_actions:
        if isinstance(action, dict):
            make_memory(**action)
        else:
            classify_at(*action)
        instants.append(clock.stable_record_time())
    return instants


def classify_at(index: int, change_fields: dict[str, Any]) -> classify.ClassificationResult | None:
    """What was done to the memory at this place among those there are; None if there was nothing to do."""
    memories = list(Memory.objects.filter(superseded_at=None).order_by("payload_id"))
    if not memories:
        return None
    memory = memories[index % len(memories)]
    plan = classify.plan_for_memory(
        memory.memory_id, parse_body(change_fields, ClassificationChange), principal=STEWARD
    )
    return classify.apply_plan(plan, reason="Checked.") if plan.effective_changes else None


def query_page(principal: Principal, *, view: str = "list", **parameters: Any) -> TimeTravelPage:
    querydict = QueryDict(mutable=True)
    query_fields = {"view": view, **parameters}
    querydict.update(
        {name: value.isoformat() if isinstance(value, datetime) else value for name, value in query_fields.items()}
    )
    with rls.as_reader(principal.clearance):
        return query_at(querydict, principal=principal)


def all_records(principal: Principal, **parameters: Any) -> list[MemoryRecord]:
    response = query_page(principal, limit="200", **parameters)
    assert not response.page.has_more
    return without_metadata(response.page.records)


def list_records(principal: Principal) -> list[MemoryRecord]:
    with rls.as_reader(principal.clearance):
        filters = MemoryFilterSet(QueryDict(), clearance=principal.clearance)
        return without_metadata(pagination.list_page(filters, principal=principal, params={"limit": "200"}).records)


def without_metadata(records: list[MemoryRecord]) -> list[MemoryRecord]:
    return [{name: value for name, value in record.items() if name != "metadata"} for record in records]


def without_record_fields(records: list[MemoryRecord]) -> list[MemoryRecord]:
    """The current values, whichever version asserts them."""
    return [
        {name: value for name, value in record.items() if name not in ("version", "recorded_at")} for record in records
    ]


def event_params(hour: int | None) -> dict[str, datetime]:
    return {} if hour is None else {"as_of": START + timedelta(hours=hour)}


def visible_versions(principal: Principal, known_at: datetime, hour: int | None) -> Iterator[Memory]:
    """What stood at an instant, by hand: what was in force, of events up to then, seen as it was then and as it is."""
    versions = list(Memory.objects.order_by("id"))
    latest_versions = {version.memory_id: version for version in versions}
    for version in versions:
        in_force = version.recorded_at <= known_at and not (version.superseded_at and version.superseded_at <= known_at)
        has_happened = hour is None or version.timestamp <= START + timedelta(hours=hour)
        is_visible = principal.clearance.shows(version) and principal.clearance.shows(
            latest_versions[version.memory_id]
        )
        if in_force and has_happened and is_visible and version.status == "active":
            yield version


def newest_first(versions: Iterator[Memory]) -> list[Memory]:
    return sorted(versions, key=lambda version: (version.timestamp, version.memory_id), reverse=True)


def _assertion_order(version: Memory) -> tuple[Any, ...]:
    return version.timestamp, version.asserted_at or version.recorded_at, version.asserted_version_id or version.id


def latest_by_key(versions: Iterator[Memory]) -> list[Memory]:
    version_by_key: dict[tuple[str, str], Memory] = {}
    for version in sorted(versions, key=_assertion_order):
        if version.subject:
            version_by_key[version.subject, version.collection] = version
    return newest_first(iter(version_by_key.values()))


def version_names(records: list[MemoryRecord]) -> list[tuple[Any, int]]:
    return [(record["memory_id"], record["version"]) for record in records]


REFERENCE_BY_VIEW: dict[str, Callable[[Iterator[Memory]], list[Memory]]] = {
    "list": newest_first,
    "state": latest_by_key,
}


@example_settings(10, soak_examples=500)
@given(all_actions=action_strategy)
def test_as_of_now_is_the_plain_list(all_actions):
    with roll_back():
        perform_actions(all_actions)

        for principal in READERS:
            assert all_records(principal, as_of=clock.database_now()) == list_records(principal)
            assert all_records(principal, known_at=clock.database_now()) == list_records(principal)


@example_settings(15, soak_examples=500)
@given(all_actions=action_strategy, index=st.integers(0, 13), hour=hour_strategy)
def test_an_instant_of_both_clocks_is_a_replay_of_the_versions_by_hand(all_actions, index, hour):
    with roll_back():
        instants = perform_actions(all_actions)
        known_at = instants[index % len(instants)]
        for principal, view in itertools.product(READERS, REFERENCE_BY_VIEW):
            expected = REFERENCE_BY_VIEW[view](visible_versions(principal, known_at, hour))

            records_found = all_records(principal, view=view, known_at=known_at, **event_params(hour))

            assert version_names(records_found) == [(version.memory_id, version.version) for version in expected]


@example_settings(10, soak_examples=500)
@given(all_actions=action_strategy, index=st.integers(0, 13))
def test_an_answer_about_an_instant_stays(all_actions, index):
    """Asked is who sees all: what is closed to a reader afterwards is taken away from what it may know of then."""
    with roll_back():
        first = perform_actions(all_actions[: index % len(all_actions) + 1])[-1]
        before = [all_records(STEWARD, view=view, known_at=first) for view in REFERENCE_BY_VIEW]
        perform_actions(all_actions[index % len(all_actions) + 1 :])

        assert [all_records(STEWARD, view=view, known_at=first) for view in REFERENCE_BY_VIEW] == before


@example_settings(8, soak_examples=500)
@given(all_actions=action_strategy, more_actions=action_strategy, limit=st.integers(1, 5))
def test_pages_of_any_size_are_one_big_page_though_others_write_between(all_actions, more_actions, limit):
    with roll_back():
        perform_actions(all_actions)
        for principal, view in itertools.product(READERS, VIEWS):
            later_writes = iter([action for action in more_actions if isinstance(action, dict)])
            params = {"view": view, "as_of": START + timedelta(days=1), "subject": "user:ada"}
            with roll_back():
                big = all_records(principal, **params)

                assert walk_pages(principal, limit, later_writes, **params) == big


def walk_pages(
    principal: Principal, limit: int, later_writes: Iterator[dict[str, Any]], **params: Any
) -> list[MemoryRecord]:
    """The records of all pages, with one of the writes after each page."""
    records_found: list[MemoryRecord] = []
    cursor = ""
    while True:
        page = query_page(principal, limit=str(limit), cursor=cursor, **params).page
        records_found += without_metadata(page.records)
        if page.next_cursor is None:
            return records_found
        cursor = page.next_cursor
        if action := next(later_writes, None):
            make_memory(**(action | {"payload_id": f"new-{len(records_found)}"}))


@example_settings(10, soak_examples=500)
@given(all_actions=action_strategy, index=st.integers(0, 4), change=st.sampled_from(CHANGES))
def test_what_is_taken_back_leaves_everything_as_it_was(all_actions, index, change):
    with roll_back():
        perform_actions(all_actions)
        before = [current_values(principal, view) for principal, view in itertools.product(READERS, REFERENCE_BY_VIEW)]
        result = classify_at(index, change)
        if result and result.undo_token:
            classify.apply_plan(classify.plan_undo(result.undo_token, principal=STEWARD), reason="Taken back.")

        assert [
            current_values(principal, view) for principal, view in itertools.product(READERS, REFERENCE_BY_VIEW)
        ] == before


def current_values(principal: Principal, view: str) -> list[MemoryRecord]:
    return without_record_fields(all_records(principal, view=view, as_of=clock.database_now()))
