"""Replaying a question as somebody else: then and now, side by side, on the page and over the API."""

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from memoryhub.audit.models import AuditEntry
from memoryhub.firewall.models import ApiKey
from memoryhub.memories import clock
from memoryhub.memories.filters import BadQuery
from memoryhub.ops import reads
from memoryhub.timetravel import replay as replaying
from tests.builders import WRITER, at, make_key, make_memory
from tests.inspector.pages import signed_in, text

pytestmark = pytest.mark.django_db
LOW = {"max_tier": "internal"}


@pytest.fixture
def boss() -> Client:
    return signed_in("boss", scopes="read audit view_as")


def agent(name: str = "agent", **fields: Any) -> str:
    secret = make_key(clearance=fields.pop("clearance", LOW), **fields)
    ApiKey.objects.filter(token_key=secret[:15]).update(name=name)
    return secret


def ask(client: Client, **given: str) -> Any:
    return client.get(f"/api/replay?{urlencode(given)}")


def now() -> str:
    return clock.settle().isoformat().replace("+00:00", "Z")


def marked(client: Client, **given: str) -> dict[str, str]:
    """What became of each memory, by its content."""
    answer = ask(client, **given).json()
    contents = {
        record["memory_id"]: record["content"] for when in ("then", "now") for record in answer[when]["records"]
    }
    return {contents[memory_id]: mark for memory_id, mark in answer["marks"].items()}


def test_then_is_what_the_caller_received_then_and_now_is_what_it_receives_now(boss):
    secret = agent()
    caller = Client(headers={"Authorization": f"Bearer {secret}"})
    make_memory(payload_id="a", content="Paris", subject="user:bob", timestamp=at("2026-03-01"))
    make_memory(payload_id="b", content="Same", subject="user:bob", timestamp=at("2026-03-02"))
    make_memory(content="Hidden", subject="user:bob", tier="restricted")
    query = "/api/memories?subject=user:bob&limit=5"
    received = caller.get(query).json()["records"]
    then = now()
    make_memory(payload_id="a", content="London", subject="user:bob", timestamp=at("2026-03-01"))
    make_memory(content="New", subject="user:bob", timestamp=at("2026-03-03"))

    answer = ask(boss, query=query, known_at=then, **{"as": "key:agent"}).json()

    assert answer["then"]["records"] == received
    assert answer["now"]["records"] == caller.get(query).json()["records"]
    assert answer["as"] == "key:agent"
    assert answer["known_at"] == then
    assert marked(boss, query=query, known_at=then, **{"as": "key:agent"}) == {
        "New": "only_now",
        "Same": "same",
        "London": "changed",
    }


def test_the_page_shows_both_side_by_side(boss):
    agent()
    make_memory(payload_id="a", content="Paris <b>", subject="user:bob", timestamp=at("2026-03-01"))
    then = now()
    make_memory(payload_id="a", content="London", subject="user:bob", timestamp=at("2026-03-01"))

    page = text(boss.get("/replay", {"query": "subject=user:bob", "as": "key:agent", "known_at": then}))

    left, right = page.split("<h3>Then</h3>")[1].split("<h3>Now</h3>")
    assert ("Paris &lt;b&gt;" in left, "London" in left) == (True, False)
    assert ("Paris" in right, "London" in right) == (False, True)
    assert "changed" in page
    assert re.search(r"known_at=[^\"&]+\"", left)


def test_an_earlier_place_of_a_memory_is_told_apart(boss):
    agent()
    for day, name in ((1, "a"), (2, "b"), (3, "c")):
        make_memory(payload_id=name, content=name, subject="s", timestamp=at(f"2026-03-0{day}"))
    then = now()
    make_memory(payload_id="a", content="a", subject="s", timestamp=at("2026-03-09"))

    found = replaying.replay("subject=s", instants={"known_at": then}, caller=WRITER).pairs

    order = [(pair.then and pair.then["content"], pair.now and pair.now["content"], pair.mark.value) for pair in found]
    assert order == [
        (None, "a", "changed"), ("c", "c", "same"), ("b", "b", "same"), ("a", None, "changed"),
    ]  # fmt: skip


def test_what_the_caller_may_not_see_is_in_neither_answer(boss):
    agent()
    make_memory(payload_id="a", content="Closed since", subject="s", tier="public")
    make_memory(payload_id="b", content="Opened since", subject="s", tier="restricted")
    make_memory(content="Always hidden", subject="s", tier="restricted")
    then = now()
    make_memory(payload_id="a", content="Closed since", subject="s", tier="restricted")
    make_memory(payload_id="b", content="Opened since, anew", subject="s", tier="public")

    answer = ask(boss, query="subject=s", known_at=then, **{"as": "key:agent"}).json()

    assert answer["then"]["records"] == []
    assert [record["content"] for record in answer["now"]["records"]] == ["Opened since, anew"]


def test_nobody_replays_as_whoever_sees_more(boss):
    agent()
    agent("mighty", clearance={"max_tier": "restricted"})
    low = signed_in("low", scopes="read view_as", max_tier="internal")
    make_memory(content="Hidden", tier="restricted")
    given = {"known_at": "2999-01-01", "as": "key:mighty"}

    assert ask(low, **given).status_code == 404
    assert ask(low, **{**given, "as": "key:nobody"}).json()["code"] == ask(low, **given).json()["code"]
    page = low.get("/replay", given)
    assert (page.status_code, "Hidden" in text(page)) == (400, False)
    assert "is nobody as whom you may look" in text(page)
    assert ask(boss, **given).status_code == 200
    for other in (signed_in("reader"), signed_in("auditor", scopes="read audit")):
        assert other.get("/replay").status_code == 403
        assert ask(other, **given).status_code == 403


def test_a_caller_that_gets_nothing_is_told_so(boss):
    agent()
    ApiKey.objects.filter(name="agent").update(revoked_at=at("2026-01-01"))
    agent("writer", scopes="write")
    make_memory()

    for name, why in (("key:agent", "is revoked"), ("key:writer", "may not read")):
        answer = ask(boss, known_at="2999-01-01", **{"as": name}).json()
        assert (answer["refusal"], answer["now"]["records"]) == (why, [])
        assert f"{why}: it gets nothing" in text(boss.get("/replay", {"as": name, "known_at": "2999-01-01"}))


def test_a_replay_is_in_the_ledger_under_the_name_of_who_looked(boss):
    agent()
    memory = make_memory(subject="s")
    given = {"query": "subject=s", "as": "key:agent", "known_at": "2999-01-01"}

    for path, route in (("/replay", "inspector:replay"), ("/api/replay", "api:replay")):
        boss.get(path, given)
        reads.flush()
        entry = AuditEntry.objects.filter(action="memory.read").latest("seq")
        assert (entry.principal, entry.route, entry.details["view_as"]) == ("user:boss", route, "key:agent")
        assert entry.memory_ids == [memory.memory_id]
        assert "known_at=2999-01-01" in entry.query
        assert entry.reach_tiers == ["public", "internal"]


@pytest.mark.parametrize(
    "query",
    ["subject=s", "?subject=s", "/?subject=s", "/memories?subject=s", "/api/memories?subject=s&limit=5",
     "https://hub.example/api/memories?subject=s", "/api/timetravel?subject=s&view=list&as_of=2020-01-01",
     "  /?subject=s&cursor=&list=x  ", "/?subject=s#rows"],
)  # fmt: skip
def test_a_question_is_an_address_or_what_stands_behind_its_question_mark(boss, query):
    agent()
    make_memory(subject="s", content="Asked for")
    make_memory(content="Another")

    assert marked(boss, query=query, known_at="2999-01-01", **{"as": "key:agent"}) == {"Asked for": "same"}


def test_an_empty_value_of_a_question_asks_for_empty(boss):
    agent()
    make_memory(collection="", content="Without")
    make_memory(collection="city", content="With")

    for query in ("collection=", "/?form=1&source=&collection=&empty=collection"):
        assert marked(boss, query=query, known_at="2999-01-01", **{"as": "key:agent"}) == {"Without": "same"}
    both = marked(boss, query="/?form=1&q=&collection=", known_at="2999-01-01", **{"as": "key:agent"})
    assert both == {"Without": "same", "With": "same"}


def test_an_empty_question_asks_for_all(boss):
    agent()
    make_memory(content="One")

    for query in ("", "/", "/api/memories"):
        assert marked(boss, query=query, known_at="2999-01-01", **{"as": "key:agent"}) == {"One": "same"}


def test_the_instants_of_the_question_hold_where_none_is_given(boss):
    agent()
    make_memory(content="Early", timestamp=at("2026-03-01"))
    make_memory(content="Late", timestamp=at("2026-03-09"))

    assert marked(boss, query="/?as_of=2026-03-05", **{"as": "key:agent"}) == {"Early": "same", "Late": "only_now"}
    assert marked(boss, query="/?as_of=2026-03-05", as_of="2026-03-20", **{"as": "key:agent"}) == {
        "Early": "same",
        "Late": "same",
    }


def test_what_was_believed_is_replayed_as_a_state(boss):
    agent()
    for day, city in ((1, "Paris"), (5, "London")):
        make_memory(subject="s", collection="city", content=city, timestamp=at(f"2026-03-0{day}"))

    assert marked(boss, query="subject=s&view=state", as_of="2026-03-03", **{"as": "key:agent"}) == {
        "Paris": "only_then",
        "London": "only_now",
    }


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ({"query": "/api/facets", "known_at": "2020-01-01"}, "query"),
        ({"query": "/memories/00000000-0000-7000-8000-000000000000", "known_at": "2020-01-01"}, "query"),
        ({"query": "cursor=x", "known_at": "2020-01-01"}, "query"),
        ({"query": "view=history&subject=s", "known_at": "2020-01-01"}, "query"),
        ({"query": "https://[", "known_at": "2020-01-01"}, "query"),
        ({"query": "x" * 9_000, "known_at": "2020-01-01"}, "query"),
        ({"query": "colour=blue", "known_at": "2020-01-01"}, "colour"),
        ({"query": "subject=a&subject=b", "known_at": "2020-01-01"}, "subject"),
        ({"query": "limit=none", "known_at": "2020-01-01"}, "limit"),
        ({"query": "subject=s", "known_at": "yesterday"}, "known_at"),
        ({"query": "subject=s"}, "as_of"),
        ({"query": "subject=s", "known_at": "2020-01-01", "x": "1"}, "x"),
    ],
)
def test_what_cannot_be_replayed_is_told_in_a_sentence_and_the_form_is_kept(boss, given, parameter):
    agent()

    answer = ask(boss, **given, **{"as": "key:agent"})
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [parameter]
    page = boss.get("/replay", {**given, "as": "key:agent"})
    assert page.status_code == 400
    assert 'value="key:agent"' in text(page)
    assert 'role="alert" id="error"' in text(page)


def test_without_a_caller_there_is_nobody_to_replay_as(boss):
    assert ask(boss, known_at="2020-01-01").json()["code"] == "missing_parameter"
    assert "The caller must be chosen." in text(boss.get("/replay?query=/"))
    assert boss.get("/replay").status_code == 200


def test_the_page_masks_secrets_as_every_page_does(boss):
    secret = "ghp_" + "a1B2c3D4e5" * 4
    agent()
    make_memory(content=f"Token {secret}")
    given = {"query": "/", "as": "key:agent", "known_at": "2999-01-01"}

    assert secret not in text(boss.get("/replay", given))
    assert secret not in ask(boss, **given).content.decode()
    key = make_key(scopes="read view_as", clearance={"max_tier": "restricted"})
    assert secret in Client(headers={"Authorization": f"Bearer {key}"}).get("/api/replay", given).content.decode()


def test_a_replay_leaves_no_wall_behind():
    agent()
    make_memory(tier="restricted", content="Hidden")
    boss = signed_in("boss", scopes="read view_as")
    ask(boss, query="/", known_at="2999-01-01", **{"as": "key:agent"})

    assert "Hidden" in text(boss.get("/"))
    with pytest.raises(BadQuery):
        replaying.replay("/nowhere", instants={}, caller=WRITER)
