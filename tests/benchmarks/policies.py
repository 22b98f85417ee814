"""Policies at scale: what a dry run over fifty thousand open groups costs, and a step of a run and of its undoing."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

from django.db import transaction

from memoryhub.conflicts.models import GroupClassCache, Policy
from memoryhub.conflicts.policies import dry_runs, policies, policy_runs
from memoryhub.conflicts.policies.dry_runs import EvaluationTotals
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.operations import embedded_postgres
from tests.benchmarks.groups import GroupStore
from tests.benchmarks.pages import p95

STEP_COUNT = 20
READERS = {"high": unrestricted_clearance(), "low": Clearance(max_tier="internal")}
RULES = [
    {"rule": "trusted_sources", "sources": ["crm", "mail"]},
    *({"rule": rule} for rule in ("actor_trust", "latest_event", "most_sources", "manual_review")),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunTiming:
    name: str
    totals: EvaluationTotals
    first_seconds: float
    """Seconds until the first groups are returned."""
    seconds: float
    client_seconds: float
    """Of these the processor time of this process."""
    load: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResults:
    dry_runs: list[DryRunTiming] = field(default_factory=list)
    steps: dict[str, list[float]] = field(default_factory=dict)
    """Milliseconds."""


def measure_policies(count: int) -> PolicyResults:
    store, results = GroupStore(count), PolicyResults()
    with store.serve():
        store.fill()
    with embedded_postgres.run_server(store.config):
        for name, clearance in READERS.items():
            principal = Principal(name="user:bench", scopes=frozenset({Scope.ADMIN}), clearance=clearance)
            _rolled_back(partial(_add_dry_runs, results, name, principal))
        principal = Principal(name="user:bench", scopes=frozenset({Scope.ADMIN}), clearance=unrestricted_clearance())
        _rolled_back(lambda: results.steps.update(_measure_steps(principal)))
    return results


def _add_dry_runs(results: PolicyResults, name: str, principal: Principal) -> None:
    results.dry_runs.extend(_measure_dry_runs(name, principal))


def _rolled_back(action: Callable[[], None]) -> None:
    """Do it, and leave the store as it was."""
    with transaction.atomic():
        action()
        transaction.set_rollback(True)


def _measure_dry_runs(name: str, principal: Principal) -> list[DryRunTiming]:
    GroupClassCache.objects.all().delete()
    policy = Policy(
        policy_id=uuid4(), version=1, name="Bench", classes=["contradiction", "update", "duplicate"], rules=RULES
    )
    return [_measure_dry_run(f"{name}, {how}", policy, principal) for how in ("no cached classes", "cached classes")]


def _measure_dry_run(name: str, policy: Policy, principal: Principal) -> DryRunTiming:
    totals, first = EvaluationTotals(), 0.0
    start_time, cpu_start = time.perf_counter(), time.process_time()
    for batch in dry_runs.iter_dry_run(policy, principal=principal):
        totals = totals.plus(batch)
        first = first or time.perf_counter() - start_time
    timing = DryRunTiming(
        name=name,
        totals=totals,
        first_seconds=first,
        seconds=time.perf_counter() - start_time,
        client_seconds=time.process_time() - cpu_start,
        load=os.getloadavg()[0],
    )
    print(f"{name}: {totals.groups_seen:,} groups in {timing.seconds:.1f} s", file=sys.stderr)
    return timing


def _measure_steps(principal: Principal) -> dict[str, list[float]]:
    draft = policies.parse_input({"name": "Bench", "rules": RULES, "classes": ["contradiction", "update"]})
    run = policy_runs.start_run(policies.save_version(draft, principal=principal).policy_id, principal=principal)
    advance_seconds = _time_steps(lambda: policy_runs.advance_run(run.run_id, principal=principal))
    undo_seconds = _time_steps(lambda: policy_runs.undo_step(run.run_id, principal=principal, reason="A benchmark."))
    return {"step of a run": advance_seconds, "step of undoing it": undo_seconds}


def _time_steps(action: Callable[[], object]) -> list[float]:
    timings = []
    for _ in range(STEP_COUNT):
        start_time = time.perf_counter()
        action()
        timings.append((time.perf_counter() - start_time) * 1000)
    return timings


def policies_section(results: PolicyResults, *, rows: int) -> list[str]:
    return [
        "## Policies",
        "",
        f"Among {rows:,} memories; by trusted sources, actor, latest event, most sources, in this order, and of"
        " contradictions, updates and duplicates alone. A class is computed once and kept for the next reader.",
        "",
        "| dry run | open groups | would be decided | first 500 | all | of it in this process | load of the 2 cores |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {dry_run.name} | {dry_run.totals.groups_seen:,} | {dry_run.totals.decided_count:,}"
            f" | {dry_run.first_seconds:.2f} s | {dry_run.seconds:.1f} s | {dry_run.client_seconds:.1f} s"
            f" | {dry_run.load:.1f} |"
            for dry_run in results.dry_runs
        ),
        "",
        f"A step looks at {policy_runs.BATCH_SIZE} groups, or undoes as many decisions, in one transaction, without"
        " COMMIT:",
        "",
        "| step | p50 / p95 ms |",
        "|---|---|",
        *(
            f"| {name} | {sorted(timings)[len(timings) // 2]:.0f} / {p95(timings):.0f} |"
            for name, timings in results.steps.items()
        ),
    ]
