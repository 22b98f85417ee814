"""The page of what changed, in a browser: what axe says of it, and a journey through it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from memoryhub.memories import clock
from tests.browser import hostile_texts
from tests.browser.axe import find_violations
from tests.factories import make_memory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def make_changes() -> str:
    """The instant before the changes."""
    for index, content in enumerate(("Ada lives in Paris.", "Bob drinks tea.", "Eve is on leave until March.")):
        make_memory(payload_id=f"p{index}", subject=f"user:{index}", collection="profile", content=content)
    since = clock.stable_record_time().isoformat().replace("+00:00", "Z")
    make_memory(payload_id="p0", subject="user:0", collection="profile", content="Ada lives in Rome.", labels=["pii"])
    make_memory(payload_id="p1", subject="user:1", collection="habits", content="Bob drinks coffee.", tier="internal")
    make_memory(subject="user:9", content="\n".join(hostile_texts.INVISIBLE), source="hostile-bot")
    return since


def test_axe_finds_nothing(view: Callable[..., Page], reader: User) -> None:
    since = make_changes()
    page = view(reader)
    violations = []
    for path in ("/diff", f"/diff?since={since}", f"/diff?since={since}&subject=nobody", "/diff?since=never",
                 f"/diff?since={since}&limit=1&axis=event&change=added", "/diff?since=2999-01-01"):  # fmt: skip
        page.goto(path)
        violations += find_violations(page)

    assert violations == []


@pytest.mark.parametrize("scripted", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_pick_instants_narrow_down_page_on_and_go_back(
    open_page: Callable[..., Page], reader: User, scripted: bool
) -> None:
    since = make_changes()
    page: Any = open_page(reader, java_script_enabled=scripted)
    page.goto("/")
    page.get_by_role("link", name="Changes").first.click()
    page.get_by_label("Since (UTC)").fill(since)
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".change")).to_have_count(3)

    page.get_by_role("link", name="reclassified 2").click()
    expect(page.locator(".change")).to_have_count(2)
    permalink = page.url
    page.get_by_role("link", name="kind is reclassified").click()
    expect(page.locator(".change")).to_have_count(3)
    page.go_back()
    expect(page.locator(".change")).to_have_count(2)

    plain_page = open_page(reader, java_script_enabled=scripted)
    plain_page.goto(permalink)
    expect(plain_page.locator(".change")).to_have_count(2)
    plain_page.goto(f"{permalink}&limit=1")
    plain_page.get_by_role("link", name="Older").click()
    expect(plain_page.locator(".change")).to_have_count(1)
    expect(plain_page.get_by_text("These are the oldest.")).to_be_visible()
