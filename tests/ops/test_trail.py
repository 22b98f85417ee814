"""What the ledger tells a viewer: who saw a memory, what was done to it, what a principal was told."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Q

from memoryhub.audit.models import AuditEntry
from memoryhub.firewall import wall
from memoryhub.firewall.types import Clearance, Principal, everything
from memoryhub.memories.models import Memory
from memoryhub.ops import trail
from memoryhub.ops.trail import Trail
from tests.audit.entries import append, event
from tests.builders import at, make_memory

pytestmark = pytest.mark.django_db

INTERNAL = Clearance(max_tier="internal")
NOON = at("2026-03-01 12:00")
HIGH = Principal(name="user:grace", clearance=everything())
LOW = Principal(name="user:ada", clearance=INTERNAL)


def read(
    *memories: Memory, by: str = "user:bob", clearance: Clearance = INTERNAL, minutes: int = 0, **fields: Any
) -> None:
    """An entry of a list that told `by` of `memories`, some minutes after noon."""
    ids = [memory.memory_id for memory in memories]
    told = {"route": "api:memories", "at": NOON + timedelta(minutes=minutes), "memory_ids": ids, **fields}
    append(event(clearance, principal=by, action="memory.read", **told))


def opened(memory: Memory, **fields: Any) -> None:
    """An entry of the page of one memory, with others beside it."""
    read(
        memory, *fields.pop("beside", ()), route="inspector:memory", details={"about": str(memory.memory_id)}, **fields
    )


def done(action: str, *memories: Memory, clearance: Clearance = INTERNAL, **fields: Any) -> None:
    append(event(clearance, action=action, memory_ids=[memory.memory_id for memory in memories], **fields))


def raise_to(tier: str, memory: Memory) -> None:
    make_memory(payload_id=memory.payload_id, content="Closed.", tier=tier)


def who(found: Trail | None) -> list[str]:
    assert found is not None
    return [entry.principal for entry in found.entries]


def ids(*memories: Memory) -> list[uuid.UUID]:
    return [memory.memory_id for memory in memories]


def test_who_has_seen_a_memory_and_when_the_latest_first():
    memory, other = make_memory(), make_memory()
    read(memory, other, by="user:bob", minutes=1, query="q=x")
    read(other, by="user:eve", minutes=2)
    opened(memory, by="key:bot", minutes=3)

    found = trail.who_saw(memory.memory_id, LOW)

    assert found is not None
    assert [(entry.principal, entry.at) for entry in found.entries] == [
        ("key:bot", NOON + timedelta(minutes=3)),
        ("user:bob", NOON + timedelta(minutes=1)),
    ]
    assert (found.entries[1].query, found.entries[1].memory_ids) == ("q=x", ids(memory, other))
    assert found.entries[0].details == {}
    assert found.next_cursor is None


def test_what_was_done_to_a_memory_is_told_apart_from_who_saw_it():
    memory = make_memory()
    read(memory)
    done("memory.reveal", memory, principal="user:eve")
    done("memory.relabel", memory, details={"classification_tier": ["public", "internal"]})

    saw, did = trail.who_saw(memory.memory_id, HIGH), trail.done_to(memory.memory_id, HIGH)

    assert who(saw) == ["user:eve", "user:bob"]
    assert did is not None
    assert "memory.relabel" in [entry.action for entry in did.entries]
    assert not {entry.action for entry in did.entries} & set(trail.SEEN)


def test_a_memory_that_may_not_be_seen_has_no_trail_like_one_that_is_not_there():
    hidden = make_memory(tier="restricted")
    read(hidden, clearance=everything())

    for ask in (trail.who_saw, trail.done_to):
        assert ask(hidden.memory_id, LOW) is None
        assert ask(uuid.UUID(int=7), LOW) is None
        assert ask(hidden.memory_id, HIGH) is not None


def test_a_memory_that_was_raised_since_takes_its_trail_along():
    memory = make_memory()
    read(memory)
    raise_to("restricted", memory)

    assert trail.who_saw(memory.memory_id, LOW) is None
    assert who(trail.who_saw(memory.memory_id, HIGH)) == ["user:bob"]


def test_who_could_see_more_is_not_seen():
    memory = make_memory()
    read(memory, by="user:root", clearance=everything())
    read(memory, by="user:bob")
    read(memory, by="key:bound", clearance=Clearance(max_tier="internal", namespaces=frozenset({""})))
    blocked = Principal(name="user:x", clearance=Clearance(max_tier="internal", blocked_labels=frozenset({"pii"})))

    assert sorted(who(trail.who_saw(memory.memory_id, LOW))) == ["key:bound", "user:bob"]
    assert sorted(who(trail.who_saw(memory.memory_id, HIGH))) == ["key:bound", "user:bob", "user:root"]
    assert who(trail.who_saw(memory.memory_id, blocked)) == []


def test_of_the_memories_of_an_entry_those_are_named_that_are_seen_now_in_their_order():
    first, second, third = make_memory(), make_memory(), make_memory()
    read(third, first, second)
    raise_to("restricted", first)

    (low,), (high,) = trail.told_to("user:bob", LOW).entries, trail.told_to("user:bob", HIGH).entries

    assert low.memory_ids == ids(third, second)
    assert high.memory_ids == ids(third, first, second)


def test_a_list_of_memories_that_are_all_hidden_now_reads_as_an_empty_one():
    memory = make_memory()
    read(memory)
    read(minutes=-1)
    raise_to("restricted", memory)

    assert [entry.memory_ids for entry in trail.told_to("user:bob", LOW).entries] == [[], []]


def test_a_page_of_a_memory_that_is_hidden_now_was_never_opened():
    memory, beside = make_memory(), make_memory()
    opened(memory, beside=[beside])
    opened(beside, beside=[memory], minutes=1)
    raise_to("restricted", memory)

    assert [entry.memory_ids for entry in trail.told_to("user:bob", LOW).entries] == [ids(beside)]
    assert len(trail.told_to("user:bob", HIGH).entries) == 2


@pytest.mark.parametrize("action", ["memory.write", "memory.relabel", "memory.reveal", "memory.export"])
def test_nothing_was_done_to_what_is_hidden_now(action):
    memory, other = make_memory(), make_memory()
    done(action, memory, principal="user:bob")
    done(action, memory, other, principal="user:bob")
    raise_to("restricted", memory)

    assert [entry.memory_ids for entry in trail.entries(LOW, principal="user:bob").entries] == [ids(other)]
    assert len(trail.entries(HIGH, principal="user:bob").entries) == 2


def test_a_deed_that_is_about_no_memory_is_told_to_who_covers_it():
    done("key.create", details={"name": "bot"})
    done("key.create", details={"name": "higher"}, clearance=everything())

    assert [entry.details["name"] for entry in trail.entries(LOW, action="key.create").entries] == ["bot"]
    assert len(trail.entries(HIGH, action="key.create").entries) == 2


def test_what_a_principal_was_told():
    memory = make_memory()
    read(memory, by="user:bob")
    read(memory, by="user:eve")
    done("memory.relabel", memory, principal="user:bob")

    assert [(entry.principal, entry.action) for entry in trail.told_to("user:bob", HIGH).entries] == [
        ("user:bob", "memory.read")
    ]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["r-3", "r-2", "r-1"]),
        ({"principal": "user:eve"}, ["r-2"]),
        ({"action": "memory.read"}, ["r-3", "r-2", "r-1"]),
        ({"action": "key.create"}, []),
        ({"request_id": "r-1"}, ["r-1"]),
        ({"since": NOON + timedelta(minutes=2)}, ["r-3", "r-2"]),
        ({"until": NOON + timedelta(minutes=2)}, ["r-1"]),
        ({"since": NOON + timedelta(minutes=2), "until": NOON + timedelta(minutes=3)}, ["r-2"]),
    ],
)
def test_the_ledger_can_be_asked_by(asked, expected):
    for number, by in ((1, "user:bob"), (2, "user:eve"), (3, "user:bob")):
        read(by=by, minutes=number, request_id=f"r-{number}")

    assert [entry.request_id for entry in trail.entries(LOW, **asked).entries] == expected


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
def test_pages_show_every_entry_once_however_many_share_an_instant(limit):
    minutes = [0, 0, 0, 0, 0, 1, 1, 2, 3, 3, 3]
    for number, minute in enumerate(minutes):
        read(minutes=minute, request_id=f"{number}")
        read(minutes=minute, clearance=everything(), request_id="hidden")

    assert [entry.request_id for entry in paged(LOW, limit)] == [f"{n}" for n in reversed(range(len(minutes)))]


def paged(viewer: Principal, limit: int) -> list[trail.Entry]:
    found, cursor = [], ""
    while True:
        page = trail.told_to("user:bob", viewer, cursor=cursor, limit=limit)
        assert len(page.entries) <= limit
        found += page.entries
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


def test_hidden_entries_move_neither_pages_nor_cursors():
    for minute in range(5):
        read(minutes=minute)
    before = trail.told_to("user:bob", LOW, limit=2)
    for minute in range(5):
        read(minutes=minute, clearance=everything())
        read(make_memory(tier="restricted"), minutes=minute, clearance=everything())

    assert trail.told_to("user:bob", LOW, limit=2) == before


@pytest.mark.parametrize(
    "cursor", ["x", "1", "-1", "1-", "-", "1-x", "9" * 18 + "-1", "1-" + "9" * 18, "1-1-1", "\u0661-1", " 1-1"]
)
def test_a_bad_cursor_is_refused(cursor):
    with pytest.raises(trail.BadCursor):
        trail.entries(LOW, cursor=cursor)


def test_an_entry_tells_neither_its_number_nor_its_hash():
    """Both depend on every entry before it, seen or not."""
    told = set(trail.Entry.__dataclass_fields__)

    assert told == {"at", "principal", "action", "route", "query", "memory_ids", "details", "request_id"}


def test_a_page_takes_as_many_questions_however_many_entries_it_shows(django_assert_num_queries):
    memories = [make_memory() for _ in range(5)]

    def cost(number: int) -> None:
        # A savepoint, the wall up and down, two questions.
        with django_assert_num_queries(7):
            assert len(trail.told_to("user:bob", LOW, limit=number).entries) == number

    for _ in range(50):
        read(*memories)
    cost(2)
    cost(50)


def test_of_what_a_principal_was_told_those_are_listed_that_are_seen_now():
    memory, raised = make_memory(), make_memory()
    read(memory, raised)
    raise_to("restricted", raised)

    assert [told.memory_id for told in trail.memories_told("user:bob", LOW)] == ids(memory)


def test_the_second_wall_stands_behind_the_first(monkeypatch):
    """With every rule of the first one removed, the database still hides what was out of reach."""
    memory, hidden = make_memory(), make_memory(tier="restricted")
    read(memory)
    read(memory, hidden, clearance=everything(), by="user:root")
    monkeypatch.setattr(trail, "covered_by", lambda _: Q())
    monkeypatch.setattr(trail, "_concerns", lambda _: Q())
    monkeypatch.setattr(trail, "_visible", lambda _: Memory.objects.all())

    assert who(trail.entries(LOW, action="memory.read")) == ["user:bob"]
    assert trail.who_saw(hidden.memory_id, LOW) is None


def test_the_first_wall_stands_before_the_second(monkeypatch):
    """And with the second one open, the first does."""
    memory = make_memory()
    read(memory)
    read(memory, clearance=everything(), by="user:root")
    monkeypatch.setattr(wall, "behind", lambda _: wall.writing(None))

    assert who(trail.entries(LOW, action="memory.read")) == ["user:bob"]
    assert AuditEntry.objects.filter(action="memory.read").count() == 2
