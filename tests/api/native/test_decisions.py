"""Deciding about conflicts over HTTP, claiming a group before that, and undoing a decision."""

import threading
import uuid
from typing import Any

import pytest
from django.db import connection

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts.groups.group_keys import encode_id
from memoryhub.conflicts.models import Decision
from memoryhub.memories.models import Memory
from tests.api.native.decision_requests import (
    CLAIM_URL,
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
from tests.api.responses import assert_problem, comparable_response
from tests.factories import make_key

pytestmark = pytest.mark.django_db


@pytest.fixture
def second_steward(api: Any) -> Any:
    """Another steward, who sees as much."""
    return api(make_key(scopes="read curate", clearance={"max_tier": "restricted"}))


def status_of(memory: Memory) -> str:
    return Memory.objects.get(memory_id=memory.memory_id, superseded_at=None).status


def list_audit_entries(action: str = "conflict.resolve") -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(action=action).order_by("seq"))


class TestDeciding:
    def test_keeps_one_and_returns_the_decision(self, steward):
        paris, berlin = make_cities("Paris", "Berlin")

        response = steward.post(
            DECISIONS_URL, decision_body(steward, outcome="keep_one", keep=[str(paris.memory_id)], reason="Seen.")
        )

        assert response.status_code == 201, response.content
        decision = response.json()
        assert (decision["outcome"], decision["conflict_id"], decision["reason"]) == (
            "keep_one",
            encode_id(*KEY),
            "Seen.",
        )
        assert (decision["kept_ids"], decision["retired_ids"]) == ([str(paris.memory_id)], [str(berlin.memory_id)])
        assert [status_of(memory) for memory in (paris, berlin)] == ["active", "retired"]
        detail = steward.get(response["Location"])
        assert (detail.json(), detail["ETag"]) == (decision, response["ETag"])
        (entry,) = list_audit_entries()
        assert (entry.route, entry.request_id) == ("api:conflict-resolve", response["X-Request-ID"])

    def test_takes_the_etag_of_what_was_read(self, steward):
        make_cities("Paris", "Berlin")
        tag = steward.get(GROUP_URL)["ETag"]

        first = steward.post(DECISIONS_URL, NOT_A_CONFLICT, headers={"If-Match": tag})
        repeated = steward.post(DECISIONS_URL, NOT_A_CONFLICT, headers={"If-Match": tag})

        assert first.status_code == 201, first.content
        assert assert_problem(repeated, 412, "stale")["decision"] == first.json()
        assert len(list_audit_entries()) == 1

    def test_takes_an_etag_among_others_and_after_a_claim(self, steward):
        make_cities("Paris", "Berlin")
        tag = steward.get(GROUP_URL)["ETag"]
        assert steward.post(CLAIM_URL, {}).status_code == 200
        assert steward.get(GROUP_URL)["ETag"] != tag

        assert steward.post(DECISIONS_URL, NOT_A_CONFLICT, headers={"If-Match": f'"a", {tag}, "b"'}).status_code == 201

    @pytest.mark.parametrize("headers", [{}, {"If-Match": "*"}])
    def test_is_not_done_blindly(self, steward, headers):
        make_cities("Paris", "Berlin")

        assert_problem(steward.post(DECISIONS_URL, NOT_A_CONFLICT, headers=headers), 428, "precondition_required")

        assert not Decision.objects.exists()

    def test_is_not_done_on_what_has_changed_since(self, steward):
        make_cities("Paris", "Berlin")
        choice, tag = decision_body(steward), steward.get(GROUP_URL)["ETag"]
        make_cities("Rome")

        assert "decision" not in assert_problem(steward.post(DECISIONS_URL, choice), 409, "stale")
        assert_problem(steward.post(DECISIONS_URL, NOT_A_CONFLICT, headers={"If-Match": tag}), 412, "stale")
        assert_problem(steward.post(DECISIONS_URL, decision_body(steward), headers={"If-Match": tag}), 412, "stale")
        for weak in (f"W/{steward.get(GROUP_URL)['ETag']}", "none"):
            assert_problem(steward.post(DECISIONS_URL, NOT_A_CONFLICT, headers={"If-Match": weak}), 412, "stale")

        assert not Decision.objects.exists()

    @pytest.mark.parametrize("outcome", ["keep_one", "not_a_conflict", "defer", "merge"])
    def test_a_second_decision_is_refused_with_the_first_one(self, steward, second_steward, outcome):
        """CC-06"""
        paris, _ = make_cities("Paris", "Berlin")
        choices: dict[str, dict[str, Any]] = {
            "keep_one": {"keep": [str(paris.memory_id)]},
            "merge": {"content": "Both."},
        }
        choice_fields = choices.get(outcome, {})
        choice = decision_body(second_steward, outcome=outcome, **choice_fields)

        first = create_decision(steward, outcome=outcome, **choice_fields)

        assert assert_problem(second_steward.post(DECISIONS_URL, choice), 409, "stale")["decision"] == first
        assert len(list_audit_entries()) == 1

    def test_waits_for_who_holds_the_claim(self, steward, second_steward):
        make_cities("Paris", "Berlin")
        claim = steward.post(CLAIM_URL, {}).json()["claim"]

        error = assert_problem(
            second_steward.post(DECISIONS_URL, decision_body(second_steward)), 409, "claimed_by_other"
        )

        assert error["claim"] == claim == read_group(second_steward)["claim"]
        assert create_decision(steward)
        assert read_group(second_steward)["claim"] is None

    def test_that_is_hidden_is_missing(self, low, steward):
        """AZ-02"""
        make_cities("Paris", "Berlin", tier="restricted")
        choice = decision_body(steward)
        missing_url = f"/api/conflicts/{encode_id('user:nobody', 'city')}"

        for path in ("", "/decisions", "/claim"):
            body = {"/decisions": choice, "/claim": {}}.get(path)
            responses = [
                comparable_response(low.get(url) if body is None else low.post(url, body))
                for url in (f"{GROUP_URL}{path}", f"{missing_url}{path}", f"/api/conflicts/none{path}")
            ]
            assert responses[0] == responses[1] == responses[2], path
            assert responses[0][0] == 404
        assert not Decision.objects.exists()

    def test_of_what_is_half_hidden_is_refused_as_if_the_other_half_were_not_there(self, low, steward):
        """FW-12"""
        make_cities("Paris")
        choice = {**NOT_A_CONFLICT, "evidence": "0" * 64}
        response_alone = comparable_response(low.post(DECISIONS_URL, choice))
        make_cities("Berlin", tier="restricted")

        assert (
            comparable_response(low.post(DECISIONS_URL, choice))
            == comparable_response(low.post(DECISIONS_URL, decision_body(steward)))
            == response_alone
        )
        create_decision(steward)
        assert comparable_response(low.post(DECISIONS_URL, choice)) == response_alone

    @pytest.mark.parametrize("scopes", ["read", "curate", "read write audit view_as declassify"])
    def test_takes_who_may_read_and_judge(self, api, steward, scopes):
        make_cities("Paris", "Berlin")
        agent = api(make_key(scopes=scopes, clearance={"max_tier": "restricted"}))
        decision = create_decision(steward)

        for path, body in (
            (DECISIONS_URL, {**NOT_A_CONFLICT, "evidence": decision["evidence"]}),
            (CLAIM_URL, {}),
            (f"{DECISION_LIST_URL}/{decision['id']}/undo", {"reason": "No."}),
        ):
            assert_problem(agent.post(path, body), 403, "forbidden")

        assert len(list_audit_entries()) == 1

    @pytest.mark.parametrize(
        ("body", "code", "field"),
        [
            ({"reason": ""}, "invalid_value", ""), ({"reason": "x" * 1_001}, "invalid_value", "reason"),
            ({"outcome": "undo"}, "invalid_value", "outcome"), ({"outcome": "keep_one"}, "invalid_value", ""),
            ({"keep": ["x"]}, "invalid_value", "keep.0"), ({"outcome": "merge"}, "invalid_value", ""),
            ({"outcome": "keep_one", "keep": [str(uuid.uuid4())]}, "invalid_value", "keep"),
            ({"deferred_until": "2999-01-01T00:00:00Z"}, "invalid_value", ""), ({"rule": "x"}, "unknown_field", "rule"),
            ({"outcome": "defer", "deferred_until": "2001-01-01T00:00:00Z"}, "invalid_value", "deferred_until"),
            ({"evidence": 1}, "invalid_value", "evidence"),
        ],
    )  # fmt: skip
    def test_takes_a_choice_that_makes_sense(self, steward, body, code, field):
        make_cities("Paris", "Berlin")

        assert list(
            assert_problem(steward.post(DECISIONS_URL, decision_body(steward, **body)), 400, code)["errors"]
        ) == [field]
        assert list(
            assert_problem(steward.post(f"{DECISIONS_URL}?x=1", decision_body(steward)), 400, "invalid_parameter")[
                "errors"
            ]
        ) == ["x"]
        assert_problem(steward.post(DECISIONS_URL, [NOT_A_CONFLICT]), 400, "invalid_value")
        assert not Decision.objects.exists()

    def test_above_what_the_merged_memory_would_show_is_refused(self, steward):
        make_cities("Paris", labels=["pii"])
        make_cities("Berlin", tier="restricted")

        merged_id = create_decision(steward, outcome="merge", content="Paris, then Berlin.")["merged_id"]

        memory = steward.get(f"/api/memories/{merged_id}").json()
        assert (memory["classification_tier"], memory["sensitivity_labels"]) == ("restricted", ["pii"])


class TestClaim:
    def test_is_taken_renewed_and_released(self, steward, second_steward):
        make_cities("Paris", "Berlin")

        claim = steward.post(CLAIM_URL, {})
        conflict_response = second_steward.post(CLAIM_URL, {})

        assert claim.status_code == 200
        assert (
            assert_problem(conflict_response, 409, "claimed_by_other")["claim"]
            == claim.json()["claim"]
            == read_group(second_steward)["claim"]
        )
        assert second_steward.post(CLAIM_URL, {"release": True}).json() == claim.json()
        assert steward.post(CLAIM_URL, {}).json()["claim"]["principal"] == claim.json()["claim"]["principal"]
        assert steward.post(CLAIM_URL, {"release": True}).json() == {"claim": None}
        assert second_steward.post(CLAIM_URL, {}).status_code == 200

    def test_of_a_steward_who_sees_more_is_neither_shown_nor_blocking(self, steward, low):
        """FW-12"""
        make_cities("Paris", "Berlin")
        steward.post(CLAIM_URL, {})

        assert read_group(low)["claim"] is None
        assert create_decision(low)

    def test_takes_nothing_but_that(self, steward):
        make_cities("Paris", "Berlin")

        assert_problem(steward.post(CLAIM_URL, {"release": 1}), 400, "invalid_value")
        assert_problem(steward.post(CLAIM_URL, {"expires_at": "2999-01-01T00:00:00Z"}), 400, "unknown_field")
        assert_problem(steward.post(f"{CLAIM_URL}?x=1", {}), 400, "invalid_parameter")


class TestUndoing:
    def test_restores_what_was_retired(self, steward):
        paris, berlin = make_cities("Paris", "Berlin")
        decision = create_decision(steward, outcome="keep_one", keep=[str(paris.memory_id)])

        response = steward.post(f"{DECISION_LIST_URL}/{decision['id']}/undo", {"reason": "By mistake."})

        assert response.status_code == 201, response.content
        undo = response.json()
        assert (undo["outcome"], undo["undoes_id"], undo["reason"]) == ("undo", decision["id"], "By mistake.")
        assert steward.get(response["Location"])["ETag"] == response["ETag"]
        assert [status_of(memory) for memory in (paris, berlin)] == ["active", "active"]
        before = steward.get(f"{DECISION_LIST_URL}/{decision['id']}").json()
        assert (before["undone_by_id"], before["is_in_force"]) == (undo["id"], False)
        (entry,) = list_audit_entries("conflict.undo")
        assert (entry.route, entry.details["reason"]) == ("api:decision-undo", "By mistake.")

    def test_is_done_once(self, steward):
        make_cities("Paris", "Berlin")
        url = f"{DECISION_LIST_URL}/{create_decision(steward)['id']}"
        tag = steward.get(url)["ETag"]
        undo = steward.post(f"{url}/undo", {"reason": "No."}, headers={"If-Match": tag})

        assert undo.status_code == 201, undo.content
        assert_problem(steward.post(f"{url}/undo", {"reason": "No."}), 409, "already_undone")
        assert_problem(steward.post(f"{url}/undo", {"reason": "No."}, headers={"If-Match": tag}), 412, "already_undone")
        assert_problem(steward.post(f"{undo['Location']}/undo", {"reason": "No."}), 409, "cannot_undo_undo")
        assert_problem(
            steward.post(f"{undo['Location']}/undo", {"reason": "No."}, headers={"If-Match": "x"}), 412, "stale"
        )
        assert len(list_audit_entries("conflict.undo")) == 1

    def test_of_what_is_hidden_is_of_what_is_missing(self, steward, low):
        make_cities("Paris")
        make_cities("Berlin", tier="restricted")
        hidden = create_decision(steward)["id"]

        for verb in ("", "/undo"):
            responses = [
                comparable_response(low.post(f"{url}/undo", {"reason": "No."}) if verb else low.get(url))
                for url in (f"{DECISION_LIST_URL}/{hidden}", f"{DECISION_LIST_URL}/{uuid.uuid4()}")
            ]
            assert responses[0] == responses[1]
            assert responses[0][0] == 404
        assert not list_audit_entries("conflict.undo")

    @pytest.mark.parametrize(
        ("body", "code"),
        [({}, "invalid_value"), ({"reason": " "}, "invalid_value"), ({"reason": "x", "run_id": "x"}, "unknown_field")],
    )
    def test_takes_a_reason(self, steward, body, code):
        make_cities("Paris", "Berlin")

        assert_problem(steward.post(f"{DECISION_LIST_URL}/{create_decision(steward)['id']}/undo", body), 400, code)

        assert not list_audit_entries("conflict.undo")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("outcome", ["keep_one", "not_a_conflict"])
@pytest.mark.parametrize("with_etag", [False, True])
def test_of_two_stewards_who_decide_at_the_same_moment_one_does(steward, second_steward, outcome, with_etag):
    """CC-06"""
    paris, _ = make_cities("Paris", "Berlin")
    choice = {"outcome": outcome, "reason": "Seen."} | (
        {"keep": [str(paris.memory_id)]} if outcome == "keep_one" else {}
    )
    group_response = steward.get(GROUP_URL)
    headers = {"If-Match": group_response["ETag"]} if with_etag else {}
    body = choice if with_etag else {**choice, "evidence": group_response.json()["evidence"]}
    ready = threading.Barrier(2)
    responses: list[Any] = []

    def post_decision(caller: Any) -> None:
        ready.wait()
        try:
            responses.append(caller.post(DECISIONS_URL, body, headers=headers))
        finally:
            connection.close()

    threads = [threading.Thread(target=post_decision, args=(caller,)) for caller in (steward, second_steward)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    first, second = sorted(responses, key=lambda response: response.status_code)
    assert first.status_code == 201, first.content
    assert assert_problem(second, 412 if with_etag else 409, "stale")["decision"] == first.json()
    assert len(list_audit_entries()) == 1
