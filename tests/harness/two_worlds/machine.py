"""The state machine: low steps are taken in both worlds, high steps in one, and low must not notice."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, transaction
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
)

from memoryhub.conflicts import claims, decide
from memoryhub.conflicts.keys import Key, id_of
from memoryhub.firewall import keys
from memoryhub.firewall.models import ApiKey, ClearanceRecord
from memoryhub.memories import relabel
from memoryhub.memories.ingest import OnConflict
from memoryhub.ops import reads
from tests.builders import store
from tests.harness.databases import as_keeper
from tests.harness.generated import planted
from tests.harness.two_worlds.doors import DOORS, Asked, Door, next_page
from tests.harness.two_worlds.rows import (
    BOB,
    DISPUTED,
    DISPUTED_ABOVE,
    JOB,
    KEYS,
    OUTCOMES,
    Fields,
    chosen,
    decide_above,
    envelopes,
    hidden_rows,
    queries,
    seen_rows,
)
from tests.harness.worlds import HIGH, LOW, Answer, Stay, Worlds
from tests.memories.rows import execute

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


def _low() -> User:
    return User.objects.get(username="low")


# What goes on in a hub besides: none of it may shine through.
DEEDS: dict[str, Callable[[], Any]] = {
    "reads go into the ledger": reads.flush,
    "indexes are made anew": partial(_as_keeper, "REINDEX TABLE memories"),
    "the planner learns": partial(_as_keeper, "ANALYZE memories; ANALYZE memory_counts; ANALYZE memory_totals"),
    "a statement fails": _fail,
    "a key is made": lambda: ApiKey.objects.create(
        User.objects.get(username="low"), name=f"{uuid.uuid4()}", scopes=["read"]
    ),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """What there was in one example: hidden memories, decisions in both worlds, and on what is hidden."""

    hidden: int
    decided: int
    above: int


class TwoWorlds(RuleBasedStateMachine):
    """Low steps are taken in both worlds, and their answers are the same; high steps are taken in one."""

    known = Bundle("known")
    sent = Bundle("sent")

    def __init__(self, worlds: Worlds, *, second_wall: bool, met: list["Met"]) -> None:
        super().__init__()
        self.worlds = worlds
        self.met = met
        self.number = 0
        self.seen: list[uuid.UUID] = []
        self.hidden: list[uuid.UUID] = []
        self.decided: list[uuid.UUID] = []
        self.decided_above: list[uuid.UUID] = []
        self.without = Stay(worlds.without, second_wall=second_wall)
        self.with_hidden = Stay(worlds.with_hidden, second_wall=second_wall)

    def teardown(self) -> None:
        self.met.append(Met(hidden=len(self.hidden), decided=len(self.decided), above=len(self.decided_above)))
        self.with_hidden.end()
        self.without.end()

    @initialize(seen=st.lists(seen_rows(), max_size=4), hidden=st.lists(hidden_rows(), max_size=6))
    def begin(self, seen: list[Fields], hidden: list[Fields]) -> None:
        self.others_write([*seen, *DISPUTED])
        self.hide([*hidden, *DISPUTED_ABOVE])

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
        decisions = [_one(known, place) for known in (self.decided, self.decided_above) if known]
        asked = Asked(query=query, visible=visible, hidden=hidden, decisions=decisions)
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

    # Mostly where there is something to decide on from the beginning.
    @rule(key=st.sampled_from((BOB,) * 6 + KEYS), outcome=st.sampled_from(OUTCOMES), place=st.integers(0, 3))
    def decide(self, key: Key, outcome: str, place: int) -> None:
        """A low steward, on what is seen below."""
        path = f"/api/conflicts/{id_of(*key)}"
        found = self._both("person", path)
        told = json.loads(found.body)
        members = [memory["memory_id"] for memory in told.get("memories", [])]
        choice = chosen(outcome, members, place) | {"evidence": told.get("evidence", "0" * 64)}
        answer = self._both("person", f"{path}/decisions", choice)
        if answer.status == 201:
            self.decided.append(uuid.UUID(json.loads(answer.body)["id"]))

    @rule(key=st.sampled_from((JOB,) * 6 + KEYS), outcome=st.sampled_from(OUTCOMES), place=st.integers(0, 3))
    def decide_above(self, key: Key, outcome: str, place: int) -> None:
        """A high steward: in both worlds, if there is nothing in it that low does not see."""
        self.number += 1
        with self.with_hidden.step(self.number):
            is_hidden = not all(map(LOW.permits, decide.members(key, HIGH)))
            above = decide_above(key, outcome, place)
        known = self.decided_above
        if not is_hidden:
            known = self.decided
            with self.without.step(self.number):
                assert decide_above(key, outcome, place) == above
        known += [above] if above else []

    @precondition(lambda self: self.decided or self.decided_above)
    @rule(place=st.integers(0, 3), above=st.booleans())
    def undo(self, place: int, above: bool) -> None:
        chosen = _one(self.decided_above if above and self.decided_above else self.decided or self.decided_above, place)
        self._both("person", f"/api/decisions/{chosen}/undo", {"reason": "It was wrong."})

    @precondition(lambda self: self.decided or self.decided_above)
    @rule(place=st.integers(0, 3), above=st.booleans())
    def undo_above(self, place: int, above: bool) -> None:
        """By who sees all: in both worlds, if the decision was made in both."""
        known = self.decided_above if above and self.decided_above else self.decided or self.decided_above
        self.number += 1
        for stay in (self.with_hidden,) if known is self.decided_above else (self.with_hidden, self.without):
            with stay.step(self.number):
                decide.undo([_one(known, place)], by=HIGH, reason="It was wrong.")

    @rule(key=st.sampled_from(KEYS), release=st.booleans())
    def claim(self, key: Key, release: bool) -> None:
        self._both("person", f"/api/conflicts/{id_of(*key)}/claim", {"release": release})

    @rule(key=st.sampled_from(KEYS))
    def claim_above(self, key: Key) -> None:
        with self._high(), suppress(claims.Taken):
            claims.claim(key, by=HIGH)

    @contextmanager
    def _high(self) -> Iterator[None]:
        self.number += 1
        with self.with_hidden.step(self.number):
            yield

    def _ask(self, door: Door, path: str, headers: Mapping[str, str] | None = None) -> Known:
        answer = self._both(door.who, path, door.post, headers)
        tag = dict(answer.headers).get("ETag", "")
        return Known(door=door, path=path, following=next_page(path, answer), tag=tag)

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
    receipts = store([planted(**row) for row in rows], on_conflict=OnConflict.REPLACE)
    return [receipt.memory_id for receipt in receipts if receipt.memory_id]
