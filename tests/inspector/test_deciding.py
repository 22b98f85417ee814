"""Deciding in the inspector: one conflict or many like it, stale ones, and those that somebody else has claimed."""

import html
import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts import claims
from memoryhub.conflicts.keys import id_of
from memoryhub.conflicts.models import Decision
from memoryhub.firewall.principals import principal_of
from memoryhub.memories.models import Memory
from tests.builders import at, make_memory, make_user
from tests.inspector import pages
from tests.inspector.conflicts import ADA, HTMX, STEWARD, current, decide, disagree, form_of, of, shown

pytestmark = pytest.mark.django_db


@pytest.fixture
def sue() -> User:
    return make_user("sue", scopes=STEWARD, max_tier="restricted")


@pytest.fixture
def steward(sue: User) -> Client:
    return pages.client_of(sue)


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
        assert made.merged is not None
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
        assert re.search(rf'value="{paris.memory_id}" [^>]* data-press="\d" checked', pages.text(answer))
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

    def test_who_comes_too_late_is_told(self, steward: Client) -> None:
        disagree()
        decide(steward, *ADA, choice="not_a_conflict")

        late = pages.signed_in("bob", scopes=STEWARD).post(of(*ADA, view="/claim"), headers=HTMX)

        assert "It was decided meanwhile." in shown(late)

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
