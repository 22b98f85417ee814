"""Policies over the API: written, tried page by page, carried out step by step, and taken back."""

from typing import Any
from uuid import uuid4

import pytest

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts import runs
from memoryhub.conflicts.models import Decision
from tests.api.answers import refused
from tests.builders import make_key, make_memory
from tests.conflicts.runs import CLASSES, make_group

pytestmark = pytest.mark.django_db
NAMED = {"name": "Newest first", "rules": [{"rule": "latest_event"}], "classes": CLASSES}


@pytest.fixture
def admin(api):
    return api(make_key(scopes="admin", clearance={"max_tier": "restricted"}))


@pytest.fixture
def steward(api):
    return api(make_key(scopes="read inspect", clearance={"max_tier": "restricted"}))


def made(admin: Any, **fields: Any) -> dict[str, Any]:
    answer = admin.post("/api/policies", {**NAMED, **fields})
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def of(policy: dict[str, Any], deed: str = "") -> str:
    return f"/api/policies/{policy['policy_id']}{deed}"


def test_a_policy_is_written_changed_and_listed(admin, steward):
    first = made(admin, namespace="sales")
    changed = admin.post(of(first), {**NAMED, "name": "Changed", "version": 1})

    assert (changed.status_code, changed.json()["version"], changed.json()["namespace"]) == (201, 2, None)
    assert [each["version"] for each in steward.get(of(first)).json()["versions"]] == [2, 1]
    assert [each["name"] for each in steward.get("/api/policies").json()["policies"]] == ["Changed"]
    stale = admin.post(of(first), {**NAMED, "version": 1})
    assert (stale.status_code, refused(stale)["code"]) == (409, "stale")
    assert refused(admin.post(of(first), NAMED))["code"] == "precondition_required"
    entries = AuditEntry.objects.filter(action="policy.change").order_by("seq")
    assert list(entries.values_list("route", flat=True)) == ["api:policies", "api:policy"]


@pytest.mark.parametrize("sent", [{}, {"name": "x", "rules": [{"rule": "dice"}]}, {**NAMED, "version": 1}, [NAMED]])
def test_what_is_no_policy_is_400_in_words(admin, sent):
    answer = admin.post("/api/policies", sent)

    assert answer.status_code == 400
    assert refused(answer)["errors"]


def test_a_dry_run_is_paged_and_its_totals_add_up(admin, steward):
    for name in "abcde":
        make_group(f"user:{name}", "Paris", "London")
    make_memory(subject="user:e", collection="city", content="Rome", timestamp="2026-03-02T12:00:00Z")
    policy = made(admin)

    groups, sent = [], {"limit": 2}
    while True:
        answer = steward.post(of(policy, "/dry-run"), sent).json()
        groups += answer["groups"]
        if not answer["has_more"]:
            break
        sent = {"limit": 2, "cursor": answer["next_cursor"]}

    assert [group["subject"] for group in groups] == [f"user:{name}" for name in "abcde"]
    assert [(group["value"], group["rule"], group["left"]) for group in groups] == [
        *[("London", "latest_event", "")] * 4, (None, "", "people"),
    ]  # fmt: skip
    assert answer["totals"] == {"seen": 5, "decided": {"latest_event": 4}, "left": {"people": 1}}
    assert not Decision.objects.exists()


def test_a_cursor_holds_for_its_version_and_its_reader_alone(admin, steward):
    for name in "ab":
        make_group(f"user:{name}", "Paris", "London")
    policy = made(admin)
    cursor = steward.post(of(policy, "/dry-run"), {"limit": 1}).json()["next_cursor"]

    assert refused(admin.post(of(policy, "/dry-run"), {"cursor": cursor}))["code"] == "bad_cursor"
    admin.post(of(policy), {**NAMED, "version": 1})
    assert refused(steward.post(of(policy, "/dry-run"), {"cursor": cursor}))["code"] == "bad_cursor"


def test_a_run_goes_on_step_by_step_and_is_taken_back(admin, steward, monkeypatch):
    monkeypatch.setattr(runs, "STEP", 2)
    for name in "abcde":
        make_group(f"user:{name}", "Paris", "London")
    policy = made(admin)

    answer = admin.post(of(policy, "/runs"), {})
    run = answer.json()
    assert (answer.status_code, run["decided"], run["finished"]) == (201, 2, None)
    place = answer["Location"]
    while run["finished"] is None:
        run = admin.post(f"{place}/go", {}).json()
    assert (run["seen"], run["decided"], run["left"]) == (5, 5, 0)
    assert steward.get(place).json() == run
    assert steward.get("/api/policy-runs").json() == {"runs": [run], "next_cursor": None, "has_more": False}

    undone = 0
    while True:
        step = admin.post(f"{place}/undo", {"reason": "Was a mistake."}).json()
        undone += step["undone"]
        if step["is_finished"]:
            break
    assert (undone, step["run"]["undone"], step["refused"]) == (5, 5, 0)
    assert len(steward.post(of(policy, "/dry-run"), {}).json()["groups"]) == 5


def test_what_is_refused_says_why(admin):
    policy = made(admin)
    run = admin.post(of(policy, "/runs"), {}).json()
    place = f"/api/policy-runs/{run['run_id']}"
    assert admin.post(f"{place}/undo", {"reason": ""}).status_code == 400
    assert admin.post(f"{place}/go", {"more": 1}).status_code == 400
    admin.post(of(policy), {**NAMED, "is_enabled": False, "version": 1})

    disabled = admin.post(of(policy, "/runs"), {})

    assert (disabled.status_code, refused(disabled)["code"]) == (409, "disabled")


def test_what_is_hidden_is_missing(admin, api):
    secret = made(admin, namespace="secret")
    run = admin.post(of(secret, "/runs"), {}).json()
    clearance = {"name": "sales", "max_tier": "restricted", "every_namespace": False, "namespaces": ["sales"]}
    outsider = api(make_key(scopes="admin", clearance=clearance))

    def told(answer: Any) -> Any:
        return answer.status_code, {**refused(answer), "request_id": ""}

    for deed, body in (("", {**NAMED, "version": 1}), ("/dry-run", {}), ("/runs", {})):
        nowhere = {"policy_id": uuid4()}
        assert told(outsider.post(of(secret, deed), body)) == told(outsider.post(of(nowhere, deed), body))
    for deed, sent in (("go", {}), ("undo", {"reason": "Why not."})):
        paths = [f"/api/policy-runs/{run_id}/{deed}" for run_id in (run["run_id"], uuid4())]
        assert told(outsider.post(paths[0], sent)) == told(outsider.post(paths[1], sent))
    assert told(outsider.get(of(secret)))[0] == 404
    assert told(outsider.get(f"/api/policy-runs/{run['run_id']}"))[0] == 404
    assert outsider.get("/api/policies").json() == {"policies": []}
    assert outsider.get("/api/policy-runs").json()["runs"] == []
