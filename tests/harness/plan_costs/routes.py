"""Every route and command that takes filters of memories, and how it is asked. One line in ROUTES each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict
from django.test import Client

from memoryhub.conflicts.groups import GroupFilterSet
from memoryhub.firewall.types import Clearance
from memoryhub.memories.filters import MemoryFilterSet, MomentFilterSet
from memoryhub.ops.exporting import export_lines, travelled
from memoryhub.timetravel.diff import DiffFilterSet, Question
from memoryhub.timetravel.history import HistoryFilterSet
from memoryhub.timetravel.travel import StateFilterSet

Params = Mapping[str, str]
PUBLIC = Clearance(max_tier="public")
THEN = "2024-01-01T16:00:00Z"
"""An instant of event time between the visible rows."""
NOW: Params = {}
# Record time is looked at up to now: all rows were written by then.
AS_OF, KNOWN_AT = {"as_of": THEN}, {"known_at": "9999-12-31"}
BOTH = AS_OF | KNOWN_AT
MOMENTS: tuple[Params, ...] = (NOW, BOTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks: a key and a person who see the most open tier only."""

    key: Client
    person: Client

    def get(self, path: str, params: Params) -> None:
        response: Any = (self.key if path.startswith("/api/") else self.person).get(path, params)
        body = b"".join(response) if response.streaming else response.content
        assert response.status_code == 200, (path, params, body)

    def post(self, path: str, body: Any) -> None:
        response = self.person.post(path, body, content_type="application/json")
        assert response.status_code == 200, (path, body, response.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    name: str
    """The URL's name, or `command` and the command's name."""
    path: str = ""
    filter_set: type[MomentFilterSet] = MemoryFilterSet
    params: Params = field(default_factory=dict)
    """What is asked besides filters; a filter of that name takes its place."""
    moments: tuple[Params, ...] = (NOW,)

    def ask(self, asker: Asker, params: Params) -> None:
        asker.get(self.path, {**self.params, **params})

    def __str__(self) -> str:
        return f"{self.name}?{urlencode(self.params)}".rstrip("?")


class Replay(Route):
    """A list that is asked then and now, as somebody."""

    def ask(self, asker: Asker, params: Params) -> None:
        asker.get(self.path, {"as": "clearance:public", "query": urlencode({**self.params, **params})})


class Relabel(Route):
    """What a change of all that the filters find would do."""

    def ask(self, asker: Asker, params: Params) -> None:
        asker.post(self.path, {"filter": dict(params), "add_labels": ["x"], "dry_run": True})


class Export(Route):
    def ask(self, asker: Asker, params: Params) -> None:  # noqa: ARG002 - a command has no caller
        filters = MemoryFilterSet(_query(params), clearance=PUBLIC)
        for _ in export_lines(filters, history=bool(self.params)):
            pass


class EveryChange(Route):
    def ask(self, asker: Asker, params: Params) -> None:  # noqa: ARG002 - a command has no caller
        filters = DiffFilterSet(_query({**self.params, **params}), clearance=PUBLIC)
        for _ in Question.asked(filters).every():
            pass


class EveryPage(Route):
    def ask(self, asker: Asker, params: Params) -> None:  # noqa: ARG002 - a command has no caller
        for _ in travelled(_query({**self.params, **params}), clearance=PUBLIC):
            pass


def _query(params: Params) -> QueryDict:
    return QueryDict(urlencode(params))


_KNOWN = {"since": "1970-01-01"}
_EVENT = {"axis": "event", "since": THEN, "until": "2100-01-01"}
_HISTORY = {"view": "history", "subject": "common"}
_LABELS = {"set_status": "quarantined"}

PLAIN = (Route(name="api:memories", path="/api/memories", moments=MOMENTS),)
"""Where every two filters are asked together, too."""
ROUTES: tuple[Route, ...] = (
    *PLAIN,
    Route(name="api:facets", path="/api/facets", moments=MOMENTS),
    Route(name="api:histogram", path="/api/histogram", moments=MOMENTS),
    Route(name="api:timetravel", path="/api/timetravel", moments=(KNOWN_AT,)),
    Route(
        name="api:timetravel",
        path="/api/timetravel",
        filter_set=StateFilterSet,
        params={"view": "state"},
        moments=(AS_OF,),
    ),
    Route(name="api:timetravel", path="/api/timetravel", filter_set=HistoryFilterSet, params=_HISTORY),
    Route(name="api:diff", path="/api/diff", filter_set=DiffFilterSet, params=_KNOWN),
    Route(name="api:diff", path="/api/diff", filter_set=DiffFilterSet, params=_EVENT),
    Replay(name="api:replay", path="/api/replay", params={"view": "list"}, moments=(BOTH,)),
    Route(name="api:conflicts", path="/api/conflicts", filter_set=GroupFilterSet, moments=(NOW, KNOWN_AT)),
    Relabel(name="api:labels", path="/api/memories/labels", moments=(NOW, AS_OF)),
    Route(name="inspector:memories", path="/", moments=MOMENTS),
    Route(name="inspector:diff", path="/diff", filter_set=DiffFilterSet, params=_KNOWN),
    Replay(name="inspector:replay", path="/replay", params={"view": "state"}, moments=(KNOWN_AT,)),
    Route(name="inspector:labels", path="/labels", params=_LABELS),
    Route(name="inspector:conflicts", path="/conflicts", filter_set=GroupFilterSet),
    Route(name="inspector:subject", path="/subjects/common", filter_set=MomentFilterSet, moments=MOMENTS),
    Export(name="command export_memories", moments=(NOW, KNOWN_AT)),
    Export(name="command export_memories", params={"history": "1"}, moments=(NOW, KNOWN_AT)),
    EveryChange(name="command diff", filter_set=DiffFilterSet, params=_KNOWN),
    EveryPage(name="command as_of", moments=(KNOWN_AT,)),
)
WITHOUT_FILTERS = {
    **dict.fromkeys(
        (
            "api:memory",
            "api:memory-versions",
            "api:memory-labels",
            "inspector:memory",
            "inspector:memory-reveal",
            "inspector:memory-labels",
        ),
        "one memory, by its id",
    ),
    **dict.fromkeys(
        (
            "api:conflict",
            "api:conflict-decisions",
            "api:conflict-claim",
            "inspector:conflict",
            "inspector:conflict-decide",
            "inspector:conflict-claim",
            "inspector:conflict-similar",
        ),
        "one group, by its key",
    ),
    **dict.fromkeys(
        (
            "api:decisions",
            "api:decisions-export",
            "api:decision",
            "api:decision-undo",
            "inspector:decisions",
            "inspector:decisions-undo",
            "inspector:decision",
        ),
        "decisions, with filters of their own, and memories by their ids",
    ),
    **dict.fromkeys(
        (
            "api:policies",
            "api:policy",
            "api:policy-dry-run",
            "api:policy-run",
            "api:policy-runs",
            "api:policy-run-of-id",
            "api:policy-run-go",
            "api:policy-run-undo",
            "inspector:policies",
            "inspector:policy-new",
            "inspector:policy",
            "inspector:policy-dry-run",
            "inspector:policy-start",
            "inspector:policy-run",
            "inspector:policy-run-go",
            "inspector:policy-run-undo",
        ),
        "groups of a policy's collection and namespace",
    ),
    **dict.fromkeys(
        ("api:ledger", "inspector:ledger", "inspector:ledger-principal"), "the ledger, and memories by their ids"
    ),
    **dict.fromkeys(
        ("api:memory-secrets", "inspector:memory-secrets"),
        "the newest memories that hold a secret, by an index that begins with the tier",
    ),
    "api:status": "counts alone",
    "inspector:memories-list": "inspector:memories under another address",
    "inspector:labels-undo": "only POST, what one person changed at an instant",
    **dict.fromkeys(
        (
            "api:schema",
            "api:",
            "inspector:time",
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
