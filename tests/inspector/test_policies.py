"""Policies in the inspector: written, tried on the open groups, carried out step by step, and taken back."""

import html
import re
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from memoryhub.conflicts.models import Decision, Policy, PolicyRun
from memoryhub.conflicts.policies import policies, policy_runs
from tests.conflicts.policies.policy_factories import ADMIN, change_policy, make_group, make_policy, statuses_by_content
from tests.factories import make_memory
from tests.inspector import clients

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
FORM_DATA = {
    "name": "House rules",
    "namespace_mode": "any",
    "collection_mode": "specific",
    "collection": "city",
    "rule": ["trusted_sources", "", "latest_event"],
    "sources": "crm\r\n mail \r\n\r\n",
    "classes": ["update", "contradiction"],
    "is_enabled": "on",
}


@pytest.fixture
def admin() -> Client:
    return clients.client_for_new_user("root", scopes="admin")


@pytest.fixture
def steward() -> Client:
    return clients.client_for_new_user("sue", scopes="read curate")


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_runs, "BATCH_SIZE", 2)


def page_text(response: Any) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", clients.response_text(response))))


def policy_url(policy: Policy, part: str = "") -> str:
    return f"/policies/{policy.policy_id}{part}"


def page_token(response: Any, name: str) -> str:
    token_match = re.search(rf'\?{name}=([^"]+)"', clients.response_text(response))
    assert token_match
    return html.unescape(token_match[1])


def test_a_policy_is_written_and_the_next_version_begins_with_what_it_says(admin):
    response = admin.post("/policies/new", FORM_DATA)

    policy = Policy.objects.get()
    assert response["Location"] == policy_url(policy)
    assert (policy.namespace, policy.collection, policy.principal) == (None, "city", "user:root")
    assert policy.rules == [{"rule": "trusted_sources", "sources": ["crm", "mail"]}, {"rule": "latest_event"}]
    page = clients.response_text(admin.get(policy_url(policy)))
    assert 'value="House rules"' in page
    assert re.search(r">\s*crm\nmail</textarea>", page)
    assert 'value="latest_event" selected' in page
    assert "Version 1 holds now." in page

    admin.post(policy_url(policy), {**FORM_DATA, "version": "1", "name": "Other rules"})
    admin.post(
        policy_url(policy),
        {name: value for name, value in {**FORM_DATA, "version": "2"}.items() if name != "is_enabled"},
    )

    assert [version.is_enabled for version in policies.list_versions(policy.policy_id, ADMIN)] == [False, True, True]
    assert "disabled" in page_text(admin.get("/policies"))


@pytest.mark.parametrize(
    ("form_data", "status", "error_text"),
    [
        ({"name": " "}, 400, "The name is required."),
        ({"rule": []}, 400, "The rules must have 1 to 20 rules."),
        ({"rule": ["manual_review", "latest_event"]}, 400, "The rules must end with manual_review"),
        ({"sources": ""}, 400, "The rules needs 1 to 100 sources"),
        ({"classes": []}, 400, "Classes must name at least one class."),
        ({"rule": ["dice"]}, 400, "The rules must be one of"),
    ],
)
def test_what_makes_no_sense_is_said_and_what_was_typed_stays(admin, form_data, status, error_text):
    response = admin.post("/policies/new", {**FORM_DATA, **form_data})

    assert response.status_code == status
    assert error_text in page_text(response)
    assert "crm" in clients.response_text(response) or "sources" in form_data
    assert not Policy.objects.exists()


def test_of_two_concurrent_changes_the_second_is_refused_with_a_message(admin):
    policy = make_policy(collection="city")
    change_policy(policy, name="Mine")

    response = admin.post(policy_url(policy), {**FORM_DATA, "version": "1"})

    assert (response.status_code, "has changed since it was read" in page_text(response)) == (409, True)
    assert 'name="version" value="1"' in clients.response_text(response), "what was typed was typed about version 1"


def test_a_dry_run_shows_each_group_with_what_would_win(steward):
    make_group("user:ada", "Paris", "London")
    make_group("user:bob", "Paris is nice.", "paris is nice")
    policy = make_policy(classes=["update"])

    page = page_text(steward.get(policy_url(policy, "/dry-run")))

    assert "1 of 2 open groups would be decided, 1 left to people." in page
    assert "user:ada · city Keeps London" in page
    assert "Latest event: its event time is the latest" in page
    assert "Left as it is: The policy does not decide groups of this class." in page
    assert "Carry it out" not in page, "a steward may look"
    assert not Decision.objects.exists()


def test_a_long_dry_run_is_paged_and_counted_on(admin, monkeypatch):
    monkeypatch.setattr("inspector.views.policies.PAGE_SIZE", 2)
    monkeypatch.setattr("inspector.views.policies.COUNT_BATCH_SIZE", 2)
    for name in "abcde":
        make_group(f"user:{name}", "Paris", "London")
    policy = make_policy()

    dry_run_url = policy_url(policy, "/dry-run")
    first = admin.get(dry_run_url)
    second = admin.get(f"{dry_run_url}?cursor={page_token(first, 'cursor')}")
    counted_page = admin.get(f"{dry_run_url}?count_cursor={page_token(first, 'count_cursor')}", headers=HTMX)
    last_page = admin.get(f"{dry_run_url}?count_cursor={page_token(counted_page, 'count_cursor')}", headers=HTMX)

    assert "user:b" in page_text(first)
    assert ("user:c" in page_text(second), "user:b" in page_text(second)) == (True, False)
    assert clients.response_text(counted_page).strip().startswith('<div id="totals"')
    assert "4 of 4 open groups" in page_text(counted_page)
    assert "5 of 5 open groups would be decided." in page_text(last_page)
    assert "hx-get" not in clients.response_text(last_page)
    whole_page = admin.get(f"{dry_run_url}?count_cursor={page_token(counted_page, 'count_cursor')}")
    assert "5 of 5 open groups would be decided." in page_text(whole_page)
    assert admin.get(f"{policy_url(policy, '/dry-run')}?cursor=x").status_code == 302


@pytest.mark.usefixtures("small_steps")
def test_a_run_is_carried_out_by_buttons_and_taken_back(admin):
    groups = [make_group(f"user:{name}", "Paris", "London") for name in "abcde"]
    policy = make_policy()

    run_url = admin.post(policy_url(policy, "/runs"))["Location"]
    page = admin.get(run_url)
    assert "2 decided, 0 left to people, of 2 open groups looked at." in page_text(page)
    assert 'hx-trigger="submit"' in clients.response_text(page), "to look at a run does not carry it on"
    while "Go on" in page_text(page):
        assert admin.post(f"{run_url}/advance")["Location"] == run_url
        page = admin.get(run_url)
    assert "5 decided, 0 left to people, of 5 open groups looked at. It is finished." in page_text(page)
    assert all(set(statuses_by_content(group).values()) == {"active", "retired"} for group in groups)

    refused_response = admin.post(f"{run_url}/undo", {"reason": " "})
    assert "Reason is required." in page_text(admin.get(refused_response["Location"]))
    for expected_count in (2, 4):
        step = admin.post(f"{run_url}/undo", {"reason": "A mistake."})
        assert (step.status_code, f"{5 - expected_count} of its decisions" in page_text(step)) == (200, True)
        assert 'value="A mistake."' in clients.response_text(step)
    undo_response = admin.post(f"{run_url}/undo", {"reason": "A mistake."})
    assert "5 decisions of the run are undone." in page_text(admin.get(undo_response["Location"]))
    assert all(set(statuses_by_content(group).values()) == {"active"} for group in groups)


@pytest.mark.usefixtures("small_steps")
def test_with_htmx_a_run_goes_on_by_itself(admin):
    for name in "abc":
        make_group(f"user:{name}", "Paris", "London")
    policy = make_policy()

    part = admin.post(policy_url(policy, "/runs"), headers=HTMX)
    run_url = part["HX-Push-Url"]
    assert clients.response_text(part).strip().startswith('<div id="run"')
    assert 'hx-trigger="load' in clients.response_text(part)
    part = admin.post(f"{run_url}/advance", {"group_total": "3"}, headers=HTMX)
    assert "3 decided" in page_text(part)
    assert "It is finished." in page_text(part)
    assert "hx-trigger" not in clients.response_text(part)

    part = admin.post(f"{run_url}/undo", {"reason": "A mistake."}, headers=HTMX)
    assert 'hx-trigger="load' in clients.response_text(part)
    part = admin.post(f"{run_url}/undo", {"reason": "A mistake."}, headers=HTMX)
    assert "3 decisions of the run are undone." in page_text(part)


def test_a_run_that_may_not_go_on_says_so(admin):
    make_group("user:ada", "Paris", "London")
    policy = make_policy()
    run = policy_runs.start_run(policy.policy_id, principal=ADMIN)
    change_policy(policy, is_enabled=False)
    run_url = f"/policies/runs/{run.run_id}"

    assert "It does not go on: the policy has changed" in page_text(admin.get(run_url))
    assert "The policy has changed since the run was started." in page_text(
        admin.get(admin.post(f"{run_url}/advance")["Location"])
    )
    assert admin.post(f"{run_url}/advance", headers=HTMX)["HX-Redirect"] == run_url
    assert "The policy is disabled." in page_text(admin.get(admin.post(policy_url(policy, "/runs"))["Location"]))
    assert "Carry it out" not in page_text(admin.get(policy_url(policy, "/dry-run")))


def test_who_may_not_govern_looks_and_is_refused(steward):
    policy = make_policy()
    run = policy_runs.start_run(policy.policy_id, principal=ADMIN)
    run_url = f"/policies/runs/{run.run_id}"

    for path in ("/policies", policy_url(policy), policy_url(policy, "/dry-run"), run_url):
        assert steward.get(path).status_code == 200
    assert "New policy" not in page_text(steward.get("/policies"))
    assert (
        "<form"
        not in clients.response_text(steward.get(policy_url(policy))).partition("<main")[2].partition("</main>")[0]
    )
    for path in (
        "/policies/new",
        policy_url(policy),
        policy_url(policy, "/runs"),
        f"{run_url}/advance",
        f"{run_url}/undo",
    ):
        assert steward.post(path, {**FORM_DATA, "version": "1", "reason": "x"}).status_code == 403
    reader = clients.client_for_new_user("bob", scopes="read")
    assert {
        reader.get(path).status_code
        for path in ("/policies", policy_url(policy), policy_url(policy, "/dry-run"), run_url)
    } == {403}
    assert (Policy.objects.count(), PolicyRun.objects.count()) == (1, 1)


def test_what_is_hidden_is_missing(admin):
    make_group("user:ada", "Paris", "London")
    policy = make_policy(namespace="secret")
    run = policy_runs.start_run(make_policy().policy_id, principal=ADMIN)
    user_fields = {"all_namespaces": False, "namespaces": ["sales"]}
    outsider = clients.client_for_new_user("eve", scopes="admin", **user_fields)

    for path in (policy_url(policy), policy_url(policy, "/dry-run"), f"/policies/runs/{run.run_id}"):
        assert admin.get(path).status_code == 200
        assert outsider.get(path).status_code == 404
    for path in (
        policy_url(policy),
        policy_url(policy, "/runs"),
        f"/policies/runs/{run.run_id}/advance",
        f"/policies/{uuid4()}/runs",
    ):
        assert outsider.post(path, {**FORM_DATA, "version": "1"}).status_code == 404
    assert "secret" not in page_text(outsider.get("/policies"))


def test_hostile_names_and_values_are_shown_as_text(admin):
    hostile_html = "<img src=x onerror=alert(1)>"
    for day in (1, 2):
        make_memory(
            subject=hostile_html,
            collection=hostile_html,
            content=f"{hostile_html}{day}",
            timestamp=f"2026-03-0{day}T12:00:00Z",
            source=hostile_html,
        )
    policy = make_policy(
        {"rule": "trusted_sources", "sources": [hostile_html]},
        "latest_event",
        name=hostile_html,
        collection=hostile_html,
    )
    run_url = admin.post(policy_url(policy, "/runs"))["Location"]

    for path in ("/policies", policy_url(policy), policy_url(policy, "/dry-run"), run_url):
        page = admin.get(path)
        assert page.status_code == 200
        assert "<img src=x" not in clients.response_text(page)


def test_the_audit_log_shows_policies_by_their_names():
    policy = make_policy(name="House rules")
    policy_runs.start_run(policy.policy_id, principal=ADMIN)
    auditor = clients.client_for_new_user("ann", scopes="read audit")

    page = page_text(auditor.get("/audit"))

    assert "user:root changed the policy House rules" in page
    assert "user:root started a run of the policy House rules" in page
