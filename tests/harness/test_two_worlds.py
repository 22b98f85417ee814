"""A caller cannot tell whether hidden rows exist: every door, asked in a world with them and in one without.

A door is one line in DOORS. A route of the URL conf that is neither a door nor in NOT_DOORS fails a test.
"""

import html
import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine
from django.urls import URLPattern, URLResolver, get_resolver
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.api import views
from memoryhub.api.problems import Problem
from memoryhub.memories import pages
from memoryhub.memories.envelope import Draft
from memoryhub.memories.models import Memory
from tests.builders import at
from tests.harness.databases import as_keeper
from tests.harness.generated import examples, planted
from tests.harness.worlds import LOW, Answer, Step, Worlds, dealt, two_worlds

pytestmark = pytest.mark.soak

NOW = at("2026-03-10 12:00")
DAYS = ("2026-03-01T06:00:00Z", "2026-03-01T18:00:00Z", "2026-03-02T00:00:00Z", "2026-03-05T09:00:00Z")
# Values that occur on hidden rows alone, so that their very existence would tell.
ONLY_HIDDEN: dict[str, tuple[str, ...]] = {
    "source": ("hidden-source",),
    "subject": ("hidden-subject",),
    "collection": ("hidden-collection",),
    "content": ("Hidden canary.", "Paris hidden canary"),
    "timestamp": ("0001-01-01T00:00:00Z", "1999-12-31T00:00:00Z", "2026-03-03T12:00:00Z", "9999-12-31T23:59:59Z"),
    "actor_type": ("system",),
    "actor_id": ("hidden-actor",),
    "kind": ("checkpoint",),
    "model": ("hidden-model",),
}
SHARED: dict[str, tuple[str | None, ...]] = {
    "source": ("crm", "mail"),
    "subject": ("user:ada", "user:bob"),
    "collection": ("city", ""),
    "content": ("Paris", "London", "paris, in other words"),
    "timestamp": DAYS,
    "actor_type": ("agent", "user"),
    "actor_id": ("a-1", ""),
    "kind": ("fact", "summary"),
    "model": ("", "m-1"),
    "expires_at": (None, None, None, "2001-01-01T00:00:00Z", "9999-01-01T00:00:00Z"),
}
OPEN = {"tier": ("", "public", "internal"), "namespace": ("", "team"), "labels": ([], ["eu"], ["EU", "hr"])}
# Each of these hides a row by itself: by tier, unknown tier, label in whatever spelling, namespace.
HIDING: tuple[dict[str, Any], ...] = (
    {"tier": "confidential"},
    {"tier": "restricted"},
    {"tier": "top-secret"},
    {"labels": ["pii"]},
    {"labels": ["eu", "PII", "hidden-label"]},
    {"namespace": "hidden-namespace"},
    {"namespace": "Team"},
)


def low_rows() -> st.SearchStrategy[Draft]:
    values = {name: st.sampled_from(choices) for name, choices in (SHARED | OPEN).items()}
    names = st.sampled_from([f"p-{number}" for number in range(12)])
    return st.fixed_dictionaries({"payload_id": names, **values}).map(lambda fields: planted(**fields))


def hidden_rows() -> st.SearchStrategy[Draft]:
    """Rows like the low ones, with values of their own, the same payload ids under other sources, other contents."""
    values = {
        name: st.sampled_from((*choices, *ONLY_HIDDEN.get(name, ()))) for name, choices in (SHARED | OPEN).items()
    }
    # The source is another one: under a writer's own identity the versions are its own history, hidden or not.
    values["source"] = st.sampled_from(("hidden-source", "other-source"))
    names = st.sampled_from([f"p-{number}" for number in range(12)])
    rows = st.fixed_dictionaries({"payload_id": names, **values})
    return st.builds(lambda row, why: planted(**{**row, **why}), rows, st.sampled_from(HIDING))


def stories() -> st.SearchStrategy[list[Step]]:
    """Low and hidden writes in one order: one to one, many to one, before, between and after."""
    low = st.lists(low_rows(), min_size=1, max_size=3).map(lambda drafts: Step(drafts=drafts))
    hidden = st.lists(hidden_rows(), min_size=1, max_size=8).map(lambda drafts: Step(drafts=drafts, is_hidden=True))
    alternating = st.lists(st.tuples(hidden, low), max_size=5).map(
        lambda pairs: [step for pair in pairs for step in pair]
    )
    return st.builds(lambda steps, more: [*steps, *more], alternating, st.lists(st.one_of(low, hidden), max_size=5))


def queries() -> st.SearchStrategy[str]:
    """Query strings over values that are shared and values that only hidden rows have."""
    names = {
        **{name: (*SHARED[name], *ONLY_HIDDEN[name]) for name in ("source", "subject", "collection", "actor_type")},
        "kind": ("fact", "checkpoint"),
        "namespace": ("team", "hidden-namespace", "Team"),
        "label": ("eu", "pii", "hidden-label"),
        "tier": ("public", "internal", "restricted"),
        "actor_id": ("a-1", "hidden-actor"),
        "payload_id": ("p-1", "p-2"),
        "q": ("paris", "canary", "a", "LONDON"),
        "from": ("2026-03-01", "2026-03-01T12:00:00Z", "0001-01-01"),
        "to": ("2026-03-06", "9999-12-31", "2026-03-03T06:00:00Z"),
        "status": ("active", "retired"),
    }
    one = st.one_of(*(st.tuples(st.just(n), st.sampled_from([v for v in vs if v])) for n, vs in names.items()))
    return st.lists(one, max_size=2, unique_by=lambda pair: pair[0]).map(urlencode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one example asks at every door."""

    query: str
    visible: list[uuid.UUID]
    hidden: list[uuid.UUID]


Paths = Callable[[Asked], list[str]]


def plain(path: str) -> Paths:
    return lambda _: [path]


def filtered(path: str) -> Paths:
    return lambda asked: sorted({path, f"{path}?{asked.query}".rstrip("?")})


def listed(path: str, limit: int) -> Paths:
    """The first page, filtered or (where the query is empty) whole; the pages after it are walked by their cursors."""
    return lambda asked: [f"{path}?limit={limit}&{asked.query}".rstrip("&")]


def of_a_memory(path: str) -> Paths:
    # A hidden one exists in one world alone: there hidden, here missing, and the answers must be the same bytes.
    return lambda asked: [path.format(memory_id) for memory_id in (*asked.visible, *asked.hidden)]


# Who asks ("key" or "person"), and which paths; by the name of the route.
DOORS: list[tuple[str, str, Paths]] = [
    ("api:memories", "key", listed("/api/memories", 2)),
    ("api:memories", "key", plain("/api/memories")),
    ("api:memory", "key", of_a_memory("/api/memories/{}")),
    ("api:memory-versions", "key", of_a_memory("/api/memories/{}/versions")),
    ("api:facets", "key", filtered("/api/facets")),
    ("api:histogram", "key", filtered("/api/histogram")),
    ("api:status", "key", plain("/api/status")),
    ("inspector:memories", "person", listed("/", 4)),
    ("inspector:memory", "person", of_a_memory("/memories/{}")),
]
# Asked in a few examples, because they cost much and no filter reaches them.
RARE: list[tuple[str, str, Paths]] = [
    ("inspector:memories-list", "person", filtered("/memories")),
    ("admin:memories_memory_changelist", "person", plain("/admin/memories/memory/")),
    ("api:schema", "key", plain("/api/schema")),
    ("docs", "person", plain("/api/docs")),
    ("inspector:help", "person", plain("/help")),
    ("inspector:sign-in", "person", plain("/sign-in")),
    ("ready", "person", plain("/ready")),
    ("", "key", plain("/api/nowhere")),
    ("admin:index", "person", plain("/admin/")),
    ("admin:app_list", "person", plain("/admin/memories/")),
]
# Routes that answer nothing about memories, each with the reason.
NOT_DOORS = {
    "inspector:sign-out": "only POST, ends the session",
    "inspector:theme": "only POST, sets a cookie",
}


def routes(resolver: URLResolver, space: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, f"{pattern.namespace}:" if pattern.namespace else space)
        elif isinstance(pattern, URLPattern):
            yield f"{space}{pattern.name}" if pattern.name else ""


def test_every_route_is_a_door_or_has_a_reason_not_to_be():
    known = {name for name, _, _ in [*DOORS, *RARE]} | NOT_DOORS.keys()
    # Django's admin has five routes for each of its other tables, none of which knows memories.
    others = re.compile(r"admin:((?!memories_)\w+_(add|change|changelist|delete|history)|(?!memories_)\w+)$")

    found = set(routes(get_resolver()))
    assert (
        found - known - {name for name in found if others.match(name) and not name.startswith("admin:memories")}
        == set()
    )
    assert {name for name, _, _ in [*DOORS, *RARE]} <= found, "a door that is no route any more"


@pytest.fixture(scope="module")
def worlds(django_db_blocker) -> Iterator[Worlds]:
    with django_db_blocker.unblock(), time_machine.travel(NOW, tick=False), two_worlds() as made:
        yield made


def answers(worlds: Worlds, asked: Asked, doors: list[tuple[str, str, Paths]]) -> dict[str, Answer]:
    """The answer at every path, and at every page that an answer leads to."""
    told: dict[str, Answer] = {}
    for route, who, paths in doors:
        caller = worlds.key if who == "key" else worlds.person
        for path in paths(asked):
            following: str | None = path
            for _ in range(40):
                if following is None:
                    break
                told[f"{route} {following}"] = answer = caller.get(following)
                following = _next_page(path, answer)
            else:
                raise AssertionError(f"{path} has no end")
    return told


def _next_page(path: str, answer: Answer) -> str | None:
    if "limit=" not in path or answer.status != 200:
        return None
    if answer.body.startswith(b"{"):
        cursor = json.loads(answer.body)["next_cursor"]
        return f"{path}&{urlencode({'cursor': cursor})}" if cursor else None
    older = re.search(rb'<a [^>]*id="older"[^>]*>', answer.body)
    address = older and re.search(rb'href="([^"]+)"', older[0])
    return html.unescape(address[1].decode()) if address else None


def compare(
    worlds: Worlds,
    steps: list[Step],
    query: str,
    doors: list[tuple[str, str, Paths]] = DOORS,
    *,
    second_wall: bool = True,
) -> int:
    """Ask every door in both worlds; the number of rows that one world had and the other had not."""
    with worlds.inside(worlds.with_hidden, steps, second_wall=second_wall):
        with as_keeper():
            rows = list(Memory.objects.current())
        hidden = [row.memory_id for row in rows if not LOW.permits(row)]
        visible = [row.memory_id for row in rows if LOW.permits(row)]
        asked = Asked(query=query, visible=visible[:1], hidden=hidden[:1])
        here = answers(worlds, asked, doors)
    with worlds.inside(worlds.without, steps, second_wall=second_wall):
        there = answers(worlds, asked, doors)

    assert here.keys() == there.keys()
    for path, answer in there.items():
        assert here[path] == answer, path
        assert answer.status < 500, path
    return len(hidden)


@pytest.mark.parametrize("second_wall", [True, False], ids=["both walls", "the first wall alone"])
def test_hidden_rows_change_nothing_that_a_low_caller_sees(worlds, second_wall):
    met: list[int] = []

    @given(steps=stories(), query=queries())
    @examples(100)
    def alike(steps: list[Step], query: str) -> None:
        met.append(compare(worlds, steps, query, second_wall=second_wall))

    alike()
    assert sum(number > 0 for number in met) > len(met) // 3, "most examples do have hidden rows"


STORY = [
    Step(drafts=[planted(payload_id="p-1", content="Paris", namespace="team", timestamp=DAYS[0])]),
    Step(
        drafts=[
            planted(payload_id=f"p-{number}", source="hidden-source", content="Hidden canary.", **why)
            for number, why in enumerate(HIDING * 20)
        ],
        is_hidden=True,
    ),
    Step(drafts=[planted(payload_id="p-2", content="London", labels=["eu"], timestamp=DAYS[2])]),
]


def test_a_hundred_hidden_rows_between_two_change_nothing_at_any_door(worlds):
    assert compare(worlds, STORY, "q=canary", [*DOORS, *RARE]) > 100


def test_the_doors_do_answer(worlds):
    """Two worlds that answer nothing would be equal as well."""
    with worlds.inside(worlds.with_hidden, STORY):
        with as_keeper():
            visible = [row.memory_id for row in Memory.objects.visible_to(LOW)]
        told = answers(worlds, Asked(query="", visible=visible, hidden=[]), [*DOORS, *RARE])

    assert len(visible) == 2
    for route, _, _ in [*DOORS, *RARE]:
        statuses = {answer.status for path, answer in told.items() if path.startswith(f"{route} ")}
        expected = {"": {404}, "inspector:sign-in": {302}}
        assert statuses == expected.get(route, {200}), route
    assert b"London" in told["inspector:memories /?limit=4"].body
    assert json.loads(told["api:status /api/status"].body)["memories_total"] == 2


def test_a_relabelled_memory_is_gone_as_if_it_had_never_been(worlds):
    """FW-13: what was low and is high now. The world without it never had it at all."""
    low = planted(payload_id="p-9", source="other", content="Then low.", timestamp=DAYS[1])
    high = planted(payload_id="p-9", source="other", content="Now high.", timestamp=DAYS[1], tier="restricted")
    for then in (high, replace(high, classification_tier="public", label_keys=("pii",))):
        labels = ["pii"] if then.label_keys else []
        envelope = then.envelope.model_copy(update={"sensitivity_labels": labels})
        after = replace(then, envelope=envelope)
        # status.writes_total counts what was ever written, the low version too.
        doors = [door for door in DOORS if door[0] != "api:status"]
        steps = [STORY[0], Step(drafts=[low], is_hidden=True), Step(drafts=[after], is_hidden=True), STORY[2]]
        assert compare(worlds, steps, "source=other", doors) == 1


def test_an_etag_from_one_world_is_fresh_in_the_other(worlds):
    """FW-15: hidden rows come and go, and what a caller keeps stays current."""
    with worlds.inside(worlds.without, STORY):
        first = worlds.key.get("/api/memories")
    tag = dict(first.headers)["ETag"]
    with worlds.inside(worlds.with_hidden, STORY):
        again = worlds.key.get("/api/memories", **{"If-None-Match": tag})

    assert (again.status, again.body) == (304, b"")


def test_a_write_under_the_id_and_with_the_content_of_a_hidden_memory_is_answered_as_if_there_were_none(worlds):
    """FW-09: the identity of a write is its own source's, so nothing that others wrote can answer for it."""
    body = {"payload_id": "p-3", "content": "Hidden canary.", "classification_tier": "internal"}
    bodies = [body, body, {**body, "content": "Other."}]
    told = []
    for place in (worlds.without, worlds.with_hidden):
        with worlds.inside(place, STORY), dealt("a writer"):
            told.append([worlds.key.post("/api/memories", sent) for sent in bodies])

    assert told[0] == told[1]
    assert [answer.status for answer in told[0]] == [201, 200, 409]


def test_a_door_that_counts_without_the_firewall_is_caught(worlds, monkeypatch):
    monkeypatch.setattr(views, "status", lambda _: {"memories_total": Memory.objects.count()})

    with pytest.raises(AssertionError, match="api:status"):
        compare(worlds, STORY, "", second_wall=False)


def test_a_door_that_pages_before_it_looks_is_caught(worlds, monkeypatch):
    """The classic: LIMIT first, the firewall afterwards."""

    def page(filters: Any, **_: Any) -> Any:
        newest = Memory.objects.order_by("-timestamp", "-memory_id")[:5]
        return pages.Page(
            records=[{"memory_id": row.memory_id} for row in newest if LOW.permits(row)], next_cursor=None
        )

    monkeypatch.setattr(pages, "page", page)

    with pytest.raises(AssertionError, match="api:memories"):
        compare(worlds, STORY, "", [door for door in DOORS if door[0] == "api:memories"], second_wall=False)


def test_a_missing_memory_that_differs_from_a_hidden_one_is_caught(worlds, monkeypatch):
    def get(_view: Any, _request: Any, memory_id: uuid.UUID) -> Any:
        raise Problem(403 if Memory.objects.filter(memory_id=memory_id).exists() else 404, "no", "No.")

    monkeypatch.setattr(views.MemoryView, "get", get)

    with pytest.raises(AssertionError, match="api:memory"):
        compare(worlds, STORY, "", [door for door in DOORS if door[0] == "api:memory"], second_wall=False)
