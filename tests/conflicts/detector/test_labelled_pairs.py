"""Pairs of values as agents write them: what is no duplicate is called none, and no policy retires it as one."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest

from memoryhub.conflicts.detector.compare import ComparedValue, compare
from memoryhub.conflicts.policies.policies import DEFAULT_CLASSES
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import write
from tests.conflicts.policies.policy_factories import change_policy, make_policy, run_policy
from tests.factories import WRITER, envelope
from tests.timetravel.reference_histories import DATA

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@cache
def load_pairs() -> list[dict[str, Any]]:
    with gzip.open(DATA / "detector-pairs-dev.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def distinct_pairs() -> list[dict[str, Any]]:
    return [pair for pair in load_pairs() if pair["kind"] == "sign" and "duplicate" not in pair["accept"]]


def pair_statements(pair: dict[str, Any]) -> list[dict[str, Any]]:
    """Both values, by whom and when the pair says."""
    actors = ("one", "two") if pair["who"].startswith("two agents") else ("one", "one")
    time_apart = timedelta(minutes=10) if "ten minutes" in pair["who"] else timedelta(days=30)
    return [
        {
            "content": pair[side],
            "collection": pair["collection"],
            "actor_id": actor,
            "source": actor,
            "timestamp": timestamp,
        }
        for side, actor, timestamp in zip("ab", actors, (NOON, NOON + time_apart), strict=True)
    ]


def class_of_pair(pair: dict[str, Any]) -> str:
    first, second = (ComparedValue(actor_type="agent", **statement) for statement in pair_statements(pair))
    return compare(first, second).conflict_class


def test_a_pair_is_called_duplicate_where_it_may_be_and_nowhere_else():
    duplicate_ids = {pair["id"] for pair in load_pairs() if class_of_pair(pair) == "duplicate"}

    assert len(distinct_pairs()) == 40
    assert duplicate_ids == {pair["id"] for pair in load_pairs() if pair["accept"] == ["duplicate"]}


@pytest.mark.django_db
def test_no_policy_retires_values_that_differ_by_a_sign_as_duplicates_or_paraphrases():
    envelopes = [
        envelope(subject=pair["id"], **statement) for pair in distinct_pairs() for statement in pair_statements(pair)
    ]
    write.write_memories(envelopes, principal=WRITER)

    duplicate_run = run_policy(make_policy("latest_event", name="The same", classes=["duplicate", "paraphrase"]))
    assert (duplicate_run.groups_seen, duplicate_run.decisions_made, retired_subjects()) == (40, 0, set())

    change_policy(duplicate_run.policy, is_enabled=False)
    by_default = run_policy(make_policy("latest_event", classes=list(DEFAULT_CLASSES)))
    assert (by_default.groups_seen, by_default.decisions_made, retired_subjects()) == (40, 0, set())

    change_policy(by_default.policy, is_enabled=False)
    run_policy(make_policy("latest_event"))
    # One that is asked to decides what contradicts each other, and nothing because it were the same.
    assert retired_subjects() == {
        pair["id"] for pair in distinct_pairs() if class_of_pair(pair) in ("contradiction", "update")
    }


def retired_subjects() -> set[str]:
    return set(Memory.objects.filter(status="retired").values_list("subject", flat=True))
