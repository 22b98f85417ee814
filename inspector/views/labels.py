"""Classifying memories: one on its own page, or all that the list shows, after a look at what would become of them."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from inspector import fields
from inspector.access import PageRequest, reader
from inspector.forms import BESIDE, FIELDS, ClassifyForm, sentences
from inspector.moment import stand
from inspector.search import Search, address, known
from inspector.search import kept as kept_by
from memoryhub.firewall.types import Scope
from memoryhub.memories import facets, relabel
from memoryhub.memories.envelope import Rejected
from memoryhub.memories.filters import BadQuery, MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.moment import NOW
from memoryhub.memories.records import WHOLE, records
from memoryhub.memories.relabel import Change, Plan, Relabelled
from memoryhub.ops import reads

SAMPLE = 5
STATUSES = {
    "above_clearance": HTTPStatus.FORBIDDEN,
    "declassification": HTTPStatus.FORBIDDEN,
    "not_in_force": HTTPStatus.CONFLICT,
    "stale": HTTPStatus.CONFLICT,
}


@require_POST
@reader
def classify_one(request: PageRequest, memory_id: UUID) -> HttpResponse:
    _judge(request)
    found = records(NOW.history(Memory.objects.visible_to(request.principal.clearance), memory_id)[:1], WHOLE)
    if not found:
        raise Http404
    (memory,) = found
    form = ClassifyForm.of_memory(memory, by=request.principal, data=request.POST)
    listed = known(QueryDict(request.GET.get("list", "")))
    kept = kept_by(listed, stand(request).asked)
    try:
        if request.POST.get("version") != str(memory["version"]):
            raise relabel.stale()
        change = relabel.read(form.change, Change)
        plan = relabel.plan_one(memory_id, change, by=request.principal)
        done = _carry_out(request, plan)
    except Rejected as refused:
        return _refused(request, form, refused, memory=fields.shown(memory), kept=kept)
    _tell(request, done, _told_of_one(plan))
    _warn(request, change)
    return HttpResponseRedirect(reverse("inspector:memory", args=[memory_id]) + kept)


@require_http_methods(["GET", "HEAD", "POST"])
@reader
def classify_many(request: PageRequest) -> HttpResponse:
    _judge(request)
    data = request.POST if request.method == "POST" else request.GET
    asked = _filters_in(data)
    try:
        filters = MemoryFilterSet(asked, clearance=request.principal.clearance)
    except BadQuery as error:
        return _page(request, {"search": Search(asked, error.errors)}, HTTPStatus.BAD_REQUEST)
    search, counted = Search(asked), facets.count(filters).for_people()
    form = ClassifyForm.of_many(counted.dimensions["label"], by=request.principal, data=data)
    plan, status = None, HTTPStatus.OK
    try:
        if form.asked or request.method == "POST":
            change = relabel.read(form.change, Change)
            form.warnings = change.warnings
            plan = relabel.plan_found(filters, change, by=request.principal)
        if plan and request.method == "POST":
            plan.check(request.POST.get("token", ""))
            done = _carry_out(request, plan)
            _tell(request, done, _told_of_many(plan, done))
            _warn(request, change)
            return HttpResponseRedirect(address(search.params))
    except Rejected as refused:
        form.errors = refused.errors
        status = _status(refused)
    context = {
        "search": search,
        "filters": filters.active,
        "total": counted.total,
        "capped": counted.capped,
        "form": form,
        "list_url": address(search.params),
    }
    return _page(request, context | (_shown(request, plan) if plan else {}), status)


@require_POST
@reader
def undo(request: PageRequest) -> HttpResponse:
    _judge(request)
    token, back = request.POST.get("undo", ""), request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    back = back if is_ours else reverse("inspector:memories")
    try:
        done = _carry_out(request, relabel.plan_undo(token.rpartition(" ")[2], by=request.principal))
    except Rejected as refused:
        form = ClassifyForm(request.POST, by=request.principal, labels={})
        return _refused(request, form, refused, undo=token, back=back)
    _tell(request, done, f"{_memories(done.changed)} as before.")
    return HttpResponseRedirect(back)


def _judge(request: PageRequest) -> None:
    request.principal.require(Scope.INSPECT)


def _filters_in(data: QueryDict) -> QueryDict:
    """The filters among what a form sends, as an address has them."""
    kept = data.copy()
    for name in (*FIELDS, *BESIDE):
        kept.pop(name, None)
    return kept


def _page(request: PageRequest, context: dict[str, Any], status: HTTPStatus) -> HttpResponse:
    """The whole page, or for htmx the part that it swaps: that one with its errors inside, for htmx drops a 400."""
    context = {"section": "memories", **context}
    if request.method == "GET" and request.htmx and not request.htmx.history_restore_request:
        return render(request, "labels/page.html#preview", context)
    return render(request, "labels/page.html", context, status=status)


def _shown(request: PageRequest, plan: Plan) -> dict[str, Any]:
    sample = relabel.sample(plan, SAMPLE)
    reads.asked(request, by=request.principal, memory_ids=[record["memory_id"] for record in sample])
    refused = [(number, relabel.REFUSALS[code]) for code, number in plan.refused.items()]
    return {"plan": plan, "refused": refused, "sample": list(map(fields.shown, sample))}


def _carry_out(request: PageRequest, plan: Plan) -> Relabelled:
    match = request.resolver_match
    return relabel.carry_out(
        plan,
        reason=request.POST.get("reason", ""),
        route=match.view_name if match else "",
        request_id=request.request_id,
    )


def _refused(request: PageRequest, form: ClassifyForm, refused: Rejected, **context: Any) -> HttpResponse:
    form.errors = refused.errors
    context = {"section": "memories", "form": form, **context}
    return render(request, "labels/refused.html", context, status=_status(refused))


def _status(refused: Rejected) -> HTTPStatus:
    return STATUSES.get(refused.code, HTTPStatus.BAD_REQUEST)


def _tell(request: PageRequest, done: Relabelled, words: str) -> None:
    """Say what was done, with a way back for who may go it."""
    may_undo = done.undo and (request.principal.may(Scope.DECLASSIFY) or not done.undo_opens)
    way_back = f"undo {'opens ' if done.undo_opens else ''}{done.undo}" if may_undo else ""
    messages.success(request, words if done.changed else "Nothing was changed: it is classified so.", way_back)


def _warn(request: PageRequest, change: Change) -> None:
    for sentence in sentences(change.warnings):
        messages.warning(request, sentence)


def _told_of_one(plan: Plan) -> str:
    before, after = plan.steps[0].before, plan.steps[0].after
    said = []
    if before.classification_tier != after.classification_tier:
        said.append(f"The memory is {after.classification_tier} now.")
    if before.sensitivity_labels != after.sensitivity_labels:
        said.append("Its labels are changed.")
    if before.status != after.status:
        said.append("It is in quarantine." if after.status == "quarantined" else "It is out of quarantine.")
    return " ".join(said)


def _told_of_many(plan: Plan, done: Relabelled) -> str:
    left = [f"{_memories(number)} left as before: {relabel.REFUSALS[code]}" for code, number in plan.refused.items()]
    return " ".join([f"{_memories(done.changed)} changed.", *left])


def _memories(number: int) -> str:
    return f"{number:,} memor{'y is' if number == 1 else 'ies are'}"
