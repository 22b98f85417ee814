"""The list of decisions and its export over HTTP: filters, pages, and nothing of what is hidden."""

import uuid
from typing import Any

import orjson
import pytest

from memoryhub.access_log import read_log
from memoryhub.audit.models import AuditEntry
from tests.api.native.decision_requests import (
    DECISION_LIST_URL,
    DECISIONS_URL,
    GROUP_URL,
    KEY,
    NOT_A_CONFLICT,
    create_decision,
    decision_body,
    make_cities,
    read_group,
)
from tests.api.responses import assert_problem
from tests.factories import make_memory, make_user

pytestmark = pytest.mark.django_db


class TestAuditLog:
    def test_lists_what_the_filters_match_newest_first(self, steward):
        make_cities("Paris", "Berlin")
        decision = create_decision(steward, reason="Both are in Europe.")
        undo = steward.post(f"{DECISION_LIST_URL}/{decision['id']}/undo", {"reason": "No."}).json()
        decision |= {"undone_by_id": undo["id"], "is_in_force": False}

        page = steward.get(DECISION_LIST_URL).json()

        assert page == {"decisions": [undo, decision], "next_cursor": None, "has_more": False}
        for query, expected_count in (
            ({"outcome": "undo"}, [undo]), ({"q": "EUROPE"}, [decision]), ({"in_force": "true"}, []),
            ({"subject": KEY[0], "collection": KEY[1]}, [undo, decision]), ({"subject": "user:bob"}, []),
            ({"memory_id": decision["memory_ids"][0]}, [undo, decision]),
            ({"principal": decision["principal"]}, [undo, decision]),
            ({"from": undo["decided_at"]}, [undo]), ({"to": undo["decided_at"]}, [decision]),
            ({"run_id": str(uuid.uuid4())}, []),
        ):  # fmt: skip
            assert steward.get(DECISION_LIST_URL, **query).json()["decisions"] == expected_count, query
            lines = b"".join(steward.get(f"{DECISION_LIST_URL}/export", **query)).splitlines()
            assert list(map(orjson.loads, lines)) == expected_count, query

    def test_goes_on_where_the_page_before_ended(self, steward):
        for index in range(5):
            for content in ("Paris", "Berlin"):
                make_memory(subject=f"user:{index}", collection="city", content=content)
        for summary in steward.get("/api/conflicts").json()["conflicts"]:
            url = f"/api/conflicts/{summary['id']}/decisions"
            assert steward.post(url, {**NOT_A_CONFLICT, "evidence": summary["evidence"]}).status_code == 201

        subjects: list[str] = []
        page: dict[str, Any] = {"next_cursor": ""}
        while page["next_cursor"] is not None:
            page = steward.get(DECISION_LIST_URL, limit=2, cursor=page["next_cursor"]).json()
            subjects += [decision["subject"] for decision in page["decisions"]]

        assert subjects == [f"user:{index}" for index in reversed(range(5))]

    @pytest.mark.parametrize("path", [DECISION_LIST_URL, f"{DECISION_LIST_URL}/export"])
    def test_reveals_nothing_of_decisions_on_hidden_memories(self, steward, low, path):
        """FW-12"""
        make_cities("Paris", "Berlin")
        make_cities("Rome", tier="restricted")
        decision = create_decision(steward)
        url = f"{DECISION_LIST_URL}/{decision['id']}"

        assert decision["id"].encode() in response_content(steward.get(path))
        assert decision["id"].encode() not in response_content(low.get(path))
        assert_problem(low.get(url), 404, "not_found")
        group = read_group(low)
        assert (group["status"], group["decision"], group["decisions"]) == ("open", None, [])

    @pytest.mark.parametrize("query", ["outcome=none", "run_id=1", "in_force=1", "from=now", "x=1"])
    @pytest.mark.parametrize("path", [DECISION_LIST_URL, f"{DECISION_LIST_URL}/export"])
    def test_names_a_bad_question(self, steward, path, query):
        name, value = query.split("=")

        assert list(assert_problem(steward.get(path, **{name: value}), 400, "invalid_parameter")["errors"]) == [name]

    def test_exports_one_decision_a_line(self, steward):
        make_cities("Paris", "Berlin")
        decision = create_decision(steward)

        response = steward.get(f"{DECISION_LIST_URL}/export")

        assert response["Content-Type"] == "application/x-ndjson"
        assert "no-store" in response["Cache-Control"]
        assert response_content(response) == orjson.dumps(decision, option=orjson.OPT_APPEND_NEWLINE)
        assert_problem(steward.get(f"{DECISION_LIST_URL}/export", limit=1), 400, "invalid_parameter")

    def test_shows_no_secret_to_a_session(self, client, steward):
        make_cities("Paris", "Berlin")
        secret = "AKIAIOSFODNN7EXAMPLE"
        decision = create_decision(steward, reason=f"It holds {secret}.")
        client.force_login(make_user("ada"), "django.contrib.auth.backends.ModelBackend")

        for path in (
            DECISION_LIST_URL,
            f"{DECISION_LIST_URL}/{decision['id']}",
            f"{DECISION_LIST_URL}/export",
            GROUP_URL,
            "/api/conflicts?status=all",
        ):
            response = response_content(client.get(path))
            assert b"It holds " in response, path
            assert secret.encode() not in response, path
            assert secret.encode() in response_content(steward.get(path)), path

    def test_readers_of_a_decision_are_in_the_audit_log(self, steward):
        members = make_cities("Paris", "Berlin")
        decision = create_decision(steward)

        for route, path in (
            ("api:decision-list", DECISION_LIST_URL),
            ("api:decision-detail", f"{DECISION_LIST_URL}/{decision['id']}"),
        ):
            steward.get(path)
            read_log.flush_reads()
            entry = AuditEntry.objects.get(route=route)
            assert set(entry.memory_ids) == {memory.memory_id for memory in members}


def response_content(response: Any) -> bytes:
    assert response.status_code == 200, response.content
    return b"".join(response) if response.streaming else bytes(response.content)


def test_an_empty_filter_of_the_decisions_asks_for_empty(steward):
    make_cities("Paris", "London")
    assert steward.post(DECISIONS_URL, decision_body(steward, **NOT_A_CONFLICT)).status_code == 201

    def count_decisions(**filters: str) -> int:
        return len(steward.get(DECISION_LIST_URL, **filters).json()["decisions"])

    assert (
        count_decisions(),
        count_decisions(collection="city"),
        count_decisions(collection=""),
        count_decisions(subject=""),
    ) == (1, 1, 0, 0)
    assert (count_decisions(q=""), count_decisions(principal="")) == (1, 0)
    for name, value in (("outcome", ""), ("in_force", ""), ("from", ""), ("run_id", ""), ("q", "\u200b")):
        assert list(
            assert_problem(steward.get(DECISION_LIST_URL, **{name: value}), 400, "invalid_parameter")["errors"]
        ) == [name]
