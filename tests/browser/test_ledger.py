"""The ledger in a browser: by the keyboard, with JavaScript and without, and nothing that axe would find."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Page, expect

from memoryhub.firewall.types import Clearance
from memoryhub.memories.models import Memory
from tests.audit.entries import append, event
from tests.browser import hostile
from tests.browser.test_accessibility import problems, view
from tests.builders import make_key, make_memory, make_user

__all__ = ["view"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]
INTERNAL = Clearance(max_tier="internal")


@pytest.fixture
def auditor(transactional_db: None) -> User:
    return make_user("grace", max_tier="restricted", scopes="read audit view_as")


def a_past() -> Memory:
    """Entries of every kind."""
    memory = make_memory(tier="public", subject="user:ada", collection="city", content="Ada lives in Paris.")
    others = [make_memory(tier="public").memory_id for _ in range(9)]
    ids = [memory.memory_id]

    def happened(action: str, **fields: Any) -> None:
        append(event(INTERNAL, action=action, **fields))

    happened("session.sign_in", principal="user:steward", request_id="r-0")
    happened(
        "memory.read",
        principal="key:agent",
        route="api:memories",
        query="source=crm&label=hr&cursor=x",
        memory_ids=[*ids, *others],
        request_id="r-1",
    )
    happened(
        "memory.read",
        principal="user:steward",
        route="inspector:memory",
        memory_ids=ids,
        details={"about": str(ids[0]), "view_as": "key:agent"},
    )
    happened(
        "memory.relabel",
        principal="user:steward",
        memory_ids=ids,
        details={
            "before": {"classification_tier": "public", "sensitivity_labels": []},
            "after": {"classification_tier": "internal", "sensitivity_labels": ["pii"]},
            "reason": "It names a person.",
        },
    )
    happened("memory.reveal", principal="user:steward", route="inspector:memory-reveal", memory_ids=ids)
    happened(
        "key.change",
        principal="user:root",
        details={
            "key": "agent",
            "changed": {"scopes": [["read"], ["read", "write"]], "expiry": [None, "2026-12-01T00:00:00+00:00"]},
        },
    )
    happened("view_as.start", principal="user:steward", details={"view_as": "key:agent"})
    happened("session.refused", principal="anonymous", details={})
    happened("memory.read", principal=f"key:{hostile.UNSEEN[0]}", route="api:memories", query=f"q={hostile.MARKUP[0]}")
    return memory


@pytest.mark.parametrize("scripted", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_find_who_has_seen_a_memory_and_what_that_one_has_been_told(
    open_page: OpenPage, auditor: User, scripted: bool
) -> None:
    memory = a_past()
    secret = make_key(clearance={"max_tier": "internal"}, source="crm")
    Client(headers={"Authorization": f"Bearer {secret}"}).get("/api/memories?subject=user:ada")
    page = open_page(auditor, java_script_enabled=scripted)
    page.goto(f"/memories/{memory.memory_id}")

    seen = page.get_by_role("region", name="Who has seen this")
    expect(seen.get_by_role("listitem").first).to_contain_text("user:grace read it through a memory's page")
    seen.get_by_role("link", name="All of it").click()
    page.get_by_label("Did what").select_option("memory.relabel")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(".line")).to_have_count(1)
    expect(page.locator(".line")).to_contain_text("It names a person.")

    page.get_by_role("link", name="Clear all").click()
    page.get_by_role("link", name="key:agent").first.click()
    expect(page.get_by_role("heading", name="What key:agent has been told")).to_be_visible()
    expect(page.get_by_role("region", name="Memories").get_by_role("listitem")).to_have_count(10)


def test_pages_and_back_keep_their_state_and_a_link_leads_to_its_entry(open_page: OpenPage, auditor: User) -> None:
    for number in range(50):
        append(event(INTERNAL, action="key.create", details={"key": f"k-{number}"}, request_id=f"r-{number}"))
    page = open_page(auditor)
    page.goto("/ledger?action=key.create")

    page.get_by_role("link", name="Older").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".line").first).to_contain_text("k-29")
    deep = page.url
    page.locator(".line__at a").first.click()
    expect(page.locator(".line")).to_have_count(1)
    expect(page.locator(".line")).to_contain_text("k-29")
    page.go_back()
    assert page.url == deep
    page.reload()
    expect(page.locator(".line").first).to_contain_text("k-29")
    page.keyboard.press("p")
    expect(page.locator(".line").first).to_contain_text("k-49")


def test_nothing_is_found_by_axe_where_nothing_happened(view: Callable[..., Page], auditor: User) -> None:
    page = view(auditor)
    found = []
    for path in ("/ledger?action=key.create", "/ledger?action=x&memory=y&from=z", "/ledger/principals/user:nobody"):
        page.goto(path)
        found += problems(page)
    page.goto("/ledger/principals/user:nobody?cursor=x")
    found += problems(page)

    assert found == []


def test_nothing_is_found_by_axe_where_much_happened(view: Callable[..., Page], auditor: User) -> None:
    memory = a_past()
    page = view(auditor)
    found = []
    for path in ("/ledger", "/ledger?request_id=r-1", "/ledger/principals/key:agent", f"/memories/{memory.memory_id}"):
        page.goto(path)
        found += problems(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path

    assert found == []
