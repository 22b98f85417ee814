"""The audit log in a browser: by the keyboard, with JavaScript and without, and nothing that axe would find."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Page, expect

from memoryhub.firewall.clearance import Clearance
from memoryhub.memories.models import Memory
from tests.audit.event_factories import append_events, make_event
from tests.browser import hostile_texts
from tests.browser.axe import find_violations
from tests.factories import make_key, make_memory, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]
INTERNAL = Clearance(max_tier="internal")


@pytest.fixture
def auditor(transactional_db: None) -> User:
    return make_user("grace", max_tier="restricted", scopes="read audit view_as")


def make_audit_entries() -> Memory:
    """Entries of every kind."""
    memory = make_memory(tier="public", subject="user:ada", collection="city", content="Ada lives in Paris.")
    other_ids = [make_memory(tier="public").memory_id for _ in range(9)]
    ids = [memory.memory_id]

    def append_entry(action: str, **fields: Any) -> None:
        append_events(make_event(INTERNAL, action=action, **fields))

    append_entry("session.sign_in", principal="user:steward", request_id="r-0")
    append_entry(
        "memory.read",
        principal="key:agent",
        route="api:memory-list",
        query="source=crm&label=hr&cursor=x",
        memory_ids=[*ids, *other_ids],
        request_id="r-1",
    )
    append_entry(
        "memory.read",
        principal="user:steward",
        route="inspector:memory-detail",
        memory_ids=ids,
        details={"requested_memory_id": str(ids[0]), "view_as": "key:agent"},
    )
    append_entry(
        "memory.reclassify",
        principal="user:steward",
        memory_ids=ids,
        details={
            "before": {"classification_tier": "public", "sensitivity_labels": []},
            "after": {"classification_tier": "internal", "sensitivity_labels": ["pii"]},
            "reason": "It names a person.",
        },
    )
    append_entry("memory.unmask", principal="user:steward", route="inspector:memory-unmask", memory_ids=ids)
    append_entry(
        "key.change",
        principal="user:root",
        details={
            "key": "agent",
            "changed_fields": {"scopes": [["read"], ["read", "write"]], "expiry": [None, "2026-12-01T00:00:00+00:00"]},
        },
    )
    append_entry("view_as.start", principal="user:steward", details={"view_as": "key:agent"})
    append_entry("session.login_failed", principal="anonymous", details={})
    append_entry(
        "memory.read",
        principal=f"key:{hostile_texts.INVISIBLE[0]}",
        route="api:memory-list",
        query=f"q={hostile_texts.MARKUP[0]}",
    )
    return memory


@pytest.mark.parametrize("scripted", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_find_who_has_seen_a_memory_and_what_else_that_principal_has_read(
    open_page: OpenPage, auditor: User, scripted: bool
) -> None:
    memory = make_audit_entries()
    secret = make_key(clearance={"max_tier": "internal"}, source="crm")
    Client(headers={"Authorization": f"Bearer {secret}"}).get("/api/memories?subject=user:ada")
    page = open_page(auditor, java_script_enabled=scripted)
    page.goto(f"/memories/{memory.memory_id}")

    readers_region = page.get_by_role("region", name="Who has seen this")
    expect(readers_region.get_by_role("listitem").first).to_contain_text("user:grace read it through a memory's page")
    readers_region.get_by_role("link", name="All of it").click()
    page.get_by_label("Did what").select_option("memory.reclassify")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(".entry")).to_have_count(1)
    expect(page.locator(".entry")).to_contain_text("It names a person.")

    page.get_by_role("link", name="Clear all").click()
    page.get_by_role("link", name="key:agent").first.click()
    expect(page.get_by_role("heading", name="Memories read by key:agent")).to_be_visible()
    expect(page.get_by_role("region", name="Memories").get_by_role("listitem")).to_have_count(10)


def test_pages_and_back_keep_their_state_and_a_link_leads_to_its_entry(open_page: OpenPage, auditor: User) -> None:
    for index in range(50):
        append_events(make_event(INTERNAL, action="key.create", details={"key": f"k-{index}"}, request_id=f"r-{index}"))
    page = open_page(auditor)
    page.goto("/audit?action=key.create")

    page.get_by_role("link", name="Older").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".entry").first).to_contain_text("k-29")
    deep_url = page.url
    page.locator(".entry__time a").first.click()
    expect(page.locator(".entry")).to_have_count(1)
    expect(page.locator(".entry")).to_contain_text("k-29")
    page.go_back()
    assert page.url == deep_url
    page.reload()
    expect(page.locator(".entry").first).to_contain_text("k-29")
    page.keyboard.press("p")
    expect(page.locator(".entry").first).to_contain_text("k-49")


def test_nothing_is_found_by_axe_where_nothing_happened(view: Callable[..., Page], auditor: User) -> None:
    page = view(auditor)
    violations = []
    for path in ("/audit?action=key.create", "/audit?action=x&memory=y&from=z", "/audit/principals/user:nobody"):
        page.goto(path)
        violations += find_violations(page)
    page.goto("/audit/principals/user:nobody?cursor=x")
    violations += find_violations(page)

    assert violations == []


def test_nothing_is_found_by_axe_where_much_happened(view: Callable[..., Page], auditor: User) -> None:
    memory = make_audit_entries()
    page = view(auditor)
    violations = []
    for path in ("/audit", "/audit?request_id=r-1", "/audit/principals/key:agent", f"/memories/{memory.memory_id}"):
        page.goto(path)
        violations += find_violations(page)

    assert violations == []
