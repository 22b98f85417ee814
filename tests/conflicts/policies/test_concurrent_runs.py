"""Several runs of policies at once: each group is decided once, by the run that comes first."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from memoryhub.conflicts.models import PolicyRun
from memoryhub.conflicts.policies import policy_runs
from tests.conflicts.policies.policy_factories import (
    ADMIN,
    current_statuses,
    decisions_by_key,
    finish_run,
    make_group,
    make_policy,
    undo_run,
)
from tests.factories import envelope, make_memory

pytestmark = pytest.mark.django_db(transaction=True)
GROUP_COUNT = 24


def run_in_parallel(*operations: Callable[[], object]) -> None:
    """Do these at once, each on a connection of its own."""

    def run_on_own_connection(operation: Callable[[], object]) -> None:
        try:
            operation()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(operations)) as pool:
        for future in [pool.submit(run_on_own_connection, submitted) for submitted in operations]:
            future.result(timeout=120)


def make_groups() -> None:
    for index in range(GROUP_COUNT):
        make_group(f"user:{index:02}", "Paris", "London")
        # Nobody below may miss Rome: what loses is left in force, so that nothing but the decision tells of it.
        make_group(f"user:{index:02}", "Rome", collection="low")
        make_memory(
            **envelope(subject=f"user:{index:02}", collection="low", content="Oslo", tier="restricted"),
            timestamp="2026-05-01T12:00:00Z",
        )


def test_two_runs_decide_every_group_once_between_them():
    make_groups()
    policy = make_policy(classes=["contradiction", "update", "duplicate", "paraphrase", "unrelated"])
    started_runs = [policy_runs.start_run(policy.policy_id, principal=ADMIN) for _ in range(3)]

    run_in_parallel(*(lambda run=run: finish_run(run, size=5) for run in started_runs))

    assert len(decisions_by_key()) == 2 * GROUP_COUNT
    assert set(decisions_by_key().values()) == {1}
    assert sum(run.decisions_made for run in PolicyRun.objects.all()) == 2 * GROUP_COUNT


def test_one_run_that_two_carry_on_takes_no_step_twice():
    make_groups()
    before = current_statuses()
    run = policy_runs.start_run(make_policy().policy_id, principal=ADMIN)

    run_in_parallel(*[lambda: finish_run(run, size=5)] * 3)

    finished_run = PolicyRun.objects.get()
    assert (finished_run.decisions_made, finished_run.groups_seen) == (len(decisions_by_key()), 2 * GROUP_COUNT)
    assert set(decisions_by_key().values()) == {1}
    undone_counts: list[int] = []
    run_in_parallel(*[lambda: undone_counts.append(undo_run(run, size=5))] * 3)
    assert sum(undone_counts) == finished_run.decisions_made == PolicyRun.objects.get().decisions_undone
    assert current_statuses() == before
