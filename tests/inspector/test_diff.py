"""The page of what changed: two instants, side by side."""

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from memoryhub.memories import clock
from tests.factories import make_memory
from tests.inspector.clients import client_for_new_user, response_text

pytestmark = pytest.mark.django_db

EARLIEST = "2000-01-01"


@pytest.fixture
def client() -> Client:
    return client_for_new_user()


def diff_page(client: Client, **params: Any) -> str:
    response = client.get("/diff", {"since": EARLIEST, **params})
    assert response.status_code == 200, response_text(response)
    return response_text(response)


def change_links(page_text: str) -> list[str]:
    return [unescape(url) for url in re.findall(r'href="(/diff[^"]*)"', page_text)]


def make_city_change() -> str:
    """The instant before the change."""
    make_memory(payload_id="a", subject="user:ada", collection="city", content="Ada lives in Paris.")
    since = clock.stable_record_time().isoformat()
    make_memory(payload_id="a", subject="user:ada", collection="city", content="Ada lives in Rome.")
    return since


def test_a_change_stands_side_by_side_with_what_was_changed_marked(client):
    page_text = diff_page(client, since=make_city_change())

    before, after = re.findall(r'<div class="diff"[^>]*>(.*?)</div>', page_text)
    assert before == "Ada lives in <del>Paris</del>."
    assert after == "Ada lives in <ins>Rome</ins>."
    assert page_text.count('data-kind="changed"') == 1


def test_without_instants_it_asks_for_them_and_offers_some(client):
    page_text = response_text(client.get("/diff"))

    assert "Pick two instants" in page_text
    offered_params = [parse_qs(urlsplit(link).query) for link in change_links(page_text)]
    assert sum("since" in link_params for link_params in offered_params) == 4
    assert "JSON" not in re.findall(r"<main.*</main>", page_text, re.DOTALL)[0]


def test_each_of_several_sources_can_be_taken_out_by_its_count(client):
    for source in ("crm", "mail"):
        make_memory(payload_id=source, source=source)

    links = change_links(diff_page(client, source=["crm", "mail"]))

    remaining_sources = [parse_qs(urlsplit(link).query).get("source") for link in links]
    # One link of the count, and one of the active filter.
    assert remaining_sources.count(["crm"]) == remaining_sources.count(["mail"]) == 2


def test_every_preset_and_count_leads_to_an_answer(client):
    make_city_change()
    make_memory(subject="user:bob", source="crm")
    for axis in ("record", "event"):
        link_urls = change_links(diff_page(client, axis=axis))
        assert any("change=added" in link for link in link_urls)
        assert any("subject=user%3Abob" in link for link in link_urls)
        for link in link_urls:
            assert client.get(link).status_code == 200, link


def test_a_count_that_is_asked_for_is_taken_back_by_its_link_and_its_chip(client):
    make_city_change()
    make_memory(subject="user:bob")

    page_text = diff_page(client, subject="user:bob")

    assert page_text.count('<li class="change">') == 1
    assert f"/diff?since={EARLIEST}" in change_links(page_text)
    assert "subject is" in page_text


def test_pages_lead_on_and_back_without_javascript(client):
    for _ in range(3):
        make_memory()
    seen_count, url = 0, f"/diff?since={EARLIEST}&limit=2"
    for _ in range(2):
        page_text = response_text(client.get(url))
        seen_count += page_text.count('<li class="change">')
        older_match = re.search(r'id="older" href="([^"]+)"', page_text)
        url = unescape(older_match[1]) if older_match else ""

    assert (seen_count, url) == (3, "")
    assert 'id="newest"' in page_text


def test_htmx_gets_the_part_that_it_swaps_errors_inside(client):
    make_memory()

    part = response_text(client.get("/diff", {"since": EARLIEST}, headers={"HX-Request": "true"}))
    error_response = client.get("/diff", {"since": "never"}, headers={"HX-Request": "true"})

    assert part.lstrip().startswith('<div id="results"')
    assert error_response.status_code == 200
    assert 'role="alert"' in response_text(error_response)


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"since": "never"}, "since must be an RFC 3339 instant"),
        ({"since": "2026-02-01", "until": "2026-01-01"}, "until must not be earlier than since."),
        ({"since": EARLIEST, "colour": "red"}, "colour is not a parameter"),
    ],
)
def test_a_mistake_is_a_sentence_and_the_form_keeps_what_was_typed(client, params, sentence):
    response = client.get("/diff", params)

    assert response.status_code == 400
    assert sentence in response_text(response)
    assert f'value="{params["since"]}"' in response_text(response)


def test_a_form_sent_with_empty_fields_leads_to_the_address_without_them(client):
    response = client.get("/diff", {"form": "1", "since": EARLIEST, "until": "", "subject": "", "axis": "record"})

    assert (response.status_code, response["Location"]) == (302, f"/diff?since={EARLIEST}&axis=record")


def test_nothing_is_said_to_have_changed_where_nothing_has(client):
    assert "Nothing changed" in diff_page(client)


def test_hostile_words_are_inert_on_either_side_and_secrets_masked(client):
    secret = "ghp_" + "a1B2c3D4e5" * 4
    make_memory(
        payload_id="a", subject="<b>x</b>", content=f"<script>alert(1)</script> {secret}", metadata={"k": secret}
    )
    since = clock.stable_record_time().isoformat()
    make_memory(payload_id="a", subject="<b>y</b>", content=f"<img src=x onerror=alert(1)>\u202e {secret}")

    page_text = diff_page(client, since=since)

    assert "<script>alert" not in page_text
    assert "<img src=x" not in page_text
    assert "<b>" not in page_text
    assert secret not in page_text
    assert "U+202E" in page_text
    assert "secrets masked" in page_text


def test_what_may_not_be_seen_is_on_no_page(client):
    low = client_for_new_user("low", max_tier="public")
    make_memory(subject="user:canary", tier="restricted")

    page_text = diff_page(low)

    assert "canary" not in page_text
    assert "Nothing changed" in page_text
    assert "user:canary" in diff_page(client)


def test_each_end_leads_to_the_memory_as_it_was_then(client):
    page_text = diff_page(client, since=make_city_change())
    detail_urls = [unescape(url) for url in re.findall(r'<h3>.*?<a href="([^"]+)"', page_text)]

    assert len(detail_urls) == 2
    for url, content in zip(detail_urls, ("Ada lives in Paris.", "Ada lives in Rome."), strict=True):
        response = client.get(url)
        assert response.status_code == 200
        assert content in response_text(response)


def test_the_navigation_leads_here_and_json_shows_the_same(client):
    make_memory(content="Said.")

    assert 'href="/diff"' in response_text(client.get("/"))
    (json_url,) = re.findall(r'href="(/api/diff[^"]*)"', diff_page(client))
    assert client.get(unescape(json_url)).json()["changes"][0]["after"]["content"] == "Said."
