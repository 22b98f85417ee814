"""The decisions in the inspector: the list and its filters, one of them, and the way back."""

import uuid
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from memoryhub.conflicts.models import Decision
from memoryhub.memories.models import Memory
from tests.builders import make_memory
from tests.inspector import pages
from tests.inspector.conflicts import ADA, STEWARD, current, decide, disagree, of, shown

pytestmark = pytest.mark.django_db


@pytest.fixture
def steward() -> Client:
    return pages.signed_in("sue", scopes=STEWARD)


def undo(client: Client, *decisions: Any, **typed: str) -> Any:
    ids = [getattr(one, "decision_id", one) for one in decisions]
    return client.post("/decisions/undo", {"decision": ids, "reason": "Was a mistake.", **typed})


def kept(client: Client, key: tuple[str, str] = ADA, **typed: str) -> tuple[Decision, list[Memory]]:
    """A decision that keeps what was said last, and the memories that it was made on."""
    memories = disagree(*key)
    decide(client, *key, choice=str(memories[0].memory_id), **typed)
    return Decision.objects.latest("id"), memories


def test_the_list_tells_who_decided_what_and_why(steward: Client) -> None:
    kept(steward, reason="Asked her.")

    page = shown(steward.get("/decisions"))

    assert "user:sue kept one value of user:ada to city in force" in page
    assert "Asked her." in page
    assert "kept 1 retired 1" in page


def test_it_is_narrowed_down_by_each_of_its_filters(steward: Client) -> None:
    kept(steward, reason="Asked her.")
    made, (memory, _) = kept(steward, ("user:bob", "city"), reason="The CRM knows.")
    undo(steward, Decision.objects.earliest("id"))

    for query in (
        "q=crm", "subject=user:bob", f"memory_id={memory.memory_id}", "outcome=keep_one&in_force=true",
    ):  # fmt: skip
        page = shown(steward.get(f"/decisions?{query}"))
        assert "user:bob" in page, query
        assert "user:ada" not in page, query
    assert "No decision matches" in shown(steward.get("/decisions?principal=user:nobody"))
    assert "undone" in shown(steward.get("/decisions?in_force=false&subject=user:ada"))
    assert made.outcome == "keep_one"


@pytest.mark.parametrize("query", ["outcome=odd", "unknown=1", "cursor=x", "run=x", "from=2026-02-01&to=2026-01-01"])
def test_what_cannot_be_answered_is_named(steward: Client, query: str) -> None:
    answer = steward.get(f"/decisions?{query}")

    assert answer.status_code == 400
    assert query.rpartition("&")[2].partition("=")[0] in shown(answer)


def test_empty_fields_leave_the_address(steward: Client) -> None:
    assert steward.get("/decisions?form=1&q=&subject=user:ada")["Location"] == "/decisions?subject=user%3Aada"


def test_an_empty_list_leads_to_the_queue(steward: Client) -> None:
    assert "Nothing was decided yet" in shown(steward.get("/decisions"))


def test_one_decision_tells_what_became_of_each_memory(steward: Client) -> None:
    made, (london, paris) = kept(steward, reason="Asked her.")

    answer = steward.get(f"/decisions/{made.decision_id}")
    page = shown(answer)

    assert "kept She lives in London." in page
    assert "retired She lives in Paris." in page
    assert all(f"/memories/{memory.memory_id}" in pages.text(answer) for memory in (london, paris))
    assert of(*ADA) in pages.text(answer)


def test_it_is_undone_with_a_reason_and_the_group_is_open_again(steward: Client) -> None:
    made, (london, paris) = kept(steward)

    answer = undo(steward, made, next=of(*ADA))

    assert answer["Location"] == of(*ADA)
    assert [current(memory).status for memory in (london, paris)] == ["active", "active"]
    page = shown(steward.get(answer["Location"]))
    assert "1 memory is in force again." in page
    assert "undid a decision" in page
    assert "Decide similar" in page
    assert "undone" in shown(steward.get(f"/decisions/{made.decision_id}"))


def test_a_decided_group_has_its_way_back(steward: Client) -> None:
    made, _ = kept(steward)

    page = pages.text(steward.get(of(*ADA)))

    assert page.count(f'name="decision" value="{made.decision_id}"') == 1
    assert 'data-press="u"' in page


def test_what_was_undone_is_no_longer_offered(steward: Client) -> None:
    made, _ = kept(steward)
    undo(steward, made)

    assert "You kept one value" not in shown(steward.get("/conflicts"))
    assert 'action="/decisions/undo"' not in pages.text(steward.get(f"/decisions/{made.decision_id}"))


@pytest.mark.parametrize(("reason", "said"), [("", "Reason is required."), ("  ", "Reason is required.")])
def test_an_undo_without_a_reason_is_refused(steward: Client, reason: str, said: str) -> None:
    made, _ = kept(steward)

    answer = undo(steward, made, reason=reason)

    assert answer.status_code == 409
    assert said in shown(answer)
    assert Decision.objects.count() == 1


def test_what_cannot_be_undone_says_why(steward: Client) -> None:
    made, _ = kept(steward)
    undo(steward, made)
    (back,) = Decision.objects.filter(outcome="undo")

    assert "It was undone already." in shown(undo(steward, made))
    assert "It is an undo." in shown(undo(steward, back))
    assert undo(steward, uuid.uuid4()).status_code == 404
    assert undo(steward, "x").status_code == 404


def test_an_undo_leads_nowhere_else(steward: Client) -> None:
    made, _ = kept(steward)

    assert undo(steward, made, next="//evil.example/")["Location"] == "/decisions"


def test_who_may_not_judge_undoes_nothing(steward: Client) -> None:
    made, _ = kept(steward)
    reader = pages.signed_in("reader")

    assert 'action="/decisions/undo"' not in pages.text(reader.get(f"/decisions/{made.decision_id}"))
    assert undo(reader, made).status_code == 403
    assert "Policies" not in shown(reader.get("/decisions"))
    assert Client().get("/decisions")["Location"] == "/sign-in?next=/decisions"
    assert pages.signed_in("writer", scopes="write").get("/decisions").status_code == 403


def test_who_may_not_see_all_of_it_is_told_nothing(steward: Client) -> None:
    low = pages.signed_in("low", scopes=STEWARD, max_tier="public")
    memories = [
        make_memory(subject="user:ada", collection="city", content=f"She lives in {city}.", tier=tier)
        for city, tier in (("Paris", "public"), ("London", "restricted"))
    ]
    decide(steward, *ADA, choice=str(memories[1].memory_id), reason="The merger.")
    made = Decision.objects.get()

    assert "Nothing was decided yet" in shown(low.get("/decisions"))
    assert low.get(f"/decisions/{made.decision_id}").status_code == 404
    assert undo(low, made).status_code == 404
    assert "The merger." not in shown(low.get(f"/memories/{memories[0].memory_id}"))
    assert current(memories[0]).status == "active", "its readers may not see what won"
    assert "1 stayed in force" in shown(steward.get("/conflicts"))


def test_secrets_in_a_reason_are_masked(steward: Client) -> None:
    secret = "ghp_" + "a1B2c3D4e5" * 4
    made, _ = kept(steward, reason=f"<b>It is</b> {secret}")

    for path in ("/decisions", f"/decisions/{made.decision_id}", of(*ADA)):
        page = pages.text(steward.get(path))
        assert secret not in page, path
        assert "<b>It is" not in page


def test_the_list_costs_the_same_for_few_and_for_many(steward: Client) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            steward.get("/decisions")
        return len(queries)

    kept(steward)
    few = cost()
    for number in range(6):
        kept(steward, (f"user:{number}", "city"))

    assert cost() == few
