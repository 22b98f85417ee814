"""An event loop of its own for a test: Playwright keeps one running in the thread of the browser's tests."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_in_new_loop(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run `coroutine` to its end in another thread, and return or raise what it does."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, coroutine).result()
