"""What was believed at an instant, asked over HTTP, against the truth of whole histories: no mismatch at all."""

import io
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from memoryhub.memories.models import Memory
from memoryhub.memories.writes import write
from memoryhub.memories.writes.identity import OnConflict
from memoryhub.memories.writes.write import WriteOutcome
from memoryhub.transfer.jsonl_import import IMPORT_PRINCIPAL, import_lines
from tests.factories import make_key
from tests.harness.strategies import SOAK
from tests.memories.raw_rows import execute
from tests.timetravel.reference_histories import CHANGES, CHECKS, History, generate_history, load_beads, to_json_lines

# Each write commits: within one transaction what is written over and over cannot be cleared away, and slows the next.
pytestmark = pytest.mark.django_db(transaction=True)

needs_the_data = pytest.mark.skipif(
    not (CHANGES.exists() and CHECKS.exists()), reason=f"{CHANGES} and {CHECKS.name} are not on this machine"
)
BEADS_CHECK_COUNT = 9_964
INSTANT_INTERVAL, SUBJECT_INTERVAL = (1, 1) if SOAK else (40, 6)
"""Which instants and subjects of the real history are asked about: all of them takes minutes."""
MADE_CHANGE_COUNT = 3_000 if SOAK else 1_000


@pytest.fixture
def reader(api: Any) -> Any:
    return api(make_key(clearance={"max_tier": "restricted"}))


def find_mismatches(
    reader: Any,
    history: History,
    *,
    instants_for: Callable[[datetime], dict[str, datetime]],
    group_fields: tuple[str, ...] = (),
) -> list[Any]:
    """Values that differ from the history at the instants of `instants_for`, queried by `group_fields`."""
    mismatch_rows = []
    for (*values, as_of), expected in history.checks_by(*group_fields):
        instant_params = {name: instant.isoformat() for name, instant in instants_for(as_of).items()}
        actual_values = current_values(reader, **instant_params, **dict(zip(group_fields, values, strict=True)))
        mismatch_rows += [
            (as_of, *key, content, actual_values.get(key))
            for key, content in expected.items()
            if actual_values.get(key) != content
        ]
    return mismatch_rows


def current_values(reader: Any, **params: Any) -> dict[tuple[str, str], str]:
    """All pages of what is believed, by its key; each key is there once."""
    values_by_key: dict[tuple[str, str], str] = {}
    cursor = ""
    while True:
        response = reader.get("/api/timetravel", view="state", limit=200, cursor=cursor, **params)
        assert response.status_code == 200, response.content
        page = response.json()
        values = {(record["subject"], record["collection"]): record["content"] for record in page["records"]}
        assert len(values) == len(page["records"])
        assert not values.keys() & values_by_key.keys()
        values_by_key |= values
        if not page["has_more"]:
            return values_by_key
        cursor = page["next_cursor"]


def event_time_params(as_of: datetime) -> dict[str, datetime]:
    return {"as_of": as_of}


def import_history(lines: list[dict[str, Any]]) -> None:
    report = import_lines(io.BytesIO(to_json_lines(lines)))
    assert (report.line_count, report.outcome_counts[WriteOutcome.CREATED]) == (len(lines), len(lines)), (
        report.failures[:3]
    )
    analyze_tables()


def analyze_tables() -> None:
    """As autovacuum does, a moment after so many changes."""
    execute("ANALYZE memories")


def write_and_map_instants(history: History) -> Callable[[datetime], dict[str, datetime]]:
    """Write the history change by change; tells at which instant of record time it stood where it stood at another."""
    event_times: list[datetime] = []
    versions: list[Any] = []
    version_counts: Counter[Any] = Counter()
    for envelope in history.as_updates():
        (receipt,) = write.write_memories([envelope], principal=IMPORT_PRINCIPAL, on_conflict=OnConflict.UPDATE)
        assert receipt.outcome in (WriteOutcome.CREATED, WriteOutcome.UPDATED), receipt
        event_times.append(datetime.fromisoformat(envelope["timestamp"]))
        version_counts[receipt.memory_id] += 1
        versions.append((receipt.memory_id, version_counts[receipt.memory_id]))
    analyze_tables()
    recorded_at = {
        (memory_id, version): instant
        for memory_id, version, instant in Memory.objects.values_list("memory_id", "version", "recorded_at")
    }
    known_instants = [recorded_at[version] for version in versions]
    assert known_instants == sorted(set(known_instants)), "each change has an instant of its own"
    return lambda as_of: {"known_at": known_instants[bisect_right(event_times, as_of) - 1]}


def without_early_checks(history: History) -> History:
    """The queries after the first change; before it there is no instant of record time."""
    first = datetime.fromisoformat(history.changes[0]["timestamp"])
    return History(changes=history.changes, checks=[check for check in history.checks if check.as_of >= first])


def test_a_made_history_is_believed_as_it_happened_on_event_time(reader):
    history = generate_history(MADE_CHANGE_COUNT, seed=4)
    import_history(history.changes)

    assert len(history.checks) > 1_000
    assert find_mismatches(reader, history, instants_for=event_time_params) == []


def test_the_order_in_which_the_changes_arrive_is_no_matter_on_event_time(reader):
    history = generate_history(MADE_CHANGE_COUNT, seed=5)
    latest_changes = {
        (change["subject"], change["collection"], change["timestamp"]): change for change in history.changes
    }
    late_changes = list(latest_changes.values())
    random.Random(5).shuffle(late_changes)
    import_history(late_changes)

    assert find_mismatches(reader, history, instants_for=event_time_params) == []


def test_a_made_history_is_known_as_it_was_written_on_record_time(reader):
    history = without_early_checks(generate_history(1_500 if SOAK else 300, seed=6))

    assert find_mismatches(reader, history, instants_for=write_and_map_instants(history)) == []


@needs_the_data
@pytest.mark.soak
def test_a_real_history_is_believed_as_it_happened_on_event_time(reader):
    history = load_beads()
    assert len(history.checks) == BEADS_CHECK_COUNT
    sampled_history = history.sampled(INSTANT_INTERVAL, SUBJECT_INTERVAL)
    import_history(sampled_history.changes)

    assert find_mismatches(reader, sampled_history, instants_for=event_time_params, group_fields=("subject",)) == []


@needs_the_data
@pytest.mark.soak
def test_a_real_history_is_known_as_it_was_written_on_record_time(reader):
    history = load_beads().sampled(INSTANT_INTERVAL, SUBJECT_INTERVAL)

    assert (
        find_mismatches(reader, history, instants_for=write_and_map_instants(history), group_fields=("subject",)) == []
    )
