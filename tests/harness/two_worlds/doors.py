"""Every route that answers about memories, and what is asked there. A door is one line in DOORS."""

import html
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from memoryhub.conflicts.keys import id_of
from memoryhub.memories.filters import MOMENT
from tests.harness.worlds import Answer, Worlds


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one example asks at every door."""

    query: str
    visible: list[uuid.UUID]
    hidden: list[uuid.UUID]

    @property
    def moment(self) -> str:
        """The part of the query that says when."""
        return urlencode([(name, value) for name, value in parse_qsl(self.query) if name in MOMENT])


Paths = Callable[[Asked], list[str]]


def plain(path: str) -> Paths:
    return lambda _: [path]


def filtered(path: str) -> Paths:
    return lambda asked: sorted({path, f"{path}?{asked.query}".rstrip("?")})


def listed(path: str, limit: int) -> Paths:
    """The first page, filtered or (where the query is empty) whole; the pages after it are walked by their cursors."""
    return lambda asked: [f"{path}?limit={limit}&{asked.query}".rstrip("&")]


def of_a_memory(path: str) -> Paths:
    # A hidden one exists in one world alone: there hidden, here missing, and the answers must be the same bytes.
    return lambda asked: [path.format(memory_id) for memory_id in (*asked.visible, *asked.hidden)]


def of_a_memory_then(path: str) -> Paths:
    """As it is now and as it was at the moment that is asked about."""
    return lambda asked: [f"{now}?{asked.moment}".rstrip("?") for now in of_a_memory(path)(asked)]


def travelled(view: str) -> Paths:
    """Pages at the moment that is asked about, or else at one between the rows."""
    return lambda asked: [
        f"/api/timetravel?view={view}&limit=2&{asked.query}&".rstrip("&")
        + ("" if asked.moment else "&as_of=2026-03-04T00:00:00Z")
    ]


def of_a_subject(asked: Asked) -> list[str]:
    return [f"/subjects/{subject}?{asked.moment}".rstrip("?") for subject in ("user:ada", "hidden-subject")]


def disputed(asked: Asked) -> list[str]:
    moment = f"&{asked.moment}".rstrip("&")
    return [f"/api/conflicts?{query}{moment}" for query in ("limit=2", "unkeyed=true", "scope=namespace&source=agent")]


def disputes(asked: Asked) -> list[str]:
    keys = [("user:ada", "city"), ("user:bob", "city"), ("user:ada", ""), ("hidden-subject", "hidden-collection")]
    return [f"/api/conflicts/{id_of(*key)}?{asked.moment}".rstrip("?") for key in keys]


def replayed(asked: Asked) -> str:
    """The question as the low key would have asked it."""
    kept = urlencode([(name, value) for name, value in parse_qsl(asked.query) if name not in MOMENT])
    return urlencode({"as": "clearance:low", "query": kept, "as_of": "2026-03-04T00:00:00Z"})


def compared(path: str, axis: str = "known") -> Paths:
    """What differs since the first step, on the axis of events up to an instant between the rows."""
    since = "2100-01-01T00:00:01.5Z" if axis == "known" else "2026-01-01&until=2026-03-04T00:00:00Z"

    def paths(asked: Asked) -> list[str]:
        kept = urlencode([(name, value) for name, value in parse_qsl(asked.query) if name not in MOMENT])
        return [f"{path}?axis={axis}&since={since}&limit=2&{kept}".rstrip("&")]

    return paths


@dataclass(frozen=True, slots=True)
class Door:
    """A route, who asks there ("key" or "person"), and which paths; with a body it is posted."""

    route: str
    who: str
    paths: Paths
    post: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return f"{'GET' if self.post is None else 'POST'} {self.route}"


NAMES = ("low", "high")
HISTORY = "/api/timetravel?view=history&limit=2&subject=user:ada"
DOORS = [
    Door("api:memories", "key", listed("/api/memories", 2)),
    Door("api:memories", "key", plain("/api/memories")),
    Door("api:memory", "key", of_a_memory_then("/api/memories/{}")),
    Door("api:memory-versions", "key", of_a_memory_then("/api/memories/{}/versions")),
    Door("api:timetravel", "key", travelled("list")),
    Door("api:timetravel", "person", travelled("state")),
    Door("api:timetravel", "key", lambda asked: [f"{HISTORY}&{asked.moment}".rstrip("&")]),
    Door("api:diff", "key", compared("/api/diff")),
    Door("api:diff", "person", compared("/api/diff", "event")),
    Door("inspector:diff", "person", compared("/diff")),
    Door("api:facets", "key", filtered("/api/facets")),
    Door("api:histogram", "key", filtered("/api/histogram")),
    Door("api:status", "key", plain("/api/status")),
    Door("inspector:memories", "person", listed("/", 4)),
    Door("inspector:memory", "person", of_a_memory_then("/memories/{}")),
    Door("inspector:memory-reveal", "person", of_a_memory("/memories/{}/reveal"), {}),
    Door("api:ledger", "key", plain("/api/ledger")),
    Door("api:conflicts", "key", disputed),
    Door("api:conflict", "key", disputes),
    Door("inspector:subject", "person", of_a_subject),
    Door("inspector:replay", "person", lambda asked: [f"/replay?{replayed(asked)}"]),
    Door("api:replay", "person", lambda asked: [f"/api/replay?{replayed(asked)}"]),
    Door("inspector:ledger", "person", plain("/ledger")),
    Door("inspector:ledger", "person", of_a_memory("/ledger?memory={}")),
    Door("inspector:ledger-principal", "person", lambda _: [f"/ledger/principals/user:{name}" for name in NAMES]),
    Door("inspector:labels", "person", lambda asked: [f"/labels?set_status=quarantined&{asked.query}".rstrip("&")]),
    Door("api:memory-labels", "person", of_a_memory("/api/memories/{}/labels"), {"add_labels": ["seen"], "version": 1}),
    # The second version is what the door before this one made.
    Door("inspector:memory-labels", "person", of_a_memory("/memories/{}/labels"), {"add_labels": "x", "version": "2"}),
    Door("api:labels", "person", plain("/api/memories/labels"), {"filter": {}, "add_labels": ["x"], "dry_run": True}),
]
# Asked in a few examples, because they cost much and no filter reaches them.
RARE = [
    Door("inspector:memories-list", "person", filtered("/memories")),
    Door("api:schema", "key", plain("/api/schema")),
    Door("docs", "person", plain("/api/docs")),
    Door("inspector:help", "person", plain("/help")),
    Door("inspector:time", "person", plain("/time")),
    Door("inspector:view-as", "person", plain("/view-as")),
    Door("inspector:sign-in", "person", plain("/sign-in")),
    Door("ready", "person", plain("/ready")),
    Door("", "key", plain("/api/nowhere")),
    Door("admin:index", "person", plain("/admin/")),
    Door("admin:app_list", "person", plain("/admin/firewall/")),
]
# Routes that answer nothing about memories, each with the reason.
NOT_DOORS = {
    "inspector:sign-out": "only POST, ends the session",
    "inspector:theme": "only POST, sets a cookie",
    "inspector:view-as-stop": "only POST, ends looking as somebody else",
    "inspector:labels-undo": "only POST, takes back what the same person did (test_relabel.py: TestUndo)",
}


def answers(worlds: Worlds, asked: Asked, doors: list[Door]) -> dict[str, Answer]:
    """The answer at every path, and at every page that an answer leads to."""
    told: dict[str, Answer] = {}
    for door in doors:
        caller = getattr(worlds, door.who)
        for path in door.paths(asked):
            following: str | None = path
            for _ in range(40):
                if following is None:
                    break
                told[f"{door.route} {following}"] = answer = caller.ask(following, door.post)
                following = next_page(path, answer)
            else:
                raise AssertionError(f"{path} has no end")
    return told


def next_page(path: str, answer: Answer) -> str | None:
    if "limit=" not in path or answer.status != 200:
        return None
    if answer.body.startswith(b"{"):
        cursor = json.loads(answer.body)["next_cursor"]
        return f"{path}&{urlencode({'cursor': cursor})}" if cursor else None
    older = re.search(rb'<a [^>]*id="older"[^>]*>', answer.body)
    address = older and re.search(rb'href="([^"]+)"', older[0])
    return html.unescape(address[1].decode()) if address else None
