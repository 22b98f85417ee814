"""Deciding in the inspector: one conflict or many like it, stale ones, and those that somebody else has claimed."""

import html
import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts.decisions import claims
from memoryhub.conflicts.groups.group_keys import encode_id
from memoryhub.conflicts.models import Decision
from memoryhub.firewall.principal_lookup import resolve_principal
from memoryhub.memories.models import Memory
from tests.factories import make_memory, make_user, utc
from tests.inspector import clients
from tests.inspector.conflict_pages import (
    ADA_KEY,
    HTMX,
    STEWARD,
    current_version,
    group_url,
    hidden_fields,
    make_conflict,
    post_decision,
    visible_text,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def sue() -> User:
    return make_user("sue", scopes=STEWARD, max_tier="restricted")


@pytest.fixture
def steward(sue: User) -> Client:
    return clients.logged_in_client(sue)


class TestDeciding:
    def test_one_value_is_kept_and_the_next_group_opens(self, steward: Client) -> None:
        london, paris = make_conflict()
        make_conflict("user:bob")

        response = post_decision(steward, *ADA_KEY, choice=str(paris.memory_id), reason="Asked her.")

        assert response["Location"] == f"{group_url('user:bob', 'city')}?from_group={encode_id(*ADA_KEY)}#group-title"
        assert [current_version(memory).status for memory in (london, paris)] == ["retired", "active"]
        decision = Decision.objects.get()
        assert (decision.outcome, decision.reason, decision.principal) == ("keep_one", "Asked her.", "user:sue")
        page = visible_text(steward.get(response["Location"]))
        assert "You kept one value of user:ada to city and retired 1." in page
        assert 'data-last="Asked her."' in clients.response_text(steward.get(group_url("user:bob", "city")))

    def test_the_queue_goes_on_as_it_was_narrowed_down(self, steward: Client) -> None:
        for subject in ("user:ada", "user:bob", "user:eve"):
            make_conflict(subject)
        make_conflict("user:bob", "country")
        page = steward.get("/conflicts?collection=city")
        (group_query,) = re.findall(rf'href="{group_url(*ADA_KEY)}(\?[^"]*)"', clients.response_text(page))
        queue_query = html.unescape(group_query)

        response = steward.post(
            group_url(*ADA_KEY, view="/resolve") + queue_query,
            {
                **hidden_fields(steward.get(group_url(*ADA_KEY)), group_url(*ADA_KEY, view="/resolve")),
                "choice": "not_a_conflict",
                "reason": "x",
            },
        )

        assert response["Location"].startswith(f"{group_url('user:bob', 'city')}{queue_query}&from_group=")
        assert "as you left them" in visible_text(steward.get(response["Location"]))

    def test_after_the_last_one_the_first_that_is_open_comes_and_then_the_queue(self, steward: Client) -> None:
        make_conflict("user:ada")
        make_conflict("user:bob")

        redirect = post_decision(steward, "user:bob", "city", choice="not_a_conflict")
        assert redirect["Location"].startswith(group_url(*ADA_KEY))
        last = post_decision(steward, *ADA_KEY, choice="not_a_conflict")

        assert last["Location"] == "/conflicts"
        assert "No contradictions left" in visible_text(steward.get("/conflicts"))
        assert "You found no conflict" in visible_text(steward.get("/conflicts"))

    def test_several_are_kept_each_with_when_it_holds(self, steward: Client) -> None:
        london, paris = make_conflict()
        rome = make_memory(subject="user:ada", collection="city", content="She lives in Rome.")

        post_decision(
            steward, *ADA_KEY, choice="keep_several", keep=[str(london.memory_id), str(paris.memory_id)],
            **{f"from-{london.memory_id}": "2026-03-02", f"to-{paris.memory_id}": "2026-03-02"},
        )  # fmt: skip

        decision = Decision.objects.get()
        assert (decision.outcome, decision.retired_ids) == ("keep_several", [rome.memory_id])
        assert decision.validity[str(london.memory_id)]["from"].startswith("2026-03-02T00:00:00")
        assert decision.validity[str(paris.memory_id)]["to"].startswith("2026-03-02T00:00:00")

    def test_values_are_merged_into_what_was_typed(self, steward: Client) -> None:
        make_conflict()

        post_decision(steward, *ADA_KEY, choice="merge", content="She lives in Paris\r\nand in London.")

        decision = Decision.objects.get()
        assert decision.merged_id is not None
        assert Memory.objects.get(memory_id=decision.merged_id).content == "She lives in Paris\nand in London."
        assert len(decision.retired_ids) == 2

    def test_a_group_is_deferred_to_a_day(self, steward: Client) -> None:
        make_conflict()

        post_decision(steward, *ADA_KEY, choice="defer", deferred_until="2099-01-01")

        assert Decision.objects.get().deferred_until == utc("2099-01-01")

    def test_a_reason_is_given_with_one_tap(self, steward: Client) -> None:
        london, _ = make_conflict()

        post_decision(steward, *ADA_KEY, choice=str(london.memory_id), reason="", quick_reason="Newer information.")

        assert Decision.objects.get().reason == "Newer information."

    @pytest.mark.parametrize(
        ("form_data", "status", "error_text"),
        [
            ({}, 400, "Choose what is to become of it."),
            ({"choice": "not_a_conflict", "reason": " "}, 400, "A reason is required."),
            ({"choice": "merge", "content": " "}, 400, "content is required with merge"),
            ({"choice": "defer", "deferred_until": "2020-01-01"}, 400, "The date must lie in the future."),
            ({"choice": "defer", "deferred_until": "tomorrow"}, 400, "The date"),
            ({"choice": "nonsense"}, 400, "What to keep"),
            ({"choice": "keep_several"}, 400, "keep names memories"),
            ({"choice": "not_a_conflict", "evidence": "00"}, 409, "The conflict has changed since it was read"),
        ],
    )
    def test_a_refusal_is_shown_and_the_input_is_kept(
        self, steward: Client, form_data: dict[str, str], status: int, error_text: str
    ) -> None:
        make_conflict()

        response = post_decision(steward, *ADA_KEY, **{"reason": "It's a <reason>.", **form_data})

        assert response.status_code == status
        assert error_text in visible_text(response)
        assert "reason" in form_data or "It&#x27;s a &lt;reason&gt;." in clients.response_text(response)
        assert not Decision.objects.exists()

    def test_a_stale_group_says_what_happened_and_keeps_what_was_typed(self, steward: Client) -> None:
        _, paris = make_conflict()
        form_data = hidden_fields(steward.get(group_url(*ADA_KEY)), group_url(*ADA_KEY, view="/resolve"))
        other_client = clients.client_for_new_user("bob", scopes=STEWARD)
        post_decision(other_client, *ADA_KEY, choice="not_a_conflict", reason="Two homes.")

        response = steward.post(
            group_url(*ADA_KEY, view="/resolve"), {**form_data, "choice": str(paris.memory_id), "reason": "Asked her."}
        )

        assert response.status_code == 409
        assert "Meanwhile user:bob found no conflict" in visible_text(response)
        assert "Two homes." in visible_text(response)
        assert Decision.objects.count() == 1

    def test_a_value_that_joins_meanwhile_makes_it_stale_and_is_shown(self, steward: Client) -> None:
        _, paris = make_conflict()
        form_data = hidden_fields(steward.get(group_url(*ADA_KEY)), group_url(*ADA_KEY, view="/resolve"))
        make_memory(subject="user:ada", collection="city", content="She lives in Rome.")

        response = steward.post(
            group_url(*ADA_KEY, view="/resolve"), {**form_data, "choice": str(paris.memory_id), "reason": "Asked her."}
        )

        assert response.status_code == 409
        assert "A memory was added or changed meanwhile." in visible_text(response)
        assert "She lives in Rome." in visible_text(response)
        assert 'value="Asked her."' in clients.response_text(response)
        assert re.search(rf'value="{paris.memory_id}" [^>]* data-press="\d" checked', clients.response_text(response))
        retry_data = {
            **hidden_fields(response, group_url(*ADA_KEY, view="/resolve")),
            "choice": str(paris.memory_id),
            "reason": "Asked her.",
        }
        assert steward.post(group_url(*ADA_KEY, view="/resolve"), retry_data).status_code == 302

    def test_a_group_that_was_decided_is_open_again_when_something_new_is_said(self, steward: Client) -> None:
        make_conflict()
        post_decision(steward, *ADA_KEY, choice="not_a_conflict")
        assert "Apply to similar" not in visible_text(steward.get(group_url(*ADA_KEY)))

        make_memory(subject="user:ada", collection="city", content="She lives in Rome.", source="scout")

        assert "open again" in visible_text(steward.get("/conflicts"))
        page = visible_text(steward.get(group_url(*ADA_KEY)))
        assert "a value joined that the decision had not seen" in page
        assert "Apply to similar" in page
        assert "Decided so far" in page

    def test_one_audit_entry_records_it(self, steward: Client) -> None:
        make_conflict()
        post_decision(steward, *ADA_KEY, choice="not_a_conflict")

        entry = AuditEntry.objects.get(action="conflict.resolve")
        assert (entry.principal, entry.route) == ("user:sue", "inspector:conflict-resolve")


class TestClaims:
    def test_who_opens_a_group_has_it_and_others_see_so(self, steward: Client, sue: User) -> None:
        make_conflict()
        other_client = clients.client_for_new_user("bob", scopes=STEWARD)

        own_response = steward.post(group_url(*ADA_KEY, view="/claim"), headers=HTMX)

        assert "Taken by you until" in visible_text(own_response)
        assert "load" not in clients.response_text(own_response), "a part that claims as it comes would never end"
        assert claims.list_claims([ADA_KEY], principal=resolve_principal(sue))[ADA_KEY].principal == "user:sue"
        assert "taken by user:sue" in visible_text(other_client.get("/conflicts"))
        assert "Taken by user:sue" in visible_text(other_client.post(group_url(*ADA_KEY, view="/claim"), headers=HTMX))
        assert other_client.post(group_url(*ADA_KEY, view="/claim"))["Location"] == group_url(*ADA_KEY)

    def test_deciding_on_what_another_one_holds_is_refused(self, steward: Client) -> None:
        make_conflict()
        other_client = clients.client_for_new_user("bob", scopes=STEWARD)
        other_client.post(group_url(*ADA_KEY, view="/claim"), headers=HTMX)

        response = post_decision(steward, *ADA_KEY, choice="not_a_conflict")

        assert response.status_code == 409
        assert "Another principal is deciding about this conflict now." in visible_text(response)
        assert "Taken by user:bob" in visible_text(response)
        assert post_decision(other_client, *ADA_KEY, choice="not_a_conflict").status_code == 302

    def test_going_on_gives_back_what_was_claimed(self, steward: Client) -> None:
        make_conflict()
        make_conflict("user:bob")
        steward.post(group_url(*ADA_KEY, view="/claim"), headers=HTMX)
        steward.post(group_url("user:bob", "city", view="/claim"), headers=HTMX)

        assert (
            post_decision(
                clients.client_for_new_user("bob", scopes=STEWARD), *ADA_KEY, choice="not_a_conflict"
            ).status_code
            == 302
        )

    def test_a_late_decision_is_refused_with_a_message(self, steward: Client) -> None:
        make_conflict()
        post_decision(steward, *ADA_KEY, choice="not_a_conflict")

        late_response = clients.client_for_new_user("bob", scopes=STEWARD).post(
            group_url(*ADA_KEY, view="/claim"), headers=HTMX
        )

        assert "It was decided meanwhile." in visible_text(late_response)

    def test_what_is_not_seen_is_not_claimed(self) -> None:
        make_conflict(tier="restricted")
        low = clients.client_for_new_user("low", scopes=STEWARD, max_tier="public")

        assert low.post(group_url(*ADA_KEY, view="/claim"), headers=HTMX).status_code == 404


class TestManyAtOnce:
    def test_the_same_is_decided_of_similar_groups_after_a_look(self, steward: Client) -> None:
        own_group = make_conflict()
        similar_groups = [make_conflict(f"user:{index}") for index in range(3)]
        other_groups = [
            make_conflict("user:x", "country"),
            [
                make_memory(subject="user:y", collection="city", content="She lives in Oslo.", source="bot"),
                make_memory(subject="user:y", collection="city", content="She lives in Rome.", source="scout"),
            ],
        ]
        make_memory(subject="user:2", collection="city", content="She lives in Rome.", source="crm")
        form_data = {"choice": str(own_group[1].memory_id), "reason": "The CRM knows."}
        preview = steward.post(group_url(*ADA_KEY, view="/similar"), form_data)

        assert "2 beside this one" in visible_text(preview)
        form_fields = hidden_fields(preview, group_url(*ADA_KEY, view="/similar"))
        checked_ids = re.findall(r'type="checkbox" name="group" value="([^"]*)"', clients.response_text(preview))
        assert checked_ids == [encode_id(*ADA_KEY), encode_id("user:0", "city"), encode_id("user:1", "city")]
        response = steward.post(
            group_url(*ADA_KEY, view="/similar"), {**form_fields, "reason": "The CRM knows.", "group": checked_ids[:2]}
        )

        assert "2 conflicts decided" in visible_text(response)
        assert [current_version(memory).status for memory in (*own_group, *similar_groups[0])] == [
            "retired",
            "active",
        ] * 2
        untouched_memories = [*similar_groups[1], *similar_groups[2], *other_groups[0], *other_groups[1]]
        assert all(current_version(memory).status == "active" for memory in untouched_memories)
        assert AuditEntry.objects.filter(action="conflict.resolve").count() == 1

    def test_groups_that_changed_meanwhile_are_skipped_and_reported(self, steward: Client) -> None:
        own_group = make_conflict()
        make_conflict("user:bob")
        preview = steward.post(
            group_url(*ADA_KEY, view="/similar"), {"choice": str(own_group[0].memory_id), "reason": "x"}
        )
        form_fields = hidden_fields(preview, group_url(*ADA_KEY, view="/similar"))
        make_memory(subject="user:bob", collection="city", content="She lives in Rome.")

        checked_ids = [encode_id(*ADA_KEY), encode_id("user:bob", "city")]
        result_text = visible_text(
            steward.post(group_url(*ADA_KEY, view="/similar"), {**form_fields, "reason": "x", "group": checked_ids})
        )

        assert "1 conflict decided" in result_text
        assert "Left as they are 1" in result_text
        assert "The conflict has changed since it was read" in result_text

    def test_all_of_them_are_undone_together(self, steward: Client) -> None:
        both_groups = [make_conflict(), make_conflict("user:bob")]
        preview = steward.post(
            group_url(*ADA_KEY, view="/similar"), {"choice": str(both_groups[0][0].memory_id), "reason": "x"}
        )
        form_fields = hidden_fields(preview, group_url(*ADA_KEY, view="/similar"))
        checked_ids = [encode_id(*ADA_KEY), encode_id("user:bob", "city")]
        decision_response = steward.post(
            group_url(*ADA_KEY, view="/similar"), {**form_fields, "reason": "x", "group": checked_ids}
        )
        ids = re.findall(r'name="decision" value="([^"]*)"', clients.response_text(decision_response))

        response = steward.post("/decisions/undo", {"decision": ids, "reason": "Too quick.", "next": "/conflicts"})

        assert response["Location"] == "/conflicts"
        assert "2 memories are active again." in visible_text(steward.get("/conflicts"))
        assert all(current_version(memory).status == "active" for memory in (*both_groups[0], *both_groups[1]))

    @pytest.mark.parametrize("choice", ["merge", "keep_several", ""])
    def test_what_means_something_of_one_group_alone_is_refused(self, steward: Client, choice: str) -> None:
        london, paris = make_conflict()
        keep_ids = [str(london.memory_id), str(paris.memory_id)]
        form_data = {"choice": choice, "content": "Both." if choice == "merge" else "", "reason": "x", "keep": keep_ids}

        response = steward.post(group_url(*ADA_KEY, view="/similar"), form_data)

        assert response.status_code == 400
        assert not Decision.objects.exists()
