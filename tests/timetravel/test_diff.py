"""What differs between two instants: its kinds, its firewall, its pages, and that two diffs make one."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memoryhub.audit.models import AuditEntry
from memoryhub.firewall.types import Principal, Scope, everything
from memoryhub.memories import clock, relabel, standing
from memoryhub.memories.models import Memory
from memoryhub.ops import reads
from tests.api.answers import problem
from tests.builders import at, make_key, make_memory, make_user
from tests.memories.rows import execute

pytestmark = pytest.mark.django_db

EVER = "2000-01-01T00:00:00Z"
STEWARD = Principal(name="user:steward", scopes=frozenset(Scope), clearance=everything())
Ask = Callable[..., Any]
A, B = UUID(int=1), UUID(int=2)


@pytest.fixture
def reader(api: Any) -> Any:
    return api(make_key(scopes="read inspect", clearance={"max_tier": "restricted"}))


@pytest.fixture
def outsider(api: Any) -> Any:
    return api(make_key())


def now() -> str:
    """An instant after all that was written, and before all that will be."""
    return clock.settle().isoformat()


def diff(caller: Any, **asked: Any) -> Any:
    response = caller.get("/api/diff", **{"since": EVER, **asked})
    assert response.status_code == 200, response.content
    return response.json()


def kinds(caller: Any, **asked: Any) -> list[list[str]]:
    return [change["kinds"] for change in diff(caller, **asked)["changes"]]


def classify(memory: Memory, **change: Any) -> None:
    plan = relabel.plan_one(memory.memory_id, relabel.read(change, relabel.Change), by=STEWARD)
    relabel.carry_out(plan, reason="Looked at.")


def stand(memory: Memory, decision: UUID, status: str) -> None:
    """The next version, which stands so because of a decision."""
    clock.tick()
    latest = Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)
    standing.stand({latest.pk: decision}, status=status)


def erase(memory: Memory) -> None:
    """The tombstone, as erasure leaves it: all versions blank, the latest one new."""
    execute("SELECT record_tick()")
    make_memory(payload_id=memory.payload_id, content="Soon gone.")
    execute(
        "UPDATE memories SET status = 'erased', content = '', embedding = NULL, metadata = '{}', propagation = NULL,"
        " fingerprint = '' WHERE memory_id = %s",
        memory.memory_id,
    )


class TestKinds:
    def test_what_is_new_is_added(self, reader):
        since = now()
        memory = make_memory(subject="user:ada", collection="city")

        (change,) = diff(reader, since=since)["changes"]

        assert (change["memory_id"], change["kinds"]) == (str(memory.memory_id), ["added"])
        assert (change["before"], change["text_diff"], change["fields"]) == (None, None, [])
        assert change["after"]["content"] == memory.content
        assert (change["subject"], change["collection"]) == ("user:ada", "city")
        assert datetime.fromisoformat(change["at"]) == memory.recorded_at

    def test_what_says_something_else_is_changed_and_told_word_by_word(self, reader):
        make_memory(payload_id="a", content="Ada lives in Paris.", timestamp=at("2026-03-01 12:00"))
        since = now()
        make_memory(payload_id="a", content="Ada lives in Rome.", timestamp=at("2026-03-01 12:00"))

        (change,) = diff(reader, since=since)["changes"]

        assert (change["kinds"], change["fields"]) == (["changed"], ["content"])
        assert (change["before"]["version"], change["after"]["version"]) == (1, 2)
        assert change["text_diff"] == [
            {"op": "equal", "text": "Ada lives in "},
            {"op": "delete", "text": "Paris"},
            {"op": "insert", "text": "Rome"},
            {"op": "equal", "text": "."},
        ]

    def test_numbers_that_only_look_alike_to_the_database_are_a_change(self, reader):
        make_memory(payload_id="a", content="One.", metadata={"n": 1})
        since = now()
        make_memory(payload_id="a", content="Two.", metadata={"n": 1.0})

        (change,) = diff(reader, since=since)["changes"]

        assert "metadata" in change["fields"]

    @pytest.mark.parametrize(
        ("first", "then", "expected"),
        [
            ({}, {"classification_tier": "internal"}, ["relabelled"]),
            ({}, {"add_labels": ["pii"]}, ["relabelled"]),
            ({}, {"status": "quarantined"}, ["quarantined"]),
            ({"status": "quarantined"}, {"status": "active"}, ["restored"]),
            ({}, {"status": "quarantined", "add_labels": ["pii"]}, ["relabelled", "quarantined"]),
        ],
        ids=str,
    )
    def test_what_is_classified_is_told_as_such(self, reader, first, then, expected):
        memory = make_memory()
        if first:
            classify(memory, **first)
        since = now()
        classify(memory, **then)

        assert kinds(reader, since=since) == [expected]

    @pytest.mark.parametrize(
        ("first", "then", "expected"),
        [
            ((), (A, "retired"), ["resolved", "retired"]),
            ((), (A, "active"), ["resolved"]),
            ((A, "retired"), (B, "active"), ["resolved", "restored"]),
            ((A, "retired"), (B, "retired"), ["resolved"]),
            ((A, "retired"), (A, "active"), ["restored"]),
        ],
    )
    def test_what_a_decision_makes_of_a_memory_is_resolved(self, reader, first, then, expected):
        memory = make_memory()
        if first:
            stand(memory, *first)
        since = now()
        stand(memory, *then)

        assert kinds(reader, since=since) == [expected]
        assert kinds(reader, since=since, change="resolved") == ([expected] if "resolved" in expected else [])

    def test_what_comes_with_a_decision_is_added_and_resolved(self, reader):
        memory = make_memory()
        stand(memory, A, "retired")

        (change,) = diff(reader)["changes"]

        assert (change["kinds"], change["fields"]) == (["added", "resolved"], [])
        assert diff(reader)["counts"]["kinds"] == {"added": 1, "resolved": 1}

    def test_a_decision_that_stands_is_not_told_again_when_its_memory_is_classified(self, reader):
        memory = make_memory()
        stand(memory, A, "retired")
        since = now()
        classify(memory, classification_tier="internal")

        assert kinds(reader, since=since) == [["relabelled"]]

    def test_what_was_changed_back_is_no_change(self, reader):
        memory = make_memory()
        since = now()
        classify(memory, classification_tier="internal")
        classify(memory, classification_tier="public")

        assert diff(reader, since=since)["changes"] == []

    def test_what_outlived_its_time_is_gone_when_it_did(self, reader):
        ends = clock.now() + timedelta(seconds=0.3)
        memory = make_memory(expires_at=ends)
        since = now()
        execute("SELECT pg_sleep(0.4)")

        (change,) = diff(reader, since=since)["changes"]

        assert (change["kinds"], change["after"], change["before"]["memory_id"]) == (
            ["gone"],
            None,
            str(memory.memory_id),
        )
        assert datetime.fromisoformat(change["at"]) == ends

    def test_what_outlived_its_time_and_was_written_again_later_is_gone_in_between(self, reader):
        ends = clock.now() + timedelta(seconds=0.3)
        make_memory(payload_id="a", content="Short.", expires_at=ends)
        since = now()
        execute("SELECT pg_sleep(0.4)")
        until = now()
        make_memory(payload_id="a", content="Again.")

        assert kinds(reader, since=since, until=until) == [["gone"]]
        assert kinds(reader, since=until) == [["added"]]
        assert kinds(reader, since=since) == [["changed"]]

    def test_what_was_erased_says_nothing_of_what_it_said(self, reader):
        memory = make_memory(payload_id="a", content="A secret of Ada's.")
        since = now()
        erase(memory)

        (change,) = diff(reader, since=since)["changes"]

        assert "erased" in change["kinds"]
        assert (change["before"]["content"], change["after"]["content"], change["text_diff"]) == ("", "", None)


class TestInstants:
    def test_a_change_at_the_later_instant_is_one_and_at_the_earlier_is_none(self, reader):
        memory = make_memory()
        instant, before = memory.recorded_at, memory.recorded_at - timedelta(microseconds=1)

        assert kinds(reader, until=instant.isoformat()) == [["added"]]
        assert kinds(reader, until=before.isoformat()) == []
        assert kinds(reader, since=instant.isoformat()) == []
        assert kinds(reader, since=before.isoformat(), until=instant.isoformat()) == [["added"]]

    @pytest.mark.parametrize("axis", ["known", "event"])
    def test_nothing_differs_from_itself(self, reader, axis):
        memory = make_memory(subject="user:ada")
        for instant in (memory.recorded_at.isoformat(), memory.timestamp.isoformat(), now()):
            found = diff(reader, since=instant, until=instant, axis=axis)
            assert (found["changes"], found["counts"]["total"]) == ([], 0)

    def test_the_future_is_clipped_to_now(self, reader):
        answer = reader.get("/api/diff", since=EVER, until="2999-01-01")

        assert answer["Memoryhub-Clipped"] == "until"
        assert datetime.fromisoformat(answer.json()["until"]) <= clock.now()
        assert reader.get("/api/diff", since="2999-01-01")["Memoryhub-Clipped"] == "since"

    @pytest.mark.parametrize(
        ("asked", "code"),
        [
            ({}, "missing_parameter"),
            ({"since": ""}, "missing_parameter"),
            ({"since": "yesterday"}, "invalid_timestamp"),
            ({"since": "2026-01-01", "until": "2026-13-01"}, "invalid_timestamp"),
            ({"since": "2026-01-02", "until": "2026-01-01"}, "invalid_parameter"),
            ({"since": "2026-01-01", "axis": "both"}, "invalid_parameter"),
            ({"since": "2026-01-01", "change": "solved"}, "invalid_parameter"),
            ({"since": "2026-01-01", "as_of": "2026-01-01"}, "invalid_parameter"),
            ({"since": "2026-01-01", "known_at": "2026-01-01"}, "invalid_parameter"),
            ({"since": "2026-01-01", "limit": "0"}, "invalid_parameter"),
            ({"since": "2026-01-01", "cursor": "forged"}, "bad_cursor"),
            ({"since": "2026-01-01", "tier": "secret"}, "invalid_parameter"),
        ],
        ids=str,
    )
    def test_what_cannot_be_answered_is_said(self, reader, asked, code):
        problem(reader.get("/api/diff", **asked), 400, code)


class TestFilters:
    def test_a_filter_finds_a_change_by_either_end(self, reader):
        make_memory(payload_id="a", subject="user:ada", content="Paris it is.")
        make_memory(subject="user:bob", content="Elsewhere.")
        since = now()
        make_memory(payload_id="a", subject="user:eve", content="Rome it is.")

        for asked in ({"subject": "user:ada"}, {"subject": "user:eve"}, {"q": "paris"}, {"q": "rome"}):
            assert kinds(reader, since=since, **asked) == [["changed"]], asked
        for asked in ({"subject": "user:bob"}, {"q": "elsewhere"}, {"subject": "user:nobody"}, {"label": "pii"}):
            assert kinds(reader, since=since, **asked) == [], asked

    def test_a_status_is_asked_of_both_ends_and_no_status_is_the_default(self, reader):
        memory = make_memory()
        since = now()
        classify(memory, status="quarantined")

        assert kinds(reader, since=since) == [["quarantined"]]
        assert kinds(reader, since=since, status="active") == [["quarantined"]]
        assert kinds(reader, since=since, status="quarantined") == [["quarantined"]]
        assert kinds(reader, since=since, status="retired") == []

    def test_counts_tell_the_kinds_subjects_and_sources_of_what_was_asked_for(self, reader):
        make_memory(payload_id="a", subject="user:ada")
        since = now()
        make_memory(payload_id="a", subject="user:ada")
        make_memory(subject="user:ada", source="crm")
        make_memory(subject="user:bob")

        counts = diff(reader, since=since)["counts"]

        assert (counts["total"], counts["capped"]) == (3, False)
        assert counts["kinds"] == {"added": 2, "changed": 1}
        assert counts["subjects"] == [{"value": "user:ada", "count": 2}, {"value": "user:bob", "count": 1}]
        assert sum(source["count"] for source in counts["sources"]) == 3
        assert diff(reader, since=since, change="changed")["counts"]["kinds"] == {"changed": 1}
        assert kinds(reader, since=since, change="gone") == []


class TestPages:
    @pytest.mark.parametrize("axis", ["known", "event"])
    @pytest.mark.parametrize("limit", [1, 2, 3, 7])
    def test_pages_are_one_list_though_others_write_in_between(self, reader, axis, limit):
        for number in range(7):
            make_memory(payload_id=f"p{number}", subject=f"s{number % 5}" if number % 2 else "", collection="c")
        whole = diff(reader, axis=axis, limit=50)
        asked: dict[str, Any] = {"axis": axis, "limit": limit}
        found: list[Any] = []
        for _ in range(10):
            page = diff(reader, **asked)
            found += page["changes"]
            make_memory(subject="s1", collection="c")
            make_memory(payload_id="p3", subject="s3", collection="c")
            if not page["has_more"]:
                break
            asked["cursor"] = page["next_cursor"]

        assert [change["memory_id"] for change in found] == [change["memory_id"] for change in whole["changes"]]
        assert [change["at"] for change in found] == sorted((change["at"] for change in found), reverse=True)

    def test_a_cursor_is_its_readers_and_its_questions(self, reader, outsider):
        for _ in range(3):
            make_memory()
        cursor = diff(reader, limit=1)["next_cursor"]

        problem(outsider.get("/api/diff", since=EVER, limit=1, cursor=cursor), 400, "bad_cursor")
        problem(reader.get("/api/diff", since="2001-01-01", limit=1, cursor=cursor), 400, "bad_cursor")
        problem(reader.get("/api/diff", since=EVER, axis="event", limit=1, cursor=cursor), 400, "bad_cursor")

    def test_a_walk_goes_on_where_many_are_no_change(self, reader):
        memories = [make_memory() for _ in range(60)]
        make_memory(payload_id="a")
        since = now()
        make_memory(payload_id="a")
        for memory in memories:
            classify(memory, classification_tier="internal")
            classify(memory, classification_tier="public")

        assert kinds(reader, since=since, limit=1) == [["changed"]]


class TestFirewall:
    def test_neither_end_is_there_that_may_not_be_seen_then_or_now(self, outsider):
        closed = make_memory(payload_id="closed", subject="user:closed")
        make_memory(payload_id="hidden", subject="user:hidden", tier="restricted", source="hidden-source")
        opened = make_memory(payload_id="opened", subject="user:opened", tier="internal")
        since = now()
        classify(closed, classification_tier="restricted")
        classify(opened, classification_tier="public")
        make_memory(payload_id="hidden", subject="user:hidden", tier="restricted", content="By now.")

        found = diff(outsider, since=since)

        assert [(change["subject"], change["kinds"], change["before"]) for change in found["changes"]] == [
            ("user:opened", ["added"], None)
        ]
        assert found["counts"]["subjects"] == [{"value": "user:opened", "count": 1}]
        assert found["counts"]["total"] == 1
        assert b"closed" not in outsider.get("/api/diff", since=EVER).content
        assert b"hidden" not in outsider.get("/api/diff", since=EVER).content

    def test_a_hidden_value_is_no_rival_of_what_is_believed(self, outsider):
        make_memory(subject="user:ada", collection="city", content="Paris", timestamp=at("2026-03-01 12:00"))
        make_memory(
            subject="user:ada", collection="city", content="Rome", timestamp=at("2026-03-02 12:00"), tier="restricted"
        )

        (change,) = diff(outsider, axis="event")["changes"]

        assert (change["after"]["content"], change["kinds"]) == ("Paris", ["added"])
        assert diff(outsider, axis="event", since="2026-03-01T12:00:00Z")["changes"] == []

    def test_to_a_session_secrets_are_masked_on_both_ends_and_in_between(self, client):
        secret = "ghp_" + "a1B2c3D4e5" * 4
        client.force_login(make_user("ada", max_tier="restricted"), "django.contrib.auth.backends.ModelBackend")
        make_memory(payload_id="a", subject=secret, content=f"It is {secret}.")
        since = now()
        make_memory(payload_id="a", subject=secret, content=f"It was {secret}.")

        answer = client.get("/api/diff", {"since": since})

        assert answer.json()["changes"][0]["text_diff"]
        assert secret.encode() not in answer.content

    def test_it_stands_in_the_ledger_whom_it_told_of_what(self, reader):
        memory = make_memory()
        diff(reader)
        reads.flush()

        entry = AuditEntry.objects.filter(action="memory.read").latest("seq")
        assert (entry.route, entry.memory_ids) == ("api:diff", [memory.memory_id])


class TestEvents:
    def test_what_is_believed_of_a_key_is_compared(self, reader):
        for day, content in ((1, "Paris"), (3, "Rome"), (5, "Oslo"), (7, "Bonn")):
            make_memory(subject="user:ada", collection="city", content=content, timestamp=at(f"2026-03-0{day} 12:00"))
        make_memory(content="Said of nobody.", timestamp=at("2026-03-04 12:00"))

        found = diff(reader, axis="event", since="2026-03-02", until="2026-03-06")["changes"]

        assert [
            (change["kinds"], change["before"] and change["before"]["content"], change["after"]["content"])
            for change in found
        ] == [(["changed"], "Paris", "Oslo"), (["added"], None, "Said of nobody.")]

    def test_it_can_be_asked_as_it_was_known_then(self, reader):
        make_memory(subject="user:ada", content="Paris", timestamp=at("2026-03-01 12:00"))
        known_at = now()
        make_memory(subject="user:ada", content="Rome", timestamp=at("2026-03-02 12:00"))

        (change,) = diff(reader, axis="event", known_at=known_at)["changes"]

        assert change["after"]["content"] == "Paris"


# ---- Two diffs make one

TIERS = st.sampled_from(["public", "internal", "restricted"])
WRITES = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 3), st.integers(0, 2), st.sampled_from(["", "user:ada", "user:bob"])),
    st.tuples(st.just("classify"), st.integers(0, 3), TIERS, st.just("")),
    st.tuples(st.just("mark"), st.integers(0, 3), st.sampled_from(["quarantined", "active"]), st.just("")),
    st.tuples(st.just("expire"), st.integers(0, 3), st.integers(0, 2), st.just("")),
)


def carry_out(write: tuple[Any, ...]) -> None:
    deed, number, value, subject = write
    memory = Memory.objects.filter(payload_id=f"p{number}", superseded_at=None).first()
    if deed == "write":
        make_memory(payload_id=f"p{number}", content=f"Value {value}.", subject=subject, tier="restricted")
    elif deed == "expire":
        soon = clock.now() + timedelta(milliseconds=value * 5)
        make_memory(payload_id=f"p{number}", content="Short.", expires_at=soon, tier="restricted")
    elif memory:
        change = {"classification_tier": value} if deed == "classify" else {"status": value}
        classify(memory, **change)


def state(caller: Any, instant: str, axis: str) -> dict[Any, Any]:
    """What the diff from the beginning leads to, which is what there was: checked against the lists."""
    return applied({}, diff(caller, until=instant, axis=axis, limit=200)["changes"], axis)


def applied(state: dict[Any, Any], changes: list[Any], axis: str) -> dict[Any, Any]:
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
        name: value for name, value in record.items() if name not in ("version", "recorded_at", "defaulted")
    }


@settings(max_examples=10)
@given(
    writes=st.lists(st.lists(WRITES, max_size=4), min_size=3, max_size=3),
    max_tier=st.sampled_from(["public", "restricted"]),
)
def test_two_diffs_make_one(api, writes, max_tier):
    caller = api(make_key(clearance={"max_tier": max_tier}))
    instants = [now()]
    for stretch in writes:
        for write in stretch:
            carry_out(write)
        instants.append(now())
    _, a, b, c = instants
    for axis in ("known", "event"):
        at_a = state(caller, a, axis)
        by_steps = applied(
            applied(at_a, diff(caller, since=a, until=b, axis=axis, limit=200)["changes"], axis),
            diff(caller, since=b, until=c, axis=axis, limit=200)["changes"],
            axis,
        )
        at_once = applied(at_a, diff(caller, since=a, until=c, axis=axis, limit=200)["changes"], axis)
        as_listed = state(caller, c, axis)
        for reached in (by_steps, at_once):
            assert {key: without_version(end) for key, end in reached.items()} == {
                key: without_version(end) for key, end in as_listed.items()
            }, axis


@settings(max_examples=8)
@given(writes=st.lists(WRITES, max_size=8))
def test_the_diff_from_the_beginning_is_the_list_of_then(api, writes):
    caller = api(make_key(scopes="read inspect", clearance={"max_tier": "restricted"}))
    for write in writes:
        carry_out(write)
    instant = now()
    listed = {
        record["memory_id"]: record["version"]
        for status in ("active", "quarantined")
        for record in caller.get("/api/memories", known_at=instant, status=status, limit=200).json()["records"]
    }

    found = diff(caller, until=instant, limit=200)["changes"]

    assert {change["memory_id"]: change["after"]["version"] for change in found} == listed


@settings(max_examples=8)
@given(writes=st.lists(WRITES, max_size=8), max_tier=TIERS)
def test_what_is_believed_after_is_the_state_of_then(api, writes, max_tier):
    caller = api(make_key(clearance={"max_tier": max_tier}))
    for write in writes:
        carry_out(write)
    until = now()
    asked = {"as_of": until, "known_at": until, "view": "state", "limit": 200}
    believed = {record["memory_id"] for record in caller.get("/api/timetravel", **asked).json()["records"]}

    found = diff(caller, until=until, known_at=until, axis="event", limit=200)["changes"]

    assert {change["memory_id"] for change in found if change["subject"]} == believed
