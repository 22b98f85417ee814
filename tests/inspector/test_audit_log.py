"""The pages of the audit log and its API: who did and who read what, as far as the viewer may see."""

import html
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from memoryhub.access_log import read_log
from memoryhub.firewall.clearance import Clearance
from tests.audit.event_factories import append_events, make_event
from tests.factories import make_key, make_memory, make_user, utc
from tests.inspector.clients import logged_in_client, response_text

pytestmark = pytest.mark.django_db
INTERNAL = Clearance(max_tier="internal")
NOON = utc("2026-03-01 12:00")
MISSING_ID = "0198f3c8-0000-7000-8000-000000000000"


@pytest.fixture
def auditor() -> Client:
    return logged_in_client(make_user("grace", max_tier="restricted", scopes="read audit"))


@pytest.fixture
def low() -> Client:
    return logged_in_client(make_user("low", max_tier="internal", scopes="read audit"))


def append_entry(action: str, *, clearance: Clearance = INTERNAL, minutes: int = 0, **fields: Any) -> None:
    append_events(make_event(clearance, action=action, occurred_at=NOON + timedelta(minutes=minutes), **fields))


def list_sentences(response: Any) -> list[str]:
    """The entries of a page as somebody reads them: without the markup and the times."""
    sentences_html = re.findall(r'<p class="entry__summary"[^>]*>(.*?)</p>', response_text(response), re.DOTALL)
    return list(map(strip_markup, sentences_html))


def strip_markup(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def list_details(response: Any) -> list[str]:
    lists_html = re.findall(r'<ul class="entry__details"[^>]*>(.*?)</ul>', response_text(response), re.DOTALL)
    return list(map(strip_markup, lists_html))


SENTENCE_CASES: list[tuple[dict[str, Any], str]] = [
    ({"action": "session.sign_in"}, "user:ada signed in"),
    ({"action": "session.login_failed", "details": {"account": "eve"}}, "user:ada was refused at the sign-in for eve"),
    ({"action": "session.login_failed", "details": {}}, "user:ada was refused at the sign-in for nobody's account"),
    ({"action": "view_as.start", "details": {"view_as": "key:agent"}}, "user:ada started viewing as key:agent"),
    ({"action": "view_as.stop", "details": {"view_as": "key:agent"}}, "user:ada stopped viewing as key:agent"),
    ({"action": "key.rotate", "details": {"key": "agent", "successor": "agent-2"}}, "user:ada rotated the key agent"),
    ({"action": "memory.read", "route": "api:facets"}, "user:ada asked the API's counts"),
    ({"action": "memory.read", "route": "x:new-route"}, "user:ada asked x:new-route"),
    ({"action": "new.action"}, "user:ada new.action"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "sentence"), SENTENCE_CASES, ids=[sentence for _, sentence in SENTENCE_CASES])
def test_an_entry_says_in_words_who_did_what(auditor: Client, entry: dict[str, Any], sentence: str) -> None:
    append_entry(**entry)

    assert list_sentences(auditor.get(f"/audit?action={entry['action']}")) == [sentence]


def test_a_read_says_of_which_memories_by_which_way_and_for_what(auditor: Client) -> None:
    memories = [make_memory(tier="public") for _ in range(7)]
    append_entry(
        "memory.read",
        principal="key:agent",
        route="api:memory-list",
        query="source=crm&label=hr&limit=3&cursor=abc",
        memory_ids=[memory.memory_id for memory in memories],
    )

    response = auditor.get("/audit?principal=key:agent")

    assert list_sentences(response) == ["key:agent read 7 memories through the API's list"]
    page = strip_markup(response_text(response))
    assert "where source is crm , labelled hr , a later page" in page
    assert "and 2 more" in page
    assert f'href="/memories/{memories[0].memory_id}"' in response_text(response)
    assert 'href="/audit/principals/key:agent"' in response_text(response)


def test_a_change_is_shown_as_before_and_after(auditor: Client) -> None:
    append_entry(
        "memory.reclassify",
        memory_ids=[make_memory(tier="public").memory_id],
        details={
            "requested": {"tier": "internal"},
            "before": {"classification_tier": "public", "status": "active"},
            "after": {"classification_tier": "internal", "status": "active"},
            "reason": "It names a customer.",
        },
    )
    append_entry(
        "key.change", details={"key": "agent", "changed_fields": {"scopes": [["read"], ["read", "write"]]}}, minutes=1
    )

    response = auditor.get("/audit")

    assert list_sentences(response)[-2:] == ["user:ada changed the key agent", "user:ada classified 1 memory"]
    assert list_details(response) == [
        "scopes was read became read, write",
        "classification tier was public became internal reason It names a customer.",
    ]


def test_what_was_just_read_stands_there_already(auditor: Client) -> None:
    memory = make_memory(tier="internal")
    logged_in_client(make_user("bob", max_tier="internal")).get(f"/memories/{memory.memory_id}?back=subject%3Dada")

    response = auditor.get("/audit?principal=user:bob")

    assert list_sentences(response) == ["user:bob read 1 memory through a memory's page"]


INVALID_QUERIES = (
    "memory=x", "action=drop", "from=soon", "x=1", "principal=%00", "cursor=x", "limit=0", "principal=a&principal=b",
    "from=2026-03-02&to=2026-03-01",
)  # fmt: skip


def test_the_filters_find_and_what_they_do_not_understand_is_named(auditor: Client) -> None:
    memory = make_memory(tier="public")
    append_entry("memory.write", principal="key:one", memory_ids=[memory.memory_id], request_id="r-1")
    append_entry(
        "memory.read", principal="key:two", memory_ids=[memory.memory_id], route="api:memory-detail", minutes=5
    )
    append_entry("key.create", principal="user:root", details={"key": "one"}, minutes=9)
    both_lines = ["key:two read 1 memory through the API's record of a memory", "key:one wrote 1 memory"]
    all_lines = ["key:test-writer wrote 1 memory", *both_lines]

    assert list_sentences(auditor.get(f"/audit?memory={memory.memory_id}")) == all_lines
    assert list_sentences(auditor.get("/audit?request_id=r-1")) == both_lines[1:]
    assert list_sentences(auditor.get("/audit?from=2026-03-01T12:05:00Z&to=2026-03-01T12:09:00Z")) == both_lines[:1]
    assert list_sentences(auditor.get("/audit?principal=key:one&action=memory.read")) == []
    assert auditor.get("/audit?form=1&principal=&action=key.create")["Location"] == "/audit?action=key.create"
    for query in INVALID_QUERIES:
        response = auditor.get(f"/audit?{query}")
        assert response.status_code == 400, query
        assert query.partition("=")[0].replace("from=2", "to") in response_text(response)


def test_every_entry_has_a_link_that_keeps_leading_to_it(auditor: Client) -> None:
    append_entry("memory.write", principal="key:one", request_id="r-1")
    append_entry("memory.write", principal="system:demo", minutes=1)
    append_entry("memory.write", principal="system:demo", minutes=2)
    links = re.findall(
        r'<p class="entry__time">\s*<a href="([^"]*)"', response_text(auditor.get("/audit?action=memory.write"))
    )

    linked_sentences = [list_sentences(auditor.get(link.replace("&amp;", "&"))) for link in links]

    assert linked_sentences == [["system:demo wrote"], ["system:demo wrote"], ["key:one wrote"]]


def test_pages_go_on_where_the_one_before_ended_and_cursors_are_nobody_elses(auditor: Client, low: Client) -> None:
    for index in range(7):
        append_entry("key.create", details={"key": f"k-{index}"}, minutes=index)
    seen_sentences, path = [], "/audit?action=key.create&limit=3"
    while path:
        response = auditor.get(path)
        seen_sentences += list_sentences(response)
        older_match = re.search(r'id="older" href="([^"]*)"', response_text(response))
        last, path = path, older_match[1].replace("&amp;", "&") if older_match else ""

    assert seen_sentences == [f"user:ada made the key k-{index}" for index in reversed(range(7))]
    assert [low.get(last).status_code, auditor.get(last.replace("key.create", "key.change")).status_code] == [400, 400]


@pytest.mark.parametrize("path", ["/audit", "/audit/principals/user:ada", f"/audit?memory={MISSING_ID}", "/api/audit"])
def test_who_may_not_read_the_audit_log_gets_nothing_of_it(path: str) -> None:
    reader = logged_in_client(make_user("reader", max_tier="restricted"))
    key = Client(headers={"Authorization": f"Bearer {make_key(scopes='read write curate')}"})
    memory = make_memory()

    assert reader.get(path).status_code == 403
    assert Client().get(path).status_code == (401 if path.startswith("/api") else 302)
    assert key.get("/api/audit").status_code == 403
    assert "/audit" not in response_text(reader.get("/"))
    assert "Who has seen this" not in response_text(reader.get(f"/memories/{memory.memory_id}"))


def test_a_memorys_page_shows_who_has_seen_it_and_what_was_done_to_it(auditor: Client, low: Client) -> None:
    memory = make_memory(tier="public", subject="user:ada", collection="city")
    low.get("/")

    page = auditor.get(f"/memories/{memory.memory_id}")

    assert "Who has seen this" in response_text(page)
    assert list_sentences(page) == [
        "user:grace read it through a memory's page",
        "user:low read it through the list",
        "key:test-writer wrote it",
    ]
    assert f'href="/audit?memory={memory.memory_id}"' in response_text(page)


def test_a_principals_page_shows_which_memories_it_has_read(auditor: Client) -> None:
    first_memory, second_memory = make_memory(tier="public"), make_memory(tier="public")
    for minutes, memories in enumerate([[first_memory], [first_memory, second_memory], []]):
        ids = [memory.memory_id for memory in memories]
        append_entry("memory.read", principal="key:a/b", route="api:memory-list", minutes=minutes, memory_ids=ids)
    append_entry("memory.write", principal="key:a/b", minutes=9)

    page = auditor.get("/audit/principals/key:a/b")

    assert list_sentences(page) == [
        "key:a/b asked the API's list",
        "key:a/b read 2 memories through the API's list",
        "key:a/b read 1 memory through the API's list",
    ]
    assert "2 in its latest 500 reads" in response_text(page)
    assert "2 times, last" in response_text(page)
    assert 'href="/audit?principal=key%3Aa%2Fb"' in response_text(page)
    assert auditor.get("/audit/principals/key:a/b?action=x").status_code == 400
    assert auditor.get("/audit/principals/" + "x" * 400).status_code == 404


def _normalized_response(response: Any) -> str:
    page = re.sub(
        r'value="\w{64}"|<code class="wrap">\w+</code>|user(%3A|:)\w+|[0-9a-f]{8}-[0-9a-f-]{27}',
        "",
        response_text(response),
    )
    return re.sub(r"<time.*?</time>", "", page)


def test_what_a_low_viewer_may_not_see_is_as_if_it_had_not_happened(low: Client) -> None:
    visible_memory, hidden = make_memory(tier="public"), make_memory(tier="restricted")
    append_entry(
        "memory.read", principal="user:bob", route="inspector:memory-list", memory_ids=[visible_memory.memory_id]
    )
    high = Clearance(max_tier="restricted")
    append_entry(
        "memory.read", principal="user:eve", clearance=high, memory_ids=[visible_memory.memory_id, hidden.memory_id]
    )
    append_entry("memory.reclassify", principal="user:eve", clearance=high, memory_ids=[hidden.memory_id])

    raised_memory = make_memory(payload_id="raised", tier="public")
    append_entry("memory.read", principal="user:bob", minutes=-9, memory_ids=[raised_memory.memory_id])
    make_memory(payload_id="raised", tier="restricted", content="Closed by now.")

    assert list_sentences(low.get("/audit?to=2026-03-02&from=2026-03-01T12:00:00Z")) == [
        "user:bob read 1 memory through the list"
    ]
    assert list_sentences(low.get(f"/memories/{visible_memory.memory_id}"))[-1] == "user:bob read it through the list"
    pairs = [
        ("/audit/principals/user:eve", "/audit/principals/user:nobody"),
        (f"/audit?memory={hidden.memory_id}", f"/audit?memory={MISSING_ID}"),
        (f"/audit?memory={raised_memory.memory_id}", f"/audit?memory={MISSING_ID}"),
        (f"/api/audit?memory={hidden.memory_id}", f"/api/audit?memory={MISSING_ID}"),
    ]
    for existing_path, missing_path in pairs:
        answers = low.get(existing_path), low.get(missing_path)
        assert [response.status_code for response in answers] == [200, 200]
        assert _normalized_response(answers[0]) == _normalized_response(answers[1])


def test_nothing_in_an_entry_acts_or_shows_a_secret(auditor: Client) -> None:
    secret = "AKIA" + "A1B2C3D4E5F6G7H8"
    hostile_text = "<script>alert(1)</script>"
    append_entry(
        "memory.read",
        principal=f"user:{hostile_text}",
        route="api:memory-list",
        query=f"q={secret}&source={hostile_text}",
    )
    append_entry("memory.reclassify", details={"reason": f"{hostile_text} {secret} \u202e"}, minutes=1)

    page, api_text = response_text(auditor.get("/audit")), response_text(auditor.get("/api/audit"))
    principal_page = response_text(auditor.get("/audit/principals/user:%3Cscript%3Ealert(1)%3C/script%3E"))

    assert hostile_text not in page + principal_page
    assert "&lt;script&gt;" in page
    assert secret not in page + api_text + principal_page
    assert "\u202e" not in page


class TestApi:
    @pytest.fixture
    def api_getter(self) -> Callable[..., Any]:
        key = make_key(scopes="audit", clearance={"max_tier": "internal"})
        client = Client(headers={"Authorization": f"Bearer {key}"})
        return lambda **parameters: client.get("/api/audit", parameters)

    def test_lists_the_entries_and_nothing_that_counts_others(self, api_getter: Callable[..., Any]) -> None:
        memory = make_memory(tier="public")
        append_entry(
            "memory.read", principal="user:bob", route="api:memory-detail", memory_ids=[memory.memory_id], query="a=1"
        )

        response = api_getter(principal="user:bob").json()

        assert response == {
            "entries": [
                {
                    "occurred_at": "2026-03-01T12:00:00Z",
                    "principal": "user:bob",
                    "action": "memory.read",
                    "route": "api:memory-detail",
                    "query": "a=1",
                    "memory_ids": [str(memory.memory_id)],
                    "details": {},
                    "request_id": "",
                }
            ],
            "next_cursor": None,
            "has_more": False,
        }

    def test_pages_and_refuses_what_it_does_not_know(self, api_getter: Callable[..., Any]) -> None:
        for minutes in range(5):
            append_entry("key.create", details={"key": f"k-{minutes}"}, minutes=minutes)
        seen_ids: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            response = api_getter(action="key.create", limit=2, **({"cursor": cursor} if cursor else {})).json()
            seen_ids += [entry["details"]["key"] for entry in response["entries"]]
            cursor = response["next_cursor"]

        assert seen_ids == ["k-4", "k-3", "k-2", "k-1", "k-0"]
        refused_response = api_getter(acton="x", memory="x", cursor="1-2")
        assert refused_response.status_code == 400
        assert set(json.loads(refused_response.content)["errors"]) == {"acton"}
        assert api_getter(cursor="1772366400000000-2").json()["code"] == "invalid_cursor"

    def test_is_read_like_everything_else(self, api_getter: Callable[..., Any]) -> None:
        api_getter()
        read_log.flush_reads()

        assert api_getter(action="memory.read").json()["entries"][0]["route"] == "api:audit-log"
