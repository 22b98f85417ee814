"""The time machine in a browser: an instant chosen once holds on every page, by the keyboard alone, and in a link."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from memoryhub.firewall.models import ApiKey
from tests.browser.conftest import scroll_down
from tests.browser.looks import LOOKS
from tests.browser.test_accessibility import problems
from tests.builders import at, make_key, make_memory, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]


@pytest.fixture(params=LOOKS, ids=str)
def view(request: pytest.FixtureRequest, open_page: OpenPage) -> OpenPage:
    theme, width = request.param
    size = {"width": width, "height": 800}

    def new(user: User | None = None, **options: Any) -> Page:
        return open_page(user, bypass_csp=True, color_scheme=theme, viewport=size, **options)

    return new


@pytest.fixture
def boss(transactional_db: None) -> User:
    return make_user("boss", max_tier="restricted", scopes="read inspect audit view_as")


def lived() -> Any:
    """A subject with a life on event time: Paris, then London, and another key."""
    first = make_memory(subject="user:bob", collection="city", content="Paris", timestamp=at("2026-03-01 12:00"))
    make_memory(subject="user:bob", collection="city", content="London", timestamp=at("2026-03-05 12:00"))
    make_memory(subject="user:bob", collection="job", content="engineer", timestamp=at("2026-03-03 12:00"))
    return first


def tab_to(page: Page, what: Any, most: int = 60) -> None:
    for _ in range(most):
        if what.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("it cannot be reached by the keyboard")


@pytest.mark.parametrize("scripted", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_an_instant_chosen_on_the_list_holds_from_page_to_page_and_back(open_page, boss, scripted) -> None:
    lived()
    page = open_page(boss, java_script_enabled=scripted)
    page.goto("/?subject=user:bob")
    expect(page.locator(".row")).to_have_count(3)

    page.locator(".machine-menu > summary").click()
    page.get_by_role("radio", name="what had happened event time").check()
    page.get_by_label("at this instant").fill("2026-03-04T00:00:00")
    page.get_by_role("button", name="Go", exact=True).click()

    banner = page.get_by_role("complementary", name="Time machine")
    said = "You are looking at what had happened by 4 Mar 2026, 00:00 UTC (event time)"
    expect(banner).to_contain_text(said)
    expect(page.locator(".row")).to_have_count(2)
    page.locator(".row__link", has_text="city").click()
    expect(banner).to_contain_text(said)
    page.get_by_role("link", name="Timeline of user:bob").click()
    expect(banner).to_contain_text(said)
    expect(page.locator(".believed")).to_contain_text("Paris")
    expect(page.locator(".believed")).not_to_contain_text("London")
    page.locator(".believed__value", has_text="engineer").click()
    expect(banner).to_contain_text(said)
    page.get_by_role("link", name="Memories as you left them").click()
    expect(banner).to_contain_text(said)
    expect(page.locator(".row")).to_have_count(2)
    expect(page.get_by_role("link", name="subject is user:bob")).to_be_visible()

    banner.get_by_role("link", name="Back to now").click()
    expect(banner).to_have_count(0)
    expect(page.locator(".row")).to_have_count(3)


def test_a_permalink_shows_the_same_to_somebody_else(open_page, boss) -> None:
    lived()
    page = open_page(boss)
    page.goto("/")
    page.locator(".machine-menu > summary").click()
    page.get_by_role("button", name="An hour ago").click()
    expect(page.get_by_role("complementary", name="Time machine")).to_contain_text("record time")
    assert "known_at=" in page.url
    assert page.url.endswith("Z") or "Z&" in page.url

    other = open_page(make_user("other", max_tier="restricted"))
    other.goto(page.url)
    expect(other.locator(".then__said")).to_have_text(page.locator(".then__said").inner_text())
    expect(other.get_by_role("heading", name="Nothing was there yet")).to_be_visible()


def test_the_keyboard_alone_travels(open_page, boss) -> None:
    lived()
    page = open_page(boss)

    def press(key: str, shows: Any) -> None:
        """A key that leads to another page, of which `shows` tells."""
        page.keyboard.press(key)
        expect(shows).to_be_visible()
        page.wait_for_load_state()

    page.goto("/")
    press("[", page.locator(".then", has_text="the end of 3 Mar 2026"))
    press("[", page.locator(".then", has_text="the end of 1 Mar 2026"))
    press("]", page.locator(".then", has_text="the end of 3 Mar 2026"))
    press("b", page.get_by_text("3 in all"))
    expect(page.locator(".then")).to_have_count(0)

    page.keyboard.press("w")
    expect(page.locator("#instant")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".machine-menu")).not_to_have_attribute("open", "")

    tab_to(page, page.locator(".row__life").first)
    press("Enter", page.get_by_text("3 events, all of them"))
    press(",", page.get_by_text("3 of 3 events"))
    press(",", page.get_by_text("2 of 3 events"))
    expect(page.locator(".believed")).to_contain_text("Paris")
    press(".", page.get_by_text("3 of 3 events"))
    expect(page.locator(".believed")).to_contain_text("London")
    tab_to(page, page.locator("[data-previous]"))
    press("ArrowLeft", page.get_by_text("2 of 3 events"))
    press("u", page.get_by_text("2 in all"))
    expect(page.locator(".row")).to_have_count(2)


def test_what_htmx_changes_the_frame_follows(open_page, boss) -> None:
    lived()
    make_memory(subject="user:eve", content="Rome", timestamp=at("2026-03-02 12:00"))
    page = open_page(boss)
    page.goto("/?as_of=2026-03-04")
    page.locator("#q").fill("Paris")
    page.locator("#q").press("Enter")
    expect(page.locator(".row")).to_have_count(1)
    assert "as_of=2026-03-04" in page.url

    page.get_by_role("link", name="Back to now").click()

    expect(page.locator(".then")).to_have_count(0)
    expect(page.locator("#q")).to_have_value("Paris")


def test_both_banners_stay_in_sight_and_cover_nothing(open_page, boss) -> None:
    for _ in range(30):
        make_memory(tier="public", content="word " * 50, timestamp=at("2026-03-01"))
    agent = make_key(clearance={"max_tier": "internal"})
    ApiKey.objects.filter(token_key=agent[:15]).update(name="agent")
    for width in (360, 1280):
        page = open_page(boss, viewport={"width": width, "height": 700})
        page.goto("/view-as")
        page.get_by_role("button", name="Look as key:agent").click()
        page.goto("/?as_of=2026-03-04&known_at=2999-01-01")
        scroll_down(page)

        looking, then = (page.locator(name).bounding_box() for name in (".looking", ".then"))

        assert looking
        assert then
        assert looking["y"] == 0
        assert then["y"] == looking["height"]
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.locator(".machine-menu > summary").click()
        panel = page.locator(".menu__panel--machine").bounding_box()
        assert panel
        assert 0 <= panel["x"] < panel["x"] + panel["width"] <= width


def test_the_own_zone_is_a_hint_beside_utc(open_page, boss) -> None:
    page = open_page(boss, timezone_id="Asia/Tokyo")
    page.goto("/")
    page.keyboard.press("w")
    page.locator("#instant").fill("2026-03-04T00:00:00")
    expect(page.locator(".machine-menu .machine__local")).to_contain_text("9:00")
    page.get_by_role("button", name="Go", exact=True).click()
    expect(page.locator(".then")).to_contain_text("4 Mar 2026, 00:00 UTC")


def test_nothing_is_found_by_axe(view, boss) -> None:
    memory = lived()
    make_memory(subject="user:bob", collection="a-collection-with-a-long-name" * 3, content="x" * 300, labels=["pii"])
    agent = make_key(clearance={"max_tier": "restricted"})
    ApiKey.objects.filter(token_key=agent[:15]).update(name="agent")
    page = view(boss)
    found = []
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
        found += problems(page)
    page.goto("/?as_of=2026-03-04")
    page.locator(".machine-menu > summary").click()
    found += problems(page)

    assert found == []
