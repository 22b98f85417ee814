"""Policies over the API: written, tried page by page, carried out step by step, and taken back."""

from typing import Any
from uuid import uuid4

import pytest

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts.models import Decision
from memoryhub.conflicts.policies import policy_runs
from tests.api.responses import assert_any_problem
from tests.conflicts.policies.policy_factories import DECIDED_CLASSES, make_group
from tests.factories import make_key, make_memory

pytestmark = pytest.mark.django_db
POLICY_FIELDS = {"name": "Newest first", "rules": [{"rule": "latest_event"}], "classes": DECIDED_CLASSES}


@pytest.fixture
def admin(api):
    return api(make_key(scopes="admin", clearance={"max_tier": "restricted"}))


def create_policy(admin: Any, **fields: Any) -> dict[str, Any]:
    response = admin.post("/api/policies", {**POLICY_FIELDS, **fields})
    assert response.status_code == 201, response.content
    policy: dict[str, Any] = response.json()
    return policy


def policy_url(policy: dict[str, Any], action: str = "") -> str:
    return f"/api/policies/{policy['policy_id']}{action}"


def test_a_policy_is_written_changed_and_listed(admin, steward):
    first = create_policy(admin, namespace="sales")
    changed_response = admin.post(policy_url(first), {**POLICY_FIELDS, "name": "Changed", "version": 1})

    assert (changed_response.status_code, changed_response.json()["version"], changed_response.json()["namespace"]) == (
        201,
        2,
        None,
    )
    assert [version["version"] for version in steward.get(policy_url(first)).json()["versions"]] == [2, 1]
    assert [version["name"] for version in steward.get("/api/policies").json()["policies"]] == ["Changed"]
    stale_response = admin.post(policy_url(first), {**POLICY_FIELDS, "version": 1})
    assert (stale_response.status_code, assert_any_problem(stale_response)["code"]) == (409, "stale")
    assert assert_any_problem(admin.post(policy_url(first), POLICY_FIELDS))["code"] == "precondition_required"
    entries = AuditEntry.objects.filter(action="policy.change").order_by("seq")
    assert list(entries.values_list("route", flat=True)) == ["api:policy-list", "api:policy-detail"]


@pytest.mark.parametrize(
    "policy_fields", [{}, {"name": "x", "rules": [{"rule": "dice"}]}, {**POLICY_FIELDS, "version": 1}, [POLICY_FIELDS]]
)
def test_what_is_no_policy_is_400_in_words(admin, policy_fields):
    response = admin.post("/api/policies", policy_fields)

    assert response.status_code == 400
    assert assert_any_problem(response)["errors"]


def test_a_dry_run_is_paged_and_its_totals_add_up(admin, steward):
    for name in "abcde":
        make_group(f"user:{name}", "Paris", "London")
    make_memory(subject="user:e", collection="city", content="Rome", timestamp="2026-03-02T12:00:00Z")
    policy = create_policy(admin)

    groups, run_body = [], {"limit": 2}
    while True:
        response = steward.post(policy_url(policy, "/dry-run"), run_body).json()
        groups += response["groups"]
        if not response["has_more"]:
            break
        run_body = {"limit": 2, "cursor": response["next_cursor"]}

    assert [group["subject"] for group in groups] == [f"user:{name}" for name in "abcde"]
    assert [(group["value"], group["rule"], group["skip_reason"]) for group in groups] == [
        *[("London", "latest_event", "")] * 4, (None, "", "manual_review"),
    ]  # fmt: skip
    assert response["totals"] == {
        "groups_seen": 5,
        "decided_by_rule": {"latest_event": 4},
        "skipped_by_reason": {"manual_review": 1},
    }
    assert not Decision.objects.exists()


def test_a_cursor_holds_for_its_version_and_its_reader_alone(admin, steward):
    for name in "ab":
        make_group(f"user:{name}", "Paris", "London")
    policy = create_policy(admin)
    cursor = steward.post(policy_url(policy, "/dry-run"), {"limit": 1}).json()["next_cursor"]

    assert (
        assert_any_problem(admin.post(policy_url(policy, "/dry-run"), {"cursor": cursor}))["code"] == "invalid_cursor"
    )
    admin.post(policy_url(policy), {**POLICY_FIELDS, "version": 1})
    assert (
        assert_any_problem(steward.post(policy_url(policy, "/dry-run"), {"cursor": cursor}))["code"] == "invalid_cursor"
    )


def test_a_run_goes_on_step_by_step_and_is_taken_back(admin, steward, monkeypatch):
    monkeypatch.setattr(policy_runs, "BATCH_SIZE", 2)
    for name in "abcde":
        make_group(f"user:{name}", "Paris", "London")
    policy = create_policy(admin)

    response = admin.post(policy_url(policy, "/runs"), {})
    run = response.json()
    assert (response.status_code, run["decisions_made"], run["finished_at"]) == (201, 2, None)
    url = response["Location"]
    while run["finished_at"] is None:
        run = admin.post(f"{url}/advance", {}).json()
    assert (run["groups_seen"], run["decisions_made"], run["groups_skipped"]) == (5, 5, 0)
    assert steward.get(url).json() == run
    assert steward.get("/api/policy-runs").json() == {"runs": [run], "next_cursor": None, "has_more": False}

    undone_count = 0
    while True:
        step = admin.post(f"{url}/undo", {"reason": "Was a mistake."}).json()
        undone_count += step["undone_count"]
        if step["is_finished"]:
            break
    assert (undone_count, step["run"]["decisions_undone"], step["refused_count"]) == (5, 5, 0)
    assert len(steward.post(policy_url(policy, "/dry-run"), {}).json()["groups"]) == 5


def test_what_is_refused_says_why(admin):
    policy = create_policy(admin)
    run = admin.post(policy_url(policy, "/runs"), {}).json()
    url = f"/api/policy-runs/{run['run_id']}"
    assert admin.post(f"{url}/undo", {"reason": ""}).status_code == 400
    assert admin.post(f"{url}/advance", {"more": 1}).status_code == 400
    admin.post(policy_url(policy), {**POLICY_FIELDS, "is_enabled": False, "version": 1})

    disabled_response = admin.post(policy_url(policy, "/runs"), {})

    assert (disabled_response.status_code, assert_any_problem(disabled_response)["code"]) == (409, "policy_disabled")


def test_what_is_hidden_is_missing(admin, api):
    secret = create_policy(admin, namespace="secret")
    run = admin.post(policy_url(secret, "/runs"), {}).json()
    clearance = {"name": "sales", "max_tier": "restricted", "all_namespaces": False, "namespaces": ["sales"]}
    outsider = api(make_key(scopes="admin", clearance=clearance))

    def comparable(response: Any) -> Any:
        return response.status_code, {**assert_any_problem(response), "request_id": ""}

    for action, body in (("", {**POLICY_FIELDS, "version": 1}), ("/dry-run", {}), ("/runs", {})):
        missing_ids = {"policy_id": uuid4()}
        assert comparable(outsider.post(policy_url(secret, action), body)) == comparable(
            outsider.post(policy_url(missing_ids, action), body)
        )
    for action, request_body in (("go", {}), ("undo", {"reason": "Why not."})):
        paths = [f"/api/policy-runs/{run_id}/{action}" for run_id in (run["run_id"], uuid4())]
        assert comparable(outsider.post(paths[0], request_body)) == comparable(outsider.post(paths[1], request_body))
    assert comparable(outsider.get(policy_url(secret)))[0] == 404
    assert comparable(outsider.get(f"/api/policy-runs/{run['run_id']}"))[0] == 404
    assert outsider.get("/api/policies").json() == {"policies": []}
    assert outsider.get("/api/policy-runs").json()["runs"] == []
