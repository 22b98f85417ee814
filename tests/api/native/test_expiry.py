"""Memories with a time to live: active until it has passed, and expired from then on, for readers who see them."""

from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.http import QueryDict
from django.utils import timezone

from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.memories.writes.envelope import parse_body
from memoryhub.transfer.jsonl_export import iter_jsonl
from tests.api.native.test_reads import matching_ids
from tests.api.receipts import post_memory
from tests.api.responses import payload_ids
from tests.factories import WRITER, make_key, make_memory, utc

pytestmark = pytest.mark.django_db

LIST, TRAVEL, DIFF = "/api/memories", "/api/timetravel", "/api/diff"
SECOND = timedelta(seconds=1)
PAST_INSTANT = timezone.now() - SECOND


@pytest.fixture
def writer(api: Any) -> Any:
    return api(make_key(clearance={"max_tier": "restricted"}, scopes="read write"))


def make_memory_of_each_status() -> None:
    """With a time to live that has passed, and one of each that has none."""
    for expires_at in (None, PAST_INSTANT):
        for status in ("active", "quarantined"):
            memory = make_memory(payload_id=f"{status} {'past' if expires_at else 'endless'}", expires_at=expires_at)
            if status == "quarantined":
                change = parse_body({"status": status}, ClassificationChange)
                classify.apply_plan(classify.plan_for_memory(memory.memory_id, change, principal=WRITER), reason="Odd.")


def test_every_memory_has_one_status_and_is_counted_in_it(api):
    steward = api(make_key(clearance={"max_tier": "restricted"}, scopes="read curate"))
    make_memory_of_each_status()

    assert matching_ids(steward, "") == matching_ids(steward, "status=active") == ["active endless"]
    assert matching_ids(steward, "status=expired") == ["active past"]
    assert sorted(matching_ids(steward, "status=quarantined")) == ["quarantined endless", "quarantined past"]
    assert matching_ids(steward, "status=expired&source=test&q=fact") == ["active past"]
    assert steward.get("/api/status").json()["memories_total"] == 1


def test_an_expired_memory_says_so_wherever_it_is_shown(reader):
    memory = make_memory(payload_id="p", content="One.")
    make_memory(payload_id="p", content="Two.", expires_at=PAST_INSTANT)

    (record,) = reader.get(LIST, status="expired").json()["records"]
    versions = reader.get(f"{LIST}/{memory.memory_id}/versions").json()["versions"]

    assert record["status"] == reader.get(f"{LIST}/{memory.memory_id}").json()["status"] == "expired"
    assert [(version["version"], version["status"]) for version in versions] == [(2, "expired"), (1, "active")]
    assert Memory.objects.get(memory_id=memory.memory_id, version=2).status == "active", "its row says what was written"


def test_an_expired_memory_is_hidden_from_those_who_may_not_see_it(api, reader):
    memory = make_memory(payload_id="p", expires_at=PAST_INSTANT, tier="internal")
    outsider = api(make_key())

    assert payload_ids(reader.get(LIST, status="expired")) == ["p"]
    assert payload_ids(outsider.get(LIST, status="expired")) == []
    assert outsider.get(f"{LIST}/{memory.memory_id}").status_code == 404


@pytest.mark.parametrize("view", ["list", "state"])
def test_event_time_finds_what_was_valid_then(reader, view):
    subject_fields: dict[str, Any] = {"subject": "user:ada", "collection": "city"}
    make_memory(payload_id="first", timestamp=utc("2026-03-01 00:00"), **subject_fields)
    make_memory(
        payload_id="trip", timestamp=utc("2026-03-02 00:00"), expires_at=utc("2026-03-04 00:00"), **subject_fields
    )

    def list_payload_ids(**parameters: str) -> list[str]:
        return payload_ids(reader.get(TRAVEL, view=view, **parameters))

    expected_ids = ["trip"] if view == "state" else ["trip", "first"]
    assert list_payload_ids(as_of="2026-03-03") == expected_ids
    assert list_payload_ids(as_of="2026-03-03T23:59:59.999999Z") == expected_ids
    assert list_payload_ids(as_of="2026-03-04") == ["first"]
    assert list_payload_ids(as_of="2026-03-04", status="expired") == ["trip"]
    assert list_payload_ids(as_of="2026-03-01") == ["first"]


def test_a_list_as_of_an_instant_counts_what_it_finds(reader):
    make_memory(payload_id="trip", timestamp=utc("2026-03-02 00:00"), expires_at=utc("2026-03-04 00:00"))

    assert matching_ids(reader, "as_of=2026-03-03") == ["trip"]
    assert matching_ids(reader, "as_of=2026-03-04") == []
    assert matching_ids(reader, "as_of=2026-03-04&status=expired") == ["trip"]


def test_a_diff_shows_an_expired_memory_as_removed_and_with_the_status_of_its_row(reader):
    expires_at = timezone.now() + timedelta(milliseconds=400)
    memory = make_memory(payload_id="p", expires_at=expires_at)
    since = memory.recorded_at.isoformat()
    until = (max(expires_at, memory.recorded_at) + SECOND).isoformat()

    def list_changes(**parameters: str) -> list[tuple[Any, ...]]:
        rows = reader.get(DIFF, since=since, until=until, **parameters).json()["changes"]
        return [(change["kinds"], change["before"]["status"], change["after"]) for change in rows]

    while timezone.now() <= expires_at:
        pass
    expected = [(["removed"], "active", None)] if memory.recorded_at < expires_at else []
    assert list_changes() == list_changes(status="active") == list_changes(status="expired") == expected


def test_a_diff_shows_an_inactive_memory_with_a_past_ttl_as_the_list_does(api):
    steward = api(make_key(clearance={"max_tier": "restricted"}, scopes="read curate"))
    make_memory_of_each_status()

    changes = steward.get(DIFF, since="2001-01-01").json()["changes"]

    changed_ids = {change["after"]["payload_id"] for change in changes}
    assert changed_ids == {"active endless", "quarantined endless", "quarantined past"}


def test_a_write_that_is_expired_on_arrival_gets_a_warning(writer):
    fresh_response = writer.post(
        LIST, {"payload_id": "fresh", "content": "Fresh.", "expires_at": "2999-01-01T00:00:00Z"}
    )
    expired_response = writer.post(
        LIST, {"payload_id": "stale", "content": "Stale.", "expires_at": "2001-01-01T00:00:00Z"}
    )
    repeated = writer.post(LIST, {"payload_id": "stale", "content": "Stale.", "expires_at": "2001-01-01T00:00:00Z"})
    (batch_item,) = writer.post(
        LIST, [{"payload_id": "more", "content": "More.", "expires_at": PAST_INSTANT.isoformat()}]
    ).json()["results"]

    assert fresh_response.json().keys().isdisjoint({"status", "warnings"})
    for body in (expired_response.json(), repeated.json(), batch_item):
        assert body["status"] == "expired"
        assert list(body["warnings"]) == ["expires_at"]
    assert payload_ids(writer.get(LIST, status="expired", payload_id="stale")) == ["stale"]


def test_an_update_that_leaves_a_memory_expired_gets_a_warning_and_one_that_revives_it_does_not(writer):
    post_memory(writer, payload_id="p", content="One.", expires_at="2001-01-01T00:00:00Z")

    still_expired = writer.post(f"{LIST}?on_conflict=update", {"payload_id": "p", "content": "Two."}).json()
    receipt = writer.post(f"{LIST}?on_conflict=update", {"payload_id": "p", "expires_at": None}).json()

    assert (still_expired["outcome"], still_expired["status"]) == ("updated", "expired")
    assert (receipt["outcome"], receipt.get("status")) == ("updated", None)
    assert payload_ids(writer.get(LIST)) == ["p"]


def test_an_expired_memory_can_be_classified(reader):
    memory = make_memory(payload_id="p", expires_at=PAST_INSTANT)
    change = parse_body({"add_labels": ["pii"]}, ClassificationChange)
    filters = MemoryFilterSet(QueryDict("status=expired"), clearance=unrestricted_clearance())

    for plan in (
        classify.plan_for_memory(memory.memory_id, change, principal=WRITER),
        classify.plan_for_filter(filters, change, principal=WRITER),
    ):
        assert [step.row.memory_id for step in plan.effective_changes] == [memory.memory_id]
    classify.apply_plan(plan)

    (record,) = reader.get(LIST, status="expired", label="pii").json()["records"]
    assert (record["version"], record["status"]) == (2, "expired")


def test_an_export_holds_what_has_expired_with_the_status_of_its_row():
    make_memory(payload_id="p", expires_at=PAST_INSTANT)
    filters = MemoryFilterSet(QueryDict("status=expired"), clearance=unrestricted_clearance())

    (line,) = map(orjson.loads, iter_jsonl(filters, include_history=True))

    assert (line["payload_id"], line["status"]) == ("p", "active")
    assert line["expires_at"]
