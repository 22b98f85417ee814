"""Every route that answers about memories, and what is asked there. A door is one line in DOORS."""

import html
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from memoryhub.conflicts.keys import id_of
from memoryhub.memories.filters import MOMENT
from tests.harness.two_worlds.rows import KEYS
from tests.harness.worlds import Answer, Worlds


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one example asks at every door."""

    query: str
    visible: list[uuid.UUID]
    hidden: list[uuid.UUID]
    decisions: list[uuid.UUID] = field(default_factory=list)
    """Some of which are on what is hidden, and so in one world alone."""
    policies: list[uuid.UUID] = field(default_factory=list)
    runs: list[uuid.UUID] = field(default_factory=list)
    """Carried out by who sees more."""

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
    queries = ("limit=2", "unkeyed=true", "scope=namespace&source=agent", "limit=2&status=all", "status=decided")
    return [f"/api/conflicts?{query}{moment}" for query in queries]


def disputes(asked: Asked) -> list[str]:
    return [f"/api/conflicts/{id_of(*key)}?{asked.moment}".rstrip("?") for key in KEYS]


def judged(verb: str, path: str = "/api/conflicts") -> Paths:
    return lambda _: [f"{path}/{id_of(*key)}/{verb}" for key in KEYS]


def of_each(what: str, path: str) -> Paths:
    """For each of the decisions, the policies or the runs."""
    return lambda asked: [path.format(each) for each in getattr(asked, what)]


def queues(asked: Asked) -> list[str]:
    moment = f"&{asked.moment}".rstrip("&")
    queries = ("limit=2", "limit=2&class=update", "status=all", "status=decided&subject=user:bob")
    return [f"/conflicts?{query}{moment}" for query in queries]


def queued(asked: Asked) -> list[str]:
    return [path.removeprefix("/api") for path in disputes(asked)]


def decided(asked: Asked) -> list[str]:
    queries = ["limit=1", "in_force=true", "in_force=false", "subject=user:ada", "q=looked", "outcome=keep_one"]
    queries += [f"memory_id={memory_id}" for memory_id in (*asked.visible, *asked.hidden)]
    return [f"/api/decisions?{query}" for query in queries]


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
TYPED = {"choice": "not_a_conflict", "reason": "Both are true."}
UNLIKE = {"outcome": "not_a_conflict", "reason": "Both are true."}
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
    Door("api:memory-secrets", "person", plain("/api/memories/secrets"), {"text": "AKIA"}),
    Door("inspector:memory-secrets", "person", plain("/memories/secrets"), {"text": "akia"}),
    Door("api:ledger", "key", plain("/api/ledger")),
    Door("api:conflicts", "key", disputed),
    Door("api:conflict", "key", disputes),
    Door("api:decisions", "key", decided),
    Door("api:decision", "person", of_each("decisions", "/api/decisions/{}")),
    Door("api:decisions-export", "key", plain("/api/decisions/export")),
    Door("api:conflict-decisions", "person", judged("decisions"), {**UNLIKE, "evidence": "0" * 64}),
    Door("api:conflict-claim", "person", judged("claim"), {}),
    Door("inspector:conflicts", "person", queues),
    Door("inspector:conflict", "person", queued),
    Door("inspector:decisions", "person", lambda asked: [path.removeprefix("/api") for path in decided(asked)]),
    Door("inspector:decision", "person", of_each("decisions", "/decisions/{}")),
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
# Asked in a few examples, because they cost much and no filter reaches them, or take back what others are asked about.
RARE = [
    Door("api:decision-undo", "person", of_each("decisions", "/api/decisions/{}/undo"), {"reason": "No."}),
    Door("api:conflicts", "key", disputed),
    Door("api:decisions", "key", decided),
    Door("inspector:conflict-decide", "person", judged("decide", "/conflicts"), {**TYPED, "evidence": "0" * 64}),
    Door("inspector:conflict-claim", "person", judged("claim", "/conflicts"), {}),
    Door("inspector:conflict-similar", "person", judged("similar", "/conflicts"), TYPED),
    Door("api:policies", "person", plain("/api/policies")),
    Door("api:policy", "person", of_each("policies", "/api/policies/{}")),
    Door("api:policy-dry-run", "person", of_each("policies", "/api/policies/{}/dry-run"), {}),
    Door("api:policy-runs", "person", plain("/api/policy-runs")),
    Door("api:policy-run-of-id", "person", of_each("runs", "/api/policy-runs/{}")),
    Door("inspector:policies", "person", plain("/policies")),
    Door("inspector:policy", "person", of_each("policies", "/policies/{}")),
    Door("inspector:policy-dry-run", "person", of_each("policies", "/policies/{}/dry-run")),
    Door("inspector:policy-run", "person", of_each("runs", "/policies/runs/{}")),
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
    "inspector:decisions-undo": "only POST, as api:decision-undo",
    **dict.fromkeys(
        (
            "api:policy-run",
            "api:policy-run-go",
            "api:policy-run-undo",
            "inspector:policy-new",
            "inspector:policy-start",
            "inspector:policy-run-go",
            "inspector:policy-run-undo",
        ),
        "only for who may everything",
    ),
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
