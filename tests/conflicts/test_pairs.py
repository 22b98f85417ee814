"""Pairs of values as agents write them: what is no duplicate is called none, and no policy retires it as one."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest

from memoryhub.conflicts.detector import Value, compare
from memoryhub.conflicts.policies import DEFAULT_CLASSES
from memoryhub.memories import ingest
from memoryhub.memories.models import Memory
from tests.builders import WRITER, envelope
from tests.conflicts.runs import carried_out, change, make_policy
from tests.timetravel.histories import DATA

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@cache
def pairs() -> list[dict[str, Any]]:
    with gzip.open(DATA / "detector-pairs-dev.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def told_apart() -> list[dict[str, Any]]:
    return [pair for pair in pairs() if pair["kind"] == "sign" and "duplicate" not in pair["accept"]]


def statements(pair: dict[str, Any]) -> list[dict[str, Any]]:
    """Both values, by whom and when the pair says."""
    actors = ("one", "two") if pair["who"].startswith("two agents") else ("one", "one")
    apart = timedelta(minutes=10) if "ten minutes" in pair["who"] else timedelta(days=30)
    return [
        {"content": pair[side], "collection": pair["collection"], "actor_id": actor, "source": actor, "timestamp": at}
        for side, actor, at in zip("ab", actors, (NOON, NOON + apart), strict=True)
    ]


def class_of(pair: dict[str, Any]) -> str:
    one, other = (Value(actor_type="agent", **told) for told in statements(pair))
    return compare(one, other).klass


def test_a_pair_is_called_duplicate_where_it_may_be_and_nowhere_else():
    found = {pair["id"] for pair in pairs() if class_of(pair) == "duplicate"}

    assert len(told_apart()) == 40
    assert found == {pair["id"] for pair in pairs() if pair["accept"] == ["duplicate"]}


@pytest.mark.django_db
def test_no_policy_retires_values_that_differ_by_a_sign_as_duplicates_or_paraphrases():
    told = [envelope(subject=pair["id"], **statement) for pair in told_apart() for statement in statements(pair)]
    ingest.write(told, by=WRITER)

    same = carried_out(make_policy("latest_event", name="The same", classes=["duplicate", "paraphrase"]))
    assert (same.seen, same.decided, retired()) == (40, 0, set())

    change(same.policy, is_enabled=False)
    by_default = carried_out(make_policy("latest_event", classes=list(DEFAULT_CLASSES)))
    assert (by_default.seen, by_default.decided, retired()) == (40, 0, set())

    change(by_default.policy, is_enabled=False)
    carried_out(make_policy("latest_event"))
    # One that is asked to decides what contradicts each other, and nothing because it were the same.
    assert retired() == {pair["id"] for pair in told_apart() if class_of(pair) in ("contradiction", "update")}


def retired() -> set[str]:
    return set(Memory.objects.filter(status="retired").values_list("subject", flat=True))
