"""Reading memories from JSON lines: streamed, by the rules of the API, each line under its own source.

A line without a tier is of the lowest tier, one without an actor type is by the importing `system`, one without a time
happened when the import ran; all three are remembered as defaulted, like every other field that a line leaves empty.
A line of an export restores what its hub knew of a memory: id, version, status, decision, and what its source sent.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby, islice
from typing import Any

from django.db import DatabaseError

from memoryhub.conflicts import transfer
from memoryhub.faults import fault_of
from memoryhub.firewall.types import Principal, Scope, everything
from memoryhub.memories import exported, ingest
from memoryhub.memories.envelope import Draft, Rejected, check, complete
from memoryhub.memories.identity import STORED_OTHERWISE, Classification, classified
from memoryhub.memories.ingest import OnConflict, Outcome, Receipt
from memoryhub.memories.models import MAX_LABELS
from memoryhub.memories.restore import Progress, restore
from memoryhub.memories.strict_json import BadJson, decode
from memoryhub.ops import line_files
from memoryhub.ops.line_files import Line, LineFile, Readable

BATCH = 2_000
MAX_REPORTED = 50
"""Lines that were not stored of which a report tells one by one; of all of them it tells the reasons."""
MAX_REASONS = 1_000
_NANOSECONDS = re.compile(r"(.*[0-9]\.[0-9]{6})[0-9]{1,6}([Zz]|[+-][0-9:]{5})", re.ASCII)
_OWN_WORDS = re.compile(r"'[^']*'| at line \d+, column \d+|[0-9][0-9,]*")

IMPORTER = Principal(
    name="system:import",
    scopes=frozenset({Scope.ADMIN}),
    clearance=everything(),
    actor_type="system",
    is_operator=True,
)


@dataclass(slots=True)
class Report:
    """What became of the lines of a file; `bad` holds the first of those that were not stored, with the reason."""

    lines: int = 0
    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    bad: list[tuple[int, str]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    """How many lines were not stored for each reason, without what is peculiar to a line."""
    truncated: int = 0
    """Times that were finer than a microsecond and are stored without the rest."""
    damage: str = ""
    """Why the file could not be read to its end."""
    interruption: str = ""
    """Why the database took no more. What was stored before stays."""

    @property
    def refused(self) -> int:
        return self.outcomes[Outcome.REJECTED] + self.outcomes[Outcome.CONFLICT]

    def refuse(self, line: int, outcome: Outcome, reason: str) -> None:
        self.outcomes[outcome] += 1
        kind = _OWN_WORDS.sub("…", reason)
        # A hostile file must not make as many reasons as it has lines.
        self.reasons[kind if kind in self.reasons or len(self.reasons) < MAX_REASONS else "other reasons"] += 1
        if len(self.bad) < MAX_REPORTED:
            self.bad.append((line, reason))


def import_lines(
    lines: Readable | LineFile,
    *,
    by: Principal = IMPORTER,
    on_conflict: OnConflict = OnConflict.REFUSE,
    progress: Callable[[Report], None] | None = None,
) -> Report:
    """Store every good line, a batch to a transaction. Run again after any interruption, it adds what is missing.

    Statuses in lines are restored for whoever may judge memories, the rest of what an export says for the operator.
    """
    file = lines if isinstance(lines, LineFile) else LineFile(lines)
    report = Report()
    run = _Run(by=by, on_conflict=on_conflict, now=datetime.now(UTC))
    # While the database stores one batch, the next is read and checked.
    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(_read, numbered := file.lines(), run)
        while (batch := ahead.result()).last_number:
            ahead = reader.submit(_read, numbered, run)
            try:
                _store(batch, report, run)
            except DatabaseError as error:
                report.interruption = fault_of(error).detail
                return report
            if progress:
                progress(report)
    report.damage = file.damage
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    by: Principal
    on_conflict: OnConflict
    now: datetime
    progress: Progress = field(default_factory=Progress)


Restorable = Draft | transfer.Item


@dataclass(slots=True)
class _Batch:
    last_number: int = 0
    """The number of the last line read; 0 when there was none."""
    items: list[tuple[int, Restorable]] = field(default_factory=list)
    rejected: list[tuple[int, str]] = field(default_factory=list)
    truncated: int = 0


def _read(lines: Iterator[Line], run: _Run) -> _Batch:
    batch = _Batch()
    for line in islice(lines, BATCH):
        batch.last_number = line.last_number
        if not line.reason and not line.text.strip():
            continue
        try:
            raw = _decode(line)
            batch.truncated += _truncate_times(raw)
            batch.items.append((line.number, _item(raw, run)))
        except (BadJson, Rejected) as reason:
            batch.rejected.append((line.number, str(reason)))
    return batch


def _decode(line: Line) -> Any:
    if line.reason:
        raise BadJson("invalid_json", line.reason)
    if len(line.text) > line_files.MAX_LINE_BYTES:
        raise BadJson("too_large", f"is longer than {line_files.MAX_LINE_BYTES:,} bytes.")
    return decode(line.text)


def _truncate_times(raw: Any) -> int:
    """Cut what is finer than a microsecond, which the hub does not keep, off the times of a line; how many had it."""
    cut = 0
    for name in ("timestamp", "expires_at") if isinstance(raw, dict) else ():
        if isinstance(raw.get(name), str) and (match := _NANOSECONDS.fullmatch(raw[name])):
            raw[name] = "".join(match.groups())
            cut += 1
    return cut


def _store(batch: _Batch, report: Report, run: _Run) -> None:
    report.lines = batch.last_number
    report.truncated += batch.truncated
    for number, reason in batch.rejected:
        report.refuse(number, Outcome.REJECTED, reason)
    for _, group in groupby(batch.items, key=lambda numbered: _kind(numbered[1])):
        numbered = list(group)
        receipts = _stored([item for _, item in numbered], run)
        for (number, _), receipt in zip(numbered, receipts, strict=True):
            if receipt.errors:
                report.refuse(number, receipt.outcome, _reason(receipt))
            else:
                report.outcomes[receipt.outcome] += 1


def _kind(item: Restorable) -> str:
    if isinstance(item, Draft):
        return "memory" if item.exported is None else "exported memory"
    return item.type


def _stored(items: Sequence[Any], run: _Run) -> list[Receipt]:
    """What becomes of items of one kind."""
    if not isinstance(items[0], Draft):
        return transfer.restore(items, by=run.by)
    if items[0].exported is None:
        return ingest.store(items, by=run.by, on_conflict=run.on_conflict)
    return restore(items, by=run.by, on_conflict=run.on_conflict, progress=run.progress)


def _reason(receipt: Receipt) -> str:
    if receipt.outcome is not Outcome.CONFLICT or not receipt.payload_id:
        return str(Rejected(receipt.errors or {}))
    said = " ".join(sentence for sentences in (receipt.errors or {}).values() for sentence in sentences)
    return f"payload_id {receipt.payload_id!r} {said.replace(STORED_OTHERWISE, 'is stored with other content.')}"


def _item(raw: Any, run: _Run) -> Restorable:
    """What a line holds. Raises Rejected."""
    if not isinstance(raw, dict):
        return ingest.accept(raw, by=run.by, now=run.now)
    if "type" in raw and "payload_id" not in raw:
        item = transfer.read(raw)
        if isinstance(item, transfer.DecisionLine):
            run.progress.decisions.add(item.decision_id)
        return item
    if exported.MEMBERS.isdisjoint(raw):
        return ingest.accept(raw, by=run.by, now=run.now)
    return _exported_draft(raw, run)


def _exported_draft(raw: Mapping[str, Any], run: _Run) -> Draft:
    said = exported.read({name: value for name, value in raw.items() if name in exported.MEMBERS})
    if said.status not in (None, "active") and not run.by.may(Scope.INSPECT):
        raise Rejected({"status": ["is set by those alone who have the scope inspect."]}, "scope_required")
    envelope = {name: value for name, value in raw.items() if name not in exported.MEMBERS}
    if said.status == "erased":
        envelope.pop("content", None)
    made = _accept(envelope, run, is_erased=said.status == "erased")
    if said.said_at and said.said_at > run.now:
        said = said.model_copy(update={"said_at": run.now})
    return complete(
        made.envelope,
        source=made.source,
        actor_type=made.actor_type,
        actor_id=made.actor_id,
        timestamp=made.timestamp,
        # What the first writer did not give, which the line holds all the same.
        defaulted=frozenset(made.defaulted if said.defaulted is None else said.defaulted),
        exported=said,
    )


def _accept(envelope: dict[str, Any], run: _Run, *, is_erased: bool) -> Draft:
    """A draft of an exported envelope: it may carry as many labels again as a source may send, added by others."""
    labels = envelope.get("sensitivity_labels")
    added = labels[MAX_LABELS : 2 * MAX_LABELS + 1] if isinstance(labels, list) else []
    if isinstance(labels, list) and added:
        envelope["sensitivity_labels"] = labels[:MAX_LABELS]
        check({"payload_id": "labels", "content": "labels", "sensitivity_labels": added})
    made = ingest.accept(envelope, by=run.by, now=run.now, may_be_partial=is_erased)
    if not added:
        return made
    every = Classification(
        namespace=made.namespace,
        classification_tier=made.classification_tier,
        sensitivity_labels=(*made.sensitivity_labels, *added),
    )
    return classified(made, every)
