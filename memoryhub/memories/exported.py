"""What a line of an export says of a version besides its envelope."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from memoryhub.firewall.types import tier_order
from memoryhub.memories.envelope import FIELDS, Instant, Labels, Name, one_of, rejected
from memoryhub.memories.models import STATUSES

MAX_VERSION = 2**31 - 1


def _sent_tier(value: str) -> str:
    if value not in ("", *tier_order()):
        raise PydanticCustomError("tier", f"must be one of {', '.join(tier_order())}.")
    return value


def _fields(value: list[str]) -> list[str]:
    if not set(value) <= set(FIELDS):
        raise PydanticCustomError("fields", "must be a list of the envelope's fields.")
    return value


def _stored_status(value: Any) -> Any:
    """A memory that is told to be expired is active in its row: its `expires_at` says the rest."""
    return "active" if value == "expired" else value


def _version(value: int) -> int:
    if value > MAX_VERSION:
        raise PydanticCustomError("version", f"must be at most {MAX_VERSION:,}.")
    return value


Id = Annotated[UUID, Field(strict=False)]


class Exported(BaseModel):
    """The members of a line that are no fields of the envelope. Of what is missing an import makes its own."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    memory_id: Id | None = None
    version: Annotated[int, Field(ge=1), AfterValidator(_version)] | None = None
    status: Annotated[str, BeforeValidator(_stored_status), one_of(*STATUSES)] | None = None
    decision: Id | None = None
    """The decision that the status comes from."""
    is_other_spelling: bool = False
    decided_beyond_source: bool = False
    said_at: Instant | None = None
    """Record time of the exporting hub, by which it puts values of the same event time in order."""
    defaulted: Annotated[list[str], AfterValidator(_fields)] | None = None
    sent_namespace: Name | None = None
    sent_tier: Annotated[str, AfterValidator(_sent_tier)] | None = None
    sent_labels: Labels | None = None
    beyond_source: bool = False
    # What an import does not take over: the reading hub has its own, and validity comes with the decisions.
    recorded_at: Any = None
    superseded_at: Any = None
    validity: Any = None
    untrusted: Any = None

    @property
    def is_of_history(self) -> bool:
        """Whether the line says which version it is of which memory, among others of the same memory."""
        is_listed = "superseded_at" in self.model_fields_set
        return is_listed and self.version is not None and self.memory_id is not None


MEMBERS = frozenset(Exported.model_fields)


def read(members: Mapping[str, Any]) -> Exported:
    """What `members` of a line say. Raises Rejected with the errors of every field."""
    try:
        return Exported.model_validate(members)
    except ValidationError as error:
        raise rejected(error) from None
