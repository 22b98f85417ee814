"""Hostile memories on every page: shown, and nothing more. The watch of `open_page` is the assertion."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from tests.browser import hostile_texts
from tests.factories import make_memory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
FIELD_NAMES = (
    "request_id", "subject", "namespace", "destination", "collection", "model", "role", "idempotency_key",
    "transform_version", "actor_id", "content",
)  # fmt: skip


@pytest.mark.parametrize("text", hostile_texts.ALL_TEXTS)
def test_a_hostile_text_in_every_field_does_nothing(open_page: Callable[..., Page], reader: User, text: str) -> None:
    all_fields: dict[str, Any] = dict.fromkeys(FIELD_NAMES, text)
    memory = make_memory(payload_id=text, **all_fields, metadata={text: [text]}, labels=[text])
    make_memory(payload_id=text, **{**all_fields, "content": f"changed {text}"}, metadata={text: text}, labels=[text])
    make_memory(subject=text, collection=text, content=f"beside {text}")
    page = open_page(reader)

    page.goto("/")
    expect(page.locator(".row")).to_have_count(2)
    page.locator(".facet a").first.click()
    expect(page.locator(".chip")).to_have_count(1)
    page.goto(f"/memories/{memory.memory_id}")
    expect(page.locator(".version")).to_have_count(2)
    page.get_by_role("link", name="See all").click()
    expect(page.locator(".row")).to_have_count(2)
    page.get_by_label("Search in what memories say").fill(text)
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".chip").first).to_be_visible()

    # Nothing of the text became an element, an attribute that acts, or a link that leads elsewhere.
    assert page.locator("main :is(img, iframe, script, style, math, base, [onload], [onerror])").count() == 0
    assert page.locator(".row__content :is([hx-get], [data-hx-get], [hx-on\\:load], [hx-vals])").count() == 0
    assert page.locator("main a:not([href^='/']):not([href^='#'])").count() == 0


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
