"""The versions at an instant of event time, of record time, or of both, for readers who see both classifications.

Threats FW-13, FW-14, TM-01, TM-02, TM-03, TM-05, TM-07.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memoryhub.memories.models import Memory
from tests.api.responses import assert_problem
from tests.factories import make_key, make_memory, utc
from tests.memories.raw_rows import execute

pytestmark = pytest.mark.django_db

LIST, TRAVEL = "/api/memories", "/api/timetravel"
STATE = f"{TRAVEL}?view=state"
LIST_PATHS = (LIST, TRAVEL, STATE)
AXES = ("as_of", "known_at")
TICK = timedelta(microseconds=1)
ADA_CITY: dict[str, Any] = {"subject": "user:ada", "collection": "city"}
LOW = {
    "max_tier": "internal",
    "blocked_labels": ["pii"],
    "all_namespaces": False,
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


def get_at(caller: Any, path: str, **instants: datetime | str) -> Any:
    path, _, query = path.partition("?")
    instant_params = {name: value if isinstance(value, str) else value.isoformat() for name, value in instants.items()}
    return caller.get(path, **dict(pair.split("=") for pair in query.split("&") if pair), **instant_params)


def contents_at(caller: Any, path: str, **instants: datetime | str) -> list[str]:
    response = get_at(caller, path, **instants)
    assert response.status_code == 200, response.content
    return [record["content"] for record in response.json()["records"]]


def counts_at(caller: Any, **instants: datetime | str) -> set[int]:
    """How many memories the facets and the histogram count."""
    buckets = get_at(caller, "/api/histogram", **instants).json()["buckets"]
    return {get_at(caller, "/api/facets", **instants).json()["total"], sum(bucket["count"] for bucket in buckets)}


def versions_at(caller: Any, memory: Memory, **instants: datetime | str) -> list[tuple[int, bool]]:
    """Number, and whether it has ended, of each version that the caller gets; the newest first."""
    response = get_at(caller, f"{LIST}/{memory.memory_id}/versions", **instants)
    assert response.status_code in (200, 404)
    version_list = response.json()["versions"] if response.status_code == 200 else []
    return [(version["version"], version["superseded_at"] is not None) for version in version_list]


def content_at(caller: Any, memory: Memory, **instants: datetime | str) -> str | None:
    """The content of one memory; None where there is none."""
    response = get_at(caller, f"{LIST}/{memory.memory_id}", **instants)
    assert response.status_code in (200, 404)
    return str(response.json()["content"]) if response.status_code == 200 else None


class TestTheFirewall:
    @pytest.mark.parametrize("closing", HIDDEN.values(), ids=HIDDEN)
    def test_what_was_open_and_is_closed_now_is_not_seen_as_it_was_before(self, low, high, closing):
        """FW-13"""
        old_version = make_memory(payload_id="p", content="Open then.", timestamp=utc("2026-03-01 12:00"), **ADA_CITY)
        new_version = make_memory(
            payload_id="p", content="Closed now.", timestamp=utc("2026-03-01 12:00"), **ADA_CITY, **closing
        )

        for known_at in (old_version.recorded_at, new_version.recorded_at - TICK):
            assert {*map(str, contents_at(high, LIST, known_at=known_at))} == {"Open then."}
            assert [contents_at(low, path, known_at=known_at) for path in LIST_PATHS] == [[], [], []]
            assert counts_at(low, known_at=known_at) == {0}
            assert content_at(low, old_version, known_at=known_at) is None
            assert versions_at(low, old_version, known_at=known_at) == []
        assert [contents_at(low, path, as_of=utc("2026-03-02 00:00")) for path in LIST_PATHS] == [[], [], []]

    @pytest.mark.parametrize("closed_fields", HIDDEN.values(), ids=HIDDEN)
    def test_what_was_closed_and_is_open_now_is_seen_from_its_opening_on(self, low, high, closed_fields):
        """FW-14: not before, though its content may have been the same."""
        old_version = make_memory(
            payload_id="p", content="Closed then.", timestamp=utc("2026-03-01 12:00"), **ADA_CITY, **closed_fields
        )
        new_version = make_memory(
            payload_id="p", content="Open now.", timestamp=utc("2026-03-01 12:00"), labels=[], tier="public", **ADA_CITY
        )

        for known_at in (old_version.recorded_at, new_version.recorded_at - TICK):
            assert contents_at(high, LIST, known_at=known_at) == ["Closed then."]
            assert [contents_at(low, path, known_at=known_at) for path in LIST_PATHS] == [[], [], []]
            assert counts_at(low, known_at=known_at) == {0}
            assert (
                content_at(low, old_version, known_at=known_at),
                versions_at(low, old_version, known_at=known_at),
            ) == (None, [])
        for path in LIST_PATHS:
            assert contents_at(low, path, known_at=new_version.recorded_at) == ["Open now."]
            assert contents_at(low, path, as_of=utc("2026-03-01 12:00")) == ["Open now."]
        assert (
            versions_at(low, new_version, known_at=new_version.recorded_at)
            == versions_at(low, new_version)
            == [(2, False)]
        )

    def test_what_was_closed_for_a_while_is_seen_before_and_after(self, low):
        first = make_memory(payload_id="p", content="Open.")
        closed_version = make_memory(payload_id="p", content="Closed.", tier="restricted")
        last = make_memory(payload_id="p", content="Open again.")

        contents_by_instant = [
            contents_at(low, LIST, known_at=memory.recorded_at) for memory in (first, closed_version, last)
        ]

        assert contents_by_instant == [["Open."], [], ["Open again."]]
        assert versions_at(low, last, known_at=last.recorded_at) == [(3, False), (1, True)]

    @pytest.mark.parametrize("hiding_fields", HIDDEN.values(), ids=HIDDEN)
    def test_a_hidden_value_is_no_rival_of_what_a_reader_believes(self, low, high, hiding_fields):
        make_memory(content="Paris", timestamp=utc("2026-03-01 12:00"), **ADA_CITY)
        make_memory(content="London", timestamp=utc("2026-03-02 12:00"), **ADA_CITY, **hiding_fields)

        assert contents_at(low, STATE, as_of=utc("2026-03-03 00:00")) == ["Paris"]
        assert contents_at(high, STATE, as_of=utc("2026-03-03 00:00")) == ["London"]

    def test_a_cursor_does_not_outlive_what_it_was_made_for(self, low, high):
        for index in range(3):
            make_memory(timestamp=utc(f"2026-03-01 1{index}:00"), **ADA_CITY)
        cursor = get_at(low, TRAVEL, as_of="2026-03-02", limit="1").json()["next_cursor"]
        payload, _, signature = cursor.rpartition(".")
        make_memory(timestamp=utc("2026-03-01 13:00"), **ADA_CITY)
        later_cursor = get_at(low, TRAVEL, as_of="2026-03-02", limit="1").json()["next_cursor"]
        later_payload, _, later_signature = later_cursor.rpartition(".")

        assert len(contents_at(low, TRAVEL, as_of="2026-03-02", limit="1", cursor=cursor)) == 1
        for principal_client, is_present in (
            (high, {"as_of": "2026-03-02", "cursor": cursor}),
            (low, {"as_of": "2026-03-01T23:00:00Z", "cursor": cursor}),
            (low, {"as_of": "2026-03-02", "cursor": cursor, "view": "state"}),
            (low, {"as_of": "2026-03-02", "cursor": f"{later_payload}.{signature}"}),
            (low, {"as_of": "2026-03-02", "cursor": f"{payload}.{later_signature}"}),
            (low, {"as_of": "2026-03-02", "cursor": f".{signature}"}),
            (low, {"as_of": "2026-03-02", "cursor": signature}),
            (low, {"as_of": "2026-03-02", "cursor": f"{payload}."}),
            (low, {"as_of": "2026-03-02", "cursor": payload}),
        ):
            response = principal_client.get(TRAVEL, limit="1", **is_present)
            assert list(assert_problem(response, 400, "invalid_cursor")["errors"]) == ["cursor"], is_present


class TestRecordTime:
    def test_an_answer_begins_at_its_microsecond_and_ends_before_the_next(self, high):
        """TM-07"""
        first = make_memory(payload_id="p", content="first", **ADA_CITY)
        old_version = make_memory(payload_id="p", content="then", **ADA_CITY)

        for path in LIST_PATHS:
            assert contents_at(high, path, known_at=first.recorded_at - TICK) == []
            assert contents_at(high, path, known_at=first.recorded_at) == ["first"]
            assert contents_at(high, path, known_at=old_version.recorded_at - TICK) == ["first"]
            assert contents_at(high, path, known_at=old_version.recorded_at) == ["then"]
        assert content_at(high, first, known_at=first.recorded_at - TICK) is None
        assert content_at(high, first, known_at=old_version.recorded_at - TICK) == "first"
        assert [counts_at(high, known_at=memory.recorded_at) for memory in (first, old_version)] == [{1}, {1}]
        assert counts_at(high, known_at=first.recorded_at - TICK) == {0}

    def test_nobody_knew_yet_when_a_version_would_end(self, high):
        first = make_memory(payload_id="p", content="first")
        old_version = make_memory(payload_id="p", content="then")

        assert versions_at(high, first, known_at=first.recorded_at) == [(1, False)]
        assert versions_at(high, first, known_at=old_version.recorded_at) == [(2, False), (1, True)]
        detail_json = get_at(high, f"{LIST}/{first.memory_id}", known_at=first.recorded_at).json()
        assert detail_json["superseded_at"] is None

    def test_what_expires_at_an_instant_is_not_there_at_it_any_more(self, high):
        memory = make_memory(payload_id="p", content="expiring")
        end = memory.recorded_at + timedelta(microseconds=40)
        expiring = make_memory(payload_id="p", content="expiring", expires_at=end)
        if expiring.recorded_at >= end:
            end = expiring.recorded_at + timedelta(seconds=1)
            expiring = make_memory(payload_id="p", content="expiring", expires_at=end)
        lasting = make_memory(payload_id="q", content="lasting")
        _advance_record_time(end)

        assert contents_at(high, LIST, known_at=end - TICK)[-1] == "expiring"
        assert "expiring" not in contents_at(high, LIST, known_at=end)
        assert content_at(high, expiring, known_at=end) == "expiring"
        statuses = [
            get_at(high, f"{LIST}/{expiring.memory_id}", known_at=instant).json()["status"]
            for instant in (end - TICK, end)
        ]
        assert statuses == ["active", "expired"]
        assert content_at(high, lasting, known_at=end) == ("lasting" if lasting.recorded_at <= end else None)

    def test_a_future_dated_event_is_known_before_it_happens(self, high):
        """TM-05: record time and event time are two things."""
        hour, day = timedelta(hours=1), timedelta(days=1)
        near_memory = make_memory(content="near", timestamp=utc("2026-03-01 12:00"))
        instant = near_memory.recorded_at
        for content, offset in (("tomorrow", day), ("just after", day + hour), ("soon", hour), ("in years", 900 * day)):
            make_memory(content=content, timestamp=instant + offset, subject=content)
        last = make_memory(content="long ago", timestamp=utc("1066-10-14 09:00"), subject="long ago")

        expected_order = ["in years", "just after", "tomorrow", "soon", "near", "long ago"]
        assert contents_at(high, LIST, known_at=last.recorded_at) == expected_order
        assert contents_at(high, TRAVEL, known_at=last.recorded_at) == expected_order
        assert contents_at(high, STATE, known_at=last.recorded_at) == [
            name for name in expected_order if name != "near"
        ]
        assert contents_at(high, LIST, as_of=datetime.now(UTC)) == ["near", "long ago"]
        assert contents_at(high, LIST) == expected_order

    def test_what_was_erased_is_gone_at_every_instant_and_is_counted(self, high, low):
        first = make_memory(payload_id="p", content="first", timestamp=utc("2026-03-01 12:00"), **ADA_CITY)
        old_version = make_memory(payload_id="p", content="then", timestamp=utc("2026-03-01 12:00"), **ADA_CITY)
        kept_memory = make_memory(content="kept", timestamp=utc("2026-03-01 11:00"), **ADA_CITY)
        hidden = make_memory(content="hidden", timestamp=utc("2026-03-01 12:00"), tier="restricted", **ADA_CITY)
        for memory in (first, hidden):
            erase_memory(memory)

        for path in (TRAVEL, STATE):
            for instants in ({"as_of": utc("2026-03-02 00:00")}, {"known_at": hidden.recorded_at}):
                assert contents_at(high, path, **instants) == ["kept"]
                assert get_at(high, path, **instants).json()["erased_count"] == 2
                assert get_at(low, path, **instants).json()["erased_count"] == 1
            for memory in (first, old_version):
                detail_json = get_at(high, path, known_at=memory.recorded_at).json()
                assert (detail_json["records"], detail_json["erased_count"]) == ([], 1)
        assert get_at(high, TRAVEL, known_at=first.recorded_at - TICK).json()["erased_count"] == 0
        assert get_at(high, TRAVEL, as_of=utc("2026-03-01 11:59")).json()["erased_count"] == 0
        assert get_at(high, TRAVEL, known_at=kept_memory.recorded_at, subject="user:bob").json()["erased_count"] == 0
        assert content_at(high, first, known_at=first.recorded_at) == ""

    def test_pages_stay_at_the_instant_of_the_first(self, high):
        for index in range(6):
            make_memory(payload_id=f"p-{index}", content=f"{index}", timestamp=utc(f"2026-03-01 1{index}:00"))
        page = get_at(high, TRAVEL, as_of="2026-03-02", known_at="", limit="2").json()
        make_memory(payload_id="p-0", content="changed", timestamp=utc("2026-03-01 15:30"))
        make_memory(payload_id="p-2", content="changed", timestamp=utc("2026-03-01 12:00"))
        make_memory(payload_id="new", content="new", timestamp=utc("2026-03-01 11:30"))

        page_records, known_at = page["records"], page["known_at"]
        while page["next_cursor"]:
            page = get_at(high, TRAVEL, as_of="2026-03-02", known_at="", limit="2", cursor=page["next_cursor"]).json()
            page_records += page["records"]
            assert page["known_at"] == known_at

        assert [record["content"] for record in page_records] == ["5", "4", "3", "2", "1", "0"]


class TestEventTime:
    def test_an_event_has_happened_at_its_own_microsecond(self, high):
        """TM-07"""
        instant = utc("2026-03-01 12:00").replace(microsecond=1)
        memory = make_memory(content="event", timestamp=instant, **ADA_CITY)

        for path in LIST_PATHS:
            assert contents_at(high, path, as_of=instant - TICK) == []
            assert contents_at(high, path, as_of=instant) == ["event"]
        assert [counts_at(high, as_of=instant - TICK), counts_at(high, as_of=instant)] == [{0}, {1}]
        assert [content_at(high, memory, as_of=as_of) for as_of in (instant - TICK, instant)] == [None, "event"]
        assert versions_at(high, memory, as_of=instant - TICK) == []

    def test_of_the_values_of_a_key_the_latest_by_event_time_is_believed(self, high):
        make_memory(content="Paris", timestamp=utc("2026-03-02 12:00"), **ADA_CITY)
        make_memory(content="London, heard late", timestamp=utc("2026-03-01 12:00"), **ADA_CITY)
        tied_memory = make_memory(content="Rome", timestamp=utc("2026-03-03 12:00"), **ADA_CITY)
        make_memory(content="Rome, heard later", timestamp=utc("2026-03-03 12:00"), **ADA_CITY)
        make_memory(content="quarantined", timestamp=utc("2026-03-04 12:00"), subject="", collection="city")
        make_memory(content="elsewhere", timestamp=utc("2026-03-01 12:00"), subject="user:ada", collection="job")

        contents_by_day = [contents_at(high, STATE, as_of=f"2026-03-0{day}", collection="city") for day in (1, 2, 3, 4)]

        assert contents_by_day == [[], ["London, heard late"], ["Paris"], ["Rome, heard later"]]
        assert contents_at(high, STATE, as_of="2026-03-04", known_at=tied_memory.recorded_at) == ["Rome"]
        assert contents_at(high, STATE, as_of="2026-03-05") == ["Rome, heard later", "elsewhere"]

    def test_both_instants_hold_at_once(self, high):
        early_memory = make_memory(payload_id="p", content="early", timestamp=utc("2026-03-01 12:00"), **ADA_CITY)
        late_memory = make_memory(payload_id="p", content="late", timestamp=utc("2026-03-03 12:00"), **ADA_CITY)

        for path in LIST_PATHS:
            assert contents_at(high, path, as_of="2026-03-02", known_at=early_memory.recorded_at) == ["early"]
            assert contents_at(high, path, as_of="2026-03-02", known_at=late_memory.recorded_at) == []
            assert contents_at(high, path, as_of="2026-03-04", known_at=late_memory.recorded_at) == ["late"]


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
        for path in (*LIST_PATHS, "/api/facets", "/api/histogram"):
            assert list(assert_problem(get_at(high, path, **{axis: text}), 400, "invalid_timestamp")["errors"]) == [
                axis
            ]

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
        instant = utc("2026-03-01 12:00").replace(microsecond=1)
        make_memory(content="event", timestamp=instant)

        page_json = get_at(high, TRAVEL, **{axis: text}).json()

        assert page_json[axis] == "2026-03-01T12:00:00.000001Z"
        assert [record["content"] for record in page_json["records"]] == (["event"] if axis == "as_of" else [])
        assert len(contents_at(high, LIST, **{axis: text})) == (axis == "as_of")

    @pytest.mark.parametrize("path", [*LIST_PATHS, "/api/facets", "/api/histogram"])
    def test_that_are_still_to_come_are_clipped_and_the_answer_says_so(self, high, path):
        """TM-07"""
        memory = make_memory(content="now", **ADA_CITY)
        make_memory(content="to come", timestamp=utc("2999-01-01 00:00"), subject="other")

        for axes in (["as_of"], ["known_at"], ["as_of", "known_at"]):
            response = get_at(high, path, **dict.fromkeys(axes, "9999-12-31T23:59:59.999999Z"))
            assert response["Memoryhub-Clipped"] == ", ".join(axes)
            if path.startswith(TRAVEL):
                page_json = response.json()
                for axis in axes:
                    assert memory.recorded_at <= datetime.fromisoformat(page_json[axis]) <= datetime.now(UTC)
                expected_words = ["now"] if "as_of" in axes else ["to come", "now"]
                assert [record["content"] for record in page_json["records"]] == expected_words
        assert "Memoryhub-Clipped" not in get_at(high, path, as_of="2026-03-01")
        assert "Memoryhub-Clipped" not in get_at(high, path, known_at=memory.recorded_at)

    @pytest.mark.parametrize("axis", AXES)
    def test_before_the_first_memory_find_nothing(self, high, axis):
        """TM-07"""
        make_memory(timestamp=utc("0001-01-01 00:00").replace(microsecond=1), **ADA_CITY)

        for text in ("0001-01-01T00:00:00Z", "0001-01-01", "0001-01-01T14:00:00+14:00"):
            assert [contents_at(high, path, **{axis: text}) for path in LIST_PATHS] == [[], [], []]

    def test_are_needed_where_one_travels(self, high):
        for params in ({}, {"as_of": ""}, {"as_of": "", "known_at": ""}, {"view": "list"}):
            assert list(assert_problem(high.get(TRAVEL, **params), 400, "missing_parameter")["errors"]) == ["as_of"]
        assert list(
            assert_problem(high.get(TRAVEL, as_of="2026-03-01", view="diff"), 400, "invalid_parameter")["errors"]
        ) == ["view"]

    def test_what_is_believed_without_one_is_what_is_believed_now(self, high):
        make_memory(content="Paris", timestamp=utc("2026-03-01 12:00"), **ADA_CITY)
        make_memory(content="London", timestamp=utc("2026-03-02 12:00"), **ADA_CITY)

        assert contents_at(high, STATE) == ["London"]

    @pytest.mark.parametrize("axis", AXES)
    def test_are_given_once(self, high, axis):
        response = high.client.get(f"{TRAVEL}?{axis}=2026-03-01&{axis}=2026-03-02")

        assert list(assert_problem(response, 400, "invalid_parameter")["errors"]) == [axis]


def erase_memory(memory: Memory) -> None:
    execute(
        "UPDATE memories SET status = 'erased', content = '', embedding = NULL, metadata = '{}', propagation = NULL,"
        " fingerprint = '' WHERE memory_id = %s",
        memory.memory_id,
    )


def _advance_record_time(instant: datetime) -> None:
    execute("SELECT pg_sleep(extract(epoch FROM greatest(%s - clock_timestamp(), '0')))", instant)
