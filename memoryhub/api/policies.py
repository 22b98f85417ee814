"""Policies over the API: written, tried, carried out in steps, and taken back."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, TypedDict
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.api import documentation as docs
from memoryhub.api.bodies import Undoing
from memoryhub.api.judging import JudgingView, refusals, route_of, unconditional
from memoryhub.api.permissions import principal
from memoryhub.api.policy_shapes import DryRun, NewVersion, Nothing
from memoryhub.api.problems import not_found, request_id_of
from memoryhub.api.views import View, shown
from memoryhub.conflicts import policies, prospects, runs
from memoryhub.conflicts.keys import id_of
from memoryhub.conflicts.models import Policy, PolicyRun
from memoryhub.conflicts.policies import Draft
from memoryhub.conflicts.prospects import LEFT, Prospect
from memoryhub.firewall.types import Scope
from memoryhub.memories.filters import refuse_unknown
from memoryhub.memories.pages import MAX_LIMIT
from memoryhub.ops import reads

_STATUS = {"disabled": 409, "superseded": 409, "other_reach": 403}


class Whence(TypedDict):
    """What the ledger is told of a request."""

    route: str
    request_id: str


class PolicyView(JudgingView):
    # Looking at policies takes who may decide, and all else an admin.
    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.INSPECT, "POST": Scope.ADMIN}

    def whence(self, request: Request) -> Whence:
        return {"route": route_of(request), "request_id": request_id_of(request)}


class PoliciesView(PolicyView):
    @docs.policies
    def get(self, request: Request) -> Response:
        refuse_unknown(request.query_params, frozenset())
        found = policies.newest(principal(request))
        return Response({"policies": shown(request, list(map(policies.as_json, found)))})

    @docs.policy_create
    def post(self, request: Request) -> Response:
        with refusals(_STATUS):
            made = policies.save(self.asked(request, Draft), by=principal(request), **self.whence(request))
        return Response(_whole(request, made.policy_id), status=201, headers={"Location": _place(made)})


class PolicyOfId(PolicyView):
    @docs.policy
    def get(self, request: Request, policy_id: UUID) -> Response:
        refuse_unknown(request.query_params, frozenset())
        return Response(_whole(request, policy_id))

    @docs.policy_change
    def post(self, request: Request, policy_id: UUID) -> Response:
        with refusals(_STATUS):
            asked = self.asked(request, NewVersion)
            _one(request, policy_id)
            if not asked.version:
                raise unconditional("Say which version was read: its number as version.")
            draft = Draft.model_validate(asked.model_dump(exclude={"version"}))
            policies.save(
                draft, by=principal(request), policy_id=policy_id, version=asked.version, **self.whence(request)
            )
        return Response(_whole(request, policy_id), status=201)


class DryRunView(PolicyView):
    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.INSPECT}

    @docs.policy_dry_run
    def post(self, request: Request, policy_id: UUID) -> Response:
        by = principal(request)
        with refusals(_STATUS):
            asked = self.asked(request, DryRun)
        limit = min(asked.limit, MAX_LIMIT)
        page = prospects.page(_one(request, policy_id), reader=by, limit=limit, cursor=asked.cursor)
        said = prospects.contents([each.keep for each in page.prospects if each.keep], by)
        reads.asked(request._request, by=by, memory_ids=list(said))
        response = Response(
            {
                "groups": shown(request, [_told(each, said) for each in page.prospects]),
                "totals": asdict(page.totals),
                "next_cursor": page.next_cursor,
                "has_more": page.next_cursor is not None,
            }
        )
        self.add_clipped_header(response, *(["limit"] if asked.limit > limit else []))
        return response


class StartView(PolicyView):
    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.ADMIN}

    @docs.policy_run
    def post(self, request: Request, policy_id: UUID) -> Response:
        by = principal(request)
        with refusals(_STATUS):
            self.asked(request, Nothing)
            run = runs.start(policy_id, by=by, **self.whence(request))
            run = runs.go_on(run.run_id, by=by, **self.whence(request))
        return Response(_run(request, run), status=201, headers={"Location": f"/api/policy-runs/{run.run_id}"})


class RunsView(View):
    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.INSPECT}

    @docs.policy_runs
    def get(self, request: Request) -> Response:
        page = runs.page(request.query_params, reader=principal(request))
        return Response(
            {
                "runs": [_run(request, run) for run in page.runs],
                "next_cursor": page.next_cursor,
                "has_more": page.next_cursor is not None,
            }
        )


class RunView(View):
    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.INSPECT}

    @docs.policy_run_of_id
    def get(self, request: Request, run_id: UUID) -> Response:
        refuse_unknown(request.query_params, frozenset())
        run = runs.one(run_id, principal(request))
        if run is None:
            raise not_found()
        return Response(_run(request, run))


class GoOnView(PolicyView):
    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.ADMIN}

    @docs.policy_run_go
    def post(self, request: Request, run_id: UUID) -> Response:
        with refusals(_STATUS):
            self.asked(request, Nothing)
            run = runs.go_on(run_id, by=principal(request), **self.whence(request))
        return Response(_run(request, run))


class UndoView(PolicyView):
    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.ADMIN}

    @docs.policy_run_undo
    def post(self, request: Request, run_id: UUID) -> Response:
        with refusals(_STATUS):
            asked = self.asked(request, Undoing)
            step = runs.undo(run_id, by=principal(request), reason=asked.reason, **self.whence(request))
        told = {name: getattr(step, name) for name in ("undone", "refused", "is_finished")}
        return Response({"run": _run(request, step.run), **told})


def _one(request: Request, policy_id: UUID) -> Policy:
    found = policies.one(policy_id, principal(request))
    if found is None:
        raise not_found()
    return found


def _whole(request: Request, policy_id: UUID) -> dict[str, Any]:
    versions = [policies.as_json(each) for each in policies.versions(policy_id, principal(request))]
    if not versions:
        raise not_found()
    return shown(request, [{**versions[0], "versions": versions}])[0]


def _run(request: Request, run: PolicyRun) -> dict[str, Any]:
    return shown(request, [runs.as_json(run)])[0]


def _place(policy: Policy) -> str:
    return f"/api/policies/{policy.policy_id}"


def _told(each: Prospect, said: Mapping[UUID, str]) -> dict[str, Any]:
    return {
        "untrusted": True,
        "id": id_of(*each.key),
        "subject": each.key[0],
        "collection": each.key[1],
        "class": each.klass,
        "value_count": each.value_count,
        "memory_count": each.memory_count,
        "keep": each.keep,
        "value": said.get(each.keep) if each.keep else None,
        "rule": each.rule,
        "words": LEFT[each.left] if each.left else each.words,
        "left": each.left,
    }
