"""What holds of every instant, whatever has happened: tried with many histories, on a real database."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.firewall import wall
from memoryhub.firewall.types import Clearance, Principal, Scope
from memoryhub.memories import clock, pages, relabel
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.records import Record
from memoryhub.memories.relabel import Change
from memoryhub.timetravel.travel import VIEWS, Answer, travel
from tests.builders import make_memory
from tests.harness.generated import examples, rolled_back

pytestmark = pytest.mark.django_db

STEWARD = Principal(
    name="user:sue",
    clearance=Clearance(max_tier="restricted"),
    scopes=frozenset({Scope.READ, Scope.INSPECT, Scope.DECLASSIFY}),
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
writes = st.fixed_dictionaries(
    {
        "payload_id": st.sampled_from([f"p{number}" for number in range(5)]),
        "subject": st.sampled_from(SUBJECTS),
        "collection": st.sampled_from(COLLECTIONS),
        "content": st.sampled_from(["Paris.", "London.", "Rome."]),
        "timestamp": st.sampled_from([START + timedelta(hours=hour) for hour in HOURS]),
        "tier": st.sampled_from(["public", "internal", "restricted"]),
        "labels": st.sampled_from([[], ["PII"]]),
    }
)
relabels = st.tuples(st.integers(0, 4), st.sampled_from(CHANGES))
deeds = st.lists(st.one_of(writes, relabels), min_size=1, max_size=14)
hours = st.sampled_from([None, *HOURS])


def done(all_deeds: list[Any]) -> list[datetime]:
    """An instant of record time after each of the deeds."""
    instants = []
    for deed in all_deeds:
        if isinstance(deed, dict):
            make_memory(**deed)
        else:
            classify(*deed)
        instants.append(clock.settle())
    return instants


def classify(place: int, asked: dict[str, Any]) -> relabel.Relabelled | None:
    """What was done to the memory at this place among those there are; None if there was nothing to do."""
    memories = list(Memory.objects.filter(superseded_at=None).order_by("payload_id"))
    if not memories:
        return None
    memory = memories[place % len(memories)]
    plan = relabel.plan_one(memory.memory_id, relabel.read(asked, Change), by=STEWARD)
    return relabel.carry_out(plan, reason="Checked.") if plan.due else None


def asked(reader: Principal, *, view: str = "list", **parameters: Any) -> Answer:
    query = QueryDict(mutable=True)
    told = {"view": view, **parameters}
    query.update({name: value.isoformat() if isinstance(value, datetime) else value for name, value in told.items()})
    with wall.behind(reader.clearance):
        return travel(query, reader=reader)


def whole(reader: Principal, **parameters: Any) -> list[Record]:
    answer = asked(reader, limit="200", **parameters)
    assert not answer.page.has_more
    return plain(answer.page.records)


def listed(reader: Principal) -> list[Record]:
    with wall.behind(reader.clearance):
        filters = MemoryFilterSet(QueryDict(), clearance=reader.clearance)
        return plain(pages.page(filters, reader=reader, parameters={"limit": "200"}).records)


def plain(records: list[Record]) -> list[Record]:
    return [{name: value for name, value in record.items() if name != "metadata"} for record in records]


def standing(records: list[Record]) -> list[Record]:
    """What stands, whichever version says it."""
    return [
        {name: value for name, value in record.items() if name not in ("version", "recorded_at")} for record in records
    ]


def at_hour(hour: int | None) -> dict[str, datetime]:
    return {} if hour is None else {"as_of": START + timedelta(hours=hour)}


def shown(reader: Principal, known_at: datetime, hour: int | None) -> Iterator[Memory]:
    """What stood at an instant, by hand: what was in force, of events up to then, seen as it was then and as it is."""
    versions = list(Memory.objects.order_by("id"))
    latest = {version.memory_id: version for version in versions}
    for version in versions:
        in_force = version.recorded_at <= known_at and not (version.superseded_at and version.superseded_at <= known_at)
        has_happened = hour is None or version.timestamp <= START + timedelta(hours=hour)
        seen = reader.clearance.shows(version) and reader.clearance.shows(latest[version.memory_id])
        if in_force and has_happened and seen and version.status == "active":
            yield version


def newest(versions: Iterator[Memory]) -> list[Memory]:
    return sorted(versions, key=lambda version: (version.timestamp, version.memory_id), reverse=True)


def _told(version: Memory) -> tuple[Any, ...]:
    return version.timestamp, version.said_at or version.recorded_at, version.said_id or version.id


def believed(versions: Iterator[Memory]) -> list[Memory]:
    held: dict[tuple[str, str], Memory] = {}
    for version in sorted(versions, key=_told):
        if version.subject:
            held[version.subject, version.collection] = version
    return newest(iter(held.values()))


def names(records: list[Record]) -> list[tuple[Any, int]]:
    return [(record["memory_id"], record["version"]) for record in records]


BY_HAND: dict[str, Callable[[Iterator[Memory]], list[Memory]]] = {"list": newest, "state": believed}


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
@examples(10, soak=500)
@given(all_deeds=deeds)
def test_as_of_now_is_the_plain_list(reader, all_deeds):
    with rolled_back():
        done(all_deeds)

        assert whole(reader, as_of=clock.now()) == listed(reader)
        assert whole(reader, known_at=clock.now()) == listed(reader)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
@pytest.mark.parametrize("view", BY_HAND)
@examples(10, soak=500)
@given(all_deeds=deeds, place=st.integers(0, 13), hour=hours)
def test_an_instant_of_both_clocks_is_a_replay_of_the_versions_by_hand(reader, view, all_deeds, place, hour):
    with rolled_back():
        instants = done(all_deeds)
        known_at = instants[place % len(instants)]
        by_hand = BY_HAND[view](shown(reader, known_at, hour))

        found = whole(reader, view=view, known_at=known_at, **at_hour(hour))

        assert names(found) == [(version.memory_id, version.version) for version in by_hand]


@examples(10, soak=500)
@given(all_deeds=deeds, place=st.integers(0, 13))
def test_an_answer_about_an_instant_stays(all_deeds, place):
    """Asked is who sees all: what is closed to a reader afterwards is taken away from what it may know of then."""
    with rolled_back():
        first = done(all_deeds[: place % len(all_deeds) + 1])[-1]
        before = [whole(STEWARD, view=view, known_at=first) for view in BY_HAND]
        done(all_deeds[place % len(all_deeds) + 1 :])

        assert [whole(STEWARD, view=view, known_at=first) for view in BY_HAND] == before


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
@pytest.mark.parametrize("view", VIEWS)
@examples(8, soak=500)
@given(all_deeds=deeds, more=deeds, limit=st.integers(1, 5))
def test_pages_of_any_size_are_one_big_page_though_others_write_between(reader, view, all_deeds, more, limit):
    writing = iter([deed for deed in more if isinstance(deed, dict)])
    told = {"view": view, "as_of": START + timedelta(days=1), "subject": "user:ada"}
    with rolled_back():
        done(all_deeds)
        big = whole(reader, **told)
        found: list[Record] = []
        cursor = ""
        while True:
            page = asked(reader, limit=str(limit), cursor=cursor, **told).page
            found += plain(page.records)
            if page.next_cursor is None:
                break
            cursor = page.next_cursor
            if deed := next(writing, None):
                make_memory(**(deed | {"payload_id": f"new-{len(found)}"}))

        assert found == big


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
@examples(10, soak=500)
@given(all_deeds=deeds, place=st.integers(0, 4), change=st.sampled_from(CHANGES))
def test_what_is_taken_back_leaves_everything_as_it_was(reader, all_deeds, place, change):
    with rolled_back():
        done(all_deeds)
        before = [standing(whole(reader, view=view, as_of=clock.now())) for view in BY_HAND]
        changed = classify(place, change)
        if changed and changed.undo:
            relabel.carry_out(relabel.plan_undo(changed.undo, by=STEWARD), reason="Taken back.")

        assert [standing(whole(reader, view=view, as_of=clock.now())) for view in BY_HAND] == before
