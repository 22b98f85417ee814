"""What the audit log shows a viewer: who saw a memory, what was done to it, what a principal read."""

import uuid
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db.models import Q

from memoryhub.access_log import audit_queries
from memoryhub.access_log.audit_queries import AuditPage
from memoryhub.audit.actions import READ_ACTIONS
from memoryhub.audit.models import AuditEntry
from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.principal import Principal
from memoryhub.memories.models import Memory
from tests.audit.event_factories import append_events, make_event
from tests.factories import make_memory, utc

pytestmark = pytest.mark.django_db

INTERNAL = Clearance(max_tier="internal")
NOON = utc("2026-03-01 12:00")
HIGH = Principal(name="user:grace", clearance=unrestricted_clearance())
LOW = Principal(name="user:ada", clearance=INTERNAL)


def append_read(
    *memories: Memory,
    principal_name: str = "user:bob",
    clearance: Clearance = INTERNAL,
    minutes: int = 0,
    **fields: Any,
) -> None:
    """An entry of a list that showed `memories` to `principal_name`, some minutes after noon."""
    ids = [memory.memory_id for memory in memories]
    entry_fields = {
        "route": "api:memory-list",
        "occurred_at": NOON + timedelta(minutes=minutes),
        "memory_ids": ids,
        **fields,
    }
    append_events(make_event(clearance, principal=principal_name, action="memory.read", **entry_fields))


def append_open(memory: Memory, **fields: Any) -> None:
    """An entry of the page of one memory, with others beside it."""
    append_read(
        memory,
        *fields.pop("beside", ()),
        route="inspector:memory-detail",
        details={"requested_memory_id": str(memory.memory_id)},
        **fields,
    )


def append_action(action: str, *memories: Memory, clearance: Clearance = INTERNAL, **fields: Any) -> None:
    append_events(make_event(clearance, action=action, memory_ids=[memory.memory_id for memory in memories], **fields))


def raise_tier(tier: str, memory: Memory) -> None:
    make_memory(payload_id=memory.payload_id, content="Closed.", tier=tier)


def reader_names(readers: AuditPage | None) -> list[str]:
    assert readers is not None
    return [entry.principal for entry in readers.entries]


def memory_ids(*memories: Memory) -> list[uuid.UUID]:
    return [memory.memory_id for memory in memories]


def test_who_has_seen_a_memory_and_when_the_latest_first():
    memory, other_memory = make_memory(), make_memory()
    append_read(memory, other_memory, principal_name="user:bob", minutes=1, query="q=x")
    append_read(other_memory, principal_name="user:eve", minutes=2)
    append_open(memory, principal_name="key:bot", minutes=3)

    readers = audit_queries.list_memory_reads(memory.memory_id, LOW)

    assert readers is not None
    assert [(entry.principal, entry.occurred_at) for entry in readers.entries] == [
        ("key:bot", NOON + timedelta(minutes=3)),
        ("user:bob", NOON + timedelta(minutes=1)),
    ]
    assert (readers.entries[1].query, readers.entries[1].memory_ids) == ("q=x", memory_ids(memory, other_memory))
    assert readers.entries[0].details == {}
    assert readers.next_cursor is None


def test_actions_on_a_memory_are_listed_apart_from_its_readers():
    memory = make_memory()
    append_read(memory)
    append_action("memory.unmask", memory, principal="user:eve")
    append_action("memory.reclassify", memory, details={"classification_tier": ["public", "internal"]})

    reader_page, action_page = (
        audit_queries.list_memory_reads(memory.memory_id, HIGH),
        audit_queries.list_memory_actions(memory.memory_id, HIGH),
    )

    assert reader_names(reader_page) == ["user:eve", "user:bob"]
    assert action_page is not None
    assert "memory.reclassify" in [entry.action for entry in action_page.entries]
    assert not {entry.action for entry in action_page.entries} & set(READ_ACTIONS)


def test_a_memory_that_may_not_be_seen_has_no_trail_like_one_that_is_not_there():
    hidden = make_memory(tier="restricted")
    append_read(hidden, clearance=unrestricted_clearance())

    for audit_query in (audit_queries.list_memory_reads, audit_queries.list_memory_actions):
        assert audit_query(hidden.memory_id, LOW) is None
        assert audit_query(uuid.UUID(int=7), LOW) is None
        assert audit_query(hidden.memory_id, HIGH) is not None


def test_a_memory_that_was_raised_since_takes_its_trail_along():
    memory = make_memory()
    append_read(memory)
    raise_tier("restricted", memory)

    assert audit_queries.list_memory_reads(memory.memory_id, LOW) is None
    assert reader_names(audit_queries.list_memory_reads(memory.memory_id, HIGH)) == ["user:bob"]


def test_who_could_see_more_is_not_seen():
    memory = make_memory()
    append_read(memory, principal_name="user:root", clearance=unrestricted_clearance())
    append_read(memory, principal_name="user:bob")
    append_read(
        memory, principal_name="key:bound", clearance=Clearance(max_tier="internal", namespaces=frozenset({""}))
    )
    blocked = Principal(name="user:x", clearance=Clearance(max_tier="internal", blocked_labels=frozenset({"pii"})))

    assert sorted(reader_names(audit_queries.list_memory_reads(memory.memory_id, LOW))) == ["key:bound", "user:bob"]
    assert sorted(reader_names(audit_queries.list_memory_reads(memory.memory_id, HIGH))) == [
        "key:bound",
        "user:bob",
        "user:root",
    ]
    assert reader_names(audit_queries.list_memory_reads(memory.memory_id, blocked)) == []


def test_of_the_memories_of_an_entry_those_are_named_that_are_seen_now_in_their_order():
    first, second, third = make_memory(), make_memory(), make_memory()
    append_read(third, first, second)
    raise_tier("restricted", first)

    (low,), (high,) = (
        audit_queries.list_principal_reads("user:bob", LOW).entries,
        audit_queries.list_principal_reads("user:bob", HIGH).entries,
    )

    assert low.memory_ids == memory_ids(third, second)
    assert high.memory_ids == memory_ids(third, first, second)


def test_a_list_of_memories_that_are_all_hidden_now_reads_as_an_empty_one():
    memory = make_memory()
    append_read(memory)
    append_read(minutes=-1)
    raise_tier("restricted", memory)

    assert [entry.memory_ids for entry in audit_queries.list_principal_reads("user:bob", LOW).entries] == [[], []]


def test_a_page_of_a_memory_that_is_hidden_now_was_never_opened():
    memory, related_memory = make_memory(), make_memory()
    append_open(memory, beside=[related_memory])
    append_open(related_memory, beside=[memory], minutes=1)
    raise_tier("restricted", memory)

    assert [entry.memory_ids for entry in audit_queries.list_principal_reads("user:bob", LOW).entries] == [
        memory_ids(related_memory)
    ]
    assert len(audit_queries.list_principal_reads("user:bob", HIGH).entries) == 2


@pytest.mark.parametrize("action", ["memory.write", "memory.reclassify", "memory.unmask", "memory.export"])
def test_nothing_was_done_to_what_is_hidden_now(action):
    memory, other_memory = make_memory(), make_memory()
    append_action(action, memory, principal="user:bob")
    append_action(action, memory, other_memory, principal="user:bob")
    raise_tier("restricted", memory)

    assert [entry.memory_ids for entry in audit_queries.list_entries(LOW, principal_name="user:bob").entries] == [
        memory_ids(other_memory)
    ]
    assert len(audit_queries.list_entries(HIGH, principal_name="user:bob").entries) == 2


def test_an_action_without_memories_is_visible_to_a_clearance_that_covers_it():
    append_action("key.create", details={"name": "bot"})
    append_action("key.create", details={"name": "higher"}, clearance=unrestricted_clearance())

    assert [entry.details["name"] for entry in audit_queries.list_entries(LOW, action="key.create").entries] == ["bot"]
    assert len(audit_queries.list_entries(HIGH, action="key.create").entries) == 2


def test_memories_that_a_principal_has_read():
    memory = make_memory()
    append_read(memory, principal_name="user:bob")
    append_read(memory, principal_name="user:eve")
    append_action("memory.reclassify", memory, principal="user:bob")

    assert [
        (entry.principal, entry.action) for entry in audit_queries.list_principal_reads("user:bob", HIGH).entries
    ] == [("user:bob", "memory.read")]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["r-3", "r-2", "r-1"]),
        ({"principal_name": "user:eve"}, ["r-2"]),
        ({"action": "memory.read"}, ["r-3", "r-2", "r-1"]),
        ({"action": "key.create"}, []),
        ({"request_id": "r-1"}, ["r-1"]),
        ({"since": NOON + timedelta(minutes=2)}, ["r-3", "r-2"]),
        ({"until": NOON + timedelta(minutes=2)}, ["r-1"]),
        ({"since": NOON + timedelta(minutes=2), "until": NOON + timedelta(minutes=3)}, ["r-2"]),
    ],
)
def test_the_audit_log_can_be_filtered_by(params, expected):
    for index, principal_name in ((1, "user:bob"), (2, "user:eve"), (3, "user:bob")):
        append_read(principal_name=principal_name, minutes=index, request_id=f"r-{index}")

    assert [entry.request_id for entry in audit_queries.list_entries(LOW, **params).entries] == expected


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
def test_pages_show_every_entry_once_however_many_share_an_instant(limit):
    minutes = [0, 0, 0, 0, 0, 1, 1, 2, 3, 3, 3]
    for index, minute in enumerate(minutes):
        append_read(minutes=minute, request_id=f"{index}")
        append_read(minutes=minute, clearance=unrestricted_clearance(), request_id="hidden")

    assert [entry.request_id for entry in list_pages(LOW, limit)] == [f"{n}" for n in reversed(range(len(minutes)))]


def list_pages(principal: Principal, limit: int) -> list[audit_queries.VisibleEntry]:
    entries, cursor = [], ""
    while True:
        page = audit_queries.list_principal_reads("user:bob", principal, cursor=cursor, limit=limit)
        assert len(page.entries) <= limit
        entries += page.entries
        if page.next_cursor is None:
            return entries
        cursor = page.next_cursor


def test_hidden_entries_move_neither_pages_nor_cursors():
    for minute in range(5):
        append_read(minutes=minute)
    before = audit_queries.list_principal_reads("user:bob", LOW, limit=2)
    for minute in range(5):
        append_read(minutes=minute, clearance=unrestricted_clearance())
        append_read(make_memory(tier="restricted"), minutes=minute, clearance=unrestricted_clearance())

    assert audit_queries.list_principal_reads("user:bob", LOW, limit=2) == before


def test_a_cursor_is_good_for_its_viewer_and_its_list_alone():
    memory = make_memory()
    for minute in range(3):
        append_read(memory, minutes=minute)
    cursor = audit_queries.list_principal_reads("user:bob", LOW, limit=1).next_cursor
    assert cursor
    assert audit_queries.list_principal_reads("user:bob", LOW, cursor=cursor).entries

    for refused_query in (
        partial(audit_queries.list_principal_reads, "user:bob", HIGH),
        partial(audit_queries.list_principal_reads, "user:ada", LOW),
        partial(audit_queries.list_entries, LOW),
        partial(audit_queries.list_memory_reads, memory.memory_id, LOW),
        partial(audit_queries.list_memory_reads, uuid.uuid4(), LOW),
    ):
        with pytest.raises(InvalidQueryError, match="cursor"):
            refused_query(cursor=cursor)
    with pytest.raises(InvalidQueryError, match="cursor"):
        audit_queries.list_principal_reads("user:bob", LOW, cursor="1772366400000000-2")


def test_an_entry_shows_neither_its_number_nor_its_hash():
    """Both depend on every entry before it, seen or not."""
    entry_field_names = set(audit_queries.VisibleEntry.__dataclass_fields__)

    assert entry_field_names == {
        "occurred_at",
        "principal",
        "action",
        "route",
        "query",
        "memory_ids",
        "details",
        "request_id",
    }


def test_a_page_takes_as_many_questions_however_many_entries_it_shows(django_assert_num_queries):
    memories = [make_memory() for _ in range(5)]

    def assert_query_count(count: int) -> None:
        # A savepoint, the wall up and down, two questions.
        with django_assert_num_queries(7):
            assert len(audit_queries.list_principal_reads("user:bob", LOW, limit=count).entries) == count

    for _ in range(50):
        append_read(*memories)
    assert_query_count(2)
    assert_query_count(50)


def test_of_the_memories_that_a_principal_has_read_only_visible_ones_are_listed():
    memory, raised_memory = make_memory(), make_memory()
    append_read(memory, raised_memory)
    raise_tier("restricted", raised_memory)

    assert [exposure.memory_id for exposure in audit_queries.list_exposed_memories("user:bob", LOW)] == memory_ids(
        memory
    )


def test_row_security_hides_entries_without_the_query_filter(monkeypatch):
    """With every rule of the first one removed, the database still hides what was out of reach."""
    memory, hidden = make_memory(), make_memory(tier="restricted")
    append_read(memory)
    append_read(memory, hidden, clearance=unrestricted_clearance(), principal_name="user:root")
    monkeypatch.setattr(audit_queries, "snapshot_covered_q", lambda _: Q())
    monkeypatch.setattr(audit_queries, "_visible_without_hidden_q", lambda _: Q())
    monkeypatch.setattr(audit_queries, "_visible_memories", lambda _: Memory.objects.all())

    assert reader_names(audit_queries.list_entries(LOW, action="memory.read")) == ["user:bob"]
    assert audit_queries.list_memory_reads(hidden.memory_id, LOW) is None


def test_the_query_filter_hides_entries_without_row_security(monkeypatch):
    """And with the second one open, the first does."""
    memory = make_memory()
    append_read(memory)
    append_read(memory, clearance=unrestricted_clearance(), principal_name="user:root")
    monkeypatch.setattr(rls, "as_reader", lambda _: rls.as_writer(None))

    assert reader_names(audit_queries.list_entries(LOW, action="memory.read")) == ["user:bob"]
    assert AuditEntry.objects.filter(action="memory.read").count() == 2
