"""Schemas of request bodies other than envelopes."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from memoryhub.conflicts.decisions.resolution_requests import Resolution
from memoryhub.conflicts.policies.policies import PolicyInput
from memoryhub.core.storable_text import unsearchable_reason
from memoryhub.memories.pagination import DEFAULT_LIMIT, MAX_LIMIT
from memoryhub.memories.secret_search import MAX_TEXT_LENGTH
from memoryhub.memories.writes.classification_plan import ClassificationChange, Reason
from memoryhub.memories.writes.validated_types import Document, Text
from memoryhub.search.profiles import DEFAULT_PROFILE, Mode, Sort


def _validate_filter(value: dict[str, Any]) -> dict[str, Any]:
    for item in value.values():
        if not all(isinstance(text, str) for text in (item if isinstance(item, list) else [item])):
            raise PydanticCustomError(
                "filter", "must contain texts, and lists of texts for parameters that may be repeated."
            )
    return value


class ClassifyRequest(ClassificationChange):
    """A change of the classification of one memory."""

    version: Annotated[
        int, Field(ge=1, description="The version that was read. Its ETag can be sent as If-Match instead.")
    ] = 0


class BulkClassifyRequest(ClassificationChange):
    """A change of the classification of all memories that match a filter."""

    filter: Annotated[
        Document, AfterValidator(_validate_filter), Field(description="The filters of the list of memories.")
    ]
    dry_run: Annotated[
        bool,
        Field(
            description="If true, nothing is changed: the response lists the changes, and has a `confirmation_token`."
        ),
    ] = False
    confirmation_token: Annotated[
        Text, Field(description="From the dry run. If the changes are not the same as then, nothing is changed.")
    ] = ""


def _validate_search_text(value: str) -> str:
    if value and (reason := unsearchable_reason(value)) is not None:
        raise PydanticCustomError("invisible", reason)
    return value


class SecretSearchRequest(BaseModel):
    """A text to find in contents with secrets, and a filter for the memories to search."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    text: Annotated[
        Text,
        Field(min_length=1, max_length=MAX_TEXT_LENGTH, description="A text that the content contains."),
        AfterValidator(_validate_search_text),
    ]
    filter: Annotated[
        Document, AfterValidator(_validate_filter), Field(description="The filters of the list of memories.")
    ] = Field(default_factory=dict)


class SearchRequest(BaseModel):
    """A search, with the parameters that the route has in a query string, or with a vector."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    filter: Annotated[
        Document,
        AfterValidator(_validate_filter),
        Field(description="The filters of the list of memories; `q` is the text of the search."),
    ] = Field(default_factory=dict)
    embedding: Annotated[
        list[float] | None,
        Field(description="A vector of the hub's embedding model, which is compared instead of one of the text."),
    ] = None
    mode: Text = Mode.HYBRID.value
    profile: Text = DEFAULT_PROFILE.name
    sort: Text = Sort.RELEVANCE.value
    half_life_days: Annotated[int, Field(ge=1)] | None = None
    explain: bool = False
    limit: Annotated[int, Field(ge=1, description=f"At most {MAX_LIMIT}: a larger limit is reduced to that.")] = (
        DEFAULT_LIMIT
    )
    cursor: Annotated[Text, Field(description="`next_cursor` of the page before.")] = ""

    @property
    def option_params(self) -> dict[str, str]:
        """The options as in a query string."""
        half_life_days = {} if self.half_life_days is None else {"half_life_days": str(self.half_life_days)}
        explain = "true" if self.explain else "false"
        return {"mode": self.mode, "profile": self.profile, "sort": self.sort, "explain": explain, **half_life_days}


class ResolveRequest(Resolution):
    """A resolution of a group."""

    evidence: Annotated[
        Text, Field(description="The `evidence` of the group that was read. Its ETag can be sent as If-Match instead.")
    ] = ""


class ClaimRequest(BaseModel):
    """A claim request: an empty object takes or renews the claim of a group, `release` releases it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    release: Annotated[bool, Field(description="If true, the claim is released.")] = False


class PolicyVersionRequest(PolicyInput):
    """The next version of a policy: all fields, not only the changed ones."""

    version: Annotated[int, Field(ge=1, description="Required: the version that was read.")] = 0


class DryRunRequest(BaseModel):
    """The page of a dry run."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, description=f"At most {MAX_LIMIT}: a larger limit is reduced to that.")] = (
        DEFAULT_LIMIT
    )
    cursor: Annotated[Text, Field(description="`next_cursor` of the page before.")] = ""


class EmptyRequest(BaseModel):
    """An empty object."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class UndoRequest(BaseModel):
    """The reason to undo a decision."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    reason: Reason
