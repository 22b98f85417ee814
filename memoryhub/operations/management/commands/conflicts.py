from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import orjson
from django.contrib.auth.models import User
from django.core.management import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from memoryhub.conflicts.groups import consistency
from memoryhub.conflicts.groups.group_keys import encode_id
from memoryhub.conflicts.models import Policy, PolicyRun
from memoryhub.conflicts.policies import dry_runs, policies, policy_evaluation, policy_runs
from memoryhub.conflicts.policies.dry_runs import EvaluationTotals
from memoryhub.conflicts.policies.policy_evaluation import SKIP_REASONS, GroupEvaluation
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.firewall.models import ClearanceProfile
from memoryhub.firewall.principal import MissingScopeError, Principal, Scope
from memoryhub.firewall.principal_lookup import resolve_principal
from memoryhub.memories.writes.envelope import OperationRejectedError
from memoryhub.operations.management import filter_arguments

OPERATOR_PRINCIPAL = Principal(
    name="system:operator", scopes=frozenset({Scope.ADMIN}), clearance=unrestricted_clearance()
)


class Command(BaseCommand):
    help = "Verify conflict groups; evaluate, apply and undo policies."

    def add_arguments(self, parser: CommandParser) -> None:
        subparsers = parser.add_subparsers(dest="action", required=True)
        verify_parser = self._add_subcommand(
            subparsers,
            "verify",
            self._verify_groups,
            "recompute all conflict groups and compare them with the stored ones",
        )
        verify_parser.add_argument(
            "--clearance",
            action="append",
            metavar="NAME",
            help="verify the groups as this clearance sees them (default: as the operator and as each clearance)",
        )
        self._add_subcommand(subparsers, "policies", self._list_policies, "the policies, the most specific first")
        dry_run_parser = self._add_subcommand(
            subparsers, "dry-run", self._run_dry, "show what a policy would decide about each open group"
        )
        apply_parser = self._add_subcommand(
            subparsers, "apply", self._apply_policy, "apply a policy to all open groups"
        )
        for policy_parser in (dry_run_parser, apply_parser):
            policy_parser.add_argument("policy", type=UUID, metavar="POLICY")
        apply_parser.add_argument(
            "--run", type=UUID, metavar="RUN", help="continue this run instead of starting another one"
        )
        undo_parser = self._add_subcommand(subparsers, "undo-run", self._undo_policy_run, "undo all decisions of a run")
        undo_parser.add_argument("run", type=UUID, metavar="RUN")
        undo_parser.add_argument("--reason", required=True)

    def _add_subcommand(
        self, subparsers: Any, name: str, run_subcommand: Callable[..., None], description: str
    ) -> CommandParser:
        parser: CommandParser = subparsers.add_parser(name, help=description, description=description)
        parser.add_argument(
            "--as",
            dest="user",
            metavar="USER",
            help="use the clearance and scopes of this user (default: the operator's)",
        )
        parser.add_argument("--json", action="store_true", help="write JSON lines instead of text")
        parser.set_defaults(run_subcommand=run_subcommand)
        return parser

    def handle(self, *_args: Any, **options: Any) -> None:
        with filter_arguments.errors_as_command_errors():
            filter_arguments.lift_time_limit()
            principal = _get_principal(options["user"])
            try:
                options["run_subcommand"](principal, **options)
            except MissingScopeError as error:
                raise CommandError(f"{principal.name} lacks a permission. {error}".rstrip()) from None
            except OperationRejectedError as error:
                raise CommandError(
                    " ".join(message for messages in error.errors.values() for message in messages)
                ) from None

    def _verify_groups(self, _principal: Principal, *, clearance: list[str] | None, json: bool, **_: Any) -> None:
        names: list[str | None] = [None, *ClearanceProfile.objects.values_list("name", flat=True)]
        if clearance:
            names = [*clearance]
        with _show_progress(None, "") as update_progress:
            report = consistency.verify_conflicts(
                map(filter_arguments.get_clearance, names),
                progress=lambda description, completed: update_progress(completed, description),
            )
        for finding in report.findings:
            self._write_output({"finding": finding}, finding, json=json)
        counts = {name: getattr(report, name) for name in ("open", "decided", "decisions", "retired")}
        counts_text = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        self._write_output(
            {**counts, "clearance_count": len(names)}, f"As {len(names):,} readers see them: {counts_text}.", json=json
        )
        if report.findings:
            raise CommandError(f"{len(report.findings):,} findings.", returncode=1)

    def _list_policies(self, principal: Principal, *, json: bool, **_: Any) -> None:
        principal.require_scopes(Scope.CURATE)
        for policy in policies.list_current(principal):
            self._write_output(policies.to_json(policy), _format_policy(policy), json=json)

    def _run_dry(self, principal: Principal, *, policy: UUID, json: bool, **_: Any) -> None:
        principal.require_scopes(Scope.CURATE, Scope.READ)
        evaluated_policy, totals = _get_policy(policy, principal), EvaluationTotals()
        with _show_progress(policy_evaluation.count_keys(evaluated_policy, principal=principal)) as update_progress:
            for evaluations in dry_runs.iter_dry_run(evaluated_policy, principal=principal):
                totals = totals.plus(evaluations)
                update_progress(totals.groups_seen)
                for evaluation in evaluations:
                    self._write_output(_serialize_evaluation(evaluation), _format_evaluation(evaluation), json=json)
        self.stderr.write(_format_totals(totals))

    def _apply_policy(self, principal: Principal, *, policy: UUID, run: UUID | None, json: bool, **_: Any) -> None:
        policy_run = policy_runs.get_run(run, principal) if run else policy_runs.start_run(policy, principal=principal)
        if policy_run is None or policy_run.policy.policy_id != policy:
            raise CommandError("There is no such run of this policy.")
        # The run's id is needed to continue after an interruption.
        self.stderr.write(f"Run {policy_run.run_id}.")
        with _show_progress(
            policy_evaluation.count_keys(policy_run.policy, principal=principal) + policy_run.groups_seen
        ) as update_progress:
            while policy_run.finished_at is None:
                policy_run = policy_runs.advance_run(policy_run.run_id, principal=principal)
                update_progress(policy_run.groups_seen)
        self._write_output(policy_runs.to_json(policy_run), _format_run(policy_run), json=json)

    def _undo_policy_run(self, principal: Principal, *, run: UUID, reason: str, json: bool, **_: Any) -> None:
        undone_count = refused_count = 0
        policy_run = policy_runs.get_run(run, principal)
        with _show_progress(policy_run.decisions_made if policy_run else None, "decisions") as update_progress:
            while True:
                step = policy_runs.undo_step(run, principal=principal, reason=reason)
                undone_count, refused_count = undone_count + step.undone_count, refused_count + step.refused_count
                update_progress(undone_count)
                if step.is_finished:
                    break
        self._write_output(
            {**policy_runs.to_json(step.run), "undone_count_total": undone_count},
            f"{undone_count:,} decisions undone.",
            json=json,
        )
        if refused_count:
            raise CommandError(f"{refused_count:,} decisions could not be undone.", returncode=1)

    def _write_output(self, document: Mapping[str, Any], text: str, *, json: bool) -> None:
        if json:
            self.stdout.write(orjson.dumps(document, option=orjson.OPT_UTC_Z).decode())
        else:
            # Agents write hostile text: none of its control characters may reach the terminal.
            self.stdout.write("".join(character if character.isprintable() else "\ufffd" for character in text))


def _get_principal(username: str | None) -> Principal:
    if username is None:
        return OPERATOR_PRINCIPAL
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise CommandError(f"There is no user named {username!r}.")
    return resolve_principal(user)


def _get_policy(policy_id: UUID, principal: Principal) -> Policy:
    policy = policies.get_current(policy_id, principal)
    if policy is None:
        raise CommandError("There is no such policy.")
    return policy


def _format_policy(policy: Policy) -> str:
    scope_parts = [
        f"{name} {value}" for name in ("namespace", "collection") if (value := getattr(policy, name)) is not None
    ]
    rule_names = " → ".join(rule["rule"] for rule in policy.rules)
    state = "" if policy.is_enabled else ", disabled"
    scope = ", ".join(scope_parts) or "all groups"
    return f"{policy.policy_id}  {policy.name} v{policy.version} ({scope}{state}): {rule_names}"


def _serialize_evaluation(evaluation: GroupEvaluation) -> dict[str, Any]:
    names = ("evidence", "conflict_class", "value_count", "memory_count", "keep", "rule", "explanation", "skip_reason")
    fields = {name: getattr(evaluation, name) for name in names}
    return {"id": encode_id(*evaluation.key), "subject": evaluation.key[0], "collection": evaluation.key[1], **fields}


def _format_evaluation(evaluation: GroupEvaluation) -> str:
    result = (
        f"left: {SKIP_REASONS[evaluation.skip_reason]}"
        if evaluation.skip_reason
        else f"keep {evaluation.keep} ({evaluation.rule}: {evaluation.explanation})"
    )
    return f"{evaluation.key[0]} / {evaluation.key[1]}: {result}"


def _format_totals(totals: EvaluationTotals) -> str:
    rule_counts = "".join(f"; {count:,} by {rule}" for rule, count in totals.decided_by_rule.items())
    skip_counts = "".join(
        f"; {count:,} left: {SKIP_REASONS[skip_reason]}" for skip_reason, count in totals.skipped_by_reason.items()
    )
    return f"{totals.groups_seen:,} open groups: {totals.decided_count:,} would be decided{rule_counts}{skip_counts}"


def _format_run(run: PolicyRun) -> str:
    return (
        f"Run {run.run_id}: {run.groups_seen:,} open groups, {run.decisions_made:,} decided,"
        f" {run.groups_skipped:,} left to curators."
    )


@contextmanager
def _show_progress(total: int | None, description: str = "groups") -> Iterator[Callable[..., None]]:
    console = Console(stderr=True)
    columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress_bar:
        task = progress_bar.add_task(description, total=total)
        yield lambda completed, description=description: progress_bar.update(
            task, completed=completed, description=description
        )
