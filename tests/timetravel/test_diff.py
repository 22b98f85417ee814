"""What differs between two instants: its kinds, its firewall, its pages, and that two diffs make one."""

import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.access_log import read_log
from memoryhub.audit.models import AuditEntry
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import apply_decisions, classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.memories.writes.envelope import parse_body
from memoryhub.timetravel import diff_sql
from tests.api.responses import assert_problem
from tests.factories import make_key, make_memory, make_user, utc
from tests.harness.strategies import example_settings, roll_back
from tests.memories.raw_rows import execute

pytestmark = pytest.mark.django_db

EARLIEST = "2000-01-01T00:00:00Z"
STEWARD = Principal(name="user:steward", scopes=frozenset(Scope), clearance=unrestricted_clearance())
GetDiff = Callable[..., Any]
ID_A, ID_B = UUID(int=1), UUID(int=2)


@pytest.fixture
def reader(api: Any) -> Any:
    return api(make_key(scopes="read curate", clearance={"max_tier": "restricted"}))


@pytest.fixture
def outsider(api: Any) -> Any:
    return api(make_key())


def current_instant() -> str:
    """An instant after all that was written, and before all that will be."""
    return clock.stable_record_time().isoformat()


def get_diff(caller: Any, **params: Any) -> Any:
    response = caller.get("/api/diff", **{"since": EARLIEST, **params})
    assert response.status_code == 200, response.content
    return response.json()


def change_kinds(caller: Any, **params: Any) -> list[list[str]]:
    return [change["kinds"] for change in get_diff(caller, **params)["changes"]]


def classify_memory(memory: Memory, **change: Any) -> None:
    plan = classify.plan_for_memory(memory.memory_id, parse_body(change, ClassificationChange), principal=STEWARD)
    classify.apply_plan(plan, reason="Looked at.")


def set_status(memory: Memory, decision_id: UUID, status: str) -> None:
    """The next version, which stands so because of a decision."""
    clock.next_record_time()
    latest_version = Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)
    apply_decisions.set_status({latest_version.pk: decision_id}, status=status)


def erase_memory(memory: Memory) -> None:
    """The tombstone, as erasure leaves it: all versions blank, the latest one new."""
    execute("SELECT record_time_next()")
    make_memory(payload_id=memory.payload_id, content="Soon gone.")
    execute(
        "UPDATE memories SET status = 'erased', content = '', embedding = NULL, metadata = '{}', propagation = NULL,"
        " fingerprint = '' WHERE memory_id = %s",
        memory.memory_id,
    )


class TestKinds:
    def test_what_is_new_is_added(self, reader):
        since = current_instant()
        memory = make_memory(subject="user:ada", collection="city")

        (change,) = get_diff(reader, since=since)["changes"]

        assert (change["memory_id"], change["kinds"]) == (str(memory.memory_id), ["added"])
        assert (change["before"], change["text_diff"], change["fields"]) == (None, None, [])
        assert change["after"]["content"] == memory.content
        assert (change["subject"], change["collection"]) == ("user:ada", "city")
        assert datetime.fromisoformat(change["changed_at"]) == memory.recorded_at

    def test_a_memory_with_other_content_is_changed_and_diffed_word_by_word(self, reader):
        make_memory(payload_id="a", content="Ada lives in Paris.", timestamp=utc("2026-03-01 12:00"))
        since = current_instant()
        make_memory(payload_id="a", content="Ada lives in Rome.", timestamp=utc("2026-03-01 12:00"))

        (change,) = get_diff(reader, since=since)["changes"]

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
        since = current_instant()
        make_memory(payload_id="a", content="Two.", metadata={"n": 1.0})

        (change,) = get_diff(reader, since=since)["changes"]

        assert "metadata" in change["fields"]

    @pytest.mark.parametrize(
        ("first", "later_change", "expected"),
        [
            ({}, {"classification_tier": "internal"}, ["reclassified"]),
            ({}, {"add_labels": ["pii"]}, ["reclassified"]),
            ({}, {"status": "quarantined"}, ["quarantined"]),
            ({"status": "quarantined"}, {"status": "active"}, ["restored"]),
            ({}, {"status": "quarantined", "add_labels": ["pii"]}, ["reclassified", "quarantined"]),
        ],
        ids=str,
    )
    def test_a_classification_change_is_shown_as_such(self, reader, first, later_change, expected):
        memory = make_memory()
        if first:
            classify_memory(memory, **first)
        since = current_instant()
        classify_memory(memory, **later_change)

        assert change_kinds(reader, since=since) == [expected]

    @pytest.mark.parametrize(
        ("first", "later_status", "expected"),
        [
            ((), (ID_A, "retired"), ["resolved", "retired"]),
            ((), (ID_A, "active"), ["resolved"]),
            ((ID_A, "retired"), (ID_B, "active"), ["resolved", "restored"]),
            ((ID_A, "retired"), (ID_B, "retired"), ["resolved"]),
            ((ID_A, "retired"), (ID_A, "active"), ["restored"]),
        ],
    )
    def test_what_a_decision_makes_of_a_memory_is_resolved(self, reader, first, later_status, expected):
        memory = make_memory()
        if first:
            set_status(memory, *first)
        since = current_instant()
        set_status(memory, *later_status)

        assert change_kinds(reader, since=since) == [expected]
        assert change_kinds(reader, since=since, change="resolved") == ([expected] if "resolved" in expected else [])

    def test_what_comes_with_a_decision_is_added_and_resolved(self, reader):
        memory = make_memory()
        set_status(memory, ID_A, "retired")

        (change,) = get_diff(reader)["changes"]

        assert (change["kinds"], change["fields"]) == (["added", "resolved"], [])
        assert get_diff(reader)["counts"]["kinds"] == {"added": 1, "resolved": 1}

    def test_a_decision_in_force_is_not_listed_again_when_its_memory_is_classified(self, reader):
        memory = make_memory()
        set_status(memory, ID_A, "retired")
        since = current_instant()
        classify_memory(memory, classification_tier="internal")

        assert change_kinds(reader, since=since) == [["reclassified"]]

    def test_what_was_changed_back_is_no_change(self, reader):
        memory = make_memory()
        since = current_instant()
        classify_memory(memory, classification_tier="internal")
        classify_memory(memory, classification_tier="public")

        assert get_diff(reader, since=since)["changes"] == []

    def test_what_outlived_its_time_is_gone_when_it_did(self, reader):
        expires_at = clock.database_now() + timedelta(seconds=0.3)
        memory = make_memory(expires_at=expires_at)
        since = current_instant()
        execute("SELECT pg_sleep(0.4)")

        (change,) = get_diff(reader, since=since)["changes"]

        assert (change["kinds"], change["after"], change["before"]["memory_id"]) == (
            ["removed"],
            None,
            str(memory.memory_id),
        )
        assert datetime.fromisoformat(change["changed_at"]) == expires_at

    def test_what_outlived_its_time_and_was_written_again_later_is_gone_in_between(self, reader):
        expires_at = clock.database_now() + timedelta(seconds=0.3)
        make_memory(payload_id="a", content="Short.", expires_at=expires_at)
        since = current_instant()
        execute("SELECT pg_sleep(0.4)")
        until = current_instant()
        make_memory(payload_id="a", content="Again.")

        assert change_kinds(reader, since=since, until=until) == [["removed"]]
        assert change_kinds(reader, since=until) == [["added"]]
        assert change_kinds(reader, since=since) == [["changed"]]

    def test_what_was_erased_says_nothing_of_what_it_said(self, reader):
        memory = make_memory(payload_id="a", content="A secret of Ada's.")
        since = current_instant()
        erase_memory(memory)

        (change,) = get_diff(reader, since=since)["changes"]

        assert "erased" in change["kinds"]
        assert (change["before"]["content"], change["after"]["content"], change["text_diff"]) == ("", "", None)


class TestInstants:
    def test_a_change_at_the_later_instant_is_one_and_at_the_earlier_is_none(self, reader):
        memory = make_memory()
        instant, before = memory.recorded_at, memory.recorded_at - timedelta(microseconds=1)

        assert change_kinds(reader, until=instant.isoformat()) == [["added"]]
        assert change_kinds(reader, until=before.isoformat()) == []
        assert change_kinds(reader, since=instant.isoformat()) == []
        assert change_kinds(reader, since=before.isoformat(), until=instant.isoformat()) == [["added"]]

    def test_every_kind_can_be_asked_for_on_each_axis(self, reader):
        make_memory(payload_id="p", subject="user:ada", timestamp=utc("2026-03-01 12:00"))

        for axis, kind in itertools.product(("record", "event"), diff_sql.CHANGE_KINDS):
            diff_response = get_diff(reader, axis=axis, change=kind)

            kinds = [change["kinds"][0] for change in diff_response["changes"]]
            assert kinds == (["added"] if kind == "added" else []), (axis, kind)
            assert diff_response["counts"]["total"] == len(kinds), (axis, kind)

    @pytest.mark.parametrize("axis", ["record", "event"])
    def test_nothing_differs_from_itself(self, reader, axis):
        memory = make_memory(subject="user:ada")
        for instant in (memory.recorded_at.isoformat(), memory.timestamp.isoformat(), current_instant()):
            diff_response = get_diff(reader, since=instant, until=instant, axis=axis)
            assert (diff_response["changes"], diff_response["counts"]["total"]) == ([], 0)

    def test_the_future_is_clipped_to_now(self, reader):
        response = reader.get("/api/diff", since=EARLIEST, until="2999-01-01")

        assert response["Memoryhub-Clipped"] == "until"
        assert datetime.fromisoformat(response.json()["until"]) <= clock.database_now()
        assert reader.get("/api/diff", since="2999-01-01")["Memoryhub-Clipped"] == "since"

    def test_what_cannot_be_answered_is_said(self, reader):
        for params, code in (
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
            ({"since": "2026-01-01", "cursor": "forged"}, "invalid_cursor"),
            ({"since": "2026-01-01", "tier": "secret"}, "invalid_parameter"),
        ):
            response = reader.get("/api/diff", **params)
            assert (response.status_code, response.json().get("code")) == (400, code), params
            assert_problem(response, 400, code)


class TestFilters:
    def test_a_filter_finds_a_change_by_either_end(self, reader):
        make_memory(payload_id="a", subject="user:ada", content="Paris it is.")
        make_memory(subject="user:bob", content="Elsewhere.")
        since = current_instant()
        make_memory(payload_id="a", subject="user:eve", content="Rome it is.")

        for params in ({"subject": "user:ada"}, {"subject": "user:eve"}, {"q": "paris"}, {"q": "rome"}):
            assert change_kinds(reader, since=since, **params) == [["changed"]], params
        for params in ({"subject": "user:bob"}, {"q": "elsewhere"}, {"subject": "user:nobody"}, {"label": "pii"}):
            assert change_kinds(reader, since=since, **params) == [], params

    def test_a_status_is_asked_of_both_ends_and_no_status_is_the_default(self, reader):
        memory = make_memory()
        since = current_instant()
        classify_memory(memory, status="quarantined")

        assert change_kinds(reader, since=since) == [["quarantined"]]
        assert change_kinds(reader, since=since, status="active") == [["quarantined"]]
        assert change_kinds(reader, since=since, status="quarantined") == [["quarantined"]]
        assert change_kinds(reader, since=since, status="retired") == []

    def test_counts_list_the_kinds_subjects_and_sources_of_the_query(self, reader):
        make_memory(payload_id="a", subject="user:ada")
        since = current_instant()
        make_memory(payload_id="a", subject="user:ada")
        make_memory(subject="user:ada", source="crm")
        make_memory(subject="user:bob")

        counts = get_diff(reader, since=since)["counts"]

        assert (counts["total"], counts["is_capped"]) == (3, False)
        assert counts["kinds"] == {"added": 2, "changed": 1}
        assert counts["subjects"] == [{"value": "user:ada", "count": 2}, {"value": "user:bob", "count": 1}]
        assert sum(source["count"] for source in counts["sources"]) == 3
        assert get_diff(reader, since=since, change="changed")["counts"]["kinds"] == {"changed": 1}
        assert change_kinds(reader, since=since, change="removed") == []


def walk_pages_between_writes(reader: Any, **params: Any) -> list[Any]:
    changes: list[Any] = []
    for _ in range(10):
        page = get_diff(reader, **params)
        changes += page["changes"]
        make_memory(subject="s1", collection="c")
        make_memory(payload_id="p3", subject="s3", collection="c")
        if not page["has_more"]:
            break
        params["cursor"] = page["next_cursor"]
    return changes


class TestPages:
    @pytest.mark.parametrize("axis", ["record", "event"])
    def test_pages_are_one_list_though_others_write_in_between(self, reader, axis):
        for index in range(7):
            make_memory(payload_id=f"p{index}", subject=f"s{index % 5}" if index % 2 else "", collection="c")
        whole_diff = get_diff(reader, axis=axis, limit=50)
        for limit in (1, 3, 7):
            with roll_back():
                changes = walk_pages_between_writes(reader, axis=axis, limit=limit)

            assert [change["memory_id"] for change in changes] == [
                change["memory_id"] for change in whole_diff["changes"]
            ], limit
            assert [change["changed_at"] for change in changes] == sorted(
                (change["changed_at"] for change in changes), reverse=True
            ), limit

    def test_a_cursor_is_its_readers_and_its_questions(self, reader, outsider):
        for _ in range(3):
            make_memory()
        cursor = get_diff(reader, limit=1)["next_cursor"]

        assert_problem(outsider.get("/api/diff", since=EARLIEST, limit=1, cursor=cursor), 400, "invalid_cursor")
        assert_problem(reader.get("/api/diff", since="2001-01-01", limit=1, cursor=cursor), 400, "invalid_cursor")
        assert_problem(
            reader.get("/api/diff", since=EARLIEST, axis="event", limit=1, cursor=cursor), 400, "invalid_cursor"
        )

    def test_a_walk_goes_on_where_many_are_no_change(self, reader):
        memories = [make_memory() for _ in range(60)]
        make_memory(payload_id="a")
        since = current_instant()
        make_memory(payload_id="a")
        for memory in memories:
            classify_memory(memory, classification_tier="internal")
            classify_memory(memory, classification_tier="public")

        assert change_kinds(reader, since=since, limit=1) == [["changed"]]


class TestFirewall:
    def test_neither_end_is_there_that_may_not_be_seen_then_or_now(self, outsider):
        closed_memory = make_memory(payload_id="closed", subject="user:closed")
        make_memory(payload_id="hidden", subject="user:hidden", tier="restricted", source="hidden-source")
        opened_memory = make_memory(payload_id="opened", subject="user:opened", tier="internal")
        since = current_instant()
        classify_memory(closed_memory, classification_tier="restricted")
        classify_memory(opened_memory, classification_tier="public")
        make_memory(payload_id="hidden", subject="user:hidden", tier="restricted", content="By now.")

        diff_response = get_diff(outsider, since=since)

        assert [(change["subject"], change["kinds"], change["before"]) for change in diff_response["changes"]] == [
            ("user:opened", ["added"], None)
        ]
        assert diff_response["counts"]["subjects"] == [{"value": "user:opened", "count": 1}]
        assert diff_response["counts"]["total"] == 1
        assert b"closed" not in outsider.get("/api/diff", since=EARLIEST).content
        assert b"hidden" not in outsider.get("/api/diff", since=EARLIEST).content

    def test_a_hidden_value_is_no_rival_of_what_is_believed(self, outsider):
        make_memory(subject="user:ada", collection="city", content="Paris", timestamp=utc("2026-03-01 12:00"))
        make_memory(
            subject="user:ada", collection="city", content="Rome", timestamp=utc("2026-03-02 12:00"), tier="restricted"
        )

        (change,) = get_diff(outsider, axis="event")["changes"]

        assert (change["after"]["content"], change["kinds"]) == ("Paris", ["added"])
        assert get_diff(outsider, axis="event", since="2026-03-01T12:00:00Z")["changes"] == []

    def test_to_a_session_secrets_are_masked_on_both_ends_and_in_between(self, client):
        secret = "ghp_" + "a1B2c3D4e5" * 4
        client.force_login(make_user("ada", max_tier="restricted"), "django.contrib.auth.backends.ModelBackend")
        make_memory(payload_id="a", subject=secret, content=f"It is {secret}.")
        since = current_instant()
        make_memory(payload_id="a", subject=secret, content=f"It was {secret}.")

        response = client.get("/api/diff", {"since": since})

        assert response.json()["changes"][0]["text_diff"]
        assert secret.encode() not in response.content

    def test_the_audit_log_records_who_read_which_changes(self, reader):
        memory = make_memory()
        get_diff(reader)
        read_log.flush_reads()

        entry = AuditEntry.objects.filter(action="memory.read").latest("seq")
        assert (entry.route, entry.memory_ids) == ("api:diff", [memory.memory_id])


class TestEvents:
    def test_what_is_believed_of_a_key_is_compared(self, reader):
        for day, content in ((1, "Paris"), (3, "Rome"), (5, "Oslo"), (7, "Bonn")):
            make_memory(subject="user:ada", collection="city", content=content, timestamp=utc(f"2026-03-0{day} 12:00"))
        make_memory(content="Said of nobody.", timestamp=utc("2026-03-04 12:00"))

        changes = get_diff(reader, axis="event", since="2026-03-02", until="2026-03-06")["changes"]

        assert [
            (change["kinds"], change["before"] and change["before"]["content"], change["after"]["content"])
            for change in changes
        ] == [(["changed"], "Paris", "Oslo"), (["added"], None, "Said of nobody.")]

    def test_it_can_be_asked_as_it_was_known_then(self, reader):
        make_memory(subject="user:ada", content="Paris", timestamp=utc("2026-03-01 12:00"))
        known_at = current_instant()
        make_memory(subject="user:ada", content="Rome", timestamp=utc("2026-03-02 12:00"))

        (change,) = get_diff(reader, axis="event", known_at=known_at)["changes"]

        assert change["after"]["content"] == "Paris"


# ---- Two diffs make one

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
