"""What the OpenAPI document says of each route. Parameters come from the FilterSet, the body from the envelope."""

import json
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import (
    OpenApiParameter,
    PolymorphicProxySerializer,
    extend_schema,
)
from pydantic import BaseModel

from memoryhub.api import policy_shapes, shapes
from memoryhub.api.bodies import ChangeOfMany, ChangeOfOne, ChoiceOfOne, Claiming, SecretSearch, Undoing
from memoryhub.conflicts.claims import CLAIM_MINUTES
from memoryhub.conflicts.groups import STATUSES, GroupFilterSet
from memoryhub.conflicts.models import OUTCOMES
from memoryhub.conflicts.policies import Draft
from memoryhub.conflicts.rules import RULES
from memoryhub.firewall.types import tier_order
from memoryhub.memories.envelope import Envelope
from memoryhub.memories.filters import MOMENT, ChoiceFilter, InstantFilter, LabelFilter, MemoryFilterSet
from memoryhub.memories.ingest import OnConflict
from memoryhub.memories.pages import MAX_LIMIT
from memoryhub.memories.relabel import QUARANTINE, Change
from memoryhub.memories.secret_search import MAX_FOUND, MAX_READ
from memoryhub.ops.trail_query import ACTIONS
from memoryhub.timetravel.diff import DiffFilterSet
from memoryhub.timetravel.travel import VIEWS

PROBLEM = "application/problem+json"
_UUID = {"type": "string", "format": "uuid"}

_SAID = {
    "q": "Text that the content contains, without regard to case and invisible characters. What looks like a secret is "
    "found by no part of it: see `POST /api/memories/secrets`.",
    "payload_id": "The writer's own id: does it exist?",
    "label": "A sensitivity label; repeated, all of them must be present. An empty one: memories without labels.",
    "tier": "The classification tier; an empty one reads as the lowest.",
    "status": "Without it: active memories. `expired`: those that were active until their `expires_at` came.",
    "from": "Event time at or after this instant (or date, midnight UTC).",
    "to": "Event time before this instant (or date, midnight UTC).",
    "as_of": "What had happened at this instant: event time up to and including it. A future one is clipped to now.",
    "since": "Required: the earlier instant. A change at it is none.",
    "until": "The later instant; a change at it is one. Without it: now, to which a future one is clipped.",
    "axis": "Of which time the instants are: `known` (record time, the default) or `event`.",
    "change": "Changes of this kind alone: `resolved` is what a decision about a conflict left or made.",
    "subject_contains": "A part of the subject, without regard to case. No part finds one that looks like a secret.",
    "class": "Groups of which this is the most serious class.",
    "scope": "What a group shares besides the subject and the collection: `namespace` splits by it.",
    "known_at": "What was known at this instant of record time. A future one is clipped to now.",
}


_NEVER_EMPTY = {"source", "actor_type"}
_MAY_BE_EMPTY = {name for name, field in Envelope.model_fields.items() if field.default == ""} - _NEVER_EMPTY
_OF_EMPTY = "An empty value asks for memories without one."


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "memoryhub.api.authentication.KeyAuthentication"
    name = "key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "memoryhub.api.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


def _parameter(name: str) -> OpenApiParameter:
    filtered = {**GroupFilterSet.base_filters, **MemoryFilterSet.base_filters, **DiffFilterSet.base_filters}[name]
    choices = [value for value, _ in filtered.extra["choices"]()] if isinstance(filtered, ChoiceFilter) else None
    schema: dict[str, Any] = {"type": "string", **({"enum": choices} if choices else {})}
    if isinstance(filtered, LabelFilter):
        schema = {"type": "array", "items": schema}
    elif isinstance(filtered, InstantFilter):
        schema = {"type": "string", "format": "date-time"}
    said = _SAID.get(name, _OF_EMPTY if filtered.field_name in _MAY_BE_EMPTY else "")
    return OpenApiParameter(name, schema, description=said, explode=True, required=name == "since")


_FILTERS = [_parameter(name) for name in MemoryFilterSet.base_filters]
_MOMENT = [_parameter(name) for name in MOMENT]
_PAGE = [
    OpenApiParameter(
        "limit",
        {"type": "integer", "minimum": 1, "default": 20},
        description=f"At most {MAX_LIMIT}: more is cut to that, and the header Memoryhub-Clipped names `limit`.",
    ),
    OpenApiParameter("cursor", {"type": "string"}, description="`next_cursor` of the page before."),
]
_ON_CONFLICT = OpenApiParameter(
    "on_conflict",
    {"type": "string", "enum": list(OnConflict), "default": OnConflict.REFUSE},
    description=(
        "What to do when a payload_id is written again: `refuse` other content, `update` the fields that are sent (null"
        " or empty clears one), or `replace` all of them, those that are not sent by their defaults."
    ),
)
_ENVELOPE = Envelope.model_json_schema() | {
    # An update may leave the content out.
    "required": ["payload_id"],
}
_BODY = {
    "application/json": {
        "oneOf": [_ENVELOPE, {"type": "array", "items": _ENVELOPE, "maxItems": 1000}],
    }
}


_FILTER = {
    "type": "object",
    "description": "As the parameters of the list.",
    "properties": {str(parameter.name): parameter.type for parameter in _FILTERS},
    "additionalProperties": False,
}


def _body(shape: type[BaseModel], **better: dict[str, Any]) -> dict[str, Any]:
    """The body of a route; what its schema refers to stands in the place of the reference."""
    schema = shape.model_json_schema()
    schema["properties"] |= better
    parts = schema.pop("$defs", {})
    whole = json.dumps(schema)
    for name, part in parts.items():
        whole = whole.replace(json.dumps({"$ref": f"#/$defs/{name}"}), json.dumps(part))
    return {"application/json": json.loads(whole)}


def _change(shape: type[Change], **better: dict[str, Any]) -> dict[str, Any]:
    """The body of a route that classifies. Without a tier and a status these stay as they are."""
    schema = shape.model_json_schema()
    choices = {"classification_tier": tier_order(), "status": QUARANTINE}
    known = {name: {"type": "string", "enum": list(values)} for name, values in choices.items()}
    return {"application/json": {**schema, "properties": {**schema["properties"], **known, **better}}}


def _problems(*statuses: int) -> dict[Any, Any]:
    return {(status, PROBLEM): shapes.ProblemSerializer for status in statuses}


_READ = _problems(400, 401, 403, 405, 429, 503)

memories_list = extend_schema(
    operation_id="memories_list",
    summary="Memories, newest first",
    parameters=[*_FILTERS, *_PAGE],
    responses={200: shapes.PageSerializer, **_READ},
)
memories_write = extend_schema(
    operation_id="memories_write",
    summary="Write one memory, or up to 1,000",
    parameters=[_ON_CONFLICT],
    request=_BODY,
    responses={
        201: shapes.ReceiptSerializer,
        200: PolymorphicProxySerializer(
            "ReceiptOrBatch", [shapes.ReceiptSerializer, shapes.BatchSerializer], resource_type_field_name=None
        ),
        (422, PROBLEM): shapes.RefusedBatchSerializer,
        **_problems(400, 401, 403, 405, 408, 409, 411, 413, 415, 429, 503),
    },
)
memory_detail = extend_schema(
    operation_id="memory",
    summary="One memory",
    parameters=_MOMENT,
    responses={200: shapes.WholeRecordSerializer, **_READ, **_problems(404)},
)
memory_versions = extend_schema(
    operation_id="memory_versions",
    summary="The versions of one memory, newest first",
    parameters=_MOMENT,
    responses={200: shapes.VersionsSerializer, **_READ, **_problems(404)},
)
memory_labels = extend_schema(
    operation_id="memory_labels",
    summary="Classify one memory",
    description="Opening it to readers who do not see it takes the scope `declassify`, and a reason.",
    parameters=[
        OpenApiParameter("If-Match", str, OpenApiParameter.HEADER, description="The ETag of the memory; or `version`.")
    ],
    request=_change(ChangeOfOne),
    responses={
        200: shapes.ClassifiedSerializer,
        **_problems(400, 401, 403, 404, 405, 408, 409, 411, 412, 413, 415, 428, 429, 503),
    },
)
memory_secrets = extend_schema(
    operation_id="memory_secrets",
    summary="Find memories by what is masked in them",
    description="Of the memories that hold what looks like a secret and that the filter finds, the newest "
    f"{MAX_READ:,} are read; at most {MAX_FOUND} of those whose content contains the text are answered. It is recorded "
    "as a reveal, with the memories that were found and without the text.",
    request=_body(SecretSearch, filter=_FILTER),
    responses={
        200: shapes.SecretMatchesSerializer,
        **_problems(400, 401, 403, 405, 408, 411, 413, 415, 429, 503),
    },
)
labels = extend_schema(
    operation_id="labels",
    summary="Classify all memories that a filter finds, after a dry run",
    description="All of them in one transaction. What may not be changed is left as it is, and counted.",
    request=_change(ChangeOfMany, filter=_FILTER),
    responses={200: shapes.PlanSerializer, **_problems(400, 401, 403, 405, 408, 409, 411, 413, 415, 428, 429, 503)},
)
facets = extend_schema(
    operation_id="facets",
    summary="Counts per value",
    parameters=_FILTERS,
    responses={200: shapes.FacetsSerializer, **_READ},
)
histogram = extend_schema(
    operation_id="histogram",
    summary="Counts over event time",
    parameters=_FILTERS,
    responses={200: shapes.HistogramSerializer, **_READ},
)
timetravel = extend_schema(
    operation_id="timetravel",
    summary="What was known, or believed, at an instant",
    description="Event time (`as_of`), record time (`known_at`), or both: for a list one of them must be given. An "
    "answer stays as it is, whatever is written later, but for what is erased.",
    parameters=[
        *_FILTERS,
        OpenApiParameter(
            "view",
            {"type": "string", "enum": list(VIEWS), "default": "list"},
            description="`state`: of the values of a subject and a collection the latest alone; without an instant the "
            "one of now. `history`: every version about a `subject`, in force or not, of any status; it needs no "
            "instant.",
        ),
        *_PAGE,
    ],
    responses={200: shapes.TravelSerializer, **_READ},
)
diff = extend_schema(
    operation_id="diff",
    summary="What differs between two instants, newest change first",
    description="Of record time (`axis=known`), each memory as it stood at both; of event time (`axis=event`), what "
    "was believed of each subject and collection. Only both ends are compared. A filter finds a change by either end.",
    parameters=[*(_parameter(name) for name in DiffFilterSet.base_filters), *_PAGE],
    responses={200: shapes.DiffSerializer, **_READ},
)
conflicts = extend_schema(
    operation_id="conflicts",
    summary="Groups of memories about one thing that do not say the same",
    description="Memories in force with the same subject and collection, and more than one content. A filter selects "
    "the groups that hold a match; it takes no memory out of a group. With `class` a page may hold fewer groups than "
    "its limit, or none, and still go on.",
    parameters=[
        *(_parameter(name) for name in GroupFilterSet.base_filters if name != "status"),
        OpenApiParameter(
            "status",
            {"type": "string", "enum": list(STATUSES), "default": "open"},
            description="`open`: nobody has decided about all that is said; a value that joins opens a group again.",
        ),
        OpenApiParameter("min_values", {"type": "integer", "minimum": 1, "default": 2}, description="Distinct values."),
        OpenApiParameter(
            "unkeyed",
            {"type": "string", "enum": ["true", "false"], "default": "false"},
            description="Also memories with an empty subject or collection, which belong to no group otherwise. "
            "`subject=` or `collection=` asks for those alone.",
        ),
        *_PAGE,
    ],
    responses={200: shapes.ConflictPageSerializer, **_READ},
)
conflict = extend_schema(
    operation_id="conflict",
    summary="One such group, what speaks for its class, and what was decided about it",
    description="Open or decided. Its ETag is what a decision about it may be made conditional on.",
    parameters=[*_MOMENT, _parameter("scope")],
    responses={200: shapes.WholeConflictSerializer, **_READ, **_problems(404)},
)
_DECISION = [
    OpenApiParameter(
        "q", description="Text that the reason contains, without regard to case. A reason with a secret is not found."
    ),
    OpenApiParameter("subject"),
    OpenApiParameter("collection"),
    OpenApiParameter("outcome", {"type": "string", "enum": list(OUTCOMES)}),
    OpenApiParameter("principal", description="Who decided, such as `user:ada`."),
    OpenApiParameter("policy", _UUID, description="What this policy decided."),
    OpenApiParameter("run", _UUID, description="What one run of a policy decided."),
    OpenApiParameter("memory_id", _UUID, description="What was decided on this memory, or made it."),
    OpenApiParameter("in_force", {"type": "string", "enum": ["true", "false"]}, description="Neither undone nor over."),
    OpenApiParameter("from", {"type": "string", "format": "date-time"}, description="Decided from this instant on."),
    OpenApiParameter("to", {"type": "string", "format": "date-time"}, description="Decided before this instant."),
]
_JUDGED = _problems(400, 401, 403, 404, 405, 408, 411, 413, 415, 429, 503)
decide = extend_schema(
    operation_id="conflict_decide",
    summary="Decide about a group",
    description="On what was read: its `evidence`, or its ETag as `If-Match`. Memories stand for what they say: all "
    "that say the same are kept with them. What loses is retired, but for what readers see who do not see all of the "
    "group: that is `left` in force. Refused with `stale` if the group has changed since, or was decided already; an "
    "undo comes before another decision. Refused with `claimed` while somebody else holds the claim.",
    parameters=[
        OpenApiParameter(
            "If-Match", str, OpenApiParameter.HEADER, description="The ETag of the group; or `evidence`. No `*`."
        )
    ],
    request=_body(ChoiceOfOne),
    responses={
        201: shapes.DecisionSerializer,
        **_JUDGED,
        **_problems(428),
        **{(status, PROBLEM): shapes.StaleSerializer for status in (409, 412)},
    },
)
claim = extend_schema(
    operation_id="conflict_claim",
    summary="Take, renew or release the claim of a group",
    description=f"For {CLAIM_MINUTES} minutes others are told that you are deciding about it. A decision releases it.",
    request=_body(Claiming),
    responses={200: shapes.ClaimedSerializer, **_JUDGED, (409, PROBLEM): shapes.StaleSerializer},
)
decisions = extend_schema(
    operation_id="decisions",
    summary="Decisions about conflicts, newest first",
    description="Those that were made on memories all of which you may see.",
    parameters=[*_DECISION, *_PAGE],
    responses={200: shapes.DecisionPageSerializer, **_READ},
)
decisions_export = extend_schema(
    operation_id="decisions_export",
    summary="All of them, one JSON object a line",
    parameters=_DECISION,
    responses={(200, "application/x-ndjson"): shapes.DecisionSerializer, **_READ},
)
decision = extend_schema(
    operation_id="decision",
    summary="One decision",
    responses={200: shapes.DecisionSerializer, **_READ, **_problems(404)},
)
decision_undo = extend_schema(
    operation_id="decision_undo",
    summary="Undo a decision",
    description="What is retired because of it is in force again, and what it merged is retired. Each is undone once, "
    "and an undo is not undone: decide again instead.",
    parameters=[OpenApiParameter("If-Match", str, OpenApiParameter.HEADER, description="The ETag of the decision.")],
    request=_body(Undoing),
    responses={201: shapes.DecisionSerializer, **_JUDGED, **_problems(409, 412)},
)
_SENT = _problems(400, 401, 403, 404, 405, 408, 411, 413, 415, 429, 503)
policies = extend_schema(
    operation_id="policies",
    summary="Policies, the most specific first",
    description="By which rules open groups of a namespace and a collection are decided. Needs the scope `inspect`; "
    "to write policies and to run them takes `admin`.",
    responses={200: policy_shapes.PoliciesSerializer, **_READ},
)
policy_create = extend_schema(
    operation_id="policy_create",
    summary="Write a new policy",
    description="Rules are asked one after the other: each names one value, or narrows down what the next one decides "
    f"about. {' '.join(f'`{name}`: {words}' for name, words in RULES.items())}",
    request=_body(Draft),
    responses={201: policy_shapes.WholePolicySerializer, **_SENT},
)
policy = extend_schema(
    operation_id="policy",
    summary="One policy with its versions",
    responses={200: policy_shapes.WholePolicySerializer, **_READ, **_problems(404)},
)
policy_change = extend_schema(
    operation_id="policy_change",
    summary="Write the next version of a policy",
    request=_body(policy_shapes.NewVersion),
    responses={201: policy_shapes.WholePolicySerializer, **_SENT, **_problems(409, 428)},
)
policy_dry_run = extend_schema(
    operation_id="policy_dry_run",
    summary="What a policy would do to the open groups that you see",
    description="Nothing is changed. A page may hold fewer groups than its limit, or none, and still go on.",
    request=_body(policy_shapes.DryRun),
    responses={200: policy_shapes.DryRunSerializer, **_SENT},
)
policy_run = extend_schema(
    operation_id="policy_run",
    summary="Carry out a policy: the first step of a new run",
    request=_body(policy_shapes.Nothing),
    responses={201: policy_shapes.RunSerializer, **_SENT, **_problems(409)},
)
policy_run_go = extend_schema(
    operation_id="policy_run_go",
    summary="The next step of a run",
    description="Until `finished`: each step is one transaction. A run of a policy that has changed does not go on.",
    request=_body(policy_shapes.Nothing),
    responses={200: policy_shapes.RunSerializer, **_SENT, **_problems(409)},
)
policy_runs = extend_schema(
    operation_id="policy_runs",
    summary="Runs of policies, newest first",
    description="Those that were started by somebody who sees no more than you.",
    parameters=_PAGE,
    responses={200: policy_shapes.RunPageSerializer, **_READ},
)
policy_run_of_id = extend_schema(
    operation_id="policy_run_of_id",
    summary="One run",
    responses={200: policy_shapes.RunSerializer, **_READ, **_problems(404)},
)
policy_run_undo = extend_schema(
    operation_id="policy_run_undo",
    summary="Undo what a run decided: the next step",
    description="Until `is_finished`. The run ends with it.",
    request=_body(Undoing),
    responses={200: policy_shapes.UndoingRunSerializer, **_SENT},
)
replay = extend_schema(
    operation_id="replay",
    summary="What somebody would have received then, and what they receive now",
    description="Needs the scope `view_as`. Both are answered under the clearance that they hold now: time travel "
    "never declassifies. That you looked is recorded under your own name.",
    parameters=[
        OpenApiParameter("as", required=True, description="Who asks: `key:NAME`, `user:NAME` or `clearance:NAME`."),
        OpenApiParameter("query", description="The address of a list of memories, or what stands behind its `?`."),
        *_MOMENT,
    ],
    responses={200: shapes.ReplaySerializer, **_READ, **_problems(404)},
)
ledger = extend_schema(
    operation_id="ledger",
    summary="Who did and who read what, newest first",
    description="Needs the scope `audit`. An entry is told to those who may see all that its actor could see then.",
    parameters=[
        OpenApiParameter("principal", description="Who, such as `user:ada` or `key:agent`."),
        OpenApiParameter("action", description=f"What: {', '.join(f'`{action}`' for action in ACTIONS)}."),
        OpenApiParameter("memory", {"type": "string", "format": "uuid"}, description="What concerns this memory."),
        OpenApiParameter("request_id", description="What one request did."),
        OpenApiParameter("from", {"type": "string", "format": "date-time"}, description="From this instant on."),
        OpenApiParameter("to", {"type": "string", "format": "date-time"}, description="Before this instant."),
        *_PAGE,
    ],
    responses={200: shapes.LedgerSerializer, **_READ},
)
status = extend_schema(
    operation_id="status", summary="How the hub is doing", responses={200: shapes.StatusSerializer, **_READ}
)
ready = extend_schema(
    operation_id="ready",
    summary="Whether requests can be served",
    auth=[],
    responses={200: shapes.ReadySerializer, **_problems(405, 503)},
)
