"""What axe finds on a page, light and narrow or dark and wide."""

from typing import Any, Literal
from weakref import WeakKeyDictionary

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

from tests.harness.strategies import SOAK

WINDOWS: tuple[tuple[Literal["light", "dark"], int], ...] = (("light", 320), ("dark", 1280))
# Only what is wrong is gathered and sent here: describing each element that passes costs more than judging it.
AXE_RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
RUN_AXE = "async ([within, options]) => (await axe.run(within ? {include: [within]} : document, options)).violations"
FITS_WIDTH = "document.documentElement.scrollWidth <= innerWidth"
_turns: WeakKeyDictionary[Page, int] = WeakKeyDictionary()


def let_axe_in(page: Page) -> None:
    """Give axe to each document of a page that ignores CSP, and a window to look at it in."""
    page.add_init_script(AXE_SCRIPT)
    _show_window(page, 0)


def find_violations(page: Page, *, within: str = "") -> list[str]:
    """What axe finds on a `view` of a page, or in one part of it; and that no window is too narrow for the page.

    Axe takes its time: it sees one state of a page light and narrow, the next one dark and wide; by make soak each of
    them in both ways.
    """
    # A click waits until what it led to has begun, when there may be no document yet.
    page.wait_for_load_state()
    turn = _turns[page] = _turns.get(page, -1) + 1
    violations = []
    # It begins with the window in which the state before was left.
    for index in (turn % 2, 1 - turn % 2):
        _show_window(page, index)
        if SOAK or index == turn % 2:
            violations += _axe_violations(page, within)
    return violations


def find_violations_in_menus(page: Page, summaries: str = "summary:visible", *, within: str = "") -> list[str]:
    """What axe finds in each menu that opens by a click on its summary, in each window.

    Without `within` make soak looks at the page around it too.
    """
    within = within or ("" if SOAK else "details[open]")
    violations = []
    for index in range(len(WINDOWS)):
        _show_window(page, index)
        for summary in page.locator(summaries).all():
            summary.click()
            violations += _axe_violations(page, within)
            assert page.evaluate(FITS_WIDTH), f"{page.url} with a menu is wider than {WINDOWS[index][1]} px"
            page.keyboard.press("Escape")
    return violations


def _show_window(page: Page, index: int) -> None:
    theme, width = WINDOWS[index]
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=theme)
    assert page.evaluate(FITS_WIDTH), f"{page.url} is wider than {width} px"


def _axe_violations(page: Page, within: str) -> list[str]:
    rules: list[dict[str, Any]] = page.evaluate(RUN_AXE, [within, AXE_RULES])
    return [f"{page.url}: {rule['id']}: {node['target']} {node['any']}" for rule in rules for node in rule["nodes"]]
