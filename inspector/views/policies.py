"""Policies: written, tried on the open groups, carried out step by step, and taken back."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, TypedDict
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from inspector.access import PageRequest, reader
from inspector.policy_form import TITLES, PolicyForm
from memoryhub.conflicts import policies, prospects, runs
from memoryhub.conflicts.keys import id_of
from memoryhub.conflicts.models import Policy, PolicyRun
from memoryhub.conflicts.prospects import LEFT, Prospect, ProspectPage
from memoryhub.firewall.types import Scope
from memoryhub.memories.envelope import Rejected
from memoryhub.memories.filters import BadQuery
from memoryhub.ops import reads

PAGE = 50
COUNTED = 500
"""Groups that are counted on with at once, for the totals of a dry run."""
RUNS = 10
STATUSES = {"not_found": HTTPStatus.NOT_FOUND, "other_reach": HTTPStatus.FORBIDDEN}


class Whence(TypedDict):
    route: str
    request_id: str


@require_safe
@reader
def listed(request: PageRequest) -> HttpResponse:
    _judge(request)
    page = runs.page(QueryDict(f"limit={RUNS}"), reader=request.principal)
    found = [_policy(policy) for policy in policies.newest(request.principal)]
    return _page(request, "list", {"policies": found, "runs": page.runs})


@require_http_methods(["GET", "HEAD", "POST"])
@reader
def new(request: PageRequest) -> HttpResponse:
    _govern(request)
    return _written(request, None)


@require_http_methods(["GET", "HEAD", "POST"])
@reader
def policy(request: PageRequest, policy_id: UUID) -> HttpResponse:
    _judge(request)
    versions = policies.versions(policy_id, request.principal)
    if request.method == "POST":
        _govern(request)
    if not versions:
        raise Http404
    return _written(request, versions[0], versions)


@require_safe
@reader
def dry_run(request: PageRequest, policy_id: UUID) -> HttpResponse:
    _judge(request)
    tried = _one(request, policy_id)
    counted = request.GET.get("count", "")
    try:
        page = prospects.page(
            tried,
            reader=request.principal,
            limit=COUNTED if counted else PAGE,
            cursor=counted or request.GET.get("cursor", ""),
        )
    except BadQuery:
        # It was of an earlier version of the policy.
        return HttpResponseRedirect(reverse("inspector:policy-dry-run", args=[policy_id]))
    context = {"policy": _policy(tried), **_totals(page), "next_cursor": page.next_cursor}
    if counted:
        return _page(request, "dry-run", context, part="totals" if request.htmx else "")
    said = prospects.contents([each.keep for each in page.prospects if each.keep], request.principal)
    reads.asked(request, by=request.principal, memory_ids=list(said))
    groups = [_prospect(each, said.get(each.keep, "") if each.keep else "") for each in page.prospects]
    return _page(request, "dry-run", {**context, "groups": groups, "is_deep": "cursor" in request.GET})


@require_POST
@reader
def start(request: PageRequest, policy_id: UUID) -> HttpResponse:
    _govern(request)
    try:
        run = runs.start(policy_id, by=request.principal, **_whence(request))
        run = runs.go_on(run.run_id, by=request.principal, **_whence(request))
    except Rejected as refused:
        return _refused(request, refused, reverse("inspector:policy", args=[policy_id]))
    place = _place(run)
    if not request.htmx:
        return HttpResponseRedirect(place)
    answer = _page(request, "run", _run(request, run, is_going=True), part="progress")
    answer["HX-Push-Url"] = place
    return answer


@require_safe
@reader
def run_page(request: PageRequest, run_id: UUID) -> HttpResponse:
    _judge(request)
    run = runs.one(run_id, request.principal)
    if run is None:
        raise Http404
    return _page(request, "run", _run(request, run))


@require_POST
@reader
def go_on(request: PageRequest, run_id: UUID) -> HttpResponse:
    _govern(request)
    try:
        run = runs.go_on(run_id, by=request.principal, **_whence(request))
    except Rejected as refused:
        return _refused(request, refused, reverse("inspector:policy-run", args=[run_id]))
    if request.htmx:
        return _page(request, "run", _run(request, run, is_going=True), part="progress")
    return HttpResponseRedirect(_place(run))


@require_POST
@reader
def undo(request: PageRequest, run_id: UUID) -> HttpResponse:
    _govern(request)
    reason = request.POST.get("reason", "")
    try:
        step = runs.undo(run_id, by=request.principal, reason=reason, **_whence(request))
    except Rejected as refused:
        return _refused(request, refused, reverse("inspector:policy-run", args=[run_id]))
    context = {**_run(request, step.run), "reason": reason, "is_undoing": not step.is_finished, "step": step}
    if request.htmx:
        return _page(request, "run", context, part="undoing")
    if not step.is_finished:
        return _page(request, "run", context)
    messages.success(request, f"{step.run.undone:,} decisions of the run are undone. Their groups are open again.")
    return HttpResponseRedirect(_place(step.run))


def _judge(request: PageRequest) -> None:
    request.principal.require(Scope.INSPECT)


def _govern(request: PageRequest) -> None:
    request.principal.require(Scope.ADMIN)


def _written(request: PageRequest, stands: Policy | None, versions: Sequence[Policy] = ()) -> HttpResponse:
    form, status = PolicyForm.of_policy(stands), HTTPStatus.OK
    if request.method == "POST":
        form = PolicyForm.of_data(request.POST)
        try:
            made = _save(request, form, stands)
        except Rejected as refused:
            form.errors, status = refused.errors, _status(refused)
        else:
            messages.success(request, f"Version {made.version} holds now.")
            return HttpResponseRedirect(reverse("inspector:policy", args=[made.policy_id]))
    context = {
        "form": form,
        "policy": stands and _policy(stands),
        "versions": [_policy(version) for version in versions],
        "runs": runs.of_policy(stands.policy_id, request.principal, RUNS) if stands else [],
        "may_govern": request.principal.may(Scope.ADMIN),
    }
    return _page(request, "policy", context, status=status)


def _save(request: PageRequest, form: PolicyForm, stands: Policy | None) -> Policy:
    draft = policies.read(form.told)
    policy_id = stands.policy_id if stands else None
    return policies.save(draft, by=request.principal, policy_id=policy_id, version=form.version, **_whence(request))


def _one(request: PageRequest, policy_id: UUID) -> Policy:
    found = policies.one(policy_id, request.principal)
    if found is None:
        raise Http404
    return found


def _page(
    request: PageRequest, name: str, context: dict[str, Any], *, part: str = "", status: HTTPStatus = HTTPStatus.OK
) -> HttpResponse:
    template = f"policies/{name}.html{'#' if part else ''}{part}"
    return render(request, template, {"section": "conflicts", **context}, status=status)


def _refused(request: PageRequest, refused: Rejected, back: str) -> HttpResponse:
    """What is refused is said on the page that it came from; htmx, which drops a 403, goes there as well."""
    if refused.code == "not_found":
        raise Http404
    for said in refused.errors.items():
        messages.error(request, " ".join([said[0].capitalize(), *said[1]]).strip())
    answer = HttpResponse() if request.htmx else HttpResponseRedirect(back)
    if request.htmx:
        answer["HX-Redirect"] = back
    return answer


def _status(refused: Rejected) -> HTTPStatus:
    return HTTPStatus.CONFLICT if refused.code == "stale" else STATUSES.get(refused.code, HTTPStatus.BAD_REQUEST)


def _policy(found: Policy) -> dict[str, Any]:
    return {
        **policies.as_json(found),
        "titles": [(TITLES[rule["rule"]], rule.get("sources", [])) for rule in found.rules],
        "url": reverse("inspector:policy", args=[found.policy_id]),
        "dry_run_url": reverse("inspector:policy-dry-run", args=[found.policy_id]),
        "run_url": reverse("inspector:policy-start", args=[found.policy_id]),
    }


def _totals(page: ProspectPage) -> dict[str, Any]:
    return {
        "totals": page.totals,
        "by_rule": [(TITLES[rule], number) for rule, number in sorted(page.totals.decided.items())],
        "why_left": [(LEFT[why], number) for why, number in sorted(page.totals.left.items())],
    }


def _prospect(each: Prospect, said: str) -> dict[str, Any]:
    subject, collection = each.key
    return {
        "url": reverse("inspector:conflict", args=[id_of(*each.key)]),
        "subject": subject,
        "collection": collection,
        "klass": each.klass,
        "value_count": each.value_count,
        "memory_count": each.memory_count,
        "value": said,
        "title": TITLES.get(each.rule, ""),
        "words": each.words,
        "left": LEFT.get(each.left, ""),
    }


def _run(request: PageRequest, run: PolicyRun, *, is_going: bool = False) -> dict[str, Any]:
    """A run as its page shows it; of how many groups, if the dry run before it has counted them."""
    may_go_on = runs.may_go_on(run, request.principal)
    known = request.POST.get("of", "")
    of = int(known) if known.isascii() and known.isdecimal() and len(known) < 12 else 0
    return {
        "run": run,
        "policy": _policy(run.policy),
        "of": max(of, run.seen) if of or run.finished else 0,
        "may_go_on": may_go_on,
        "is_going": is_going and may_go_on,
        "may_govern": request.principal.may(Scope.ADMIN),
        "in_force": max(run.decided - run.undone, 0),
    }


def _place(run: PolicyRun) -> str:
    return reverse("inspector:policy-run", args=[run.run_id])


def _whence(request: PageRequest) -> Whence:
    match = request.resolver_match
    return {"route": match.view_name if match else "", "request_id": request.request_id}
