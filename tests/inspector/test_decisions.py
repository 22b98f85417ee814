"""The decisions in the inspector: the list and its filters, one of them, and the way back."""

import uuid
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from memoryhub.conflicts.models import Decision
from memoryhub.memories.models import Memory
from tests.factories import make_memory
from tests.inspector import clients
from tests.inspector.conflict_pages import (
    ADA_KEY,
    STEWARD,
    current_version,
    group_url,
    make_conflict,
    post_decision,
    visible_text,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def steward() -> Client:
    return clients.client_for_new_user("sue", scopes=STEWARD)


def post_undo(client: Client, *decisions: Any, **form_data: str) -> Any:
    ids = [getattr(item, "decision_id", item) for item in decisions]
    return client.post("/decisions/undo", {"decision": ids, "reason": "Was a mistake.", **form_data})


def make_decision(client: Client, key: tuple[str, str] = ADA_KEY, **form_data: str) -> tuple[Decision, list[Memory]]:
    """A decision that keeps what was said last, and the memories that it was made on."""
    memories = make_conflict(*key)
    post_decision(client, *key, choice=str(memories[0].memory_id), **form_data)
    return Decision.objects.latest("id"), memories


def test_the_list_shows_who_decided_what_and_why(steward: Client) -> None:
    make_decision(steward, reason="Asked her.")

    page = visible_text(steward.get("/decisions"))

    assert "user:sue kept one value of user:ada to city active" in page
    assert "Asked her." in page
    assert "kept 1 retired 1" in page


def test_it_is_narrowed_down_by_each_of_its_filters(steward: Client) -> None:
    make_decision(steward, reason="Asked her.")
    decision, (memory, _) = make_decision(steward, ("user:bob", "city"), reason="The CRM knows.")
    post_undo(steward, Decision.objects.earliest("id"))

    for query in (
        "q=crm", "subject=user:bob", f"memory_id={memory.memory_id}", "outcome=keep_one&in_force=true",
    ):  # fmt: skip
        page = visible_text(steward.get(f"/decisions?{query}"))
        assert "user:bob" in page, query
        assert "user:ada" not in page, query
    assert "No decision matches" in visible_text(steward.get("/decisions?principal=user:nobody"))
    assert "undone" in visible_text(steward.get("/decisions?in_force=false&subject=user:ada"))
    assert decision.outcome == "keep_one"


@pytest.mark.parametrize("query", ["outcome=odd", "unknown=1", "cursor=x", "run_id=x", "from=2026-02-01&to=2026-01-01"])
def test_what_cannot_be_answered_is_named(steward: Client, query: str) -> None:
    response = steward.get(f"/decisions?{query}")

    assert response.status_code == 400
    assert query.rpartition("&")[2].partition("=")[0] in visible_text(response)


def test_empty_fields_leave_the_address(steward: Client) -> None:
    assert steward.get("/decisions?form=1&q=&subject=user:ada")["Location"] == "/decisions?subject=user%3Aada"


def test_an_empty_list_leads_to_the_queue(steward: Client) -> None:
    assert "Nothing was decided yet" in visible_text(steward.get("/decisions"))


def test_one_decision_shows_what_became_of_each_memory(steward: Client) -> None:
    decision, (london, paris) = make_decision(steward, reason="Asked her.")

    response = steward.get(f"/decisions/{decision.decision_id}")
    page = visible_text(response)

    assert "kept She lives in London." in page
    assert "retired She lives in Paris." in page
    assert all(f"/memories/{memory.memory_id}" in clients.response_text(response) for memory in (london, paris))
    assert group_url(*ADA_KEY) in clients.response_text(response)


def test_it_is_undone_with_a_reason_and_the_group_is_open_again(steward: Client) -> None:
    decision, (london, paris) = make_decision(steward)

    response = post_undo(steward, decision, next=group_url(*ADA_KEY))

    assert response["Location"] == group_url(*ADA_KEY)
    assert [current_version(memory).status for memory in (london, paris)] == ["active", "active"]
    page = visible_text(steward.get(response["Location"]))
    assert "1 memory is active again." in page
    assert "undid a decision" in page
    assert "Apply to similar" in page
    assert "undone" in visible_text(steward.get(f"/decisions/{decision.decision_id}"))


def test_a_decided_group_has_its_way_back(steward: Client) -> None:
    decision, _ = make_decision(steward)

    page = clients.response_text(steward.get(group_url(*ADA_KEY)))

    assert page.count(f'name="decision" value="{decision.decision_id}"') == 1
    assert 'data-press="u"' in page


def test_what_was_undone_is_no_longer_offered(steward: Client) -> None:
    decision, _ = make_decision(steward)
    post_undo(steward, decision)

    assert "You kept one value" not in visible_text(steward.get("/conflicts"))
    assert 'action="/decisions/undo"' not in clients.response_text(steward.get(f"/decisions/{decision.decision_id}"))


@pytest.mark.parametrize(("reason", "error_text"), [("", "Reason is required."), ("  ", "Reason is required.")])
def test_an_undo_without_a_reason_is_refused(steward: Client, reason: str, error_text: str) -> None:
    decision, _ = make_decision(steward)

    response = post_undo(steward, decision, reason=reason)

    assert response.status_code == 409
    assert error_text in visible_text(response)
    assert Decision.objects.count() == 1


def test_what_cannot_be_undone_says_why(steward: Client) -> None:
    decision, _ = make_decision(steward)
    post_undo(steward, decision)
    (undo_decision,) = Decision.objects.filter(outcome="undo")

    assert "The decision was already undone." in visible_text(post_undo(steward, decision))
    assert "The decision is an undo." in visible_text(post_undo(steward, undo_decision))
    assert post_undo(steward, uuid.uuid4()).status_code == 404
    assert post_undo(steward, "x").status_code == 404


def test_an_undo_leads_nowhere_else(steward: Client) -> None:
    decision, _ = make_decision(steward)

    assert post_undo(steward, decision, next="//evil.example/")["Location"] == "/decisions"


def test_who_may_not_judge_undoes_nothing(steward: Client) -> None:
    decision, _ = make_decision(steward)
    reader = clients.client_for_new_user("reader")

    assert 'action="/decisions/undo"' not in clients.response_text(reader.get(f"/decisions/{decision.decision_id}"))
    assert post_undo(reader, decision).status_code == 403
    assert "Policies" not in visible_text(reader.get("/decisions"))
    assert Client().get("/decisions")["Location"] == "/sign-in?next=/decisions"
    assert clients.client_for_new_user("writer", scopes="write").get("/decisions").status_code == 403


def test_a_user_who_may_not_see_all_of_it_sees_nothing(steward: Client) -> None:
    low = clients.client_for_new_user("low", scopes=STEWARD, max_tier="public")
    memories = [
        make_memory(subject="user:ada", collection="city", content=f"She lives in {city}.", tier=tier)
        for city, tier in (("Paris", "public"), ("London", "restricted"))
    ]
    post_decision(steward, *ADA_KEY, choice=str(memories[1].memory_id), reason="The merger.")
    decision = Decision.objects.get()

    assert "Nothing was decided yet" in visible_text(low.get("/decisions"))
    assert low.get(f"/decisions/{decision.decision_id}").status_code == 404
    assert post_undo(low, decision).status_code == 404
    assert "The merger." not in visible_text(low.get(f"/memories/{memories[0].memory_id}"))
    assert current_version(memories[0]).status == "active", "its readers may not see what won"
    assert "1 stayed active" in visible_text(steward.get("/conflicts"))


def test_secrets_in_a_reason_are_masked(steward: Client) -> None:
    secret = "ghp_" + "a1B2c3D4e5" * 4
    decision, _ = make_decision(steward, reason=f"<b>It is</b> {secret}")

    for path in ("/decisions", f"/decisions/{decision.decision_id}", group_url(*ADA_KEY)):
        page = clients.response_text(steward.get(path))
        assert secret not in page, path
        assert "<b>It is" not in page


def test_the_list_costs_the_same_for_few_and_for_many(steward: Client) -> None:
    def count_queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            steward.get("/decisions")
        return len(queries)

    make_decision(steward)
    small_cost = count_queries()
    for index in range(6):
        make_decision(steward, (f"user:{index}", "city"))

    assert count_queries() == small_cost
