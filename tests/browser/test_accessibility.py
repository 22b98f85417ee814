"""axe finds nothing on any page, in both themes, narrow and wide."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from playwright.sync_api import Page

from tests.browser import hostile
from tests.builders import at, make_memory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
WIDTHS = {360: 780, 1280: 900}


@pytest.fixture(params=[(theme, width) for theme in ("light", "dark") for width in WIDTHS], ids=str)
def view(request: pytest.FixtureRequest, open_page: Callable[..., Page]) -> Callable[..., Page]:
    """`view(user)` is a page in one theme and width. It ignores CSP, which would not let axe in."""
    theme, width = request.param
    size = {"width": width, "height": WIDTHS[width]}

    def new(user: User | None = None) -> Page:
        return open_page(user, bypass_csp=True, color_scheme=theme, viewport=size)

    return new


def problems(page: Page) -> list[str]:
    found: list[dict[str, Any]] = Axe().run(page, options=RULES).response["violations"]
    return [f"{page.url}: {rule['id']}: {node['target']} {node['any']}" for rule in found for node in rule["nodes"]]


def test_pages_without_a_session(view: Callable[..., Page], transactional_db: None) -> None:
    page = view()
    page.goto("/sign-in?next=/help")
    found = problems(page)
    page.get_by_label("Name").fill("nobody")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("#sign-in-error")

    assert found + problems(page) == []


def test_pages_without_memories(view: Callable[..., Page], reader: User) -> None:
    page = view(reader)
    found = []
    for path in ("/", "/?subject=nobody&tier=public", "/help", "/no-such-page", "/?tier=secret", "/memories/x"):
        page.goto(path)
        found += problems(page)

    assert found == []


def test_pages_with_memories(view: Callable[..., Page], reader: User) -> None:
    for number, tier in enumerate(("public", "internal", "confidential", "restricted")):
        make_memory(tier=tier, timestamp=at("2026-03-01 12:00"), labels=["pii", "financial"], subject="user:bob")
        make_memory(
            tier=tier, actor_type=("user", "agent", "system", "agent")[number], content="\n".join(hostile.UNSEEN)
        )
    memory = make_memory(payload_id="twice", subject="user:bob", content="Bob lives in Paris.", metadata={"a": [1]})
    make_memory(payload_id="twice", subject="user:bob", content="Bob lives in Berlin.", tier="internal", kind="summary")
    page = view(reader)
    found = []
    for path in ("/", "/?q=bob&limit=2", "/?from=2026-03-01&to=2026-03-02", f"/memories/{memory.memory_id}"):
        page.goto(path)
        found += problems(page)
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    found += problems(page)
    page.keyboard.press("Escape")
    page.goto("/")
    for summary in page.locator("summary:visible").all():
        summary.click()
        found += problems(page)
        page.keyboard.press("Escape")

    assert found == []
