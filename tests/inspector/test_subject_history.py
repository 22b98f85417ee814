"""The page of one subject: what was said of it, from when to when, and which value was current at an instant."""

import html
import re
from typing import Any

import pytest
from django.db import connection
from django.http import QueryDict

from inspector import time_context
from inspector.presenters import subject_chart
from memoryhub.conflicts.decisions import resolve
from memoryhub.conflicts.decisions.resolve import Resolution, ResolutionRequest
from memoryhub.conflicts.groups.group_keys import compute_evidence
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories import clock
from memoryhub.memories.filters import PointInTimeFilterSet
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.memories.writes.envelope import parse_body
from memoryhub.timetravel import subject_history as lives
from memoryhub.timetravel.subject_history import SubjectHistory, get_subject_history
from tests.factories import WRITER, make_memory, utc
from tests.inspector.clients import client_for_new_user, response_text

pytestmark = pytest.mark.django_db
STEWARD = Principal(
    name="user:steward", scopes=frozenset({Scope.READ, Scope.CURATE}), clearance=unrestricted_clearance()
)


def history_of(subject: str, query: str = "", *, clearance: Clearance | None = None) -> SubjectHistory | None:
    clearance = clearance or unrestricted_clearance()
    with rls.as_reader(clearance):
        return get_subject_history(subject, PointInTimeFilterSet(QueryDict(query), clearance=clearance))


def period_rows(history_: SubjectHistory | None) -> list[tuple[Any, ...]]:
    """(collection, content, kind, from, until) of everything, in the order of a lane."""
    assert history_ is not None
    return [
        (key.collection, period.record["content"], period.kind, period.start.day, period.end and period.end.day)
        for key in history_.collections
        for period in key.periods
    ]


def make_value(content: str, day: int, **fields: Any) -> Any:
    return make_memory(
        **{
            "subject": "user:bob",
            "collection": "city",
            "content": content,
            "timestamp": utc(f"2026-03-{day:02d}"),
            **fields,
        }
    )


def test_a_value_holds_until_the_next_one_of_its_key():
    make_value("London", 5)
    make_value("Paris", 1)
    make_value("engineer", 3, collection="job")
    make_value("Rome", 2, subject="user:eve")

    assert period_rows(history_of("user:bob")) == [
        ("city", "Paris", "current", 1, 5),
        ("city", "London", "current", 5, None),
        ("job", "engineer", "current", 3, None),
    ]


def test_what_was_replaced_held_until_what_replaced_it():
    make_value("Paris", 1, payload_id="p")
    make_value("London", 4, payload_id="p")
    make_value("Rome", 6)

    assert period_rows(history_of("user:bob")) == [
        ("city", "Paris", "superseded", 1, 4),
        ("city", "London", "current", 4, 6),
        ("city", "Rome", "current", 6, None),
    ]


def test_what_is_quarantined_stands_in_nobodys_way_and_what_expired_is_gone():
    make_value("Paris", 1)
    bad = make_value("Mars", 2)
    make_value("Oslo", 3, expires_at=utc("2026-03-04").isoformat())
    make_value("London", 5)
    plan = classify.plan_for_memory(
        bad.memory_id,
        parse_body({"status": "quarantined", "reason": "No."}, ClassificationChange),
        principal=WRITER,
    )
    classify.apply_plan(plan, reason="No.", route="", request_id="")

    periods = period_rows(history_of("user:bob"))

    assert [(content, until) for _, content, kind, _, until in periods if kind == "current"] == [
        ("Paris", 5),
        ("London", None),
    ]
    assert sorted(kind for _, _, kind, _, _ in periods) == [
        "current",
        "current",
        "expired",
        "quarantined",
        "superseded",
    ]
    assert [(content, since, until) for _, content, kind, since, until in periods if kind == "expired"] == [
        ("Oslo", 3, 4)
    ]


def test_a_value_is_believed_again_when_a_later_one_has_expired():
    make_value("Paris", 1)
    make_value("Oslo", 3, expires_at=utc("2026-03-05").isoformat())
    make_value("Bergen", 4, expires_at=utc("2026-03-06").isoformat())
    make_value("London", 8, expires_at="2999-01-01T00:00:00Z")

    whole_history = history_of("user:bob")
    assert whole_history is not None
    (key,) = whole_history.collections

    spans = {period.record["content"]: [(a.day, b and b.day) for a, b in period.intervals] for period in key.periods}
    assert spans == {"Paris": [(1, 3), (6, 8), (1, None)], "Oslo": [(3, 4)], "Bergen": [(4, 6)], "London": [(8, 1)]}
    for day in (1, 2, 3, 4, 5, 6, 7, 8, 9):
        history = history_of("user:bob", f"as_of=2026-03-{day:02d}")
        assert history is not None
        segments = [
            period.record["content"]
            for period in key.periods
            if any(
                a <= utc(f"2026-03-{day:02d}") and (b is None or utc(f"2026-03-{day:02d}") < b)
                for a, b in period.intervals
            )
        ]
        assert [record["content"] for record in history.current_values] == segments, day


def list_badges(page: str) -> list[str]:
    """The words of the column that tells of each version's standing, from the latest event on."""
    return [
        re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r'data-label="Status">(.*?)</td>', page, re.DOTALL)
    ]


def test_only_the_value_of_a_key_wears_the_badge_of_what_is_believed():
    make_value("Paris", 1)
    make_value("London", 5)
    make_value("Rome", 7)
    make_value("engineer", 3, collection="job")
    client = client_for_new_user()

    assert list_badges(response_text(client.get("/subjects/user:bob"))) == [
        "current",
        "superseded",
        "current",
        "superseded",
    ]
    then_page = response_text(client.get("/subjects/user:bob?as_of=2026-03-05"))
    assert list_badges(then_page) == ["later", "current", "current", "superseded"]


def test_before_anything_was_known_a_subject_has_an_empty_page():
    before = time_context.format_iso_instant(clock.stable_record_time())
    make_value("Paris", 1)
    make_value("Secret base", 1, tier="restricted", subject="user:eve")
    client = client_for_new_user("low", max_tier="internal")

    known_page = client.get(f"/subjects/user:bob?known_at={before}")
    event_page = client.get("/subjects/user:bob?as_of=2026-02-01")

    assert (known_page.status_code, event_page.status_code) == (200, 200)
    assert "Nothing was known yet" in response_text(known_page)
    assert "There was no value yet" in response_text(event_page)
    assert client.get(f"/subjects/user:eve?known_at={before}").status_code == 404
    assert client.get(f"/subjects/nobody?known_at={before}").status_code == 404


def test_at_an_instant_of_record_time_nothing_later_is_known():
    make_value("Paris", 1, payload_id="p")
    known_at = time_context.format_iso_instant(clock.stable_record_time())
    make_value("London", 2, payload_id="p")

    history = history_of("user:bob", f"known_at={known_at}")

    assert period_rows(history) == [("city", "Paris", "current", 1, None)]
    assert history is not None
    assert [record["content"] for record in history.current_values] == ["Paris"]


def test_at_an_instant_of_event_time_the_later_part_is_drawn_and_not_believed():
    make_value("Paris", 1)
    make_value("London", 5)

    history = history_of("user:bob", "as_of=2026-03-04")

    assert history is not None
    assert [record["content"] for record in history.current_values] == ["Paris"]
    assert len(period_rows(history)) == 2


def test_what_is_believed_is_what_the_lanes_say_at_every_event():
    for index, day in enumerate((3, 1, 4, 1, 5, 9, 2, 6)):
        make_value(f"v{index}", day, collection=f"c{index % 2}", payload_id=f"p{index % 5}")
    whole_history = history_of("user:bob")
    assert whole_history is not None

    for event in whole_history.event_times:
        history = history_of("user:bob", f"as_of={time_context.format_iso_instant(event)}")
        assert history is not None
        segments_by_key = {
            (key.collection, period.record["memory_id"])
            for key in whole_history.collections
            for period in key.periods
            if period.kind == "current" and period.start <= event and (period.end is None or event < period.end)
        }
        assert {(record["collection"], record["memory_id"]) for record in history.current_values} == segments_by_key


def test_a_hidden_version_leaves_no_gap():
    low = Clearance(max_tier="internal")
    make_value("Paris", 1, tier="public", payload_id="p")
    make_value("Secret base", 3, tier="restricted")
    make_value("London", 5, tier="public")
    visible_periods = period_rows(history_of("user:bob", clearance=low))

    assert visible_periods == [("city", "Paris", "current", 1, 5), ("city", "London", "current", 5, None)]
    assert history_of("user:eve", clearance=low) is None


def test_a_memory_that_was_closed_is_gone_from_the_life_with_all_its_versions():
    low = Clearance(max_tier="internal")
    make_value("Paris", 1, tier="public", payload_id="p")
    known_at = time_context.format_iso_instant(clock.stable_record_time())
    make_value("Paris", 1, tier="restricted", payload_id="p")

    assert history_of("user:bob", clearance=low) is None
    assert history_of("user:bob", f"known_at={known_at}", clearance=low) is None
    assert client_for_new_user("low", max_tier="internal").get("/subjects/user:bob").status_code == 404


def test_a_long_life_is_cut_and_says_so(monkeypatch):
    monkeypatch.setattr(lives, "MAX_VERSIONS", 3)
    for day in range(1, 6):
        make_value(f"Day {day}", day)

    history = history_of("user:bob")

    assert history is not None
    assert history.has_more
    assert [content for _, content, *_ in period_rows(history)] == ["Day 3", "Day 4", "Day 5"]
    assert "This page tells of the" in response_text(client_for_new_user().get("/subjects/user:bob"))


def test_the_page_lists_and_draws_the_whole_history():
    make_value("Paris", 1)
    make_value("London <script>alert(1)</script>", 5)
    make_value("engineer", 3, collection="job")

    page = response_text(client_for_new_user().get("/subjects/user:bob"))

    assert page.count('class="lane"') == 2
    assert page.count('class="lane__current"') == 3
    assert "<script>alert" not in page
    assert "3 events, all of them" in page
    assert "Current values" in page
    assert 'style="' not in page


def test_steps_lead_from_event_to_event_and_to_the_end():
    client = client_for_new_user()
    for day in (1, 3, 5):
        make_value(f"Day {day}", day)

    def step_link(page: str, name: str) -> str:
        link_match = re.search(rf'href="([^"]*)" data-{name}', page)
        return html.unescape(link_match[1]) if link_match else ""

    url, seen_events = "/subjects/user:bob?back=limit%3D5", []
    while url:
        page = response_text(client.get(url))
        seen_events.append(page.split('class="current-values"')[1].split("Day ")[1][0])
        url = step_link(page, "previous")
    assert seen_events == ["5", "5", "3", "1"]

    step_urls = []
    for _ in range(3):
        url = step_link(page, "next")
        page = response_text(client.get(url))
        step_urls.append(page.split('class="current-values"')[1].split("Day ")[1][0])
    assert step_urls == ["3", "5", "5"]
    assert url == "/subjects/user:bob?back=limit%3D5"


@pytest.mark.parametrize(
    "subject",
    ["user:bob", "Ünï cødé/with/slashes", "a?b#c%d&e=f", "\u202eevil", "a\\b", "x" * 200, " space ", "<b>&'\""],
)
def test_whatever_a_subject_is_called_its_links_lead_to_its_page(subject):
    client = client_for_new_user()
    make_value("Paris", 1, subject=subject)

    (link_url,) = re.findall(r'row__timeline" href="([^"]*)"', response_text(client.get("/")))
    url = html.unescape(link_url)

    assert client.get(url).status_code == 200
    assert "Paris" in response_text(client.get(url))


def test_nobody_has_no_page():
    client = client_for_new_user()
    make_memory(subject="")

    assert client.get("/subjects/nobody").status_code == 404
    assert client.get("/subjects/a%00b").status_code == 404
    assert client.get("/subjects/user:bob?x=1").status_code == 400
    assert client.get("/subjects/user:bob?as_of=x").status_code == 400


@pytest.mark.parametrize(
    "days", [("0001-01-01", "9999-12-31"), ("9999-12-31", "9999-12-31"), ("0001-01-01", "0001-01-01")]
)
def test_events_at_the_ends_of_time_are_drawn(days):
    for index, day in enumerate(days):
        make_value(f"Value {index}", 1, timestamp=f"{day}T23:00:00Z")

    page = client_for_new_user().get("/subjects/user:bob")

    assert page.status_code == 200
    history = history_of("user:bob")
    assert history is not None
    chart = subject_chart.build_subject_chart(history, None)
    assert all(
        0 <= segment.x <= segment.x + segment.width <= chart.width for lane in chart.lanes for segment in lane.segments
    )


def test_a_life_takes_as_many_questions_however_long_it_is(django_assert_max_num_queries):
    for day in range(1, 20):
        make_value(f"Day {day}", day, collection=f"c{day % 3}")

    with django_assert_max_num_queries(12, connection=connection):
        history_of("user:bob")


def resolve_key(key: tuple[str, ...], *, reason: str, keep_id: Any, principal: Principal = STEWARD) -> Any:
    members = resolve.list_members(key, principal)
    evidence = compute_evidence((member.memory_id, member.version) for member in members)
    choice = Resolution(outcome="keep_one", keep=[keep_id.memory_id], reason=reason)
    return resolve.resolve(
        ResolutionRequest(key=key, evidence=evidence, resolution=choice), principal=principal
    ).decision_id


class TestDecisions:
    """What was decided about the conflicts of a subject."""

    def test_are_shown_with_what_became_of_the_values(self):
        make_value("Paris", 1)
        decision = resolve_key(("user:bob", "city"), reason="Asked <b>him</b>.", keep_id=make_value("London", 5))

        page = response_text(client_for_new_user().get("/subjects/user:bob"))

        assert f'/decisions/{decision}">kept one value</a>: 1 kept, 1 retired' in page
        assert "Asked &lt;b&gt;him&lt;/b&gt;." in page
        assert STEWARD.name in page
        assert page.count(f'id="decision-{decision}"') == page.count(f'href="#decision-{decision}"') == 1
        assert page.count("lane__tick--decision") == 1

    def test_are_shown_with_their_undo_and_as_they_were_known_then(self):
        make_value("Paris", 1)
        before = time_context.format_iso_instant(clock.stable_record_time())
        decision = resolve_key(("user:bob", "city"), reason="Asked him.", keep_id=make_value("London", 5))
        known_at = time_context.format_iso_instant(clock.stable_record_time())
        resolve.undo_decisions([decision], principal=STEWARD, reason="He was joking.")
        client = client_for_new_user()

        current_page = response_text(client.get("/subjects/user:bob"))
        assert all(phrase in current_page for phrase in ("Asked him.", "undone", "He was joking."))
        assert current_page.count("lane__tick--decision") == 2
        # That it was retired, and that it is active again.
        assert current_page.count(f'href="#decision-{decision}"') == 2
        page_at_known = response_text(client.get(f"/subjects/user:bob?known_at={known_at}"))
        assert "Asked him." in page_at_known
        assert "He was joking." not in page_at_known
        assert "Asked him." not in response_text(client.get(f"/subjects/user:bob?known_at={before}"))

    def test_of_one_namespace_are_shown_too(self):
        kept_memory = make_value("Paris", 1, namespace="work")
        make_value("London", 5, namespace="work")
        resolve_key(("user:bob", "city", "work"), reason="Asked at work.", keep_id=kept_memory)

        assert "Asked at work." in response_text(client_for_new_user().get("/subjects/user:bob"))

    def test_made_on_what_a_reader_may_not_see_are_not_there(self):
        kept_memory = make_value("Paris", 1)
        make_value("London", 2)
        make_value("Secret base", 3, tier="restricted")
        resolve_key(("user:bob", "city"), reason="Seen in the files.", keep_id=kept_memory)

        page = response_text(client_for_new_user("low", max_tier="internal").get("/subjects/user:bob"))

        assert "London" in page
        assert not [phrase for phrase in ("Seen in the files.", "decision-", "decided") if phrase in page]

    def test_show_no_secret_that_stands_in_a_reason(self):
        secret = "sk_live_51Hq7ZxK2eYtVb9RwTn4Mc8Dp"
        make_value("Paris", 1)
        resolve_key(("user:bob", "city"), reason=f"Looked with {secret}.", keep_id=make_value("London", 5))

        page = response_text(client_for_new_user().get("/subjects/user:bob"))

        assert "Looked with" in page
        assert secret not in page
