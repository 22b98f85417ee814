"""The page of one subject: what was said of it, from when to when, and what of that was believed at an instant."""

import html
import re
from typing import Any

import pytest
from django.db import connection
from django.http import QueryDict

from inspector import lanes, moment
from memoryhub.conflicts import decide
from memoryhub.conflicts.decide import Choice, Wish
from memoryhub.conflicts.keys import evidence_of
from memoryhub.firewall import wall
from memoryhub.firewall.types import Clearance, Principal, Scope, everything
from memoryhub.memories import clock, relabel
from memoryhub.memories.filters import MomentFilterSet
from memoryhub.memories.relabel import Change
from memoryhub.timetravel import life as lives
from memoryhub.timetravel.life import Life, life
from tests.builders import WRITER, at, make_memory
from tests.inspector.pages import signed_in, text

pytestmark = pytest.mark.django_db
STEWARD = Principal(name="user:steward", scopes=frozenset({Scope.READ, Scope.INSPECT}), clearance=everything())


def life_of(subject: str, query: str = "", *, held: Clearance | None = None) -> Life | None:
    held = held or everything()
    with wall.behind(held):
        return life(subject, MomentFilterSet(QueryDict(query), clearance=held))


def told(found: Life | None) -> list[tuple[Any, ...]]:
    """(collection, content, kind, from, until) of everything, in the order of a lane."""
    assert found is not None
    return [
        (key.collection, spell.record["content"], spell.kind, spell.start.day, spell.end and spell.end.day)
        for key in found.keys
        for spell in key.spells
    ]


def say(content: str, day: int, **fields: Any) -> Any:
    return make_memory(
        **{
            "subject": "user:bob",
            "collection": "city",
            "content": content,
            "timestamp": at(f"2026-03-{day:02d}"),
            **fields,
        }
    )


def test_a_value_holds_until_the_next_one_of_its_key():
    say("London", 5)
    say("Paris", 1)
    say("engineer", 3, collection="job")
    say("Rome", 2, subject="user:eve")

    assert told(life_of("user:bob")) == [
        ("city", "Paris", "believed", 1, 5),
        ("city", "London", "believed", 5, None),
        ("job", "engineer", "believed", 3, None),
    ]


def test_what_was_replaced_held_until_what_replaced_it():
    say("Paris", 1, payload_id="p")
    say("London", 4, payload_id="p")
    say("Rome", 6)

    assert told(life_of("user:bob")) == [
        ("city", "Paris", "replaced", 1, 4),
        ("city", "London", "believed", 4, 6),
        ("city", "Rome", "believed", 6, None),
    ]


def test_what_is_quarantined_stands_in_nobodys_way_and_what_expired_is_gone():
    say("Paris", 1)
    bad = say("Mars", 2)
    say("Oslo", 3, expires_at=at("2026-03-04").isoformat())
    say("London", 5)
    plan = relabel.plan_one(bad.memory_id, relabel.read({"status": "quarantined", "reason": "No."}, Change), by=WRITER)
    relabel.carry_out(plan, reason="No.", route="", request_id="")

    found = told(life_of("user:bob"))

    assert [(what, until) for _, what, kind, _, until in found if kind == "believed"] == [
        ("Paris", 5),
        ("London", None),
    ]
    assert sorted(kind for _, _, kind, _, _ in found) == ["believed", "believed", "expired", "quarantined", "replaced"]
    assert [(what, since, until) for _, what, kind, since, until in found if kind == "expired"] == [("Oslo", 3, 4)]


def test_a_value_is_believed_again_when_a_later_one_has_expired():
    say("Paris", 1)
    say("Oslo", 3, expires_at=at("2026-03-05").isoformat())
    say("Bergen", 4, expires_at=at("2026-03-06").isoformat())
    say("London", 8, expires_at="2999-01-01T00:00:00Z")

    whole = life_of("user:bob")
    assert whole is not None
    (key,) = whole.keys

    spans = {spell.record["content"]: [(a.day, b and b.day) for a, b in spell.spans] for spell in key.spells}
    assert spans == {"Paris": [(1, 3), (6, 8), (1, None)], "Oslo": [(3, 4)], "Bergen": [(4, 6)], "London": [(8, 1)]}
    for day in (1, 2, 3, 4, 5, 6, 7, 8, 9):
        found = life_of("user:bob", f"as_of=2026-03-{day:02d}")
        assert found is not None
        drawn = [
            spell.record["content"]
            for spell in key.spells
            if any(
                a <= at(f"2026-03-{day:02d}") and (b is None or at(f"2026-03-{day:02d}") < b) for a, b in spell.spans
            )
        ]
        assert [record["content"] for record in found.believed] == drawn, day


def badges(page: str) -> list[str]:
    """The words of the column that tells of each version's standing, from the latest event on."""
    return [
        re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r'data-label="Status">(.*?)</td>', page, re.DOTALL)
    ]


def test_only_the_value_of_a_key_wears_the_badge_of_what_is_believed():
    say("Paris", 1)
    say("London", 5)
    say("Rome", 7)
    say("engineer", 3, collection="job")
    client = signed_in()

    assert badges(text(client.get("/subjects/user:bob"))) == ["believed", "superseded", "believed", "superseded"]
    then = text(client.get("/subjects/user:bob?as_of=2026-03-05"))
    assert badges(then) == ["later", "believed", "believed", "superseded"]


def test_before_anything_was_known_a_subject_has_an_empty_page():
    before = moment.as_parameter(clock.settle())
    say("Paris", 1)
    say("Secret base", 1, tier="restricted", subject="user:eve")
    client = signed_in("low", max_tier="internal")

    known = client.get(f"/subjects/user:bob?known_at={before}")
    happened = client.get("/subjects/user:bob?as_of=2026-02-01")

    assert (known.status_code, happened.status_code) == (200, 200)
    assert "Nothing was known yet" in text(known)
    assert "Nothing was believed yet" in text(happened)
    assert client.get(f"/subjects/user:eve?known_at={before}").status_code == 404
    assert client.get(f"/subjects/nobody?known_at={before}").status_code == 404


def test_at_an_instant_of_record_time_nothing_later_is_known():
    say("Paris", 1, payload_id="p")
    then = moment.as_parameter(clock.settle())
    say("London", 2, payload_id="p")

    found = life_of("user:bob", f"known_at={then}")

    assert told(found) == [("city", "Paris", "believed", 1, None)]
    assert found is not None
    assert [record["content"] for record in found.believed] == ["Paris"]


def test_at_an_instant_of_event_time_the_later_part_is_drawn_and_not_believed():
    say("Paris", 1)
    say("London", 5)

    found = life_of("user:bob", "as_of=2026-03-04")

    assert found is not None
    assert [record["content"] for record in found.believed] == ["Paris"]
    assert len(told(found)) == 2


def test_what_is_believed_is_what_the_lanes_say_at_every_event():
    for number, day in enumerate((3, 1, 4, 1, 5, 9, 2, 6)):
        say(f"v{number}", day, collection=f"c{number % 2}", payload_id=f"p{number % 5}")
    whole = life_of("user:bob")
    assert whole is not None

    for event in whole.events:
        found = life_of("user:bob", f"as_of={moment.as_parameter(event)}")
        assert found is not None
        drawn = {
            (key.collection, spell.record["memory_id"])
            for key in whole.keys
            for spell in key.spells
            if spell.kind == "believed" and spell.start <= event and (spell.end is None or event < spell.end)
        }
        assert {(record["collection"], record["memory_id"]) for record in found.believed} == drawn


def test_a_hidden_version_leaves_no_gap():
    low = Clearance(max_tier="internal")
    say("Paris", 1, tier="public", payload_id="p")
    say("Secret base", 3, tier="restricted")
    say("London", 5, tier="public")
    seen = told(life_of("user:bob", held=low))

    assert seen == [("city", "Paris", "believed", 1, 5), ("city", "London", "believed", 5, None)]
    assert life_of("user:eve", held=low) is None


def test_a_memory_that_was_closed_is_gone_from_the_life_with_all_its_versions():
    low = Clearance(max_tier="internal")
    say("Paris", 1, tier="public", payload_id="p")
    then = moment.as_parameter(clock.settle())
    say("Paris", 1, tier="restricted", payload_id="p")

    assert life_of("user:bob", held=low) is None
    assert life_of("user:bob", f"known_at={then}", held=low) is None
    assert signed_in("low", max_tier="internal").get("/subjects/user:bob").status_code == 404


def test_a_long_life_is_cut_and_says_so(monkeypatch):
    monkeypatch.setattr(lives, "MOST_VERSIONS", 3)
    for day in range(1, 6):
        say(f"Day {day}", day)

    found = life_of("user:bob")

    assert found is not None
    assert found.has_more
    assert [content for _, content, *_ in told(found)] == ["Day 3", "Day 4", "Day 5"]
    assert "This page tells of the" in text(signed_in().get("/subjects/user:bob"))


def test_the_page_tells_and_draws_it_all():
    say("Paris", 1)
    say("London <script>alert(1)</script>", 5)
    say("engineer", 3, collection="job")

    page = text(signed_in().get("/subjects/user:bob"))

    assert page.count('class="lane"') == 2
    assert page.count('class="lane__believed"') == 3
    assert "<script>alert" not in page
    assert "3 events, all of them" in page
    assert "Believed now" in page
    assert 'style="' not in page


def test_steps_lead_from_event_to_event_and_to_the_end():
    client = signed_in()
    for day in (1, 3, 5):
        say(f"Day {day}", day)

    def follow(page: str, name: str) -> str:
        found = re.search(rf'href="([^"]*)" data-{name}', page)
        return html.unescape(found[1]) if found else ""

    url, seen = "/subjects/user:bob?list=limit%3D5", []
    while url:
        page = text(client.get(url))
        seen.append(page.split('class="believed"')[1].split("Day ")[1][0])
        url = follow(page, "previous")
    assert seen == ["5", "5", "3", "1"]

    forward = []
    for _ in range(3):
        url = follow(page, "following")
        page = text(client.get(url))
        forward.append(page.split('class="believed"')[1].split("Day ")[1][0])
    assert forward == ["3", "5", "5"]
    assert url == "/subjects/user:bob?list=limit%3D5"


@pytest.mark.parametrize(
    "subject",
    ["user:bob", "Ünï cødé/with/slashes", "a?b#c%d&e=f", "\u202eevil", "a\\b", "x" * 200, " space ", "<b>&'\""],
)
def test_whatever_a_subject_is_called_its_links_lead_to_its_page(subject):
    client = signed_in()
    say("Paris", 1, subject=subject)

    (found,) = re.findall(r'row__life" href="([^"]*)"', text(client.get("/")))
    url = html.unescape(found)

    assert client.get(url).status_code == 200
    assert "Paris" in text(client.get(url))


def test_nobody_has_no_page():
    client = signed_in()
    make_memory(subject="")

    assert client.get("/subjects/nobody").status_code == 404
    assert client.get("/subjects/a%00b").status_code == 404
    assert client.get("/subjects/user:bob?x=1").status_code == 400
    assert client.get("/subjects/user:bob?as_of=x").status_code == 400


@pytest.mark.parametrize(
    "days", [("0001-01-01", "9999-12-31"), ("9999-12-31", "9999-12-31"), ("0001-01-01", "0001-01-01")]
)
def test_events_at_the_ends_of_time_are_drawn(days):
    for number, day in enumerate(days):
        say(f"Value {number}", 1, timestamp=f"{day}T23:00:00Z")

    page = signed_in().get("/subjects/user:bob")

    assert page.status_code == 200
    found = life_of("user:bob")
    assert found is not None
    drawn = lanes.draw(found, None)
    assert all(
        0 <= segment.x <= segment.x + segment.width <= drawn.width for lane in drawn.lanes for segment in lane.segments
    )


def test_a_life_takes_as_many_questions_however_long_it_is(django_assert_max_num_queries):
    for day in range(1, 20):
        say(f"Day {day}", day, collection=f"c{day % 3}")

    with django_assert_max_num_queries(12, connection=connection):
        life_of("user:bob")


def settle(key: tuple[str, ...], *, reason: str, keep: Any, by: Principal = STEWARD) -> Any:
    found = decide.members(key, by)
    evidence = evidence_of((member.memory_id, member.version) for member in found)
    choice = Choice(outcome="keep_one", keep=[keep.memory_id], reason=reason)
    return decide.decide(Wish(key=key, evidence=evidence, choice=choice), by=by).decision_id


class TestDecisions:
    """What was decided about the conflicts of a subject."""

    def test_are_told_with_what_became_of_the_values(self):
        say("Paris", 1)
        decision = settle(("user:bob", "city"), reason="Asked <b>him</b>.", keep=say("London", 5))

        page = text(signed_in().get("/subjects/user:bob"))

        assert f'/decisions/{decision}">kept one value</a>: 1 kept, 1 retired' in page
        assert "Asked &lt;b&gt;him&lt;/b&gt;." in page
        assert STEWARD.name in page
        assert page.count(f'id="decision-{decision}"') == page.count(f'href="#decision-{decision}"') == 1
        assert page.count("lane__tick--decided") == 1

    def test_are_told_with_their_undo_and_as_they_were_known_then(self):
        say("Paris", 1)
        before = moment.as_parameter(clock.settle())
        decision = settle(("user:bob", "city"), reason="Asked him.", keep=say("London", 5))
        then = moment.as_parameter(clock.settle())
        decide.undo([decision], by=STEWARD, reason="He was joking.")
        client = signed_in()

        now = text(client.get("/subjects/user:bob"))
        assert all(words in now for words in ("Asked him.", "undone", "He was joking."))
        assert now.count("lane__tick--decided") == 2
        # That it was retired, and that it is in force again.
        assert now.count(f'href="#decision-{decision}"') == 2
        as_known = text(client.get(f"/subjects/user:bob?known_at={then}"))
        assert "Asked him." in as_known
        assert "He was joking." not in as_known
        assert "Asked him." not in text(client.get(f"/subjects/user:bob?known_at={before}"))

    def test_of_one_namespace_are_told_too(self):
        kept = say("Paris", 1, namespace="work")
        say("London", 5, namespace="work")
        settle(("user:bob", "city", "work"), reason="Asked at work.", keep=kept)

        assert "Asked at work." in text(signed_in().get("/subjects/user:bob"))

    def test_made_on_what_a_reader_may_not_see_are_not_there(self):
        kept = say("Paris", 1)
        say("London", 2)
        say("Secret base", 3, tier="restricted")
        settle(("user:bob", "city"), reason="Seen in the files.", keep=kept)

        page = text(signed_in("low", max_tier="internal").get("/subjects/user:bob"))

        assert "London" in page
        assert not [words for words in ("Seen in the files.", "decision-", "decided") if words in page]

    def test_show_no_secret_that_stands_in_a_reason(self):
        secret = "sk_live_51Hq7ZxK2eYtVb9RwTn4Mc8Dp"
        say("Paris", 1)
        settle(("user:bob", "city"), reason=f"Looked with {secret}.", keep=say("London", 5))

        page = text(signed_in().get("/subjects/user:bob"))

        assert "Looked with" in page
        assert secret not in page
