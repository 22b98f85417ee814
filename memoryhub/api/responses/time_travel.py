"""Responses about other points in time: time travel, diff and replay."""

from datetime import datetime
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from memoryhub.api.responses.memories import MemoryPageResponse, PageResponse
from memoryhub.core.shapes import one_value_of
from memoryhub.memories.records import ListedRecord
from memoryhub.timetravel.diff import AXES, ChangeDocument, DiffCounts
from memoryhub.timetravel.replay import ChangeMark

EffectiveInstant = Annotated[datetime, Field(description="The effective instant.")]
OptionalInstant = Annotated[datetime | None, Field(description="The effective instant; null means no limit.")]


class TimeTravelPageResponse(MemoryPageResponse):
    """A page of memories at a point in time."""

    as_of: OptionalInstant
    known_at: OptionalInstant
    erased_count: Annotated[
        int,
        Field(description="Memories that have been erased since: they are missing, or in a history their versions are "
        "blank."),
    ]  # fmt: skip


class DiffResponse(PageResponse):
    """A page of the changes between two instants, and the counts of all changes."""

    since: EffectiveInstant
    until: EffectiveInstant
    axis: Annotated[str, one_value_of(AXES)]
    changes: list[ChangeDocument]
    counts: DiffCounts


class ReplaySideResponse(TypedDict):
    """The first page of one of both answers."""

    records: list[ListedRecord]
    has_more: bool


_ReplayTargetField = TypedDict("_ReplayTargetField", {"as": str})


class ReplayResponse(_ReplayTargetField):
    """The first page of both answers, each in its own order."""

    refusal: Annotated[str, Field(description="The reason why this principal gets no answer; empty if it gets one.")]
    as_of: OptionalInstant
    known_at: OptionalInstant
    then: ReplaySideResponse
    now: ReplaySideResponse
    marks: Annotated[dict[str, ChangeMark], Field(description="How each memory differs between both, by its id.")]
