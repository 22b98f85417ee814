"""The queue of conflicts in the inspector, and one of them: what is shown to whom."""

import html
import re
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from memoryhub.conflicts.models import Decision
from memoryhub.memories.models import Memory
from tests.browser import hostile_texts
from tests.factories import make_memory, make_user
from tests.harness.strategies import SOAK
from tests.inspector import clients
from tests.inspector.conflict_pages import (
    ADA_KEY,
    HTMX,
    STEWARD,
    group_url,
    make_conflict,
    post_decision,
    send_group_form,
    visible_text,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def sue() -> User:
    return make_user("sue", scopes=STEWARD, max_tier="restricted")


@pytest.fixture
def steward(sue: User) -> Client:
    return clients.logged_in_client(sue)


def assert_inert(response: Any, origin: str) -> None:
    page = clients.response_text(response)
    for tag in re.findall(r"<(?:script|iframe|object|style|img|svg|a|input)\b[^>]*>", page):
        assert not re.search(r"""\s(?:on\w+|style)=|javascript:""", re.sub(r'"[^"]*"', '""', tag)), (origin, tag)
    assert len(re.findall(r"<script\b", page)) == 2, origin


class TestQueue:
    def test_it_opens_on_contradictions_and_counts_the_other_classes(self, steward: Client) -> None:
        make_conflict()
        make_memory(subject="user:bob", collection="city", content="Bob lives in Rome.")
        make_memory(subject="user:bob", collection="city", content="bob lives in  Rome")

        page = visible_text(steward.get("/conflicts"))

        assert "user:ada to city" in page
        assert "She lives in Paris." in page
        assert "user:bob" not in page
        assert "Contradictions 1 Updates 0 Paraphrases 0 Duplicates 1 Unrelated 0 All 2" in page
        assert "user:bob to city" in visible_text(steward.get("/conflicts?class=duplicate"))
        assert {"user:ada", "user:bob"} <= set(visible_text(steward.get("/conflicts?class=all")).split())

    def test_it_comes_whole_or_as_the_part_that_htmx_swaps(self, steward: Client) -> None:
        make_conflict()

        part = steward.get("/conflicts", headers=HTMX)

        assert clients.response_text(part).lstrip().startswith('<div id="results"')
        assert "<!doctype html>" in clients.response_text(steward.get("/conflicts"))

    def test_filters_select_whole_groups_and_leave_the_address_when_they_are_empty(self, steward: Client) -> None:
        make_conflict()
        make_conflict("user:bob")

        assert steward.get("/conflicts?form=1&subject=user:ada&source=")["Location"] == "/conflicts?subject=user%3Aada"
        page = visible_text(steward.get("/conflicts?subject=user:ada&source=crm"))
        assert "user:bob" not in page
        assert "She lives in London." in page, "a filter by source cuts no member out"
        assert "subject is user:ada" in page
        assert "No conflict matches" in visible_text(steward.get("/conflicts?subject=nobody"))

    @pytest.mark.parametrize("query", ["class=odd", "status=x", "unknown=1", "cursor=x", "limit=0", "min_values=x"])
    def test_what_cannot_be_answered_is_named(self, steward: Client, query: str) -> None:
        full_response, partial_response = (
            steward.get(f"/conflicts?{query}"),
            steward.get(f"/conflicts?{query}", headers=HTMX),
        )

        assert (full_response.status_code, partial_response.status_code) == (400, 200)
        assert query.partition("=")[0] in visible_text(partial_response)

    def test_pages_go_on_where_the_last_one_ended(self, steward: Client) -> None:
        for index in range(3):
            make_conflict(f"user:{index}")

        first = steward.get("/conflicts?limit=2")
        (next_page_url,) = set(re.findall(r'id="older" href="([^"]*)"', clients.response_text(first)))
        second = visible_text(steward.get(html.unescape(next_page_url)))

        assert "user:2" in second
        assert "user:0" not in second
        assert "These are the last." in second

    def test_an_empty_queue_says_so_and_where_there_is_more(self, steward: Client) -> None:
        assert "No contradictions left" in visible_text(steward.get("/conflicts"))
        make_memory(subject="user:bob", collection="city", content="Bob lives in Rome.")
        make_memory(subject="user:bob", collection="city", content="bob lives in  Rome")

        page = visible_text(steward.get("/conflicts"))

        assert "No contradictions left" in page
        assert page.count("Duplicates 1") == 2, "the way there stands in the empty queue, too"

    def test_who_may_not_read_sees_nothing_and_who_may_not_see_a_rival_no_conflict(self) -> None:
        make_conflict()
        make_memory(subject="user:bob", collection="city", content="Bob lives in Rome.")
        make_memory(subject="user:bob", collection="city", content="Bob lives in Milan.", tier="restricted")

        assert Client().get("/conflicts")["Location"] == "/sign-in?next=/conflicts"
        assert clients.client_for_new_user("writer", scopes="write").get("/conflicts").status_code == 403
        low = clients.client_for_new_user("low", max_tier="public")
        assert "user:bob" not in visible_text(low.get("/conflicts?class=all"))
        assert low.get(group_url("user:bob", "city")).status_code == 404

    def test_it_costs_the_same_for_few_and_for_many(self, steward: Client) -> None:
        def count_queries() -> int:
            with CaptureQueriesContext(connection) as queries:
                steward.get("/conflicts?class=all")
            return len(queries)

        make_conflict("user:0")
        post_decision(steward, "user:0", "city", choice="not_a_conflict")
        make_conflict("user:1")
        steward.get("/conflicts?class=all")
        small_cost = count_queries()
        for index in range(2, 14):
            make_conflict(f"user:{index}")
        steward.get("/conflicts?class=all")

        assert count_queries() == small_cost

    def test_what_was_decided_today_is_counted(self, steward: Client) -> None:
        make_conflict()
        make_conflict("user:bob")
        post_decision(steward, *ADA_KEY, choice="not_a_conflict")

        assert "1 of 2 decided, 1 by you today" in visible_text(steward.get("/conflicts"))
        assert "user:ada" in visible_text(steward.get("/conflicts?status=decided"))


class TestGroup:
    def test_it_shows_the_values_with_what_sets_them_apart(self, steward: Client) -> None:
        london, paris = make_conflict(labels=["pii"], tier="internal", actor_id="scout")
        make_memory(subject="user:ada", collection="city", content="She lives in Paris.", source="second")

        response = steward.get(group_url(*ADA_KEY))
        page = visible_text(response)

        assert "She lives in <mark>Paris</mark>." in clients.response_text(response)
        assert "She lives in <mark>London</mark>." in clients.response_text(response)
        assert {"crm", "second", "bot", "internal", "pii", "scout"} <= set(page.split())
        assert "2 memories say so, from 2 sources" in page
        assert f"/memories/{london.memory_id}" in clients.response_text(response)
        assert paris.timestamp is not None
        assert "1 Mar 2026, 12:00" in page

    def test_it_says_why_it_is_of_its_class(self, steward: Client) -> None:
        make_conflict()

        response = steward.get(group_url(*ADA_KEY))

        assert "Why contradiction" in visible_text(response)
        assert "Do both speak of one matter? yes" in visible_text(response)
        assert '<rect class="question__for"' in clients.response_text(response)
        assert " style=" not in clients.response_text(response)

    def test_who_may_not_judge_sees_it_without_forms_and_is_refused(self) -> None:
        make_conflict()
        reader = clients.client_for_new_user("reader")

        page = clients.response_text(reader.get(group_url(*ADA_KEY)))

        assert "She lives in" in page
        assert "/resolve" not in page
        assert "/claim" not in page
        for view in ("/resolve", "/claim", "/similar"):
            assert (
                reader.post(group_url(*ADA_KEY, view=view), {"choice": "not_a_conflict", "reason": "x"}).status_code
                == 403
            )
        assert not Decision.objects.exists()

    @pytest.mark.parametrize("view", ["/resolve", "/claim", "/similar"])
    def test_nobody_decides_without_a_sign_in_or_from_elsewhere(self, steward: Client, view: str) -> None:
        make_conflict()
        assert Client().post(group_url(*ADA_KEY, view=view))["Location"].startswith("/sign-in")
        csrf_client = Client(enforce_csrf_checks=True)
        csrf_client.cookies = steward.cookies

        assert csrf_client.post(group_url(*ADA_KEY, view=view), {"choice": "not_a_conflict"}).status_code == 403
        assert steward.get(group_url(*ADA_KEY, view=view)).status_code == 405

    def test_what_is_not_there_is_missing(self, steward: Client) -> None:
        make_memory(subject="user:bob", collection="city", content="Bob lives in Rome.")

        for path in (group_url("user:bob", "city"), group_url("nobody", "city"), "/conflicts/x", "/conflicts/cf_x"):
            assert steward.get(path).status_code == 404
        assert steward.post("/conflicts/x/resolve", {"choice": "not_a_conflict", "reason": "x"}).status_code == 404

    def test_hostile_text_is_inert(self, steward: Client) -> None:
        for number, value in enumerate(hostile_texts.ALL_TEXTS):
            fields: dict[str, Any] = {
                "subject": value,
                "collection": value,
                "source": value,
                "actor_id": value,
                "labels": [value],
            }
            make_memory(content=f"{value} is 1.", **fields)
            make_memory(content=f"{value} is 2.", **fields)
            open_page = steward.get(group_url(value, value))
            assert_inert(open_page, value)
            form_data = {"choice": "not_a_conflict", "reason": value}
            assert send_group_form(steward, open_page, value, value, **form_data).status_code == 302, value
            if SOAK or number % 4 == 0:
                assert_inert(steward.get(group_url(value, value)), value)

        group_urls = [group_url(value, value) for value in hostile_texts.ALL_TEXTS]
        decision_ids = list(map(str, Decision.objects.values_list("decision_id", flat=True)))
        assert len(decision_ids) == len(group_urls)
        for path, shown_parts in (
            ("/conflicts?class=all&status=all&limit=100", group_urls),
            ("/decisions?limit=100", decision_ids),
        ):
            response = steward.get(path)
            assert_inert(response, path)
            assert [part for part in shown_parts if part not in clients.response_text(response)] == []

    def test_secrets_are_masked_and_not_offered_for_a_merge(self, steward: Client) -> None:
        secret = "ghp_" + "a1B2c3D4e5" * 4
        make_memory(subject="user:ada", collection="token", content=f"The token is {secret}.")
        make_memory(subject="user:ada", collection="token", content=f"The token is {secret[::-1]} or {secret[:-2]}zz.")

        for path in ("/conflicts?class=all", group_url("user:ada", "token")):
            page = clients.response_text(steward.get(path))
            assert secret not in page
            assert "secrets masked" in page
        assert 'rows="4"></textarea>' in page

    def test_it_costs_the_same_for_few_and_for_many_memories(self, steward: Client) -> None:
        def count_queries() -> int:
            with CaptureQueriesContext(connection) as queries:
                assert steward.get(group_url(*ADA_KEY)).status_code == 200
            return len(queries)

        make_conflict()
        steward.get(group_url(*ADA_KEY))
        small_cost = count_queries()
        for index in range(12):
            make_memory(subject="user:ada", collection="city", content=f"She lives in city {index % 4}.")
        steward.get(group_url(*ADA_KEY))

        assert count_queries() == small_cost

    def test_who_looks_as_somebody_else_decides_nothing(self) -> None:
        make_conflict()
        make_user("other", scopes=STEWARD, max_tier="restricted")
        admin = clients.client_for_new_user("root", scopes="read curate view_as admin")
        admin.post("/view-as", {"as": "user:other"})

        page = clients.response_text(admin.get(group_url(*ADA_KEY)))

        assert "She lives in" in page
        assert "/resolve" not in page
        assert (
            admin.post(group_url(*ADA_KEY, view="/resolve"), {"choice": "not_a_conflict", "reason": "x"}).status_code
            == 403
        )

    def test_it_is_shown_as_it_was_known(self, steward: Client) -> None:
        make_conflict()
        instant = Memory.objects.latest("recorded_at").recorded_at.isoformat()
        post_decision(steward, *ADA_KEY, choice="not_a_conflict", reason="Two homes.")

        page = visible_text(steward.get(f"{group_url(*ADA_KEY)}?known_at={quote(instant)}"))

        assert "She lives in Paris ." in page
        assert "Two homes." not in page
        assert "Apply to similar" not in page

    @pytest.mark.parametrize("scope", ["", "namespace"])
    @pytest.mark.parametrize("has_namespace", [False, True])
    def test_the_way_on_keeps_to_groups_of_its_kind(self, steward: Client, scope: str, has_namespace: bool) -> None:
        for subject in ("user:ada", "user:bob"):
            make_conflict(subject, namespace="home")
        namespace = ("home",) if has_namespace else ()
        queue = quote(f"scope={scope}") if scope else ""

        page = clients.response_text(steward.get(f"{group_url(*ADA_KEY, *namespace)}?queue={queue}"))

        assert f'href="{group_url("user:bob", "city", *namespace)}' in page

    @pytest.mark.parametrize("queue", ["status=x", "class=x", "nonsense=1", "actor_type=x&subject=%00", "%"])
    def test_a_queue_that_makes_no_sense_leads_nowhere(self, steward: Client, queue: str) -> None:
        make_conflict()

        assert steward.get(f"{group_url(*ADA_KEY)}?queue={quote(queue)}").status_code == 200


class TestMemories:
    def test_a_disputed_memory_leads_to_its_group(self, steward: Client) -> None:
        london, _ = make_conflict()
        make_memory(subject="user:bob", collection="city", content="Bob lives in Rome.")

        list_page = clients.response_text(steward.get("/"))
        page = clients.response_text(steward.get(f"/memories/{london.memory_id}"))

        assert list_page.count(f'href="{group_url(*ADA_KEY)}"') == 2
        assert page.count(f'class="badge badge--disputed row__filter" href="{group_url(*ADA_KEY)}"') == 1
        post_decision(steward, *ADA_KEY, choice="not_a_conflict")
        assert "other values" not in visible_text(steward.get("/"))

    def test_a_hidden_rival_does_not_make_a_memory_look_disputed(self) -> None:
        make_memory(subject="user:bob", collection="city", content="Bob lives in Rome.")
        make_memory(subject="user:bob", collection="city", content="Bob lives in Milan.", tier="restricted")

        assert "other values" not in visible_text(clients.client_for_new_user("low", max_tier="public").get("/"))

    def test_a_retired_memory_names_the_decision(self, steward: Client) -> None:
        london, paris = make_conflict()
        post_decision(steward, *ADA_KEY, choice=str(paris.memory_id), reason="Asked her.")

        page = visible_text(steward.get(f"/memories/{london.memory_id}"))

        assert "retired" in page
        assert "kept one value of user:ada to city active Asked her." in page
