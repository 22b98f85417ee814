"""Histories whose truth is known apart from the hub: a real one, and one made here in the same shape."""

import gzip
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CHANGES, CHECKS = DATA / "beads-changes.jsonl.gz", DATA / "beads-asof.jsonl.gz"
COLLECTIONS = ("status", "title", "priority", "assignee", "description")
Key = tuple[str, str]


class Check(NamedTuple):
    """What a key holds at an instant; None is no value yet."""

    as_of: datetime
    subject: str
    collection: str
    content: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Changes in the order in which they happened, as envelopes, and what is true of them."""

    changes: list[dict[str, Any]]
    checks: list[Check]

    def sampled(self, instant_interval: int, subject_interval: int) -> "History":
        """The checks at every `instant_interval`th instant, the first and the last among them, of some subjects.

        With all changes of these subjects: every `subject_interval`th of those that the checks are about.
        """
        instants = sorted({check.as_of for check in self.checks})
        kept_instants = {*instants[::instant_interval], instants[-1]}
        checks = [check for check in self.checks if check.as_of in kept_instants]
        subjects = set(sorted({check.subject for check in checks})[::subject_interval])
        return History(
            changes=[change for change in self.changes if change["subject"] in subjects],
            checks=[check for check in checks if check.subject in subjects],
        )

    def as_updates(self) -> Iterator[dict[str, Any]]:
        """The same changes as versions of one memory for each key."""
        for change in self.changes:
            yield change | {"payload_id": f"{change['subject']}/{change['collection']}"}

    def checks_by(self, *names: str) -> Iterator[tuple[tuple[Any, ...], dict[Key, str | None]]]:
        """What is true where these fields of a check are the same, key by key."""
        of_group = attrgetter("as_of", *names, "as_of")
        for group, checks in groupby(sorted(self.checks, key=of_group), of_group):
            yield group[1:], {(check.subject, check.collection): check.content for check in checks}


def load_beads() -> History:
    """The history of an issue store that agents kept; the truth was read from its whole files."""
    checks = [
        Check(datetime.fromisoformat(line["as_of"]), check["subject"], check["collection"], check["content"])
        for line in _read_lines(CHECKS)
        for check in line["checks"]
    ]
    return History(changes=list(_read_lines(CHANGES)), checks=checks)


def generate_history(change_count: int, *, seed: int) -> History:
    """`change_count` changes in the same shape; the truth is what a replay in plain Python comes to."""
    rng = random.Random(seed)
    instant = datetime(2026, 1, 1, tzinfo=UTC)
    keys = [(f"issue-{rng.randrange(change_count // 20)}", rng.choice(COLLECTIONS)) for _ in range(change_count // 4)]
    changes: list[dict[str, Any]] = []
    for index in range(change_count):
        # Many changes share an instant, as those of one commit do, now and then two of one key: the later one holds.
        instant += timedelta(microseconds=rng.choice([0, 0, 0, 1, 999_999, 3_600_000_000]))
        subject, collection = rng.choice(keys)
        is_cleared = rng.random() < 0.05
        changes.append(
            {
                "payload_id": f"change-{index}",
                "source": "made",
                "subject": subject,
                "namespace": "made",
                "collection": collection,
                "content": "(none)" if is_cleared else f"{collection} {index % 97}",
                "timestamp": instant.isoformat(),
                "actor_type": "agent",
                "metadata": {"op": "clear"} if is_cleared else {},
            }
        )
    return History(changes=changes, checks=_replay_checks(changes, keys, rng))


def _replay_checks(changes: list[dict[str, Any]], keys: list[Key], rng: random.Random) -> list[Check]:
    event_times = [datetime.fromisoformat(recorded_change["timestamp"]) for recorded_change in changes]
    microsecond = timedelta(microseconds=1)
    instants = {event_times[0] - microsecond, event_times[-1]}
    instants |= {rng.choice(event_times) + rng.choice([-1, 0, 1]) * microsecond for _ in range(40)}
    checks = []
    for instant in sorted(instants):
        content_by_key: dict[Key, str] = {}
        for change, event_time in zip(changes, event_times, strict=True):
            if event_time <= instant:
                content_by_key[change["subject"], change["collection"]] = change["content"]
        checks += [Check(instant, *key, content_by_key.get(key)) for key in sorted(set(keys))]
    return checks


def to_json_lines(changes: Iterable[dict[str, Any]]) -> bytes:
    """As the lines of a file."""
    return b"".join(json.dumps(change).encode() + b"\n" for change in changes)


def _read_lines(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file) as lines:
        yield from map(json.loads, lines)
