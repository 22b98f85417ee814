"""The page of what changed: two instants, side by side."""

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from memoryhub.memories import clock
from tests.builders import make_memory
from tests.inspector.pages import signed_in, text

pytestmark = pytest.mark.django_db

EVER = "2000-01-01"


@pytest.fixture
def client() -> Client:
    return signed_in()


def page(client: Client, **asked: Any) -> str:
    answer = client.get("/diff", {"since": EVER, **asked})
    assert answer.status_code == 200, text(answer)
    return text(answer)


def links(shown: str) -> list[str]:
    return [unescape(url) for url in re.findall(r'href="(/diff[^"]*)"', shown)]


def change_a_city() -> str:
    """The instant before the change."""
    make_memory(payload_id="a", subject="user:ada", collection="city", content="Ada lives in Paris.")
    since = clock.settle().isoformat()
    make_memory(payload_id="a", subject="user:ada", collection="city", content="Ada lives in Rome.")
    return since


def test_a_change_stands_side_by_side_with_what_was_changed_marked(client):
    shown = page(client, since=change_a_city())

    before, after = re.findall(r'<div class="diff"[^>]*>(.*?)</div>', shown)
    assert before == "Ada lives in <del>Paris</del>."
    assert after == "Ada lives in <ins>Rome</ins>."
    assert shown.count('data-kind="changed"') == 1


def test_without_instants_it_asks_for_them_and_offers_some(client):
    shown = text(client.get("/diff"))

    assert "Pick two instants" in shown
    offered = [parse_qs(urlsplit(link).query) for link in links(shown)]
    assert sum("since" in asked for asked in offered) == 4
    assert "JSON" not in re.findall(r"<main.*</main>", shown, re.DOTALL)[0]


def test_every_preset_and_count_leads_to_an_answer(client):
    change_a_city()
    make_memory(subject="user:bob", source="crm")
    for axis in ("known", "event"):
        found = links(page(client, axis=axis))
        assert any("change=added" in link for link in found)
        assert any("subject=user%3Abob" in link for link in found)
        for link in found:
            assert client.get(link).status_code == 200, link


def test_a_count_that_is_asked_for_is_taken_back_by_its_link_and_its_chip(client):
    change_a_city()
    make_memory(subject="user:bob")

    shown = page(client, subject="user:bob")

    assert shown.count('<li class="change">') == 1
    assert f"/diff?since={EVER}" in links(shown)
    assert "subject is" in shown


def test_pages_lead_on_and_back_without_javascript(client):
    for _ in range(3):
        make_memory()
    seen, url = 0, f"/diff?since={EVER}&limit=2"
    for _ in range(2):
        shown = text(client.get(url))
        seen += shown.count('<li class="change">')
        older = re.search(r'id="older" href="([^"]+)"', shown)
        url = unescape(older[1]) if older else ""

    assert (seen, url) == (3, "")
    assert 'id="newest"' in shown


def test_htmx_gets_the_part_that_it_swaps_errors_inside(client):
    make_memory()

    part = text(client.get("/diff", {"since": EVER}, headers={"HX-Request": "true"}))
    failed = client.get("/diff", {"since": "never"}, headers={"HX-Request": "true"})

    assert part.lstrip().startswith('<div id="results"')
    assert failed.status_code == 200
    assert 'role="alert"' in text(failed)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"since": "never"}, "since must be an RFC 3339 instant"),
        ({"since": "2026-02-01", "until": "2026-01-01"}, "until must not be earlier than since."),
        ({"since": EVER, "colour": "red"}, "colour is not a parameter"),
    ],
)
def test_a_mistake_is_a_sentence_and_the_form_keeps_what_was_typed(client, asked, sentence):
    answer = client.get("/diff", asked)

    assert answer.status_code == 400
    assert sentence in text(answer)
    assert f'value="{asked["since"]}"' in text(answer)


def test_a_form_sent_with_empty_fields_leads_to_the_address_without_them(client):
    answer = client.get("/diff", {"form": "1", "since": EVER, "until": "", "subject": "", "axis": "known"})

    assert (answer.status_code, answer["Location"]) == (302, f"/diff?since={EVER}&axis=known")


def test_nothing_is_said_to_have_changed_where_nothing_has(client):
    assert "Nothing changed" in page(client)


def test_hostile_words_are_inert_on_either_side_and_secrets_masked(client):
    secret = "ghp_" + "a1B2c3D4e5" * 4
    make_memory(
        payload_id="a", subject="<b>x</b>", content=f"<script>alert(1)</script> {secret}", metadata={"k": secret}
    )
    since = clock.settle().isoformat()
    make_memory(payload_id="a", subject="<b>y</b>", content=f"<img src=x onerror=alert(1)>\u202e {secret}")

    shown = page(client, since=since)

    assert "<script>alert" not in shown
    assert "<img src=x" not in shown
    assert "<b>" not in shown
    assert secret not in shown
    assert "U+202E" in shown
    assert "secrets masked" in shown


def test_what_may_not_be_seen_is_on_no_page(client):
    low = signed_in("low", max_tier="public")
    make_memory(subject="user:canary", tier="restricted")

    shown = page(low)

    assert "canary" not in shown
    assert "Nothing changed" in shown
    assert "user:canary" in page(client)


def test_each_end_leads_to_the_memory_as_it_was_then(client):
    shown = page(client, since=change_a_city())
    ends = [unescape(url) for url in re.findall(r'<h3>.*?<a href="([^"]+)"', shown)]

    assert len(ends) == 2
    for url, content in zip(ends, ("Ada lives in Paris.", "Ada lives in Rome."), strict=True):
        answer = client.get(url)
        assert answer.status_code == 200
        assert content in text(answer)


def test_the_navigation_leads_here_and_json_tells_the_same(client):
    make_memory(content="Said.")

    assert 'href="/diff"' in text(client.get("/"))
    (json_url,) = re.findall(r'href="(/api/diff[^"]*)"', page(client))
    assert client.get(unescape(json_url)).json()["changes"][0]["after"]["content"] == "Said."
