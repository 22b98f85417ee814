"""The parameters and request bodies of the routes in OpenAPI; filters come from the FilterSets."""

import json
from collections.abc import Container
from typing import Any

from drf_spectacular.utils import OpenApiParameter
from pydantic import BaseModel

from memoryhub.conflicts.decisions.outcomes import OUTCOMES
from memoryhub.firewall.clearance import get_tier_order
from memoryhub.memories.filter_fields import EXCLUDING_SUFFIX, MAX_FILTER_VALUES
from memoryhub.memories.filters import (
    ChoiceFilter,
    ChoicesFilter,
    InstantFilter,
    LabelFilter,
    MemoryFilterSet,
    PointInTimeFilterSet,
    ValuesFilter,
)
from memoryhub.memories.pagination import MAX_LIMIT
from memoryhub.memories.writes.classification_plan import QUARANTINE_STATUSES, ClassificationChange
from memoryhub.memories.writes.envelope import Envelope
from memoryhub.memories.writes.identity import OnConflict

_UUID_SCHEMA = {"type": "string", "format": "uuid"}

_PARAMETER_DOCS = {
    "q": "Words and phrases that the content has, and filters, in the query language (`docs/usage/search.md`); "
    "`contains:` stands for a literal text. Secrets are not searched: use "
    "`POST /api/memories/secrets`.",
    "payload_id": "The producer's own id of the memory.",
    "label": "A sensitivity label. If repeated, a memory needs all of the labels. An empty value matches "
    "memories without labels.",
    "tier": "The classification tier. An empty value means the lowest tier.",
    "status": "The default is active memories. `expired`: memories that were active until their `expires_at` passed.",
    "from": "Event time at or after this instant (or date, midnight UTC).",
    "to": "Event time before this instant (or date, midnight UTC).",
    "as_of": "An instant of event time: memories with a later event time are left out. A future instant is "
    "replaced by now.",
    "since": "Required: the earlier instant, exclusive.",
    "until": "The later instant, inclusive. The default is now, which also replaces a future instant.",
    "axis": "The time axis of both instants: `record` (the default) or `event`.",
    "change": "Only changes of this kind. `resolved`: a decision about a conflict kept or created the memory.",
    "subject_contains": "A part of the subject; case is ignored. Subjects that look like secrets are not searched.",
    "class": "Only groups with this conflict class.",
    "scope": "Further fields of the key of a group: with `namespace`, values conflict only within a namespace.",
    "known_at": "An instant of record time: versions that were recorded later are left out. A future instant is "
    "replaced by now.",
}


_NON_EMPTY_FIELDS = {"source", "actor_type", "classification_tier"}
_EMPTYABLE_FIELDS = {name for name, field in Envelope.model_fields.items() if field.default == ""} - _NON_EMPTY_FIELDS
_EMPTY_VALUE_DOC = "An empty value matches memories without one."
_WILDCARD_DOC = "A `*` at the end stands for any text (`\\*` for an asterisk)."
_REPEATED_DOC = "If repeated, a memory needs one of the values."


def build_parameters(filter_set: type[PointInTimeFilterSet], *, without: Container[str] = ()) -> list[OpenApiParameter]:
    """Return the parameters of a FilterSet's filters."""
    return [
        parameter
        for name, query_filter in filter_set.base_filters.items()
        if name not in without
        for parameter in _build_filter_parameters(name, query_filter)
    ]


def _build_filter_parameters(name: str, query_filter: Any) -> list[OpenApiParameter]:
    """Return the parameter of a filter, and of one that takes several values the excluding parameter, too."""
    schema: dict[str, Any] = {"type": "string"}
    sentences = [_PARAMETER_DOCS.get(name, "")]
    if isinstance(query_filter, ChoiceFilter):
        schema["enum"] = [value for value, _ in query_filter.extra["choices"]()]
    elif isinstance(query_filter, InstantFilter):
        schema["format"] = "date-time"
    elif query_filter.field_name in _EMPTYABLE_FIELDS:
        sentences.append(_EMPTY_VALUE_DOC)
    if isinstance(query_filter, ChoicesFilter):
        schema["enum"] = list(query_filter.extra["choices"]())
        sentences.append(_REPEATED_DOC)
    elif isinstance(query_filter, ValuesFilter) and not isinstance(query_filter, LabelFilter):
        sentences += [_WILDCARD_DOC, _REPEATED_DOC]
    description = " ".join(filter(None, sentences))
    if not isinstance(query_filter, ValuesFilter):
        return [OpenApiParameter(name, schema, description=description, required=name == "since")]
    array_schema = {"type": "array", "items": schema, "maxItems": MAX_FILTER_VALUES}
    return [
        OpenApiParameter(name, array_schema, description=description, explode=True),
        OpenApiParameter(
            name + EXCLUDING_SUFFIX,
            array_schema,
            description=f"As `{name}`, but memories with one of these values are left out.",
            explode=True,
        ),
    ]


FILTER_PARAMETERS = build_parameters(MemoryFilterSet)
INSTANT_PARAMETERS = build_parameters(PointInTimeFilterSet)
PAGE_PARAMETERS = [
    OpenApiParameter(
        "limit",
        {"type": "integer", "minimum": 1, "default": 20},
        description=f"At most {MAX_LIMIT}: a larger limit is reduced to that, and the header Memoryhub-Clipped "
        "names `limit`.",
    ),
    OpenApiParameter("cursor", {"type": "string"}, description="`next_cursor` of the page before."),
]
ON_CONFLICT_PARAMETER = OpenApiParameter(
    "on_conflict",
    {"type": "string", "enum": list(OnConflict), "default": OnConflict.REFUSE},
    description=(
        "How to handle a payload_id that is stored already with other content: `refuse` the write, `update` the sent"
        " fields (null or an empty value clears a field), or `replace` all fields; fields that are not sent get their"
        " defaults."
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


def _or_one_value(schema: Any) -> Any:
    """Return the schema of a filter in a body, where one value need not be in an array."""
    return {"oneOf": [schema["items"], schema]} if schema["type"] == "array" else schema


FILTER_SCHEMA = {
    "type": "object",
    "description": "The filters of the list of memories.",
    "properties": {str(parameter.name): _or_one_value(parameter.type) for parameter in FILTER_PARAMETERS},
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
        "q", description="A text that the reason contains; case is ignored. Reasons with secrets are not searched."
    ),
    OpenApiParameter("subject"),
    OpenApiParameter("collection"),
    OpenApiParameter("outcome", {"type": "string", "enum": list(OUTCOMES)}),
    OpenApiParameter("principal", description="The principal that decided, such as `user:ada`."),
    OpenApiParameter("policy_id", _UUID_SCHEMA, description="Only decisions of this policy."),
    OpenApiParameter("run_id", _UUID_SCHEMA, description="Only decisions of this run."),
    OpenApiParameter("memory_id", _UUID_SCHEMA, description="Only decisions about this memory, or that created it."),
    OpenApiParameter(
        "in_force",
        {"type": "string", "enum": ["true", "false"]},
        description="Whether the decision is neither undone nor past its `deferred_until`.",
    ),
    OpenApiParameter(
        "from", {"type": "string", "format": "date-time"}, description="Decided at or after this instant."
    ),
    OpenApiParameter("to", {"type": "string", "format": "date-time"}, description="Decided before this instant."),
]
