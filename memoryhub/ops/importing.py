"""Reading memories from JSON lines: streamed, by the rules of the API, each line under its own source.

A line without a tier is of the lowest tier, one without an actor type is by the importing `system`, one without a time
happened when the import ran; all three are remembered as defaulted, like every other field that a line leaves empty.
"""

import gzip
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any

from memoryhub.firewall.types import Principal, Scope, everything
from memoryhub.memories import ingest
from memoryhub.memories.envelope import FIELDS, Draft, Rejected, complete
from memoryhub.memories.ingest import OnConflict, Outcome
from memoryhub.memories.strict_json import BadJson, decode

BATCH = 2_000
MAX_LINE_BYTES = 16 * 2**20
MAX_REPORTED = 1_000
# What an export says of a version besides its envelope. Record time and ids are the reading hub's own.
OF_THE_HUB = frozenset({"untrusted", "memory_id", "version", "recorded_at", "superseded_at", "status", "defaulted"})

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

    def refuse(self, line: int, outcome: Outcome, reason: str) -> None:
        self.outcomes[outcome] += 1
        if len(self.bad) < MAX_REPORTED:
            self.bad.append((line, reason))


@contextmanager
def opened(name: str) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The lines of a file, a .gz file or standard input (`-`), and the stream whose position tells the progress."""
    if name == "-":
        yield sys.stdin.buffer, sys.stdin.buffer
        return
    with Path(name).open("rb") as raw:
        if name.endswith(".gz"):
            with gzip.GzipFile(fileobj=raw) as lines:
                yield lines, raw  # type: ignore[misc]
        else:
            yield raw, raw


def import_lines(
    lines: IO[bytes], *, on_conflict: OnConflict = OnConflict.REFUSE, progress: Callable[[Report], None] | None = None
) -> Report:
    """Store every good line, a batch to a transaction. Run again after any interruption, it adds what is missing."""
    report = Report()
    now = datetime.now(UTC)
    # While the database stores one batch, the next is read and checked.
    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(_read, numbered := _numbered(lines), now)
        while (batch := ahead.result()).lines:
            ahead = reader.submit(_read, numbered, now)
            _store(batch, report, on_conflict)
            if progress:
                progress(report)
    return report


def _numbered(lines: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := lines.readline(MAX_LINE_BYTES + 1):
        number += 1
        yield number, line
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = lines.readline(MAX_LINE_BYTES + 1)


@dataclass(slots=True)
class _Batch:
    lines: int = 0
    """The number of the last line read; 0 when there was none."""
    drafts: list[tuple[int, Draft]] = field(default_factory=list)
    rejected: list[tuple[int, str]] = field(default_factory=list)


def _read(numbered: Iterator[tuple[int, bytes]], now: datetime) -> _Batch:
    batch = _Batch()
    for number, line in islice(numbered, BATCH):
        batch.lines = number
        if not line.strip():
            continue
        try:
            batch.drafts.append((number, _draft(line, now)))
        except (BadJson, Rejected) as reason:
            batch.rejected.append((number, str(reason)))
    return batch


def _store(batch: _Batch, report: Report, on_conflict: OnConflict) -> None:
    report.lines = batch.lines
    for number, reason in batch.rejected:
        report.refuse(number, Outcome.REJECTED, reason)
    receipts = ingest.store([made for _, made in batch.drafts], by=IMPORTER, on_conflict=on_conflict)
    for (number, _), receipt in zip(batch.drafts, receipts, strict=True):
        if receipt.outcome is Outcome.CONFLICT:
            report.refuse(number, receipt.outcome, f"payload_id {receipt.payload_id!r} is stored with other content.")
        else:
            report.outcomes[receipt.outcome] += 1


def _draft(line: bytes, now: datetime) -> Draft:
    if len(line) > MAX_LINE_BYTES:
        raise BadJson("too_large", f"is longer than {MAX_LINE_BYTES:,} bytes.")
    raw = decode(line)
    if not isinstance(raw, dict) or OF_THE_HUB.isdisjoint(raw):
        return ingest.accept(raw, by=IMPORTER, now=now)
    if raw.get("status", "active") != "active":
        raise Rejected({"status": ["must be active: nothing else can be imported."]})
    envelope = {name: value for name, value in raw.items() if name not in OF_THE_HUB}
    return _as_exported(ingest.accept(envelope, by=IMPORTER, now=now), raw)


def _as_exported(made: Draft, raw: dict[str, Any]) -> Draft:
    """A draft that remembers what its first writer did not say, and which version it was."""
    defaulted = raw.get("defaulted", list(made.defaulted))
    version = raw.get("version")
    if not isinstance(defaulted, list) or not set(map(str, defaulted)) <= set(FIELDS):
        raise Rejected({"defaulted": ["must be a list of the envelope's fields."]})
    if version is not None and (not isinstance(version, int) or isinstance(version, bool) or version < 1):
        raise Rejected({"version": ["must be a whole number of at least 1."]})
    return complete(
        made.envelope,
        source=made.source,
        actor_type=made.actor_type,
        actor_id=made.actor_id,
        timestamp=made.timestamp,
        defaulted=frozenset(defaulted),
        version=version,
    )
