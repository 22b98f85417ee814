"""Memories with a time to live: active until it has passed, and expired from then on, for whoever may see them."""

from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.http import QueryDict
from django.utils import timezone

from memoryhub.firewall.types import everything
from memoryhub.memories import relabel
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.relabel import Change
from memoryhub.ops.exporting import export_lines
from tests.api.answers import payload_ids
from tests.api.receipts import post_memory
from tests.api.test_reading import agreed
from tests.builders import WRITER, at, make_key, make_memory

pytestmark = pytest.mark.django_db

LIST, TRAVEL, DIFF = "/api/memories", "/api/timetravel", "/api/diff"
SECOND = timedelta(seconds=1)
PAST = timezone.now() - SECOND


@pytest.fixture
def writer(api: Any) -> Any:
    return api(make_key(clearance={"max_tier": "restricted"}, scopes="read write"))


def make_one_of_each_status() -> None:
    """With a time to live that has passed, and one of each that has none."""
    for ends in (None, PAST):
        for status in ("active", "quarantined"):
            memory = make_memory(payload_id=f"{status} {'past' if ends else 'endless'}", expires_at=ends)
            if status == "quarantined":
                change = relabel.read({"status": status}, Change)
                relabel.carry_out(relabel.plan_one(memory.memory_id, change, by=WRITER), reason="Odd.")


def test_every_memory_has_one_status_and_is_counted_in_it(api):
    judge = api(make_key(clearance={"max_tier": "restricted"}, scopes="read inspect"))
    make_one_of_each_status()

    assert agreed(judge, "") == agreed(judge, "status=active") == ["active endless"]
    assert agreed(judge, "status=expired") == ["active past"]
    assert sorted(agreed(judge, "status=quarantined")) == ["quarantined endless", "quarantined past"]
    assert agreed(judge, "status=expired&source=test&q=fact") == ["active past"]
    assert judge.get("/api/status").json()["memories_total"] == 1


def test_an_expired_memory_says_so_wherever_it_is_told_of(reader):
    memory = make_memory(payload_id="p", content="One.")
    make_memory(payload_id="p", content="Two.", expires_at=PAST)

    (listed,) = reader.get(LIST, status="expired").json()["records"]
    versions = reader.get(f"{LIST}/{memory.memory_id}/versions").json()["versions"]

    assert listed["status"] == reader.get(f"{LIST}/{memory.memory_id}").json()["status"] == "expired"
    assert [(version["version"], version["status"]) for version in versions] == [(2, "expired"), (1, "active")]
    assert Memory.objects.get(memory_id=memory.memory_id, version=2).status == "active", "its row says what was written"


def test_an_expired_memory_is_hidden_from_those_who_may_not_see_it(api, reader):
    memory = make_memory(payload_id="p", expires_at=PAST, tier="internal")
    outsider = api(make_key())

    assert payload_ids(reader.get(LIST, status="expired")) == ["p"]
    assert payload_ids(outsider.get(LIST, status="expired")) == []
    assert outsider.get(f"{LIST}/{memory.memory_id}").status_code == 404


@pytest.mark.parametrize("view", ["list", "state"])
def test_event_time_finds_what_was_valid_then(reader, view):
    about: dict[str, Any] = {"subject": "user:ada", "collection": "city"}
    make_memory(payload_id="first", timestamp=at("2026-03-01 00:00"), **about)
    make_memory(payload_id="trip", timestamp=at("2026-03-02 00:00"), expires_at=at("2026-03-04 00:00"), **about)

    def found(**parameters: str) -> list[str]:
        return payload_ids(reader.get(TRAVEL, view=view, **parameters))

    both = ["trip"] if view == "state" else ["trip", "first"]
    assert found(as_of="2026-03-03") == both
    assert found(as_of="2026-03-03T23:59:59.999999Z") == both
    assert found(as_of="2026-03-04") == ["first"]
    assert found(as_of="2026-03-04", status="expired") == ["trip"]
    assert found(as_of="2026-03-01") == ["first"]


def test_a_list_as_of_an_instant_counts_what_it_finds(reader):
    make_memory(payload_id="trip", timestamp=at("2026-03-02 00:00"), expires_at=at("2026-03-04 00:00"))

    assert agreed(reader, "as_of=2026-03-03") == ["trip"]
    assert agreed(reader, "as_of=2026-03-04") == []
    assert agreed(reader, "as_of=2026-03-04&status=expired") == ["trip"]


def test_a_diff_tells_of_what_expired_as_gone_and_with_the_status_of_its_row(reader):
    ends = timezone.now() + timedelta(milliseconds=400)
    memory = make_memory(payload_id="p", expires_at=ends)
    since = memory.recorded_at.isoformat()
    until = (max(ends, memory.recorded_at) + SECOND).isoformat()

    def changes(**parameters: str) -> list[tuple[Any, ...]]:
        found = reader.get(DIFF, since=since, until=until, **parameters).json()["changes"]
        return [(change["kinds"], change["before"]["status"], change["after"]) for change in found]

    while timezone.now() <= ends:
        pass
    expected = [(["gone"], "active", None)] if memory.recorded_at < ends else []
    assert changes() == changes(status="active") == changes(status="expired") == expected


def test_a_diff_tells_of_what_has_no_time_left_but_another_status_as_the_list_does(api):
    judge = api(make_key(clearance={"max_tier": "restricted"}, scopes="read inspect"))
    make_one_of_each_status()

    found = judge.get(DIFF, since="2001-01-01").json()["changes"]

    told = {change["after"]["payload_id"] for change in found}
    assert told == {"active endless", "quarantined endless", "quarantined past"}


def test_a_write_that_is_expired_on_arrival_is_told_so(writer):
    fresh = writer.post(LIST, {"payload_id": "fresh", "content": "Fresh.", "expires_at": "2999-01-01T00:00:00Z"})
    stale = writer.post(LIST, {"payload_id": "stale", "content": "Stale.", "expires_at": "2001-01-01T00:00:00Z"})
    again = writer.post(LIST, {"payload_id": "stale", "content": "Stale.", "expires_at": "2001-01-01T00:00:00Z"})
    (of_batch,) = writer.post(
        LIST, [{"payload_id": "more", "content": "More.", "expires_at": PAST.isoformat()}]
    ).json()["results"]

    assert fresh.json().keys().isdisjoint({"status", "warnings"})
    for told in (stale.json(), again.json(), of_batch):
        assert told["status"] == "expired"
        assert list(told["warnings"]) == ["expires_at"]
    assert payload_ids(writer.get(LIST, status="expired", payload_id="stale")) == ["stale"]


def test_an_update_that_leaves_a_memory_expired_is_told_so_and_one_that_revives_it_is_not(writer):
    post_memory(writer, payload_id="p", content="One.", expires_at="2001-01-01T00:00:00Z")

    still = writer.post(f"{LIST}?on_conflict=update", {"payload_id": "p", "content": "Two."}).json()
    revived = writer.post(f"{LIST}?on_conflict=update", {"payload_id": "p", "expires_at": None}).json()

    assert (still["outcome"], still["status"]) == ("updated", "expired")
    assert (revived["outcome"], revived.get("status")) == ("updated", None)
    assert payload_ids(writer.get(LIST)) == ["p"]


def test_an_expired_memory_can_be_classified(reader):
    memory = make_memory(payload_id="p", expires_at=PAST)
    change = relabel.read({"add_labels": ["pii"]}, Change)
    filters = MemoryFilterSet(QueryDict("status=expired"), clearance=everything())

    for plan in (
        relabel.plan_one(memory.memory_id, change, by=WRITER),
        relabel.plan_found(filters, change, by=WRITER),
    ):
        assert [step.row.memory_id for step in plan.due] == [memory.memory_id]
    relabel.carry_out(plan)

    (record,) = reader.get(LIST, status="expired", label="pii").json()["records"]
    assert (record["version"], record["status"]) == (2, "expired")


def test_an_export_holds_what_has_expired_with_the_status_of_its_row():
    make_memory(payload_id="p", expires_at=PAST)
    filters = MemoryFilterSet(QueryDict("status=expired"), clearance=everything())

    (line,) = map(orjson.loads, export_lines(filters, history=True))

    assert (line["payload_id"], line["status"]) == ("p", "active")
    assert line["expires_at"]
