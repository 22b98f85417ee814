"""Responses of searches."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from memoryhub.api.responses.memories import PageResponse
from memoryhub.core.shapes import one_value_of
from memoryhub.memories.records import ListedRecord

STAGES = ("policy", "filters", "embed", "semantic", "keyword", "merge")


class SearchResultResponse(TypedDict):
    """One memory that was found, and why."""

    memory: ListedRecord
    score: Annotated[float, Field(description="The sum of 1 / (k + rank) over the stages, after any decay.")]
    ranks: Annotated[
        dict[str, float],
        Field(
            description="The position in each stage that found it, from 1 on. Memories with the same score in a stage "
            "share the mean of their positions."
        ),
    ]
    scores: Annotated[
        dict[str, float],
        Field(
            description="The score in each stage: for `keyword` the sum of the rarities of its words among the "
            "candidates, for `semantic` the cosine."
        ),
    ]
    matched_words: Annotated[list[str], Field(description="Words of the content that the question has, too.")]
    has_all_words: Annotated[
        bool, Field(description="Whether the memory is also in the list of memories with the same filters and `q`.")
    ]


class MeaningResponse(TypedDict):
    """Whether memories were compared by meaning."""

    is_used: bool
    reason: Annotated[str, Field(description="Why not, as a sentence.")]
    model: str
    not_embedded: Annotated[
        int,
        Field(description="How many memories that match the filters could not be compared, because the worker has not "
        "embedded them yet; at most 10,000."),
    ]  # fmt: skip


class StageResponse(TypedDict):
    """What a stage of the search did."""

    name: Annotated[str, one_value_of(STAGES)]
    candidates: Annotated[int, Field(description="The rows that it left; at most 10,000 for `policy` and `filters`.")]
    is_complete: Annotated[
        bool, Field(description="Whether all rows were counted, or ranked. Of very many, not all are ranked.")
    ]
    milliseconds: float


class SearchResponse(PageResponse):
    """A page of results, the best first."""

    results: list[SearchResultResponse]
    reading: Annotated[str, Field(description="How the text was read, as a sentence.")]
    meaning: MeaningResponse
    stages: NotRequired[Annotated[list[StageResponse], Field(description="With `explain`.")]]


class SimilarResultResponse(TypedDict):
    """A memory that is similar to another one."""

    memory: ListedRecord
    similarity: Annotated[float, Field(description="The cosine of both vectors, at most 1.")]


class SimilarResponse(TypedDict):
    """The memories that are nearest in meaning, the nearest first."""

    results: list[SimilarResultResponse]
    meaning: MeaningResponse
