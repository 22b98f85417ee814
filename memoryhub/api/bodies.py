"""What is sent to routes that take more than an envelope."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from memoryhub.conflicts.choices import Choice
from memoryhub.memories.envelope import Document, Text
from memoryhub.memories.filters import MAX_SOUGHT
from memoryhub.memories.relabel import Change, Reason
from memoryhub.memories.text import why_not_sought


def _parameters(value: dict[str, Any]) -> dict[str, Any]:
    for given in value.values():
        if not all(isinstance(text, str) for text in (given if isinstance(given, list) else [given])):
            raise PydanticCustomError("filter", "must hold texts, and lists of texts for what may be repeated.")
    return value


class ChangeOfOne(Change):
    """How one memory is to be classified."""

    version: Annotated[int, Field(ge=1, description="The version that was read; or send its ETag as If-Match.")] = 0


class ChangeOfMany(Change):
    """How all memories that a filter finds are to be classified."""

    filter: Annotated[Document, AfterValidator(_parameters), Field(description="As the list takes them.")]
    dry_run: Annotated[bool, Field(description="Only tell what would be done, and the token for doing it.")] = False
    token: Annotated[Text, Field(description="From the dry run: what it told is done, or nothing.")] = ""


def _sought(value: str) -> str:
    if value and (reason := why_not_sought(value)) is not None:
        raise PydanticCustomError("invisible", reason)
    return value


class SecretSearch(BaseModel):
    """A text that may be masked, and among which memories it is looked for."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    text: Annotated[
        Text,
        Field(min_length=1, max_length=MAX_SOUGHT, description="What the content contains."),
        AfterValidator(_sought),
    ]
    filter: Annotated[Document, AfterValidator(_parameters), Field(description="As the list takes them.")] = Field(
        default_factory=dict
    )


class ChoiceOfOne(Choice):
    """What is to become of a group."""

    evidence: Annotated[Text, Field(description="Of the group that was read; or send its ETag as If-Match.")] = ""


class Claiming(BaseModel):
    """Nothing, to take the claim of a group or to renew it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    release: Annotated[bool, Field(description="Give it back.")] = False


class Undoing(BaseModel):
    """Why a decision is undone."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    reason: Reason
