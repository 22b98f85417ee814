"""Responses about memories: pages, receipts of writes, classifications and counts."""

from datetime import datetime
from typing import Annotated, Literal, NotRequired
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from memoryhub.access_log.audit_queries import VisibleEntry
from memoryhub.api.problems import ProblemResponse
from memoryhub.core.shapes import one_value_of
from memoryhub.memories.facets import DIMENSIONS, FacetValue
from memoryhub.memories.filters import FILTER_STATUSES
from memoryhub.memories.models import STATUSES
from memoryhub.memories.records import DetailedRecord, ListedRecord
from memoryhub.memories.writes.envelope import Errors
from memoryhub.memories.writes.write import WriteOutcome

Warnings = Annotated[
    Errors,
    Field(description="Sentences by field: labels in which letters of one script look like letters of another."),
]


class PageResponse(TypedDict):
    """A page of a list."""

    next_cursor: str | None
    has_more: bool


class MemoryPageResponse(PageResponse):
    """A page of memories."""

    records: list[ListedRecord]


class SecretMatchesResponse(TypedDict):
    """The memories in whose secrets a text was found."""

    records: list[DetailedRecord]
    is_capped: Annotated[
        bool, Field(description="Whether there may be more matches than these. A narrower filter finds them.")
    ]


class MemoryVersionsResponse(TypedDict):
    """The versions of one memory, newest first."""

    versions: list[DetailedRecord]


class WriteReceiptResponse(TypedDict):
    """The receipt of an envelope that was accepted."""

    payload_id: str | None
    memory_id: UUID
    version: NotRequired[Annotated[int, Field(description="1 for a memory that was created; otherwise missing.")]]
    outcome: Annotated[str, one_value_of([WriteOutcome.CREATED, WriteOutcome.DUPLICATE, WriteOutcome.UPDATED])]
    status: NotRequired[
        Annotated[
            Literal["retired", "expired"],
            Field(description="Set if the memory is not active: a decision had rejected its value before, or its "
            "`expires_at` has passed."),
        ]
    ]  # fmt: skip
    decision_id: NotRequired[Annotated[UUID, Field(description="The decision that had rejected the value.")]]
    warnings: NotRequired[Warnings]


class WriteRefusalResponse(TypedDict):
    """The receipt of an envelope that was not stored."""

    payload_id: str | None
    outcome: Annotated[str, one_value_of([WriteOutcome.CONFLICT, WriteOutcome.REJECTED])]
    code: str
    errors: Errors


class WriteBatchResponse(TypedDict):
    """The receipts of a batch in the order of its envelopes, and how many of them have each outcome."""

    results: list[WriteReceiptResponse | WriteRefusalResponse]
    created: int
    duplicate: int
    updated: int
    conflict: int
    rejected: int


class RejectedBatchResponse(ProblemResponse, WriteBatchResponse):
    """The problem for a batch of which no envelope was stored."""


class MemoryClassificationResponse(TypedDict):
    """The new classification of one memory."""

    memory_id: UUID
    version: int
    recorded_at: datetime
    classification_tier: str
    sensitivity_labels: list[str]
    status: Annotated[str, one_value_of(FILTER_STATUSES)]
    warnings: NotRequired[Warnings]


class ClassificationResponse(TypedDict):
    """A classification and a status."""

    classification_tier: str
    sensitivity_labels: list[str]
    status: Annotated[str, one_value_of(STATUSES)]


class ClassificationChangeResponse(TypedDict):
    """The same change of a number of memories."""

    count: int
    widens: Annotated[bool, Field(description="Whether the change makes these memories visible to more clearances.")]
    before: ClassificationResponse
    after: ClassificationResponse


class ClassificationPlanResponse(TypedDict):
    """The changes to the memories that match a filter, planned or applied."""

    matched: int
    changed: int
    unchanged: Annotated[int, Field(description="Memories that have the requested classification already.")]
    widened: Annotated[int, Field(description="Changed memories that become visible to more clearances.")]
    refusals: Annotated[dict[str, int], Field(description="Memories that may not be changed, by the reason.")]
    changes: Annotated[list[ClassificationChangeResponse], Field(description="The most frequent changes.")]
    warnings: NotRequired[Warnings]
    confirmation_token: NotRequired[
        Annotated[str, Field(description="From a dry run: sent with the same body, it applies these changes.")]
    ]


class FacetsResponse(TypedDict):
    """The counts of the matches by the values of some fields."""

    total: int
    is_capped: Annotated[
        bool, Field(description="Whether more memories match than were counted. All counts are then of the newest.")
    ]
    facets: Annotated[
        dict[str, list[FacetValue]],
        Field(description=f"By dimension: `{'`, `'.join(DIMENSIONS)}`."),
    ]


class AuditPageResponse(PageResponse):
    """A page of the audit log."""

    entries: list[VisibleEntry]


class ReadyResponse(TypedDict):
    """The server can answer requests."""

    status: str
    version: str
