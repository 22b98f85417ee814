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
    build_parameter,
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


def _problem_responses(*statuses: int) -> dict[Any, Any]:
    return {(status, CONTENT_TYPE): ProblemResponse for status in statuses}


_READ_PROBLEMS = _problem_responses(400, 401, 403, 405, 429, 503)

memories_list = extend_schema(
    operation_id="memories_list",
    summary="Memories, newest first",
    parameters=[*FILTER_PARAMETERS, *PAGE_PARAMETERS],
    responses={200: MemoryPageResponse, **_READ_PROBLEMS},
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
        **_problem_responses(400, 401, 403, 405, 408, 409, 411, 413, 415, 429, 503),
    },
)
memory_detail = extend_schema(
    operation_id="memory",
    summary="One memory",
    parameters=INSTANT_PARAMETERS,
    responses={200: DetailedMemory, **_READ_PROBLEMS, **_problem_responses(404)},
)
memory_versions = extend_schema(
    operation_id="memory_versions",
    summary="The versions of one memory, newest first",
    parameters=INSTANT_PARAMETERS,
    responses={200: MemoryVersionsResponse, **_READ_PROBLEMS, **_problem_responses(404)},
)
memory_classify = extend_schema(
    operation_id="memory_classify",
    summary="Classify one memory",
    description="Opening it to readers who do not see it takes the scope `declassify`, and a reason.",
    parameters=[
        OpenApiParameter("If-Match", str, OpenApiParameter.HEADER, description="The ETag of the memory; or `version`.")
    ],
    request=build_classify_body(ClassifyRequest),
    responses={
        200: MemoryClassificationResponse,
        **_problem_responses(400, 401, 403, 404, 405, 408, 409, 411, 412, 413, 415, 428, 429, 503),
    },
)
secret_search = extend_schema(
    operation_id="secret_search",
    summary="Find memories by what is masked in them",
    description="Of the memories that hold what looks like a secret and that the filter finds, the newest "
    f"{MAX_SCANNED:,} are read; at most {MAX_MATCHES} of those whose content contains the text are answered. It is "
    "recorded as an unmasking, with the memories that were found and without the text.",
    request=build_request_body(SecretSearchRequest, filter=FILTER_SCHEMA),
    responses={
        200: SecretMatchesResponse,
        **_problem_responses(400, 401, 403, 405, 408, 411, 413, 415, 429, 503),
    },
)
memories_classify = extend_schema(
    operation_id="memories_classify",
    summary="Classify all memories that a filter finds, after a dry run",
    description="All of them in one transaction. What may not be changed is left as it is, and counted.",
    request=build_classify_body(BulkClassifyRequest, filter=FILTER_SCHEMA),
    responses={
        200: ClassificationPlanResponse,
        **_problem_responses(400, 401, 403, 405, 408, 409, 411, 413, 415, 428, 429, 503),
    },
)
facets = extend_schema(
    operation_id="facets",
    summary="Counts per value",
    parameters=FILTER_PARAMETERS,
    responses={200: FacetsResponse, **_READ_PROBLEMS},
)
histogram = extend_schema(
    operation_id="histogram",
    summary="Counts over event time",
    parameters=FILTER_PARAMETERS,
    responses={200: Histogram, **_READ_PROBLEMS},
)
timetravel = extend_schema(
    operation_id="timetravel",
    summary="What was known, or believed, at an instant",
    description="Event time (`as_of`), record time (`known_at`), or both: for a list one of them must be given. An "
    "answer stays as it is, whatever is written later, but for what is erased.",
    parameters=[
        *FILTER_PARAMETERS,
        OpenApiParameter(
            "view",
            {"type": "string", "enum": list(VIEWS), "default": "list"},
            description="`state`: of the values of a subject and a collection the latest alone; without an instant the "
            "one of now. `history`: every version about a `subject`, current or not, of any status; it needs no "
            "instant.",
        ),
        *PAGE_PARAMETERS,
    ],
    responses={200: TimeTravelPageResponse, **_READ_PROBLEMS},
)
diff = extend_schema(
    operation_id="diff",
    summary="What differs between two instants, newest change first",
    description="Of record time (`axis=record`), each memory as it stood at both; of event time (`axis=event`), what "
    "was believed of each subject and collection. Only both ends are compared. A filter finds a change by either end.",
    parameters=[*(build_parameter(name) for name in DiffFilterSet.base_filters), *PAGE_PARAMETERS],
    responses={200: DiffResponse, **_READ_PROBLEMS},
)
conflicts = extend_schema(
    operation_id="conflicts",
    summary="Groups of memories about one thing that do not say the same",
    description="Active memories with the same subject and collection, and more than one content. A filter selects "
    "the groups that hold a match; it takes no memory out of a group. With `class` a page may hold fewer groups than "
    "its limit, or none, and still go on.",
    parameters=[
        *(build_parameter(name) for name in GroupFilterSet.base_filters if name != "status"),
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
        *PAGE_PARAMETERS,
    ],
    responses={200: ConflictPageResponse, **_READ_PROBLEMS},
)
conflict = extend_schema(
    operation_id="conflict",
    summary="One such group, what speaks for its class, and what was decided about it",
    description="Open or decided. Its ETag is what a decision about it may be made conditional on.",
    parameters=[*INSTANT_PARAMETERS, build_parameter("scope")],
    responses={200: ConflictDetailResponse, **_READ_PROBLEMS, **_problem_responses(404)},
)
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
    request=build_request_body(ResolveRequest),
    responses={
        201: DecisionRecord,
        **_CURATE_PROBLEMS,
        **_problem_responses(428),
        **{(status, CONTENT_TYPE): ConflictProblemResponse for status in (409, 412)},
    },
)
conflict_claim = extend_schema(
    operation_id="conflict_claim",
    summary="Take, renew or release the claim of a group",
    description=f"For {CLAIM_MINUTES} minutes others are told that you are deciding about it. A decision releases it.",
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
    description="Those that were made on memories all of which you may see.",
    parameters=[*DECISION_PARAMETERS, *PAGE_PARAMETERS],
    responses={200: DecisionPageResponse, **_READ_PROBLEMS},
)
decisions_export = extend_schema(
    operation_id="decisions_export",
    summary="All of them, one JSON object a line",
    parameters=DECISION_PARAMETERS,
    responses={(200, "application/x-ndjson"): DecisionRecord, **_READ_PROBLEMS},
)
decision = extend_schema(
    operation_id="decision",
    summary="One decision",
    responses={200: DecisionRecord, **_READ_PROBLEMS, **_problem_responses(404)},
)
decision_undo = extend_schema(
    operation_id="decision_undo",
    summary="Undo a decision",
    description="What is retired because of it is active again, and what it merged is retired. Each is undone once, "
    "and an undo is not undone: decide again instead.",
    parameters=[OpenApiParameter("If-Match", str, OpenApiParameter.HEADER, description="The ETag of the decision.")],
    request=build_request_body(UndoRequest),
    responses={201: DecisionRecord, **_CURATE_PROBLEMS, **_problem_responses(409, 412)},
)
_ADMIN_PROBLEMS = _problem_responses(400, 401, 403, 404, 405, 408, 411, 413, 415, 429, 503)
policies = extend_schema(
    operation_id="policies",
    summary="Policies, the most specific first",
    description="By which rules open groups of a namespace and a collection are decided. Needs the scope `curate`; "
    "to write policies and to run them takes `admin`.",
    responses={200: PolicyListResponse, **_READ_PROBLEMS},
)
policy_create = extend_schema(
    operation_id="policy_create",
    summary="Write a new policy",
    description="Rules are asked one after the other: each names one value, or narrows down what the next one decides "
    f"about. {' '.join(f'`{name}`: {explanation}' for name, explanation in RULES.items())}",
    request=build_request_body(PolicyInput),
    responses={201: PolicyDetailResponse, **_ADMIN_PROBLEMS},
)
policy = extend_schema(
    operation_id="policy",
    summary="One policy with its versions",
    responses={200: PolicyDetailResponse, **_READ_PROBLEMS, **_problem_responses(404)},
)
policy_version_create = extend_schema(
    operation_id="policy_version_create",
    summary="Write the next version of a policy",
    request=build_request_body(PolicyVersionRequest),
    responses={201: PolicyDetailResponse, **_ADMIN_PROBLEMS, **_problem_responses(409, 428)},
)
policy_dry_run = extend_schema(
    operation_id="policy_dry_run",
    summary="What a policy would do to the open groups that you see",
    description="Nothing is changed. A page may hold fewer groups than its limit, or none, and still go on.",
    request=build_request_body(DryRunRequest),
    responses={200: DryRunResponse, **_ADMIN_PROBLEMS},
)
policy_run_create = extend_schema(
    operation_id="policy_run_create",
    summary="Carry out a policy: the first step of a new run",
    request=build_request_body(EmptyRequest),
    responses={201: PolicyRunDocument, **_ADMIN_PROBLEMS, **_problem_responses(409)},
)
policy_run_advance = extend_schema(
    operation_id="policy_run_advance",
    summary="The next step of a run",
    description="Until `finished_at` is set; each step is one transaction. A run whose policy changed does not go on.",
    request=build_request_body(EmptyRequest),
    responses={200: PolicyRunDocument, **_ADMIN_PROBLEMS, **_problem_responses(409)},
)
policy_runs = extend_schema(
    operation_id="policy_runs",
    summary="Runs of policies, newest first",
    description="Those that were started by somebody who sees no more than you.",
    parameters=PAGE_PARAMETERS,
    responses={200: PolicyRunPageResponse, **_READ_PROBLEMS},
)
policy_run_detail = extend_schema(
    operation_id="policy_run_detail",
    summary="One run",
    responses={200: PolicyRunDocument, **_READ_PROBLEMS, **_problem_responses(404)},
)
policy_run_undo = extend_schema(
    operation_id="policy_run_undo",
    summary="Undo what a run decided: the next step",
    description="Until `is_finished`. The run ends with it.",
    request=build_request_body(UndoRequest),
    responses={200: PolicyRunUndoResponse, **_ADMIN_PROBLEMS},
)
replay = extend_schema(
    operation_id="replay",
    summary="What somebody would have received then, and what they receive now",
    description="Needs the scope `view_as`. Both are answered under the clearance that they hold now: time travel "
    "never declassifies. That you looked is recorded under your own name.",
    parameters=[
        OpenApiParameter("as", required=True, description="Who asks: `key:NAME`, `user:NAME` or `clearance:NAME`."),
        OpenApiParameter("query", description="The address of a list of memories, or its query string."),
        *INSTANT_PARAMETERS,
    ],
    responses={200: ReplayResponse, **_READ_PROBLEMS, **_problem_responses(404)},
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
        *PAGE_PARAMETERS,
    ],
    responses={200: AuditPageResponse, **_READ_PROBLEMS},
)
status = extend_schema(
    operation_id="status", summary="How the hub is doing", responses={200: HubStatus, **_READ_PROBLEMS}
)
ready = extend_schema(
    operation_id="ready",
    summary="Whether requests can be served",
    auth=[],
    responses={200: ReadyResponse, **_problem_responses(405, 503)},
)
