"""The time machine without JavaScript: a form, a banner, and links that stay at the instant."""

import html
import re
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from inspector import time_context
from inspector.presenters import histogram_chart
from inspector.presenters.memory_search import MemorySearch, build_subject_url
from memoryhub.memories.histogram import Bucket, Histogram
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.memories.writes.envelope import parse_body
from tests.factories import WRITER, make_memory, utc
from tests.inspector.clients import client_for_new_user, response_text

pytestmark = pytest.mark.django_db
AS_OF = "2026-03-05T00:00:00Z"
# Pages of people and of this browser: nothing of them lies in the past.
EXEMPT_LINKS = (
    "/audit",
    "/view-as",
    "/api/docs",
    "/help",
    "/static",
    "#",
    "/time",
    "/sign-out",
    "/theme",
    "/admin",
    "/diff",
)


@pytest.fixture
def client() -> Any:
    return client_for_new_user(scopes="read curate audit view_as")


def current_known_at() -> str:
    """An instant of record time after all that was written so far."""
    latest_instant: datetime = Memory.objects.latest("recorded_at").recorded_at
    return time_context.format_iso_instant(latest_instant)


def instants_in_url(url: str) -> dict[str, str]:
    url_params = parse_qs(urlsplit(url).query)
    return {name: url_params[name][-1] for name in ("as_of", "known_at") if name in url_params}


def instants_by_url(response: Any) -> dict[str, dict[str, str]]:
    """The instants of each address of a page that leads to memories, but for the ways to other instants."""
    page = re.sub(r"<a [^>]*data-(?:now|earlier|later|previous|next)[^>]*>", "", response_text(response))
    page = re.sub(r'<g class="timeline__as-of .*?</g>', "", page, flags=re.DOTALL)
    link_urls = re.findall(r'(?:href|hx-get|data-copy-from)="([^"]*)"', page)
    urls = {html.unescape(url) for url in link_urls}
    # The form of the filters carries them in fields of its own.
    return {url: instants_in_url(url) for url in urls if not url.startswith(EXEMPT_LINKS) and url != "/"}


def link_url(link_name: str, page: str) -> str:
    """Where the link leads by which the list is slid along."""
    (link_match,) = re.findall(rf'<a href="([^"]*)" data-{link_name}', page)
    return html.unescape(link_match)


def make_changed_memory() -> Any:
    """A memory of which the latest is not what was known at the instant `then`, and others beside it."""
    make_memory(
        payload_id="a", subject="user:bob", collection="city", content="Paris", timestamp=utc("2026-03-01 12:00")
    )
    make_memory(
        payload_id="b", subject="user:bob", collection="city", content="Rome", timestamp=utc("2026-03-02 12:00")
    )
    known_at = current_known_at()
    memory = make_memory(
        payload_id="a", subject="user:bob", collection="city", content="London", timestamp=utc("2026-03-01 12:00")
    )
    make_memory(
        payload_id="c", subject="user:bob", collection="city", content="Oslo", timestamp=utc("2026-03-09 12:00")
    )
    return memory, known_at


def test_every_link_of_every_page_stays_at_the_instant(client):
    memory, known_at = make_changed_memory()
    time_query = f"as_of={AS_OF}&known_at={known_at}"

    for path in (
        f"/?{time_query}",
        f"/?limit=1&subject=user:bob&{time_query}",
        f"/memories/{memory.memory_id}?{time_query}",
        f"/memories/{memory.memory_id}?back=subject%3Duser%3Abob&{time_query}",
        f"/subjects/user:bob?{time_query}",
        f"/subjects/user:bob?back=subject%3Duser%3Abob&{time_query}",
    ):
        response = client.get(path)
        assert response.status_code == 200
        instants = instants_by_url(response)
        assert len(instants) > 5
        wrong_links = {
            url: link_instants for url, link_instants in instants.items() if link_instants.get("known_at") != known_at
        }
        # A value of the subject page leads to its own beginning on event time alone.
        wrong_links |= {
            url: link_instants
            for url, link_instants in instants.items()
            if link_instants.get("as_of") != AS_OF and not path.startswith("/subjects")
        }
        assert wrong_links == {}, path


def test_at_now_no_link_names_an_instant_but_those_that_lead_to_one(client):
    memory, _ = make_changed_memory()

    for path in ("/", f"/memories/{memory.memory_id}"):
        assert not any(instants_by_url(client.get(path)).values())


def test_the_pages_show_what_was_known_then(client):
    memory, known_at = make_changed_memory()

    list_page = response_text(client.get(f"/?known_at={known_at}"))
    assert ("Paris" in list_page, "London" in list_page, "Oslo" in list_page) == (True, False, False)
    page = response_text(client.get(f"/memories/{memory.memory_id}?known_at={known_at}"))
    assert ("Paris" in page, "London" in page) == (True, False)
    assert "Rome" in page
    assert "Oslo" not in page
    assert "London" in response_text(client.get(f"/memories/{memory.memory_id}"))


def test_what_is_beside_a_memory_is_of_the_same_moment(client):
    memory, known_at = make_changed_memory()
    make_memory(
        payload_id="b", subject="user:bob", collection="city", content="Milan", timestamp=utc("2026-03-02 12:00")
    )

    then_page, now_page = (
        response_text(client.get(f"/memories/{memory.memory_id}{q}")) for q in (f"?known_at={known_at}", "")
    )

    assert ("Rome" in then_page, "Milan" in then_page) == (True, False)
    assert ("Rome" in now_page, "Milan" in now_page) == (False, True)


def test_a_banner_says_what_is_looked_at_and_leads_back_to_now(client):
    memory, known_at = make_changed_memory()

    page = response_text(client.get("/?subject=user:bob&as_of=2026-03-03T14:30:00%2B02:00&limit=5"))
    banner_text = " ".join(re.sub(r"<[^>]+>", "", page[page.index('class="time-banner"') :][:900]).split())
    assert "You are looking at what had happened by 3 Mar 2026, 12:30 UTC (event time)" in banner_text
    assert "data-now>Back to now" in page
    assert 'href="/?subject=user%3Abob&amp;limit=5" data-now' in page

    page = response_text(client.get(f"/memories/{memory.memory_id}?known_at={known_at}&as_of={AS_OF}"))
    banner_text = " ".join(re.sub(r"<[^>]+>", "", page[page.index('class="time-banner"') :][:1200]).split())
    assert "looking at what was known on" in banner_text
    assert "(record time) of what had happened by 5 Mar 2026, 00:00 UTC (event time)" in banner_text
    assert 'class="time-banner"' not in response_text(client.get("/"))


def test_a_future_instant_is_clipped_to_now_with_a_message(client):
    make_memory()

    assert "lies in the future" in response_text(client.get("/?known_at=2999-01-01"))
    assert "lies in the future" not in response_text(client.get("/?known_at=2020-01-01"))


def test_the_form_leads_to_the_same_page_at_the_instant_in_utc(client):
    make_changed_memory()

    def submit_form(**form_data: str) -> str:
        response = client.get("/time", form_data)
        assert response.status_code == 302
        return str(response["Location"])

    back_url = "/?subject=user%3Abob&cursor=x&as_of=2020-01-01"
    assert submit_form(next=back_url, instant="2026-03-03T12:30", axis="known_at") == (
        "/?subject=user%3Abob&known_at=2026-03-03T12%3A30%3A00Z"
    )
    assert (
        submit_form(next="/", instant="2026-03-03T12:30:15+02:00", axis="as_of") == "/?as_of=2026-03-03T10%3A30%3A15Z"
    )
    both_url = submit_form(next="/", instant="2026-03-03T12:30:15", axis="both")
    assert set(instants_in_url(both_url).values()) == {"2026-03-03T12:30:15Z"}
    assert len(instants_in_url(both_url)) == 2
    assert submit_form(next=back_url, now="1") == "/?subject=user%3Abob"
    assert submit_form(next="https://evil.example/", now="1") == "/"
    # What an input cannot hold is kept where it was not touched.
    instant_text = "2026-03-03T12:30:15.123456Z"
    assert instants_in_url(
        submit_form(next="/", instant="2026-03-03T12:30:15", previous_instant=instant_text, axis="as_of")
    ) == {"as_of": instant_text}
    assert instants_in_url(
        submit_form(next="/", instant="2026-03-03T12:30:16", previous_instant=instant_text, axis="as_of")
    ) == {"as_of": "2026-03-03T12:30:16Z"}
    parsed_instant = time_context.parse_instant(instants_in_url(submit_form(next="/", preset="hour"))["known_at"])
    assert parsed_instant is not None
    assert abs((datetime.now(parsed_instant.tzinfo) - parsed_instant) - timedelta(hours=1)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "typed_text", ["yesterday", "2026-02-30T00:00", "0000-01-01T00:00", "10000-01-01T00:00", "12:30", "\0"]
)
def test_an_invalid_instant_is_reported_and_kept(client, typed_text):
    response = client.get("/time", {"instant": typed_text, "axis": "as_of", "next": "/"})

    assert response.status_code == 400
    assert "That is no instant." in response_text(response)
    assert client.get("/time").status_code == 200


def test_the_machine_is_on_every_page_and_leads_back_to_pages_that_travel(client):
    memory = make_memory(subject="user:bob")
    for path, back_url in (
        ("/?subject=user:bob", "/?subject=user:bob"),
        (f"/memories/{memory.memory_id}", f"/memories/{memory.memory_id}"),
        ("/subjects/user:bob", "/subjects/user:bob"),
        ("/audit", "/"),
        ("/view-as", "/"),
        ("/replay", "/"),
        ("/help", "/"),
        ("/memories/00000000-0000-7000-8000-000000000000", "/memories/00000000-0000-7000-8000-000000000000"),
    ):
        page = response_text(client.get(path))
        assert f'name="next" value="{back_url}"' in page, path
        assert 'name="instant"' in page


def test_the_instants_are_no_filters_of_the_form_but_stay_in_it(client):
    _, known_at = make_changed_memory()

    page = response_text(client.get(f"/?as_of={AS_OF}&known_at={known_at}"))

    assert f'<input type="hidden" name="as_of" value="{AS_OF}">' in page
    assert f'<input type="hidden" name="known_at" value="{known_at}">' in page
    assert 'id="filter-as_of-0"' not in page
    assert "Active filters" not in page
    assert (
        MemorySearch(client.get(f"/?as_of={AS_OF}").wsgi_request.GET).cleared_url == "/?as_of=2026-03-05T00%3A00%3A00Z"
    )


def test_nothing_is_classified_in_the_past(client):
    memory, known_at = make_changed_memory()

    for path in ("/", f"/memories/{memory.memory_id}"):
        is_offered, is_offered_past = (
            ("Classify" in response_text(client.get(path + query))) for query in ("", f"?known_at={known_at}")
        )
        assert (is_offered, is_offered_past) == (True, False), path
    # A limit of event time is a filter like another.
    assert "Classify these" in response_text(client.get(f"/?as_of={AS_OF}"))


def test_after_a_classification_the_page_is_at_the_same_instant(client):
    memory, _ = make_changed_memory()

    response = client.post(
        f"/memories/{memory.memory_id}/classify?as_of={AS_OF}&back=limit%3D5",
        {"classification_tier": "internal", "version": memory.version},
    )

    assert response["Location"] == f"/memories/{memory.memory_id}?back=limit%3D5&as_of=2026-03-05T00%3A00%3A00Z"


def test_what_was_not_there_then_says_so_and_leads_to_now(client):
    before = make_memory(timestamp=utc("2026-03-01 12:00"))
    memory = make_memory(timestamp=utc("2026-03-09 12:00"))

    for time_query in (f"as_of={AS_OF}", f"known_at={time_context.format_iso_instant(before.recorded_at)}"):
        response = client.get(f"/memories/{memory.memory_id}?back=limit%3D5&{time_query}")
        assert response.status_code == 404
        assert "Not there then" in response_text(response)
        assert f'href="/memories/{memory.memory_id}?back=limit%3D5">See it as it is now' in response_text(response)
        assert 'class="time-banner"' in response_text(response)


def test_a_hidden_memory_was_not_there_in_the_very_words_of_a_missing_one():
    low = client_for_new_user("low", max_tier="internal")
    hidden = make_memory(tier="restricted", timestamp=utc("2026-03-09 12:00"))
    closed_memory = make_memory(payload_id="x", tier="public", timestamp=utc("2026-03-01 12:00"))
    known_at = current_known_at()
    make_memory(payload_id="x", tier="restricted", timestamp=utc("2026-03-01 12:00"))
    missing = "00000000-0000-7000-8000-000000000000"

    def page_and_status(memory_id: object, query: str) -> tuple[int, str]:
        response = low.get(f"/memories/{memory_id}{query}")
        page = response_text(response).replace(str(memory_id), "-")
        page = re.sub(r'(csrfmiddlewaretoken" value=")\w+', r"\1", page)
        return response.status_code, re.sub(r"request: <code.*?</code>", "", page)

    for query in ("", f"?as_of={AS_OF}", f"?known_at={known_at}"):
        assert (
            page_and_status(hidden.memory_id, query)
            == page_and_status(closed_memory.memory_id, query)
            == page_and_status(missing, query)
        )
        assert page_and_status(missing, query)[0] == 404


def test_what_may_not_be_seen_now_is_on_no_page_as_it_was(client):
    low = client_for_new_user("low", max_tier="internal")
    make_memory(payload_id="x", tier="public", subject="user:bob", collection="city", content="Vienna")
    other_memory = make_memory(payload_id="y", tier="public", subject="user:bob", collection="city", content="Prague")
    known_at = current_known_at()
    make_memory(payload_id="x", tier="restricted", subject="user:bob", collection="city", content="Vienna")

    for path in ("/", f"/memories/{other_memory.memory_id}", "/subjects/user:bob"):
        assert "Vienna" not in response_text(low.get(f"{path}?known_at={known_at}")), path
        assert "Vienna" in response_text(client.get(f"{path}?known_at={known_at}")), path


def test_secrets_are_masked_at_every_instant(client):
    secret = "ghp_" + "a1B2c3D4e5" * 4
    memory = make_memory(subject="user:bob", collection="city", content=f"Token {secret}")
    known_at = current_known_at()

    for path in ("/", f"/memories/{memory.memory_id}", "/subjects/user:bob"):
        assert secret not in response_text(client.get(f"{path}?known_at={known_at}")), path
    assert secret in response_text(client.post(f"/memories/{memory.memory_id}/unmask?known_at={known_at}"))


def test_the_strip_leads_bar_by_bar_to_earlier_lists_and_back_to_the_latest(client):
    for day in (1, 3, 5):
        make_memory(timestamp=utc(f"2026-03-0{day} 12:00"), content=f"Said on day {day}.")

    page = response_text(client.get("/"))
    seen_instants = []
    for _ in range(2):
        url = link_url("earlier", page)
        page = response_text(client.get(url))
        seen_instants.append((instants_in_url(url)["as_of"], re.findall(r"Said on day (\d)", page)))
    assert seen_instants == [("2026-03-03T23:59:59.999999Z", ["3", "1"]), ("2026-03-01T23:59:59.999999Z", ["1"])]
    assert "data-earlier" not in page
    assert "the end of 1 Mar 2026 UTC" in page
    # The bars after it are still there to be chosen.
    assert page.count('aria-label="As of ') == 6

    for _ in range(2):
        url = link_url("later", page)
        page = response_text(client.get(url))
    assert url == "/"
    assert "data-later" not in page


def test_the_strip_keeps_filters_and_what_was_known(client):
    chart = histogram_chart.build_histogram_chart(
        Histogram(
            buckets=[Bucket(utc(f"2026-03-0{d}"), utc(f"2026-03-0{d + 1}"), d % 2) for d in range(1, 6)],
            is_capped=False,
        ),
        MemorySearch(client.get("/?subject=x&known_at=2026-04-01&cursor=y").wsgi_request.GET),
        utc("2026-03-02 12:00"),
    )

    assert chart is not None
    assert chart.cursor_x == 360
    assert chart.later_width == 840
    assert chart.earlier_url == "/?subject=x&known_at=2026-04-01&as_of=2026-03-01T23%3A59%3A59.999999Z"
    assert chart.later_url == "/?subject=x&known_at=2026-04-01&as_of=2026-03-03T23%3A59%3A59.999999Z"


@pytest.mark.parametrize(
    ("instant", "expected_text"),
    [
        ("2026-03-03 12:30", "3 Mar 2026, 12:30 UTC"),
        ("2026-03-03 12:30:05", "3 Mar 2026, 12:30:05 UTC"),
        ("2026-03-03 12:30:05.120000", "3 Mar 2026, 12:30:05.12 UTC"),
        ("2026-03-03 23:59:59.999999", "the end of 3 Mar 2026 UTC"),
    ],
)
def test_an_instant_is_shown_with_its_full_precision(instant, expected_text):
    assert time_context.format_instant(utc(instant)) == expected_text


def test_a_memory_leads_back_to_its_page_of_the_list_until_another_instant_is_chosen(client):
    for _ in range(3):
        make_memory(timestamp=utc("2026-03-01 12:00"))
    list_page = response_text(client.get(f"/?limit=1&as_of={AS_OF}"))
    (older_url,) = re.findall(r'id="older" href="([^"]*)"', list_page)
    (row,) = re.findall(r'class="row__link" href="([^"]*)"', response_text(client.get(html.unescape(older_url))))
    page = response_text(client.get(html.unescape(row)))

    (back_url,) = re.findall(r'<a href="([^"]*)" data-up', page)
    assert "cursor=" in back_url
    assert client.get(html.unescape(back_url)).status_code == 200
    now_url = client.get("/time", {"next": html.unescape(row), "now": "1"})["Location"]
    (back_url,) = re.findall(r'<a href="([^"]*)" data-up', response_text(client.get(now_url)))
    assert html.unescape(back_url) == "/?limit=1"


@pytest.mark.parametrize("subject", ["", ".", "..", "a/../b", "a//b", "/a", "ghp_" + "a1B2c3D4e5" * 4])
def test_no_link_is_made_of_a_name_that_no_address_holds(subject):
    assert build_subject_url(subject) == ""


def test_a_bad_instant_is_reported_and_its_reset_link_is_clean(client):
    response = client.get("/?as_of=yesterday&subject=x")

    assert response.status_code == 400
    assert "as_of must be an RFC 3339 instant" in response_text(response)
    assert 'href="/" hx-get="/"' in response_text(response)
    assert client.get("/memories/00000000-0000-7000-8000-000000000000?as_of=x").status_code == 400


def test_labels_are_those_of_the_moment():
    client = client_for_new_user()
    memory = make_memory(tier="public")
    known_at = current_known_at()
    plan = classify.plan_for_memory(
        memory.memory_id, parse_body({"add_labels": ["hush-hush"]}, ClassificationChange), principal=WRITER
    )
    classify.apply_plan(plan, reason="", route="", request_id="")

    assert (
        "hush-hush"
        not in response_text(client.get(f"/memories/{memory.memory_id}?known_at={known_at}")).split("<main")[1]
    )
    assert "hush-hush" in response_text(client.get(f"/memories/{memory.memory_id}")).split("<main")[1]
