"""What stands at an instant: of event time, of record time, of both, for those who may see it then and now.

threats.md: FW-13, FW-14, TM-01, TM-02, TM-03, TM-05, TM-07.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memoryhub.memories.models import Memory
from tests.api.answers import problem
from tests.builders import at, make_key, make_memory
from tests.memories.rows import execute

pytestmark = pytest.mark.django_db

LIST, TRAVEL = "/api/memories", "/api/timetravel"
STATE = f"{TRAVEL}?view=state"
LISTS = (LIST, TRAVEL, STATE)
AXES = ("as_of", "known_at")
TICK = timedelta(microseconds=1)
ABOUT: dict[str, Any] = {"subject": "user:ada", "collection": "city"}
LOW = {
    "max_tier": "internal",
    "blocked_labels": ["pii"],
    "every_namespace": False,
    "namespaces": ["", "team"],
}
# Each puts a memory by itself out of the low reader's sight.
HIDDEN: dict[str, dict[str, Any]] = {
    "tier": {"tier": "restricted"},
    "label": {"labels": ["PII"]},
    "namespace": {"namespace": "board"},
}


@pytest.fixture
def low(api: Callable[..., Any]) -> Any:
    return api(make_key(clearance=LOW))


@pytest.fixture
def high(api: Callable[..., Any]) -> Any:
    return api(make_key(clearance={"max_tier": "restricted"}))


def ask(caller: Any, path: str, **instants: datetime | str) -> Any:
    path, _, query = path.partition("?")
    told = {name: value if isinstance(value, str) else value.isoformat() for name, value in instants.items()}
    return caller.get(path, **dict(pair.split("=") for pair in query.split("&") if pair), **told)


def contents(caller: Any, path: str, **instants: datetime | str) -> list[str]:
    answer = ask(caller, path, **instants)
    assert answer.status_code == 200, answer.content
    return [record["content"] for record in answer.json()["records"]]


def counted(caller: Any, **instants: datetime | str) -> set[int]:
    """How many memories the facets and the histogram count."""
    buckets = ask(caller, "/api/histogram", **instants).json()["buckets"]
    return {ask(caller, "/api/facets", **instants).json()["total"], sum(bucket["count"] for bucket in buckets)}


def versions(caller: Any, memory: Memory, **instants: datetime | str) -> list[tuple[int, bool]]:
    """Number, and whether it has ended, of each version that the caller is told of; the newest first."""
    answer = ask(caller, f"{LIST}/{memory.memory_id}/versions", **instants)
    assert answer.status_code in (200, 404)
    told = answer.json()["versions"] if answer.status_code == 200 else []
    return [(version["version"], version["superseded_at"] is not None) for version in told]


def detail(caller: Any, memory: Memory, **instants: datetime | str) -> str | None:
    """The content of one memory; None where there is none."""
    answer = ask(caller, f"{LIST}/{memory.memory_id}", **instants)
    assert answer.status_code in (200, 404)
    return str(answer.json()["content"]) if answer.status_code == 200 else None


class TestTheFirewall:
    @pytest.mark.parametrize("closing", HIDDEN.values(), ids=HIDDEN)
    def test_what_was_open_and_is_closed_now_is_not_seen_as_it_was_before(self, low, high, closing):
        """FW-13"""
        then = make_memory(payload_id="p", content="Open then.", timestamp=at("2026-03-01 12:00"), **ABOUT)
        now = make_memory(payload_id="p", content="Closed now.", timestamp=at("2026-03-01 12:00"), **ABOUT, **closing)

        for known_at in (then.recorded_at, now.recorded_at - TICK):
            assert {*map(str, contents(high, LIST, known_at=known_at))} == {"Open then."}
            assert [contents(low, path, known_at=known_at) for path in LISTS] == [[], [], []]
            assert counted(low, known_at=known_at) == {0}
            assert detail(low, then, known_at=known_at) is None
            assert versions(low, then, known_at=known_at) == []
        assert [contents(low, path, as_of=at("2026-03-02 00:00")) for path in LISTS] == [[], [], []]

    @pytest.mark.parametrize("closed", HIDDEN.values(), ids=HIDDEN)
    def test_what_was_closed_and_is_open_now_is_seen_from_its_opening_on(self, low, high, closed):
        """FW-14: not before, though its content may have been the same."""
        then = make_memory(payload_id="p", content="Closed then.", timestamp=at("2026-03-01 12:00"), **ABOUT, **closed)
        now = make_memory(
            payload_id="p", content="Open now.", timestamp=at("2026-03-01 12:00"), labels=[], tier="public", **ABOUT
        )

        for known_at in (then.recorded_at, now.recorded_at - TICK):
            assert contents(high, LIST, known_at=known_at) == ["Closed then."]
            assert [contents(low, path, known_at=known_at) for path in LISTS] == [[], [], []]
            assert counted(low, known_at=known_at) == {0}
            assert (detail(low, then, known_at=known_at), versions(low, then, known_at=known_at)) == (None, [])
        for path in LISTS:
            assert contents(low, path, known_at=now.recorded_at) == ["Open now."]
            assert contents(low, path, as_of=at("2026-03-01 12:00")) == ["Open now."]
        assert versions(low, now, known_at=now.recorded_at) == versions(low, now) == [(2, False)]

    def test_what_was_closed_for_a_while_is_seen_before_and_after(self, low):
        first = make_memory(payload_id="p", content="Open.")
        closed = make_memory(payload_id="p", content="Closed.", tier="restricted")
        last = make_memory(payload_id="p", content="Open again.")

        told = [contents(low, LIST, known_at=memory.recorded_at) for memory in (first, closed, last)]

        assert told == [["Open."], [], ["Open again."]]
        assert versions(low, last, known_at=last.recorded_at) == [(3, False), (1, True)]

    @pytest.mark.parametrize("hiding", HIDDEN.values(), ids=HIDDEN)
    def test_a_hidden_value_is_no_rival_of_what_a_reader_believes(self, low, high, hiding):
        make_memory(content="Paris", timestamp=at("2026-03-01 12:00"), **ABOUT)
        make_memory(content="London", timestamp=at("2026-03-02 12:00"), **ABOUT, **hiding)

        assert contents(low, STATE, as_of=at("2026-03-03 00:00")) == ["Paris"]
        assert contents(high, STATE, as_of=at("2026-03-03 00:00")) == ["London"]

    def test_a_cursor_does_not_outlive_what_it_was_made_for(self, low, high):
        for number in range(3):
            make_memory(timestamp=at(f"2026-03-01 1{number}:00"), **ABOUT)
        cursor = ask(low, TRAVEL, as_of="2026-03-02", limit="1").json()["next_cursor"]
        micros, _, signed = cursor.partition("~")

        assert len(contents(low, TRAVEL, as_of="2026-03-02", limit="1", cursor=cursor)) == 1
        for asking, told in (
            (high, {"as_of": "2026-03-02", "cursor": cursor}),
            (low, {"as_of": "2026-03-01T23:00:00Z", "cursor": cursor}),
            (low, {"as_of": "2026-03-02", "cursor": cursor, "view": "state"}),
            (low, {"as_of": "2026-03-02", "cursor": f"{int(micros) - 1}~{signed}"}),
            (low, {"as_of": "2026-03-02", "cursor": f"{'9' * 17}~{signed}"}),
            (low, {"as_of": "2026-03-02", "cursor": f"{'9' * 18}~{signed}"}),
            (low, {"as_of": "2026-03-02", "cursor": f"\u0663~{signed}"}),
            (low, {"as_of": "2026-03-02", "cursor": f"-1~{signed}"}),
            (low, {"as_of": "2026-03-02", "cursor": f"~{signed}"}),
            (low, {"as_of": "2026-03-02", "cursor": signed}),
            (low, {"as_of": "2026-03-02", "cursor": f"{micros}~"}),
        ):
            answer = asking.get(TRAVEL, limit="1", **told)
            assert list(problem(answer, 400, "bad_cursor")["errors"]) == ["cursor"], told


class TestRecordTime:
    def test_an_answer_begins_at_its_microsecond_and_ends_before_the_next(self, high):
        """TM-07"""
        first = make_memory(payload_id="p", content="first", **ABOUT)
        then = make_memory(payload_id="p", content="then", **ABOUT)

        for path in LISTS:
            assert contents(high, path, known_at=first.recorded_at - TICK) == []
            assert contents(high, path, known_at=first.recorded_at) == ["first"]
            assert contents(high, path, known_at=then.recorded_at - TICK) == ["first"]
            assert contents(high, path, known_at=then.recorded_at) == ["then"]
        assert detail(high, first, known_at=first.recorded_at - TICK) is None
        assert detail(high, first, known_at=then.recorded_at - TICK) == "first"
        assert [counted(high, known_at=memory.recorded_at) for memory in (first, then)] == [{1}, {1}]
        assert counted(high, known_at=first.recorded_at - TICK) == {0}

    def test_nobody_knew_yet_when_a_version_would_end(self, high):
        first = make_memory(payload_id="p", content="first")
        then = make_memory(payload_id="p", content="then")

        assert versions(high, first, known_at=first.recorded_at) == [(1, False)]
        assert versions(high, first, known_at=then.recorded_at) == [(2, False), (1, True)]
        told = ask(high, f"{LIST}/{first.memory_id}", known_at=first.recorded_at).json()
        assert told["superseded_at"] is None

    def test_what_expires_at_an_instant_is_not_there_at_it_any_more(self, high):
        memory = make_memory(payload_id="p", content="mortal")
        end = memory.recorded_at + timedelta(microseconds=40)
        mortal = make_memory(payload_id="p", content="mortal", expires_at=end)
        if mortal.recorded_at >= end:
            end = mortal.recorded_at + timedelta(seconds=1)
            mortal = make_memory(payload_id="p", content="mortal", expires_at=end)
        immortal = make_memory(payload_id="q", content="immortal")
        _tick_past(end)

        assert contents(high, LIST, known_at=end - TICK)[-1] == "mortal"
        assert "mortal" not in contents(high, LIST, known_at=end)
        assert detail(high, mortal, known_at=end) == "mortal"
        statuses = [ask(high, f"{LIST}/{mortal.memory_id}", known_at=at_).json()["status"] for at_ in (end - TICK, end)]
        assert statuses == ["active", "expired"]
        assert detail(high, immortal, known_at=end) == ("immortal" if immortal.recorded_at <= end else None)

    def test_an_event_that_was_foretold_is_known_before_it_happens(self, high):
        """TM-05: record time and event time are two things."""
        hour, day = timedelta(hours=1), timedelta(days=1)
        near = make_memory(content="near", timestamp=at("2026-03-01 12:00"))
        instant = near.recorded_at
        for content, ahead in (("tomorrow", day), ("just after", day + hour), ("soon", hour), ("in years", 900 * day)):
            make_memory(content=content, timestamp=instant + ahead, subject=content)
        last = make_memory(content="long ago", timestamp=at("1066-10-14 09:00"), subject="long ago")

        told = ["in years", "just after", "tomorrow", "soon", "near", "long ago"]
        assert contents(high, LIST, known_at=last.recorded_at) == told
        assert contents(high, TRAVEL, known_at=last.recorded_at) == told
        assert contents(high, STATE, known_at=last.recorded_at) == [name for name in told if name != "near"]
        assert contents(high, LIST, as_of=datetime.now(UTC)) == ["near", "long ago"]
        assert contents(high, LIST) == told

    def test_what_was_erased_is_gone_at_every_instant_and_is_counted(self, high, low):
        first = make_memory(payload_id="p", content="first", timestamp=at("2026-03-01 12:00"), **ABOUT)
        then = make_memory(payload_id="p", content="then", timestamp=at("2026-03-01 12:00"), **ABOUT)
        kept = make_memory(content="kept", timestamp=at("2026-03-01 11:00"), **ABOUT)
        hidden = make_memory(content="hidden", timestamp=at("2026-03-01 12:00"), tier="restricted", **ABOUT)
        for memory in (first, hidden):
            erase(memory)

        for path in (TRAVEL, STATE):
            for instants in ({"as_of": at("2026-03-02 00:00")}, {"known_at": hidden.recorded_at}):
                assert contents(high, path, **instants) == ["kept"]
                assert ask(high, path, **instants).json()["erased"] == 2
                assert ask(low, path, **instants).json()["erased"] == 1
            for memory in (first, then):
                told = ask(high, path, known_at=memory.recorded_at).json()
                assert (told["records"], told["erased"]) == ([], 1)
        assert ask(high, TRAVEL, known_at=first.recorded_at - TICK).json()["erased"] == 0
        assert ask(high, TRAVEL, as_of=at("2026-03-01 11:59")).json()["erased"] == 0
        assert ask(high, TRAVEL, known_at=kept.recorded_at, subject="user:bob").json()["erased"] == 0
        assert detail(high, first, known_at=first.recorded_at) == ""

    def test_pages_stay_at_the_instant_of_the_first(self, high):
        for number in range(6):
            make_memory(payload_id=f"p-{number}", content=f"{number}", timestamp=at(f"2026-03-01 1{number}:00"))
        page = ask(high, TRAVEL, as_of="2026-03-02", known_at="", limit="2").json()
        make_memory(payload_id="p-0", content="changed", timestamp=at("2026-03-01 15:30"))
        make_memory(payload_id="p-2", content="changed", timestamp=at("2026-03-01 12:00"))
        make_memory(payload_id="new", content="new", timestamp=at("2026-03-01 11:30"))

        told, known_at = page["records"], page["known_at"]
        while page["next_cursor"]:
            page = ask(high, TRAVEL, as_of="2026-03-02", known_at="", limit="2", cursor=page["next_cursor"]).json()
            told += page["records"]
            assert page["known_at"] == known_at

        assert [record["content"] for record in told] == ["5", "4", "3", "2", "1", "0"]


class TestEventTime:
    def test_an_event_has_happened_at_its_own_microsecond(self, high):
        """TM-07"""
        instant = at("2026-03-01 12:00").replace(microsecond=1)
        memory = make_memory(content="event", timestamp=instant, **ABOUT)

        for path in LISTS:
            assert contents(high, path, as_of=instant - TICK) == []
            assert contents(high, path, as_of=instant) == ["event"]
        assert [counted(high, as_of=instant - TICK), counted(high, as_of=instant)] == [{0}, {1}]
        assert [detail(high, memory, as_of=when) for when in (instant - TICK, instant)] == [None, "event"]
        assert versions(high, memory, as_of=instant - TICK) == []

    def test_of_the_values_of_a_key_the_latest_by_event_time_is_believed(self, high):
        make_memory(content="Paris", timestamp=at("2026-03-02 12:00"), **ABOUT)
        make_memory(content="London, heard late", timestamp=at("2026-03-01 12:00"), **ABOUT)
        tied = make_memory(content="Rome", timestamp=at("2026-03-03 12:00"), **ABOUT)
        make_memory(content="Rome, heard later", timestamp=at("2026-03-03 12:00"), **ABOUT)
        make_memory(content="quarantined", timestamp=at("2026-03-04 12:00"), subject="", collection="city")
        make_memory(content="elsewhere", timestamp=at("2026-03-01 12:00"), subject="user:ada", collection="job")

        told = [contents(high, STATE, as_of=f"2026-03-0{day}", collection="city") for day in (1, 2, 3, 4)]

        assert told == [[], ["London, heard late"], ["Paris"], ["Rome, heard later"]]
        assert contents(high, STATE, as_of="2026-03-04", known_at=tied.recorded_at) == ["Rome"]
        assert contents(high, STATE, as_of="2026-03-05") == ["Rome, heard later", "elsewhere"]

    def test_both_instants_hold_at_once(self, high):
        early = make_memory(payload_id="p", content="early", timestamp=at("2026-03-01 12:00"), **ABOUT)
        late = make_memory(payload_id="p", content="late", timestamp=at("2026-03-03 12:00"), **ABOUT)

        for path in LISTS:
            assert contents(high, path, as_of="2026-03-02", known_at=early.recorded_at) == ["early"]
            assert contents(high, path, as_of="2026-03-02", known_at=late.recorded_at) == []
            assert contents(high, path, as_of="2026-03-04", known_at=late.recorded_at) == ["late"]


class TestInstants:
    @pytest.mark.parametrize("axis", AXES)
    @pytest.mark.parametrize(
        "text",
        [
            "2026-03-01T12:00:00", "2026-03-01 12:00:00", "2026-03-01T12:00", "yesterday", "now", "1772366400",
            "infinity", "-infinity", "Infinity", "NaN", "epoch", "2026-W10-1", "20260301T120000Z", "2026-060",
            "2026-06-30T23:59:60Z", "2016-12-31T23:59:60Z", "2026-03-01T24:00:00Z", "2026-02-29T00:00:00Z",
            "2026-03-01T12:00:00.1234567Z", "2026-03-01T12:00:00.Z", "2026-03-01T12:00:00,5Z",
            "2026-03-01T12:00:00+24:00", "2026-03-01T12:00:00+1", "2026-03-01T12:00:00 01:00",
            "2026-03-01T12:00:00[Europe/Berlin]", "2026-03-01T12:00:00 Europe/Berlin",
            "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "10000-01-01T00:00:00Z", "+10000-01-01",
            "0000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "2026-03-01T12:00:00Z; DROP TABLE memories", "\u0662",
        ],
    )  # fmt: skip
    def test_that_name_no_instant_are_refused(self, high, axis, text):
        """TM-01, TM-02, TM-03"""
        for path in (*LISTS, "/api/facets", "/api/histogram"):
            assert list(problem(ask(high, path, **{axis: text}), 400, "invalid_timestamp")["errors"]) == [axis]

    @pytest.mark.parametrize("axis", AXES)
    @pytest.mark.parametrize(
        "text",
        [
            "2026-03-01T12:00:00.000001Z", "2026-03-01T12:00:00.000001z", "2026-03-01t12:00:00.000001Z",
            "2026-03-01T12:00:00.000001+00:00", "2026-03-01T12:00:00.000001-00:00",
            "2026-03-02T02:00:00.000001+14:00", "2026-03-01T00:00:00.000001-12:00",
            "2026-03-01T17:45:00.000001+05:45", "2026-03-01T12:00:00.0000010Z", "2026-03-01T12:00:00.000001000Z",
        ],
    )  # fmt: skip
    def test_are_the_same_in_every_spelling(self, high, axis, text):
        """TM-02: to the microsecond, and back again."""
        instant = at("2026-03-01 12:00").replace(microsecond=1)
        make_memory(content="event", timestamp=instant)

        told = ask(high, TRAVEL, **{axis: text}).json()

        assert told[axis] == "2026-03-01T12:00:00.000001Z"
        assert [record["content"] for record in told["records"]] == (["event"] if axis == "as_of" else [])
        assert len(contents(high, LIST, **{axis: text})) == (axis == "as_of")

    @pytest.mark.parametrize("path", [*LISTS, "/api/facets", "/api/histogram"])
    def test_that_are_still_to_come_are_clipped_and_the_answer_says_so(self, high, path):
        """TM-07"""
        memory = make_memory(content="now", **ABOUT)
        make_memory(content="to come", timestamp=at("2999-01-01 00:00"), subject="other")

        for axes in (["as_of"], ["known_at"], ["as_of", "known_at"]):
            answer = ask(high, path, **dict.fromkeys(axes, "9999-12-31T23:59:59.999999Z"))
            assert answer["Memoryhub-Clipped"] == ", ".join(axes)
            if path.startswith(TRAVEL):
                told = answer.json()
                for axis in axes:
                    assert memory.recorded_at <= datetime.fromisoformat(told[axis]) <= datetime.now(UTC)
                wanted = ["now"] if "as_of" in axes else ["to come", "now"]
                assert [record["content"] for record in told["records"]] == wanted
        assert "Memoryhub-Clipped" not in ask(high, path, as_of="2026-03-01")
        assert "Memoryhub-Clipped" not in ask(high, path, known_at=memory.recorded_at)

    @pytest.mark.parametrize("axis", AXES)
    def test_before_the_first_memory_find_nothing(self, high, axis):
        """TM-07"""
        make_memory(timestamp=at("0001-01-01 00:00").replace(microsecond=1), **ABOUT)

        for text in ("0001-01-01T00:00:00Z", "0001-01-01", "0001-01-01T14:00:00+14:00"):
            assert [contents(high, path, **{axis: text}) for path in LISTS] == [[], [], []]

    def test_are_needed_where_one_travels(self, high):
        for told in ({}, {"as_of": ""}, {"as_of": "", "known_at": ""}, {"view": "list"}):
            assert list(problem(high.get(TRAVEL, **told), 400, "missing_parameter")["errors"]) == ["as_of"]
        assert list(problem(high.get(TRAVEL, as_of="2026-03-01", view="diff"), 400, "invalid_parameter")["errors"]) == [
            "view"
        ]

    def test_what_is_believed_without_one_is_what_is_believed_now(self, high):
        make_memory(content="Paris", timestamp=at("2026-03-01 12:00"), **ABOUT)
        make_memory(content="London", timestamp=at("2026-03-02 12:00"), **ABOUT)

        assert contents(high, STATE) == ["London"]

    @pytest.mark.parametrize("axis", AXES)
    def test_are_given_once(self, high, axis):
        answer = high.client.get(f"{TRAVEL}?{axis}=2026-03-01&{axis}=2026-03-02")

        assert list(problem(answer, 400, "invalid_parameter")["errors"]) == [axis]


def erase(memory: Memory) -> None:
    execute(
        "UPDATE memories SET status = 'erased', content = '', embedding = NULL, metadata = '{}', propagation = NULL,"
        " fingerprint = '' WHERE memory_id = %s",
        memory.memory_id,
    )


def _tick_past(instant: datetime) -> None:
    execute("SELECT pg_sleep(extract(epoch FROM greatest(%s - clock_timestamp(), '0')))", instant)
