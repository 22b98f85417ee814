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

    def of_every(self, number: int) -> "History":
        """The checks at every `number`th instant, the first and the last among them, and all that they are about."""
        instants = sorted({check.as_of for check in self.checks})
        kept = {*instants[::number], instants[-1]}
        checks = [check for check in self.checks if check.as_of in kept]
        subjects = {check.subject for check in checks}
        return History(changes=[made for made in self.changes if made["subject"] in subjects], checks=checks)

    def as_updates(self) -> Iterator[dict[str, Any]]:
        """The same changes as versions of one memory for each key."""
        for made in self.changes:
            yield made | {"payload_id": f"{made['subject']}/{made['collection']}"}

    def by(self, *names: str) -> Iterator[tuple[tuple[Any, ...], dict[Key, str | None]]]:
        """What is true where these fields of a check are the same, key by key."""
        of_group = attrgetter("as_of", *names, "as_of")
        for group, checks in groupby(sorted(self.checks, key=of_group), of_group):
            yield group[1:], {(check.subject, check.collection): check.content for check in checks}


def beads() -> History:
    """The history of an issue store that agents kept; the truth was read from its whole files."""
    checks = [
        Check(datetime.fromisoformat(told["as_of"]), one["subject"], one["collection"], one["content"])
        for told in _lines(CHECKS)
        for one in told["checks"]
    ]
    return History(changes=list(_lines(CHANGES)), checks=checks)


def made(number: int, *, seed: int) -> History:
    """`number` changes in the same shape; the truth is what a replay in plain Python comes to."""
    dice = random.Random(seed)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    keys = [(f"issue-{dice.randrange(number // 20)}", dice.choice(COLLECTIONS)) for _ in range(number // 4)]
    changes: list[dict[str, Any]] = []
    for place in range(number):
        # Many changes share an instant, as those of one commit do, now and then two of one key: the later one holds.
        now += timedelta(microseconds=dice.choice([0, 0, 0, 1, 999_999, 3_600_000_000]))
        subject, collection = dice.choice(keys)
        is_cleared = dice.random() < 0.05
        changes.append(
            {
                "payload_id": f"change-{place}",
                "source": "made",
                "subject": subject,
                "namespace": "made",
                "collection": collection,
                "content": "(none)" if is_cleared else f"{collection} {place % 97}",
                "timestamp": now.isoformat(),
                "actor_type": "agent",
                "metadata": {"op": "clear"} if is_cleared else {},
            }
        )
    return History(changes=changes, checks=_replayed(changes, keys, dice))


def _replayed(changes: list[dict[str, Any]], keys: list[Key], dice: random.Random) -> list[Check]:
    happened = [datetime.fromisoformat(one["timestamp"]) for one in changes]
    aside = timedelta(microseconds=1)
    instants = {happened[0] - aside, happened[-1]}
    instants |= {dice.choice(happened) + dice.choice([-1, 0, 1]) * aside for _ in range(40)}
    checks = []
    for instant in sorted(instants):
        held: dict[Key, str] = {}
        for change, when in zip(changes, happened, strict=True):
            if when <= instant:
                held[change["subject"], change["collection"]] = change["content"]
        checks += [Check(instant, *key, held.get(key)) for key in sorted(set(keys))]
    return checks


def written(changes: Iterable[dict[str, Any]]) -> bytes:
    """As the lines of a file."""
    return b"".join(json.dumps(made).encode() + b"\n" for made in changes)


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file) as lines:
        yield from map(json.loads, lines)
