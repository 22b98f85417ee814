"""The Chromium of this machine, as Playwright starts it."""

import os
import shutil
from typing import Any

# The headless shell, where it is installed, draws the same pages in less time than a Chromium with windows.
EXECUTABLE_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def launch_options() -> dict[str, Any]:
    """Options for `chromium.launch`: the system's browser where there is one, else Playwright's own."""
    path = next((executable for name in EXECUTABLE_NAMES if (executable := shutil.which(name))), None)
    # Root may not use Chromium's sandbox, and containers often have a small /dev/shm.
    arguments = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    return {"args": arguments, **({"executable_path": path} if path else {})}
