"""Hostile memories on every page: shown, and nothing more. The watch of `open_page` is the assertion."""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from memoryhub.memories.models import Memory
from tests.browser import hostile_texts
from tests.factories import make_memory
from tests.harness.strategies import SOAK

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
FIELD_NAMES = (
    "request_id", "subject", "namespace", "destination", "collection", "model", "role", "idempotency_key",
    "transform_version", "actor_id", "content",
)  # fmt: skip


# Nothing of a text became an element, an attribute that acts, or a link that leads elsewhere.
ACTIVE_ELEMENTS = ", ".join((
    "main :is(img, iframe, script, style, math, base, [onload], [onerror])",
    ".row__content :is([hx-get], [data-hx-get], [hx-on\\:load], [hx-vals])",
    "main a:not([href^='/']):not([href^='#'])",
))  # fmt: skip
# One of each kind is followed from link to link, in soak all: the other texts are shown by the same pages.
FOLLOWED_TEXTS = (
    hostile_texts.ALL_TEXTS
    if SOAK
    else (hostile_texts.MARKUP[1], hostile_texts.HTMX_MARKUP[0], hostile_texts.INVISIBLE[0])
)


def make_hostile_memories(texts: Iterable[str]) -> dict[str, Memory]:
    """By its text: a memory with the text in every field and two versions. There is another one beside each."""
    memories = {}
    for text in texts:
        all_fields: dict[str, Any] = dict.fromkeys((*FIELD_NAMES, "payload_id"), text) | {"labels": [text]}
        memories[text] = make_memory(**all_fields, metadata={text: [text]})
        make_memory(**{**all_fields, "content": f"changed {text}"}, metadata={text: text})
        make_memory(subject=text, collection=text, content=f"beside {text}")
    return memories


def expect_nothing_active(page: Page, text: str = "") -> None:
    assert page.evaluate("(css) => document.querySelectorAll(css).length", ACTIVE_ELEMENTS) == 0, (text, page.url)


def test_hostile_texts_in_every_field_do_nothing(open_page: Callable[..., Page], reader: User) -> None:
    memories = make_hostile_memories(hostile_texts.ALL_TEXTS)
    row_count = 2 * len(memories)
    page = open_page(reader)

    page.goto("/?limit=100")
    expect(page.locator(".row")).to_have_count(row_count)
    expect_nothing_active(page)
    page.locator("[data-key='source=test']").click()
    expect(page.locator(".chip")).to_have_count(1)
    expect(page.locator(".row")).to_have_count(row_count)
    expect_nothing_active(page)
    for text, memory in memories.items():
        page.goto(f"/memories/{memory.memory_id}")
        assert page.locator(".version").count() == 2, text
        expect_nothing_active(page, text)
        page.goto(f"/?{urlencode({'subject': text, 'label': text, 'q': text})}")
        assert page.locator(".chip").count() == 4, f"three filters and a way to clear them: {text}"
        expect_nothing_active(page, text)


def test_a_hostile_text_is_followed_from_link_to_link(open_page: Callable[..., Page], reader: User) -> None:
    memories = make_hostile_memories(FOLLOWED_TEXTS)
    page = open_page(reader)
    for text, memory in memories.items():
        page.goto(f"/memories/{memory.memory_id}")
        page.get_by_role("link", name="See all").click()
        expect(page.locator(".row")).to_have_count(2)
        page.get_by_label("Search in what memories say").fill(text)
        page.get_by_role("button", name="Search").click()
        expect(page.locator(".chip").first).to_be_visible()
        expect_nothing_active(page, text)


def test_what_cannot_be_seen_is_shown_and_announced(open_page: Callable[..., Page], reader: User) -> None:
    make_memory(content="evil \u202etext")
    page = open_page(reader)

    page.goto("/")

    expect(page.locator(".row .invisible")).to_have_text("U+202E")
    expect(page.locator(".row .invisible")).to_have_attribute("title", "RIGHT-TO-LEFT OVERRIDE")
    expect(page.locator(".row")).to_contain_text("hidden characters")


def test_a_text_that_piles_up_marks_keeps_the_layout(open_page: Callable[..., Page], reader: User) -> None:
    make_memory(content="Z" + "\u0301" * 100_000, subject="w" * 255, collection="\U0001f469\u200d" * 100)
    make_memory(content="x" * 200_000, labels=[f"{index} " + "y" * 200 for index in range(40)])
    page = open_page(reader, viewport={"width": 320, "height": 700})

    page.goto("/")

    expect(page.locator(".row")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert max(row.bounding_box()["height"] for row in page.locator(".row").all()) < 400  # type: ignore[index]
    for row in range(2):
        page.goto("/")
        page.locator(".row__link").nth(row).click()
        expect(page.get_by_role("heading", name="Content")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
