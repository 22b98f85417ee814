"""The fields of a memory, each declared once, for records, imports, exports, diffs, OpenAPI and pages.

A new field is a row of FIELDS, a column of `models.Memory` with its migration and, if producers send it, an attribute
of `writes.envelope.Envelope`.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

NO_DEFAULT = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryField:
    """One field, which is also a column of the table. By default it is internal."""

    name: str
    column_type: str = "varchar"
    is_nullable: bool = False
    is_inserted: bool = True
    """Whether a writer gives the column. If not, a trigger does."""
    is_sent: bool = False
    """Whether producers send it. The value of any other field comes from memoryhub."""
    shown_in: Literal["lists", "details", "nowhere"] = "nowhere"
    """Where responses have it: in lists and details, in details alone, or nowhere."""
    is_exported: bool = False
    is_operator_only: bool = False
    """Whether only an export that sees everything has it."""
    default: Any = NO_DEFAULT
    """The value with which export lines and fingerprints leave the field out, so that a new field changes neither."""
    same_as: str = ""
    """The field that has the same value unless somebody changed it; an export line leaves out what is the same."""
    is_compared: bool = False
    """Whether a diff compares it."""
    identifies_transport: bool = False
    """Whether it identifies a request or a format: a difference between versions is none for readers of a page."""
    belongs_to_content: bool = False
    """Whether an update that sends new content resets it unless it is sent, too. Otherwise an unsent field stays."""
    erased_value: str = ""
    """The SQL value to which erasure sets it. Other fields stay."""
    is_code: bool = False
    """Whether it is an identifier, which pages show in a monospaced font."""
    description: str = ""

    @property
    def has_default(self) -> bool:
        return self.default is not NO_DEFAULT


def _sent(name: str, column_type: str = "varchar", **changes: Any) -> MemoryField:
    field = MemoryField(
        name=name, column_type=column_type, is_sent=True, shown_in="lists", is_exported=True, is_compared=True
    )
    return replace(field, **changes)


def _known(name: str, column_type: str, **changes: Any) -> MemoryField:
    """Return a field that memoryhub knows by itself, and that all records have."""
    return MemoryField(name=name, column_type=column_type, **{"shown_in": "lists", **changes})


def _exported(name: str, column_type: str = "varchar", **changes: Any) -> MemoryField:
    """Return an internal field that is restored from an export."""
    return MemoryField(name=name, column_type=column_type, is_exported=True, **changes)


# The order is that of records on the wire.
FIELDS = (
    _sent("payload_id", is_code=True, identifies_transport=True),
    _sent("request_id", is_code=True, identifies_transport=True),
    _sent("source"),
    _sent("subject"),
    _sent("namespace"),
    _sent("destination"),
    _sent("collection"),
    _sent("content", "text", erased_value="''"),
    MemoryField(name="masked_content", column_type="text", is_nullable=True, erased_value="NULL"),
    _sent("model"),
    _sent("role"),
    _sent(
        "timestamp",
        "timestamptz",
        belongs_to_content=True,
        description="Event time: when it happened, as the producer says.",
    ),
    _sent("idempotency_key", is_code=True, identifies_transport=True),
    _sent("schema_version", "int2", identifies_transport=True),
    _sent("transform_version", identifies_transport=True),
    _sent("actor_type"),
    _sent("actor_id"),
    _sent(
        "embedding",
        "vector",
        shown_in="nowhere",
        is_compared=False,
        is_nullable=True,
        default=None,
        belongs_to_content=True,
        erased_value="NULL",
    ),
    _sent("metadata", "jsonb", erased_value="'{}'"),
    _sent("sensitivity_labels", "varchar[]"),
    _sent("classification_tier"),
    _known(
        "memory_id",
        "uuid",
        is_exported=True,
        is_code=True,
        description="The same for all versions of the memory.",
    ),
    _known("version", "int4", is_exported=True),
    _known(
        "recorded_at", "timestamptz", is_inserted=False, description="Record time: when this hub stored the version."
    ),
    _known(
        "status",
        "varchar",
        is_exported=True,
        is_compared=True,
        description="`expired`: the memory was active until its `expires_at` passed.",
    ),
    _known("superseded_at", "timestamptz", shown_in="details", is_nullable=True),
    _sent("kind", shown_in="details", default="fact"),
    _sent("pinned", "bool", shown_in="details", default=False),
    _sent("expires_at", "timestamptz", shown_in="details", is_nullable=True, default=None),
    _sent("propagation", "jsonb", shown_in="details", is_nullable=True, default=None, erased_value="NULL"),
    _known(
        "defaulted_fields",
        "varchar[]",
        shown_in="details",
        is_exported=True,
        description="The fields that the producer did not give.",
    ),
    MemoryField(name="value_sha256", column_type="bytea"),
    MemoryField(name="normalized_labels", column_type="varchar[]"),
    MemoryField(name="fingerprint", column_type="bytea", erased_value="''"),
    _exported("decision_id", "uuid", is_nullable=True),
    _exported("is_spelling_rejection", "bool", default=False),
    _exported("decision_exceeds_source", "bool", is_operator_only=True, default=False),
    _exported("sent_namespace", is_operator_only=True, same_as="namespace"),
    _exported("sent_tier", is_operator_only=True, same_as="classification_tier"),
    _exported("sent_labels", "varchar[]", is_operator_only=True, same_as="sensitivity_labels"),
    _exported("exceeds_source_clearance", "bool", is_operator_only=True, default=False),
    _exported("asserted_at", "timestamptz", is_nullable=True),
    MemoryField(name="asserted_version_id", column_type="int8", is_nullable=True),
)
