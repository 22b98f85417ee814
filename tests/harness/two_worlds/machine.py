"""The state machine: low steps are taken in both worlds, high steps in one, and low must not notice."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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

from memoryhub.firewall import keys
from memoryhub.firewall.models import ApiKey, ClearanceRecord
from memoryhub.firewall.types import Principal, Scope, everything
from memoryhub.memories import relabel
from memoryhub.memories.ingest import OnConflict
from memoryhub.ops import reads
from tests.builders import store
from tests.harness.databases import as_keeper
from tests.harness.generated import planted
from tests.harness.two_worlds.doors import DOORS, Asked, Door, next_page
from tests.harness.two_worlds.rows import Fields, envelopes, hidden_rows, queries, seen_rows
from tests.harness.worlds import Answer, Stay, Worlds
from tests.memories.rows import execute

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
    receipts = store([planted(**row) for row in rows], on_conflict=OnConflict.UPDATE)
    return [receipt.memory_id for receipt in receipts if receipt.memory_id]
