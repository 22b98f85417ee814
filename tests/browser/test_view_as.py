"""Viewing as somebody else, in a browser: by the keyboard, with JavaScript and without, under a banner that stays."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from memoryhub.firewall.models import ApiKey
from tests.browser.axe import find_violations, find_violations_in_menus
from tests.browser.conftest import scroll_down
from tests.factories import make_key, make_memory, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]
LONG_NAME = "agent-with-a-name-that-is-as-long-as-names-of-agents-in-large-companies-become"


@pytest.fixture
def boss(transactional_db: None) -> User:
    return make_user("boss", max_tier="restricted", scopes="read audit view_as")


def make_agent(name: str = "agent") -> None:
    secret = make_key(clearance={"max_tier": "internal", "blocked_labels": ["pii"]})
    ApiKey.objects.filter(token_key=secret[:15]).update(name=name)


@pytest.mark.parametrize("scripted", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_look_as_a_key_switch_and_stop(open_page: OpenPage, boss: User, scripted: bool) -> None:
    make_memory(content="Everybody knows.", tier="public")
    make_memory(content="Few know.", tier="restricted")
    make_agent()
    page = open_page(boss, java_script_enabled=scripted)
    page.goto("/")
    expect(page.locator(".row")).to_have_count(2)

    page.get_by_role("navigation", name="Main").get_by_role("link", name="View as").click()
    page.get_by_label("Search by name").fill("agen")
    page.get_by_label("Search by name").press("Enter")
    page.get_by_role("button", name="View as key:agent").click()

    banner = page.get_by_role("complementary", name="View as")
    expect(banner).to_contain_text("Viewing as key:agent (up to internal)")
    expect(page.locator(".row")).to_have_count(1)
    expect(page.get_by_role("link", name="View as")).to_have_count(0)
    page.locator("#q").fill("know")
    page.locator("#q").press("Enter")
    expect(page.locator("#results-summary")).to_have_text("1 matches")
    expect(banner).to_be_visible()

    banner.get_by_role("link", name="Switch").click()
    expect(page.get_by_role("heading", name="View as")).to_be_visible()
    page.get_by_role("button", name="Stop viewing as key:agent").click()
    expect(banner).to_have_count(0)
    expect(page.get_by_text("You see as yourself again.")).to_be_visible()


def test_the_keyboard_alone_is_enough(open_page: OpenPage, boss: User) -> None:
    make_agent()
    page = open_page(boss)
    page.goto("/view-as?q=agent")
    button = page.get_by_role("button", name="View as key:agent")

    for _ in range(30):
        if button.evaluate("(element) => element === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary", name="View as")).to_be_visible()
    # Skip link, switch, stop: the way out is never far.
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Stop viewing as key:agent")).to_be_focused()
    page.keyboard.press("Enter")

    expect(page.get_by_role("complementary", name="View as")).to_have_count(0)


def test_the_banner_stays_in_sight_and_covers_nothing(open_page: OpenPage, boss: User) -> None:
    for _ in range(30):
        make_memory(tier="public", content="word " * 50)
    make_agent(LONG_NAME)
    for width in (360, 1280):
        page = open_page(boss, viewport={"width": width, "height": 700})
        page.goto("/view-as")
        page.get_by_role("button", name=f"View as key:{LONG_NAME}").click()
        expect(page.locator(".view-as")).to_be_visible()
        scroll_down(page)

        box = page.locator(".view-as").bounding_box()
        buttons = [page.locator(".view-as__button").nth(index).bounding_box() for index in range(2)]

        assert box is not None
        assert (box["x"], box["y"], box["width"]) == (0, 0, width)
        assert all(button and button["x"] >= 0 and button["x"] + button["width"] <= width for button in buttons)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.locator(".topbar details.menu summary:visible").last.click()
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def test_a_tab_from_before_is_loaded_anew_with_its_banner(open_page: OpenPage, boss: User) -> None:
    make_memory(tier="public", namespace="billing")
    make_memory(tier="restricted", namespace="billing")
    make_agent()
    before = open_page(boss)
    before.goto("/")
    other_page = before.context.new_page()
    other_page.goto("/view-as")
    other_page.get_by_role("button", name="View as key:agent").click()

    before.locator("[data-key='namespace=billing']").click()

    expect(before.get_by_role("complementary", name="View as")).to_be_visible()
    expect(before.locator(".row")).to_have_count(1)


def test_the_pages_are_there_on_a_phone_without_javascript(open_page: OpenPage, boss: User) -> None:
    page = open_page(boss, viewport={"width": 360, "height": 780}, java_script_enabled=False)
    for name in ("View as", "Audit log", "Memories"):
        page.goto("/help")
        page.locator("summary", has_text="Pages").click()
        page.get_by_role("navigation", name="Main").get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()


def test_nothing_is_found_by_axe(view: Callable[..., Page], boss: User) -> None:
    memory = make_memory(tier="public", subject="user:ada", collection="city")
    make_agent(LONG_NAME)
    make_user("analyst", max_tier="internal", required_labels=["eu"], all_namespaces=False, namespaces=["team"])
    User.objects.filter(username="analyst").update(is_active=False)
    page = view(boss)
    violations = []
    for path in ("/view-as", "/view-as?q=nobody", "/view-as?x=1"):
        page.goto(path)
        violations += find_violations(page)
    page.goto("/view-as")
    page.get_by_role("button", name=f"View as key:{LONG_NAME}").click()
    for path in ("/", f"/memories/{memory.memory_id}", "/view-as", "/no-such-page", "/admin/"):
        page.goto(path)
        violations += find_violations(page)
    page.goto("/help")
    violations += find_violations_in_menus(page, ".topbar summary:visible")
    page.goto("/view-as")
    page.get_by_role("button", name="View as user:analyst").click()
    violations += find_violations(page)

    assert violations == []
