"""Runs one story in both worlds at once, and compares after each step what a writer is answered."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from memoryhub.conflicts import decide
from memoryhub.firewall.types import Clearance
from memoryhub.memories import relabel
from memoryhub.memories.envelope import FIELDS, Rejected
from memoryhub.memories.ingest import OnConflict
from tests.api.receipts import Receipt, receipts_of, write_path
from tests.harness.databases import World, as_keeper
from tests.harness.two_worlds.rows import decide_above
from tests.harness.worlds import HIGH, Answer, Stay
from tests.harness.write_worlds.checks import (
    Floor,
    Row,
    Tables,
    check_untouched,
    check_write,
    contents,
    permits,
    read_tables,
)
from tests.harness.write_worlds.steps import (
    DecideAbove,
    Hide,
    HideOverApi,
    Import,
    Move,
    Read,
    Reclassify,
    Step,
    Story,
    Write,
    WriteAgain,
    WriteBeyond,
)
from tests.harness.write_worlds.writers import (
    SOURCES,
    VAULT,
    WRITERS,
    WriteWorlds,
    caller_with,
    import_rows,
    make_writers_key,
)


@dataclass(slots=True)
class Summary:
    """What a story, or many of them, came to."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Receipts by outcome, or by the code of the refusal. All were equal."""
    reads: int = 0
    """Answers to reads that were compared."""
    steps: Counter[str] = field(default_factory=Counter)
    """Steps by kind, as far as they did anything."""
    meetings: Counter[str] = field(default_factory=Counter)
    """How often a receipt was about an id that a hidden row has, or a memory that somebody else reclassified."""

    def add(self, other: "Summary") -> None:
        self.outcomes += other.outcomes
        self.reads += other.reads
        self.steps += other.steps
        self.meetings += other.meetings


class Difference(AssertionError):
    """The two worlds did not answer alike."""

    def __init__(self, step: Step, plain: Answer, crowded: Answer) -> None:
        lines = [f"{step}", f"without hidden rows: {_shown(plain)}", f"with hidden rows:    {_shown(crowded)}"]
        super().__init__("\n".join(lines))
        self.step = step
        self.plain = plain
        self.crowded = crowded


def _shown(answer: Answer) -> str:
    return f"{answer.status} {answer.body.decode(errors='replace')[:600]}"


class Hub:
    """One world for the time of a story; what is written there is gone after it."""

    def __init__(self, place: World, *, second_wall: bool) -> None:
        self.place = place
        self.stay = Stay(place, second_wall=second_wall)
        self.tables = self.look()

    def look(self) -> Tables:
        with self.place.entered(), as_keeper():
            return read_tables()

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Take step `number`; afterwards `tables` holds what is stored then."""
        with self.stay.step(number):
            yield
        self.tables = self.look()

    def check(self, check: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        with self.place.entered(), as_keeper():
            check(*args, **kwargs)


class StoryRun:
    """Takes the steps of one story. Raises AssertionError where a rule is broken."""

    def __init__(
        self, worlds: WriteWorlds, *, second_wall: bool = True, move_clock: Callable[[int], None] = lambda _: None
    ) -> None:
        self.worlds = worlds
        self.move_clock = move_clock
        self.number = 0
        self.summary = Summary()
        self.answers: list[Answer] = []
        """The answers to the writes, the same in both worlds."""
        self.receipts: list[list[Receipt]] = []
        self.sent: dict[str, list[Write]] = {name: [] for name in WRITERS}
        self.written: list[UUID] = []
        """Memories that writers have got receipts for, in the order of the first ones."""
        self.floors: dict[UUID, Floor] = {}
        """The classifications that were given to writers' memories in one world."""
        self.vault = ""
        self.plain = Hub(worlds.plain, second_wall=second_wall)
        self.crowded = Hub(worlds.crowded, second_wall=second_wall)

    def end(self) -> None:
        self.crowded.stay.end()
        self.plain.stay.end()

    def take(self, step: Step) -> None:
        acts: dict[type[Step], Callable[[Any], None]] = {
            Write: self._write,
            WriteAgain: self._write_again,
            Import: self._import_in_both,
            Read: self._read,
            Hide: self._hide,
            HideOverApi: self._hide_over_api,
            WriteBeyond: self._write_beyond,
            Reclassify: self._reclassify,
            Move: self._move,
            DecideAbove: self._decide_above,
        }
        acts[type(step)](step)

    # What both worlds are asked

    def _write(self, step: Write) -> None:
        before = {hub: hub.tables for hub in (self.plain, self.crowded)}
        items = [dict(item) for item in step.items]
        answer = self._ask_both(step, write_path(step.on_conflict), items if step.batch else items[0])
        self.answers.append(answer)
        self.sent[step.writer].append(step)
        receipts = receipts_of(answer.status, answer.body)
        self.receipts.append(receipts)
        for hub, tables in before.items():
            self._check_tables(step, receipts, tables, hub)
        self._check_memories(step, receipts)
        self._count(step, receipts)

    def _write_again(self, step: WriteAgain) -> None:
        earlier = self.sent[step.writer]
        if not earlier:
            return
        write = earlier[-1 - step.back % len(earlier)]
        items = tuple({**item, **step.changes} for item in write.items)
        self._write(Write(step.writer, items, step.on_conflict, write.batch))

    def _read(self, step: Read) -> None:
        if "{}" in step.path and not self.written:
            return
        clearance = WRITERS[step.writer].reach
        # Rows that are in one world alone, or classified otherwise there, may differ for whoever may see them.
        differing = self._hidden() | self.floors.keys()
        if any(hub.tables.permit(clearance, differing) for hub in (self.plain, self.crowded)):
            return
        path = step.path.format(self.written[step.place % len(self.written)]) if "{}" in step.path else step.path
        self._ask_both(step, path)
        self.summary.reads += 1

    def _import_in_both(self, step: Import) -> None:
        # The operator sees everything, so what an import reports is not compared; and an import that finds a memory
        # under its id changes nothing, in either world.
        for hub in self._next():
            with hub.step(self.number):
                import_rows(step.lines)
        self.summary.steps["Import"] += 1

    def _ask_both(self, step: Write | Read, path: str, body: Any = None) -> Answer:
        caller = self.worlds.callers[step.writer]
        answers: dict[Hub, Answer] = {}
        for hub in self._next():
            with hub.step(self.number):
                answers[hub] = caller.ask(path, body)
        plain, crowded = answers[self.plain], answers[self.crowded]
        if plain != crowded:
            raise Difference(step, plain, crowded)
        assert plain.status < 500, _shown(plain)
        return plain

    def _next(self) -> tuple[Hub, Hub]:
        self.number += 1
        self.move_clock(self.number)
        return self.plain, self.crowded

    # What must hold after a write

    def _check_tables(self, step: Write, receipts: list[Receipt], before: Tables, hub: Hub) -> None:
        hub.check(
            check_write,
            before,
            hub.tables,
            stored=[receipt.memory_id for receipt in receipts if receipt.is_stored],
            sources=_sources(step),
            principal=self.worlds.principals[step.writer],
        )
        check_untouched(before, hub.tables, self._hidden())

    def _check_memories(self, step: Write, receipts: list[Receipt]) -> None:
        """Both worlds store the same, and what somebody else closed stays closed."""
        plain, crowded = self.plain.tables.current(), self.crowded.tables.current()
        writer = WRITERS[step.writer]
        for receipt in receipts:
            if not receipt.is_stored or receipt.memory_id is None:
                continue
            now = crowded[receipt.memory_id]
            assert contents(now) == contents(plain[receipt.memory_id]), "both worlds store the same"
            floor = self.floors.get(receipt.memory_id)
            if floor and not (writer.may_declassify and permits(writer.reach, floor.row)):
                assert not floor.is_lowered_by(now), ("a write lowered what somebody else raised", floor.row, now)
            elif floor:
                self.floors[receipt.memory_id] = Floor(row=now)

    def _count(self, step: Write, receipts: list[Receipt]) -> None:
        hidden_ids = {(row["source"], row["payload_id"]) for row in self.crowded.tables.of(self._hidden()).values()}
        sources = _sources(step)
        self.summary.steps["Write"] += 1
        for receipt in receipts:
            self.summary.outcomes[receipt.code or receipt.outcome] += 1
            if receipt.decision:
                self.summary.meetings["a rejected value"] += 1
            if receipt.memory_id in self.floors:
                self.summary.meetings["a reclassified memory"] += 1
            if any((source, receipt.payload_id) in hidden_ids for source in sources):
                self.summary.meetings["an id of a hidden row of its source"] += 1
            elif any(receipt.payload_id == payload_id for _, payload_id in hidden_ids):
                self.summary.meetings["an id of a hidden row of another source"] += 1
            if receipt.memory_id and receipt.memory_id not in self.written:
                self.written.append(receipt.memory_id)

    # What is done in the world with hidden rows alone

    def _in_crowded(self, step: Step, act: Callable[[], Any]) -> None:
        self.number += 1
        self.move_clock(self.number)
        with self.crowded.step(self.number):
            act()
        self.summary.steps[type(step).__name__] += 1

    def _hide(self, step: Hide) -> None:
        self._in_crowded(step, lambda: import_rows(step.lines))

    def _write_beyond(self, step: WriteBeyond) -> None:
        caller = self.worlds.callers[step.writer]
        self._in_crowded(step, lambda: caller.post(write_path(), dict(step.item)))

    def _hide_over_api(self, step: HideOverApi) -> None:
        def write() -> None:
            self.vault = self.vault or make_writers_key(VAULT)
            answer = caller_with(self.vault).post(write_path(), [dict(item) for item in step.items])
            # 422: none was stored, for they are there already.
            assert answer.status in (200, 422), answer

        self._in_crowded(step, write)

    def _reclassify(self, step: Reclassify) -> None:
        def reclassify(row: Row) -> None:
            change = {**step.change, "reason": "Looked at."}
            if step.over_api:
                path = f"/api/memories/{row['memory_id']}/labels"
                self.worlds.callers["steward"].post(path, {**change, "version": row["version"]})
                return
            plan = relabel.plan_one(UUID(row["memory_id"]), relabel.read(change, relabel.Change), by=HIGH)
            # A retired memory is not quarantined.
            with suppress(Rejected):
                relabel.carry_out(plan, reason="Looked at.")

        rows = self.plain.tables.current().values()
        self._change_one(step, [row for row in rows if row["source"] in SOURCES], reclassify)

    def _move(self, step: Move) -> None:
        # What the operator alone has imported is no writer's, and is imported again as it pleases the operator.
        rows = [row for row in self.plain.tables.current().values() if UUID(row["memory_id"]) in self.written]
        self._change_one(step, rows, lambda row: import_rows([_line(row) | dict(step.change)], OnConflict.UPDATE))

    def _change_one(self, step: Reclassify | Move, rows: list[Row], change: Callable[[Row], None]) -> None:
        if not rows:
            return
        # In the order of their internal ids, which is that of their current versions.
        memory_id = UUID(rows[-1 - step.place % len(rows)]["memory_id"])
        before = self.crowded.tables.current()[memory_id]
        self._in_crowded(step, partial(change, before))
        after = self.crowded.tables.current()[memory_id]
        if after != before:
            self.floors[memory_id] = Floor(row=after)

    def _decide_above(self, step: DecideAbove) -> None:
        def decide_on_hidden() -> None:
            members = decide.members(step.key, HIGH)
            # Of a group that a writer may see a part of, the decision might have to be known in both worlds.
            if members and not any(clearance.permits(member) for member in members for clearance in _every_clearance()):
                decide_above(step.key, "keep_one", step.place, content=step.content)

        self._in_crowded(step, decide_on_hidden)

    def _hidden(self) -> set[UUID]:
        """The memories that one world has alone."""
        return self.crowded.tables.memory_ids() - self.plain.tables.memory_ids()


def run_story(worlds: WriteWorlds, story: Story, *, move_clock: Callable[[int], None] = lambda _: None) -> StoryRun:
    """Run `story` in both worlds. Raises AssertionError where the answers differ or a rule is broken."""
    story_run = StoryRun(worlds, second_wall=story.second_wall, move_clock=move_clock)
    try:
        for step in story.steps:
            story_run.take(step)
    finally:
        story_run.end()
    return story_run


def _sources(step: Write) -> set[str]:
    """The sources that a request may write as."""
    own = WRITERS[step.writer].source
    return {own} if own else {str(item["source"]) for item in step.items if item.get("source") in SOURCES}


def _every_clearance() -> list[Clearance]:
    return [writer.reach for name, writer in WRITERS.items() if name != "root"]


def _line(row: Row) -> dict[str, Any]:
    """The memory as a line that the operator can import: all it says, and what its writer did not say."""
    line = {name: row[name] for name in FIELDS if row[name] not in (None, "", [], {})}
    line["timestamp"] = datetime.fromisoformat(row["timestamp"]).isoformat()
    if row["expires_at"]:
        line["expires_at"] = datetime.fromisoformat(row["expires_at"]).isoformat()
    if row["embedding"]:
        line["embedding"] = json.loads(row["embedding"])
    return line | {"defaulted": row["defaulted"]}
