"""Policies in the inspector: written, tried on the open groups, carried out step by step, and taken back."""

import html
import re
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from memoryhub.conflicts import policies, runs
from memoryhub.conflicts.models import Decision, Policy, PolicyRun
from tests.builders import make_memory
from tests.conflicts.runs import ADMIN, change, make_group, make_policy, standing
from tests.inspector import pages

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
TYPED = {
    "name": "House rules",
    "namespace_is": "any",
    "collection_is": "one",
    "collection": "city",
    "rule": ["trusted_sources", "", "latest_event"],
    "sources": "crm\r\n mail \r\n\r\n",
    "classes": ["update", "contradiction"],
    "is_enabled": "on",
}


@pytest.fixture
def admin() -> Client:
    return pages.signed_in("root", scopes="admin")


@pytest.fixture
def steward() -> Client:
    return pages.signed_in("sue", scopes="read inspect")


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "STEP", 2)


def text(answer: Any) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", pages.text(answer))))


def of(policy: Policy, part: str = "") -> str:
    return f"/policies/{policy.policy_id}{part}"


def token(answer: Any, name: str) -> str:
    found = re.search(rf'\?{name}=([^"]+)"', pages.text(answer))
    assert found
    return html.unescape(found[1])


def test_a_policy_is_written_and_the_next_version_begins_with_what_it_says(admin):
    answer = admin.post("/policies/new", TYPED)

    policy = Policy.objects.get()
    assert answer["Location"] == of(policy)
    assert (policy.namespace, policy.collection, policy.principal) == (None, "city", "user:root")
    assert policy.rules == [{"rule": "trusted_sources", "sources": ["crm", "mail"]}, {"rule": "latest_event"}]
    page = pages.text(admin.get(of(policy)))
    assert 'value="House rules"' in page
    assert re.search(r">\s*crm\nmail</textarea>", page)
    assert 'value="latest_event" selected' in page
    assert "Version 1 holds now." in page

    admin.post(of(policy), {**TYPED, "version": "1", "name": "Other rules"})
    admin.post(of(policy), {name: value for name, value in {**TYPED, "version": "2"}.items() if name != "is_enabled"})

    assert [each.is_enabled for each in policies.versions(policy.policy_id, ADMIN)] == [False, True, True]
    assert "disabled" in text(admin.get("/policies"))


@pytest.mark.parametrize(
    ("typed", "status", "words"),
    [
        ({"name": " "}, 400, "The name is required."),
        ({"rule": []}, 400, "The rules must hold 1 to 20 rules."),
        ({"rule": ["human", "latest_event"]}, 400, "The rules must end with human"),
        ({"sources": ""}, 400, "The rules needs 1 to 100 sources"),
        ({"classes": []}, 400, "Classes must name one class at least."),
        ({"rule": ["dice"]}, 400, "The rules must be one of"),
    ],
)
def test_what_makes_no_sense_is_said_and_what_was_typed_stays(admin, typed, status, words):
    answer = admin.post("/policies/new", {**TYPED, **typed})

    assert answer.status_code == status
    assert words in text(answer)
    assert "crm" in pages.text(answer) or "sources" in typed
    assert not Policy.objects.exists()


def test_of_two_who_change_it_the_second_is_told(admin):
    policy = make_policy(collection="city")
    change(policy, name="Mine")

    answer = admin.post(of(policy), {**TYPED, "version": "1"})

    assert (answer.status_code, "has changed since it was read" in text(answer)) == (409, True)
    assert 'name="version" value="1"' in pages.text(answer), "what was typed was typed about version 1"


def test_a_dry_run_shows_each_group_with_what_would_win(steward):
    make_group("user:ada", "Paris", "London")
    make_group("user:bob", "Paris is nice.", "paris is nice")
    policy = make_policy(classes=["update"])

    page = text(steward.get(of(policy, "/dry-run")))

    assert "1 of 2 open groups would be decided, 1 left to people." in page
    assert "user:ada · city Keeps London" in page
    assert "Latest event: it happened last" in page
    assert "Left as it is: The policy does not decide groups of this class." in page
    assert "Carry it out" not in page, "a steward may look"
    assert not Decision.objects.exists()


def test_a_long_dry_run_is_paged_and_counted_on(admin, monkeypatch):
    monkeypatch.setattr("inspector.views.policies.PAGE", 2)
    monkeypatch.setattr("inspector.views.policies.COUNTED", 2)
    for name in "abcde":
        make_group(f"user:{name}", "Paris", "London")
    policy = make_policy()

    first = admin.get(of(policy, "/dry-run"))
    second = admin.get(f"{of(policy, '/dry-run')}?cursor={token(first, 'cursor')}")
    counted = admin.get(f"{of(policy, '/dry-run')}?count={token(first, 'count')}", headers=HTMX)
    rest = admin.get(f"{of(policy, '/dry-run')}?count={token(counted, 'count')}", headers=HTMX)

    assert "user:b" in text(first)
    assert ("user:c" in text(second), "user:b" in text(second)) == (True, False)
    assert pages.text(counted).strip().startswith('<div id="totals"')
    assert "4 of 4 open groups" in text(counted)
    assert "5 of 5 open groups would be decided." in text(rest)
    assert "hx-get" not in pages.text(rest)
    whole = admin.get(f"{of(policy, '/dry-run')}?count={token(counted, 'count')}")
    assert "5 of 5 open groups would be decided." in text(whole)
    assert admin.get(f"{of(policy, '/dry-run')}?cursor=x").status_code == 302


@pytest.mark.usefixtures("small_steps")
def test_a_run_is_carried_out_by_buttons_and_taken_back(admin):
    groups = [make_group(f"user:{name}", "Paris", "London") for name in "abcde"]
    policy = make_policy()

    place = admin.post(of(policy, "/runs"))["Location"]
    page = admin.get(place)
    assert "2 decided, 0 left to people, of 2 open groups looked at." in text(page)
    assert 'hx-trigger="submit"' in pages.text(page), "to look at a run does not carry it on"
    while "Go on" in text(page):
        assert admin.post(f"{place}/go")["Location"] == place
        page = admin.get(place)
    assert "5 decided, 0 left to people, of 5 open groups looked at. It is finished." in text(page)
    assert all(set(standing(group).values()) == {"active", "retired"} for group in groups)

    refused = admin.post(f"{place}/undo", {"reason": " "})
    assert "Reason is required." in text(admin.get(refused["Location"]))
    for number in (2, 4):
        step = admin.post(f"{place}/undo", {"reason": "A mistake."})
        assert (step.status_code, f"{5 - number} of its decisions" in text(step)) == (200, True)
        assert 'value="A mistake."' in pages.text(step)
    done = admin.post(f"{place}/undo", {"reason": "A mistake."})
    assert "5 decisions of the run are undone." in text(admin.get(done["Location"]))
    assert all(set(standing(group).values()) == {"active"} for group in groups)


@pytest.mark.usefixtures("small_steps")
def test_with_htmx_a_run_goes_on_by_itself(admin):
    for name in "abc":
        make_group(f"user:{name}", "Paris", "London")
    policy = make_policy()

    part = admin.post(of(policy, "/runs"), headers=HTMX)
    place = part["HX-Push-Url"]
    assert pages.text(part).strip().startswith('<div id="run"')
    assert 'hx-trigger="load' in pages.text(part)
    part = admin.post(f"{place}/go", {"of": "3"}, headers=HTMX)
    assert "3 decided" in text(part)
    assert "It is finished." in text(part)
    assert "hx-trigger" not in pages.text(part)

    part = admin.post(f"{place}/undo", {"reason": "A mistake."}, headers=HTMX)
    assert 'hx-trigger="load' in pages.text(part)
    part = admin.post(f"{place}/undo", {"reason": "A mistake."}, headers=HTMX)
    assert "3 decisions of the run are undone." in text(part)


def test_a_run_that_may_not_go_on_says_so(admin):
    make_group("user:ada", "Paris", "London")
    policy = make_policy()
    run = runs.start(policy.policy_id, by=ADMIN)
    change(policy, is_enabled=False)
    place = f"/policies/runs/{run.run_id}"

    assert "It does not go on: the policy has changed" in text(admin.get(place))
    assert "The policy has changed since the run was started." in text(admin.get(admin.post(f"{place}/go")["Location"]))
    assert admin.post(f"{place}/go", headers=HTMX)["HX-Redirect"] == place
    assert "The policy is disabled." in text(admin.get(admin.post(of(policy, "/runs"))["Location"]))
    assert "Carry it out" not in text(admin.get(of(policy, "/dry-run")))


def test_who_may_not_govern_looks_and_is_refused(steward):
    policy = make_policy()
    run = runs.start(policy.policy_id, by=ADMIN)
    place = f"/policies/runs/{run.run_id}"

    for path in ("/policies", of(policy), of(policy, "/dry-run"), place):
        assert steward.get(path).status_code == 200
    assert "New policy" not in text(steward.get("/policies"))
    assert "<form" not in pages.text(steward.get(of(policy))).partition("<main")[2].partition("</main>")[0]
    for path in ("/policies/new", of(policy), of(policy, "/runs"), f"{place}/go", f"{place}/undo"):
        assert steward.post(path, {**TYPED, "version": "1", "reason": "x"}).status_code == 403
    reader = pages.signed_in("bob", scopes="read")
    assert {reader.get(path).status_code for path in ("/policies", of(policy), of(policy, "/dry-run"), place)} == {403}
    assert (Policy.objects.count(), PolicyRun.objects.count()) == (1, 1)


def test_what_is_hidden_is_missing(admin):
    make_group("user:ada", "Paris", "London")
    policy = make_policy(namespace="secret")
    run = runs.start(make_policy().policy_id, by=ADMIN)
    rights = {"every_namespace": False, "namespaces": ["sales"]}
    outsider = pages.signed_in("eve", scopes="admin", **rights)

    for path in (of(policy), of(policy, "/dry-run"), f"/policies/runs/{run.run_id}"):
        assert admin.get(path).status_code == 200
        assert outsider.get(path).status_code == 404
    for path in (of(policy), of(policy, "/runs"), f"/policies/runs/{run.run_id}/go", f"/policies/{uuid4()}/runs"):
        assert outsider.post(path, {**TYPED, "version": "1"}).status_code == 404
    assert "secret" not in text(outsider.get("/policies"))


def test_hostile_names_and_values_are_shown_as_text(admin):
    evil = "<img src=x onerror=alert(1)>"
    for day in (1, 2):
        make_memory(
            subject=evil, collection=evil, content=f"{evil}{day}", timestamp=f"2026-03-0{day}T12:00:00Z", source=evil
        )
    policy = make_policy({"rule": "trusted_sources", "sources": [evil]}, "latest_event", name=evil, collection=evil)
    place = admin.post(of(policy, "/runs"))["Location"]

    for path in ("/policies", of(policy), of(policy, "/dry-run"), place):
        page = admin.get(path)
        assert page.status_code == 200
        assert "<img src=x" not in pages.text(page)


def test_the_ledger_tells_of_policies_by_their_names():
    policy = make_policy(name="House rules")
    runs.start(policy.policy_id, by=ADMIN)
    auditor = pages.signed_in("ann", scopes="read audit")

    page = text(auditor.get("/ledger"))

    assert "user:root changed the policy House rules" in page
    assert "user:root started a run of the policy House rules" in page
