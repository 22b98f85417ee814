"""Every route and command that takes filters of memories, and how it is asked. One line in ROUTES each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict
from django.test import Client

from memoryhub.conflicts.groups.groups import GroupFilterSet
from memoryhub.firewall.clearance import Clearance
from memoryhub.memories.filters import MemoryFilterSet, PointInTimeFilterSet
from memoryhub.timetravel.diff import DiffFilterSet, DiffQuery
from memoryhub.timetravel.history import HistoryFilterSet
from memoryhub.timetravel.point_queries import StateFilterSet
from memoryhub.transfer.jsonl_export import iter_jsonl, iter_time_travel_pages

Params = Mapping[str, str]
PUBLIC = Clearance(max_tier="public")
PAST_INSTANT = "2024-01-01T16:00:00Z"
"""An instant of event time between the visible rows."""
NOW_PARAMS: Params = {}
# Record time is looked at up to now: all rows were written by then.
AS_OF, KNOWN_AT = {"as_of": PAST_INSTANT}, {"known_at": "9999-12-31"}
BOTH_INSTANTS = AS_OF | KNOWN_AT
POINTS_IN_TIME: tuple[Params, ...] = (NOW_PARAMS, BOTH_INSTANTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestClients:
    """Who asks: a key and a person who see the most open tier only."""

    key_client: Client
    user_client: Client

    def get(self, path: str, params: Params) -> None:
        response: Any = (self.key_client if path.startswith("/api/") else self.user_client).get(path, params)
        body = b"".join(response) if response.streaming else response.content
        assert response.status_code == 200, (path, params, body)

    def post(self, path: str, body: Any) -> None:
        response = self.user_client.post(path, body, content_type="application/json")
        assert response.status_code == 200, (path, body, response.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    name: str
    """The URL's name, or `command` and the command's name."""
    path: str = ""
    filter_set: type[PointInTimeFilterSet] = MemoryFilterSet
    params: Params = field(default_factory=dict)
    """What is asked besides filters; a filter of that name takes its place."""
    points_in_time: tuple[Params, ...] = (NOW_PARAMS,)

    def send(self, clients: RequestClients, params: Params) -> None:
        clients.get(self.path, {**self.params, **params})

    def __str__(self) -> str:
        return f"{self.name}?{urlencode(self.params)}".rstrip("?")


class Replay(Route):
    """A list that is asked then and now, as somebody."""

    def send(self, clients: RequestClients, params: Params) -> None:
        clients.get(self.path, {"as": "clearance:public", "query": urlencode({**self.params, **params})})


class Reclassify(Route):
    """What a change of all that the filters find would do."""

    def send(self, clients: RequestClients, params: Params) -> None:
        clients.post(self.path, {"filter": dict(params), "add_labels": ["x"], "dry_run": True})


class Export(Route):
    def send(self, clients: RequestClients, params: Params) -> None:  # noqa: ARG002 - a command has no caller
        filters = MemoryFilterSet(_to_querydict(params), clearance=PUBLIC)
        for _ in iter_jsonl(filters, include_history=bool(self.params)):
            pass


class DiffExport(Route):
    def send(self, clients: RequestClients, params: Params) -> None:  # noqa: ARG002 - a command has no caller
        filters = DiffFilterSet(_to_querydict({**self.params, **params}), clearance=PUBLIC)
        for _ in DiffQuery.resolve(filters).iter_all():
            pass


class TimeTravelExport(Route):
    def send(self, clients: RequestClients, params: Params) -> None:  # noqa: ARG002 - a command has no caller
        for _ in iter_time_travel_pages(_to_querydict({**self.params, **params}), clearance=PUBLIC):
            pass


def _to_querydict(params: Params) -> QueryDict:
    return QueryDict(urlencode(params))


_RECORD_AXIS = {"since": "1970-01-01"}
_EVENT_AXIS = {"axis": "event", "since": PAST_INSTANT, "until": "2100-01-01"}
_HISTORY_VIEW = {"view": "history", "subject": "common"}
_CLASSIFY_PARAMS = {"set_status": "quarantined"}

PLAIN_ROUTES = (Route(name="api:memory-list", path="/api/memories", points_in_time=POINTS_IN_TIME),)
"""Where every two filters are asked together, too."""
ROUTES: tuple[Route, ...] = (
    *PLAIN_ROUTES,
    Route(name="api:facets", path="/api/facets", points_in_time=POINTS_IN_TIME),
    Route(name="api:search", path="/api/search", points_in_time=POINTS_IN_TIME),
    Route(name="api:histogram", path="/api/histogram", points_in_time=POINTS_IN_TIME),
    Route(name="api:timetravel", path="/api/timetravel", points_in_time=(KNOWN_AT,)),
    Route(
        name="api:timetravel",
        path="/api/timetravel",
        filter_set=StateFilterSet,
        params={"view": "state"},
        points_in_time=(AS_OF,),
    ),
    Route(name="api:timetravel", path="/api/timetravel", filter_set=HistoryFilterSet, params=_HISTORY_VIEW),
    Route(name="api:diff", path="/api/diff", filter_set=DiffFilterSet, params=_RECORD_AXIS),
    Route(name="api:diff", path="/api/diff", filter_set=DiffFilterSet, params=_EVENT_AXIS),
    Replay(name="api:replay", path="/api/replay", params={"view": "list"}, points_in_time=(BOTH_INSTANTS,)),
    Route(
        name="api:conflict-list",
        path="/api/conflicts",
        filter_set=GroupFilterSet,
        points_in_time=(NOW_PARAMS, KNOWN_AT),
    ),
    Reclassify(name="api:memories-classify", path="/api/memories/classify", points_in_time=(NOW_PARAMS, AS_OF)),
    Route(name="inspector:memory-list", path="/", points_in_time=POINTS_IN_TIME),
    Route(name="inspector:diff", path="/diff", filter_set=DiffFilterSet, params=_RECORD_AXIS),
    Replay(name="inspector:replay", path="/replay", params={"view": "state"}, points_in_time=(KNOWN_AT,)),
    Route(name="inspector:memories-classify", path="/memories/classify", params=_CLASSIFY_PARAMS),
    Route(name="inspector:conflict-list", path="/conflicts", filter_set=GroupFilterSet),
    Route(
        name="inspector:subject-detail",
        path="/subjects/common",
        filter_set=PointInTimeFilterSet,
        points_in_time=POINTS_IN_TIME,
    ),
    Export(name="command export_memories", points_in_time=(NOW_PARAMS, KNOWN_AT)),
    Export(name="command export_memories", params={"history": "1"}, points_in_time=(NOW_PARAMS, KNOWN_AT)),
    DiffExport(name="command diff", filter_set=DiffFilterSet, params=_RECORD_AXIS),
    TimeTravelExport(name="command time_travel", points_in_time=(KNOWN_AT,)),
)
WITHOUT_FILTERS = {
    **dict.fromkeys(
        (
            "api:memory-detail",
            "api:memory-versions",
            "api:memory-similar",
            "api:memory-classify",
            "inspector:memory-detail",
            "inspector:memory-unmask",
            "inspector:memory-classify",
        ),
        "one memory, by its id",
    ),
    **dict.fromkeys(
        (
            "api:conflict-detail",
            "api:conflict-resolve",
            "api:conflict-claim",
            "inspector:conflict-detail",
            "inspector:conflict-resolve",
            "inspector:conflict-claim",
            "inspector:conflict-similar",
        ),
        "one group, by its key",
    ),
    **dict.fromkeys(
        (
            "api:decision-list",
            "api:decision-export",
            "api:decision-detail",
            "api:decision-undo",
            "inspector:decision-list",
            "inspector:decision-undo",
            "inspector:decision-detail",
        ),
        "decisions, with filters of their own, and memories by their ids",
    ),
    **dict.fromkeys(
        (
            "api:policy-list",
            "api:policy-detail",
            "api:policy-dry-run",
            "api:policy-run-create",
            "api:policy-run-list",
            "api:policy-run-detail",
            "api:policy-run-advance",
            "api:policy-run-undo",
            "inspector:policy-list",
            "inspector:policy-create",
            "inspector:policy-detail",
            "inspector:policy-dry-run",
            "inspector:policy-run-create",
            "inspector:policy-run-detail",
            "inspector:policy-run-advance",
            "inspector:policy-run-undo",
        ),
        "groups of a policy's collection and namespace",
    ),
    **dict.fromkeys(
        ("api:audit-log", "inspector:audit-log", "inspector:audit-principal"),
        "the audit log, and memories by their ids",
    ),
    **dict.fromkeys(
        ("api:secret-search", "inspector:secret-search"),
        "the newest memories that hold a secret, by an index that begins with the tier",
    ),
    "api:status": "counts alone",
    "inspector:memory-list-path": "inspector:memory-list under another address",
    "inspector:classification-undo": "only POST, what one person changed at an instant",
    **dict.fromkeys(
        (
            "api:schema",
            "api:",
            "inspector:time-choose",
            "inspector:sign-in",
            "inspector:sign-out",
            "inspector:theme",
            "inspector:view-as",
            "inspector:view-as-stop",
            "inspector:help",
        ),
        "no memories",
    ),
}
"""Routes that take no filters of memories, with the reason."""
