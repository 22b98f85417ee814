"""The OpenAPI description of each route: its parameters, its body and its responses."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema

from memoryhub.api import openapi  # noqa: F401  drf-spectacular finds its extensions once they are imported
from memoryhub.api.parameters import (
    DECISION_PARAMETERS,
    FILTER_PARAMETERS,
    FILTER_SCHEMA,
    INSTANT_PARAMETERS,
    ON_CONFLICT_PARAMETER,
    PAGE_PARAMETERS,
    WRITE_BODY,
    build_classify_body,
    build_parameters,
    build_request_body,
)
from memoryhub.api.problems import CONTENT_TYPE, ProblemResponse
from memoryhub.api.requests import (
    BulkClassifyRequest,
    ClaimRequest,
    ClassifyRequest,
    DryRunRequest,
    EmptyRequest,
    PolicyVersionRequest,
    ResolveRequest,
    SecretSearchRequest,
    UndoRequest,
)
from memoryhub.api.responses.conflicts import (
    ConflictDetailResponse,
    ConflictPageResponse,
    ConflictProblemResponse,
    DecisionPageResponse,
    GroupClaimResponse,
)
from memoryhub.api.responses.memories import (
    AuditPageResponse,
    ClassificationPlanResponse,
    FacetsResponse,
    MemoryClassificationResponse,
    MemoryPageResponse,
    MemoryVersionsResponse,
    ReadyResponse,
    RejectedBatchResponse,
    SecretMatchesResponse,
    WriteBatchResponse,
    WriteReceiptResponse,
)
from memoryhub.api.responses.policies import (
    DryRunResponse,
    PolicyDetailResponse,
    PolicyListResponse,
    PolicyRunPageResponse,
    PolicyRunUndoResponse,
)
from memoryhub.api.responses.time_travel import (
    DiffResponse,
    ReplayResponse,
    TimeTravelPageResponse,
)
from memoryhub.audit.actions import AuditAction
from memoryhub.conflicts.decisions.claims import CLAIM_MINUTES
from memoryhub.conflicts.decisions.decision_queries import DecisionRecord
from memoryhub.conflicts.groups.groups import STATUSES, GroupFilterSet
from memoryhub.conflicts.policies.policies import PolicyInput
from memoryhub.conflicts.policies.policy_runs import PolicyRunDocument
from memoryhub.conflicts.policies.rules import RULES
from memoryhub.memories.histogram import Histogram
from memoryhub.memories.records import DetailedMemory
from memoryhub.memories.secret_search import MAX_MATCHES, MAX_SCANNED
from memoryhub.operations.status import HubStatus
from memoryhub.timetravel.diff import DiffFilterSet
from memoryhub.timetravel.point_queries import VIEWS


def problem_responses(*statuses: int) -> dict[Any, Any]:
    return {(status, CONTENT_TYPE): ProblemResponse for status in statuses}


READ_PROBLEMS = problem_responses(400, 401, 403, 405, 429, 503)

memories_list = extend_schema(
    operation_id="memories_list",
    summary="Memories, newest first",
    parameters=[*FILTER_PARAMETERS, *PAGE_PARAMETERS],
    responses={200: MemoryPageResponse, **READ_PROBLEMS},
)
memories_write = extend_schema(
    operation_id="memories_write",
    summary="Write one memory, or up to 1,000",
    parameters=[ON_CONFLICT_PARAMETER],
    request=WRITE_BODY,
    responses={
        201: WriteReceiptResponse,
        200: PolymorphicProxySerializer(
            "WriteReceiptOrBatch",
            [WriteReceiptResponse, WriteBatchResponse],  # type: ignore[list-item]
            resource_type_field_name=None,
        ),
        (422, CONTENT_TYPE): RejectedBatchResponse,
        **problem_responses(400, 401, 403, 405, 408, 409, 411, 413, 415, 429, 503),
    },
)
memory_detail = extend_schema(
    operation_id="memory",
    summary="One memory",
    parameters=INSTANT_PARAMETERS,
    responses={200: DetailedMemory, **READ_PROBLEMS, **problem_responses(404)},
)
memory_versions = extend_schema(
    operation_id="memory_versions",
    summary="The versions of one memory, newest first",
    parameters=INSTANT_PARAMETERS,
    responses={200: MemoryVersionsResponse, **READ_PROBLEMS, **problem_responses(404)},
)
memory_classify = extend_schema(
    operation_id="memory_classify",
    summary="Classify one memory",
    description="A change that makes the memory visible to more readers needs the scope `declassify` and a reason.",
    parameters=[
        OpenApiParameter(
            "If-Match", str, OpenApiParameter.HEADER, description="The ETag of the memory, instead of `version`."
        )
    ],
    request=build_classify_body(ClassifyRequest),
    responses={
        200: MemoryClassificationResponse,
        **problem_responses(400, 401, 403, 404, 405, 408, 409, 411, 412, 413, 415, 428, 429, 503),
    },
)
secret_search = extend_schema(
    operation_id="secret_search",
    summary="Search in the masked secrets of memories",
    description="Searches the newest "
    f"{MAX_SCANNED:,} memories that match the filter and contain a secret, and returns at most {MAX_MATCHES} whose "
    "content contains the text. The audit log records the search as an unmasking of the matches, without the text.",
    request=build_request_body(SecretSearchRequest, filter=FILTER_SCHEMA),
    responses={
        200: SecretMatchesResponse,
        **problem_responses(400, 401, 403, 405, 408, 411, 413, 415, 429, 503),
    },
)
memories_classify = extend_schema(
    operation_id="memories_classify",
    summary="Classify all memories that match a filter, after a dry run",
    description="All changes are one transaction. Memories that may not be changed are left out and counted.",
    request=build_classify_body(BulkClassifyRequest, filter=FILTER_SCHEMA),
    responses={
        200: ClassificationPlanResponse,
        **problem_responses(400, 401, 403, 405, 408, 409, 411, 413, 415, 428, 429, 503),
    },
)
facets = extend_schema(
    operation_id="facets",
    summary="Counts of memories by the values of some fields",
    parameters=FILTER_PARAMETERS,
    responses={200: FacetsResponse, **READ_PROBLEMS},
)
histogram = extend_schema(
    operation_id="histogram",
    summary="Counts of memories over event time",
    parameters=FILTER_PARAMETERS,
    responses={200: Histogram, **READ_PROBLEMS},
)
timetravel = extend_schema(
    operation_id="timetravel",
    summary="Memories as of an instant of event time or record time",
    description="`as_of` is an instant of event time, `known_at` one of record time; a list needs at least one "
    "of them. "
    "Later writes do not change an answer; only erased memories disappear from it.",
    parameters=[
        *FILTER_PARAMETERS,
        OpenApiParameter(
            "view",
            {"type": "string", "enum": list(VIEWS), "default": "list"},
            description="`state`: only the latest value of each subject and collection; the default instant is now. "
            "`history`: every version about a `subject`, of any status; it needs no instant.",
        ),
        *PAGE_PARAMETERS,
    ],
    responses={200: TimeTravelPageResponse, **READ_PROBLEMS},
)
diff = extend_schema(
    operation_id="diff",
    summary="Changes between two instants, newest first",
    description="With `axis=record` the versions of each memory at both instants are compared, with `axis=event` the "
    "values of each subject and collection. A filter matches a change if it matches either of the two ends.",
    parameters=[*build_parameters(DiffFilterSet), *PAGE_PARAMETERS],
    responses={200: DiffResponse, **READ_PROBLEMS},
)
conflicts = extend_schema(
    operation_id="conflicts",
    summary="Conflict groups: memories with the same key and different values",
    description="A group has all active memories with the same subject and collection. A filter selects groups with "
    "a matching memory; it removes no memory from a group. With `class` a page may have fewer groups than its limit, "
    "or none, although there is a next page.",
    parameters=[
        *build_parameters(GroupFilterSet, without=("status",)),
        OpenApiParameter(
            "status",
            {"type": "string", "enum": list(STATUSES), "default": "open"},
            description="`open`: no decision covers all values of the group.",
        ),
        OpenApiParameter(
            "min_values",
            {"type": "integer", "minimum": 1, "default": 2},
            description="The least number of distinct values of a group.",
        ),
        OpenApiParameter(
            "include_keyless",
            {"type": "string", "enum": ["true", "false"], "default": "false"},
            description="Include memories with an empty subject or collection. `subject=` or `collection=` selects "
            "only these.",
        ),
        *PAGE_PARAMETERS,
    ],
    responses={200: ConflictPageResponse, **READ_PROBLEMS},
)
conflict = extend_schema(
    operation_id="conflict",
    summary="One group, with the features of its class and the decisions about it",
    description="The group may be open or decided. Its ETag can be sent with a decision as `If-Match`.",
    parameters=[
        *INSTANT_PARAMETERS,
        *(parameter for parameter in build_parameters(GroupFilterSet) if parameter.name == "scope"),
    ],
    responses={200: ConflictDetailResponse, **READ_PROBLEMS, **problem_responses(404)},
)
_CURATE_PROBLEMS = problem_responses(400, 401, 403, 404, 405, 408, 411, 413, 415, 429, 503)
conflict_resolve = extend_schema(
    operation_id="conflict_resolve",
    summary="Resolve a group",
    description="Send the `evidence` of the group that was read, or its ETag as `If-Match`. A kept memory keeps all "
    "memories with the same value. The other memories are retired, except those whose readers do not all see the whole "
    "group (`still_active_ids`). The request is refused with `stale` if the group has changed or was "
    "decided since: undo "
    "that decision first. It is refused with `claimed_by_other` while another principal holds the claim.",
    parameters=[
        OpenApiParameter(
            "If-Match",
            str,
            OpenApiParameter.HEADER,
            description="The ETag of the group, instead of `evidence`; not `*`.",
        )
    ],
    request=build_request_body(ResolveRequest),
    responses={
        201: DecisionRecord,
        **_CURATE_PROBLEMS,
        **problem_responses(428),
        **{(status, CONTENT_TYPE): ConflictProblemResponse for status in (409, 412)},
    },
)
conflict_claim = extend_schema(
    operation_id="conflict_claim",
    summary="Take, renew or release the claim of a group",
    description=f"A claim shows other principals for {CLAIM_MINUTES} minutes that you are deciding. A decision "
    "releases it.",
    request=build_request_body(ClaimRequest),
    responses={
        200: GroupClaimResponse,
        **_CURATE_PROBLEMS,
        (409, CONTENT_TYPE): ConflictProblemResponse,
    },
)
decisions = extend_schema(
    operation_id="decisions",
    summary="Decisions about conflicts, newest first",
    description="A decision is visible to callers that may see all of its memories.",
    parameters=[*DECISION_PARAMETERS, *PAGE_PARAMETERS],
    responses={200: DecisionPageResponse, **READ_PROBLEMS},
)
decisions_export = extend_schema(
    operation_id="decisions_export",
    summary="All decisions, one JSON object per line",
    parameters=DECISION_PARAMETERS,
    responses={(200, "application/x-ndjson"): DecisionRecord, **READ_PROBLEMS},
)
decision = extend_schema(
    operation_id="decision",
    summary="One decision",
    responses={200: DecisionRecord, **READ_PROBLEMS, **problem_responses(404)},
)
decision_undo = extend_schema(
    operation_id="decision_undo",
    summary="Undo a decision",
    description="Memories that the decision retired are active again, and a memory that it created is retired. A "
    "decision is undone at most once, and an undo cannot be undone: make another decision instead.",
    parameters=[OpenApiParameter("If-Match", str, OpenApiParameter.HEADER, description="The ETag of the decision.")],
    request=build_request_body(UndoRequest),
    responses={201: DecisionRecord, **_CURATE_PROBLEMS, **problem_responses(409, 412)},
)
_ADMIN_PROBLEMS = problem_responses(400, 401, 403, 404, 405, 408, 411, 413, 415, 429, 503)
policies = extend_schema(
    operation_id="policies",
    summary="Policies, the most specific first",
    description="A policy decides open groups of a namespace and a collection by rules. Reading needs the scope "
    "`curate`; writing and running policies needs `admin`.",
    responses={200: PolicyListResponse, **READ_PROBLEMS},
)
policy_create = extend_schema(
    operation_id="policy_create",
    summary="Write a new policy",
    description="Rules are applied in order: each one selects one value, or leaves fewer values to the next rule. "
    f"{' '.join(f'`{name}`: {explanation}' for name, explanation in RULES.items())}",
    request=build_request_body(PolicyInput),
    responses={201: PolicyDetailResponse, **_ADMIN_PROBLEMS},
)
policy = extend_schema(
    operation_id="policy",
    summary="One policy with its versions",
    responses={200: PolicyDetailResponse, **READ_PROBLEMS, **problem_responses(404)},
)
policy_version_create = extend_schema(
    operation_id="policy_version_create",
    summary="Write the next version of a policy",
    request=build_request_body(PolicyVersionRequest),
    responses={201: PolicyDetailResponse, **_ADMIN_PROBLEMS, **problem_responses(409, 428)},
)
policy_dry_run = extend_schema(
    operation_id="policy_dry_run",
    summary="Evaluate a policy on the open groups that you see",
    description="Nothing is changed. A page may have fewer groups than its limit, or none, although there is a "
    "next page.",
    request=build_request_body(DryRunRequest),
    responses={200: DryRunResponse, **_ADMIN_PROBLEMS},
)
policy_run_create = extend_schema(
    operation_id="policy_run_create",
    summary="Apply a policy: the first step of a new run",
    request=build_request_body(EmptyRequest),
    responses={201: PolicyRunDocument, **_ADMIN_PROBLEMS, **problem_responses(409)},
)
policy_run_advance = extend_schema(
    operation_id="policy_run_advance",
    summary="The next step of a run",
    description="Repeat until `finished_at` is set; each step is one transaction. A run stops if its policy changes.",
    request=build_request_body(EmptyRequest),
    responses={200: PolicyRunDocument, **_ADMIN_PROBLEMS, **problem_responses(409)},
)
policy_runs = extend_schema(
    operation_id="policy_runs",
    summary="Runs of policies, newest first",
    description="A run is visible to callers that may see all that its principal could see.",
    parameters=PAGE_PARAMETERS,
    responses={200: PolicyRunPageResponse, **READ_PROBLEMS},
)
policy_run_detail = extend_schema(
    operation_id="policy_run_detail",
    summary="One run",
    responses={200: PolicyRunDocument, **READ_PROBLEMS, **problem_responses(404)},
)
policy_run_undo = extend_schema(
    operation_id="policy_run_undo",
    summary="Undo the decisions of a run: the next step",
    description="Repeat until `is_finished`. An unfinished run ends.",
    request=build_request_body(UndoRequest),
    responses={200: PolicyRunUndoResponse, **_ADMIN_PROBLEMS},
)
replay = extend_schema(
    operation_id="replay",
    summary="Answer a query as another principal, at a past point in time and now",
    description="Needs the scope `view_as`. Both answers use the present clearance of the principal. The read log "
    "names you as the viewer.",
    parameters=[
        OpenApiParameter(
            "as", required=True, description="The principal: `key:NAME`, `user:NAME` or `clearance:NAME`."
        ),
        OpenApiParameter("query", description="The URL of a list of memories, or its query string."),
        *INSTANT_PARAMETERS,
    ],
    responses={200: ReplayResponse, **READ_PROBLEMS, **problem_responses(404)},
)
audit_log = extend_schema(
    operation_id="audit_log",
    summary="The audit log, newest first",
    description="Needs the scope `audit`. An entry is visible to callers that may see all that its actor could see.",
    parameters=[
        OpenApiParameter("principal", description="The principal, such as `user:ada` or `key:agent`."),
        OpenApiParameter("action", description=f"The action: {', '.join(f'`{action}`' for action in AuditAction)}."),
        OpenApiParameter("memory", {"type": "string", "format": "uuid"}, description="Only entries about this memory."),
        OpenApiParameter("request_id", description="Only entries of this request."),
        OpenApiParameter("from", {"type": "string", "format": "date-time"}, description="At or after this instant."),
        OpenApiParameter("to", {"type": "string", "format": "date-time"}, description="Before this instant."),
        *PAGE_PARAMETERS,
    ],
    responses={200: AuditPageResponse, **READ_PROBLEMS},
)
status = extend_schema(
    operation_id="status", summary="The status of the hub", responses={200: HubStatus, **READ_PROBLEMS}
)
ready = extend_schema(
    operation_id="ready",
    summary="Whether the hub can serve requests",
    auth=[],
    responses={200: ReadyResponse, **problem_responses(405, 503)},
)
