"""What people do here, done in a browser: with JavaScript, and without."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.utils import timezone
from playwright.sync_api import Page, expect

from memoryhub.memories.writes import write
from tests.browser.conftest import PASSWORD
from tests.factories import WRITER, envelope, make_memory, utc

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def scripted(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def write_memories(count: int, **fields: Any) -> None:
    start = utc("2026-03-01 12:00")
    write.write_memories(
        [envelope(timestamp=start + timedelta(hours=index), **fields) for index in range(count)], principal=WRITER
    )


def current_path(page: Page) -> str:
    parts = urlsplit(page.url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def test_sign_in_filter_page_open_and_go_back(open_page: OpenPage, reader: User, scripted: bool) -> None:
    write_memories(25, subject="user:bob", collection="city")
    write_memories(3, subject="user:eve")
    page = open_page(java_script_enabled=scripted)

    page.goto("/memories?collection=city")
    page.get_by_label("Name", exact=True).fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".row")).to_have_count(20)

    page.locator("summary", has_text="Add filter").click()
    page.get_by_label("Subject").fill("user:bob")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("link", name="subject is user:bob")).to_be_visible()
    assert current_path(page) == "/?subject=user%3Abob&collection=city"

    page.get_by_role("link", name="Older").click()
    expect(page.locator(".row")).to_have_count(5)
    deep_path = current_path(page)
    page.locator(".row__link").nth(2).click()
    expect(page.get_by_role("heading", name="Content")).to_be_visible()

    page.get_by_role("link", name="Memories as you left them").click()
    expect(page.locator(".row")).to_have_count(5)
    assert current_path(page) == deep_path
    page.go_back()
    page.go_back()
    page.go_back()
    expect(page.locator(".row")).to_have_count(20)
    assert "cursor" not in page.url
    page.reload()
    expect(page.get_by_role("link", name="subject is user:bob")).to_be_visible()


def test_a_facet_and_a_bar_narrow_the_list_and_a_chip_widens_it(
    open_page: OpenPage, reader: User, scripted: bool
) -> None:
    make_memory(content="An old one", namespace="billing", timestamp=utc("2026-01-05 10:00"))
    make_memory(content="A new one", namespace="billing", timestamp=utc("2026-03-20 10:00"))
    make_memory(content="Elsewhere", namespace="support", timestamp=utc("2026-03-20 10:00"))
    page = open_page(reader, java_script_enabled=scripted)
    page.goto("/")

    page.get_by_role("navigation", name="Narrow down").get_by_role("link", name=re.compile("billing")).click()
    expect(page.locator(".row")).to_have_count(2)
    page.locator(".timeline__wide a").last.click(force=True)
    expect(page.locator(".row")).to_have_count(1)
    expect(page.locator(".row")).to_contain_text("A new one")
    page.get_by_role("link", name="All time").click()
    expect(page.locator(".row")).to_have_count(2)
    page.get_by_role("link", name="namespace is billing").click()
    expect(page.locator(".row")).to_have_count(3)


def test_the_theme_is_kept(open_page: OpenPage, reader: User, scripted: bool) -> None:
    page = open_page(reader, java_script_enabled=scripted)
    page.goto("/help")

    page.locator("main").get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.goto("/")

    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_a_mistake_in_a_filter_is_named_and_what_was_typed_stays(
    open_page: OpenPage, reader: User, scripted: bool
) -> None:
    make_memory()
    page = open_page(reader, java_script_enabled=scripted)
    page.goto("/")

    page.locator("summary", has_text="Add filter").click()
    page.get_by_label("From (UTC)").fill("last Tuesday")
    page.get_by_role("button", name="Apply").click()

    expect(page.get_by_role("alert").filter(has_text="from must be")).to_be_visible()
    expect(page.get_by_label("From (UTC)")).to_have_value("last Tuesday")


def test_a_long_memory_shows_itself_on_demand(open_page: OpenPage, reader: User, scripted: bool) -> None:
    memory = make_memory(content="long " * 2_000 + "end.")
    page = open_page(reader, java_script_enabled=scripted)
    page.goto(f"/memories/{memory.memory_id}")

    expect(page.locator("#content")).not_to_contain_text("end.")
    page.get_by_role("link", name="Show all 10,004 characters").click()

    expect(page.locator("#content")).to_contain_text("end.")


def test_the_keyboard_alone_is_enough(open_page: OpenPage, reader: User) -> None:
    for content in ("one apple", "two apples", "three pears"):
        make_memory(content=content)
    page = open_page(reader)
    page.goto("/")

    page.keyboard.press("/")
    page.keyboard.type("apple")
    page.keyboard.press("Enter")
    expect(page.locator(".row")).to_have_count(2)
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.locator(".row__link").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Content")).to_be_visible()
    page.keyboard.press("u")
    expect(page.locator(".row")).to_have_count(2)
    # The rows are there before the script that listens to keys.
    page.wait_for_load_state()

    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_shortcuts_can_be_switched_off(open_page: OpenPage, reader: User) -> None:
    make_memory()
    page = open_page(reader)
    page.goto("/")
    page.keyboard.press("?")
    page.get_by_label("Single-key shortcuts").uncheck()
    page.keyboard.press("Escape")

    page.reload()
    page.keyboard.press("j")

    expect(page.locator(".row__link")).not_to_be_focused()


def test_the_focus_stays_where_it_was_when_the_list_is_swapped(open_page: OpenPage, reader: User) -> None:
    make_memory(namespace="billing")
    make_memory(namespace="support")
    page = open_page(reader)
    page.goto("/")

    page.locator("[data-key='namespace=billing']").focus()
    page.keyboard.press("Enter")

    expect(page.locator(".row")).to_have_count(1)
    expect(page.locator("[data-key='namespace=billing']")).to_be_focused()
    expect(page.locator("#announcer")).to_have_text("1 matches")


def test_copy_gives_the_text_as_it_was_written(open_page: OpenPage, reader: User) -> None:
    content = "a\u202eb\u200b \x1b[31m\r\n<b>\U000e0041"
    memory = make_memory(content=content, request_id="r\u202e1")
    page = open_page(reader, permissions=["clipboard-read", "clipboard-write"])
    page.goto(f"/memories/{memory.memory_id}")

    page.get_by_role("button", name="Copy the content").click()
    expect(page.locator("#announcer")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").replace("\r\n", "\n") == content.replace("\r\n", "\n")


def test_a_failed_swap_is_reported_and_leaves_the_page_as_it_was(open_page: OpenPage, reader: User) -> None:
    make_memory(namespace="billing")
    make_memory(namespace="support")
    page = open_page(reader)
    page.goto("/")
    page.route("**/*namespace=billing*", lambda route: route.fulfill(status=422, body="no"))

    page.locator("[data-key='namespace=billing']").click()

    expect(page.locator("#banner")).to_contain_text("The server answered 422")
    expect(page.get_by_role("link", name="Open the page in full")).to_have_attribute("href", "/?namespace=billing")
    expect(page.locator(".row")).to_have_count(2)


def test_an_expired_session_leads_to_the_sign_in_and_back(open_page: OpenPage, reader: User) -> None:
    make_memory(namespace="billing")
    make_memory(namespace="support")
    page = open_page(reader)
    page.goto("/?source=test")
    Session.objects.update(expire_date=timezone.now() - timedelta(days=1))

    page.locator("[data-key='namespace=billing']").click()
    page.get_by_label("Name", exact=True).fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("link", name="source is test")).to_be_visible()
