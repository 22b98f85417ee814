"""In which ways axe sees a page: every theme and every width once, for it takes its time."""

from weakref import WeakKeyDictionary

import pytest
from playwright.sync_api import Page

from tests.harness.strategies import SOAK

THEME_WIDTHS = [("light", 320), ("dark", 1280)]
each_theme_width = pytest.mark.parametrize(("theme", "width"), THEME_WIDTHS)
MAX_NARROW_WIDTH = 700
_page_counts: WeakKeyDictionary[Page, int] = WeakKeyDictionary()


def is_turn_of_page(page: Page) -> bool:
    """Whether axe sees this state of a page in this window: the first and every other in a wide one."""
    turn = _page_counts[page] = _page_counts.get(page, -1) + 1
    size = page.viewport_size
    assert size
    return SOAK or (turn % 2 == 1) == (size["width"] < MAX_NARROW_WIDTH)
