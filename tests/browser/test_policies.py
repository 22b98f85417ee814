"""Policies in a browser: written, tried, carried out and taken back, with JavaScript and without."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from memoryhub.conflicts.models import Decision
from memoryhub.conflicts.policies import policy_runs
from tests.browser.axe import find_violations
from tests.browser.conftest import PASSWORD
from tests.conflicts.policies.policy_factories import ADMIN, make_group, make_policy
from tests.factories import make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def scripted(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def admin(transactional_db: None) -> User:
    return make_user("root", PASSWORD, scopes="admin", max_tier="restricted")


def test_a_policy_is_written_tried_carried_out_and_taken_back(
    open_page: OpenPage, admin: User, scripted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_runs, "BATCH_SIZE", 2)
    for name in "abcde":
        make_group(f"user:{name}", "Paris", "London")
    page = open_page(admin, java_script_enabled=scripted)
    page.goto("/policies")

    page.get_by_role("link", name="New policy").click()
    page.get_by_label("Name", exact=True).fill("Newest first")
    page.get_by_label("First", exact=True).select_option("trusted_sources")
    page.get_by_label("Second", exact=True).select_option("latest_event")
    page.get_by_label("contradiction", exact=True).check()
    page.get_by_label("update", exact=True).check()
    page.get_by_label("Trusted sources, one on a line").fill("crm\nmail")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Version 1 holds now.")).to_be_visible()

    page.get_by_role("link", name="Dry run").click()
    expect(page.locator("#totals")).to_contain_text("5 of 5 open groups would be decided")
    expect(page.locator("#rows > li")).to_have_count(5)
    expect(page.locator("#rows > li").first).to_contain_text("London")
    page.get_by_role("button", name="Carry it out").click()
    if not scripted:
        for _ in range(2):
            page.get_by_role("button", name="Go on").click()
    expect(page.locator("#run")).to_contain_text("5 decided, 0 left to people")
    expect(page.locator("#run")).to_contain_text("It is finished.")
    assert Decision.objects.in_force().count() == 5
    if scripted:
        page.get_by_role("link", name="The run, and how to undo it").click()

    page.get_by_label("Reason", exact=True).fill("Was a mistake.")
    page.get_by_role("button", name="Undo all of it").click()
    if not scripted:
        for _ in range(2):
            page.get_by_role("button", name="Go on undoing").click()
    expect(page.get_by_text("5 decisions of the run are undone.")).to_be_visible()
    assert Decision.objects.in_force().count() == 0


def test_a_long_dry_run_counts_on_by_itself(open_page: OpenPage, admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAGE_SIZE", "COUNT_BATCH_SIZE"):
        monkeypatch.setattr(f"inspector.views.policies.{name}", 2)
    for name in "abcdefg":
        make_group(f"user:{name}", "Paris", "London")
    policy = make_policy()
    page = open_page(admin)
    page.goto(f"/policies/{policy.policy_id}/dry-run")

    expect(page.locator("#totals")).to_contain_text("7 of 7 open groups would be decided.")
    expect(page.locator("#rows > li")).to_have_count(2)
    page.get_by_role("link", name="Next").click()
    expect(page.locator("#rows > li").first).to_contain_text("user:c")


def test_axe_finds_nothing_and_nothing_overflows(view: OpenPage, admin: User) -> None:
    for name in "abc":
        make_group(f"user:{name}" * 20, "Paris " * 60, "London " * 60, namespace="sales")
    make_group("user:d", "Paris is nice.", "paris is nice")
    sources = [{"rule": "trusted_sources", "sources": ["a-source-of-a-long-name" * 4, "crm"]}]
    policy = make_policy(*sources, "latest_event", "manual_review", name="A policy of a rather long name " * 6)
    make_policy(name="Other", namespace="sales", collection="city", classes=["paraphrase"], is_enabled=False)
    run = policy_runs.start_run(policy.policy_id, principal=ADMIN)
    page = view(admin)
    violations = []
    url = f"/policies/{policy.policy_id}"
    for path in ("/policies", "/policies/new", url, f"{url}/dry-run", f"/policies/runs/{run.run_id}"):
        page.goto(path)
        violations += find_violations(page)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#run")).to_contain_text("It is finished.")
    violations += find_violations(page)
    page.goto(f"/policies/runs/{run.run_id}")
    violations += find_violations(page)
    page.goto("/policies/new")
    page.get_by_label("Name", exact=True).fill("No rules")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert").first).to_be_attached()
    violations += find_violations(page)

    assert violations == []
