"""Conflicts over the API: groups of memories about one thing that do not say the same, claimed and decided on."""

from collections.abc import Iterable, Mapping
from functools import partial
from hashlib import sha256
from typing import Any

from django.http import QueryDict
from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.api import documentation as docs
from memoryhub.api.bodies import ChoiceOfOne, Claiming
from memoryhub.api.decisions import created, told
from memoryhub.api.judging import JudgingView, refusals, route_of, unconditional
from memoryhub.api.permissions import principal, walled
from memoryhub.api.problems import Problem, not_found, request_id_of
from memoryhub.api.renderers import OrjsonRenderer
from memoryhub.api.views import View, shown
from memoryhub.conflicts import choices, claims, decide, decisions, groups, keys
from memoryhub.conflicts.claims import Held, Taken
from memoryhub.conflicts.decide import Wish
from memoryhub.conflicts.decisions import Told
from memoryhub.conflicts.detector import Verdict
from memoryhub.conflicts.groups import Group, GroupFilterSet
from memoryhub.conflicts.keys import Key
from memoryhub.firewall import wall
from memoryhub.firewall.types import Principal

_MEMBER = (
    "memory_id", "payload_id", "version", "source", "actor_type", "actor_id", "namespace", "timestamp", "recorded_at",
    "classification_tier", "sensitivity_labels", "status",
)  # fmt: skip


class ConflictsView(View):
    parameters = groups.PARAMETERS

    @docs.conflicts
    @walled
    def get(self, request: Request) -> Response:
        filters = self.read(GroupFilterSet, request)
        page = groups.page(filters, reader=principal(request), parameters=request.query_params)
        self.told = [member["memory_id"] for group in page.groups for member in group.members]
        about = decisions.about([group.key for group in page.groups if group.decision], clearance=filters.clearance)
        found = [_told(group, about.get(group.key, [])) for group in page.groups]
        return Response(
            {
                "conflicts": shown(request, found),
                "next_cursor": page.next_cursor,
                "has_more": page.next_cursor is not None,
            }
        )


class ConflictView(View):
    @docs.conflict
    @walled
    def get(self, request: Request, conflict_id: str) -> Response:
        by = principal(request)
        filters = _of_one(request.query_params, by)
        self.moment = filters.moment
        group = groups.group(filters, conflict_id)
        if group is None:
            raise not_found()
        self.told = [member["memory_id"] for member in group.members]
        about = decisions.about([group.key], clearance=by.clearance)[group.key]
        known_at = filters.moment.known_at
        found = {
            **_told(group, about),
            "pairs": [_pair(one, other, verdict) for one, other, verdict in group.verdicts],
            "decisions": [decisions.as_json(each) for each in about if not known_at or each.recorded_at <= known_at],
            **_claimed(group.key, by),
        }
        body = shown(request, [found])[0]
        return Response(body, headers={"ETag": _etag(group.evidence, body)})


class DecideView(JudgingView):
    @docs.decide
    def post(self, request: Request, conflict_id: str) -> Response:
        by, tag = principal(request), request.headers.get("If-Match", "")
        newest = partial(_newest, request, conflict_id)
        held = partial(_holder, request, conflict_id)
        with refusals(_STATUS, stale_status=412 if tag else 409, stale=newest, claimed=held):
            asked, key = self.asked(request, ChoiceOfOne), _key(conflict_id)
            wish = Wish(key=key, evidence=_evidence(asked.evidence, tag, key, by), choice=asked)
            done = decide.decide(wish, by=by, route=route_of(request), request_id=request_id_of(request))
        return created(request, done.decision_id)


class ClaimView(JudgingView):
    @docs.claim
    def post(self, request: Request, conflict_id: str) -> Response:
        by = principal(request)
        with refusals({}):
            asked = self.asked(request, Claiming)
        key = _seen(conflict_id, by)
        if asked.release:
            claims.release([key], by=by)
            return Response(_claimed(key, by))
        try:
            return Response({"claim": _claim(claims.claim(key, by=by))})
        except Taken as taken:
            detail = "Somebody else is deciding about it just now."
            raise Problem(409, "claimed", detail, told={"claim": _claim(taken.held)}) from None


_STATUS = {"above_clearance": 403, "would_open": 403, "claimed": 409, "too_large": 413}


def _key(conflict_id: str) -> Key:
    try:
        return keys.key_of(conflict_id)
    except ValueError:
        raise not_found() from None


def _seen(conflict_id: str, by: Principal) -> Key:
    """The key of a group that the caller sees."""
    with wall.behind(by.clearance):
        group = groups.group(_of_one(QueryDict(), by), conflict_id)
    if group is None:
        raise not_found()
    return group.key


def _of_one(data: QueryDict, by: Principal) -> GroupFilterSet:
    """The filters by which one group is found, whatever its key is made of."""
    asked = data.copy()
    asked["unkeyed"] = "true"
    return GroupFilterSet(asked, clearance=by.clearance)


def _evidence(given: str, tag: str, key: Key, by: Principal) -> str:
    """What was read: as the body says, or as the ETag of the group's own route begins."""
    tags = parse_etags(tag)
    if tag and tags != ["*"]:
        read = {each.strip('"').partition(".")[0] for each in tags if not each.startswith("W/")}
        if given and given not in read:
            raise choices.refused("stale")
        now = keys.evidence_of((member.memory_id, member.version) for member in decide.members(key, by))
        return given or (now if now in read else next(iter(read), "none"))
    if not given:
        raise unconditional("Say what was read: its evidence, or the conflict's ETag as If-Match.")
    return given


def _newest(request: Request, conflict_id: str) -> dict[str, Any]:
    """Beside a problem: the last decision about a group, if there is one."""
    key = _key(conflict_id)
    found = decisions.about([key], clearance=principal(request).clearance)[key]
    return {"decision": told(request, found[0])} if found else {}


def _holder(request: Request, conflict_id: str) -> dict[str, Any]:
    """Beside a problem: the claim of a group, unless it was released this moment."""
    held = _claimed(_key(conflict_id), principal(request))
    return held if held["claim"] else {}


def _claimed(key: Key, by: Principal) -> dict[str, Any]:
    return {"claim": _claim(claims.held([key], by=by).get(key))}


def _claim(held: Held | None) -> dict[str, Any] | None:
    return {"principal": held.principal, "until": held.until} if held else None


def _etag(evidence: str, body: Mapping[str, Any]) -> str:
    """What may be decided on stands first, so that it can be asked for; the rest says whether anything is new."""
    return f'"{evidence}.{sha256(OrjsonRenderer().render(body)).hexdigest()[:32]}"'


def _told(group: Group, about: Iterable[Told]) -> dict[str, Any]:
    """A group with the names of the native API, and those that older clients read."""
    subject, collection, *namespace = group.key
    members = group.members
    in_force = group.decision and group.decision.decision_id
    return {
        "untrusted": True,
        "id": group.id,
        "class": group.klass,
        "status": group.status,
        "reopened": group.is_reopened,
        "evidence": group.evidence,
        "decision": next((decisions.as_json(each) for each in about if each.decision_id == in_force), None),
        "subject": subject,
        "entity_key": collection,
        "entity": collection,
        **({"namespace": namespace[0]} if namespace else {}),
        "conflicting_values": [value.content for value in group.values],
        "sources": sorted({member["source"] for member in members}),
        "timestamps": [value.memories[0]["timestamp"] for value in group.values],
        "count": group.value_count,
        "group_size": group.value_count,
        "memory_count": group.memory_count,
        "has_more_values": group.has_more_values,
        "has_more_memories": group.has_more_memories,
        "values": [
            {"content": value.content, "memories": list(map(_member, value.memories))} for value in group.values
        ],
        "memories": [
            {**_member(member), "ts": member["timestamp"], "content": member["content"]} for member in members
        ],
    }


def _member(memory: Mapping[str, Any]) -> dict[str, Any]:
    return {name: memory[name] for name in _MEMBER}


def _pair(one: int, other: int, verdict: Verdict) -> dict[str, Any]:
    """What speaks for the class of two values, which are told by their places in `values`."""
    return {
        "values": [one, other],
        "class": verdict.klass,
        "confidence": round(verdict.confidence, 4),
        "version": verdict.version,
        "features": [
            {
                "question": feature.question,
                "name": feature.name,
                "value": round(feature.value, 4),
                "weight": feature.weight,
                "contribution": round(feature.contribution, 4),
                "words": feature.words,
            }
            for feature in verdict.features
        ],
    }
