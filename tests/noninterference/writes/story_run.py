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

from memoryhub.conflicts.decisions import resolve
from memoryhub.firewall.clearance import Clearance
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.memories.writes.envelope import FIELDS, OperationRejectedError, parse_body
from memoryhub.memories.writes.identity import OnConflict
from tests.api.receipts import Receipt, parse_receipts, write_path
from tests.harness.databases import DatabaseHandle, as_unrestricted_reader
from tests.noninterference.reads.rows import resolve_as_high
from tests.noninterference.worlds import HIGH, RecordedResponse, WorldSession
from tests.noninterference.writes.invariants import (
    ClassificationFloor,
    Row,
    TableSnapshot,
    assert_unchanged,
    assert_write_allowed,
    is_row_permitted,
    read_tables,
    unclassified_fields,
)
from tests.noninterference.writes.steps import (
    Import,
    ImportHidden,
    Move,
    Read,
    Reclassify,
    RepeatWrite,
    ResolveHidden,
    Step,
    Story,
    Write,
    WriteHidden,
    WriteOutsideClearance,
)
from tests.noninterference.writes.writers import (
    SOURCE_CLEARANCES,
    VAULT_WRITER,
    WRITERS,
    WriteWorlds,
    caller_with_key,
    create_writer_key,
    import_rows,
)


@dataclass(slots=True)
class StorySummary:
    """What a story, or many of them, came to."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Receipts by outcome, or by the code of the refusal. All were equal."""
    reads: int = 0
    """Answers to reads that were compared."""
    steps: Counter[str] = field(default_factory=Counter)
    """Steps by kind, as far as they did anything."""
    meetings: Counter[str] = field(default_factory=Counter)
    """How often a receipt was about an id that a hidden row has, or a memory that somebody else reclassified."""

    def add(self, other: "StorySummary") -> None:
        self.outcomes += other.outcomes
        self.reads += other.reads
        self.steps += other.steps
        self.meetings += other.meetings


class WorldDifferenceError(AssertionError):
    """The two worlds did not answer alike."""

    def __init__(self, step: Step, plain_response: RecordedResponse, crowded_response: RecordedResponse) -> None:
        lines = [
            f"{step}",
            f"without hidden rows: {_format_response(plain_response)}",
            f"with hidden rows:    {_format_response(crowded_response)}",
        ]
        super().__init__("\n".join(lines))
        self.step = step
        self.plain_response = plain_response
        self.crowded_response = crowded_response


def _format_response(response: RecordedResponse) -> str:
    return f"{response.status} {response.body.decode(errors='replace')[:600]}"


class WorldUnderTest:
    """One world for the time of a story; what is written there is gone after it."""

    def __init__(self, world: DatabaseHandle, *, row_security: bool) -> None:
        self.world = world
        self.session = WorldSession(world, row_security=row_security)
        self.tables = self.read_tables_now()

    def read_tables_now(self) -> TableSnapshot:
        with self.world.activate(), as_unrestricted_reader():
            return read_tables()

    @contextmanager
    def step(self, step_number: int) -> Iterator[None]:
        """Take step `step_number`; afterwards `tables` holds what is stored then."""
        with self.session.step(step_number):
            yield
        self.tables = self.read_tables_now()

    def check(self, check: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        with self.world.activate(), as_unrestricted_reader():
            check(*args, **kwargs)


class StoryRun:
    """Takes the steps of one story. Raises AssertionError where a rule is broken."""

    def __init__(
        self, worlds: WriteWorlds, *, row_security: bool = True, move_clock: Callable[[int], None] = lambda _: None
    ) -> None:
        self.worlds = worlds
        self.move_clock = move_clock
        self.step_number = 0
        self.summary = StorySummary()
        self.responses: list[RecordedResponse] = []
        """The answers to the writes, the same in both worlds."""
        self.receipts: list[list[Receipt]] = []
        self.writes_by_writer: dict[str, list[Write]] = {name: [] for name in WRITERS}
        self.written_ids: list[UUID] = []
        """Memories that writers have got receipts for, in the order of the first ones."""
        self.floors: dict[UUID, ClassificationFloor] = {}
        """The classifications that were given to writers' memories in one world."""
        self.vault_secret = ""
        self.plain = WorldUnderTest(worlds.plain, row_security=row_security)
        self.crowded = WorldUnderTest(worlds.crowded, row_security=row_security)

    def end(self) -> None:
        self.crowded.session.end()
        self.plain.session.end()

    def take_step(self, step: Step) -> None:
        handlers: dict[type[Step], Callable[[Any], None]] = {
            Write: self._write,
            RepeatWrite: self._write_again,
            Import: self._import_in_both,
            Read: self._read,
            ImportHidden: self._import_hidden,
            WriteHidden: self._hide_over_api,
            WriteOutsideClearance: self._write_outside_clearance,
            Reclassify: self._reclassify,
            Move: self._move_memory,
            ResolveHidden: self._resolve_hidden,
        }
        handlers[type(step)](step)

    # What both worlds are asked

    def _write(self, step: Write) -> None:
        before = {hub: hub.tables for hub in (self.plain, self.crowded)}
        items = [dict(item) for item in step.items]
        response = self._request_in_both(step, write_path(step.on_conflict), items if step.is_batch else items[0])
        self.responses.append(response)
        self.writes_by_writer[step.writer].append(step)
        receipts = parse_receipts(response.status, response.body)
        self.receipts.append(receipts)
        for hub, tables in before.items():
            self._check_tables(step, receipts, tables, hub)
        self._check_memories(step, receipts)
        self._count_outcomes(step, receipts)

    def _write_again(self, step: RepeatWrite) -> None:
        earlier_writes = self.writes_by_writer[step.writer]
        if not earlier_writes:
            return
        repeated_write = earlier_writes[-1 - step.offset % len(earlier_writes)]
        items = tuple({**item, **step.changes} for item in repeated_write.items)
        self._write(Write(step.writer, items, step.on_conflict, repeated_write.is_batch))

    def _read(self, step: Read) -> None:
        if "{}" in step.path and not self.written_ids:
            return
        clearance = WRITERS[step.writer].source_clearance
        # Rows that are in one world alone, or classified otherwise there, may differ for readers who see them.
        differing = self._hidden_ids() | self.floors.keys()
        if any(hub.tables.is_any_visible(clearance, differing) for hub in (self.plain, self.crowded)):
            return
        path = (
            step.path.format(self.written_ids[step.index % len(self.written_ids)]) if "{}" in step.path else step.path
        )
        self._request_in_both(step, path)
        self.summary.reads += 1

    def _import_in_both(self, step: Import) -> None:
        # The operator sees everything, so what an import reports is not compared; and an import that finds a memory
        # under its id changes nothing, in either world.
        for hub in self._next_step():
            with hub.step(self.step_number):
                import_rows(step.lines)
        self.summary.steps["Import"] += 1

    def _request_in_both(self, step: Write | Read, path: str, body: Any = None) -> RecordedResponse:
        caller = self.worlds.callers[step.writer]
        responses: dict[WorldUnderTest, RecordedResponse] = {}
        for hub in self._next_step():
            with hub.step(self.step_number):
                responses[hub] = caller.request(path, body)
        plain_response, crowded_response = responses[self.plain], responses[self.crowded]
        if plain_response != crowded_response:
            raise WorldDifferenceError(step, plain_response, crowded_response)
        assert plain_response.status < 500, _format_response(plain_response)
        return plain_response

    def _next_step(self) -> tuple[WorldUnderTest, WorldUnderTest]:
        self.step_number += 1
        self.move_clock(self.step_number)
        return self.plain, self.crowded

    # What must hold after a write

    def _check_tables(self, step: Write, receipts: list[Receipt], before: TableSnapshot, hub: WorldUnderTest) -> None:
        hub.check(
            assert_write_allowed,
            before,
            hub.tables,
            stored_ids=[receipt.memory_id for receipt in receipts if receipt.is_stored],
            sources=_writable_sources(step),
            principal=self.worlds.principals[step.writer],
        )
        assert_unchanged(before, hub.tables, self._hidden_ids())

    def _check_memories(self, step: Write, receipts: list[Receipt]) -> None:
        """Both worlds store the same, and what somebody else closed stays closed."""
        plain_rows, crowded_rows = self.plain.tables.current(), self.crowded.tables.current()
        writer = WRITERS[step.writer]
        for receipt in receipts:
            if not receipt.is_stored or receipt.memory_id is None:
                continue
            current_row = crowded_rows[receipt.memory_id]
            assert unclassified_fields(current_row) == unclassified_fields(plain_rows[receipt.memory_id]), (
                "both worlds store the same"
            )
            floor = self.floors.get(receipt.memory_id)
            if floor and not (writer.may_declassify and is_row_permitted(writer.source_clearance, floor.row)):
                assert not floor.is_lowered_by(current_row), (
                    "a write lowered what somebody else raised",
                    floor.row,
                    current_row,
                )
            elif floor:
                self.floors[receipt.memory_id] = ClassificationFloor(row=current_row)

    def _count_outcomes(self, step: Write, receipts: list[Receipt]) -> None:
        hidden_ids = {
            (row["source"], row["payload_id"]) for row in self.crowded.tables.versions_of(self._hidden_ids()).values()
        }
        sources = _writable_sources(step)
        self.summary.steps["Write"] += 1
        for receipt in receipts:
            self.summary.outcomes[receipt.code or receipt.outcome] += 1
            if receipt.decision_id:
                self.summary.meetings["a rejected value"] += 1
            if receipt.memory_id in self.floors:
                self.summary.meetings["a reclassified memory"] += 1
            if any((source, receipt.payload_id) in hidden_ids for source in sources):
                self.summary.meetings["an id of a hidden row of its source"] += 1
            elif any(receipt.payload_id == payload_id for _, payload_id in hidden_ids):
                self.summary.meetings["an id of a hidden row of another source"] += 1
            if receipt.memory_id and receipt.memory_id not in self.written_ids:
                self.written_ids.append(receipt.memory_id)

    # What is done in the world with hidden rows alone

    def _act_in_crowded(self, step: Step, action: Callable[[], Any]) -> None:
        self.step_number += 1
        self.move_clock(self.step_number)
        with self.crowded.step(self.step_number):
            action()
        self.summary.steps[type(step).__name__] += 1

    def _import_hidden(self, step: ImportHidden) -> None:
        self._act_in_crowded(step, lambda: import_rows(step.lines))

    def _write_outside_clearance(self, step: WriteOutsideClearance) -> None:
        caller = self.worlds.callers[step.writer]
        self._act_in_crowded(step, lambda: caller.post(write_path(), dict(step.item)))

    def _hide_over_api(self, step: WriteHidden) -> None:
        def write_hidden() -> None:
            self.vault_secret = self.vault_secret or create_writer_key(VAULT_WRITER)
            response = caller_with_key(self.vault_secret).post(write_path(), [dict(item) for item in step.items])
            # 422: none was stored, for they are there already.
            assert response.status in (200, 422), response

        self._act_in_crowded(step, write_hidden)

    def _reclassify(self, step: Reclassify) -> None:
        def reclassify_row(row: Row) -> None:
            change = {**step.change, "reason": "Looked at."}
            if step.over_api:
                path = f"/api/memories/{row['memory_id']}/classify"
                self.worlds.callers["steward"].post(path, {**change, "version": row["version"]})
                return
            plan = classify.plan_for_memory(
                UUID(row["memory_id"]), parse_body(change, ClassificationChange), principal=HIGH
            )
            # A retired memory is not quarantined.
            with suppress(OperationRejectedError):
                classify.apply_plan(plan, reason="Looked at.")

        rows = self.plain.tables.current().values()
        self._change_memory(step, [row for row in rows if row["source"] in SOURCE_CLEARANCES], reclassify_row)

    def _move_memory(self, step: Move) -> None:
        # What the operator alone has imported is no writer's, and is imported again as it pleases the operator.
        rows = [row for row in self.plain.tables.current().values() if UUID(row["memory_id"]) in self.written_ids]
        self._change_memory(
            step, rows, lambda row: import_rows([_to_import_line(row) | dict(step.change)], OnConflict.UPDATE)
        )

    def _change_memory(self, step: Reclassify | Move, rows: list[Row], change: Callable[[Row], None]) -> None:
        if not rows:
            return
        # In the order of their internal ids, which is that of their current versions.
        memory_id = UUID(rows[-1 - step.index % len(rows)]["memory_id"])
        before = self.crowded.tables.current()[memory_id]
        self._act_in_crowded(step, partial(change, before))
        after = self.crowded.tables.current()[memory_id]
        if after != before:
            self.floors[memory_id] = ClassificationFloor(row=after)

    def _resolve_hidden(self, step: ResolveHidden) -> None:
        def resolve_hidden_group() -> None:
            members = resolve.list_members(step.key, HIGH)
            # Of a group that a writer may see a part of, the decision might have to be known in both worlds.
            if members and not any(
                clearance.permits(member) for member in members for clearance in _writer_clearances()
            ):
                resolve_as_high(step.key, "keep_one", step.index, content=step.content)

        self._act_in_crowded(step, resolve_hidden_group)

    def _hidden_ids(self) -> set[UUID]:
        """The memories that one world has alone."""
        return self.crowded.tables.memory_ids() - self.plain.tables.memory_ids()


def run_story(worlds: WriteWorlds, story: Story, *, move_clock: Callable[[int], None] = lambda _: None) -> StoryRun:
    """Run `story` in both worlds. Raises AssertionError where the answers differ or a rule is broken."""
    story_run = StoryRun(worlds, row_security=story.row_security, move_clock=move_clock)
    try:
        for step in story.steps:
            story_run.take_step(step)
    finally:
        story_run.end()
    return story_run


def _writable_sources(step: Write) -> set[str]:
    """The sources that a request may write as."""
    own_source = WRITERS[step.writer].source
    return (
        {own_source}
        if own_source
        else {str(item["source"]) for item in step.items if item.get("source") in SOURCE_CLEARANCES}
    )


def _writer_clearances() -> list[Clearance]:
    return [writer.source_clearance for name, writer in WRITERS.items() if name != "root"]


def _to_import_line(row: Row) -> dict[str, Any]:
    """The memory as a line that the operator can import: all it says, and what its writer did not say."""
    line = {name: row[name] for name in FIELDS if row[name] not in (None, "", [], {})}
    line["timestamp"] = datetime.fromisoformat(row["timestamp"]).isoformat()
    if row["expires_at"]:
        line["expires_at"] = datetime.fromisoformat(row["expires_at"]).isoformat()
    if row["embedding"]:
        line["embedding"] = json.loads(row["embedding"])
    return line | {"defaulted_fields": row["defaulted_fields"]}
