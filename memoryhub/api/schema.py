"""The OpenAPI description of each route: parameters come from the FilterSets, the write body from `Envelope`."""

import json
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import (
    OpenApiParameter,
    PolymorphicProxySerializer,
    extend_schema,
)
from pydantic import BaseModel

from memoryhub.api import policy_responses, responses
from memoryhub.api.requests import (
    BulkClassifyRequest,
    ClaimRequest,
    ClassifyRequest,
    ResolveRequest,
    SecretSearchRequest,
    UndoRequest,
)
from memoryhub.audit.actions import AuditAction
from memoryhub.conflicts.decisions.claims import CLAIM_MINUTES
from memoryhub.conflicts.groups.groups import STATUSES, GroupFilterSet
from memoryhub.conflicts.models import OUTCOMES
from memoryhub.conflicts.policies.policies import PolicyInput
from memoryhub.conflicts.policies.rules import RULES
from memoryhub.firewall.clearance import get_tier_order
from memoryhub.memories.filters import POINT_IN_TIME_PARAMS, ChoiceFilter, InstantFilter, LabelFilter, MemoryFilterSet
from memoryhub.memories.pagination import MAX_LIMIT
from memoryhub.memories.secret_search import MAX_MATCHES, MAX_SCANNED
from memoryhub.memories.writes.classify import QUARANTINE_STATUSES, ClassificationChange
from memoryhub.memories.writes.envelope import Envelope
from memoryhub.memories.writes.write import OnConflict
from memoryhub.timetravel.diff import DiffFilterSet
from memoryhub.timetravel.point_queries import VIEWS

PROBLEM_MEDIA_TYPE = "application/problem+json"
_UUID_SCHEMA = {"type": "string", "format": "uuid"}

_PARAMETER_DOCS = {
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
    "axis": "Of which time the instants are: `record` (the default) or `event`.",
    "change": "Changes of this kind alone: `resolved` is what a decision about a conflict left or made.",
    "subject_contains": "A part of the subject, without regard to case. No part finds one that looks like a secret.",
    "class": "Groups of which this is the most serious class.",
    "scope": "What a group shares besides the subject and the collection: `namespace` splits by it.",
    "known_at": "What was known at this instant of record time. A future one is clipped to now.",
}


_NON_EMPTY_FIELDS = {"source", "actor_type"}
_EMPTYABLE_FIELDS = {name for name, field in Envelope.model_fields.items() if field.default == ""} - _NON_EMPTY_FIELDS
_EMPTY_VALUE_DOC = "An empty value asks for memories without one."


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


def _build_parameter(name: str) -> OpenApiParameter:
    query_filter = {**GroupFilterSet.base_filters, **MemoryFilterSet.base_filters, **DiffFilterSet.base_filters}[name]
    choices = (
        [value for value, _ in query_filter.extra["choices"]()] if isinstance(query_filter, ChoiceFilter) else None
    )
    schema: dict[str, Any] = {"type": "string", **({"enum": choices} if choices else {})}
    if isinstance(query_filter, LabelFilter):
        schema = {"type": "array", "items": schema}
    elif isinstance(query_filter, InstantFilter):
        schema = {"type": "string", "format": "date-time"}
    description = _PARAMETER_DOCS.get(name, _EMPTY_VALUE_DOC if query_filter.field_name in _EMPTYABLE_FIELDS else "")
    return OpenApiParameter(name, schema, description=description, explode=True, required=name == "since")


_FILTER_PARAMETERS = [_build_parameter(name) for name in MemoryFilterSet.base_filters]
_INSTANT_PARAMETERS = [_build_parameter(name) for name in POINT_IN_TIME_PARAMS]
_PAGE_PARAMETERS = [
    OpenApiParameter(
        "limit",
        {"type": "integer", "minimum": 1, "default": 20},
        description=f"At most {MAX_LIMIT}: more is cut to that, and the header Memoryhub-Clipped names `limit`.",
    ),
    OpenApiParameter("cursor", {"type": "string"}, description="`next_cursor` of the page before."),
]
_ON_CONFLICT_PARAMETER = OpenApiParameter(
    "on_conflict",
    {"type": "string", "enum": list(OnConflict), "default": OnConflict.REFUSE},
    description=(
        "What to do when a payload_id is written again: `refuse` other content, `update` the fields that are sent (null"
        " or empty clears one), or `replace` all of them, those that are not sent by their defaults."
    ),
)
_ENVELOPE_SCHEMA = Envelope.model_json_schema() | {
    # Only in an update may `content` be missing.
    "required": ["payload_id"],
}
_WRITE_BODY = {
    "application/json": {
        "oneOf": [_ENVELOPE_SCHEMA, {"type": "array", "items": _ENVELOPE_SCHEMA, "maxItems": 1000}],
    }
}


_FILTER_SCHEMA = {
    "type": "object",
    "description": "As the parameters of the list.",
    "properties": {str(parameter.name): parameter.type for parameter in _FILTER_PARAMETERS},
    "additionalProperties": False,
}


def _build_request_body(model: type[BaseModel], **property_overrides: dict[str, Any]) -> dict[str, Any]:
    """Return the body schema of a route, with all references replaced by what they refer to."""
    schema = model.model_json_schema()
    schema["properties"] |= property_overrides
    definitions = schema.pop("$defs", {})
    serialized_schema = json.dumps(schema)
    for name, definition in definitions.items():
        serialized_schema = serialized_schema.replace(json.dumps({"$ref": f"#/$defs/{name}"}), json.dumps(definition))
    return {"application/json": json.loads(serialized_schema)}


def _build_classify_body(model: type[ClassificationChange], **property_overrides: dict[str, Any]) -> dict[str, Any]:
    """Return the body schema of a classify route. A tier or status that is not sent stays unchanged."""
    schema = model.model_json_schema()
    choices = {"classification_tier": get_tier_order(), "status": QUARANTINE_STATUSES}
    enum_properties = {name: {"type": "string", "enum": list(values)} for name, values in choices.items()}
    return {
        "application/json": {**schema, "properties": {**schema["properties"], **enum_properties, **property_overrides}}
    }


def _problem_responses(*statuses: int) -> dict[Any, Any]:
    return {(status, PROBLEM_MEDIA_TYPE): responses.ProblemResponse for status in statuses}


_READ_PROBLEMS = _problem_responses(400, 401, 403, 405, 429, 503)

memories_list = extend_schema(
    operation_id="memories_list",
    summary="Memories, newest first",
    parameters=[*_FILTER_PARAMETERS, *_PAGE_PARAMETERS],
    responses={200: responses.MemoryPageResponse, **_READ_PROBLEMS},
)
memories_write = extend_schema(
    operation_id="memories_write",
    summary="Write one memory, or up to 1,000",
    parameters=[_ON_CONFLICT_PARAMETER],
    request=_WRITE_BODY,
    responses={
        201: responses.WriteReceiptResponse,
        200: PolymorphicProxySerializer(
            "WriteReceiptOrBatch",
            [responses.WriteReceiptResponse, responses.WriteBatchResponse],
            resource_type_field_name=None,
        ),
        (422, PROBLEM_MEDIA_TYPE): responses.RejectedBatchResponse,
        **_problem_responses(400, 401, 403, 405, 408, 409, 411, 413, 415, 429, 503),
    },
)
memory_detail = extend_schema(
    operation_id="memory",
    summary="One memory",
    parameters=_INSTANT_PARAMETERS,
    responses={200: responses.MemoryDetailResponse, **_READ_PROBLEMS, **_problem_responses(404)},
)
memory_versions = extend_schema(
    operation_id="memory_versions",
    summary="The versions of one memory, newest first",
    parameters=_INSTANT_PARAMETERS,
    responses={200: responses.MemoryVersionsResponse, **_READ_PROBLEMS, **_problem_responses(404)},
)
memory_classify = extend_schema(
    operation_id="memory_classify",
    summary="Classify one memory",
    description="Opening it to readers who do not see it takes the scope `declassify`, and a reason.",
    parameters=[
        OpenApiParameter("If-Match", str, OpenApiParameter.HEADER, description="The ETag of the memory; or `version`.")
    ],
    request=_build_classify_body(ClassifyRequest),
    responses={
        200: responses.MemoryClassificationResponse,
        **_problem_responses(400, 401, 403, 404, 405, 408, 409, 411, 412, 413, 415, 428, 429, 503),
    },
)
secret_search = extend_schema(
    operation_id="secret_search",
    summary="Find memories by what is masked in them",
    description="Of the memories that hold what looks like a secret and that the filter finds, the newest "
    f"{MAX_SCANNED:,} are read; at most {MAX_MATCHES} of those whose content contains the text are answered. It is "
    "recorded as an unmasking, with the memories that were found and without the text.",
    request=_build_request_body(SecretSearchRequest, filter=_FILTER_SCHEMA),
    responses={
        200: responses.SecretMatchesResponse,
        **_problem_responses(400, 401, 403, 405, 408, 411, 413, 415, 429, 503),
    },
)
memories_classify = extend_schema(
    operation_id="memories_classify",
    summary="Classify all memories that a filter finds, after a dry run",
    description="All of them in one transaction. What may not be changed is left as it is, and counted.",
    request=_build_classify_body(BulkClassifyRequest, filter=_FILTER_SCHEMA),
    responses={
        200: responses.ClassificationPlanResponse,
        **_problem_responses(400, 401, 403, 405, 408, 409, 411, 413, 415, 428, 429, 503),
    },
)
facets = extend_schema(
    operation_id="facets",
    summary="Counts per value",
    parameters=_FILTER_PARAMETERS,
    responses={200: responses.FacetsResponse, **_READ_PROBLEMS},
)
histogram = extend_schema(
    operation_id="histogram",
    summary="Counts over event time",
    parameters=_FILTER_PARAMETERS,
    responses={200: responses.HistogramResponse, **_READ_PROBLEMS},
)
timetravel = extend_schema(
    operation_id="timetravel",
    summary="What was known, or believed, at an instant",
    description="Event time (`as_of`), record time (`known_at`), or both: for a list one of them must be given. An "
    "answer stays as it is, whatever is written later, but for what is erased.",
    parameters=[
        *_FILTER_PARAMETERS,
        OpenApiParameter(
            "view",
            {"type": "string", "enum": list(VIEWS), "default": "list"},
            description="`state`: of the values of a subject and a collection the latest alone; without an instant the "
            "one of now. `history`: every version about a `subject`, current or not, of any status; it needs no "
            "instant.",
        ),
        *_PAGE_PARAMETERS,
    ],
    responses={200: responses.TimeTravelPageResponse, **_READ_PROBLEMS},
)
diff = extend_schema(
    operation_id="diff",
    summary="What differs between two instants, newest change first",
    description="Of record time (`axis=record`), each memory as it stood at both; of event time (`axis=event`), what "
    "was believed of each subject and collection. Only both ends are compared. A filter finds a change by either end.",
    parameters=[*(_build_parameter(name) for name in DiffFilterSet.base_filters), *_PAGE_PARAMETERS],
    responses={200: responses.DiffResponse, **_READ_PROBLEMS},
)
conflicts = extend_schema(
    operation_id="conflicts",
    summary="Groups of memories about one thing that do not say the same",
    description="Active memories with the same subject and collection, and more than one content. A filter selects "
    "the groups that hold a match; it takes no memory out of a group. With `class` a page may hold fewer groups than "
    "its limit, or none, and still go on.",
    parameters=[
        *(_build_parameter(name) for name in GroupFilterSet.base_filters if name != "status"),
        OpenApiParameter(
            "status",
            {"type": "string", "enum": list(STATUSES), "default": "open"},
            description="`open`: nobody has decided about all that is said; a value that joins opens a group again.",
        ),
        OpenApiParameter("min_values", {"type": "integer", "minimum": 1, "default": 2}, description="Distinct values."),
        OpenApiParameter(
            "include_keyless",
            {"type": "string", "enum": ["true", "false"], "default": "false"},
            description="Also memories with an empty subject or collection, which belong to no group otherwise. "
            "`subject=` or `collection=` asks for those alone.",
        ),
        *_PAGE_PARAMETERS,
    ],
    responses={200: responses.ConflictPageResponse, **_READ_PROBLEMS},
)
conflict = extend_schema(
    operation_id="conflict",
    summary="One such group, what speaks for its class, and what was decided about it",
    description="Open or decided. Its ETag is what a decision about it may be made conditional on.",
    parameters=[*_INSTANT_PARAMETERS, _build_parameter("scope")],
    responses={200: responses.ConflictDetailResponse, **_READ_PROBLEMS, **_problem_responses(404)},
)
_DECISION_PARAMETERS = [
    OpenApiParameter(
        "q", description="Text that the reason contains, without regard to case. A reason with a secret is not found."
    ),
    OpenApiParameter("subject"),
    OpenApiParameter("collection"),
    OpenApiParameter("outcome", {"type": "string", "enum": list(OUTCOMES)}),
    OpenApiParameter("principal", description="Who decided, such as `user:ada`."),
    OpenApiParameter("policy_id", _UUID_SCHEMA, description="What this policy decided."),
    OpenApiParameter("run_id", _UUID_SCHEMA, description="What one run of a policy decided."),
    OpenApiParameter("memory_id", _UUID_SCHEMA, description="What was decided on this memory, or made it."),
    OpenApiParameter("in_force", {"type": "string", "enum": ["true", "false"]}, description="Neither undone nor over."),
    OpenApiParameter("from", {"type": "string", "format": "date-time"}, description="Decided from this instant on."),
    OpenApiParameter("to", {"type": "string", "format": "date-time"}, description="Decided before this instant."),
]
_CURATE_PROBLEMS = _problem_responses(400, 401, 403, 404, 405, 408, 411, 413, 415, 429, 503)
conflict_resolve = extend_schema(
    operation_id="conflict_resolve",
    summary="Decide about a group",
    description="On what was read: its `evidence`, or its ETag as `If-Match`. Memories stand for what they say: all "
    "that say the same are kept with them. What loses is retired, but for what readers see who do not see all of the "
    "group: that stays active (`still_active_ids`). Refused with `stale` if the group has changed since, or was "
    "decided already; an undo comes before another decision. Refused with `claimed_by_other` while somebody else holds "
    "the claim.",
    parameters=[
        OpenApiParameter(
            "If-Match", str, OpenApiParameter.HEADER, description="The ETag of the group; or `evidence`. No `*`."
        )
    ],
    request=_build_request_body(ResolveRequest),
    responses={
        201: responses.DecisionResponse,
        **_CURATE_PROBLEMS,
        **_problem_responses(428),
        **{(status, PROBLEM_MEDIA_TYPE): responses.ConflictProblemResponse for status in (409, 412)},
    },
)
conflict_claim = extend_schema(
    operation_id="conflict_claim",
    summary="Take, renew or release the claim of a group",
    description=f"For {CLAIM_MINUTES} minutes others are told that you are deciding about it. A decision releases it.",
    request=_build_request_body(ClaimRequest),
    responses={
        200: responses.GroupClaimResponse,
        **_CURATE_PROBLEMS,
        (409, PROBLEM_MEDIA_TYPE): responses.ConflictProblemResponse,
    },
)
decisions = extend_schema(
    operation_id="decisions",
    summary="Decisions about conflicts, newest first",
    description="Those that were made on memories all of which you may see.",
    parameters=[*_DECISION_PARAMETERS, *_PAGE_PARAMETERS],
    responses={200: responses.DecisionPageResponse, **_READ_PROBLEMS},
)
decisions_export = extend_schema(
    operation_id="decisions_export",
    summary="All of them, one JSON object a line",
    parameters=_DECISION_PARAMETERS,
    responses={(200, "application/x-ndjson"): responses.DecisionResponse, **_READ_PROBLEMS},
)
decision = extend_schema(
    operation_id="decision",
    summary="One decision",
    responses={200: responses.DecisionResponse, **_READ_PROBLEMS, **_problem_responses(404)},
)
decision_undo = extend_schema(
    operation_id="decision_undo",
    summary="Undo a decision",
    description="What is retired because of it is active again, and what it merged is retired. Each is undone once, "
    "and an undo is not undone: decide again instead.",
    parameters=[OpenApiParameter("If-Match", str, OpenApiParameter.HEADER, description="The ETag of the decision.")],
    request=_build_request_body(UndoRequest),
    responses={201: responses.DecisionResponse, **_CURATE_PROBLEMS, **_problem_responses(409, 412)},
)
_ADMIN_PROBLEMS = _problem_responses(400, 401, 403, 404, 405, 408, 411, 413, 415, 429, 503)
policies = extend_schema(
    operation_id="policies",
    summary="Policies, the most specific first",
    description="By which rules open groups of a namespace and a collection are decided. Needs the scope `curate`; "
    "to write policies and to run them takes `admin`.",
    responses={200: policy_responses.PolicyListResponse, **_READ_PROBLEMS},
)
policy_create = extend_schema(
    operation_id="policy_create",
    summary="Write a new policy",
    description="Rules are asked one after the other: each names one value, or narrows down what the next one decides "
    f"about. {' '.join(f'`{name}`: {explanation}' for name, explanation in RULES.items())}",
    request=_build_request_body(PolicyInput),
    responses={201: policy_responses.PolicyDetailResponse, **_ADMIN_PROBLEMS},
)
policy = extend_schema(
    operation_id="policy",
    summary="One policy with its versions",
    responses={200: policy_responses.PolicyDetailResponse, **_READ_PROBLEMS, **_problem_responses(404)},
)
policy_version_create = extend_schema(
    operation_id="policy_version_create",
    summary="Write the next version of a policy",
    request=_build_request_body(policy_responses.PolicyVersionRequest),
    responses={201: policy_responses.PolicyDetailResponse, **_ADMIN_PROBLEMS, **_problem_responses(409, 428)},
)
policy_dry_run = extend_schema(
    operation_id="policy_dry_run",
    summary="What a policy would do to the open groups that you see",
    description="Nothing is changed. A page may hold fewer groups than its limit, or none, and still go on.",
    request=_build_request_body(policy_responses.DryRunRequest),
    responses={200: policy_responses.DryRunResponse, **_ADMIN_PROBLEMS},
)
policy_run_create = extend_schema(
    operation_id="policy_run_create",
    summary="Carry out a policy: the first step of a new run",
    request=_build_request_body(policy_responses.EmptyRequest),
    responses={201: policy_responses.PolicyRunResponse, **_ADMIN_PROBLEMS, **_problem_responses(409)},
)
policy_run_advance = extend_schema(
    operation_id="policy_run_advance",
    summary="The next step of a run",
    description="Until `finished_at` is set; each step is one transaction. A run whose policy changed does not go on.",
    request=_build_request_body(policy_responses.EmptyRequest),
    responses={200: policy_responses.PolicyRunResponse, **_ADMIN_PROBLEMS, **_problem_responses(409)},
)
policy_runs = extend_schema(
    operation_id="policy_runs",
    summary="Runs of policies, newest first",
    description="Those that were started by somebody who sees no more than you.",
    parameters=_PAGE_PARAMETERS,
    responses={200: policy_responses.PolicyRunPageResponse, **_READ_PROBLEMS},
)
policy_run_detail = extend_schema(
    operation_id="policy_run_detail",
    summary="One run",
    responses={200: policy_responses.PolicyRunResponse, **_READ_PROBLEMS, **_problem_responses(404)},
)
policy_run_undo = extend_schema(
    operation_id="policy_run_undo",
    summary="Undo what a run decided: the next step",
    description="Until `is_finished`. The run ends with it.",
    request=_build_request_body(UndoRequest),
    responses={200: policy_responses.PolicyRunUndoResponse, **_ADMIN_PROBLEMS},
)
replay = extend_schema(
    operation_id="replay",
    summary="What somebody would have received then, and what they receive now",
    description="Needs the scope `view_as`. Both are answered under the clearance that they hold now: time travel "
    "never declassifies. That you looked is recorded under your own name.",
    parameters=[
        OpenApiParameter("as", required=True, description="Who asks: `key:NAME`, `user:NAME` or `clearance:NAME`."),
        OpenApiParameter("query", description="The address of a list of memories, or its query string."),
        *_INSTANT_PARAMETERS,
    ],
    responses={200: responses.ReplayResponse, **_READ_PROBLEMS, **_problem_responses(404)},
)
audit_log = extend_schema(
    operation_id="audit_log",
    summary="The audit log, newest first",
    description="Needs the scope `audit`. An entry is visible to callers that may see all that its actor could see.",
    parameters=[
        OpenApiParameter("principal", description="Who, such as `user:ada` or `key:agent`."),
        OpenApiParameter("action", description=f"What: {', '.join(f'`{action}`' for action in AuditAction)}."),
        OpenApiParameter("memory", {"type": "string", "format": "uuid"}, description="What concerns this memory."),
        OpenApiParameter("request_id", description="What one request did."),
        OpenApiParameter("from", {"type": "string", "format": "date-time"}, description="From this instant on."),
        OpenApiParameter("to", {"type": "string", "format": "date-time"}, description="Before this instant."),
        *_PAGE_PARAMETERS,
    ],
    responses={200: responses.AuditPageResponse, **_READ_PROBLEMS},
)
status = extend_schema(
    operation_id="status", summary="How the hub is doing", responses={200: responses.StatusResponse, **_READ_PROBLEMS}
)
ready = extend_schema(
    operation_id="ready",
    summary="Whether requests can be served",
    auth=[],
    responses={200: responses.ReadyResponse, **_problem_responses(405, 503)},
)
