"""Classifying in the inspector: the form on a memory's page, the list's preview, and the way back."""

import html
import re
import uuid
from typing import Any

import pytest
from django.test import Client

from memoryhub.audit.models import AuditEntry
from memoryhub.memories import relabel
from memoryhub.memories.models import Memory
from memoryhub.memories.relabel import Change
from tests.builders import WRITER, make_clearance, make_memory
from tests.inspector import pages

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}
CAREFUL = "read inspect"
STEWARD = "read inspect declassify"


def one_with(scopes: str) -> Client:
    return pages.signed_in(f"user-{uuid.uuid4()}", scopes=scopes, max_tier="confidential")


@pytest.fixture
def careful() -> Client:
    """Signed in as who may judge memories, and not open them."""
    return one_with(CAREFUL)


@pytest.fixture
def steward() -> Client:
    return one_with(STEWARD)


def text(response: Any) -> str:
    return re.sub(r"\s+", " ", pages.text(response))


def of(memory: Memory) -> str:
    return f"/memories/{memory.memory_id}/labels"


def current(memory: Memory) -> Memory:
    return Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)


def fields(response: Any, action: str) -> dict[str, Any]:
    """What the form that posts to `action` sends as it stands, without its buttons."""
    page = response.content.decode()
    (form,) = re.findall(rf'<form [^>]*method="post" action="{action}["?].*?</form>', page, re.DOTALL)
    found: dict[str, list[str]] = {}
    for tag in re.findall(r"<input [^>]*>", form):
        told = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if "name" in told and (told.get("type") != "checkbox" or " checked" in tag):
            found.setdefault(html.unescape(told["name"]), []).append(html.unescape(told.get("value", "")))
    return found


def deeds() -> list[str]:
    entries = AuditEntry.objects.exclude(action__in=["memory.read", "memory.write"]).order_by("seq")
    return list(entries.values_list("action", flat=True))


def test_a_memory_is_classified_on_its_page(steward):
    memory = make_memory(labels=["eu", "hr"], subject="user:ada")
    page = steward.get(f"/memories/{memory.memory_id}?list=subject%3Duser%253Aada")
    typed = fields(page, of(memory))

    typed |= {"classification_tier": ["internal"], "add_labels": ["PII\r\n legal \r\n"], "remove_labels": ["0"]}
    answer = steward.post(f"{of(memory)}?list=subject%3Duser%253Aada", {**typed, "reason": "Checked."})

    assert answer["Location"] == f"/memories/{memory.memory_id}?list=subject%3Duser%253Aada"
    after = current(memory)
    assert (after.classification_tier, after.sensitivity_labels) == ("internal", ["hr", "PII", "legal"])
    page = text(steward.get(answer["Location"]))
    assert "The memory is internal now. Its labels are changed." in page
    assert deeds() == ["memory.relabel"]


def test_a_memory_is_quarantined_and_released_by_a_button(careful):
    memory = make_memory()
    for status, words, button in (
        ("quarantined", "It is in quarantine.", "Release"), ("active", "It is out of quarantine.", "Quarantine"),
    ):  # fmt: skip
        typed = fields(careful.get(f"/memories/{memory.memory_id}"), of(memory))
        answer = careful.post(of(memory), {**typed, "set_status": status})

        assert current(memory).status == status
        page = text(careful.get(answer["Location"]))
        assert words in page
        assert f">{button}</button>" in page
    assert deeds() == ["memory.quarantine", "memory.release"]


def test_a_version_in_quarantine_is_not_said_to_be_in_force(careful):
    memory = make_memory(payload_id="p")
    path = f"/memories/{memory.memory_id}"
    before = text(careful.get(path))

    relabel.carry_out(relabel.plan_one(memory.memory_id, relabel.read({"status": "quarantined"}, Change), by=WRITER))

    def versions(page: str) -> str:
        return page.split('id="versions-title"')[1].split("</section>", maxsplit=1)[0]

    assert "in force" in versions(before)
    assert "in force" not in versions(text(careful.get(path)))
    assert "quarantined" in versions(text(careful.get(path)))


def test_who_may_not_judge_sees_no_form_and_is_refused():
    memory = make_memory()
    reader = one_with("read declassify")

    assert "/labels" not in text(reader.get(f"/memories/{memory.memory_id}"))
    assert "/labels" not in text(reader.get("/"))
    for target in (of(memory), f"/memories/{uuid.uuid4()}/labels", "/labels", "/labels/undo"):
        assert reader.post(target, {"set_status": "quarantined", "version": "1"}).status_code == 403
    assert reader.get("/labels").status_code == 403
    assert current(memory) == memory


@pytest.mark.parametrize("path", ["/labels", "/labels/undo", "/memories/{}/labels"])
def test_nobody_classifies_without_a_sign_in_or_from_elsewhere(careful, path):
    path = path.format(uuid.uuid4())
    assert Client().post(path)["Location"].startswith("/sign-in")
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = careful.cookies

    assert strict.post(path, {"set_status": "quarantined"}).status_code == 403


def test_what_is_hidden_is_missing(careful):
    hidden = make_memory(tier="restricted")
    typed = {"set_status": "quarantined", "version": "1"}

    def told(memory_id: uuid.UUID) -> Any:
        answer = careful.post(f"/memories/{memory_id}/labels", typed, headers={"X-Request-ID": "r"})
        return answer.status_code, answer.content.replace(str(memory_id).encode(), b"-")

    assert told(hidden.memory_id) == told(uuid.uuid4())
    assert told(hidden.memory_id)[0] == 404
    assert current(hidden) == hidden


@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        ({}, 400, "There is nothing named to change."),
        ({"classification_tier": "secret"}, 400, "The tier must be one of"),
        ({"classification_tier": "restricted"}, 403, "It would be hidden from you"),
        ({"classification_tier": "public"}, 403, "you may not declassify"),
        ({"add_labels": "x" * 256}, 400, "A label to add must be at most 255 characters long."),
        ({"set_status": "erased"}, 400, "Status must be one of active, quarantined."),
        ({"set_status": "quarantined", "version": "2"}, 409, "It has changed since it was read."),
        ({"set_status": "quarantined", "version": ""}, 409, "It has changed since it was read."),
    ],
)
def test_what_is_refused_is_told_and_what_was_typed_stays(careful, typed, status, said):
    memory = make_memory(tier="internal")

    answer = careful.post(of(memory), {"version": "1", "reason": "It's a <reason>.", **typed})

    assert answer.status_code == status
    page = text(answer)
    assert said in page
    assert "It&#x27;s a &lt;reason&gt;." in page
    assert f'href="/memories/{memory.memory_id}"' in page
    assert current(memory) == memory


def test_a_label_that_imitates_another_is_added_with_a_warning(careful):
    said = "A label to add mixes Cyrillic and Latin letters"
    memory = make_memory(labels=["eu"])
    typed = {"add_labels": "p\u0430ssword"}

    preview = careful.get("/labels", typed)
    assert said in text(preview)
    many = careful.post("/labels", {name: values[0] for name, values in fields(preview, "/labels").items()})
    assert said in text(careful.get(many["Location"]))
    one = careful.post(of(memory), {"add_labels": "\u0440\u0456\u0456", "version": "2"})
    assert "A label to add has Cyrillic letters that all look like Latin ones" in text(careful.get(one["Location"]))
    assert current(memory).sensitivity_labels == ["eu", "p\u0430ssword", "\u0440\u0456\u0456"]
    assert said not in text(careful.get("/labels", {"add_labels": "password"}))


def test_opening_takes_a_reason(steward):
    memory = make_memory(tier="confidential")
    typed = {"version": "1", "classification_tier": "public"}

    refused = steward.post(of(memory), {**typed, "reason": " "})
    assert (refused.status_code, "Reason is required" in text(refused)) == (400, True)

    assert steward.post(of(memory), {**typed, "reason": "Announced."}).status_code == 302
    assert AuditEntry.objects.get(action="memory.relabel").details["reason"] == "Announced."


@pytest.mark.parametrize(
    ("clearance", "sentence"),
    [
        ({"max_tier": "public"}, None),
        (
            {"max_tier": "public", "blocked_labels": ["PII"]},
            "1 would be hidden from readers who may see it now (clearances: other).",
        ),
        ({"max_tier": "restricted", "blocked_labels": ["PII"]}, "1 would be hidden from readers who may see it now."),
    ],
    ids=["nobody loses it", "named", "of a clearance that sees more than the viewer"],
)
def test_a_preview_says_which_clearances_on_record_would_lose_the_memory(careful, clearance, sentence):
    make_clearance(name="other", **clearance)
    make_memory(subject="user:ada", tier="public")

    page = text(careful.get("/labels?subject=user:ada&classification_tier=&add_labels=pii&set_status="))

    assert "Change 1 memory" in page
    assert ("would be hidden" in page) == (sentence is not None)
    assert (sentence or "") in page


def test_the_list_leads_to_a_preview_of_what_it_shows(careful):
    make_clearance(name="guests", max_tier="public")
    for tier in ("public", "public", "internal", "confidential", "restricted"):
        make_memory(subject="user:ada", tier=tier, labels=["EU"], content=f"A {tier} fact.")
    make_memory(subject="user:bob", content="Of Bob.")
    listed = text(careful.get("/?subject=user:ada&limit=3"))
    assert 'href="/labels?subject=user%3Aada"' in listed

    blank = text(careful.get("/labels?subject=user:ada"))
    page = text(careful.get("/labels?subject=user:ada&classification_tier=internal&add_labels=&set_status="))

    assert "4 memories where subject is" in blank
    assert "Carry it out" not in blank
    assert "2 of 4 memories" in page
    assert "1 is classified so already." in page
    assert "1 would be left as it is. It would be seen by readers who could not see it" in page
    assert "2 would be hidden from readers who may see them now (clearances: guests)." in page
    assert "Change 2 memories" in page
    assert "A public fact." in page
    assert all(hidden not in page for hidden in ("A restricted fact.", "Of Bob.", "A confidential fact."))


def test_the_preview_comes_alone_to_htmx_with_its_mistakes_inside(careful):
    make_memory()

    part = careful.get("/labels?classification_tier=internal", headers=HTMX)
    wrong = careful.get("/labels?classification_tier=secret", headers=HTMX)

    assert text(part).strip().startswith('<div id="preview"')
    assert "Change 1 memory" in text(part)
    assert (wrong.status_code, "The tier must be one of" in text(wrong)) == (200, True)
    assert careful.get("/labels?classification_tier=secret").status_code == 400


def test_what_was_previewed_is_done(steward):
    memories = [make_memory(subject="user:ada", labels=["EU", "hr"]) for _ in range(3)]
    page = steward.get("/labels?subject=user:ada&add_labels=PII&remove_labels=eu&set_status=quarantined")
    assert "3 would be opened: seen by readers who do not see them now." in text(page)

    answer = steward.post("/labels", {**fields(page, "/labels"), "reason": "Checked."})

    assert answer["Location"] == "/?subject=user%3Aada"
    assert all(current(memory).sensitivity_labels == ["hr", "PII"] for memory in memories)
    assert "3 memories are changed." in text(steward.get(answer["Location"]))


def test_a_deed_is_undone_from_its_message(careful):
    memories = [make_memory(subject="user:ada") for _ in range(2)]
    typed = fields(careful.get("/labels?subject=user:ada&set_status=quarantined"), "/labels")
    page = careful.get(careful.post("/labels", typed)["Location"])
    way_back = fields(page, "/labels/undo")
    assert way_back["next"] == ["/?subject=user%3Aada"]

    answer = careful.post("/labels/undo", way_back)

    assert answer["Location"] == "/?subject=user%3Aada"
    assert [current(memory).status for memory in memories] == ["active", "active"]
    page = careful.get(answer["Location"])
    assert "2 memories are as before." in text(page)
    assert careful.post("/labels/undo", fields(page, "/labels/undo")).status_code == 302
    assert [current(memory).status for memory in memories] == ["quarantined", "quarantined"]


def test_undoing_what_closed_takes_who_may_open_and_a_reason(careful, steward):
    memory = make_memory()
    for client, tier, is_offered in ((careful, "internal", False), (steward, "confidential", True)):
        typed = fields(client.get(f"/labels?classification_tier={tier}"), "/labels")
        page = client.get(client.post("/labels", typed)["Location"])
        assert ('name="undo"' in text(page)) == is_offered
    assert current(memory).classification_tier == "confidential"


def test_an_undo_that_is_refused_says_why_and_asks_again(steward):
    memory = make_memory()
    typed = fields(steward.get("/labels?classification_tier=internal"), "/labels")
    way_back = fields(steward.get(steward.post("/labels", typed)["Location"]), "/labels/undo")

    refused = steward.post("/labels/undo", {**way_back, "reason": ""})
    assert (refused.status_code, "Reason is required" in text(refused)) == (400, True)
    again = {**fields(refused, "/labels/undo"), "reason": "Was a mistake."}
    assert steward.post("/labels/undo", {**again, "next": "//evil.example/"})["Location"] == "/"

    assert current(memory).classification_tier == "public"
    forged = steward.post("/labels/undo", {**again, "undo": "undo 2026-01-01T00:00:00+00:00:x"})
    assert (forged.status_code, "nothing here that you could undo" in text(forged)) == (400, True)


def test_a_preview_that_is_so_no_more_is_shown_anew(careful):
    make_memory(subject="user:ada")
    typed = fields(careful.get("/labels?subject=user:ada&set_status=quarantined"), "/labels")
    other = make_memory(subject="user:ada")

    answer = careful.post("/labels", typed)

    assert answer.status_code == 409
    assert "It has changed since it was read." in text(answer)
    assert "2 of 2 memories" in text(answer)
    assert current(other).status == "active"
    assert careful.post("/labels", fields(answer, "/labels")).status_code == 302
    assert current(other).status == "quarantined"


def test_too_many_memories_are_not_classified_at_once(careful, monkeypatch):
    monkeypatch.setattr(relabel, "AT_ONCE", 1)
    for _ in range(2):
        make_memory()

    page = careful.get("/labels?set_status=quarantined")

    assert (page.status_code, "Narrow it down." in text(page)) == (400, True)


@pytest.mark.parametrize("query", ["subjekt=x", "tier=secret", "limit=5", "subject=a&subject=b"])
def test_a_filter_that_makes_no_sense_is_named(careful, query):
    page = careful.get(f"/labels?{query}&set_status=quarantined")

    assert page.status_code == 400
    assert query.partition("=")[0] in text(page)


def test_hostile_labels_are_shown_as_text_and_secrets_in_them_not_at_all(careful):
    secret = "ghp_" + "a1b2c3d4e5" * 4
    memory = make_memory(labels=["<img src=x onerror=alert(1)>", "a\u202eb", secret])

    for path in (f"/memories/{memory.memory_id}", "/labels", "/labels?set_status=quarantined"):
        page = careful.get(path).content.decode()
        assert "<img src=x" not in page
        assert secret not in page
    careful.post(of(memory), {"version": "1", "remove_labels": ["2"]})
    assert len(current(memory).sensitivity_labels) == 3, "taking a label away opens"
