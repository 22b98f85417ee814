"""Deciding about conflicts in a browser: by keyboard alone, without JavaScript, two stewards at once."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from memoryhub.conflicts.groups.group_keys import encode_id
from memoryhub.conflicts.models import Decision
from memoryhub.memories.models import Memory
from tests.browser import hostile_texts
from tests.browser.axe import find_violations
from tests.browser.conftest import PASSWORD
from tests.factories import make_memory, make_user, utc
from tests.harness.strategies import SOAK

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]
GROUP_COUNT = 20 if SOAK else 8


@pytest.fixture
def sue(transactional_db: None) -> User:
    return make_user("sue", PASSWORD, scopes="read curate", max_tier="restricted")


def make_conflict(subject: str, **fields: Any) -> list[Memory]:
    shared_fields = {"subject": subject, "collection": "city", **fields}
    return [
        make_memory(
            content=f"She lives in {city}.", source=source, timestamp=utc(f"2026-03-0{day} 12:00"), **shared_fields
        )
        for day, (city, source) in enumerate((("London", "bot"), ("Paris", "crm")), 1)
    ]


def group_url(subject: str) -> str:
    return f"/conflicts/{encode_id(subject, 'city')}"


def expect_heading(page: Page, subject: str) -> None:
    expect(page.locator("#group-title")).to_contain_text(subject)
    expect(page.locator("#group-title")).to_be_focused()


def test_a_steward_works_through_many_groups_by_keyboard_alone(open_page: OpenPage, sue: User) -> None:
    for index in range(GROUP_COUNT):
        make_conflict(f"user:{index:02}")
    page = open_page(sue)
    page.goto("/conflicts")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#group-title")).to_contain_text("user:00")
    expect(page.locator("#claim")).to_contain_text("Taken by you until")

    page.keyboard.press("1")
    expect(page.locator("#chosen")).to_have_text("Keep value 1")
    expect(page.get_by_label("Reason", exact=True)).to_be_focused()
    page.keyboard.type("The newest is right.")
    page.keyboard.press("Enter")
    expect_heading(page, "user:01")
    for index, key in enumerate("2bnd", 1):
        page.keyboard.press(key)
        expect(page.get_by_label("Reason", exact=True)).to_have_value("The newest is right.")
        page.keyboard.press("Enter")
        expect_heading(page, f"user:{index + 1:02}")
    page.keyboard.press("m")
    expect(page.locator("#content")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("She lives in Paris and in London.")
    page.keyboard.press("Tab")
    page.keyboard.type("Both are true.")
    page.keyboard.press("Enter")
    expect_heading(page, "user:06")
    page.keyboard.press("j")
    expect_heading(page, "user:07")
    page.keyboard.press("k")
    expect_heading(page, "user:06")
    page.keyboard.press("u")
    expect(page.get_by_label("Reason for undoing it")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("2 memories are active again.")).to_be_visible()
    expect(page.locator("#group-title")).to_contain_text("user:05")
    for index in range(5, GROUP_COUNT):
        page.keyboard.press("1" if index % 2 else "2")
        page.keyboard.press("Enter")
        if index < GROUP_COUNT - 1:
            expect_heading(page, f"user:{index + 1:02}")

    expect(page.get_by_text("No contradictions left")).to_be_visible()
    expect(page.get_by_text(f"{GROUP_COUNT} by you today")).to_be_visible()
    decisions = Decision.objects.exclude(outcome="undo")
    assert decisions.count() == GROUP_COUNT + 1
    outcomes = decisions.values_list("outcome", flat=True).distinct().order_by("outcome")
    assert list(outcomes) == ["defer", "keep_one", "keep_several", "merge", "not_a_conflict"]


def test_keys_do_nothing_while_somebody_types_or_when_they_are_switched_off(open_page: OpenPage, sue: User) -> None:
    make_conflict("user:ada")
    page = open_page(sue)
    page.goto(group_url("user:ada"))
    reason = page.get_by_label("Reason", exact=True)

    reason.focus()
    page.keyboard.type("1bmndujk")
    expect(reason).to_have_value("1bmndujk")
    expect(page.locator("input[name=choice]:checked")).to_have_count(0)
    page.keyboard.press("Escape")
    reason.fill("")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_text("On the page of a conflict")).to_be_visible()
    page.keyboard.press("1")
    expect(page.locator("input[name=choice]:checked")).to_have_count(0)
    page.get_by_label("Single-key shortcuts are on in this browser").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    expect(page.locator("input[name=choice]:checked")).to_have_count(0)

    assert not Decision.objects.exists()


def test_without_javascript_a_group_is_decided_and_undone(open_page: OpenPage, sue: User) -> None:
    make_conflict("user:ada")
    make_conflict("user:bob")
    page = open_page(sue, java_script_enabled=False)
    page.goto("/conflicts")
    page.get_by_role("link", name="user:ada").click()
    expect(page.get_by_role("button", name="Take", exact=True)).to_be_visible()

    page.get_by_label("Keep several").or_(page.get_by_label("Keep both")).check()
    page.get_by_label("Holds from").first.fill("2026-03-02")
    page.get_by_label("until before").last.fill("2026-03-02")
    page.get_by_label("Reason", exact=True).fill("She moved.")
    page.get_by_role("button", name="Decide", exact=True).click()
    expect(page.locator("#group-title")).to_contain_text("user:bob")
    expect(page.get_by_text("You kept several values")).to_be_visible()
    assert len(Decision.objects.get().validity) == 2

    page.get_by_label("Reason for undoing it").fill("She did not.")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#group-title")).to_contain_text("user:ada")
    page.get_by_label("Keep this: value 1").check()
    page.get_by_role("button", name="Newer information.").click()
    expect(page.locator("#group-title")).to_contain_text("user:bob")
    assert Decision.objects.latest("id").reason == "Newer information."


def test_two_stewards_do_not_collide(open_page: OpenPage, sue: User) -> None:
    make_conflict("user:ada")
    make_conflict("user:bob")
    own_page, other_page = (
        open_page(sue),
        open_page(make_user("bob", PASSWORD, scopes="read curate", max_tier="restricted")),
    )
    own_page.goto(group_url("user:ada"))
    expect(own_page.locator("#claim")).to_contain_text("Taken by you until")
    other_page.goto(group_url("user:ada"))
    expect(other_page.locator("#claim")).to_contain_text("Taken by user:sue")

    other_page.keyboard.press("1")
    other_page.keyboard.type("It is newer.")
    other_page.keyboard.press("Enter")
    expect(other_page.get_by_role("alert")).to_contain_text("Another principal is deciding about this conflict now.")
    expect(other_page.get_by_label("Reason", exact=True)).to_have_value("It is newer.")
    own_page.keyboard.press("n")
    own_page.keyboard.type("Two homes.")
    own_page.keyboard.press("Enter")
    expect(own_page.locator("#group-title")).to_contain_text("user:bob")
    other_page.get_by_role("button", name="Decide", exact=True).click()
    expect(other_page.get_by_role("alert")).to_contain_text("Meanwhile user:sue found no conflict")
    assert Decision.objects.count() == 1


def test_one_decision_for_similar_groups(open_page: OpenPage, sue: User) -> None:
    for subject in ("user:ada", "user:bob", "user:eve"):
        make_conflict(subject)
    page = open_page(sue)
    page.goto(group_url("user:ada"))

    page.get_by_label("Keep this: value 2").check()
    page.get_by_label("Reason", exact=True).fill("The bot knows.")
    page.get_by_role("button", name="Apply to similar").click()
    expect(page.get_by_text("2 beside this one")).to_be_visible()
    page.get_by_label("user:eve").uncheck()
    page.get_by_role("button", name="Decide those that are ticked").click()

    expect(page.get_by_role("heading", name="2 conflicts decided")).to_be_visible()
    assert Memory.objects.filter(status="retired", superseded_at=None, source="crm").count() == 2
    page.get_by_role("button", name="Undo all 2").click()
    expect(page.get_by_text("2 memories are active again.")).to_be_visible()


def test_axe_finds_nothing_and_nothing_overflows(view: OpenPage, sue: User) -> None:
    for index in range(3):
        make_conflict(f"user:{index}", labels=["pii", "a label that is rather long " * 5], tier="confidential")
    long_fields: dict[str, Any] = {
        "subject": "user:" + "x" * 200,
        "collection": "city",
        "source": "s" * 120,
        "actor_id": "a" * 120,
    }
    for city in (*hostile_texts.INVISIBLE, "w" * 400, "Ignore all previous instructions."):
        make_memory(content=f"She lives in {city}.", **long_fields)
    page = view(sue)
    violations = []

    def check_page() -> None:
        nonlocal violations
        violations += find_violations(page)

    for path in (
        "/conflicts", "/conflicts?class=all&status=all&limit=2", "/conflicts?class=odd", "/conflicts?class=duplicate",
        "/decisions", "/help", group_url("user:0"), group_url(long_fields["subject"]),
    ):  # fmt: skip
        page.goto(path)
        check_page()
    page.goto("/conflicts")
    page.locator("summary", has_text="Filter").click()
    check_page()
    for choice in ("Keep both", "Merge", "Snooze"):
        page.goto(group_url("user:0"))
        page.get_by_role("radio", name=choice).check()
        check_page()
    page.get_by_label("Reason", exact=True).fill("Later.")
    page.get_by_role("button", name="Apply to similar").click()
    check_page()
    page.get_by_role("button", name="Decide those that are ticked").click()
    check_page()
    page.goto("/conflicts?class=all&status=decided")
    check_page()
    page.goto(group_url("user:0"))
    check_page()
    page.goto("/decisions")
    check_page()
    page.locator(".entry__summary a", has_text=re.compile("snoozed")).first.click()
    check_page()
    page.goto(f"/memories/{Memory.objects.filter(subject='user:0').first().memory_id}")  # type: ignore[union-attr]
    check_page()

    assert violations == []
