"""Classifying memories over the API: one, or all that a filter finds, after a dry run."""

from typing import Any
from uuid import UUID

from django.http import QueryDict
from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.api import documentation as docs
from memoryhub.api.bodies import ChangeOfMany, ChangeOfOne
from memoryhub.api.judging import JudgingView, etag_of, refusals, route_of, unconditional
from memoryhub.api.permissions import principal
from memoryhub.api.problems import request_id_of
from memoryhub.api.views import whole
from memoryhub.firewall import wall
from memoryhub.firewall.types import Principal
from memoryhub.memories import relabel
from memoryhub.memories.envelope import Errors
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.records import Record
from memoryhub.memories.relabel import Change, Plan

TOLD = ("memory_id", "version", "recorded_at", "classification_tier", "sensitivity_labels", "status")


class LabelsView(JudgingView):
    def carry_out(self, request: Request, plan: Plan, reason: str) -> None:
        relabel.carry_out(plan, reason=reason, route=route_of(request), request_id=request_id_of(request))


class LabelsOfOne(LabelsView):
    @docs.memory_labels
    def post(self, request: Request, memory_id: UUID) -> Response:
        by, tag = principal(request), request.headers.get("If-Match", "")
        with refusals(_STATUS, stale_status=412 if tag else 409):
            asked = self.asked(request, ChangeOfOne)
            before = _now(request, memory_id, by)
            _check_version(before, tag, asked.version)
            plan = relabel.plan_one(memory_id, asked, by=by)
            if [step.row.version for step in plan.steps] != [before["version"]]:
                raise relabel.stale()
            self.carry_out(request, plan, asked.reason)
        after = _now(request, memory_id, by)
        return Response({name: after[name] for name in TOLD} | _warnings(asked), headers={"ETag": etag_of(after)})


class LabelsOfMany(LabelsView):
    @docs.labels
    def post(self, request: Request) -> Response:
        by = principal(request)
        with refusals(_STATUS):
            asked = self.asked(request, ChangeOfMany)
            filters = MemoryFilterSet(query_of(asked.filter), clearance=by.clearance)
            plan = relabel.plan_found(filters, asked, by=by)
            if asked.dry_run:
                return Response({**_told(plan), **_warnings(asked), "token": plan.token})
            if not asked.token:
                raise unconditional("A dry run tells what would be done, and the token for doing it.")
            plan.check(asked.token)
            self.carry_out(request, plan, asked.reason)
        return Response({**_told(plan), **_warnings(asked)})


_STATUS = {"declassification": 403, "above_clearance": 403, "not_in_force": 409, "too_large": 413}


def _now(request: Request, memory_id: UUID, by: Principal) -> Record:
    with wall.behind(by.clearance):
        return whole(request, memory_id)


def _check_version(found: Record, tag: str, version: int) -> None:
    if not (tag or version):
        raise unconditional("Say which version was read: its number as version, or its ETag as If-Match.")
    if tag and not {"*", etag_of(found)} & set(parse_etags(tag)):
        raise relabel.stale()
    if version and version != found["version"]:
        raise relabel.stale()


def query_of(given: dict[str, Any]) -> QueryDict:
    """A filter that came in a body, as a query string has it."""
    query = QueryDict(mutable=True)
    for name, value in given.items():
        # An empty list is an empty value, and asks for empty.
        query.setlist(name, (value or [""]) if isinstance(value, list) else [value])
    return query


def _warnings(asked: Change) -> dict[str, Errors]:
    return {"warnings": asked.warnings} if asked.warnings else {}


def _told(plan: Plan) -> dict[str, Any]:
    """A plan in numbers, and its most frequent changes."""
    return {
        "matched": len(plan.steps),
        "changed": len(plan.due),
        "unchanged": plan.unchanged,
        "opened": plan.opened,
        "refused": plan.refused,
        "changes": [
            {"count": count, "opens": step.opens, "before": step.before.shown, "after": step.after.shown}
            for count, step in plan.alike
        ],
    }
