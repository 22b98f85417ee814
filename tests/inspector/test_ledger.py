"""The ledger's pages and its API: who did and who read what, as far as the viewer may see."""

import html
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from inspector import told
from memoryhub.firewall.types import Clearance
from memoryhub.ops import reads
from memoryhub.ops.trail_query import ACTIONS
from tests.audit.entries import append, event
from tests.builders import at, make_key, make_memory, make_user
from tests.inspector.pages import client_of, text

pytestmark = pytest.mark.django_db
INTERNAL = Clearance(max_tier="internal")
NOON = at("2026-03-01 12:00")
MISSING = "0198f3c8-0000-7000-8000-000000000000"


@pytest.fixture
def auditor() -> Client:
    return client_of(make_user("grace", max_tier="restricted", scopes="read audit"))


@pytest.fixture
def low() -> Client:
    return client_of(make_user("low", max_tier="internal", scopes="read audit"))


def happened(action: str, *, clearance: Clearance = INTERNAL, minutes: int = 0, **fields: Any) -> None:
    append(event(clearance, action=action, at=NOON + timedelta(minutes=minutes), **fields))


def said(answer: Any) -> list[str]:
    """The entries of a page as somebody reads them: without the markup and the times."""
    found = re.findall(r'<p class="line__said"[^>]*>(.*?)</p>', text(answer), re.DOTALL)
    return list(map(plain, found))


def plain(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def facts(answer: Any) -> list[str]:
    found = re.findall(r'<ul class="line__facts"[^>]*>(.*?)</ul>', text(answer), re.DOTALL)
    return list(map(plain, found))


CASES: list[tuple[dict[str, Any], str]] = [
    ({"action": "session.sign_in"}, "user:ada signed in"),
    ({"action": "session.refused", "details": {"account": "eve"}}, "user:ada was refused at the sign-in for eve"),
    ({"action": "session.refused", "details": {}}, "user:ada was refused at the sign-in for nobody's account"),
    ({"action": "view_as.start", "details": {"view_as": "key:agent"}}, "user:ada began to look as key:agent"),
    ({"action": "view_as.stop", "details": {"view_as": "key:agent"}}, "user:ada no longer looked as key:agent"),
    ({"action": "key.rotate", "details": {"key": "agent", "successor": "agent-2"}}, "user:ada rotated the key agent"),
    ({"action": "memory.read", "route": "api:facets"}, "user:ada asked the API's counts"),
    ({"action": "memory.read", "route": "x:new-route"}, "user:ada asked x:new-route"),
    ({"action": "new.deed"}, "user:ada new.deed"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "sentence"), CASES, ids=[sentence for _, sentence in CASES])
def test_an_entry_says_in_words_who_did_what(auditor: Client, entry: dict[str, Any], sentence: str) -> None:
    happened(**entry)

    assert said(auditor.get(f"/ledger?action={entry['action']}")) == [sentence]


def test_a_read_says_of_which_memories_by_which_way_and_for_what(auditor: Client) -> None:
    memories = [make_memory(tier="public") for _ in range(7)]
    happened(
        "memory.read",
        principal="key:agent",
        route="api:memories",
        query="source=crm&label=hr&limit=3&cursor=abc",
        memory_ids=[memory.memory_id for memory in memories],
    )

    answer = auditor.get("/ledger?principal=key:agent")

    assert said(answer) == ["key:agent read 7 memories through the API's list"]
    page = plain(text(answer))
    assert "where source is crm , labelled hr , a later page" in page
    assert "and 2 more" in page
    assert f'href="/memories/{memories[0].memory_id}"' in text(answer)
    assert 'href="/ledger/principals/key:agent"' in text(answer)


def test_a_change_is_told_as_before_and_after(auditor: Client) -> None:
    happened(
        "memory.relabel",
        memory_ids=[make_memory(tier="public").memory_id],
        details={
            "asked": {"tier": "internal"},
            "before": {"classification_tier": "public", "status": "active"},
            "after": {"classification_tier": "internal", "status": "active"},
            "reason": "It names a customer.",
        },
    )
    happened("key.change", details={"key": "agent", "changed": {"scopes": [["read"], ["read", "write"]]}}, minutes=1)

    answer = auditor.get("/ledger")

    assert said(answer)[-2:] == ["user:ada changed the key agent", "user:ada classified 1 memory"]
    assert facts(answer) == [
        "scopes was read became read, write",
        "classification tier was public became internal reason It names a customer.",
    ]


def test_every_action_that_the_hub_knows_has_its_words() -> None:
    sources = [*Path("memoryhub").rglob("*.py"), *Path("inspector").rglob("*.py")]
    named = {
        action
        for source in sources
        for action in re.findall(
            r'(?:action=|return |tell\(\s*|tell_ledger\(\s*(?:self\.)?request, |else )"([a-z_]+\.[a-z_]+)"',
            source.read_text(),
        )
    }

    assert set(told.DEEDS) == set(ACTIONS)
    assert {"memory.write", "view_as.start", "key.revoke", "memory.release"} <= named
    assert named <= set(ACTIONS)


def test_what_was_just_read_stands_there_already(auditor: Client) -> None:
    memory = make_memory(tier="internal")
    client_of(make_user("bob", max_tier="internal")).get(f"/memories/{memory.memory_id}?list=subject%3Dada")

    answer = auditor.get("/ledger?principal=user:bob")

    assert said(answer) == ["user:bob read 1 memory through a memory's page"]


MISTAKEN = (
    "memory=x", "action=drop", "from=soon", "x=1", "principal=%00", "cursor=x", "limit=0", "principal=a&principal=b",
    "from=2026-03-02&to=2026-03-01",
)  # fmt: skip


def test_the_filters_find_and_what_they_do_not_understand_is_named(auditor: Client) -> None:
    memory = make_memory(tier="public")
    happened("memory.write", principal="key:one", memory_ids=[memory.memory_id], request_id="r-1")
    happened("memory.read", principal="key:two", memory_ids=[memory.memory_id], route="api:memory", minutes=5)
    happened("key.create", principal="user:root", details={"key": "one"}, minutes=9)
    both = ["key:two read 1 memory through the API's record of a memory", "key:one wrote 1 memory"]
    everything = ["key:test-writer wrote 1 memory", *both]

    assert said(auditor.get(f"/ledger?memory={memory.memory_id}")) == everything
    assert said(auditor.get("/ledger?request_id=r-1")) == both[1:]
    assert said(auditor.get("/ledger?from=2026-03-01T12:05:00Z&to=2026-03-01T12:09:00Z")) == both[:1]
    assert said(auditor.get("/ledger?principal=key:one&action=memory.read")) == []
    assert auditor.get("/ledger?form=1&principal=&action=key.create")["Location"] == "/ledger?action=key.create"
    for query in MISTAKEN:
        answer = auditor.get(f"/ledger?{query}")
        assert answer.status_code == 400, query
        assert query.partition("=")[0].replace("from=2", "to") in text(answer)


def test_every_entry_has_a_link_that_keeps_leading_to_it(auditor: Client) -> None:
    happened("memory.write", principal="key:one", request_id="r-1")
    happened("memory.write", principal="system:demo", minutes=1)
    happened("memory.write", principal="system:demo", minutes=2)
    links = re.findall(r'<p class="line__at">\s*<a href="([^"]*)"', text(auditor.get("/ledger?action=memory.write")))

    found = [said(auditor.get(link.replace("&amp;", "&"))) for link in links]

    assert found == [["system:demo wrote"], ["system:demo wrote"], ["key:one wrote"]]


def test_pages_go_on_where_the_one_before_ended_and_cursors_are_nobody_elses(auditor: Client, low: Client) -> None:
    for number in range(7):
        happened("key.create", details={"key": f"k-{number}"}, minutes=number)
    seen, path = [], "/ledger?action=key.create&limit=3"
    while path:
        answer = auditor.get(path)
        seen += said(answer)
        older = re.search(r'id="older" href="([^"]*)"', text(answer))
        last, path = path, older[1].replace("&amp;", "&") if older else ""

    assert seen == [f"user:ada made the key k-{number}" for number in reversed(range(7))]
    assert [low.get(last).status_code, auditor.get(last.replace("key.create", "key.change")).status_code] == [400, 400]


@pytest.mark.parametrize("path", ["/ledger", "/ledger/principals/user:ada", f"/ledger?memory={MISSING}", "/api/ledger"])
def test_who_may_not_read_the_ledger_gets_nothing_of_it(path: str) -> None:
    reader = client_of(make_user("reader", max_tier="restricted"))
    key = Client(headers={"Authorization": f"Bearer {make_key(scopes='read write inspect')}"})
    memory = make_memory()

    assert reader.get(path).status_code == 403
    assert Client().get(path).status_code == (401 if path.startswith("/api") else 302)
    assert key.get("/api/ledger").status_code == 403
    assert "/ledger" not in text(reader.get("/"))
    assert "Who has seen this" not in text(reader.get(f"/memories/{memory.memory_id}"))


def test_a_memorys_page_tells_who_has_seen_it_and_what_was_done_to_it(auditor: Client, low: Client) -> None:
    memory = make_memory(tier="public", subject="user:ada", collection="city")
    low.get("/")

    page = auditor.get(f"/memories/{memory.memory_id}")

    assert "Who has seen this" in text(page)
    assert said(page) == [
        "user:grace read it through a memory's page",
        "user:low read it through the list",
        "key:test-writer wrote it",
    ]
    assert f'href="/ledger?memory={memory.memory_id}"' in text(page)


def test_a_principals_page_tells_what_it_has_been_told(auditor: Client) -> None:
    one, other = make_memory(tier="public"), make_memory(tier="public")
    for minutes, memories in enumerate([[one], [one, other], []]):
        ids = [each.memory_id for each in memories]
        happened("memory.read", principal="key:a/b", route="api:memories", minutes=minutes, memory_ids=ids)
    happened("memory.write", principal="key:a/b", minutes=9)

    page = auditor.get("/ledger/principals/key:a/b")

    assert said(page) == [
        "key:a/b asked the API's list",
        "key:a/b read 2 memories through the API's list",
        "key:a/b read 1 memory through the API's list",
    ]
    assert "2 of which it was told in its latest 500 reads" in text(page)
    assert "2 times, last" in text(page)
    assert 'href="/ledger?principal=key%3Aa%2Fb"' in text(page)
    assert auditor.get("/ledger/principals/key:a/b?action=x").status_code == 400
    assert auditor.get("/ledger/principals/" + "x" * 400).status_code == 404


def _normal(answer: Any) -> str:
    page = re.sub(
        r'value="\w{64}"|<code class="wrap">\w+</code>|user(%3A|:)\w+|[0-9a-f]{8}-[0-9a-f-]{27}', "", text(answer)
    )
    return re.sub(r"<time.*?</time>", "", page)


def test_what_a_low_viewer_may_not_see_is_as_if_it_had_not_happened(low: Client) -> None:
    seen, hidden = make_memory(tier="public"), make_memory(tier="restricted")
    happened("memory.read", principal="user:bob", route="inspector:memories", memory_ids=[seen.memory_id])
    high = Clearance(max_tier="restricted")
    happened("memory.read", principal="user:eve", clearance=high, memory_ids=[seen.memory_id, hidden.memory_id])
    happened("memory.relabel", principal="user:eve", clearance=high, memory_ids=[hidden.memory_id])

    raised = make_memory(payload_id="raised", tier="public")
    happened("memory.read", principal="user:bob", minutes=-9, memory_ids=[raised.memory_id])
    make_memory(payload_id="raised", tier="restricted", content="Closed by now.")

    assert said(low.get("/ledger?to=2026-03-02&from=2026-03-01T12:00:00Z")) == [
        "user:bob read 1 memory through the list"
    ]
    assert said(low.get(f"/memories/{seen.memory_id}"))[-1] == "user:bob read it through the list"
    pairs = [
        ("/ledger/principals/user:eve", "/ledger/principals/user:nobody"),
        (f"/ledger?memory={hidden.memory_id}", f"/ledger?memory={MISSING}"),
        (f"/ledger?memory={raised.memory_id}", f"/ledger?memory={MISSING}"),
        (f"/api/ledger?memory={hidden.memory_id}", f"/api/ledger?memory={MISSING}"),
    ]
    for there, not_there in pairs:
        answers = low.get(there), low.get(not_there)
        assert [answer.status_code for answer in answers] == [200, 200]
        assert _normal(answers[0]) == _normal(answers[1])


def test_nothing_in_an_entry_acts_or_shows_a_secret(auditor: Client) -> None:
    secret = "AKIA" + "A1B2C3D4E5F6G7H8"
    hostile = "<script>alert(1)</script>"
    happened("memory.read", principal=f"user:{hostile}", route="api:memories", query=f"q={secret}&source={hostile}")
    happened("memory.relabel", details={"reason": f"{hostile} {secret} \u202e"}, minutes=1)

    page, listed = text(auditor.get("/ledger")), text(auditor.get("/api/ledger"))
    of_principal = text(auditor.get("/ledger/principals/user:%3Cscript%3Ealert(1)%3C/script%3E"))

    assert hostile not in page + of_principal
    assert "&lt;script&gt;" in page
    assert secret not in page + listed + of_principal
    assert "\u202e" not in page


class TestApi:
    @pytest.fixture
    def caller(self) -> Callable[..., Any]:
        key = make_key(scopes="audit", clearance={"max_tier": "internal"})
        client = Client(headers={"Authorization": f"Bearer {key}"})
        return lambda **parameters: client.get("/api/ledger", parameters)

    def test_tells_the_entries_and_nothing_that_counts_others(self, caller: Callable[..., Any]) -> None:
        memory = make_memory(tier="public")
        happened("memory.read", principal="user:bob", route="api:memory", memory_ids=[memory.memory_id], query="a=1")

        answer = caller(principal="user:bob").json()

        assert answer == {
            "entries": [
                {
                    "at": "2026-03-01T12:00:00Z",
                    "principal": "user:bob",
                    "action": "memory.read",
                    "route": "api:memory",
                    "query": "a=1",
                    "memory_ids": [str(memory.memory_id)],
                    "details": {},
                    "request_id": "",
                }
            ],
            "next_cursor": None,
            "has_more": False,
        }

    def test_pages_and_refuses_what_it_does_not_know(self, caller: Callable[..., Any]) -> None:
        for minutes in range(5):
            happened("key.create", details={"key": f"k-{minutes}"}, minutes=minutes)
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            answer = caller(action="key.create", limit=2, **({"cursor": cursor} if cursor else {})).json()
            seen += [entry["details"]["key"] for entry in answer["entries"]]
            cursor = answer["next_cursor"]

        assert seen == ["k-4", "k-3", "k-2", "k-1", "k-0"]
        refused = caller(acton="x", memory="x", cursor="1-2")
        assert refused.status_code == 400
        assert set(json.loads(refused.content)["errors"]) == {"acton"}
        assert caller(cursor="1772366400000000-2").json()["code"] == "bad_cursor"

    def test_is_read_like_everything_else(self, caller: Callable[..., Any]) -> None:
        caller()
        reads.flush()

        assert caller(action="memory.read").json()["entries"][0]["route"] == "api:ledger"
