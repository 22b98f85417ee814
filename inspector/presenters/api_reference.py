"""Convert an OpenAPI document to the API reference page."""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from inspector.presenters.openapi_schemas import (
    BRANCH_KEYS,
    Node,
    RecursiveSchemaError,
    RefSet,
    flatten_schema,
    resolve_ref,
)

_NO_REFS: RefSet = frozenset()

METHODS = ("get", "post", "put", "patch", "delete")
PROBLEM_MEDIA_TYPE = "application/problem+json"
_PATH_VARIABLE = re.compile(r"\{(\w+)\}")
_AS_ABOVE = "as above"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The type of a value. `fields` are those of the object, or of the objects inside a list or map."""

    type: str
    description: str = ""
    limits: tuple[str, ...] = ()
    fields: tuple["SchemaField", ...] = ()
    variants: tuple["Shape", ...] = ()
    """The alternatives, of which the value has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaField:
    """A field of an object, or a parameter, whose `location` is `query` or `path`."""

    name: str
    shape: Shape
    is_required: bool = False
    location: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    media_type: str
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseStatus:
    code: str
    phrase: str

    @property
    def is_success(self) -> bool:
        return self.code.startswith("2")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseGroup:
    """The statuses whose responses have the same content."""

    statuses: tuple[ResponseStatus, ...]
    contents: tuple[Content, ...]
    description: str = ""

    @property
    def is_problem(self) -> bool:
        return any(content.media_type == PROBLEM_MEDIA_TYPE for content in self.contents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    id: str
    method: str
    path: str
    summary: str
    description: str
    needs_key: bool
    parameters: tuple[SchemaField, ...]
    body: tuple[Content, ...]
    response_groups: tuple[ResponseGroup, ...]
    example: str
    """A curl command to paste into a shell. It reads the key from $KEY, and a path parameter from $ITS_NAME."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiReference:
    title: str
    version: str
    description: str
    operations: tuple[Operation, ...]
    problem: Shape | None
    """The shape of an error response; None if no operation has one."""


def parse_openapi(document: Node, *, origin: str) -> ApiReference:
    """Convert an OpenAPI 3 document. `origin` is the address of the API, such as http://127.0.0.1:8000."""
    info = document["info"]
    operations = tuple(_iter_operations(document, origin))
    contents = (
        content
        for operation in operations
        for response_group in operation.response_groups
        for content in response_group.contents
    )
    return ApiReference(
        title=info["title"],
        version=info["version"],
        description=render_prose(info.get("description", "")),
        operations=operations,
        problem=next((content.shape for content in contents if content.media_type == PROBLEM_MEDIA_TYPE), None),
    )


def render_prose(text: str) -> SafeString:
    """Render a description as HTML: text in backticks becomes `code` elements, all other text is escaped."""
    pieces = enumerate(text.strip().split("`"))
    return format_html_join(
        "", "{}", ((format_html("<code>{}</code>", piece) if index % 2 else piece,) for index, piece in pieces)
    )


# ---- Operations


def _iter_operations(document: Node, origin: str) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield _build_operation(document, origin, path, method, item)


def _build_operation(document: Node, origin: str, path: str, method: str, item: Node) -> Operation:
    node = item[method]
    # An operation's parameter overrides the path's parameter with the same name and place.
    resolved_parameters = (
        resolve_ref(document, parameter) for parameter in [*item.get("parameters", []), *node.get("parameters", [])]
    )
    parameters = list({(parameter["name"], parameter["in"]): parameter for parameter in resolved_parameters}.values())
    body = resolve_ref(document, node.get("requestBody", {}))
    needs_key = bool(node.get("security", document.get("security")))
    return Operation(
        id=node["operationId"],
        method=method.upper(),
        path=path,
        summary=node.get("summary") or node["operationId"],
        description=render_prose(node.get("description", "")),
        needs_key=needs_key,
        parameters=tuple(_build_parameter(document, parameter) for parameter in parameters),
        body=_build_contents(document, body),
        response_groups=_group_responses(document, node["responses"]),
        example=_build_curl(
            method,
            _build_example_url(document, origin + path, parameters),
            needs_key,
            _build_body_options(document, body),
        ),
    )


def _build_parameter(document: Node, parameter: Node) -> SchemaField:
    shape = _build_shape(document, parameter.get("schema", {}))
    if "description" in parameter:
        shape = replace(shape, description=render_prose(parameter["description"]))
    return SchemaField(
        name=parameter["name"], shape=shape, is_required=parameter.get("required", False), location=parameter["in"]
    )


def _build_contents(document: Node, container: Node) -> tuple[Content, ...]:
    return tuple(
        Content(media_type=media_type, shape=_build_shape(document, content.get("schema", {})))
        for media_type, content in container.get("content", {}).items()
    )


def _group_responses(document: Node, responses: Node) -> tuple[ResponseGroup, ...]:
    """Group the responses by content, in the order of statuses: most errors of an API look alike."""
    statuses_by_content: dict[tuple[tuple[Content, ...], str], list[ResponseStatus]] = {}
    for code, response in sorted(responses.items()):
        resolved_response = resolve_ref(document, response)
        key = (_build_contents(document, resolved_response), render_prose(resolved_response.get("description", "")))
        statuses_by_content.setdefault(key, []).append(_build_status(code))
    return tuple(
        ResponseGroup(statuses=tuple(statuses), contents=contents, description=description)
        for (contents, description), statuses in statuses_by_content.items()
    )


def _build_status(code: str) -> ResponseStatus:
    is_standard = code.isdecimal() and int(code) in set(HTTPStatus)
    return ResponseStatus(code=code, phrase=HTTPStatus(int(code)).phrase if is_standard else "")


# ---- Shapes


def _build_shape(document: Node, schema: Any, parent_refs: RefSet = _NO_REFS) -> Shape:
    """Return the shape that a schema describes. A schema nested in itself is only named at the inner place."""
    try:
        flat_schema, is_nullable, parent_refs = flatten_schema(document, schema, parent_refs)
    except RecursiveSchemaError as error:
        return Shape(type=str(error), limits=(_AS_ABOVE,))
    shape = _build_bare_shape(document, flat_schema, parent_refs)
    return replace(
        shape,
        type=f"{shape.type} or null" if is_nullable else shape.type,
        description=render_prose(flat_schema.get("description", "")),
        limits=(*_iter_limits(flat_schema), *shape.limits),
    )


def _build_bare_shape(document: Node, schema: Node, parent_refs: RefSet) -> Shape:
    """Return the shape without description, limits and null, which the caller adds."""
    branches = next((schema[key] for key in BRANCH_KEYS if key in schema), ())
    if branches:
        variants = tuple(_build_shape(document, branch, parent_refs) for branch in branches)
        return Shape(type=" or ".join(dict.fromkeys(variant.type for variant in variants)), variants=variants)
    item_schema = schema.get("items", schema.get("additionalProperties"))
    if isinstance(item_schema, Mapping) and "properties" not in schema:
        item_shape = _build_shape(document, item_schema, parent_refs)
        container = "list" if "items" in schema else "object"
        limits = tuple(limit if limit == _AS_ABOVE else f"each {limit}" for limit in item_shape.limits)
        return Shape(
            type=f"{container} of {item_shape.type}",
            fields=item_shape.fields,
            variants=item_shape.variants,
            limits=limits,
        )
    return Shape(type=_get_type_label(schema), fields=_build_fields(document, schema, parent_refs))


def _build_fields(document: Node, schema: Node, parent_refs: RefSet) -> tuple[SchemaField, ...]:
    required = schema.get("required", ())
    return tuple(
        SchemaField(name=name, shape=_build_shape(document, property_schema, parent_refs), is_required=name in required)
        for name, property_schema in schema.get("properties", {}).items()
    )


def _get_type_label(schema: Node) -> str:
    # pydantic gives every field a title. Only an object's title says more than the field's name.
    if "properties" in schema and "title" in schema:
        return str(schema["title"])
    kinds = schema.get("type", "any")
    kind = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    return f"{kind} ({schema['format']})" if "format" in schema else kind


def _iter_limits(schema: Node) -> Iterator[str]:
    if "enum" in schema:
        yield "one of " + ", ".join(_format_literal(value) for value in schema["enum"] if value is not None)
    if "const" in schema:
        yield f"always {_format_literal(schema['const'])}"
    for minimum_key, maximum_key, unit in (
        ("minLength", "maxLength", "characters"),
        ("minItems", "maxItems", "items"),
        ("minimum", "maximum", ""),
    ):
        if range_text := _format_range(schema.get(minimum_key), schema.get(maximum_key)):
            yield f"{range_text} {unit}".rstrip()
    if "pattern" in schema:
        yield f"matches {schema['pattern']}"
    # An empty default only says that the field is optional, which the page already shows.
    if schema.get("default") not in (None, "", [], {}):
        yield f"default {_format_literal(schema['default'])}"
    if schema.get("additionalProperties") is False:
        yield "no other fields"


def _format_range(minimum: float | None, maximum: float | None) -> str:
    match minimum, maximum:
        case None, None:
            return ""
        case _, None:
            return f"at least {minimum:,}"
        case None, _:
            return f"at most {maximum:,}"
        case _:
            return f"{minimum:,} to {maximum:,}"


def _format_literal(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# ---- Examples


def _build_curl(method: str, url: str, needs_key: bool, body_options: list[str]) -> str:
    parts = [f'curl "{url}"']
    if method != ("post" if body_options else "get"):
        parts.append(f"--request {method.upper()}")
    if needs_key:
        parts.append('--header "Authorization: Bearer $KEY"')
    return " \\\n  ".join(parts + body_options)


def _build_example_url(document: Node, url: str, parameters: Iterable[Node]) -> str:
    query = urlencode(dict(_iter_example_query(document, parameters)))
    return _PATH_VARIABLE.sub(lambda match: f"${match[1].upper()}", url) + ("?" if query else "") + query


def _build_body_options(document: Node, body: Node) -> list[str]:
    for media_type, content in body.get("content", {}).items():
        sample = json.dumps(_build_sample(document, content.get("schema", {})), ensure_ascii=False)
        return [f'--header "Content-Type: {media_type}"', f"--data {shlex.quote(sample)}"]
    return []


def _iter_example_query(document: Node, parameters: Iterable[Node]) -> Iterator[tuple[str, str]]:
    """Yield the required query parameters and those with a default: the example shows them, and changes nothing."""
    for parameter in parameters:
        schema = parameter.get("schema", {})
        is_included = parameter.get("required") or (isinstance(schema, Mapping) and "default" in schema)
        if parameter["in"] == "query" and is_included:
            yield parameter["name"], _format_literal(_build_sample(document, schema))


def _build_sample(document: Node, schema: Any, parent_refs: RefSet = _NO_REFS) -> Any:
    """Return a minimal value that matches the schema."""
    try:
        schema, _, parent_refs = flatten_schema(document, schema, parent_refs)
    except RecursiveSchemaError:
        return None
    for key in BRANCH_KEYS:
        if key in schema:
            return _build_sample(document, schema[key][0], parent_refs)
    candidates = [schema[key] for key in ("example", "const", "default") if key in schema]
    candidates += [value for key in ("examples", "enum") for value in schema.get(key, ())]
    return candidates[0] if candidates else _build_type_sample(document, schema, parent_refs)


def _build_type_sample(document: Node, schema: Node, parent_refs: RefSet) -> Any:
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {name: _build_sample(document, properties[name], parent_refs) for name in schema.get("required", ())}
        case "array":
            return [_build_sample(document, schema.get("items", {}), parent_refs)] if schema.get("minItems") else []
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case _:
            return _SAMPLE_TEXTS.get(schema.get("format", ""), "example")


_SAMPLE_TEXTS = {
    "date-time": "2026-03-01T12:30:00Z",
    "date": "2026-03-01",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
