"""Conflicts over the API: groups of memories about one thing that do not say the same."""

from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.api import documentation as docs
from memoryhub.api.permissions import principal, walled
from memoryhub.api.problems import not_found
from memoryhub.api.views import View, shown
from memoryhub.conflicts import groups
from memoryhub.conflicts.detector import Verdict
from memoryhub.conflicts.groups import Group, GroupFilterSet

_MEMBER = (
    "memory_id", "payload_id", "version", "source", "actor_type", "actor_id", "namespace", "timestamp", "recorded_at",
    "classification_tier", "sensitivity_labels",
)  # fmt: skip


class ConflictsView(View):
    parameters = groups.PARAMETERS

    @docs.conflicts
    @walled
    def get(self, request: Request) -> Response:
        filters = self.read(GroupFilterSet, request)
        page = groups.page(filters, reader=principal(request), parameters=request.query_params)
        self.told = [member["memory_id"] for group in page.groups for member in group.members]
        return Response(
            {
                "conflicts": shown(request, list(map(_told, page.groups))),
                "next_cursor": page.next_cursor,
                "has_more": page.next_cursor is not None,
            }
        )


class ConflictView(View):
    @docs.conflict
    @walled
    def get(self, request: Request, conflict_id: str) -> Response:
        group = groups.group(self.read(GroupFilterSet, request), conflict_id)
        if group is None:
            raise not_found()
        self.told = [member["memory_id"] for member in group.members]
        pairs = [_pair(one, other, verdict) for one, other, verdict in group.verdicts]
        return Response(shown(request, [{**_told(group), "pairs": pairs}])[0])


def _told(group: Group) -> dict[str, Any]:
    """A group with the names of the native API, and those that older clients read."""
    subject, collection, *namespace = group.key
    members = group.members
    return {
        "untrusted": True,
        "id": group.id,
        "class": group.klass,
        "status": "open",
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
