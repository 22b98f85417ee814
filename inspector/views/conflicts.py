"""The queue of conflicts, and one of them: looked at, claimed, decided."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from inspector import moment, values
from inspector.access import PageRequest, reader
from inspector.deciding import UNDO_REASON, DecideForm
from inspector.queue import EVERY, LIMIT, Queue, of_key
from inspector.views.decisions import LAST, last, may_judge, shown
from memoryhub.conflicts import claims, classes, decide, decisions, groups, keys, similar
from memoryhub.conflicts.choices import REFUSALS, Choice, Wish
from memoryhub.conflicts.claims import Taken
from memoryhub.conflicts.groups import Group
from memoryhub.conflicts.keys import Key
from memoryhub.conflicts.neighbours import following
from memoryhub.firewall.types import Scope
from memoryhub.memories import relabel
from memoryhub.memories.envelope import Rejected
from memoryhub.memories.filters import BadQuery
from memoryhub.ops import reads

LAST_REASON = "conflicts.reason"
CLAIMED = "conflicts.claimed"
HEADING = "#group-title"
NARROW = ("subject", "collection")
STATUSES = {
    "above_clearance": HTTPStatus.FORBIDDEN,
    "claimed": HTTPStatus.CONFLICT,
    "not_found": HTTPStatus.CONFLICT,
    "stale": HTTPStatus.CONFLICT,
    "would_open": HTTPStatus.FORBIDDEN,
}


@require_safe
@reader
def conflicts(request: PageRequest) -> HttpResponse:
    queue, by = Queue(request.GET), request.principal
    asked = {"limit": LIMIT, **queue.given}
    try:
        filters = queue.filters(by.clearance)
        page = groups.page(filters, reader=by, parameters=asked)
    except BadQuery as error:
        return _list(request, {"queue": Queue(request.GET, error.errors)})
    if queue.is_untidy and not request.htmx:
        return HttpResponseRedirect(queue.url)
    moment.stand(request, filters.moment)
    reads.asked(request, by=by, memory_ids=[memory["memory_id"] for one in page.groups for memory in one.members])
    held = claims.held([one.key for one in page.groups], by=by)
    lines = [{**values.line(one), "url": queue.of(one.id), "claim": held.get(one.key)} for one in page.groups]
    counted = classes.counts(queue.filters(by.clearance, class_=None, status=None))
    decided = classes.counts(queue.filters(by.clearance, class_=None, status="decided"))
    context = {
        "queue": queue,
        "lines": lines,
        "older_url": queue.after(page.next_cursor),
        "tabs": queue.tabs(_numbers(counted)),
        "progress": {**_progress(queue, counted, decided), **_mine(request)},
        "last": last(request, queue),
        "undo_reason": UNDO_REASON,
        "me": by.name,
    }
    return _list(request, context)


def _list(request: PageRequest, context: dict[str, Any]) -> HttpResponse:
    """The whole page, or for htmx the part that it swaps: that one with its errors inside, for htmx drops a 400."""
    whole = not request.htmx or request.htmx.history_restore_request
    bad = bool(context["queue"].errors)
    context = {"section": "conflicts", "tabs": context["queue"].tabs({}), **context}
    status = HTTPStatus.BAD_REQUEST if bad and whole else HTTPStatus.OK
    return render(request, "conflicts/list.html" if whole else "conflicts/list.html#results", context, status=status)


def _numbers(counted: classes.Counts) -> dict[str, str]:
    more = "+" if counted.capped else ""
    return {name: f"{number:,}{more}" for name, number in _of_each(counted)}


def _of_each(counted: classes.Counts) -> list[tuple[str, int]]:
    return [*counted.numbers.items(), (EVERY, counted.total)]


def _progress(queue: Queue, counted: classes.Counts, decided: classes.Counts) -> dict[str, Any]:
    """How much of what the queue shows, open or not, is decided."""
    left, done = (dict(_of_each(each))[queue.klass] for each in (counted, decided))
    return {"done": done, "of": done + left, "is_capped": counted.capped or decided.capped}


def _mine(request: PageRequest) -> dict[str, Any]:
    """How many decisions the reader has made today, of those that hold still."""
    today = datetime.now(UTC).date().isoformat()
    asked = QueryDict(urlencode({"principal": request.principal.name, "from": today, "limit": "200"}))
    made = decisions.page(asked, reader=request.principal)
    number = sum(told.outcome != "undo" and not told.undone_by for told in made.decisions)
    url = f"{reverse('inspector:decisions')}?{urlencode({'principal': request.principal.name, 'from': today})}"
    return {"mine": number, "is_more": made.has_more, "url": url}


@require_safe
@reader
def conflict(request: PageRequest, group_id: str) -> HttpResponse:
    return _page(request, group_id)


def _page(
    request: PageRequest,
    group_id: str,
    *,
    form: DecideForm | None = None,
    refused: Rejected | None = None,
) -> HttpResponse:
    key, queue, by = _key(group_id), Queue.behind(request.GET), request.principal
    try:
        filters = of_key(key, moment.instants(request.GET), by.clearance)
        here = moment.stand(request, filters.moment)
        found = groups.group(filters, group_id)
    except BadQuery as error:
        raise BadRequest(str(error)) from error
    known_at = filters.moment.known_at
    told = decisions.about([key], clearance=by.clearance)[key]
    history = [one for one in told if known_at is None or one.recorded_at <= known_at]
    if found is None and not history:
        raise Http404
    members = found.members if found else []
    reads.asked(request, by=by, memory_ids=[memory["memory_id"] for memory in members])
    form = form or DecideForm(QueryDict(), last_reason=str(request.session.get(LAST_REASON, "")))
    form.errors = refused.errors if refused else {}
    made = last(request, queue)
    may_decide = may_judge(request) and here.is_now and found is not None and found.status == "open"
    context = {
        "section": "conflicts",
        "about": dict(zip(keys.COLUMNS, key, strict=False)),
        "id": group_id,
        "queue": queue,
        "group": found,
        "values": [],
        **(_explained(found, form) if found else {}),
        "form": form,
        "may_decide": may_decide,
        "refused": refused,
        "meanwhile": _meanwhile(history, form) if refused and refused.code != "invalid_value" else None,
        "claim": claims.held([key], by=by).get(key),
        "me": by.name,
        "history": [shown(told) for told in history],
        "newest": history[0].decision_id if history else "",
        "next_url": _from(_following(request, queue, key), group_id) if here.is_now else "",
        "previous_url": _previous(request, queue, group_id),
        "last": made if made and made["told"].id != group_id else None,
        "may_undo": may_judge(request) and here.is_now,
        "undo_reason": UNDO_REASON,
        "json_url": here.keep(reverse("api:conflict", args=[group_id])),
    }
    status = STATUSES.get(refused.code, HTTPStatus.BAD_REQUEST) if refused else HTTPStatus.OK
    return render(request, "conflicts/group.html", context, status=status)


def _explained(found: Group, form: DecideForm) -> dict[str, Any]:
    shown_values = values.values(found)
    pairs, more = values.pairs(found)
    return {
        "values": [(value, form.fields_of(value)) for value in shown_values],
        "more_values": found.value_count - len(shown_values),
        "klass": found.klass,
        "klass_words": values.CLASS_WORDS[found.klass],
        "since": values.since(found),
        "pairs": pairs,
        "more_pairs": more,
        "merged": form.merged(shown_values[0]),
        "has_secrets": any(value.has_secrets for value in shown_values),
    }


@require_POST
@reader
def decide_one(request: PageRequest, group_id: str) -> HttpResponse:
    _judge(request)
    key, queue = _key(group_id), Queue.behind(request.GET)
    form = DecideForm(request.POST, last_reason=str(request.session.get(LAST_REASON, "")))
    try:
        wish = Wish(key=key, evidence=form.evidence, choice=relabel.read(form.given, Choice))
        outcome = decide.decide(wish, by=request.principal, route=_route(request), request_id=request.request_id)
    except Rejected as refused:
        return _page(request, group_id, form=form, refused=refused)
    request.session[LAST] = str(outcome.decision_id)
    request.session[LAST_REASON] = wish.choice.reason
    onwards = _following(request, queue, key, from_the_start=True)
    return HttpResponseRedirect(_from(onwards, group_id) + HEADING if onwards else queue.url)


@require_POST
@reader
def claim(request: PageRequest, group_id: str) -> HttpResponse:
    """Claim a group, and give back the one that was claimed before: whoever goes on is done with it."""
    _judge(request)
    key, queue = _key(group_id), Queue.behind(request.GET)
    found = groups.group(of_key(key, {}, request.principal.clearance), group_id)
    if found is None:
        raise Http404
    if found.status == "decided":
        return _claim_shown(request, group_id, queue, is_decided=True)
    before = request.session.get(CLAIMED)
    if before and before != group_id:
        claims.release([_key(before)], by=request.principal)
    try:
        held = claims.claim(key, by=request.principal)
        request.session[CLAIMED] = group_id
    except Taken as taken:
        held = taken.held
    return _claim_shown(request, group_id, queue, claim=held)


def _claim_shown(request: PageRequest, group_id: str, queue: Queue, **told: Any) -> HttpResponse:
    if not request.htmx:
        return HttpResponseRedirect(queue.of(group_id))
    context = {"me": request.principal.name, "id": group_id, "queue": queue, "is_claimed_now": True, **told}
    return render(request, "conflicts/group.html#claim", context)


@require_POST
@reader
def like(request: PageRequest, group_id: str) -> HttpResponse:
    """The same decision for other groups: first what they are, then, if `apply` is sent, of those that are ticked."""
    _judge(request)
    key, queue = _key(group_id), Queue.behind(request.GET)
    form = DecideForm(request.POST)
    found = groups.group(of_key(key, {}, request.principal.clearance), group_id)
    if found is None:
        raise Http404
    try:
        choice = relabel.read(form.given, Choice)
        if "apply" in request.POST:
            return _applied(request, choice, queue)
        likes = similar.like(found, choice, by=request.principal)
    except Rejected as refused:
        return _page(request, group_id, form=form, refused=refused)
    kept = found.values[_place_of(found, form.choice)] if choice.outcome == "keep_one" else None
    shown_groups = [similar.Like(group=found, kept=kept), *likes.found]
    reads.asked(
        request,
        by=request.principal,
        memory_ids=[memory["memory_id"] for one in shown_groups for memory in one.group.members],
    )
    context = {
        "section": "conflicts",
        "id": group_id,
        "queue": queue,
        "form": form,
        "choice": choice,
        "about": dict(zip(keys.COLUMNS, key, strict=False)),
        "lines": [{**values.compared(one), "url": queue.of(one.group.id)} for one in shown_groups],
        "number": len(likes.found),
        "looked_at": likes.looked_at,
        "is_all": likes.is_all,
    }
    return render(request, "conflicts/similar.html", context)


def _place_of(found: Group, memory_id: str) -> int:
    return next(
        place
        for place, support in enumerate(found.values)
        if any(str(memory["memory_id"]) == memory_id for memory in support.memories)
    )


def _applied(request: PageRequest, choice: Choice, queue: Queue) -> HttpResponse:
    data = request.POST
    wishes = [
        Wish(
            key=_key(one),
            evidence=data.get(f"evidence-{one}", ""),
            choice=similar.choice_for(choice, _memory_id(data.get(f"keep-{one}", ""))),
        )
        for one in dict.fromkeys(data.getlist("group"))
    ][: similar.MOST_FOUND + 1]
    outcomes = decide.decide_all(wishes, by=request.principal, route=_route(request), request_id=request.request_id)
    request.session[LAST_REASON] = choice.reason
    done = [outcome for outcome in outcomes if not outcome.refusal]
    context = {
        "section": "conflicts",
        "queue": queue,
        "next_url": _following(request, queue, None),
        "done": [_outcome(outcome, queue) for outcome in done],
        "left": [_outcome(outcome, queue) for outcome in outcomes if outcome.refusal],
        "decision_ids": [outcome.decision_id for outcome in done],
        "undo_reason": UNDO_REASON,
    }
    return render(request, "conflicts/applied.html", context)


def _outcome(outcome: decide.Outcome, queue: Queue) -> dict[str, Any]:
    return {
        "about": dict(zip(keys.COLUMNS, outcome.key, strict=False)),
        "url": queue.of(keys.id_of(*outcome.key)),
        "outcome": outcome,
        "why": REFUSALS.get(outcome.refusal, ""),
    }


def _memory_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        return UUID(int=0)


def _meanwhile(history: list[decisions.Told], form: DecideForm) -> dict[str, Any]:
    """What has happened since the page was made that the form was sent from."""
    seen = form.data.get("newest", "")
    newest = history[0] if history and str(history[0].decision_id) != seen else None
    return {"decision": shown(newest) if newest else None}


def _following(request: PageRequest, queue: Queue, key: Key | None, *, from_the_start: bool = False) -> str:
    """The address of the next open group of the queue, with `from_the_start` also before this one; "" without one."""
    # The cursor is a key, which has as many parts as the groups that follow it.
    scope = {} if key is None else {"scope": "namespace" if len(key) > len(NARROW) else None}
    try:
        filters = queue.filters(request.principal.clearance, status=None, **scope)
    except BadQuery:
        return ""
    found = following(filters, key, reader=request.principal)
    if found is None and from_the_start:
        found = following(filters, None, reader=request.principal)
    return queue.of(found) if found else ""


def _previous(request: PageRequest, queue: Queue, group_id: str) -> str:
    """The group from which the reader came here."""
    before = request.GET.get("came_from", "")
    try:
        keys.key_of(before)
    except ValueError:
        return ""
    return queue.of(before) if before != group_id else ""


def _from(url: str, group_id: str) -> str:
    """The address of a group that one comes to from another."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode({'came_from': group_id})}" if url else ""


def _key(group_id: str) -> Key:
    try:
        return keys.key_of(group_id)
    except ValueError:
        raise Http404 from None


def _judge(request: PageRequest) -> None:
    request.principal.require(Scope.INSPECT)


def _route(request: PageRequest) -> str:
    return request.resolver_match.view_name if request.resolver_match else ""
