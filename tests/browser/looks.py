"""In which ways axe sees a page: every theme and every width once, for it takes its time."""

import pytest

LOOKS = [("light", 320), ("dark", 1280)]
each_look = pytest.mark.parametrize(("theme", "width"), LOOKS)
