"""The conflicts that a new hub begins with."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from memoryhub.conflicts.models import Decision, Policy
from memoryhub.core.secrets import mask_secrets
from memoryhub.demo.conflicts import DECIDED_DISAGREEMENTS, generate_envelopes, write_demo_conflicts
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.models import Memory
from tests.factories import make_key
from tests.memories.raw_rows import execute

pytestmark = pytest.mark.django_db
DEMO_END = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
DEMO_WRITER = Principal(name="system:demo", scopes=frozenset({Scope.ADMIN}), clearance=unrestricted_clearance())


def demo_conflicts() -> None:
    # As the application, to which nothing is shown unless it says who asks; the tests' own connection sees all.
    execute("SET LOCAL memoryhub.writer_sources = ''")
    write_demo_conflicts(DEMO_END, principal=DEMO_WRITER)
    execute("SET LOCAL memoryhub.writer_sources = '*'")


def list_groups(api: Any, tier: str, **params: Any) -> dict[str, Any]:
    caller = api(make_key(scopes="read", clearance={"max_tier": tier}))
    return {group["subject"]: group for group in caller.get("/api/conflicts", limit=100, **params).json()["conflicts"]}


def test_the_queue_has_enough_of_every_class(api):
    demo_conflicts()

    classes = Counter(group["class"] for group in list_groups(api, "restricted", status="open").values())

    assert classes.total() >= 25
    assert classes["contradiction"] >= 12
    assert min(classes[name] for name in ("update", "paraphrase", "duplicate", "unrelated")) >= 3


def test_a_rival_in_a_higher_tier_is_there_for_those_who_may_see_it(api):
    demo_conflicts()
    low, high = list_groups(api, "internal"), list_groups(api, "restricted")

    assert "alarm:roof-key" in high
    assert "alarm:roof-key" not in low
    assert (low["alert:dispatch-latency"]["count"], high["alert:dispatch-latency"]["count"]) == (2, 3)


def test_texts_that_try_something_and_secrets_are_among_them():
    texts = [envelope["content"] for envelope in generate_envelopes(DEMO_END)]

    assert any("Ignore all previous instructions" in text for text in texts)
    assert any(mask_secrets(text) != text for text in texts)


def test_each_verdict_is_a_decision_of_a_steward_and_one_of_each_kind_is_there():
    demo_conflicts()

    outcomes = Counter(Decision.objects.visible_to(unrestricted_clearance()).values_list("outcome", flat=True))

    assert outcomes == {**Counter(decision.outcome for _, decision in DECIDED_DISAGREEMENTS), "undo": 1}
    assert set(outcomes) == {"keep_one", "keep_several", "merge", "not_a_conflict", "defer", "undo"}
    assert Policy.objects.get().namespace == "operations"


def test_what_was_rejected_and_is_said_again_is_retired_and_what_nobody_had_seen_opens_its_group():
    demo_conflicts()

    repeated_rows = (
        Memory.objects.visible_to(unrestricted_clearance()).current().filter(content="The van pool is a department.")
    )
    new = (
        Memory.objects.visible_to(unrestricted_clearance())
        .current()
        .get(content__startswith="Alpine", content__contains="5 %")
    )

    assert list(repeated_rows.values_list("status", flat=True)) == ["retired", "retired"]
    assert repeated_rows.values("decision_id").distinct().count() == 1
    assert new.status == "active"


def test_nothing_is_said_after_the_end_of_the_story():
    assert all(datetime.fromisoformat(envelope["timestamp"]) <= DEMO_END for envelope in generate_envelopes(DEMO_END))
