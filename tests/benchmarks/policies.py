"""Policies at scale: what a dry run over fifty thousand open groups costs, and a step of a run and of its undoing."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

from django.db import transaction

from memoryhub.conflicts import policies, prospects, runs
from memoryhub.conflicts.models import GroupClass, Policy
from memoryhub.conflicts.prospects import Totals
from memoryhub.firewall.types import Clearance, Principal, Scope, everything
from memoryhub.ops import embedded
from tests.benchmarks.groups import GroupStore
from tests.benchmarks.pages import p95

STEPS = 20
READERS = {"high": everything(), "low": Clearance(max_tier="internal")}
RULES = [
    {"rule": "trusted_sources", "sources": ["crm", "mail"]},
    *({"rule": rule} for rule in ("actor_trust", "latest_event", "most_sources", "human")),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    name: str
    totals: Totals
    first: float
    """Seconds until the first groups are told."""
    seconds: float
    client_seconds: float
    """Of these the processor time of this process."""
    load: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    dry_runs: list[DryRun] = field(default_factory=list)
    steps: dict[str, list[float]] = field(default_factory=dict)
    """Milliseconds."""


def measure_policies(count: int) -> Measured:
    store, measured = GroupStore(count), Measured()
    with store.served():
        store.fill()
    with embedded.running(store.config):
        for name, clearance in READERS.items():
            by = Principal(name="user:bench", scopes=frozenset({Scope.ADMIN}), clearance=clearance)
            _undone(lambda by=by, name=name: measured.dry_runs.extend(_dry_runs(name, by)))  # type: ignore[misc]
        by = Principal(name="user:bench", scopes=frozenset({Scope.ADMIN}), clearance=everything())
        _undone(lambda: measured.steps.update(_steps(by)))
    return measured


def _undone(act: Callable[[], None]) -> None:
    """Do it, and leave the store as it was."""
    with transaction.atomic():
        act()
        transaction.set_rollback(True)


def _dry_runs(name: str, by: Principal) -> list[DryRun]:
    GroupClass.objects.all().delete()
    policy = Policy(
        policy_id=uuid4(), version=1, name="Bench", classes=["contradiction", "update", "duplicate"], rules=RULES
    )
    return [_dry_run(f"{name}, {how}", policy, by) for how in ("no class kept", "classes kept")]


def _dry_run(name: str, policy: Policy, by: Principal) -> DryRun:
    totals, first = Totals(), 0.0
    started, worked = time.perf_counter(), time.process_time()
    for found in prospects.dry_run(policy, by=by):
        totals = totals.and_also(found)
        first = first or time.perf_counter() - started
    done = DryRun(
        name=name,
        totals=totals,
        first=first,
        seconds=time.perf_counter() - started,
        client_seconds=time.process_time() - worked,
        load=os.getloadavg()[0],
    )
    print(f"{name}: {totals.seen:,} groups in {done.seconds:.1f} s", file=sys.stderr)
    return done


def _steps(by: Principal) -> dict[str, list[float]]:
    draft = policies.read({"name": "Bench", "rules": RULES, "classes": ["contradiction", "update"]})
    run = runs.start(policies.save(draft, by=by).policy_id, by=by)
    forward = _timed(lambda: runs.go_on(run.run_id, by=by))
    back = _timed(lambda: runs.undo(run.run_id, by=by, reason="A benchmark."))
    return {"step of a run": forward, "step of undoing it": back}


def _timed(act: Callable[[], object]) -> list[float]:
    spent = []
    for _ in range(STEPS):
        started = time.perf_counter()
        act()
        spent.append((time.perf_counter() - started) * 1000)
    return spent


def policies_section(measured: Measured, *, rows: int) -> list[str]:
    return [
        "## Policies",
        "",
        f"Among {rows:,} memories; by trusted sources, actor, latest event, most sources, in this order, and of"
        " contradictions, updates and duplicates alone. A class is computed once and kept for whoever asks next.",
        "",
        "| dry run | open groups | would be decided | first 500 | all | of it in this process | load of the 2 cores |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {one.name} | {one.totals.seen:,} | {one.totals.would_decide:,} | {one.first:.2f} s"
            f" | {one.seconds:.1f} s | {one.client_seconds:.1f} s | {one.load:.1f} |"
            for one in measured.dry_runs
        ),
        "",
        f"A step looks at {runs.STEP} groups, or undoes as many decisions, in one transaction; without its COMMIT:",
        "",
        "| step | p50 / p95 ms |",
        "|---|---|",
        *(
            f"| {name} | {sorted(spent)[len(spent) // 2]:.0f} / {p95(spent):.0f} |"
            for name, spent in measured.steps.items()
        ),
    ]
