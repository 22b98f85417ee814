from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import orjson
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.management import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from memoryhub.conflicts import policies, prospects, runs, verify
from memoryhub.conflicts.keys import id_of
from memoryhub.conflicts.models import Policy, PolicyRun
from memoryhub.conflicts.prospects import LEFT, Prospect, Totals
from memoryhub.firewall.models import ClearanceRecord
from memoryhub.firewall.principals import principal_of
from memoryhub.firewall.types import Principal, Scope, everything
from memoryhub.memories.envelope import Rejected
from memoryhub.ops.management import questions

OPERATOR = Principal(name="system:operator", scopes=frozenset({Scope.ADMIN}), clearance=everything())


class Command(BaseCommand):
    help = "Verify conflicts; try policies on those that are open, carry them out, and take that back."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        found = self._verb(verbs, "verify", self._verify, "find all conflicts anew, and compare that with the lists")
        found.add_argument(
            "--clearance", action="append", metavar="NAME", help="as this one sees them (default: all there are)"
        )
        self._verb(verbs, "policies", self._policies, "the policies, the most specific first")
        dry_run = self._verb(verbs, "dry-run", self._dry_run, "tell what a policy would do to each open group")
        apply = self._verb(verbs, "apply", self._apply, "carry out a policy over all open groups")
        for of_policy in (dry_run, apply):
            of_policy.add_argument("policy", type=UUID, metavar="POLICY")
        apply.add_argument("--run", type=UUID, metavar="RUN", help="go on with this run instead of starting one")
        undo = self._verb(verbs, "undo-run", self._undo_run, "undo all that a run decided")
        undo.add_argument("run", type=UUID, metavar="RUN")
        undo.add_argument("--reason", required=True)

    def _verb(self, verbs: Any, name: str, act: Callable[..., None], words: str) -> CommandParser:
        verb: CommandParser = verbs.add_parser(name, help=words, description=words)
        verb.add_argument(
            "--as", dest="user", metavar="USER", help="with what this user sees and may (default: the operator)"
        )
        verb.add_argument("--json", action="store_true", help="JSON lines instead of words")
        verb.set_defaults(act=act)
        return verb

    def handle(self, *_args: Any, **options: Any) -> None:
        with questions.answered():
            questions.lift_time_limit()
            by = _principal(options["user"])
            try:
                options["act"](by, **options)
            except PermissionDenied as denied:
                raise CommandError(f"{by.name} may not do that. {denied}".rstrip()) from None
            except Rejected as refused:
                raise CommandError(" ".join(said for each in refused.errors.values() for said in each)) from None

    def _verify(self, _by: Principal, *, clearance: list[str] | None, json: bool, **_: Any) -> None:
        names: list[str | None] = [None, *ClearanceRecord.objects.values_list("name", flat=True)]
        if clearance:
            names = [*clearance]
        with _bar(None, "") as advance:
            report = verify.verify(map(questions.clearance, names), progress=lambda of, done: advance(done, of))
        for finding in report.findings:
            self._say({"finding": finding}, finding, json=json)
        told = {name: getattr(report, name) for name in ("open", "decided", "decisions", "retired")}
        numbers = ", ".join(f"{number:,} {name}" for name, number in told.items())
        self._say({**told, "readers": len(names)}, f"As {len(names):,} readers see them: {numbers}.", json=json)
        if report.findings:
            raise CommandError(f"{len(report.findings):,} findings.", returncode=1)

    def _policies(self, by: Principal, *, json: bool, **_: Any) -> None:
        by.require(Scope.INSPECT)
        for policy in policies.newest(by):
            self._say(policies.as_json(policy), _in_words(policy), json=json)

    def _dry_run(self, by: Principal, *, policy: UUID, json: bool, **_: Any) -> None:
        by.require(Scope.INSPECT, Scope.READ)
        tried, totals = _one(policy, by), Totals()
        with _bar(prospects.count(tried, by=by)) as advance:
            for found in prospects.dry_run(tried, by=by):
                totals = totals.and_also(found)
                advance(totals.seen)
                for each in found:
                    self._say(_told(each), _told_in_words(each), json=json)
        self.stderr.write(_sum(totals))

    def _apply(self, by: Principal, *, policy: UUID, run: UUID | None, json: bool, **_: Any) -> None:
        going = runs.one(run, by) if run else runs.start(policy, by=by)
        if going is None or going.policy.policy_id != policy:
            raise CommandError("There is no such run of this policy.")
        # Whoever breaks it off needs this to go on with it.
        self.stderr.write(f"Run {going.run_id}.")
        with _bar(prospects.count(going.policy, by=by) + going.seen) as advance:
            while going.finished is None:
                going = runs.go_on(going.run_id, by=by)
                advance(going.seen)
        self._say(runs.as_json(going), _run_in_words(going), json=json)

    def _undo_run(self, by: Principal, *, run: UUID, reason: str, json: bool, **_: Any) -> None:
        undone = refused = 0
        found = runs.one(run, by)
        with _bar(found.decided if found else None, "decisions") as advance:
            while True:
                step = runs.undo(run, by=by, reason=reason)
                undone, refused = undone + step.undone, refused + step.refused
                advance(undone)
                if step.is_finished:
                    break
        self._say({**runs.as_json(step.run), "undone_now": undone}, f"{undone:,} decisions undone.", json=json)
        if refused:
            raise CommandError(f"{refused:,} decisions could not be undone.", returncode=1)

    def _say(self, told: dict[str, Any], words: str, *, json: bool) -> None:
        if json:
            self.stdout.write(orjson.dumps(told, option=orjson.OPT_UTC_Z).decode())
        else:
            # What agents wrote is hostile text: no control character of it reaches the terminal.
            self.stdout.write("".join(each if each.isprintable() else "\ufffd" for each in words))


def _principal(username: str | None) -> Principal:
    if username is None:
        return OPERATOR
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise CommandError(f"There is no user named {username!r}.")
    return principal_of(user)


def _one(policy_id: UUID, by: Principal) -> Policy:
    found = policies.one(policy_id, by)
    if found is None:
        raise CommandError("There is no such policy.")
    return found


def _in_words(policy: Policy) -> str:
    about = [f"{name} {value}" for name in ("namespace", "collection") if (value := getattr(policy, name)) is not None]
    named = " → ".join(rule["rule"] for rule in policy.rules)
    state = "" if policy.is_enabled else ", disabled"
    return f"{policy.policy_id}  {policy.name} v{policy.version} ({', '.join(about) or 'all groups'}{state}): {named}"


def _told(each: Prospect) -> dict[str, Any]:
    names = ("evidence", "klass", "value_count", "memory_count", "keep", "rule", "words", "left")
    told = {name: getattr(each, name) for name in names}
    return {"id": id_of(*each.key), "subject": each.key[0], "collection": each.key[1], **told}


def _told_in_words(each: Prospect) -> str:
    fate = f"left: {LEFT[each.left]}" if each.left else f"keep {each.keep} ({each.rule}: {each.words})"
    return f"{each.key[0]} / {each.key[1]}: {fate}"


def _sum(totals: Totals) -> str:
    by_rule = "".join(f"; {number:,} by {rule}" for rule, number in totals.decided.items())
    why = "".join(f"; {number:,} left: {LEFT[left]}" for left, number in totals.left.items())
    return f"{totals.seen:,} open groups: {totals.would_decide:,} would be decided{by_rule}{why}"


def _run_in_words(run: PolicyRun) -> str:
    return f"Run {run.run_id}: {run.seen:,} open groups, {run.decided:,} decided, {run.left:,} left to people."


@contextmanager
def _bar(total: int | None, of: str = "groups") -> Iterator[Callable[..., None]]:
    console = Console(stderr=True)
    columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(of, total=total)
        yield lambda done, of=of: bar.update(task, completed=done, description=of)
