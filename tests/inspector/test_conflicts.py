"""The queue of conflicts in the inspector: what it shows to whom, and what its forms do."""

import html
import re
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts import claims
from memoryhub.conflicts.keys import id_of
from memoryhub.conflicts.models import Decision
from memoryhub.firewall.principals import principal_of
from memoryhub.memories.models import Memory
from tests.browser import hostile
from tests.builders import at, make_memory, make_user
from tests.inspector import pages

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}
STEWARD = "read inspect"
ADA = ("user:ada", "city")


@pytest.fixture
def sue() -> User:
    return make_user("sue", scopes=STEWARD, max_tier="restricted")


@pytest.fixture
def steward(sue: User) -> Client:
    return pages.client_of(sue)


def text(response: Any) -> str:
    return re.sub(r"\s+", " ", html.unescape(pages.text(response)))


def shown(response: Any) -> str:
    """What a page says, without its markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text(response)))


def of(*key: str, view: str = "") -> str:
    return f"/conflicts/{id_of(*key)}{view}"


def disagree(subject: str = "user:ada", collection: str = "city", **fields: Any) -> list[Memory]:
    """Two memories that contradict each other, the one that was said last first."""
    same = {"subject": subject, "collection": collection, **fields}
    paris = make_memory(content="She lives in Paris.", source="crm", timestamp=at("2026-03-01 12:00"), **same)
    london = make_memory(content="She lives in London.", source="bot", timestamp=at("2026-03-02 12:00"), **same)
    return [london, paris]


def form_of(response: Any, action: str) -> dict[str, str]:
    """The hidden fields of the form that posts to `action`."""
    page = pages.text(response)
    (form,) = re.findall(rf'<form [^>]*action="{re.escape(action)}["?].*?</form>', page, re.DOTALL)
    tags = (dict(re.findall(r'(\w+)="([^"]*)"', tag)) for tag in re.findall(r'<input type="hidden"[^>]*>', form))
    return {tag["name"]: html.unescape(tag.get("value", "")) for tag in tags}


def decide(client: Client, *key: str, **typed: Any) -> Any:
    """Send the form of a group's page, as it stands now, with what is typed."""
    typed.setdefault("reason", "Checked.")
    return client.post(of(*key, view="/decide"), {**form_of(client.get(of(*key)), of(*key, view="/decide")), **typed})


def current(memory: Memory) -> Memory:
    return Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)


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

        assert steward.get("/conflicts?subject=user:ada&source=")["Location"] == "/conflicts?subject=user%3Aada"
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

        assert "1 decided by you today" in shown(steward.get("/conflicts"))
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
        fields = {"subject": value, "collection": value, "source": value, "actor_id": value, "labels": [value]}
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

    def test_it_is_shown_as_it_was_known(self, steward: Client) -> None:
        disagree()
        instant = Memory.objects.latest("recorded_at").recorded_at.isoformat()
        decide(steward, *ADA, choice="not_a_conflict", reason="Two homes.")

        page = shown(steward.get(f"{of(*ADA)}?known_at={quote(instant)}"))

        assert "She lives in Paris ." in page
        assert "Two homes." not in page
        assert "Decide similar" not in page


class TestDeciding:
    def test_one_value_is_kept_and_the_next_group_opens(self, steward: Client) -> None:
        london, paris = disagree()
        disagree("user:bob")

        answer = decide(steward, *ADA, choice=str(paris.memory_id), reason="Asked her.")

        assert answer["Location"] == f"{of('user:bob', 'city')}?came_from={id_of(*ADA)}#group-title"
        assert [current(memory).status for memory in (london, paris)] == ["retired", "active"]
        made = Decision.objects.get()
        assert (made.outcome, made.reason, made.principal) == ("keep_one", "Asked her.", "user:sue")
        page = shown(steward.get(answer["Location"]))
        assert "You kept one value of user:ada to city and retired 1." in page
        assert 'data-last="Asked her."' in pages.text(steward.get(of("user:bob", "city")))

    def test_the_queue_goes_on_as_it_was_narrowed_down(self, steward: Client) -> None:
        for subject in ("user:ada", "user:bob", "user:eve"):
            disagree(subject)
        disagree("user:bob", "country")
        page = steward.get("/conflicts?collection=city")
        kept = html.unescape(re.search(rf'href="{of(*ADA)}(\?[^"]*)"', pages.text(page))[1])  # type: ignore[index]

        answer = steward.post(
            of(*ADA, view="/decide") + kept,
            {**form_of(steward.get(of(*ADA)), of(*ADA, view="/decide")), "choice": "not_a_conflict", "reason": "x"},
        )

        assert answer["Location"].startswith(f"{of('user:bob', 'city')}{kept}&came_from=")
        assert "as you left them" in shown(steward.get(answer["Location"]))

    def test_after_the_last_one_the_first_that_is_open_comes_and_then_the_queue(self, steward: Client) -> None:
        disagree("user:ada")
        disagree("user:bob")

        back = decide(steward, "user:bob", "city", choice="not_a_conflict")
        assert back["Location"].startswith(of(*ADA))
        last = decide(steward, *ADA, choice="not_a_conflict")

        assert last["Location"] == "/conflicts"
        assert "No contradictions left" in shown(steward.get("/conflicts"))
        assert "You found no conflict" in shown(steward.get("/conflicts"))

    def test_several_are_kept_each_with_when_it_holds(self, steward: Client) -> None:
        london, paris = disagree()
        rome = make_memory(subject="user:ada", collection="city", content="She lives in Rome.")

        decide(
            steward, *ADA, choice="keep_several", keep=[str(london.memory_id), str(paris.memory_id)],
            **{f"from-{london.memory_id}": "2026-03-02", f"to-{paris.memory_id}": "2026-03-02"},
        )  # fmt: skip

        made = Decision.objects.get()
        assert (made.outcome, made.retired) == ("keep_several", [rome.memory_id])
        assert made.validity[str(london.memory_id)]["from"].startswith("2026-03-02T00:00:00")
        assert made.validity[str(paris.memory_id)]["to"].startswith("2026-03-02T00:00:00")

    def test_values_are_merged_into_what_was_typed(self, steward: Client) -> None:
        disagree()

        decide(steward, *ADA, choice="merge", content="She lives in Paris\r\nand in London.")

        made = Decision.objects.get()
        assert Memory.objects.get(memory_id=made.merged).content == "She lives in Paris\nand in London."
        assert len(made.retired) == 2

    def test_a_group_is_deferred_to_a_day(self, steward: Client) -> None:
        disagree()

        decide(steward, *ADA, choice="defer", until="2099-01-01")

        assert Decision.objects.get().until == at("2099-01-01")

    def test_a_reason_is_given_with_one_tap(self, steward: Client) -> None:
        london, _ = disagree()

        decide(steward, *ADA, choice=str(london.memory_id), reason="", tapped="Newer information.")

        assert Decision.objects.get().reason == "Newer information."

    @pytest.mark.parametrize(
        ("typed", "status", "said"),
        [
            ({}, 400, "Choose what is to become of it."),
            ({"choice": "not_a_conflict", "reason": " "}, 400, "A reason is required."),
            ({"choice": "merge", "content": " "}, 400, "content is given with merge"),
            ({"choice": "defer", "until": "2020-01-01"}, 400, "The date must lie in the future."),
            ({"choice": "defer", "until": "tomorrow"}, 400, "The date"),
            ({"choice": "nonsense"}, 400, "What to keep"),
            ({"choice": "keep_several"}, 400, "keep names memories"),
            ({"choice": "not_a_conflict", "evidence": "00"}, 409, "another one since it was read"),
        ],
    )
    def test_what_is_refused_is_told_and_what_was_typed_stays(
        self, steward: Client, typed: dict[str, str], status: int, said: str
    ) -> None:
        disagree()

        answer = decide(steward, *ADA, **{"reason": "It's a <reason>.", **typed})

        assert answer.status_code == status
        assert said in shown(answer)
        assert "reason" in typed or "It&#x27;s a &lt;reason&gt;." in pages.text(answer)
        assert not Decision.objects.exists()

    def test_a_stale_group_says_what_happened_and_keeps_what_was_typed(self, steward: Client) -> None:
        _, paris = disagree()
        typed = form_of(steward.get(of(*ADA)), of(*ADA, view="/decide"))
        other = pages.signed_in("bob", scopes=STEWARD)
        decide(other, *ADA, choice="not_a_conflict", reason="Two homes.")

        answer = steward.post(
            of(*ADA, view="/decide"), {**typed, "choice": str(paris.memory_id), "reason": "Asked her."}
        )

        assert answer.status_code == 409
        assert "Meanwhile user:bob found no conflict" in shown(answer)
        assert "Two homes." in shown(answer)
        assert Decision.objects.count() == 1

    def test_a_value_that_joins_meanwhile_makes_it_stale_and_is_shown(self, steward: Client) -> None:
        _, paris = disagree()
        typed = form_of(steward.get(of(*ADA)), of(*ADA, view="/decide"))
        make_memory(subject="user:ada", collection="city", content="She lives in Rome.")

        answer = steward.post(
            of(*ADA, view="/decide"), {**typed, "choice": str(paris.memory_id), "reason": "Asked her."}
        )

        assert answer.status_code == 409
        assert "A memory was added or changed meanwhile." in shown(answer)
        assert "She lives in Rome." in shown(answer)
        assert 'value="Asked her."' in pages.text(answer)
        assert re.search(rf'value="{paris.memory_id}" required data-press="\d" checked', pages.text(answer))
        again = {**form_of(answer, of(*ADA, view="/decide")), "choice": str(paris.memory_id), "reason": "Asked her."}
        assert steward.post(of(*ADA, view="/decide"), again).status_code == 302

    def test_a_group_that_was_decided_is_open_again_when_something_new_is_said(self, steward: Client) -> None:
        disagree()
        decide(steward, *ADA, choice="not_a_conflict")
        assert "Decide similar" not in shown(steward.get(of(*ADA)))

        make_memory(subject="user:ada", collection="city", content="She lives in Rome.", source="scout")

        assert "open again" in shown(steward.get("/conflicts"))
        page = shown(steward.get(of(*ADA)))
        assert "a value joined that the decision had not seen" in page
        assert "Decide similar" in page
        assert "Decided so far" in page

    def test_one_entry_in_the_ledger_tells_of_it(self, steward: Client) -> None:
        disagree()
        decide(steward, *ADA, choice="not_a_conflict")

        entry = AuditEntry.objects.get(action="conflict.decide")
        assert (entry.principal, entry.route) == ("user:sue", "inspector:conflict-decide")


class TestClaims:
    def test_who_opens_a_group_has_it_and_others_see_so(self, steward: Client, sue: User) -> None:
        disagree()
        other = pages.signed_in("bob", scopes=STEWARD)

        mine = steward.post(of(*ADA, view="/claim"), headers=HTMX)

        assert "With you until" in shown(mine)
        assert "load" not in pages.text(mine), "a part that claims as it comes would never end"
        assert claims.held([ADA], by=principal_of(sue))[ADA].principal == "user:sue"
        assert "with user:sue" in shown(other.get("/conflicts"))
        assert "user:sue is deciding about this one" in shown(other.post(of(*ADA, view="/claim"), headers=HTMX))
        assert other.post(of(*ADA, view="/claim"))["Location"] == of(*ADA)

    def test_deciding_on_what_another_one_holds_is_refused(self, steward: Client) -> None:
        disagree()
        other = pages.signed_in("bob", scopes=STEWARD)
        other.post(of(*ADA, view="/claim"), headers=HTMX)

        answer = decide(steward, *ADA, choice="not_a_conflict")

        assert answer.status_code == 409
        assert "Somebody else is deciding about it just now." in shown(answer)
        assert "user:bob is deciding about this one" in shown(answer)
        assert decide(other, *ADA, choice="not_a_conflict").status_code == 302

    def test_going_on_gives_back_what_was_claimed(self, steward: Client) -> None:
        disagree()
        disagree("user:bob")
        steward.post(of(*ADA, view="/claim"), headers=HTMX)
        steward.post(of("user:bob", "city", view="/claim"), headers=HTMX)

        assert decide(pages.signed_in("bob", scopes=STEWARD), *ADA, choice="not_a_conflict").status_code == 302

    def test_what_is_not_seen_is_not_claimed(self) -> None:
        disagree(tier="restricted")
        low = pages.signed_in("low", scopes=STEWARD, max_tier="public")

        assert low.post(of(*ADA, view="/claim"), headers=HTMX).status_code == 404


class TestManyAtOnce:
    def test_the_same_is_decided_of_similar_groups_after_a_look(self, steward: Client) -> None:
        mine = disagree()
        alike = [disagree(f"user:{number}") for number in range(3)]
        others = [
            disagree("user:x", "country"),
            [
                make_memory(subject="user:y", collection="city", content="She lives in Oslo.", source="bot"),
                make_memory(subject="user:y", collection="city", content="She lives in Rome.", source="scout"),
            ],
        ]
        make_memory(subject="user:2", collection="city", content="She lives in Rome.", source="crm")
        typed = {"choice": str(mine[1].memory_id), "reason": "The CRM knows."}
        preview = steward.post(of(*ADA, view="/similar"), typed)

        assert "2 beside this one" in shown(preview)
        told = form_of(preview, of(*ADA, view="/similar"))
        ticked = re.findall(r'type="checkbox" name="group" value="([^"]*)"', pages.text(preview))
        assert ticked == [id_of(*ADA), id_of("user:0", "city"), id_of("user:1", "city")]
        done = steward.post(of(*ADA, view="/similar"), {**told, "reason": "The CRM knows.", "group": ticked[:2]})

        assert "2 conflicts decided" in shown(done)
        assert [current(memory).status for memory in (*mine, *alike[0])] == ["retired", "active"] * 2
        untouched = [*alike[1], *alike[2], *others[0], *others[1]]
        assert all(current(memory).status == "active" for memory in untouched)
        assert AuditEntry.objects.filter(action="conflict.decide").count() == 1

    def test_what_has_changed_meanwhile_is_left_and_told(self, steward: Client) -> None:
        mine = disagree()
        disagree("user:bob")
        preview = steward.post(of(*ADA, view="/similar"), {"choice": str(mine[0].memory_id), "reason": "x"})
        told = form_of(preview, of(*ADA, view="/similar"))
        make_memory(subject="user:bob", collection="city", content="She lives in Rome.")

        ticked = [id_of(*ADA), id_of("user:bob", "city")]
        done = shown(steward.post(of(*ADA, view="/similar"), {**told, "reason": "x", "group": ticked}))

        assert "1 conflict decided" in done
        assert "Left as they are 1" in done
        assert "another one since it was read" in done

    def test_all_of_them_are_undone_together(self, steward: Client) -> None:
        both = [disagree(), disagree("user:bob")]
        preview = steward.post(of(*ADA, view="/similar"), {"choice": str(both[0][0].memory_id), "reason": "x"})
        told = form_of(preview, of(*ADA, view="/similar"))
        ticked = [id_of(*ADA), id_of("user:bob", "city")]
        done = steward.post(of(*ADA, view="/similar"), {**told, "reason": "x", "group": ticked})
        ids = re.findall(r'name="decision" value="([^"]*)"', pages.text(done))

        answer = steward.post("/decisions/undo", {"decision": ids, "reason": "Too quick.", "next": "/conflicts"})

        assert answer["Location"] == "/conflicts"
        assert "2 memories are in force again." in shown(steward.get("/conflicts"))
        assert all(current(memory).status == "active" for memory in (*both[0], *both[1]))

    @pytest.mark.parametrize("choice", ["merge", "keep_several", ""])
    def test_what_means_something_of_one_group_alone_is_refused(self, steward: Client, choice: str) -> None:
        london, paris = disagree()
        keep = [str(london.memory_id), str(paris.memory_id)]
        typed = {"choice": choice, "content": "Both." if choice == "merge" else "", "reason": "x", "keep": keep}

        answer = steward.post(of(*ADA, view="/similar"), typed)

        assert answer.status_code == 400
        assert not Decision.objects.exists()


class TestMemories:
    def test_a_disputed_memory_leads_to_its_group(self, steward: Client) -> None:
        london, _ = disagree()
        make_memory(subject="user:bob", collection="city", content="Bob lives in Rome.")

        listed = pages.text(steward.get("/"))
        page = pages.text(steward.get(f"/memories/{london.memory_id}"))

        assert listed.count(f'href="{of(*ADA)}"') == 2
        assert page.count(f'class="badge badge--disputed row__filter" href="{of(*ADA)}"') == 1
        decide(steward, *ADA, choice="not_a_conflict")
        assert "disputed" not in shown(steward.get("/"))

    def test_a_hidden_rival_does_not_make_a_memory_look_disputed(self) -> None:
        make_memory(subject="user:bob", collection="city", content="Bob lives in Rome.")
        make_memory(subject="user:bob", collection="city", content="Bob lives in Milan.", tier="restricted")

        assert "disputed" not in shown(pages.signed_in("low", max_tier="public").get("/"))

    def test_a_retired_memory_names_the_decision(self, steward: Client) -> None:
        london, paris = disagree()
        decide(steward, *ADA, choice=str(paris.memory_id), reason="Asked her.")

        page = shown(steward.get(f"/memories/{london.memory_id}"))

        assert "retired" in page
        assert "kept one value of user:ada to city in force Asked her." in page
