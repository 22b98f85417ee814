"""Several who carry out policies at once: each group is decided once, whoever comes first."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from memoryhub.conflicts import runs
from memoryhub.conflicts.models import PolicyRun
from tests.builders import envelope, make_memory
from tests.conflicts.runs import ADMIN, current, decided, finished, make_group, make_policy, taken_back

pytestmark = pytest.mark.django_db(transaction=True)
GROUPS = 24


def at_once(*acts: Callable[[], object]) -> None:
    """Do these at once, each on a connection of its own."""

    def alone(act: Callable[[], object]) -> None:
        try:
            act()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        for done in [pool.submit(alone, act) for act in acts]:
            done.result(timeout=120)


def make_groups() -> None:
    for number in range(GROUPS):
        make_group(f"user:{number:02}", "Paris", "London")
        # Nobody below may miss Rome: what loses is left in force, so that nothing but the decision tells of it.
        make_group(f"user:{number:02}", "Rome", collection="low")
        make_memory(
            **envelope(subject=f"user:{number:02}", collection="low", content="Oslo", tier="restricted"),
            timestamp="2026-05-01T12:00:00Z",
        )


def test_two_runs_decide_every_group_once_between_them():
    make_groups()
    policy = make_policy(classes=["contradiction", "update", "duplicate", "paraphrase", "unrelated"])
    started = [runs.start(policy.policy_id, by=ADMIN) for _ in range(3)]

    at_once(*(lambda run=run: finished(run, size=5) for run in started))

    assert len(decided()) == 2 * GROUPS
    assert set(decided().values()) == {1}
    assert sum(run.decided for run in PolicyRun.objects.all()) == 2 * GROUPS


def test_one_run_that_two_carry_on_takes_no_step_twice():
    make_groups()
    before = current()
    run = runs.start(make_policy().policy_id, by=ADMIN)

    at_once(*[lambda: finished(run, size=5)] * 3)

    done = PolicyRun.objects.get()
    assert (done.decided, done.seen) == (len(decided()), 2 * GROUPS)
    assert set(decided().values()) == {1}
    undone: list[int] = []
    at_once(*[lambda: undone.append(taken_back(run, size=5))] * 3)
    assert sum(undone) == done.decided == PolicyRun.objects.get().undone
    assert current() == before
