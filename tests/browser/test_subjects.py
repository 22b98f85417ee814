"""The life of a subject in a browser, with what was decided about it."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from memoryhub.conflicts import decide
from memoryhub.conflicts.decide import Choice, Wish
from memoryhub.conflicts.keys import evidence_of
from memoryhub.firewall.types import Principal, Scope, everything
from tests.browser.looks import each_look
from tests.browser.test_accessibility import problems
from tests.builders import at, make_memory, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
STEWARD = Principal(name="user:steward", scopes=frozenset({Scope.READ, Scope.INSPECT}), clearance=everything())
KEY = ("user:bob", "city")


@pytest.fixture
def boss(transactional_db: None) -> User:
    return make_user("boss", max_tier="restricted", scopes="read inspect")


def decided() -> None:
    """Paris is kept, then that is undone, and London is kept, for a reason that has no spaces."""
    cities = [
        make_memory(subject=KEY[0], collection=KEY[1], content=content, timestamp=at(f"2026-03-0{day} 12:00"))
        for day, content in ((1, "Paris"), (5, "London"))
    ]
    for city in cities:
        found = decide.members(KEY, STEWARD)
        evidence = evidence_of((member.memory_id, member.version) for member in found)
        choice = Choice(outcome="keep_one", keep=[city.memory_id], reason="Asked-him." * 30)
        outcome = decide.decide(Wish(key=KEY, evidence=evidence, choice=choice), by=STEWARD)
        if city is cities[0]:
            assert outcome.decision_id
            decide.undo([outcome.decision_id], by=STEWARD, reason="He was joking.")


@each_look
def test_decisions_are_read_with_any_eyes_and_on_any_screen(
    open_page: Callable[..., Page], boss: User, theme: str, width: int
) -> None:
    decided()
    page = open_page(boss, bypass_csp=True, color_scheme=theme, viewport={"width": width, "height": 800})
    found = []
    for path in ("/subjects/user:bob", "/diff?since=2026-01-01&change=resolved"):
        page.goto(path)
        found += problems(page)

    assert found == []


def test_a_retired_value_leads_to_its_decision(open_page: Callable[..., Page], boss: User) -> None:
    decided()
    page = open_page(boss)
    page.goto("/subjects/user:bob")

    page.locator("tr", has_text="retired").get_by_role("link", name="by a decision").first.click()

    target = page.locator(".deed:target")
    expect(target).to_contain_text("kept one value")
    target.get_by_role("link", name="kept one value").click()
    page.wait_for_url("**/decisions/*")
