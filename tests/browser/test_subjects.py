"""The timeline of a subject in a browser, with what was decided about it."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from memoryhub.conflicts.decisions import resolve
from memoryhub.conflicts.decisions.resolve import Resolution, ResolutionRequest
from memoryhub.conflicts.groups.group_keys import compute_evidence
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from tests.browser.axe import find_violations
from tests.factories import make_memory, make_user, utc

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
STEWARD = Principal(
    name="user:steward", scopes=frozenset({Scope.READ, Scope.CURATE}), clearance=unrestricted_clearance()
)
KEY = ("user:bob", "city")


@pytest.fixture
def boss(transactional_db: None) -> User:
    return make_user("boss", max_tier="restricted", scopes="read curate")


def decisions() -> None:
    """Paris is kept, then that is undone, and London is kept, for a reason that has no spaces."""
    cities = [
        make_memory(subject=KEY[0], collection=KEY[1], content=content, timestamp=utc(f"2026-03-0{day} 12:00"))
        for day, content in ((1, "Paris"), (5, "London"))
    ]
    for city in cities:
        members = resolve.list_members(KEY, STEWARD)
        evidence = compute_evidence((member.memory_id, member.version) for member in members)
        choice = Resolution(outcome="keep_one", keep=[city.memory_id], reason="Asked-him." * 30)
        outcome = resolve.resolve(ResolutionRequest(key=KEY, evidence=evidence, resolution=choice), principal=STEWARD)
        if city is cities[0]:
            assert outcome.decision_id
            resolve.undo_decisions([outcome.decision_id], principal=STEWARD, reason="He was joking.")


def test_decisions_are_read_with_any_eyes_and_on_any_screen(view: Callable[..., Page], boss: User) -> None:
    decisions()
    page = view(boss)
    violations = []
    for path in ("/subjects/user:bob", "/diff?since=2026-01-01&change=resolved"):
        page.goto(path)
        violations += find_violations(page)

    assert violations == []


def test_a_retired_value_leads_to_its_decision(open_page: Callable[..., Page], boss: User) -> None:
    decisions()
    page = open_page(boss)
    page.goto("/subjects/user:bob")

    page.locator("tr", has_text="retired").get_by_role("link", name="by a decision").first.click()

    target = page.locator(".decision-entry:target")
    expect(target).to_contain_text("kept one value")
    target.get_by_role("link", name="kept one value").click()
    page.wait_for_url("**/decisions/*")
