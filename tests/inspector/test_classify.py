"""Classifying in the inspector: the form on a memory's page, the list's preview, and the way back."""

import html
import re
import uuid
from typing import Any

import pytest
from django.test import Client

from memoryhub.audit.models import AuditEntry
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.memories.writes.envelope import parse_body
from tests.factories import WRITER, make_clearance, make_memory
from tests.inspector import clients

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}
CURATOR_SCOPES = "read curate"
STEWARD_SCOPES = "read curate declassify"


def client_with_scopes(scopes: str) -> Client:
    return clients.client_for_new_user(f"user-{uuid.uuid4()}", scopes=scopes, max_tier="confidential")


@pytest.fixture
def curator() -> Client:
    """Signed in as who may judge memories, and not open them."""
    return client_with_scopes(CURATOR_SCOPES)


@pytest.fixture
def steward() -> Client:
    return client_with_scopes(STEWARD_SCOPES)


def page_text(response: Any) -> str:
    return re.sub(r"\s+", " ", clients.response_text(response))


def classify_url(memory: Memory) -> str:
    return f"/memories/{memory.memory_id}/classify"


def current(memory: Memory) -> Memory:
    return Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)


def form_fields(response: Any, action: str) -> dict[str, Any]:
    """What the form that posts to `action` sends as it stands, without its buttons."""
    page = response.content.decode()
    (form,) = re.findall(rf'<form [^>]*method="post" action="{action}["?].*?</form>', page, re.DOTALL)
    values_by_name: dict[str, list[str]] = {}
    for tag in re.findall(r"<input [^>]*>", form):
        attributes = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if "name" in attributes and (attributes.get("type") != "checkbox" or " checked" in tag):
            values_by_name.setdefault(html.unescape(attributes["name"]), []).append(
                html.unescape(attributes.get("value", ""))
            )
    return values_by_name


def list_actions() -> list[str]:
    entries = AuditEntry.objects.exclude(action__in=["memory.read", "memory.write"]).order_by("seq")
    return list(entries.values_list("action", flat=True))


def test_a_memory_is_classified_on_its_page(steward):
    memory = make_memory(labels=["eu", "hr"], subject="user:ada")
    page = steward.get(f"/memories/{memory.memory_id}?back=subject%3Duser%253Aada")
    form_data = form_fields(page, classify_url(memory))

    form_data |= {"classification_tier": ["internal"], "add_labels": ["PII\r\n legal \r\n"], "remove_labels": ["0"]}
    response = steward.post(f"{classify_url(memory)}?back=subject%3Duser%253Aada", {**form_data, "reason": "Checked."})

    assert response["Location"] == f"/memories/{memory.memory_id}?back=subject%3Duser%253Aada"
    after = current(memory)
    assert (after.classification_tier, after.sensitivity_labels) == ("internal", ["hr", "PII", "legal"])
    page = page_text(steward.get(response["Location"]))
    assert "The memory is internal now. Its labels are changed." in page
    assert list_actions() == ["memory.reclassify"]


def test_a_memory_is_quarantined_and_released_by_a_button(curator):
    memory = make_memory()
    for status, status_text, button in (
        ("quarantined", "It is in quarantine.", "Release"), ("active", "It is out of quarantine.", "Quarantine"),
    ):  # fmt: skip
        form_data = form_fields(curator.get(f"/memories/{memory.memory_id}"), classify_url(memory))
        response = curator.post(classify_url(memory), {**form_data, "set_status": status})

        assert current(memory).status == status
        page = page_text(curator.get(response["Location"]))
        assert status_text in page
        assert f">{button}</button>" in page
    assert list_actions() == ["memory.quarantine", "memory.release"]


def test_a_version_in_quarantine_is_not_said_to_be_in_force(curator):
    memory = make_memory(payload_id="p")
    path = f"/memories/{memory.memory_id}"
    before = page_text(curator.get(path))

    classify.apply_plan(
        classify.plan_for_memory(
            memory.memory_id, parse_body({"status": "quarantined"}, ClassificationChange), principal=WRITER
        )
    )

    def versions_html(page: str) -> str:
        return page.split('id="versions-title"')[1].split("</section>", maxsplit=1)[0]

    assert ">current<" in versions_html(before)
    assert ">current<" not in versions_html(page_text(curator.get(path)))
    assert "quarantined" in versions_html(page_text(curator.get(path)))


def test_who_may_not_judge_sees_no_form_and_is_refused():
    memory = make_memory()
    reader = client_with_scopes("read declassify")

    assert "/memories/classify" not in page_text(reader.get(f"/memories/{memory.memory_id}"))
    assert "/memories/classify" not in page_text(reader.get("/"))
    for target in (
        classify_url(memory),
        f"/memories/{uuid.uuid4()}/classify",
        "/memories/classify",
        "/memories/classify/undo",
    ):
        assert reader.post(target, {"set_status": "quarantined", "version": "1"}).status_code == 403
    assert reader.get("/memories/classify").status_code == 403
    assert current(memory) == memory


@pytest.mark.parametrize("path", ["/memories/classify", "/memories/classify/undo", "/memories/{}/classify"])
def test_nobody_classifies_without_a_sign_in_or_from_elsewhere(curator, path):
    path = path.format(uuid.uuid4())
    assert Client().post(path)["Location"].startswith("/sign-in")
    csrf_client = Client(enforce_csrf_checks=True)
    csrf_client.cookies = curator.cookies

    assert csrf_client.post(path, {"set_status": "quarantined"}).status_code == 403


def test_what_is_hidden_is_missing(curator):
    hidden = make_memory(tier="restricted")
    form_data = {"set_status": "quarantined", "version": "1"}

    def classify_response(memory_id: uuid.UUID) -> Any:
        response = curator.post(f"/memories/{memory_id}/classify", form_data, headers={"X-Request-ID": "r"})
        return response.status_code, response.content.replace(str(memory_id).encode(), b"-")

    assert classify_response(hidden.memory_id) == classify_response(uuid.uuid4())
    assert classify_response(hidden.memory_id)[0] == 404
    assert current(hidden) == hidden


@pytest.mark.parametrize(
    ("form_data", "status", "error_text"),
    [
        ({}, 400, "The request changes no field."),
        ({"classification_tier": "secret"}, 400, "The tier must be one of"),
        ({"classification_tier": "restricted"}, 403, "The memory would be hidden from you"),
        ({"classification_tier": "public"}, 403, "needs the scope declassify"),
        ({"add_labels": "x" * 256}, 400, "A label to add must be at most 255 characters long."),
        ({"set_status": "erased"}, 400, "Status must be one of active, quarantined."),
        ({"set_status": "quarantined", "version": "2"}, 409, "The classification has changed since it was read."),
        ({"set_status": "quarantined", "version": ""}, 409, "The classification has changed since it was read."),
    ],
)
def test_a_refusal_is_shown_and_the_input_is_kept(curator, form_data, status, error_text):
    memory = make_memory(tier="internal")

    response = curator.post(classify_url(memory), {"version": "1", "reason": "It's a <reason>.", **form_data})

    assert response.status_code == status
    page = page_text(response)
    assert error_text in page
    assert "It&#x27;s a &lt;reason&gt;." in page
    assert f'href="/memories/{memory.memory_id}"' in page
    assert current(memory) == memory


def test_a_label_that_imitates_another_is_added_with_a_warning(curator):
    warning = "A label to add mixes Cyrillic and Latin letters"
    memory = make_memory(labels=["eu"])
    form_data = {"add_labels": "p\u0430ssword"}

    preview = curator.get("/memories/classify", form_data)
    assert warning in page_text(preview)
    bulk_response = curator.post(
        "/memories/classify", {name: values[0] for name, values in form_fields(preview, "/memories/classify").items()}
    )
    assert warning in page_text(curator.get(bulk_response["Location"]))
    single_response = curator.post(classify_url(memory), {"add_labels": "\u0440\u0456\u0456", "version": "2"})
    assert "A label to add has Cyrillic letters that all look like Latin ones" in page_text(
        curator.get(single_response["Location"])
    )
    assert current(memory).sensitivity_labels == ["eu", "p\u0430ssword", "\u0440\u0456\u0456"]
    assert warning not in page_text(curator.get("/memories/classify", {"add_labels": "password"}))


def test_opening_takes_a_reason(steward):
    memory = make_memory(tier="confidential")
    form_data = {"version": "1", "classification_tier": "public"}

    refused_response = steward.post(classify_url(memory), {**form_data, "reason": " "})
    assert (refused_response.status_code, "Reason is required" in page_text(refused_response)) == (400, True)

    assert steward.post(classify_url(memory), {**form_data, "reason": "Announced."}).status_code == 302
    assert AuditEntry.objects.get(action="memory.reclassify").details["reason"] == "Announced."


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
def test_a_preview_says_which_clearances_on_record_would_lose_the_memory(curator, clearance, sentence):
    make_clearance(name="other", **clearance)
    make_memory(subject="user:ada", tier="public")

    page = page_text(curator.get("/memories/classify?subject=user:ada&classification_tier=&add_labels=pii&set_status="))

    assert "Change 1 memory" in page
    assert ("would be hidden" in page) == (sentence is not None)
    assert (sentence or "") in page


def test_the_list_leads_to_a_preview_of_what_it_shows(curator):
    make_clearance(name="guests", max_tier="public")
    for tier in ("public", "public", "internal", "confidential", "restricted"):
        make_memory(subject="user:ada", tier=tier, labels=["EU"], content=f"A {tier} fact.")
    make_memory(subject="user:bob", content="Of Bob.")
    list_page = page_text(curator.get("/?subject=user:ada&limit=3"))
    assert 'href="/memories/classify?subject=user%3Aada"' in list_page

    blank = page_text(curator.get("/memories/classify?subject=user:ada"))
    page = page_text(
        curator.get("/memories/classify?subject=user:ada&classification_tier=internal&add_labels=&set_status=")
    )

    assert "4 memories where subject is" in blank
    assert "Carry it out" not in blank
    assert "2 of 4 memories" in page
    assert "1 is classified so already." in page
    assert "1 would be left as it is. The memory would become visible to more readers" in page
    assert "2 would be hidden from readers who may see them now (clearances: guests)." in page
    assert "Change 2 memories" in page
    assert "A public fact." in page
    assert all(hidden not in page for hidden in ("A restricted fact.", "Of Bob.", "A confidential fact."))


def test_the_preview_comes_alone_to_htmx_with_its_mistakes_inside(curator):
    make_memory()

    part = curator.get("/memories/classify?classification_tier=internal", headers=HTMX)
    error_response = curator.get("/memories/classify?classification_tier=secret", headers=HTMX)

    assert page_text(part).strip().startswith('<div id="preview"')
    assert "Change 1 memory" in page_text(part)
    assert (error_response.status_code, "The tier must be one of" in page_text(error_response)) == (200, True)
    assert curator.get("/memories/classify?classification_tier=secret").status_code == 400


def test_what_was_previewed_is_done(steward):
    memories = [make_memory(subject="user:ada", labels=["EU", "hr"]) for _ in range(3)]
    page = steward.get("/memories/classify?subject=user:ada&add_labels=PII&remove_labels=eu&set_status=quarantined")
    assert "3 would be opened: seen by readers who do not see them now." in page_text(page)

    response = steward.post("/memories/classify", {**form_fields(page, "/memories/classify"), "reason": "Checked."})

    assert response["Location"] == "/?subject=user%3Aada"
    assert all(current(memory).sensitivity_labels == ["hr", "PII"] for memory in memories)
    assert "3 memories are changed." in page_text(steward.get(response["Location"]))


def test_an_action_is_undone_from_its_message(curator):
    memories = [make_memory(subject="user:ada") for _ in range(2)]
    form_data = form_fields(
        curator.get("/memories/classify?subject=user:ada&set_status=quarantined"), "/memories/classify"
    )
    page = curator.get(curator.post("/memories/classify", form_data)["Location"])
    undo_fields = form_fields(page, "/memories/classify/undo")
    assert undo_fields["next"] == ["/?subject=user%3Aada"]

    response = curator.post("/memories/classify/undo", undo_fields)

    assert response["Location"] == "/?subject=user%3Aada"
    assert [current(memory).status for memory in memories] == ["active", "active"]
    page = curator.get(response["Location"])
    assert "2 memories are as before." in page_text(page)
    assert curator.post("/memories/classify/undo", form_fields(page, "/memories/classify/undo")).status_code == 302
    assert [current(memory).status for memory in memories] == ["quarantined", "quarantined"]


def test_undoing_what_closed_takes_who_may_open_and_a_reason(curator, steward):
    memory = make_memory()
    for client, tier, is_offered in ((curator, "internal", False), (steward, "confidential", True)):
        form_data = form_fields(client.get(f"/memories/classify?classification_tier={tier}"), "/memories/classify")
        page = client.get(client.post("/memories/classify", form_data)["Location"])
        assert ('name="undo"' in page_text(page)) == is_offered
    assert current(memory).classification_tier == "confidential"


def test_an_undo_that_is_refused_says_why_and_asks_again(steward):
    memory = make_memory()
    form_data = form_fields(steward.get("/memories/classify?classification_tier=internal"), "/memories/classify")
    undo_fields = form_fields(
        steward.get(steward.post("/memories/classify", form_data)["Location"]), "/memories/classify/undo"
    )

    refused_response = steward.post("/memories/classify/undo", {**undo_fields, "reason": ""})
    assert (refused_response.status_code, "Reason is required" in page_text(refused_response)) == (400, True)
    retry_data = {**form_fields(refused_response, "/memories/classify/undo"), "reason": "Was a mistake."}
    assert steward.post("/memories/classify/undo", {**retry_data, "next": "//evil.example/"})["Location"] == "/"

    assert current(memory).classification_tier == "public"
    forged_response = steward.post(
        "/memories/classify/undo", {**retry_data, "undo": "undo 2026-01-01T00:00:00+00:00:x"}
    )
    assert (forged_response.status_code, "You have no change to undo here" in page_text(forged_response)) == (
        400,
        True,
    )


def test_a_preview_that_is_so_no_more_is_shown_anew(curator):
    make_memory(subject="user:ada")
    form_data = form_fields(
        curator.get("/memories/classify?subject=user:ada&set_status=quarantined"), "/memories/classify"
    )
    other_memory = make_memory(subject="user:ada")

    response = curator.post("/memories/classify", form_data)

    assert response.status_code == 409
    assert "The classification has changed since it was read." in page_text(response)
    assert "2 of 2 memories" in page_text(response)
    assert current(other_memory).status == "active"
    assert curator.post("/memories/classify", form_fields(response, "/memories/classify")).status_code == 302
    assert current(other_memory).status == "quarantined"


def test_too_many_memories_are_not_classified_at_once(curator, monkeypatch):
    monkeypatch.setattr(classify, "MAX_PLAN_SIZE", 1)
    for _ in range(2):
        make_memory()

    page = curator.get("/memories/classify?set_status=quarantined")

    assert (page.status_code, "Use a narrower filter." in page_text(page)) == (400, True)


@pytest.mark.parametrize("query", ["subjekt=x", "tier=secret", "limit=5", "q=a&q=b"])
def test_a_filter_that_makes_no_sense_is_named(curator, query):
    page = curator.get(f"/memories/classify?{query}&set_status=quarantined")

    assert page.status_code == 400
    assert query.partition("=")[0] in page_text(page)


def test_hostile_labels_are_shown_as_text_and_secrets_in_them_not_at_all(curator):
    secret = "ghp_" + "a1b2c3d4e5" * 4
    memory = make_memory(labels=["<img src=x onerror=alert(1)>", "a\u202eb", secret])

    for path in (f"/memories/{memory.memory_id}", "/memories/classify", "/memories/classify?set_status=quarantined"):
        page = curator.get(path).content.decode()
        assert "<img src=x" not in page
        assert secret not in page
    curator.post(classify_url(memory), {"version": "1", "remove_labels": ["2"]})
    assert len(current(memory).sensitivity_labels) == 3, "taking a label away opens"
