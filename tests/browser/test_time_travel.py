"""The time machine in a browser: an instant chosen once holds on every page, by the keyboard alone, and in a link."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from memoryhub.firewall.models import ApiKey
from tests.browser.axe import find_violations, find_violations_in_menus
from tests.browser.conftest import scroll_down
from tests.factories import make_key, make_memory, make_user, utc

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]


@pytest.fixture
def boss(transactional_db: None) -> User:
    return make_user("boss", max_tier="restricted", scopes="read curate audit view_as")


def make_timeline() -> Any:
    """A subject with a life on event time: Paris, then London, and another key."""
    first = make_memory(subject="user:bob", collection="city", content="Paris", timestamp=utc("2026-03-01 12:00"))
    make_memory(subject="user:bob", collection="city", content="London", timestamp=utc("2026-03-05 12:00"))
    make_memory(subject="user:bob", collection="job", content="engineer", timestamp=utc("2026-03-03 12:00"))
    return first


def tab_to(page: Page, locator: Any, max_tabs: int = 60) -> None:
    for _ in range(max_tabs):
        if locator.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("it cannot be reached by the keyboard")


@pytest.mark.parametrize("scripted", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_an_instant_chosen_on_the_list_holds_from_page_to_page_and_back(open_page, boss, scripted) -> None:
    make_timeline()
    page = open_page(boss, java_script_enabled=scripted)
    page.goto("/?subject=user:bob")
    expect(page.locator(".row")).to_have_count(3)

    page.locator(".time-picker-menu > summary").click()
    page.get_by_role("radio", name="what had happened event time").check()
    page.get_by_label("at this instant").fill("2026-03-04T00:00:00")
    page.get_by_role("button", name="Go", exact=True).click()

    banner = page.get_by_role("complementary", name="Time machine")
    banner_text = "You are looking at what had happened by 4 Mar 2026, 00:00 UTC (event time)"
    expect(banner).to_contain_text(banner_text)
    expect(page.locator(".row")).to_have_count(2)
    page.locator(".row__link", has_text="city").click()
    expect(banner).to_contain_text(banner_text)
    page.get_by_role("link", name="Timeline of user:bob").click()
    expect(banner).to_contain_text(banner_text)
    expect(page.locator(".current-values")).to_contain_text("Paris")
    expect(page.locator(".current-values")).not_to_contain_text("London")
    page.locator(".current-values__value", has_text="engineer").click()
    expect(banner).to_contain_text(banner_text)
    page.get_by_role("link", name="Memories as you left them").click()
    expect(banner).to_contain_text(banner_text)
    expect(page.locator(".row")).to_have_count(2)
    expect(page.get_by_role("link", name="subject is user:bob")).to_be_visible()

    banner.get_by_role("link", name="Back to now").click()
    expect(banner).to_have_count(0)
    expect(page.locator(".row")).to_have_count(3)


def test_a_permalink_shows_the_same_to_somebody_else(open_page, boss) -> None:
    make_timeline()
    page = open_page(boss)
    page.goto("/")
    page.locator(".time-picker-menu > summary").click()
    page.get_by_role("button", name="An hour ago").click()
    expect(page.get_by_role("complementary", name="Time machine")).to_contain_text("record time")
    assert "known_at=" in page.url
    assert page.url.endswith("Z") or "Z&" in page.url

    other_page = open_page(make_user("other", max_tier="restricted"))
    other_page.goto(page.url)
    expect(other_page.locator(".time-banner__text")).to_have_text(page.locator(".time-banner__text").inner_text())
    expect(other_page.get_by_role("heading", name="Nothing was there yet")).to_be_visible()


def test_the_keyboard_alone_travels(open_page, boss) -> None:
    make_timeline()
    page = open_page(boss)

    def press_key(key: str, expected_locator: Any) -> None:
        """A key that leads to another page, of which `shows` tells."""
        page.keyboard.press(key)
        expect(expected_locator).to_be_visible()
        page.wait_for_load_state()

    page.goto("/")
    press_key("[", page.locator(".time-banner", has_text="the end of 3 Mar 2026"))
    press_key("[", page.locator(".time-banner", has_text="the end of 1 Mar 2026"))
    press_key("]", page.locator(".time-banner", has_text="the end of 3 Mar 2026"))
    press_key("b", page.get_by_text("3 in all"))
    expect(page.locator(".time-banner")).to_have_count(0)

    page.keyboard.press("w")
    expect(page.locator("#instant")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".time-picker-menu")).not_to_have_attribute("open", "")

    tab_to(page, page.locator(".row__timeline").first)
    press_key("Enter", page.get_by_text("3 events, all of them"))
    press_key(",", page.get_by_text("3 of 3 events"))
    press_key(",", page.get_by_text("2 of 3 events"))
    expect(page.locator(".current-values")).to_contain_text("Paris")
    press_key(".", page.get_by_text("3 of 3 events"))
    expect(page.locator(".current-values")).to_contain_text("London")
    tab_to(page, page.locator("[data-previous]"))
    press_key("ArrowLeft", page.get_by_text("2 of 3 events"))
    press_key("u", page.get_by_text("2 in all"))
    expect(page.locator(".row")).to_have_count(2)


def test_what_htmx_changes_the_frame_follows(open_page, boss) -> None:
    make_timeline()
    make_memory(subject="user:eve", content="Rome", timestamp=utc("2026-03-02 12:00"))
    page = open_page(boss)
    page.goto("/?as_of=2026-03-04")
    page.locator("#q").fill("Paris")
    page.locator("#q").press("Enter")
    expect(page.locator(".row")).to_have_count(1)
    assert "as_of=2026-03-04" in page.url

    page.get_by_role("link", name="Back to now").click()

    expect(page.locator(".time-banner")).to_have_count(0)
    expect(page.locator("#q")).to_have_value("Paris")


def test_both_banners_stay_in_sight_and_cover_nothing(open_page, boss) -> None:
    for _ in range(30):
        make_memory(tier="public", content="word " * 50, timestamp=utc("2026-03-01"))
    agent = make_key(clearance={"max_tier": "internal"})
    ApiKey.objects.filter(token_key=agent[:15]).update(name="agent")
    for width in (360, 1280):
        page = open_page(boss, viewport={"width": width, "height": 700})
        page.goto("/view-as")
        page.get_by_role("button", name="View as key:agent").click()
        page.goto("/?as_of=2026-03-04&known_at=2999-01-01")
        scroll_down(page)

        view_as_box, time_box = (page.locator(name).bounding_box() for name in (".view-as", ".time-banner"))

        assert view_as_box
        assert time_box
        assert view_as_box["y"] == 0
        assert time_box["y"] == view_as_box["height"]
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.locator(".time-picker-menu > summary").click()
        panel = page.locator(".menu__panel--time-picker").bounding_box()
        assert panel
        assert 0 <= panel["x"] < panel["x"] + panel["width"] <= width


def test_the_own_zone_is_a_hint_beside_utc(open_page, boss) -> None:
    page = open_page(boss, timezone_id="Asia/Tokyo")
    page.goto("/")
    page.keyboard.press("w")
    page.locator("#instant").fill("2026-03-04T00:00:00")
    expect(page.locator(".time-picker-menu .time-picker__local")).to_contain_text("9:00")
    page.get_by_role("button", name="Go", exact=True).click()
    expect(page.locator(".time-banner")).to_contain_text("4 Mar 2026, 00:00 UTC")


def test_nothing_is_found_by_axe(view, boss) -> None:
    memory = make_timeline()
    make_memory(subject="user:bob", collection="a-collection-with-a-long-name" * 3, content="x" * 300, labels=["pii"])
    agent = make_key(clearance={"max_tier": "restricted"})
    ApiKey.objects.filter(token_key=agent[:15]).update(name="agent")
    page = view(boss)
    violations = []
    for path in (
        "/?as_of=2026-03-04&known_at=2999-01-01",
        f"/memories/{memory.memory_id}?as_of=2026-03-04",
        f"/memories/{memory.memory_id}?as_of=2020-01-01",
        "/subjects/user:bob",
        "/subjects/user:bob?as_of=2026-03-03T12:00:00Z",
        "/time",
        "/time?instant=x",
        "/replay",
        "/replay?query=subject%3Duser:bob&as=key:agent&as_of=2026-03-04",
        "/replay?query=/api/facets&as=key:agent&as_of=2026-03-04",
    ):
        page.goto(path)
        violations += find_violations(page)
    page.goto("/?as_of=2026-03-04")
    violations += find_violations_in_menus(page, ".time-picker-menu > summary")

    assert violations == []
