"""A browser that is watched: whatever it logs, blocks, pops up or asks for elsewhere fails the test."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Dialog, Page

from tests.browser.axe import let_axe_in
from tests.browser.chromium import launch_options
from tests.factories import make_user

# Playwright's loop runs in this thread, and Django would take every query for a mistake.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
PASSWORD = "correct horse battery"
REPORT_VIOLATIONS = """
    addEventListener("securitypolicyviolation", (event) =>
        console.error(`CSP: ${event.violatedDirective} blocked ${event.blockedURI} in ${event.sourceFile}`))
"""


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    return {**browser_type_launch_args, **launch_options()}


@dataclass
class PageWatch:
    """What happened in a browser that should not have."""

    origin: str
    violations: list[str] = field(default_factory=list)
    expects_failures: bool = False

    def attach(self, page: Page) -> None:
        page.on("dialog", self._dismiss_dialog)
        page.on("pageerror", lambda error: self.violations.append(f"error: {error}"))
        page.on("console", lambda message: self._record_console(message.type, message.text))
        page.on("request", lambda request: self._record_request(request.url))

    def _dismiss_dialog(self, dialog: Dialog) -> None:
        self.violations.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _record_console(self, kind: str, text: str) -> None:
        # What is refused on purpose is logged as well, by the browser and by htmx.
        is_refusal = "the server responded with a status of 4" in text or "Response Status Error Code 4" in text
        is_failure = "the server responded with a status of 5" in text
        if kind in ("error", "warning") and not is_refusal and not (is_failure and self.expects_failures):
            self.violations.append(f"{kind}: {text}")

    def _record_request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob", "about") and f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.violations.append(f"foreign request: {url}")


@pytest.fixture
def reader(transactional_db: None) -> User:
    return make_user("ada", PASSWORD, max_tier="restricted")


@pytest.fixture
def open_page(live_server: Any, browser: Browser) -> Iterator[Callable[..., Page]]:
    """`open_page(user)` is a page of a new, watched browser in which `user` is signed in."""
    contexts: list[BrowserContext] = []
    page_watch = PageWatch(live_server.url)

    def new_page(user: User | None = None, *, expects_failures: bool = False, **options: Any) -> Page:
        page_watch.expects_failures = expects_failures
        context = browser.new_context(**{"base_url": live_server.url, **options})
        contexts.append(context)
        context.add_init_script(REPORT_VIOLATIONS)
        if user:
            client = Client()
            client.force_login(user, "django.contrib.auth.backends.ModelBackend")
            session = client.cookies["sessionid"].value
            context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
        page = context.new_page()
        page_watch.attach(page)
        return page

    yield new_page
    for context in contexts:
        context.close()
    _wait_for_requests()
    assert page_watch.violations == []


def _wait_for_requests() -> None:
    """What a closed page had asked for is still computed; it would deadlock with the statement that empties tables."""
    deadline = time.monotonic() + 10
    for thread in threading.enumerate():
        if "process_request_thread" in thread.name:
            thread.join(max(0, deadline - time.monotonic()))
            assert not thread.is_alive(), "a request goes on 10 s after its page was closed"


@pytest.fixture
def view(open_page: Callable[..., Page]) -> Callable[..., Page]:
    """`view(user)` is a page for `find_violations`. It ignores CSP, which would not let axe in."""

    def new_page(user: User | None = None, **options: Any) -> Page:
        # A change of the theme fades in, and half-way there is too little contrast.
        page = open_page(user, bypass_csp=True, reduced_motion="reduce", **options)
        let_axe_in(page)
        return page

    return new_page


def scroll_down(page: Page) -> None:
    """Not with `wait_for_function`, which asks again by `eval`, and the policy of the pages blocks that."""
    page.mouse.wheel(0, 2_000)
    for _ in range(200):
        if page.evaluate("scrollY") > 500:
            return
        page.wait_for_timeout(25)
    raise AssertionError("the page did not scroll")
