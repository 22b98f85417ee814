"""The API's documentation in a browser. The watch of `open_page` also fails on whatever is blocked or foreign."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from tests.browser.axe import FITS_WIDTH, find_violations, find_violations_in_menus
from tests.harness.strategies import SOAK

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]
WIDTHS = (320, 360, 700, 1280, 1920)
# Every tenth operation: they all look alike, and axe takes a second for each ten of them.
KEEP_SAMPLE = """
    for (const operation of document.querySelectorAll('.operation:not(:nth-of-type(10n + 1), #memories_write)'))
        operation.remove()
"""
UNFOLD_ALL = "for (const fold of document.querySelectorAll('details.fold')) fold.open = true"


def open_docs(page: Page) -> None:
    """Open the page, with a sample of the operations outside soak."""
    page.goto("/api/docs")
    if not SOAK:
        page.evaluate(KEEP_SAMPLE)


def test_axe_finds_nothing(view: OpenPage, transactional_db: None) -> None:
    page = view()
    open_docs(page)
    violations = find_violations(page)
    violations += find_violations_in_menus(page, ".topbar summary:visible", within=".topbar")
    page.evaluate(UNFOLD_ALL)
    violations += find_violations(page)

    assert violations == []


def test_axe_finds_nothing_for_a_reader(view: OpenPage, reader: User) -> None:
    page = view(reader)
    open_docs(page)
    # All else is what everybody sees.
    violations = find_violations(page, within="" if SOAK else ".topbar")
    violations += find_violations_in_menus(page, ".topbar summary:visible", within=".topbar")

    assert violations == []


@pytest.mark.parametrize("scripted", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_everything_fits_and_nothing_is_blocked(open_page: OpenPage, transactional_db: None, scripted: bool) -> None:
    page = open_page(java_script_enabled=scripted, viewport={"width": WIDTHS[0], "height": 800})
    page.goto("/api/docs")
    expect(page.locator(".operation").first).to_be_visible()
    too_wide = _overflowing_widths(page)
    closed_folds = page.locator("details.fold:not([open])")
    closed_count = closed_folds.count()
    page.locator("details.fold:not([open]):not(details details) > summary").first.click()
    expect(closed_folds).to_have_count(closed_count - 1)
    page.evaluate(UNFOLD_ALL)

    assert too_wide + _overflowing_widths(page) == []


def _overflowing_widths(page: Page) -> list[int]:
    """The widths of a window that is too narrow for the page as it is."""
    violations = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        if not page.evaluate(FITS_WIDTH):
            violations.append(width)
    return violations


def test_the_copy_button_is_there_with_javascript_alone_and_copies_the_example(
    open_page: OpenPage, transactional_db: None
) -> None:
    plain_page, scripted_page = (
        open_page(java_script_enabled=False),
        open_page(permissions=["clipboard-read", "clipboard-write"]),
    )
    for page in (plain_page, scripted_page):
        page.goto("/api/docs")
    button = "Copy the example: Write one memory"

    expect(plain_page.get_by_role("button", name=button)).to_have_count(0)
    scripted_page.get_by_role("button", name=button).click()

    expect(scripted_page.locator("#announcer")).to_have_text("Copied")
    clipboard_text = scripted_page.evaluate("navigator.clipboard.readText()")
    assert clipboard_text == scripted_page.locator("#memories_write pre").text_content()
    assert "\n" in clipboard_text


def test_the_keyboard_reaches_everything_and_a_link_leads_to_its_operation(
    open_page: OpenPage, transactional_db: None
) -> None:
    page = open_page()
    open_docs(page)
    acting = "main :is(a[href], summary, button)"
    control_count = page.locator(f"{acting} >> visible=true").count()

    page.locator("#main").focus()
    reached_count = 0
    for _ in range(control_count):
        page.keyboard.press("Tab")
        reached_count += page.evaluate(f"document.activeElement.matches('{acting}')")
    assert reached_count == control_count

    page.get_by_role("navigation", name="On this page").get_by_role("link", name="Write one memory").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#memories_write")).to_be_in_viewport()
    heading = page.locator("#memories_write h2").bounding_box()
    assert heading
    assert heading["y"] >= 48, "the bar at the top hides nothing"
    details_summary = page.locator("#memories_write details.fold > summary").first
    expect(details_summary.locator("..")).to_have_attribute("open", "")
    details_summary.focus()
    page.keyboard.press("Space")
    expect(details_summary.locator("..")).not_to_have_attribute("open", "")
