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
from tests.browser import hostile
from tests.builders import make_memory, make_user
from tests.inspector import pages
from tests.inspector.conflicts import ADA, HTMX, STEWARD, decide, disagree, of, shown

pytestmark = pytest.mark.django_db


@pytest.fixture
def sue() -> User:
    return make_user("sue", scopes=STEWARD, max_tier="restricted")


@pytest.fixture
def steward(sue: User) -> Client:
    return pages.client_of(sue)


class TestTheQueue:
    def test_it_opens_on_contradictions_and_counts_the_other_classes(self, steward: Client) -> None:
        disagree()
        make_memory(subject="user:bob", collection="city", content="Bob lives in Rome.")
        make_memory(subject="user:bob", collection="city", content="bob lives in  Rome")

        page = shown(steward.get("/conflicts"))

        assert "user:ada to city" in page
        assert "She lives in Paris." in page
        assert "user:bob" not in page
        assert "Contradictions 1 Updates 0 Paraphrases 0 Duplicates 1 Unrelated 0 All 2" in page
        assert "user:bob to city" in shown(steward.get("/conflicts?class=duplicate"))
        assert {"user:ada", "user:bob"} <= set(shown(steward.get("/conflicts?class=all")).split())

    def test_it_comes_whole_or_as_the_part_that_htmx_swaps(self, steward: Client) -> None:
        disagree()

        part = steward.get("/conflicts", headers=HTMX)

        assert pages.text(part).lstrip().startswith('<div id="results"')
        assert "<!doctype html>" in pages.text(steward.get("/conflicts"))

    def test_filters_select_whole_groups_and_leave_the_address_when_they_are_empty(self, steward: Client) -> None:
        disagree()
        disagree("user:bob")

        assert steward.get("/conflicts?form=1&subject=user:ada&source=")["Location"] == "/conflicts?subject=user%3Aada"
        page = shown(steward.get("/conflicts?subject=user:ada&source=crm"))
        assert "user:bob" not in page
        assert "She lives in London." in page, "a filter by source cuts no member out"
        assert "subject is user:ada" in page
        assert "No conflict matches" in shown(steward.get("/conflicts?subject=nobody"))

    @pytest.mark.parametrize("query", ["class=odd", "status=x", "unknown=1", "cursor=x", "limit=0", "min_values=x"])
    def test_what_cannot_be_answered_is_named(self, steward: Client, query: str) -> None:
        whole, part = steward.get(f"/conflicts?{query}"), steward.get(f"/conflicts?{query}", headers=HTMX)

        assert (whole.status_code, part.status_code) == (400, 200)
        assert query.partition("=")[0] in shown(part)

    def test_pages_go_on_where_the_last_one_ended(self, steward: Client) -> None:
        for number in range(3):
            disagree(f"user:{number}")

        first = steward.get("/conflicts?limit=2")
        (more,) = set(re.findall(r'id="older" href="([^"]*)"', pages.text(first)))
        second = shown(steward.get(html.unescape(more)))

        assert "user:2" in second
        assert "user:0" not in second
        assert "These are the last." in second

    def test_an_empty_queue_says_so_and_where_there_is_more(self, steward: Client) -> None:
        assert "No contradictions left" in shown(steward.get("/conflicts"))
        make_memory(subject="user:bob", collection="city", content="Bob lives in Rome.")
        make_memory(subject="user:bob", collection="city", content="bob lives in  Rome")

        page = shown(steward.get("/conflicts"))

        assert "No contradictions left" in page
        assert page.count("Duplicates 1") == 2, "the way there stands in the empty queue, too"

    def test_who_may_not_read_sees_nothing_and_who_may_not_see_a_rival_no_conflict(self) -> None:
        disagree()
        make_memory(subject="user:bob", collection="city", content="Bob lives in Rome.")
        make_memory(subject="user:bob", collection="city", content="Bob lives in Milan.", tier="restricted")

        assert Client().get("/conflicts")["Location"] == "/sign-in?next=/conflicts"
        assert pages.signed_in("writer", scopes="write").get("/conflicts").status_code == 403
        low = pages.signed_in("low", max_tier="public")
        assert "user:bob" not in shown(low.get("/conflicts?class=all"))
        assert low.get(of("user:bob", "city")).status_code == 404

    def test_it_costs_the_same_for_few_and_for_many(self, steward: Client) -> None:
        def cost() -> int:
            with CaptureQueriesContext(connection) as queries:
                steward.get("/conflicts?class=all")
            return len(queries)

        disagree("user:0")
        decide(steward, "user:0", "city", choice="not_a_conflict")
        disagree("user:1")
        steward.get("/conflicts?class=all")
        few = cost()
        for number in range(2, 14):
            disagree(f"user:{number}")
        steward.get("/conflicts?class=all")

        assert cost() == few

    def test_what_was_decided_today_is_counted(self, steward: Client) -> None:
        disagree()
        disagree("user:bob")
        decide(steward, *ADA, choice="not_a_conflict")

        assert "1 of 2 decided, 1 by you today" in shown(steward.get("/conflicts"))
        assert "user:ada" in shown(steward.get("/conflicts?status=decided"))


class TestAGroup:
    def test_it_shows_the_values_with_what_sets_them_apart(self, steward: Client) -> None:
        london, paris = disagree(labels=["pii"], tier="internal", actor_id="scout")
        make_memory(subject="user:ada", collection="city", content="She lives in Paris.", source="second")

        answer = steward.get(of(*ADA))
        page = shown(answer)

        assert "She lives in <mark>Paris</mark>." in pages.text(answer)
        assert "She lives in <mark>London</mark>." in pages.text(answer)
        assert {"crm", "second", "bot", "internal", "pii", "scout"} <= set(page.split())
        assert "2 memories say so, from 2 sources" in page
        assert f"/memories/{london.memory_id}" in pages.text(answer)
        assert paris.timestamp is not None
        assert "1 Mar 2026, 12:00" in page

    def test_it_says_why_it_is_of_its_class(self, steward: Client) -> None:
        disagree()

        answer = steward.get(of(*ADA))

        assert "Why contradiction" in shown(answer)
        assert "Do both speak of one matter? yes" in shown(answer)
        assert '<rect class="question__for"' in pages.text(answer)
        assert " style=" not in pages.text(answer)

    def test_who_may_not_judge_sees_it_without_forms_and_is_refused(self) -> None:
        disagree()
        reader = pages.signed_in("reader")

        page = pages.text(reader.get(of(*ADA)))

        assert "She lives in" in page
        assert "/decide" not in page
        assert "/claim" not in page
        for view in ("/decide", "/claim", "/similar"):
            assert reader.post(of(*ADA, view=view), {"choice": "not_a_conflict", "reason": "x"}).status_code == 403
        assert not Decision.objects.exists()

    @pytest.mark.parametrize("view", ["/decide", "/claim", "/similar"])
    def test_nobody_decides_without_a_sign_in_or_from_elsewhere(self, steward: Client, view: str) -> None:
        disagree()
        assert Client().post(of(*ADA, view=view))["Location"].startswith("/sign-in")
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = steward.cookies

        assert strict.post(of(*ADA, view=view), {"choice": "not_a_conflict"}).status_code == 403
        assert steward.get(of(*ADA, view=view)).status_code == 405

    def test_what_is_not_there_is_missing(self, steward: Client) -> None:
        make_memory(subject="user:bob", collection="city", content="Bob lives in Rome.")

        for path in (of("user:bob", "city"), of("nobody", "city"), "/conflicts/x", "/conflicts/cf_x"):
            assert steward.get(path).status_code == 404
        assert steward.post("/conflicts/x/decide", {"choice": "not_a_conflict", "reason": "x"}).status_code == 404

    @pytest.mark.parametrize("value", hostile.ALL)
    def test_hostile_text_is_inert(self, steward: Client, value: str) -> None:
        fields: dict[str, Any] = {
            "subject": value,
            "collection": value,
            "source": value,
            "actor_id": value,
            "labels": [value],
        }
        make_memory(content=f"{value} is 1.", **fields)
        make_memory(content=f"{value} is 2.", **fields)
        decide(steward, value, value, choice="not_a_conflict", reason=value)

        for path in ("/conflicts?class=all&status=all", of(value, value), "/decisions"):
            page = pages.text(steward.get(path))
            for tag in re.findall(r"<(?:script|iframe|object|style|img|svg|a|input)\b[^>]*>", page):
                assert not re.search(r"""\s(?:on\w+|style)=|javascript:""", re.sub(r'"[^"]*"', '""', tag)), tag
            assert len(re.findall(r"<script\b", page)) == 2

    def test_secrets_are_masked_and_not_offered_for_a_merge(self, steward: Client) -> None:
        secret = "ghp_" + "a1B2c3D4e5" * 4
        make_memory(subject="user:ada", collection="token", content=f"The token is {secret}.")
        make_memory(subject="user:ada", collection="token", content=f"The token is {secret[::-1]} or {secret[:-2]}zz.")

        for path in ("/conflicts?class=all", of("user:ada", "token")):
            page = pages.text(steward.get(path))
            assert secret not in page
            assert "secrets masked" in page
        assert 'rows="4"></textarea>' in page

    def test_it_costs_the_same_for_few_and_for_many_memories(self, steward: Client) -> None:
        def cost() -> int:
            with CaptureQueriesContext(connection) as queries:
                assert steward.get(of(*ADA)).status_code == 200
            return len(queries)

        disagree()
        steward.get(of(*ADA))
        few = cost()
        for number in range(12):
            make_memory(subject="user:ada", collection="city", content=f"She lives in city {number % 4}.")
        steward.get(of(*ADA))

        assert cost() == few

    def test_who_looks_as_somebody_else_decides_nothing(self) -> None:
        disagree()
        make_user("other", scopes=STEWARD, max_tier="restricted")
        admin = pages.signed_in("root", scopes="read inspect view_as admin")
        admin.post("/view-as", {"as": "user:other"})

        page = pages.text(admin.get(of(*ADA)))

        assert "She lives in" in page
        assert "/decide" not in page
        assert admin.post(of(*ADA, view="/decide"), {"choice": "not_a_conflict", "reason": "x"}).status_code == 403

    def test_it_is_shown_as_it_was_known(self, steward: Client) -> None:
        disagree()
        instant = Memory.objects.latest("recorded_at").recorded_at.isoformat()
        decide(steward, *ADA, choice="not_a_conflict", reason="Two homes.")

        page = shown(steward.get(f"{of(*ADA)}?known_at={quote(instant)}"))

        assert "She lives in Paris ." in page
        assert "Two homes." not in page
        assert "Decide similar" not in page

    @pytest.mark.parametrize("scope", ["", "namespace"])
    @pytest.mark.parametrize("by_namespace", [False, True])
    def test_the_way_on_keeps_to_groups_of_its_kind(self, steward: Client, scope: str, by_namespace: bool) -> None:
        for subject in ("user:ada", "user:bob"):
            disagree(subject, namespace="home")
        namespace = ("home",) if by_namespace else ()
        queue = quote(f"scope={scope}") if scope else ""

        page = pages.text(steward.get(f"{of(*ADA, *namespace)}?queue={queue}"))

        assert f'href="{of("user:bob", "city", *namespace)}' in page

    @pytest.mark.parametrize("queue", ["status=x", "class=x", "nonsense=1", "actor_type=x&subject=%00", "%"])
    def test_a_queue_that_makes_no_sense_leads_nowhere(self, steward: Client, queue: str) -> None:
        disagree()

        assert steward.get(f"{of(*ADA)}?queue={quote(queue)}").status_code == 200


class TestMemories:
    def test_a_disputed_memory_leads_to_its_group(self, steward: Client) -> None:
        london, _ = disagree()
        make_memory(subject="user:bob", collection="city", content="Bob lives in Rome.")

        listed = pages.text(steward.get("/"))
        page = pages.text(steward.get(f"/memories/{london.memory_id}"))

        assert listed.count(f'href="{of(*ADA)}"') == 2
        assert page.count(f'class="badge badge--disputed row__filter" href="{of(*ADA)}"') == 1
        decide(steward, *ADA, choice="not_a_conflict")
        assert "other values" not in shown(steward.get("/"))

    def test_a_hidden_rival_does_not_make_a_memory_look_disputed(self) -> None:
        make_memory(subject="user:bob", collection="city", content="Bob lives in Rome.")
        make_memory(subject="user:bob", collection="city", content="Bob lives in Milan.", tier="restricted")

        assert "other values" not in shown(pages.signed_in("low", max_tier="public").get("/"))

    def test_a_retired_memory_names_the_decision(self, steward: Client) -> None:
        london, paris = disagree()
        decide(steward, *ADA, choice=str(paris.memory_id), reason="Asked her.")

        page = shown(steward.get(f"/memories/{london.memory_id}"))

        assert "retired" in page
        assert "kept one value of user:ada to city in force Asked her." in page
