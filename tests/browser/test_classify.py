"""Classifying in a browser: on a memory's page and over the list, with JavaScript and without."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from memoryhub.memories.models import Memory
from tests.browser.axe import find_violations
from tests.browser.conftest import PASSWORD
from tests.factories import make_memory, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def scripted(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def steward(transactional_db: None) -> User:
    return make_user("sue", PASSWORD, scopes="read curate declassify", max_tier="restricted")


def current(memory: Memory) -> Memory:
    return Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)


def test_a_memory_is_classified_and_it_is_undone(open_page: OpenPage, steward: User, scripted: bool) -> None:
    memory = make_memory(labels=["eu"])
    page = open_page(steward, java_script_enabled=scripted)
    page.goto(f"/memories/{memory.memory_id}")

    page.get_by_label("Tier", exact=True).select_option("confidential")
    page.get_by_label("Labels to add, one on a line").fill("pii\nlegal")
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_text("The memory is confidential now.")).to_be_visible()
    assert current(memory).sensitivity_labels == ["eu", "pii", "legal"]

    page.get_by_label("Reason for undoing it").fill("Was a mistake.")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("1 memory is as before.")).to_be_visible()
    assert (current(memory).classification_tier, current(memory).version) == ("public", 3)


def test_all_that_the_list_shows_is_classified_after_a_look(open_page: OpenPage, steward: User, scripted: bool) -> None:
    memories = [make_memory(subject="user:ada", labels=["eu"]) for _ in range(3)]
    other_memory = make_memory(subject="user:bob")
    page = open_page(steward, java_script_enabled=scripted)
    page.goto("/?subject=user:ada")

    page.get_by_role("link", name="Classify these").click()
    page.get_by_label("Quarantine").select_option("quarantined")
    if not scripted:
        page.get_by_role("button", name="Preview").click()
    expect(page.locator("#preview")).to_contain_text("3 of 3 memories")
    expect(page.locator("#preview .row")).to_have_count(3)
    page.get_by_label("Reason").fill("Under review.")
    page.get_by_role("button", name="Change 3 memories").click()

    expect(page.get_by_text("3 memories are changed.")).to_be_visible()
    assert [current(memory).status for memory in [*memories, other_memory]] == ["quarantined"] * 3 + ["active"]
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".row")).to_have_count(3)


def test_the_keyboard_alone_is_enough(open_page: OpenPage, steward: User) -> None:
    memory = make_memory(subject="user:ada", labels=["eu"])
    page = open_page(steward)
    page.goto("/memories/classify?subject=user:ada")

    page.get_by_label("Tier", exact=True).focus()
    page.keyboard.type("internal")
    expect(page.locator("#preview")).to_contain_text("1 of 1 memory")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("pii")
    page.keyboard.press("Tab")
    expect(page.locator("#preview")).to_contain_text("pii")
    expect(page.get_by_label("eu")).to_be_focused()
    page.get_by_label("Reason").focus()
    page.keyboard.type("Checked.")
    page.keyboard.press("Enter")

    expect(page.get_by_text("1 memory is changed.")).to_be_visible()
    assert (current(memory).classification_tier, current(memory).sensitivity_labels) == ("internal", ["eu", "pii"])


def test_axe_finds_nothing_and_nothing_overflows(view: OpenPage, steward: User) -> None:
    for tier in ("public", "internal", "restricted"):
        make_memory(subject="user:ada", tier=tier, labels=["pii", "a label that is rather long " * 5, "eu", "hr", "x"])
    memory = make_memory(subject="user:ada", labels=["pii"])
    page = view(steward)
    violations = []
    for path in (
        "/?subject=user:ada", f"/memories/{memory.memory_id}", "/memories/classify?subject=user:ada",
        "/memories/classify?tier=secret",
        "/memories/classify?subject=user:ada&classification_tier=internal&add_labels=Legal&remove_labels=pii",
        "/memories/classify?subject=user:ada&classification_tier=secret",
        "/memories/classify?subject=nobody&set_status=quarantined",
    ):  # fmt: skip
        page.goto(path)
        violations += find_violations(page)
    page.goto(f"/memories/{memory.memory_id}")
    page.get_by_role("button", name="Classify").click()
    violations += find_violations(page)
    page.goto(f"/memories/{memory.memory_id}")
    page.get_by_label("Tier", exact=True).select_option("restricted")
    page.get_by_role("button", name="Classify").click()
    violations += find_violations(page)
    page.get_by_label("Reason for undoing it").fill("  ")
    page.get_by_role("button", name="Undo").click()
    violations += find_violations(page)

    assert violations == []
