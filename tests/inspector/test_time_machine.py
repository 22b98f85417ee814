"""The time machine without JavaScript: a form, a banner, and links that stay at the instant."""

import html
import re
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from inspector import chart, moment
from inspector.search import Search, life_of
from memoryhub.memories import relabel
from memoryhub.memories.models import Memory
from memoryhub.memories.relabel import Change
from memoryhub.memories.timeline import Bucket, Histogram
from tests.builders import WRITER, at, make_memory
from tests.inspector.pages import signed_in, text

pytestmark = pytest.mark.django_db
AS_OF = "2026-03-05T00:00:00Z"
# Pages of people and of this browser: nothing of them lies in the past.
EXEMPT = (
    "/ledger",
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
    return signed_in(scopes="read inspect audit view_as")


def known_now() -> str:
    """An instant of record time after all that was written so far."""
    latest: datetime = Memory.objects.latest("recorded_at").recorded_at
    return moment.as_parameter(latest)


def instants_in(address: str) -> dict[str, str]:
    asked = parse_qs(urlsplit(address).query)
    return {name: asked[name][-1] for name in ("as_of", "known_at") if name in asked}


def kept(answer: Any) -> dict[str, dict[str, str]]:
    """The instants of each address of a page that leads to memories, but for the ways to other instants."""
    page = re.sub(r"<a [^>]*data-(?:now|earlier|later|previous|following)[^>]*>", "", text(answer))
    page = re.sub(r'<g class="timeline__stops .*?</g>', "", page, flags=re.DOTALL)
    found = re.findall(r'(?:href|hx-get|data-copy-from)="([^"]*)"', page)
    urls = {html.unescape(url) for url in found}
    # The form of the filters carries them in fields of its own.
    return {url: instants_in(url) for url in urls if not url.startswith(EXEMPT) and url != "/"}


def address_of(way: str, page: str) -> str:
    """Where the link leads by which the list is slid along."""
    (found,) = re.findall(rf'<a href="([^"]*)" data-{way}', page)
    return html.unescape(found)


def travelled() -> Any:
    """A memory of which the latest is not what was known at the instant `then`, and others beside it."""
    make_memory(
        payload_id="a", subject="user:bob", collection="city", content="Paris", timestamp=at("2026-03-01 12:00")
    )
    make_memory(payload_id="b", subject="user:bob", collection="city", content="Rome", timestamp=at("2026-03-02 12:00"))
    then = known_now()
    memory = make_memory(
        payload_id="a", subject="user:bob", collection="city", content="London", timestamp=at("2026-03-01 12:00")
    )
    make_memory(payload_id="c", subject="user:bob", collection="city", content="Oslo", timestamp=at("2026-03-09 12:00"))
    return memory, then


def test_every_link_of_every_page_stays_at_the_instant(client):
    memory, then = travelled()
    asked = f"as_of={AS_OF}&known_at={then}"

    for path in (
        f"/?{asked}",
        f"/?limit=1&subject=user:bob&{asked}",
        f"/memories/{memory.memory_id}?{asked}",
        f"/memories/{memory.memory_id}?list=subject%3Duser%3Abob&{asked}",
        f"/subjects/user:bob?{asked}",
        f"/subjects/user:bob?list=subject%3Duser%3Abob&{asked}",
    ):
        answer = client.get(path)
        assert answer.status_code == 200
        found = kept(answer)
        assert len(found) > 5
        wrong = {url: at_ for url, at_ in found.items() if at_.get("known_at") != then}
        # A value of the subject page leads to its own beginning on event time alone.
        wrong |= {
            url: at_ for url, at_ in found.items() if at_.get("as_of") != AS_OF and not path.startswith("/subjects")
        }
        assert wrong == {}, path


def test_at_now_no_link_names_an_instant_but_those_that_lead_to_one(client):
    memory, _ = travelled()

    for path in ("/", f"/memories/{memory.memory_id}"):
        assert not any(kept(client.get(path)).values())


def test_the_pages_show_what_was_known_then(client):
    memory, then = travelled()

    listed = text(client.get(f"/?known_at={then}"))
    assert ("Paris" in listed, "London" in listed, "Oslo" in listed) == (True, False, False)
    page = text(client.get(f"/memories/{memory.memory_id}?known_at={then}"))
    assert ("Paris" in page, "London" in page) == (True, False)
    assert "Rome" in page
    assert "Oslo" not in page
    assert "London" in text(client.get(f"/memories/{memory.memory_id}"))


def test_what_is_beside_a_memory_is_of_the_same_moment(client):
    memory, then = travelled()
    make_memory(
        payload_id="b", subject="user:bob", collection="city", content="Milan", timestamp=at("2026-03-02 12:00")
    )

    then_page, now_page = (text(client.get(f"/memories/{memory.memory_id}{q}")) for q in (f"?known_at={then}", ""))

    assert ("Rome" in then_page, "Milan" in then_page) == (True, False)
    assert ("Rome" in now_page, "Milan" in now_page) == (False, True)


def test_a_banner_says_what_is_looked_at_and_leads_back_to_now(client):
    memory, then = travelled()

    page = text(client.get("/?subject=user:bob&as_of=2026-03-03T14:30:00%2B02:00&limit=5"))
    words = " ".join(re.sub(r"<[^>]+>", "", page[page.index('class="then"') :][:900]).split())
    assert "You are looking at what had happened by 3 Mar 2026, 12:30 UTC (event time)" in words
    assert "data-now>Back to now" in page
    assert 'href="/?subject=user%3Abob&amp;limit=5" data-now' in page

    page = text(client.get(f"/memories/{memory.memory_id}?known_at={then}&as_of={AS_OF}"))
    words = " ".join(re.sub(r"<[^>]+>", "", page[page.index('class="then"') :][:1200]).split())
    assert "looking at what was known on" in words
    assert "(record time) of what had happened by 5 Mar 2026, 00:00 UTC (event time)" in words
    assert 'class="then"' not in text(client.get("/"))


def test_an_instant_in_the_future_is_told_to_be_now(client):
    make_memory()

    assert "lies in the future" in text(client.get("/?known_at=2999-01-01"))
    assert "lies in the future" not in text(client.get("/?known_at=2020-01-01"))


def test_the_form_leads_to_the_same_page_at_the_instant_in_utc(client):
    travelled()

    def go(**asked: str) -> str:
        answer = client.get("/time", asked)
        assert answer.status_code == 302
        return str(answer["Location"])

    back = "/?subject=user%3Abob&cursor=x&as_of=2020-01-01"
    assert go(next=back, instant="2026-03-03T12:30", axis="known_at") == (
        "/?subject=user%3Abob&known_at=2026-03-03T12%3A30%3A00Z"
    )
    assert go(next="/", instant="2026-03-03T12:30:15+02:00", axis="as_of") == "/?as_of=2026-03-03T10%3A30%3A15Z"
    both = go(next="/", instant="2026-03-03T12:30:15", axis="both")
    assert set(instants_in(both).values()) == {"2026-03-03T12:30:15Z"}
    assert len(instants_in(both)) == 2
    assert go(next=back, now="1") == "/?subject=user%3Abob"
    assert go(next="https://evil.example/", now="1") == "/"
    # What an input cannot hold is kept where it was not touched.
    held = "2026-03-03T12:30:15.123456Z"
    assert instants_in(go(next="/", instant="2026-03-03T12:30:15", held=held, axis="as_of")) == {"as_of": held}
    assert instants_in(go(next="/", instant="2026-03-03T12:30:16", held=held, axis="as_of")) == {
        "as_of": "2026-03-03T12:30:16Z"
    }
    ago = moment.parsed(instants_in(go(next="/", ago="hour"))["known_at"])
    assert ago is not None
    assert abs((datetime.now(ago.tzinfo) - ago) - timedelta(hours=1)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "typed", ["yesterday", "2026-02-30T00:00", "0000-01-01T00:00", "10000-01-01T00:00", "12:30", "\0"]
)
def test_what_is_no_instant_is_told_and_kept(client, typed):
    answer = client.get("/time", {"instant": typed, "axis": "as_of", "next": "/"})

    assert answer.status_code == 400
    assert "That is no instant." in text(answer)
    assert client.get("/time").status_code == 200


def test_the_machine_is_on_every_page_and_leads_back_to_pages_that_travel(client):
    memory = make_memory(subject="user:bob")
    for path, back in (
        ("/?subject=user:bob", "/?subject=user:bob"),
        (f"/memories/{memory.memory_id}", f"/memories/{memory.memory_id}"),
        ("/subjects/user:bob", "/subjects/user:bob"),
        ("/ledger", "/"),
        ("/view-as", "/"),
        ("/replay", "/"),
        ("/help", "/"),
        ("/memories/00000000-0000-7000-8000-000000000000", "/memories/00000000-0000-7000-8000-000000000000"),
    ):
        page = text(client.get(path))
        assert f'name="next" value="{back}"' in page, path
        assert 'name="instant"' in page


def test_the_instants_are_no_filters_of_the_form_but_stay_in_it(client):
    _, then = travelled()

    page = text(client.get(f"/?as_of={AS_OF}&known_at={then}"))

    assert f'<input type="hidden" name="as_of" value="{AS_OF}">' in page
    assert f'<input type="hidden" name="known_at" value="{then}">' in page
    assert 'id="filter-as_of-0"' not in page
    assert "Active filters" not in page
    assert Search(client.get(f"/?as_of={AS_OF}").wsgi_request.GET).cleared_url == "/?as_of=2026-03-05T00%3A00%3A00Z"


def test_nothing_is_classified_in_the_past(client):
    memory, then = travelled()

    for path in ("/", f"/memories/{memory.memory_id}"):
        offered, past = (("Classify" in text(client.get(path + query))) for query in ("", f"?known_at={then}"))
        assert (offered, past) == (True, False), path
    # A limit of event time is a filter like another.
    assert "Classify these" in text(client.get(f"/?as_of={AS_OF}"))


def test_after_a_classification_the_page_is_at_the_same_instant(client):
    memory, _ = travelled()

    answer = client.post(
        f"/memories/{memory.memory_id}/labels?as_of={AS_OF}&list=limit%3D5",
        {"classification_tier": "internal", "version": memory.version},
    )

    assert answer["Location"] == f"/memories/{memory.memory_id}?list=limit%3D5&as_of=2026-03-05T00%3A00%3A00Z"


def test_what_was_not_there_then_says_so_and_leads_to_now(client):
    before = make_memory(timestamp=at("2026-03-01 12:00"))
    memory = make_memory(timestamp=at("2026-03-09 12:00"))

    for asked in (f"as_of={AS_OF}", f"known_at={moment.as_parameter(before.recorded_at)}"):
        answer = client.get(f"/memories/{memory.memory_id}?list=limit%3D5&{asked}")
        assert answer.status_code == 404
        assert "Not there then" in text(answer)
        assert f'href="/memories/{memory.memory_id}?list=limit%3D5">See it as it is now' in text(answer)
        assert 'class="then"' in text(answer)


def test_a_hidden_memory_was_not_there_in_the_very_words_of_a_missing_one():
    low = signed_in("low", max_tier="internal")
    hidden = make_memory(tier="restricted", timestamp=at("2026-03-09 12:00"))
    closed = make_memory(payload_id="x", tier="public", timestamp=at("2026-03-01 12:00"))
    then = known_now()
    make_memory(payload_id="x", tier="restricted", timestamp=at("2026-03-01 12:00"))
    missing = "00000000-0000-7000-8000-000000000000"

    def told(memory_id: object, query: str) -> tuple[int, str]:
        answer = low.get(f"/memories/{memory_id}{query}")
        page = text(answer).replace(str(memory_id), "-")
        page = re.sub(r'(csrfmiddlewaretoken" value=")\w+', r"\1", page)
        return answer.status_code, re.sub(r"request: <code.*?</code>", "", page)

    for query in ("", f"?as_of={AS_OF}", f"?known_at={then}"):
        assert told(hidden.memory_id, query) == told(closed.memory_id, query) == told(missing, query)
        assert told(missing, query)[0] == 404


def test_what_may_not_be_seen_now_is_on_no_page_as_it_was(client):
    low = signed_in("low", max_tier="internal")
    make_memory(payload_id="x", tier="public", subject="user:bob", collection="city", content="Vienna")
    other = make_memory(payload_id="y", tier="public", subject="user:bob", collection="city", content="Prague")
    then = known_now()
    make_memory(payload_id="x", tier="restricted", subject="user:bob", collection="city", content="Vienna")

    for path in ("/", f"/memories/{other.memory_id}", "/subjects/user:bob"):
        assert "Vienna" not in text(low.get(f"{path}?known_at={then}")), path
        assert "Vienna" in text(client.get(f"{path}?known_at={then}")), path


def test_secrets_are_masked_at_every_instant(client):
    secret = "ghp_" + "a1B2c3D4e5" * 4
    memory = make_memory(subject="user:bob", collection="city", content=f"Token {secret}")
    then = known_now()

    for path in ("/", f"/memories/{memory.memory_id}", "/subjects/user:bob"):
        assert secret not in text(client.get(f"{path}?known_at={then}")), path
    assert secret in text(client.post(f"/memories/{memory.memory_id}/reveal?known_at={then}"))


def test_the_strip_leads_bar_by_bar_to_earlier_lists_and_back_to_the_latest(client):
    for day in (1, 3, 5):
        make_memory(timestamp=at(f"2026-03-0{day} 12:00"), content=f"Said on day {day}.")

    page = text(client.get("/"))
    seen = []
    for _ in range(2):
        url = address_of("earlier", page)
        page = text(client.get(url))
        seen.append((instants_in(url)["as_of"], re.findall(r"Said on day (\d)", page)))
    assert seen == [("2026-03-03T23:59:59.999999Z", ["3", "1"]), ("2026-03-01T23:59:59.999999Z", ["1"])]
    assert "data-earlier" not in page
    assert "the end of 1 Mar 2026 UTC" in page
    # The bars after it are still there to be chosen.
    assert page.count('aria-label="As of ') == 6

    for _ in range(2):
        url = address_of("later", page)
        page = text(client.get(url))
    assert url == "/"
    assert "data-later" not in page


def test_the_strip_keeps_filters_and_what_was_known(client):
    drawn = chart.draw(
        Histogram(
            buckets=[Bucket(at(f"2026-03-0{d}"), at(f"2026-03-0{d + 1}"), d % 2) for d in range(1, 6)], capped=False
        ),
        Search(client.get("/?subject=x&known_at=2026-04-01&cursor=y").wsgi_request.GET),
        at("2026-03-02 12:00"),
    )

    assert drawn is not None
    assert drawn.handle == 360
    assert drawn.later == 840
    assert drawn.earlier_url == "/?subject=x&known_at=2026-04-01&as_of=2026-03-01T23%3A59%3A59.999999Z"
    assert drawn.later_url == "/?subject=x&known_at=2026-04-01&as_of=2026-03-03T23%3A59%3A59.999999Z"


@pytest.mark.parametrize(
    ("instant", "words"),
    [
        ("2026-03-03 12:30", "3 Mar 2026, 12:30 UTC"),
        ("2026-03-03 12:30:05", "3 Mar 2026, 12:30:05 UTC"),
        ("2026-03-03 12:30:05.120000", "3 Mar 2026, 12:30:05.12 UTC"),
        ("2026-03-03 23:59:59.999999", "the end of 3 Mar 2026 UTC"),
    ],
)
def test_an_instant_is_told_as_exactly_as_it_is(instant, words):
    assert moment.said(at(instant)) == words


def test_a_memory_leads_back_to_its_page_of_the_list_until_another_instant_is_chosen(client):
    for _ in range(3):
        make_memory(timestamp=at("2026-03-01 12:00"))
    listed = text(client.get(f"/?limit=1&as_of={AS_OF}"))
    (older,) = re.findall(r'id="older" href="([^"]*)"', listed)
    (row,) = re.findall(r'class="row__link" href="([^"]*)"', text(client.get(html.unescape(older))))
    page = text(client.get(html.unescape(row)))

    (back,) = re.findall(r'<a href="([^"]*)" data-up', page)
    assert "cursor=" in back
    assert client.get(html.unescape(back)).status_code == 200
    now = client.get("/time", {"next": html.unescape(row), "now": "1"})["Location"]
    (back,) = re.findall(r'<a href="([^"]*)" data-up', text(client.get(now)))
    assert html.unescape(back) == "/?limit=1"


@pytest.mark.parametrize("subject", ["", ".", "..", "a/../b", "a//b", "/a", "ghp_" + "a1B2c3D4e5" * 4])
def test_no_link_is_made_of_a_name_that_no_address_holds(subject):
    assert life_of(subject) == ""


def test_a_bad_instant_is_told_and_the_way_out_of_it_is_clean(client):
    answer = client.get("/?as_of=yesterday&subject=x")

    assert answer.status_code == 400
    assert "as_of must be an RFC 3339 instant" in text(answer)
    assert 'href="/" hx-get="/"' in text(answer)
    assert client.get("/memories/00000000-0000-7000-8000-000000000000?as_of=x").status_code == 400


def test_labels_are_those_of_the_moment():
    client = signed_in()
    memory = make_memory(tier="public")
    then = known_now()
    plan = relabel.plan_one(memory.memory_id, relabel.read({"add_labels": ["hush-hush"]}, Change), by=WRITER)
    relabel.carry_out(plan, reason="", route="", request_id="")

    assert "hush-hush" not in text(client.get(f"/memories/{memory.memory_id}?known_at={then}")).split("<main")[1]
    assert "hush-hush" in text(client.get(f"/memories/{memory.memory_id}")).split("<main")[1]
