"""What was believed at an instant, asked over HTTP, against the truth of whole histories: no mismatch at all."""

import io
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from memoryhub.memories import ingest
from memoryhub.memories.ingest import OnConflict, Outcome
from memoryhub.memories.models import Memory
from memoryhub.ops.importing import IMPORTER, import_lines
from tests.builders import make_key
from tests.harness.generated import SOAK
from tests.memories.rows import execute
from tests.timetravel.histories import CHANGES, CHECKS, History, beads, made, written

# Each write commits: within one transaction what is written over and over cannot be cleared away, and slows the next.
pytestmark = pytest.mark.django_db(transaction=True)

needs_the_data = pytest.mark.skipif(
    not (CHANGES.exists() and CHECKS.exists()), reason=f"{CHANGES} and {CHECKS.name} are not on this machine"
)
CHECKS_OF_BEADS = 9_964
EVERY = 1 if SOAK else 100
"""Which of the instants of the real history are asked about: all of them takes minutes."""


@pytest.fixture
def reader(api: Any) -> Any:
    return api(make_key(clearance={"max_tier": "restricted"}))


def mismatches(
    reader: Any, history: History, *, at: Callable[[datetime], dict[str, datetime]], by: tuple[str, ...] = ()
) -> list[Any]:
    """What is believed otherwise than the history says at the instants that `at` tells; asked for each of `by`."""
    wrong = []
    for (*values, as_of), expected in history.by(*by):
        asked = {name: instant.isoformat() for name, instant in at(as_of).items()}
        believed = believed_by(reader, **asked, **dict(zip(by, values, strict=True)))
        wrong += [
            (as_of, *key, content, believed.get(key))
            for key, content in expected.items()
            if believed.get(key) != content
        ]
    return wrong


def believed_by(reader: Any, **asked: Any) -> dict[tuple[str, str], str]:
    """All pages of what is believed, by its key; each key is there once."""
    believed: dict[tuple[str, str], str] = {}
    cursor = ""
    while True:
        response = reader.get("/api/timetravel", view="state", limit=200, cursor=cursor, **asked)
        assert response.status_code == 200, response.content
        page = response.json()
        values = {(record["subject"], record["collection"]): record["content"] for record in page["records"]}
        assert len(values) == len(page["records"])
        assert not values.keys() & believed.keys()
        believed |= values
        if not page["has_more"]:
            return believed
        cursor = page["next_cursor"]


def on_event_time(as_of: datetime) -> dict[str, datetime]:
    return {"as_of": as_of}


def imported(lines: list[dict[str, Any]]) -> None:
    report = import_lines(io.BytesIO(written(lines)))
    assert (report.lines, report.outcomes[Outcome.CREATED]) == (len(lines), len(lines)), report.bad[:3]
    analyze()


def analyze() -> None:
    """As autovacuum does, a moment after so many changes."""
    execute("ANALYZE memories")


def recorded(history: History) -> Callable[[datetime], dict[str, datetime]]:
    """Write the history change by change; tells at which instant of record time it stood where it stood at another."""
    happened: list[datetime] = []
    versions: list[Any] = []
    written: Counter[Any] = Counter()
    for envelope in history.as_updates():
        (receipt,) = ingest.write([envelope], by=IMPORTER, on_conflict=OnConflict.UPDATE)
        assert receipt.outcome in (Outcome.CREATED, Outcome.UPDATED), receipt
        happened.append(datetime.fromisoformat(envelope["timestamp"]))
        written[receipt.memory_id] += 1
        versions.append((receipt.memory_id, written[receipt.memory_id]))
    analyze()
    recorded_at = {
        (memory_id, version): instant
        for memory_id, version, instant in Memory.objects.values_list("memory_id", "version", "recorded_at")
    }
    known = [recorded_at[version] for version in versions]
    assert known == sorted(set(known)), "each change has an instant of its own"
    return lambda as_of: {"known_at": known[bisect_right(happened, as_of) - 1]}


def has_begun(history: History) -> History:
    """Without what is asked before the first change: there is no instant of record time for it."""
    first = datetime.fromisoformat(history.changes[0]["timestamp"])
    return History(changes=history.changes, checks=[check for check in history.checks if check.as_of >= first])


def test_a_made_history_is_believed_as_it_happened_on_event_time(reader):
    history = made(3_000, seed=4)
    imported(history.changes)

    assert len(history.checks) > 1_000
    assert mismatches(reader, history, at=on_event_time) == []


def test_the_order_in_which_the_changes_arrive_is_no_matter_on_event_time(reader):
    history = made(3_000, seed=5)
    latest = {(change["subject"], change["collection"], change["timestamp"]): change for change in history.changes}
    late = list(latest.values())
    random.Random(5).shuffle(late)
    imported(late)

    assert mismatches(reader, history, at=on_event_time) == []


def test_a_made_history_is_known_as_it_was_written_on_record_time(reader):
    history = has_begun(made(1_500 if SOAK else 500, seed=6))

    assert mismatches(reader, history, at=recorded(history)) == []


@needs_the_data
@pytest.mark.soak
def test_a_real_history_is_believed_as_it_happened_on_event_time(reader):
    history = beads()
    assert len(history.checks) == CHECKS_OF_BEADS
    asked = history.of_every(EVERY)
    imported(asked.changes)

    assert mismatches(reader, asked, at=on_event_time, by=("subject",)) == []


@needs_the_data
@pytest.mark.soak
def test_a_real_history_is_known_as_it_was_written_on_record_time(reader):
    history = beads() if SOAK else beads().of_every(EVERY)

    assert mismatches(reader, history, at=recorded(history), by=("subject",)) == []
