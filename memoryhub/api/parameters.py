"""The parameters and request bodies of the routes in OpenAPI; filters come from the FilterSets."""

import json
from typing import Any

from drf_spectacular.utils import OpenApiParameter
from pydantic import BaseModel

from memoryhub.conflicts.decisions.outcomes import OUTCOMES
from memoryhub.conflicts.groups.groups import GroupFilterSet
from memoryhub.firewall.clearance import get_tier_order
from memoryhub.memories.filters import POINT_IN_TIME_PARAMS, ChoiceFilter, InstantFilter, LabelFilter, MemoryFilterSet
from memoryhub.memories.pagination import MAX_LIMIT
from memoryhub.memories.writes.classification_plan import QUARANTINE_STATUSES, ClassificationChange
from memoryhub.memories.writes.envelope import Envelope
from memoryhub.memories.writes.identity import OnConflict
from memoryhub.timetravel.diff import DiffFilterSet

_UUID_SCHEMA = {"type": "string", "format": "uuid"}

_PARAMETER_DOCS = {
    "q": "Text that the content contains, without regard to case and invisible characters. What looks like a secret is "
    "found by no part of it: see `POST /api/memories/secrets`.",
    "payload_id": "The writer's own id: does it exist?",
    "label": "A sensitivity label; repeated, all of them must be present. An empty one: memories without labels.",
    "tier": "The classification tier; an empty one reads as the lowest.",
    "status": "Without it: active memories. `expired`: those that were active until their `expires_at` came.",
    "from": "Event time at or after this instant (or date, midnight UTC).",
    "to": "Event time before this instant (or date, midnight UTC).",
    "as_of": "What had happened at this instant: event time up to and including it. A future one is clipped to now.",
    "since": "Required: the earlier instant. A change at it is none.",
    "until": "The later instant; a change at it is one. Without it: now, to which a future one is clipped.",
    "axis": "Of which time the instants are: `record` (the default) or `event`.",
    "change": "Changes of this kind alone: `resolved` is what a decision about a conflict left or made.",
    "subject_contains": "A part of the subject, without regard to case. No part finds one that looks like a secret.",
    "class": "Groups of which this is the most serious class.",
    "scope": "What a group shares besides the subject and the collection: `namespace` splits by it.",
    "known_at": "What was known at this instant of record time. A future one is clipped to now.",
}


_NON_EMPTY_FIELDS = {"source", "actor_type"}
_EMPTYABLE_FIELDS = {name for name, field in Envelope.model_fields.items() if field.default == ""} - _NON_EMPTY_FIELDS
_EMPTY_VALUE_DOC = "An empty value asks for memories without one."


def build_parameter(name: str) -> OpenApiParameter:
    query_filter = {**GroupFilterSet.base_filters, **MemoryFilterSet.base_filters, **DiffFilterSet.base_filters}[name]
    choices = (
        [value for value, _ in query_filter.extra["choices"]()] if isinstance(query_filter, ChoiceFilter) else None
    )
    schema: dict[str, Any] = {"type": "string", **({"enum": choices} if choices else {})}
    if isinstance(query_filter, LabelFilter):
        schema = {"type": "array", "items": schema}
    elif isinstance(query_filter, InstantFilter):
        schema = {"type": "string", "format": "date-time"}
    description = _PARAMETER_DOCS.get(name, _EMPTY_VALUE_DOC if query_filter.field_name in _EMPTYABLE_FIELDS else "")
    return OpenApiParameter(name, schema, description=description, explode=True, required=name == "since")


FILTER_PARAMETERS = [build_parameter(name) for name in MemoryFilterSet.base_filters]
INSTANT_PARAMETERS = [build_parameter(name) for name in POINT_IN_TIME_PARAMS]
PAGE_PARAMETERS = [
    OpenApiParameter(
        "limit",
        {"type": "integer", "minimum": 1, "default": 20},
        description=f"At most {MAX_LIMIT}: more is cut to that, and the header Memoryhub-Clipped names `limit`.",
    ),
    OpenApiParameter("cursor", {"type": "string"}, description="`next_cursor` of the page before."),
]
ON_CONFLICT_PARAMETER = OpenApiParameter(
    "on_conflict",
    {"type": "string", "enum": list(OnConflict), "default": OnConflict.REFUSE},
    description=(
        "What to do when a payload_id is written again: `refuse` other content, `update` the fields that are sent (null"
        " or empty clears one), or `replace` all of them, those that are not sent by their defaults."
    ),
)
_ENVELOPE_SCHEMA = Envelope.model_json_schema() | {
    # Only in an update may `content` be missing.
    "required": ["payload_id"],
}
WRITE_BODY = {
    "application/json": {
        "oneOf": [_ENVELOPE_SCHEMA, {"type": "array", "items": _ENVELOPE_SCHEMA, "maxItems": 1000}],
    }
}


FILTER_SCHEMA = {
    "type": "object",
    "description": "As the parameters of the list.",
    "properties": {str(parameter.name): parameter.type for parameter in FILTER_PARAMETERS},
    "additionalProperties": False,
}


def build_request_body(model: type[BaseModel], **property_overrides: dict[str, Any]) -> dict[str, Any]:
    """Return the body schema of a route, with all references replaced by what they refer to."""
    schema = model.model_json_schema()
    schema["properties"] |= property_overrides
    definitions = schema.pop("$defs", {})
    serialized_schema = json.dumps(schema)
    for name, definition in definitions.items():
        serialized_schema = serialized_schema.replace(json.dumps({"$ref": f"#/$defs/{name}"}), json.dumps(definition))
    return {"application/json": json.loads(serialized_schema)}


def build_classify_body(model: type[ClassificationChange], **property_overrides: dict[str, Any]) -> dict[str, Any]:
    """Return the body schema of a classify route. A tier or status that is not sent stays unchanged."""
    schema = model.model_json_schema()
    choices = {"classification_tier": get_tier_order(), "status": QUARANTINE_STATUSES}
    enum_properties = {name: {"type": "string", "enum": list(values)} for name, values in choices.items()}
    return {
        "application/json": {**schema, "properties": {**schema["properties"], **enum_properties, **property_overrides}}
    }


DECISION_PARAMETERS = [
    OpenApiParameter(
        "q", description="Text that the reason contains, without regard to case. A reason with a secret is not found."
    ),
    OpenApiParameter("subject"),
    OpenApiParameter("collection"),
    OpenApiParameter("outcome", {"type": "string", "enum": list(OUTCOMES)}),
    OpenApiParameter("principal", description="Who decided, such as `user:ada`."),
    OpenApiParameter("policy_id", _UUID_SCHEMA, description="What this policy decided."),
    OpenApiParameter("run_id", _UUID_SCHEMA, description="What one run of a policy decided."),
    OpenApiParameter("memory_id", _UUID_SCHEMA, description="What was decided on this memory, or made it."),
    OpenApiParameter("in_force", {"type": "string", "enum": ["true", "false"]}, description="Neither undone nor over."),
    OpenApiParameter("from", {"type": "string", "format": "date-time"}, description="Decided from this instant on."),
    OpenApiParameter("to", {"type": "string", "format": "date-time"}, description="Decided before this instant."),
]
