"""Replaying a question as somebody else: then and now, side by side, on the page and over the API."""

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from memoryhub.access_log import read_log
from memoryhub.audit.models import AuditEntry
from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall.models import ApiKey
from memoryhub.memories import clock
from memoryhub.timetravel import replay as replaying
from tests.factories import WRITER, make_key, make_memory, utc
from tests.inspector.clients import client_for_new_user, response_text

pytestmark = pytest.mark.django_db
LOW = {"max_tier": "internal"}


@pytest.fixture
def boss() -> Client:
    return client_for_new_user("boss", scopes="read audit view_as")


def make_agent_key(name: str = "agent", **fields: Any) -> str:
    secret = make_key(clearance=fields.pop("clearance", LOW), **fields)
    ApiKey.objects.filter(token_key=secret[:15]).update(name=name)
    return secret


def get_replay(client: Client, **params: str) -> Any:
    return client.get(f"/api/replay?{urlencode(params)}")


def current_instant() -> str:
    return clock.stable_record_time().isoformat().replace("+00:00", "Z")


def marks_by_content(client: Client, **params: str) -> dict[str, str]:
    """What became of each memory, by its content."""
    response = get_replay(client, **params).json()
    contents = {
        record["memory_id"]: record["content"] for side in ("then", "now") for record in response[side]["records"]
    }
    return {contents[memory_id]: mark for memory_id, mark in response["marks"].items()}


def test_then_is_what_the_caller_received_then_and_now_is_what_it_receives_now(boss):
    secret = make_agent_key()
    caller = Client(headers={"Authorization": f"Bearer {secret}"})
    make_memory(payload_id="a", content="Paris", subject="user:bob", timestamp=utc("2026-03-01"))
    make_memory(payload_id="b", content="Same", subject="user:bob", timestamp=utc("2026-03-02"))
    make_memory(content="Hidden", subject="user:bob", tier="restricted")
    query = "/api/memories?subject=user:bob&limit=5"
    agent_records = caller.get(query).json()["records"]
    known_at = current_instant()
    make_memory(payload_id="a", content="London", subject="user:bob", timestamp=utc("2026-03-01"))
    make_memory(content="New", subject="user:bob", timestamp=utc("2026-03-03"))

    response = get_replay(boss, query=query, known_at=known_at, **{"as": "key:agent"}).json()

    assert response["then"]["records"] == agent_records
    assert response["now"]["records"] == caller.get(query).json()["records"]
    assert response["as"] == "key:agent"
    assert response["known_at"] == known_at
    assert marks_by_content(boss, query=query, known_at=known_at, **{"as": "key:agent"}) == {
        "New": "only_now",
        "Same": "same",
        "London": "changed",
    }


def test_the_page_shows_both_side_by_side(boss):
    make_agent_key()
    make_memory(payload_id="a", content="Paris <b>", subject="user:bob", timestamp=utc("2026-03-01"))
    known_at = current_instant()
    make_memory(payload_id="a", content="London", subject="user:bob", timestamp=utc("2026-03-01"))

    page = response_text(boss.get("/replay", {"query": "subject=user:bob", "as": "key:agent", "known_at": known_at}))

    then_column, now_column = page.split("<h3>Then</h3>")[1].split("<h3>Now</h3>")
    assert ("Paris &lt;b&gt;" in then_column, "London" in then_column) == (True, False)
    assert ("Paris" in now_column, "London" in now_column) == (False, True)
    assert "changed" in page
    assert re.search(r"known_at=[^\"&]+\"", then_column)


def test_an_earlier_position_of_a_memory_is_distinguished(boss):
    make_agent_key()
    for day, name in ((1, "a"), (2, "b"), (3, "c")):
        make_memory(payload_id=name, content=name, subject="s", timestamp=utc(f"2026-03-0{day}"))
    known_at = current_instant()
    make_memory(payload_id="a", content="a", subject="s", timestamp=utc("2026-03-09"))

    record_pairs = replaying.replay_query("subject=s", instants={"known_at": known_at}, principal=WRITER).pairs

    order = [
        (pair.then and pair.then["content"], pair.now and pair.now["content"], pair.mark.value) for pair in record_pairs
    ]
    assert order == [
        (None, "a", "changed"), ("c", "c", "same"), ("b", "b", "same"), ("a", None, "changed"),
    ]  # fmt: skip


def test_what_the_caller_may_not_see_is_in_neither_answer(boss):
    make_agent_key()
    make_memory(payload_id="a", content="Closed since", subject="s", tier="public")
    make_memory(payload_id="b", content="Opened since", subject="s", tier="restricted")
    make_memory(content="Always hidden", subject="s", tier="restricted")
    known_at = current_instant()
    make_memory(payload_id="a", content="Closed since", subject="s", tier="restricted")
    make_memory(payload_id="b", content="Opened since, anew", subject="s", tier="public")

    response = get_replay(boss, query="subject=s", known_at=known_at, **{"as": "key:agent"}).json()

    assert response["then"]["records"] == []
    assert [record["content"] for record in response["now"]["records"]] == ["Opened since, anew"]


def test_nobody_replays_as_a_principal_that_sees_more(boss):
    make_agent_key()
    make_agent_key("mighty", clearance={"max_tier": "restricted"})
    low = client_for_new_user("low", scopes="read view_as", max_tier="internal")
    make_memory(content="Hidden", tier="restricted")
    params = {"known_at": "2999-01-01", "as": "key:mighty"}

    assert get_replay(low, **params).status_code == 404
    assert get_replay(low, **{**params, "as": "key:nobody"}).json()["code"] == get_replay(low, **params).json()["code"]
    page = low.get("/replay", params)
    assert (page.status_code, "Hidden" in response_text(page)) == (400, False)
    assert "is nobody you may view as" in response_text(page)
    assert get_replay(boss, **params).status_code == 200
    for other_client in (client_for_new_user("reader"), client_for_new_user("auditor", scopes="read audit")):
        assert other_client.get("/replay").status_code == 403
        assert get_replay(other_client, **params).status_code == 403


def test_a_replay_without_results_says_so(boss):
    make_agent_key()
    ApiKey.objects.filter(name="agent").update(revoked_at=utc("2026-01-01"))
    make_agent_key("writer", scopes="write")
    make_memory()

    for name, refusal in (("key:agent", "is revoked"), ("key:writer", "may not read")):
        response = get_replay(boss, known_at="2999-01-01", **{"as": name}).json()
        assert (response["refusal"], response["now"]["records"]) == (refusal, [])
        assert f"{refusal}: it gets nothing" in response_text(
            boss.get("/replay", {"as": name, "known_at": "2999-01-01"})
        )


def test_a_replay_is_in_the_audit_log_under_the_name_of_the_viewer(boss):
    make_agent_key()
    memory = make_memory(subject="s")
    params = {"query": "subject=s", "as": "key:agent", "known_at": "2999-01-01"}

    for path, route in (("/replay", "inspector:replay"), ("/api/replay", "api:replay")):
        boss.get(path, params)
        read_log.flush_reads()
        entry = AuditEntry.objects.filter(action="memory.read").latest("seq")
        assert (entry.principal, entry.route, entry.details["view_as"]) == ("user:boss", route, "key:agent")
        assert entry.memory_ids == [memory.memory_id]
        assert "known_at=2999-01-01" in entry.query
        assert entry.clearance_tiers == ["public", "internal"]


@pytest.mark.parametrize(
    "query",
    ["subject=s", "?subject=s", "/?subject=s", "/memories?subject=s", "/api/memories?subject=s&limit=5",
     "https://hub.example/api/memories?subject=s", "/api/timetravel?subject=s&view=list&as_of=2020-01-01",
     "  /?subject=s&cursor=&back=x  ", "/?subject=s#rows"],
)  # fmt: skip
def test_a_question_is_an_address_or_what_stands_behind_its_question_mark(boss, query):
    make_agent_key()
    make_memory(subject="s", content="Asked for")
    make_memory(content="Another")

    assert marks_by_content(boss, query=query, known_at="2999-01-01", **{"as": "key:agent"}) == {"Asked for": "same"}


def test_an_empty_value_of_a_question_asks_for_empty(boss):
    make_agent_key()
    make_memory(collection="", content="Without")
    make_memory(collection="city", content="With")

    for query in ("collection=", "/?form=1&source=&collection=&empty=collection"):
        assert marks_by_content(boss, query=query, known_at="2999-01-01", **{"as": "key:agent"}) == {"Without": "same"}
    both_marks = marks_by_content(boss, query="/?form=1&q=&collection=", known_at="2999-01-01", **{"as": "key:agent"})
    assert both_marks == {"Without": "same", "With": "same"}


def test_an_empty_question_asks_for_all(boss):
    make_agent_key()
    make_memory(content="One")

    for query in ("", "/", "/api/memories"):
        assert marks_by_content(boss, query=query, known_at="2999-01-01", **{"as": "key:agent"}) == {"One": "same"}


def test_the_instants_of_the_question_hold_where_none_is_given(boss):
    make_agent_key()
    make_memory(content="Early", timestamp=utc("2026-03-01"))
    make_memory(content="Late", timestamp=utc("2026-03-09"))

    assert marks_by_content(boss, query="/?as_of=2026-03-05", **{"as": "key:agent"}) == {
        "Early": "same",
        "Late": "only_now",
    }
    assert marks_by_content(boss, query="/?as_of=2026-03-05", as_of="2026-03-20", **{"as": "key:agent"}) == {
        "Early": "same",
        "Late": "same",
    }


def test_what_was_believed_is_replayed_as_a_state(boss):
    make_agent_key()
    for day, city in ((1, "Paris"), (5, "London")):
        make_memory(subject="s", collection="city", content=city, timestamp=utc(f"2026-03-0{day}"))

    assert marks_by_content(boss, query="subject=s&view=state", as_of="2026-03-03", **{"as": "key:agent"}) == {
        "Paris": "only_then",
        "London": "only_now",
    }


@pytest.mark.parametrize(
    ("params", "parameter"),
    [
        ({"query": "/api/facets", "known_at": "2020-01-01"}, "query"),
        ({"query": "/memories/00000000-0000-7000-8000-000000000000", "known_at": "2020-01-01"}, "query"),
        ({"query": "cursor=x", "known_at": "2020-01-01"}, "query"),
        ({"query": "view=history&subject=s", "known_at": "2020-01-01"}, "query"),
        ({"query": "https://[", "known_at": "2020-01-01"}, "query"),
        ({"query": "x" * 9_000, "known_at": "2020-01-01"}, "query"),
        ({"query": "colour=blue", "known_at": "2020-01-01"}, "colour"),
        ({"query": "q=a&q=b", "known_at": "2020-01-01"}, "q"),
        ({"query": "limit=none", "known_at": "2020-01-01"}, "limit"),
        ({"query": "subject=s", "known_at": "yesterday"}, "known_at"),
        ({"query": "subject=s"}, "as_of"),
        ({"query": "subject=s", "known_at": "2020-01-01", "x": "1"}, "x"),
    ],
)
def test_a_query_that_cannot_be_replayed_gets_a_sentence_and_the_form_is_kept(boss, params, parameter):
    make_agent_key()

    response = get_replay(boss, **params, **{"as": "key:agent"})
    assert response.status_code == 400
    assert list(response.json()["errors"]) == [parameter]
    page = boss.get("/replay", {**params, "as": "key:agent"})
    assert page.status_code == 400
    assert 'value="key:agent"' in response_text(page)
    assert 'role="alert" id="error"' in response_text(page)


def test_without_a_caller_there_is_nobody_to_replay_as(boss):
    assert get_replay(boss, known_at="2020-01-01").json()["code"] == "missing_parameter"
    assert "The caller must be chosen." in response_text(boss.get("/replay?query=/"))
    assert boss.get("/replay").status_code == 200


def test_the_page_masks_secrets_as_every_page_does(boss):
    secret = "ghp_" + "a1B2c3D4e5" * 4
    make_agent_key()
    make_memory(content=f"Token {secret}")
    params = {"query": "/", "as": "key:agent", "known_at": "2999-01-01"}

    assert secret not in response_text(boss.get("/replay", params))
    assert secret not in get_replay(boss, **params).content.decode()
    key = make_key(scopes="read view_as", clearance={"max_tier": "restricted"})
    assert secret in Client(headers={"Authorization": f"Bearer {key}"}).get("/api/replay", params).content.decode()


def test_a_replay_leaves_no_row_security_settings_set():
    make_agent_key()
    make_memory(tier="restricted", content="Hidden")
    boss = client_for_new_user("boss", scopes="read view_as")
    get_replay(boss, query="/", known_at="2999-01-01", **{"as": "key:agent"})

    assert "Hidden" in response_text(boss.get("/"))
    with pytest.raises(InvalidQueryError):
        replaying.replay_query("/nowhere", instants={}, principal=WRITER)
