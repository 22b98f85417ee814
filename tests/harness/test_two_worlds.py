"""A caller cannot tell whether hidden rows exist: every door, asked in a world with them and in one without.

A door is one line in DOORS. A route of the URL conf that is neither a door nor in NOT_DOORS fails a test.
"""

import html
import itertools
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import DatabaseError, transaction
from django.db.models import Q
from django.http import QueryDict
from django.urls import URLPattern, URLResolver, get_resolver
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from memoryhub.api import views
from memoryhub.api.problems import Problem
from memoryhub.firewall import keys
from memoryhub.firewall.models import ApiKey, ClearanceRecord
from memoryhub.firewall.types import Principal, Scope, everything
from memoryhub.memories import pages, querysets, relabel
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.ingest import OnConflict
from memoryhub.memories.models import Memory
from memoryhub.ops import reads
from memoryhub.ops.exporting import export_lines
from tests.builders import at, store
from tests.harness.databases import as_keeper
from tests.harness.generated import examples, planted
from tests.harness.worlds import LOW, Answer, Stay, Step, Worlds, dealt, two_worlds
from tests.memories.rows import execute

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
SHARED: dict[str, tuple[Any, ...]] = {
    "source": ("crm", "mail"),
    "subject": ("user:ada", "user:bob"),
    "collection": ("city", ""),
    "content": ("Paris", "London", "paris, in other words"),
    "timestamp": DAYS,
    "actor_type": ("agent", "user"),
    "actor_id": ("a-1", ""),
    "kind": ("fact", "summary"),
    "model": ("", "m-1"),
    "expires_at": (None, "2001-01-01T00:00:00Z", "9999-01-01T00:00:00Z"),
    "tier": ("", "public", "internal"),
    "namespace": ("", "team"),
    "labels": ([], ["eu"], ["EU", "hr"]),
}
ALWAYS = ("payload_id", "source", "content", "timestamp")
# Few, so that the same one is written again, under the same source and under others.
PAYLOADS = ("p-1", "p-2", "p-3", "p-4")
Fields = dict[str, Any]
# For good, or for a time: those are in no tally.
LASTING: tuple[Fields, ...] = ({}, {"expires_at": "9999-01-01T00:00:00Z"})
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


def rows(**values: tuple[Any, ...]) -> st.SearchStrategy[Fields]:
    """The fields of one memory; of those that need not be given, some."""
    chosen = {name: st.sampled_from(choices) for name, choices in ({"payload_id": PAYLOADS} | values).items()}
    given = {name: chosen.pop(name) for name in ALWAYS if name in chosen}
    return st.fixed_dictionaries(given, optional=chosen)


def seen_rows() -> st.SearchStrategy[Fields]:
    return rows(**SHARED)


def hidden_rows() -> st.SearchStrategy[Fields]:
    """Rows like the low ones, with values of their own, the same payload ids under other sources, other contents."""
    values = {name: (*choices, *ONLY_HIDDEN.get(name, ())) for name, choices in SHARED.items()}
    # The source is another one: under a writer's own identity the versions are its own history, hidden or not.
    values["source"] = ("hidden-source", "other-source")
    return st.builds(lambda row, why: row | why, rows(**values), st.sampled_from(HIDING))


def envelopes() -> st.SearchStrategy[Fields]:
    """What the low key sends: as itself, now and then as others, or something that it may not see itself."""
    values = {name: choices for name, choices in SHARED.items() if name not in ("source", "tier", "labels")}
    return rows(
        **(values | {"content": ("Paris", *ONLY_HIDDEN["content"])}),
        sensitivity_labels=(*SHARED["labels"], ["pii"]),
        classification_tier=("public", "internal", "confidential", "no such tier"),
    )


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


@dataclass(frozen=True, slots=True)
class Door:
    """A route, who asks there ("key" or "person"), and which paths; with a body it is posted."""

    route: str
    who: str
    paths: Paths
    post: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return f"{'GET' if self.post is None else 'POST'} {self.route}"


NAMES = ("low", "high")
DOORS = [
    Door("api:memories", "key", listed("/api/memories", 2)),
    Door("api:memories", "key", plain("/api/memories")),
    Door("api:memory", "key", of_a_memory("/api/memories/{}")),
    Door("api:memory-versions", "key", of_a_memory("/api/memories/{}/versions")),
    Door("api:facets", "key", filtered("/api/facets")),
    Door("api:histogram", "key", filtered("/api/histogram")),
    Door("api:status", "key", plain("/api/status")),
    Door("inspector:memories", "person", listed("/", 4)),
    Door("inspector:memory", "person", of_a_memory("/memories/{}")),
    Door("inspector:memory-reveal", "person", of_a_memory("/memories/{}/reveal"), {}),
    Door("api:ledger", "key", plain("/api/ledger")),
    Door("inspector:ledger", "person", plain("/ledger")),
    Door("inspector:ledger", "person", of_a_memory("/ledger?memory={}")),
    Door("inspector:ledger-principal", "person", lambda _: [f"/ledger/principals/user:{name}" for name in NAMES]),
    Door("inspector:labels", "person", lambda asked: [f"/labels?set_status=quarantined&{asked.query}".rstrip("&")]),
    Door("api:memory-labels", "person", of_a_memory("/api/memories/{}/labels"), {"add_labels": ["seen"], "version": 1}),
    # The second version is what the door before this one made.
    Door("inspector:memory-labels", "person", of_a_memory("/memories/{}/labels"), {"add_labels": "x", "version": "2"}),
    Door("api:labels", "person", plain("/api/memories/labels"), {"filter": {}, "add_labels": ["x"], "dry_run": True}),
]
# Asked in a few examples, because they cost much and no filter reaches them.
RARE = [
    Door("inspector:memories-list", "person", filtered("/memories")),
    Door("api:schema", "key", plain("/api/schema")),
    Door("docs", "person", plain("/api/docs")),
    Door("inspector:help", "person", plain("/help")),
    Door("inspector:view-as", "person", plain("/view-as")),
    Door("inspector:sign-in", "person", plain("/sign-in")),
    Door("ready", "person", plain("/ready")),
    Door("", "key", plain("/api/nowhere")),
    Door("admin:index", "person", plain("/admin/")),
    Door("admin:app_list", "person", plain("/admin/firewall/")),
]
# Routes that answer nothing about memories, each with the reason.
NOT_DOORS = {
    "inspector:sign-out": "only POST, ends the session",
    "inspector:theme": "only POST, sets a cookie",
    "inspector:view-as-stop": "only POST, ends looking as somebody else",
    "inspector:labels-undo": "only POST, takes back what the same person did (test_relabel.py: TestUndo)",
}


def routes(resolver: URLResolver, space: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, f"{pattern.namespace}:" if pattern.namespace else space)
        elif isinstance(pattern, URLPattern):
            yield f"{space}{pattern.name}" if pattern.name else ""


def test_every_route_is_a_door_or_has_a_reason_not_to_be():
    known = {door.route for door in [*DOORS, *RARE]} | NOT_DOORS.keys()
    # Django's admin has five routes for each of its other tables, none of which knows memories.
    others = re.compile(r"admin:((?!memories_)\w+_(add|change|changelist|delete|history)|(?!memories_)\w+)$")

    found = set(routes(get_resolver()))
    assert (
        found - known - {name for name in found if others.match(name) and not name.startswith("admin:memories")}
        == set()
    )
    assert {door.route for door in [*DOORS, *RARE]} <= found, "a door that is no route any more"


WALLS = {"both walls": (True, True), "the first wall alone": (True, False), "the second wall alone": (False, True)}


@pytest.fixture(params=WALLS)
def second_wall(request, monkeypatch) -> bool:
    """Whether the second wall stands; where the first one shall not, it is taken out."""
    has_first, has_second = WALLS[request.param]
    if not has_first:
        monkeypatch.setattr(querysets, "visible", lambda _: Q())
    return has_second


@pytest.fixture(scope="module")
def worlds(django_db_blocker) -> Iterator[Worlds]:
    with django_db_blocker.unblock(), time_machine.travel(NOW, tick=False), two_worlds() as made:
        yield made


def answers(worlds: Worlds, asked: Asked, doors: list[Door]) -> dict[str, Answer]:
    """The answer at every path, and at every page that an answer leads to."""
    told: dict[str, Answer] = {}
    for door in doors:
        caller = getattr(worlds, door.who)
        for path in door.paths(asked):
            following: str | None = path
            for _ in range(40):
                if following is None:
                    break
                told[f"{door.route} {following}"] = answer = caller.ask(following, door.post)
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
    doors: list[Door] = DOORS,
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


HIGH = Principal(name="user:high", clearance=everything(), scopes=frozenset(Scope))
# What may become of a hidden memory so that it stays hidden.
CHANGES: tuple[Fields, ...] = (
    {"classification_tier": "restricted"},
    {"classification_tier": "confidential", "add_labels": ["hr"]},
    {"classification_tier": "public", "add_labels": ["pii"]},
    {"status": "quarantined"},
    {"status": "active", "add_labels": ["hidden-label"]},
)
READS_OF_THE_HIGH = (
    "/api/memories/{}",
    "/api/memories/{}/versions",
    "/api/memories?limit=50&q=canary",
    "/api/facets",
    "/api/memories?cursor=forged",
)


def _reclassify(memory_id: uuid.UUID, change: Fields) -> None:
    plan = relabel.plan_one(memory_id, relabel.read(change, relabel.Change), by=HIGH)
    relabel.carry_out(plan, reason="Looked at.")


def _as_keeper(statement: str) -> None:
    with as_keeper():
        execute(statement)


def _fail() -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        execute("SELECT 1 / (SELECT 0 FROM memories LIMIT 1), no_such_column FROM memories")


# What goes on in a hub besides: none of it may shine through.
DEEDS: dict[str, Callable[[], Any]] = {
    "reads go into the ledger": reads.flush,
    "indexes are made anew": partial(_as_keeper, "REINDEX TABLE memories"),
    "the planner learns": partial(_as_keeper, "ANALYZE memories; ANALYZE memory_counts; ANALYZE memory_totals"),
    "a statement fails": _fail,
    "a key is made": lambda: ApiKey.objects.create(User.objects.get(), name=f"{uuid.uuid4()}", scopes=["read"]),
    "a key is rotated": lambda: keys.rotate(ApiKey.objects.get(name="high"), by=HIGH),
    "a clearance is made": lambda: ClearanceRecord.objects.create(name=f"{uuid.uuid4()}", max_tier="confidential"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A question of the low caller, what leads on from its answer, and under which tag it is kept."""

    door: Door
    path: str
    following: str | None
    tag: str


class TwoWorlds(RuleBasedStateMachine):
    """Low steps are taken in both worlds, and their answers are the same; high steps are taken in one."""

    known = Bundle("known")
    sent = Bundle("sent")

    def __init__(self, worlds: Worlds, *, second_wall: bool, met: list[int]) -> None:
        super().__init__()
        self.worlds = worlds
        self.met = met
        self.number = 0
        self.seen: list[uuid.UUID] = []
        self.hidden: list[uuid.UUID] = []
        self.without = Stay(worlds.without, second_wall=second_wall)
        self.with_hidden = Stay(worlds.with_hidden, second_wall=second_wall)

    def teardown(self) -> None:
        self.met.append(len(self.hidden))
        self.with_hidden.end()
        self.without.end()

    @initialize(seen=st.lists(seen_rows(), max_size=4), hidden=st.lists(hidden_rows(), max_size=6))
    def begin(self, seen: list[Fields], hidden: list[Fields]) -> None:
        self.others_write(seen)
        self.hide(hidden)

    @rule(rows=st.lists(seen_rows(), min_size=1, max_size=2))
    def others_write(self, rows: list[Fields]) -> None:
        self.number += 1
        for stay in (self.with_hidden, self.without):
            with stay.step(self.number):
                told = _store(rows)
        self._remember(self.seen, told)

    @rule(rows=st.lists(hidden_rows(), min_size=1, max_size=3))
    def hide(self, rows: list[Fields]) -> None:
        with self._high():
            self._remember(self.hidden, _store(rows))

    @precondition(lambda self: self.hidden)
    @rule(place=st.integers(0, 5), change=st.sampled_from(CHANGES))
    def reclassify(self, place: int, change: Fields) -> None:
        with self._high():
            _reclassify(_one(self.hidden, place), change)

    @precondition(lambda self: self.seen)
    @rule(place=st.integers(0, 5))
    def close_for_low(self, place: int) -> None:
        """In both worlds: from now on each has a hidden memory that low has seen."""
        self.number += 1
        chosen = _one(self.seen, place)
        for stay in (self.with_hidden, self.without):
            with stay.step(self.number):
                _reclassify(chosen, {"classification_tier": "restricted"})

    @precondition(lambda self: self.hidden)
    @rule(path=st.sampled_from(READS_OF_THE_HIGH), place=st.integers(0, 5))
    def read_above(self, path: str, place: int) -> None:
        with self._high():
            assert self.worlds.high.get(path.format(_one(self.hidden, place))).status < 500

    @rule(deed=st.sampled_from(sorted(DEEDS)))
    def elsewhere(self, deed: str) -> None:
        with self._high():
            DEEDS[deed]()

    @rule(target=known, query=queries(), place=st.integers(0, 5), third=st.integers(0, 2))
    def ask(self, query: str, place: int, third: int) -> MultipleResults[Known]:
        """At every third door: one by one, hypothesis would knock at some again and again, and at others never."""
        visible, hidden = ([_one(known, place)] if known else [] for known in (self.seen, self.hidden))
        asked = Asked(query=query, visible=visible, hidden=hidden)
        return multiple(*(self._ask(door, path) for door in DOORS[third::3] for path in door.paths(asked)))

    @rule(target=known, earlier=known)
    def page_on(self, earlier: Known) -> Known:
        return self._ask(earlier.door, earlier.following or earlier.path)

    @rule(earlier=known)
    def ask_whether_it_changed(self, earlier: Known) -> None:
        self._ask(earlier.door, earlier.path, {"If-None-Match": earlier.tag})

    @rule(target=sent, envelope=st.one_of(envelopes(), sent), query=st.sampled_from(("", "?on_conflict=update")))
    def write(self, envelope: Fields, query: str) -> Fields:
        answer = self._both("key", f"/api/memories{query}", envelope)
        if answer.status == 201:
            self.seen.append(uuid.UUID(json.loads(answer.body)["memory_id"]))
        return envelope

    @contextmanager
    def _high(self) -> Iterator[None]:
        self.number += 1
        with self.with_hidden.step(self.number):
            yield

    def _ask(self, door: Door, path: str, headers: Mapping[str, str] | None = None) -> Known:
        answer = self._both(door.who, path, door.post, headers)
        tag = dict(answer.headers).get("ETag", "")
        return Known(door=door, path=path, following=_next_page(path, answer), tag=tag)

    def _both(self, who: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """What both worlds answer."""
        self.number += 1
        told: list[Answer] = []
        for stay in (self.with_hidden, self.without):
            with stay.step(self.number):
                told.append(getattr(self.worlds, who).ask(path, body, headers=headers))
        here, there = told
        assert here == there, path
        assert there.status < 500, path
        return there

    def _remember(self, known: list[uuid.UUID], told: list[uuid.UUID]) -> None:
        known += [memory_id for memory_id in told if memory_id not in known]


def _one(choices: list[Any], place: int) -> Any:
    """The newest first."""
    return choices[-1 - place % len(choices)]


def _store(rows: list[Fields]) -> list[uuid.UUID]:
    receipts = store([planted(**row) for row in rows], on_conflict=OnConflict.UPDATE)
    return [receipt.memory_id for receipt in receipts if receipt.memory_id]


def test_hidden_rows_change_nothing_that_a_low_caller_sees(worlds, second_wall):
    """Three times: with both walls, and with each of them alone."""
    met: list[int] = []
    run_state_machine_as_test(
        partial(TwoWorlds, worlds, second_wall=second_wall, met=met),  # type: ignore[arg-type]  # whatever makes one
        settings=settings(examples(100, soak=3_400), stateful_step_count=12),
    )
    assert sum(number > 0 for number in met) > len(met) // 3, "most examples do have hidden rows"


ABOUT = {"subject": "user:ada", "collection": "city"}
STORY = [
    Step(drafts=[planted(payload_id="p-1", content="Paris", namespace="team", timestamp=DAYS[0], **ABOUT)]),
    Step(
        drafts=[
            planted(payload_id=f"p-{number}", source="hidden-source", content="Hidden canary.", **ABOUT | lasting | why)
            for number, (lasting, why) in enumerate(itertools.product(LASTING, HIDING * 10))
        ],
        is_hidden=True,
    ),
    Step(drafts=[planted(payload_id="p-2", content="London", labels=["eu"], timestamp=DAYS[2], **ABOUT)]),
]


def test_a_hundred_hidden_rows_between_two_change_nothing_at_any_door(worlds, second_wall):
    """FW-19: not even when one of the walls is taken out."""
    assert compare(worlds, STORY, "q=canary", [*DOORS, *RARE], second_wall=second_wall) > 100
    for query in ("label=eu", "namespace=team", "from=2026-03-01T12:00:00Z", "tier=restricted"):
        compare(worlds, STORY, query, second_wall=second_wall)


def test_the_doors_do_answer(worlds):
    """Two worlds that answer nothing would be equal as well."""
    with worlds.inside(worlds.with_hidden, STORY):
        with as_keeper():
            visible = [row.memory_id for row in Memory.objects.visible_to(LOW)]
        told = answers(worlds, Asked(query="", visible=visible, hidden=[]), [*DOORS, *RARE])

    assert len(visible) == 2
    for door in [*DOORS, *RARE]:
        statuses = {answer.status for path, answer in told.items() if path.startswith(f"{door.route} ")}
        expected = {"": {404}, "inspector:sign-in": {302}, "inspector:memory-labels": {302}}
        assert statuses == expected.get(door.route, {200}), door
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
        doors = [door for door in DOORS if door.route != "api:status"]
        steps = [STORY[0], Step(drafts=[low], is_hidden=True), Step(drafts=[after], is_hidden=True), STORY[2]]
        assert compare(worlds, steps, "source=other", doors) == 1


@pytest.mark.parametrize("history", [False, True], ids=["in force", "history"])
def test_an_export_holds_what_its_reader_may_see_and_nothing_else(worlds, second_wall, history):
    """FW-14, FW-22: not even what was hidden of a memory that may be seen by now."""
    then = planted(payload_id="p-9", content="Hidden canary.", tier="restricted")
    steps = [*STORY, Step(drafts=[then]), Step(drafts=[planted(payload_id="p-9", content="Rome")])]
    told = []
    for place in (worlds.without, worlds.with_hidden):
        with worlds.inside(place, steps, second_wall=second_wall):
            told.append(b"".join(export_lines(MemoryFilterSet(QueryDict(), clearance=LOW), history=history)))

    assert told[0] == told[1]
    assert b"Rome" in told[0]
    assert b"canary" not in told[0]


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
        compare(worlds, STORY, "", [door for door in DOORS if door.route == "api:memories"], second_wall=False)


def test_a_missing_memory_that_differs_from_a_hidden_one_is_caught(worlds, monkeypatch):
    def get(_view: Any, _request: Any, memory_id: uuid.UUID) -> Any:
        raise Problem(403 if Memory.objects.filter(memory_id=memory_id).exists() else 404, "no", "No.")

    monkeypatch.setattr(views.MemoryView, "get", get)

    with pytest.raises(AssertionError, match="api:memory"):
        compare(worlds, STORY, "", [door for door in DOORS if door.route == "api:memory"], second_wall=False)
