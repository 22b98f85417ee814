"""What can be asked of a diff: its instants, its filters, its pages, its firewall, and either axis of time."""

import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest

from memoryhub.access_log import read_log
from memoryhub.audit.models import AuditEntry
from memoryhub.memories import clock
from memoryhub.timetravel import diff_sql
from tests.api.responses import assert_problem
from tests.factories import make_memory, make_user, utc
from tests.harness.strategies import roll_back
from tests.timetravel.diff_steps import EARLIEST, change_kinds, classify_memory, current_instant, get_diff

pytestmark = pytest.mark.django_db


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
