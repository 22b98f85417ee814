"""The conflicts that a new hub begins with."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from memoryhub.conflicts.models import Decision, Policy
from memoryhub.firewall.types import Principal, Scope, everything
from memoryhub.memories.models import Memory
from memoryhub.memories.suspicion import masked
from memoryhub.ops.demo_conflicts import VERDICTS, envelopes, tell_conflicts
from tests.builders import make_key
from tests.memories.rows import execute

pytestmark = pytest.mark.django_db
UNTIL = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
WRITER = Principal(name="system:demo", scopes=frozenset({Scope.ADMIN}), clearance=everything())


def told() -> None:
    # As the application, to which nothing is shown unless it says who asks; the tests' own connection sees all.
    execute("SET LOCAL memoryhub.writes_as = ''")
    tell_conflicts(UNTIL, writer=WRITER)
    execute("SET LOCAL memoryhub.writes_as = '*'")


def shown(api: Any, tier: str, **asked: Any) -> dict[str, Any]:
    caller = api(make_key(scopes="read", clearance={"max_tier": tier}))
    return {group["subject"]: group for group in caller.get("/api/conflicts", limit=100, **asked).json()["conflicts"]}


def test_the_queue_has_enough_of_every_class(api):
    told()

    classes = Counter(group["class"] for group in shown(api, "restricted", status="open").values())

    assert classes.total() >= 25
    assert classes["contradiction"] >= 12
    assert min(classes[name] for name in ("update", "paraphrase", "duplicate", "unrelated")) >= 3


def test_a_rival_in_a_higher_tier_is_there_for_those_who_may_see_it(api):
    told()
    low, high = shown(api, "internal"), shown(api, "restricted")

    assert "alarm:roof-key" in high
    assert "alarm:roof-key" not in low
    assert (low["alert:dispatch-latency"]["count"], high["alert:dispatch-latency"]["count"]) == (2, 3)


def test_texts_that_try_something_and_secrets_are_among_them():
    texts = [envelope["content"] for envelope in envelopes(UNTIL)]

    assert any("Ignore all previous instructions" in text for text in texts)
    assert any(masked(text) != text for text in texts)


def test_each_verdict_is_a_decision_of_a_steward_and_one_of_each_kind_is_there():
    told()

    outcomes = Counter(Decision.objects.visible_to(everything()).values_list("outcome", flat=True))

    assert outcomes == {**Counter(verdict.outcome for verdict in VERDICTS), "undo": 1}
    assert set(outcomes) == {"keep_one", "keep_several", "merge", "not_a_conflict", "defer", "undo"}
    assert Policy.objects.get().namespace == "operations"


def test_what_was_rejected_and_is_said_again_is_retired_and_what_nobody_had_seen_opens_its_group():
    told()

    again = Memory.objects.visible_to(everything()).current().filter(content="The van pool is a department.")
    new = Memory.objects.visible_to(everything()).current().get(content__startswith="Alpine", content__contains="5 %")

    assert list(again.values_list("status", flat=True)) == ["retired", "retired"]
    assert again.values("decision").distinct().count() == 1
    assert new.status == "active"


def test_nothing_is_said_after_the_end_of_the_story():
    assert all(datetime.fromisoformat(envelope["timestamp"]) <= UNTIL for envelope in envelopes(UNTIL))
