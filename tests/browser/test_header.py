"""The header fits into every window between a phone's and a desktop's, with the account menu in reach."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from tests.browser.test_time_travel import tab_to
from tests.factories import make_memory, make_user, utc

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
# The narrowest last: there the menu is opened by a click.
WIDTHS = (1200, 1000, 900, 885, 768, 700, 640, 320)
TIME_TRAVEL_PAGE = "/?as_of=2026-03-14T15:09:26Z"
PAGES = ("/", TIME_TRAVEL_PAGE, "/time", "/api/docs")


@pytest.fixture
def boss(transactional_db: None) -> User:
    """Somebody who sees every page's link, under a name that is longer than most."""
    return make_user("wilhelmina.wigglesworth", max_tier="restricted", scopes="read curate audit view_as")


# The parts that are wider than the window, with the menu closed and open. One evaluation takes less than a click.
FIND_OVERFLOWS = """(width) => {
    const menu = [...document.querySelectorAll(".topbar__side details.menu")].at(-1)
    const problems = []
    const check = (element, name) => {
        const box = element.getBoundingClientRect()
        if (!element.checkVisibility() || !box.width || box.left < 0 || box.right > width) problems.push(name)
    }
    const checkPage = (name) => { if (document.documentElement.scrollWidth > innerWidth) problems.push(name) }
    checkPage("page")
    check(menu.querySelector("summary"), "button")
    menu.open = true
    check(menu.querySelector(".menu__panel"), "menu")
    check([...menu.querySelectorAll("button")].at(-1), "last button of the menu")
    checkPage("page with its menu")
    menu.open = false
    return problems
}"""


@pytest.mark.parametrize(
    ("theme", "scripted"), [("light", True), ("dark", False)], ids=["light", "dark without JavaScript"]
)
def test_the_account_menu_is_in_reach_at_every_width(
    open_page: Callable[..., Page], boss: User, theme: str, scripted: bool
) -> None:
    make_memory(tier="public", timestamp=utc("2026-03-01 12:00"))
    page = open_page(boss, color_scheme=theme, java_script_enabled=scripted)
    overflows = {}
    for path in PAGES:
        page.goto(path)
        if path == "/api/docs":
            # The part below the header takes long to lay out, and test_api_reference.py looks at its width.
            page.evaluate("document.querySelector('main').replaceChildren()")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            overflows[path, width] = page.evaluate(FIND_OVERFLOWS, width)
        page.locator(".topbar__side details.menu").last.locator("summary").click()
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        _take_screenshot(page, f"{PAGES.index(path)}-{theme}")

    assert {state: problems for state, problems in overflows.items() if problems} == {}


@pytest.mark.parametrize("width", [640, 899, 900])
def test_pages_and_account_are_reached_by_the_keyboard(open_page: Callable[..., Page], boss: User, width: int) -> None:
    page = open_page(boss, viewport={"width": width, "height": 800}, java_script_enabled=False)
    page.goto(TIME_TRAVEL_PAGE)
    if width < 900:
        tab_to(page, page.locator("summary", has_text="Pages"))
        page.keyboard.press("Enter")
    pages = page.get_by_role("navigation", name="Main")
    tab_to(page, pages.get_by_role("link", name="API"))

    tab_to(page, page.locator("summary", has_text="Account and theme"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("button", name="Sign out"))
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="Sign in to memoryhub")).to_be_visible()


def _take_screenshot(page: Page, name: str) -> None:
    if folder := os.environ.get("HEADER_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", clip={"x": 0, "y": 0, "width": 1000, "height": 320})
