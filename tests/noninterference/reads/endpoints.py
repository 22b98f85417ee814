"""Every route that answers about memories, and the requests sent there. An endpoint is one line in ENDPOINTS."""

import html
import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from memoryhub.conflicts.groups.group_keys import GroupKey, encode_id
from memoryhub.memories.filters import POINT_IN_TIME_PARAMS
from tests.harness.strategies import SOAK
from tests.noninterference.reads.rows import KEYS
from tests.noninterference.worlds import PairedWorlds, RecordedResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointInputs:
    """The inputs that one example sends to every endpoint."""

    query: str
    visible_ids: list[uuid.UUID]
    hidden_ids: list[uuid.UUID]
    decisions: list[uuid.UUID] = field(default_factory=list)
    """Some of which are on what is hidden, and so in one world alone."""
    policies: list[uuid.UUID] = field(default_factory=list)
    runs: list[uuid.UUID] = field(default_factory=list)
    """Carried out by who sees more."""
    keys: Sequence[GroupKey] = KEYS
    """Of the groups, open or decided or not there."""

    @property
    def time_query(self) -> str:
        """The part of the query that says when."""
        return urlencode([(name, value) for name, value in parse_qsl(self.query) if name in POINT_IN_TIME_PARAMS])


PathBuilder = Callable[[EndpointInputs], list[str]]


def plain_path(path: str) -> PathBuilder:
    return lambda _: [path]


def filtered_paths(path: str) -> PathBuilder:
    return lambda inputs: sorted({path, f"{path}?{inputs.query}".rstrip("?")})


def list_paths(path: str, limit: int) -> PathBuilder:
    """The first page, filtered or (where the query is empty) whole; the pages after it are walked by their cursors."""
    return lambda inputs: [f"{path}?limit={limit}&{inputs.query}".rstrip("&")]


def memory_paths(path: str) -> PathBuilder:
    # A hidden one exists in one world alone: there hidden, here missing, and the answers must be the same bytes.
    return lambda inputs: [path.format(memory_id) for memory_id in (*inputs.visible_ids, *inputs.hidden_ids)]


def memory_paths_at(path: str) -> PathBuilder:
    """As it is now and as it was at the point in time of the query."""
    return lambda inputs: [f"{path_now}?{inputs.time_query}".rstrip("?") for path_now in memory_paths(path)(inputs)]


def time_travel_paths(view: str) -> PathBuilder:
    """Pages at the point in time of the query, or else at one between the rows."""
    return lambda inputs: [
        f"/api/timetravel?view={view}&limit=2&{inputs.query}&".rstrip("&")
        + ("" if inputs.time_query else "&as_of=2026-03-04T00:00:00Z")
    ]


def subject_paths(inputs: EndpointInputs) -> list[str]:
    return [f"/subjects/{subject}?{inputs.time_query}".rstrip("?") for subject in ("user:ada", "hidden-subject")]


def conflict_list_paths(inputs: EndpointInputs) -> list[str]:
    time_query = f"&{inputs.time_query}".rstrip("&")
    queries = (
        "limit=2",
        "include_keyless=true",
        "scope=namespace&source=agent",
        "limit=2&status=all",
        "status=decided",
    )
    return [f"/api/conflicts?{query}{time_query}" for query in queries]


def conflict_paths(inputs: EndpointInputs) -> list[str]:
    return [f"/api/conflicts/{encode_id(*key)}?{inputs.time_query}".rstrip("?") for key in inputs.keys]


def conflict_action_paths(action: str, path: str = "/api/conflicts") -> PathBuilder:
    return lambda inputs: [f"{path}/{encode_id(*key)}/{action}" for key in inputs.keys]


def paths_for_each(attribute: str, path: str) -> PathBuilder:
    """For each of the decisions, the policies or the runs."""
    return lambda inputs: [path.format(id_) for id_ in getattr(inputs, attribute)]


def queue_paths(inputs: EndpointInputs) -> list[str]:
    time_query = f"&{inputs.time_query}".rstrip("&")
    queries = ("limit=2", "limit=2&class=update", "status=all", "status=decided&subject=user:bob")
    return [f"/conflicts?{query}{time_query}" for query in queries]


def queue_group_paths(inputs: EndpointInputs) -> list[str]:
    return [path.removeprefix("/api") for path in conflict_paths(inputs)]


def decision_list_paths(inputs: EndpointInputs) -> list[str]:
    queries = ["limit=1", "in_force=true", "in_force=false", "subject=user:ada", "q=looked", "outcome=keep_one"]
    queries += [f"memory_id={memory_id}" for memory_id in (*inputs.visible_ids, *inputs.hidden_ids)]
    return [f"/api/decisions?{query}" for query in queries]


def replay_query(inputs: EndpointInputs) -> str:
    """The question as the low key would have asked it."""
    retained_params = urlencode(
        [(name, value) for name, value in parse_qsl(inputs.query) if name not in POINT_IN_TIME_PARAMS]
    )
    return urlencode({"as": "clearance:low", "query": retained_params, "as_of": "2026-03-04T00:00:00Z"})


def diff_paths(path: str, axis: str = "record") -> PathBuilder:
    """What differs since the first step, on the axis of events up to an instant between the rows."""
    since = "2100-01-01T00:00:01.5Z" if axis == "record" else "2026-01-01&until=2026-03-04T00:00:00Z"

    def build_paths(inputs: EndpointInputs) -> list[str]:
        retained_params = urlencode(
            [(name, value) for name, value in parse_qsl(inputs.query) if name not in POINT_IN_TIME_PARAMS]
        )
        return [f"{path}?axis={axis}&since={since}&limit=2&{retained_params}".rstrip("&")]

    return build_paths


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A route, who asks there ("key" or "person"), and which paths; with a body it is posted."""

    route: str
    caller: str
    paths: PathBuilder
    post: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return f"{'GET' if self.post is None else 'POST'} {self.route}"


PRINCIPAL_NAMES = ("low", "high")
DECISION_FORM = {"choice": "not_a_conflict", "reason": "Both are true."}
NOT_A_CONFLICT = {"outcome": "not_a_conflict", "reason": "Both are true."}
HISTORY_PATH = "/api/timetravel?view=history&limit=2&subject=user:ada"
ENDPOINTS = [
    Endpoint("api:memory-list", "key", list_paths("/api/memories", 2)),
    Endpoint("api:memory-list", "key", plain_path("/api/memories")),
    Endpoint("api:memory-detail", "key", memory_paths_at("/api/memories/{}")),
    Endpoint("api:memory-versions", "key", memory_paths_at("/api/memories/{}/versions")),
    Endpoint("api:timetravel", "key", time_travel_paths("list")),
    Endpoint("api:timetravel", "person", time_travel_paths("state")),
    Endpoint("api:timetravel", "key", lambda inputs: [f"{HISTORY_PATH}&{inputs.time_query}".rstrip("&")]),
    Endpoint("api:diff", "key", diff_paths("/api/diff")),
    Endpoint("api:diff", "person", diff_paths("/api/diff", "event")),
    Endpoint("inspector:diff", "person", diff_paths("/diff")),
    Endpoint("api:facets", "key", filtered_paths("/api/facets")),
    Endpoint("api:search", "key", list_paths("/api/search", 3)),
    Endpoint("api:search", "person", plain_path("/api/search"), {"filter": {"q": "paris ada"}, "mode": "keyword"}),
    Endpoint("api:memory-similar", "key", memory_paths_at("/api/memories/{}/similar")),
    Endpoint("api:histogram", "key", filtered_paths("/api/histogram")),
    Endpoint("api:status", "key", plain_path("/api/status")),
    Endpoint("inspector:memory-list", "person", list_paths("/", 4)),
    Endpoint("inspector:memory-detail", "person", memory_paths_at("/memories/{}")),
    Endpoint("inspector:memory-unmask", "person", memory_paths("/memories/{}/unmask"), {}),
    Endpoint("api:secret-search", "person", plain_path("/api/memories/secrets"), {"text": "AKIA"}),
    Endpoint("inspector:secret-search", "person", plain_path("/memories/secrets"), {"text": "akia"}),
    Endpoint("api:audit-log", "key", plain_path("/api/audit")),
    Endpoint("api:conflict-list", "key", conflict_list_paths),
    Endpoint("api:conflict-detail", "key", conflict_paths),
    Endpoint("api:decision-list", "key", decision_list_paths),
    Endpoint("api:decision-detail", "person", paths_for_each("decisions", "/api/decisions/{}")),
    Endpoint("api:decision-export", "key", plain_path("/api/decisions/export")),
    Endpoint(
        "api:conflict-resolve", "person", conflict_action_paths("decisions"), {**NOT_A_CONFLICT, "evidence": "0" * 64}
    ),
    Endpoint("api:conflict-claim", "person", conflict_action_paths("claim"), {}),
    Endpoint("inspector:conflict-list", "person", queue_paths),
    Endpoint("inspector:conflict-detail", "person", queue_group_paths),
    Endpoint(
        "inspector:decision-list",
        "person",
        # The page runs the queries of the API, which soak sends to both.
        lambda inputs: [path.removeprefix("/api") for path in decision_list_paths(inputs)[0 if SOAK else -4 :]],
    ),
    Endpoint("inspector:decision-detail", "person", paths_for_each("decisions", "/decisions/{}")),
    Endpoint("inspector:subject-detail", "person", subject_paths),
    Endpoint("inspector:replay", "person", lambda inputs: [f"/replay?{replay_query(inputs)}"]),
    Endpoint("api:replay", "person", lambda inputs: [f"/api/replay?{replay_query(inputs)}"]),
    Endpoint("inspector:audit-log", "person", plain_path("/audit")),
    Endpoint("inspector:audit-log", "person", memory_paths("/audit?memory={}")),
    Endpoint(
        "inspector:audit-principal",
        "person",
        lambda _: [f"/audit/principals/user:{name}" for name in PRINCIPAL_NAMES],
    ),
    Endpoint(
        "inspector:memories-classify",
        "person",
        lambda inputs: [f"/memories/classify?set_status=quarantined&{inputs.query}".rstrip("&")],
    ),
    Endpoint(
        "api:memory-classify",
        "person",
        memory_paths("/api/memories/{}/classify"),
        {"add_labels": ["seen"], "version": 1},
    ),
    # The second version is what the endpoint before this one made.
    Endpoint(
        "inspector:memory-classify",
        "person",
        memory_paths("/memories/{}/classify"),
        {"add_labels": "x", "version": "2"},
    ),
    Endpoint(
        "api:memories-classify",
        "person",
        plain_path("/api/memories/classify"),
        {"filter": {}, "add_labels": ["x"], "dry_run": True},
    ),
]
# Asked in a few examples, because they cost much and no filter reaches them, or take back what others are asked about.
RARE_ENDPOINTS = [
    Endpoint("api:decision-undo", "person", paths_for_each("decisions", "/api/decisions/{}/undo"), {"reason": "No."}),
    Endpoint("api:conflict-list", "key", conflict_list_paths),
    Endpoint("api:decision-list", "key", lambda inputs: decision_list_paths(inputs)[: None if SOAK else 3]),
    Endpoint(
        "inspector:conflict-resolve",
        "person",
        conflict_action_paths("resolve", "/conflicts"),
        {**DECISION_FORM, "evidence": "0" * 64},
    ),
    Endpoint("inspector:conflict-claim", "person", conflict_action_paths("claim", "/conflicts"), {}),
    Endpoint("inspector:conflict-similar", "person", conflict_action_paths("similar", "/conflicts"), DECISION_FORM),
    Endpoint("api:policy-list", "person", plain_path("/api/policies")),
    Endpoint("api:policy-detail", "person", paths_for_each("policies", "/api/policies/{}")),
    Endpoint("api:policy-dry-run", "person", paths_for_each("policies", "/api/policies/{}/dry-run"), {}),
    Endpoint("api:policy-run-list", "person", plain_path("/api/policy-runs")),
    Endpoint("api:policy-run-detail", "person", paths_for_each("runs", "/api/policy-runs/{}")),
    Endpoint("inspector:policy-list", "person", plain_path("/policies")),
    Endpoint("inspector:policy-detail", "person", paths_for_each("policies", "/policies/{}")),
    Endpoint("inspector:policy-dry-run", "person", paths_for_each("policies", "/policies/{}/dry-run")),
    Endpoint("inspector:policy-run-detail", "person", paths_for_each("runs", "/policies/runs/{}")),
    Endpoint("inspector:memory-list-path", "person", filtered_paths("/memories")),
]
# Pages about no memory, some of which cost much.
STATIC_ENDPOINTS = [
    Endpoint("api:schema", "key", plain_path("/api/schema")),
    Endpoint("docs", "person", plain_path("/api/docs")),
    Endpoint("inspector:help", "person", plain_path("/help")),
    Endpoint("inspector:time-choose", "person", plain_path("/time")),
    Endpoint("inspector:view-as", "person", plain_path("/view-as")),
    Endpoint("inspector:sign-in", "person", plain_path("/sign-in")),
    Endpoint("ready", "person", plain_path("/ready")),
    Endpoint("metrics", "key", plain_path("/metrics")),
    Endpoint("", "key", plain_path("/api/nowhere")),
    Endpoint("admin:index", "person", plain_path("/admin/")),
    Endpoint("admin:app_list", "person", plain_path("/admin/firewall/")),
]
# Routes that answer nothing about memories, each with the reason.
EXEMPT_ROUTES = {
    "inspector:sign-out": "only POST, ends the session",
    "inspector:theme": "only POST, sets a cookie",
    "inspector:view-as-stop": "only POST, ends view-as",
    "inspector:decision-undo": "only POST, as api:decision-undo",
    **dict.fromkeys(
        (
            "api:policy-run-create",
            "api:policy-run-advance",
            "api:policy-run-undo",
            "inspector:policy-create",
            "inspector:policy-run-create",
            "inspector:policy-run-advance",
            "inspector:policy-run-undo",
        ),
        "only for who may everything",
    ),
    "inspector:classification-undo": "only POST, takes back what the same person did (test_undo_classification.py)",
}


def collect_responses(
    worlds: PairedWorlds, inputs: EndpointInputs, endpoints: list[Endpoint]
) -> dict[str, RecordedResponse]:
    """The answer at every path, and at every page that an answer leads to."""
    responses: dict[str, RecordedResponse] = {}
    for endpoint in endpoints:
        caller = getattr(worlds, endpoint.caller)
        for path in endpoint.paths(inputs):
            next_path: str | None = path
            for _ in range(40):
                if next_path is None:
                    break
                responses[f"{endpoint.route} {next_path}"] = response = caller.request(next_path, endpoint.post)
                next_path = next_page_path(path, response)
            else:
                raise AssertionError(f"{path} has no end")
    return responses


def next_page_path(path: str, response: RecordedResponse) -> str | None:
    if "limit=" not in path or response.status != 200:
        return None
    if response.body.startswith(b"{"):
        cursor = json.loads(response.body)["next_cursor"]
        return f"{path}&{urlencode({'cursor': cursor})}" if cursor else None
    link_match = re.search(rb'<a [^>]*id="older"[^>]*>', response.body)
    href_match = link_match and re.search(rb'href="([^"]+)"', link_match[0])
    return html.unescape(href_match[1].decode()) if href_match else None
