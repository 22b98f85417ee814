import re
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from memoryhub.memories.writes import write
from tests.factories import WRITER, envelope, make_memory, make_user, utc
from tests.inspector.clients import client_for_new_user, response_text

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true", "HX-Current-URL": "http://testserver/?source=test"}


@pytest.fixture
def client() -> Client:
    return client_for_new_user()


def test_the_list_comes_whole_or_as_the_part_that_htmx_swaps(client: Client) -> None:
    make_memory(content="Ada lives in Paris.")

    full_response, partial_response = client.get("/"), client.get("/", headers=HTMX)

    assert "<!doctype html>" in response_text(full_response)
    assert "<!doctype html>" not in response_text(partial_response)
    assert response_text(partial_response).lstrip().startswith('<div id="results"')
    assert all("Ada lives in Paris." in response_text(response) for response in (full_response, partial_response))
    assert full_response["Vary"].split(", ") == partial_response["Vary"].split(", ") == ["HX-Request", "Cookie"]


def test_the_history_of_a_browser_gets_whole_pages(client: Client) -> None:
    assert "<!doctype html>" in response_text(client.get("/", headers={**HTMX, "HX-History-Restore-Request": "true"}))


@pytest.mark.parametrize("path", ["/", "/memories", "/help", "/memories/0198f3c8-0000-7000-8000-000000000000"])
def test_pages_need_a_sign_in(path: str) -> None:
    assert Client().get(path)["Location"] == f"/sign-in?next={path}"


def test_a_fragment_without_a_session_sends_the_browser_to_the_sign_in() -> None:
    response = Client().get("/?tier=public", headers=HTMX)

    assert response["HX-Redirect"] == "/sign-in?next=%2F%3Fsource%3Dtest"


def test_a_user_who_may_not_read_is_refused() -> None:
    response = client_for_new_user(scopes="write").get("/")

    assert response.status_code == 403
    assert "Not for this account" in response_text(response)


@pytest.mark.parametrize("path", ["/", "/help", "/no-such-page", "/?tier=secret", "/sign-in"])
def test_no_cache_keeps_a_page_and_every_page_has_its_policy(client: Client, path: str) -> None:
    response = client.get(path)

    assert "no-store" in response["Cache-Control"]
    assert "private" in response["Cache-Control"]
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert "unsafe" not in response["Content-Security-Policy"]


def test_a_bad_filter_is_400_and_named_and_for_htmx_a_part_with_the_error(client: Client) -> None:
    full_response, partial_response = (
        client.get("/?tier=secret&subject=ada"),
        client.get("/?tier=secret&subject=ada", headers=HTMX),
    )

    assert (full_response.status_code, partial_response.status_code) == (400, 200)
    for response in (full_response, partial_response):
        assert "tier must be one of public, internal, confidential, restricted." in response_text(response)
        assert 'value="ada"' in response_text(response)
        assert "<option selected>secret</option>" in response_text(response)


@pytest.mark.parametrize("query", ["unknown=1", "cursor=x", "limit=0", "q=a&q=b", "from=2026-03-02&to=2026-03-01"])
def test_what_cannot_be_answered_is_refused(client: Client, query: str) -> None:
    response = client.get(f"/?{query}")

    assert response.status_code == 400
    assert query.partition("=")[0].replace("from", "to") in response_text(response)


def test_empty_fields_of_a_form_leave_the_address(client: Client) -> None:
    assert client.get("/?form=1&q=&subject=ada&label=&label=pii")["Location"] == "/?subject=ada&label=pii"
    assert client.get("/?form=1&q=&subject=ada", headers=HTMX)["HX-Push-Url"] == "/?subject=ada"


def test_what_may_not_be_seen_does_not_show() -> None:
    hidden = make_memory(content="The merger is on.", tier="restricted", subject="deal", collection="state")
    visible_memory = make_memory(content="A deal is discussed.", tier="public", subject="deal", collection="state")
    client = client_for_new_user("low", max_tier="public")

    pages = [
        response_text(client.get(path))
        for path in ("/", "/?q=merger", "/?tier=restricted", f"/memories/{visible_memory.memory_id}")
    ]

    assert all("The merger is on." not in page and str(hidden.memory_id) not in page for page in pages)
    assert "1 in all" in pages[0]
    assert "none match" in re.sub(r"\s+", " ", pages[1])
    assert client.get(f"/memories/{hidden.memory_id}").status_code == 404


def test_an_empty_hub_says_how_to_fill_it(client: Client) -> None:
    page = response_text(client.get("/"))

    assert "Nothing is remembered yet" in page
    assert "curl http://testserver/api/memories" in page


def test_no_match_names_the_filters_and_how_to_be_rid_of_them(client: Client) -> None:
    make_memory()

    page = response_text(client.get("/?subject=nobody&tier=public"))

    assert "You asked for memories where subject is nobody and tier is public." in page
    assert 'href="/?subject=nobody"' in page


def test_a_memory_leads_back_to_the_list_as_it_was(client: Client) -> None:
    memory = make_memory(subject="user:ada", collection="city")

    list_page = response_text(client.get("/?subject=user:ada&limit=5"))
    link = re.search(rf'href="(/memories/{memory.memory_id}[^"]*)"', list_page)
    assert link is not None
    page = response_text(client.get(link.group(1)))

    assert 'href="/?subject=user%3Aada&amp;limit=5"' in page


def test_the_way_back_leads_nowhere_else(client: Client) -> None:
    memory = make_memory()

    page = response_text(client.get(f"/memories/{memory.memory_id}?back=//evil.example%3Fx%3D1%26subject%3Dada"))

    assert "evil.example" not in page.partition("<main")[2]


def test_a_memory_shows_every_field_and_what_changed(client: Client) -> None:
    make_memory(payload_id="one", subject="user:ada", collection="city", content="Ada lives in Paris.")
    memory = make_memory(
        payload_id="one", subject="user:ada", collection="city", content="Ada lives in Berlin.", metadata={"n": 1.5}
    )
    make_memory(subject="user:ada", collection="city", content="Ada moved.")

    page = response_text(client.get(f"/memories/{memory.memory_id}"))

    assert "<del>Paris</del><ins>Berlin</ins>" in page
    assert "Ada moved." in page
    assert "defaulted: the writer did not say" in page
    assert f'href="/api/memories/{memory.memory_id}"' in page
    assert "&quot;n&quot;: 1.5" in page


def test_memories_without_a_subject_are_not_related_to_one_another(client: Client) -> None:
    memory = make_memory(content="One thing.")
    make_memory(content="Another thing.")

    assert "Another thing." not in response_text(client.get(f"/memories/{memory.memory_id}"))


def test_a_page_of_a_memory_knows_its_parameters(client: Client) -> None:
    memory = make_memory()

    assert client.get(f"/memories/{memory.memory_id}?colour=red").status_code == 400


def test_the_number_of_queries_does_not_grow_with_the_rows(client: Client) -> None:
    start = utc("2026-03-01 12:00")
    write.write_memories(
        [envelope(timestamp=start + timedelta(hours=n), labels=["pii"]) for n in range(200)], principal=WRITER
    )

    def count_queries(limit: int) -> int:
        with CaptureQueriesContext(
            connection,
        ) as query_log:
            assert client.get(f"/?limit={limit}").status_code == 200
        return len(query_log)

    count_queries(20)
    # The wall is five of them within a test's transaction (tests/api/native/test_pagination.py).
    assert count_queries(20) == count_queries(200) <= 13


def test_the_theme_is_a_cookie_and_the_way_back_stays_here(client: Client) -> None:
    response = client.post("/theme", {"theme": "dark", "next": "/help"})

    assert (response["Location"], response.cookies["theme"].value) == ("/help", "dark")
    assert 'data-theme="dark"' in response_text(client.get("/"))
    assert client.post("/theme", {"theme": "dark", "next": "//evil.example/"})["Location"] == "/"
    assert "theme" not in Client().post("/theme", {"theme": '" onload=x'}).cookies


@pytest.mark.parametrize(
    ("next_url", "expected_url"), [("/?tier=public", "/?tier=public"), ("https://evil.example/", "/")]
)
def test_the_sign_in_goes_on_to_local_addresses_only(next_url: str, expected_url: str) -> None:
    make_user("ada", "correct horse battery")

    response = Client().post("/sign-in", {"username": "ada", "password": "correct horse battery", "next": next_url})

    assert response["Location"] == expected_url


def test_a_failed_sign_in_does_not_say_whether_name_or_password_was_wrong() -> None:
    make_user("ada", "correct horse battery")
    responses = [
        Client().post("/sign-in", {"username": name, "password": "wrong", "next": "/help"}) for name in ("ada", "eve")
    ]

    assert all("Name and password do not match." in response_text(response) for response in responses)
    assert all('value="/help"' in response_text(response) for response in responses)


def test_too_many_wrong_passwords_are_answered_in_words(settings: Any) -> None:
    for _ in range(settings.AXES_FAILURE_LIMIT):
        response = Client().post("/sign-in", {"username": "ada", "password": "wrong"})

    assert response.status_code == 429
    assert "Wait 30 seconds" in response_text(response)
    assert response["Retry-After"] == "30"


def test_signing_out_takes_a_post(client: Client) -> None:
    assert client.get("/sign-out").status_code == 405
    assert client.post("/sign-out")["Location"] == "/sign-in"
    assert client.get("/")["Location"] == "/sign-in?next=/"


def test_a_form_from_elsewhere_is_refused_in_words(client: Client) -> None:
    csrf_client = Client(enforce_csrf_checks=True)
    csrf_client.cookies = client.cookies

    response = csrf_client.post("/sign-out")

    assert response.status_code == 403
    assert "This form has expired" in response_text(response)


@pytest.mark.parametrize(
    ("error", "status", "title"),
    [(OperationalError("gone"), 503, "Not now"), (ZeroDivisionError("secret detail"), 500, "Something went wrong")],
)
def test_a_failure_is_reported_without_its_details(client: Client, error: Exception, status: int, title: str) -> None:
    client.raise_request_exception = False
    with patch("inspector.views.memories.facets.count_facets", side_effect=error):
        response = client.get("/")

    assert response.status_code == status
    assert title in response_text(response)
    assert response["X-Request-ID"] in response_text(response)
    assert "secret detail" not in response_text(response)
