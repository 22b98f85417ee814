"""In which ways axe sees a page: every theme and every width once, for it takes its time."""

from weakref import WeakKeyDictionary

import pytest
from playwright.sync_api import Page

from tests.harness.generated import SOAK

LOOKS = [("light", 320), ("dark", 1280)]
each_look = pytest.mark.parametrize(("theme", "width"), LOOKS)
NARROW = 700
_seen: WeakKeyDictionary[Page, int] = WeakKeyDictionary()


def is_its_turn(page: Page) -> bool:
    """Whether axe sees this state of a page in this window: the first and every other in a wide one."""
    number = _seen[page] = _seen.get(page, -1) + 1
    size = page.viewport_size
    assert size
    return SOAK or (number % 2 == 1) == (size["width"] < NARROW)
