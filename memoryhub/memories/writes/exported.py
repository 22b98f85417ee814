"""The fields of an exported line that are not fields of the envelope."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from memoryhub.firewall.clearance import get_tier_order
from memoryhub.memories.models import STATUSES
from memoryhub.memories.writes.envelope import FIELDS, rejection_from_pydantic
from memoryhub.memories.writes.validated_types import Instant, Labels, Name, one_of

MAX_VERSION = 2**31 - 1


def _validate_sent_tier(value: str) -> str:
    if value not in ("", *get_tier_order()):
        raise PydanticCustomError("tier", f"must be one of {', '.join(get_tier_order())}.")
    return value


def _validate_field_names(value: list[str]) -> list[str]:
    if not set(value) <= set(FIELDS):
        raise PydanticCustomError("fields", "must be a list of the envelope's fields.")
    return value


def _to_stored_status(value: Any) -> Any:
    """Convert the status `expired` to `active`, as the row stores it: `expires_at` says the rest."""
    return "active" if value == "expired" else value


def _validate_version(value: int) -> int:
    if value > MAX_VERSION:
        raise PydanticCustomError("version", f"must be at most {MAX_VERSION:,}.")
    return value


Id = Annotated[UUID, Field(strict=False)]


class ExportFields(BaseModel):
    """The members of a line that are not fields of the envelope. An import fills in those that are missing."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    memory_id: Id | None = None
    version: Annotated[int, Field(ge=1), AfterValidator(_validate_version)] | None = None
    status: Annotated[str, BeforeValidator(_to_stored_status), one_of(*STATUSES)] | None = None
    decision_id: Id | None = None
    """The decision that set the status."""
    is_spelling_rejection: bool = False
    decision_exceeds_source: bool = False
    asserted_at: Instant | None = None
    """Record time of the exporting hub, which orders values of the same event time."""
    defaulted_fields: Annotated[list[str], AfterValidator(_validate_field_names)] | None = None
    sent_namespace: Name | None = None
    sent_tier: Annotated[str, AfterValidator(_validate_sent_tier)] | None = None
    sent_labels: Labels | None = None
    exceeds_source_clearance: bool = False
    # An import ignores these: the importing hub has its own, and validity comes with the decisions.
    recorded_at: Any = None
    superseded_at: Any = None
    validity: Any = None
    untrusted: Any = None

    @property
    def is_history_version(self) -> bool:
        """Whether the line is a numbered version of a memory, among other versions of the same memory."""
        has_superseded_at = "superseded_at" in self.model_fields_set
        return has_superseded_at and self.version is not None and self.memory_id is not None


EXPORT_FIELD_NAMES = frozenset(ExportFields.model_fields)


def parse_export_fields(members: Mapping[str, Any]) -> ExportFields:
    """Parse the members of a line. Raises OperationRejectedError with the errors of every field."""
    try:
        return ExportFields.model_validate(members)
    except ValidationError as error:
        raise rejection_from_pydantic(error) from None
