"""The API's reference: an OpenAPI document read into what the page shows. What it leaves out, the page leaves out."""

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

Node = Mapping[str, Any]
Refs = frozenset[str]
_NOWHERE: Refs = frozenset()

METHODS = ("get", "post", "put", "patch", "delete")
PROBLEM = "application/problem+json"
_VARIABLE = re.compile(r"\{(\w+)\}")
_ECHO = re.compile(r"^\* `(.*)` - \1$", re.MULTILINE)
_BRANCHES = ("oneOf", "anyOf")
_ABOVE = "as above"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a value looks like. `fields` are those of the object, or of the objects that a list or a map holds."""

    type: str
    description: str = ""
    limits: tuple[str, ...] = ()
    fields: tuple["Field", ...] = ()
    variants: tuple["Shape", ...] = ()
    """The shapes of which it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of an object, or a parameter: `place` is where that one goes, `query` or `path`."""

    name: str
    shape: Shape
    is_required: bool = False
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    media_type: str
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    code: str
    phrase: str

    @property
    def is_success(self) -> bool:
        return self.code.startswith("2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The statuses that come with the same content."""

    statuses: tuple[Status, ...]
    contents: tuple[Content, ...]
    description: str = ""

    @property
    def is_problem(self) -> bool:
        return any(content.media_type == PROBLEM for content in self.contents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    id: str
    method: str
    path: str
    summary: str
    description: str
    needs_key: bool
    parameters: tuple[Field, ...]
    body: tuple[Content, ...]
    answers: tuple[Answer, ...]
    example: str
    """A curl command that can be pasted into a shell. The key is in $KEY, a value in the path in $ITS_NAME."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    title: str
    version: str
    description: str
    operations: tuple[Operation, ...]
    problem: Shape | None
    """What an error looks like, where any operation tells."""


def read(document: Node, *, origin: str) -> Reference:
    """What an OpenAPI 3 document says. `origin` is where the API is served, such as http://127.0.0.1:8000."""
    info = document["info"]
    operations = tuple(_operations(document, origin))
    contents = (content for operation in operations for answer in operation.answers for content in answer.contents)
    return Reference(
        title=info["title"],
        version=info["version"],
        description=prose(info.get("description", "")),
        operations=operations,
        problem=next((content.shape for content in contents if content.media_type == PROBLEM), None),
    )


def prose(text: str) -> SafeString:
    """A description as HTML: `code` in its backticks becomes code, anything else stays text.

    The list by which drf-spectacular says of each choice only itself is left out: the choices are told anyway.
    """
    pieces = enumerate(_ECHO.sub("", text).strip().split("`"))
    return format_html_join("", "{}", ((format_html("<code>{}</code>", p) if n % 2 else p,) for n, p in pieces))


# ---- Operations


def _operations(document: Node, origin: str) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield _operation(document, origin, path, method, item)


def _operation(document: Node, origin: str, path: str, method: str, item: Node) -> Operation:
    node = item[method]
    # The operation's own parameter stands in for one of the path with the same name and place.
    found = (_resolve(document, given) for given in [*item.get("parameters", []), *node.get("parameters", [])])
    parameters = list({(given["name"], given["in"]): given for given in found}.values())
    body = _resolve(document, node.get("requestBody", {}))
    needs_key = bool(node.get("security", document.get("security")))
    return Operation(
        id=node["operationId"],
        method=method.upper(),
        path=path,
        summary=node.get("summary") or node["operationId"],
        description=prose(node.get("description", "")),
        needs_key=needs_key,
        parameters=tuple(_parameter(document, given) for given in parameters),
        body=_contents(document, body),
        answers=_answers(document, node["responses"]),
        example=_curl(method, _address(document, origin + path, parameters), needs_key, _sent(document, body)),
    )


def _parameter(document: Node, given: Node) -> Field:
    shape = _shape(document, given.get("schema", {}))
    if "description" in given:
        shape = replace(shape, description=prose(given["description"]))
    return Field(name=given["name"], shape=shape, is_required=given.get("required", False), place=given["in"])


def _contents(document: Node, holder: Node) -> tuple[Content, ...]:
    return tuple(
        Content(media_type=media_type, shape=_shape(document, content.get("schema", {})))
        for media_type, content in holder.get("content", {}).items()
    )


def _answers(document: Node, responses: Node) -> tuple[Answer, ...]:
    """By status, those with the same content put together: an API's errors mostly look alike."""
    grouped: dict[tuple[tuple[Content, ...], str], list[Status]] = {}
    for code, response in sorted(responses.items()):
        found = _resolve(document, response)
        key = (_contents(document, found), prose(found.get("description", "")))
        grouped.setdefault(key, []).append(_status(code))
    return tuple(
        Answer(statuses=tuple(statuses), contents=contents, description=description)
        for (contents, description), statuses in grouped.items()
    )


def _status(code: str) -> Status:
    known = code.isdecimal() and int(code) in set(HTTPStatus)
    return Status(code=code, phrase=HTTPStatus(int(code)).phrase if known else "")


# ---- Shapes


def _shape(document: Node, schema: Any, within: Refs = _NOWHERE) -> Shape:
    """The shape that a schema describes. One that stands inside itself is there only named."""
    try:
        flat, is_nullable, within = _flat(document, schema, within)
    except _AgainError as again:
        return Shape(type=str(again), limits=(_ABOVE,))
    shape = _bare(document, flat, within)
    return replace(
        shape,
        type=f"{shape.type} or null" if is_nullable else shape.type,
        description=prose(flat.get("description", "")),
        limits=(*_limits(flat), *shape.limits),
    )


def _bare(document: Node, schema: Node, within: Refs) -> Shape:
    """The shape less what is said of it besides its type."""
    branches = next((schema[key] for key in _BRANCHES if key in schema), ())
    if branches:
        variants = tuple(_shape(document, branch, within) for branch in branches)
        return Shape(type=" or ".join(dict.fromkeys(each.type for each in variants)), variants=variants)
    inner = schema.get("items", schema.get("additionalProperties"))
    if isinstance(inner, Mapping) and "properties" not in schema:
        held = _shape(document, inner, within)
        holder = "list" if "items" in schema else "object"
        limits = tuple(limit if limit == _ABOVE else f"each {limit}" for limit in held.limits)
        return Shape(type=f"{holder} of {held.type}", fields=held.fields, variants=held.variants, limits=limits)
    return Shape(type=_type(schema), fields=_fields(document, schema, within))


def _fields(document: Node, schema: Node, within: Refs) -> tuple[Field, ...]:
    required = schema.get("required", ())
    return tuple(
        Field(name=name, shape=_shape(document, each, within), is_required=name in required)
        for name, each in schema.get("properties", {}).items()
    )


def _type(schema: Node) -> str:
    # pydantic gives a title to every field; only that of an object tells more than the field's name.
    if "properties" in schema and "title" in schema:
        return str(schema["title"])
    kinds = schema.get("type", "any")
    kind = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    return f"{kind} ({schema['format']})" if "format" in schema else kind


def _limits(schema: Node) -> Iterator[str]:
    if "enum" in schema:
        yield "one of " + ", ".join(_literal(value) for value in schema["enum"] if value is not None)
    if "const" in schema:
        yield f"always {_literal(schema['const'])}"
    for least, most, unit in (
        ("minLength", "maxLength", "characters"),
        ("minItems", "maxItems", "items"),
        ("minimum", "maximum", ""),
    ):
        if found := _range(schema.get(least), schema.get(most)):
            yield f"{found} {unit}".rstrip()
    if "pattern" in schema:
        yield f"matches {schema['pattern']}"
    # An empty default says no more than that the field may be left out.
    if schema.get("default") not in (None, "", [], {}):
        yield f"default {_literal(schema['default'])}"
    if schema.get("additionalProperties") is False:
        yield "no other fields"


def _range(least: float | None, most: float | None) -> str:
    match least, most:
        case None, None:
            return ""
        case _, None:
            return f"at least {least:,}"
        case None, _:
            return f"at most {most:,}"
        case _:
            return f"{least:,} to {most:,}"


def _literal(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# ---- References


class _AgainError(Exception):
    """A schema stands inside itself. It is told by its name."""


def _flat(document: Node, schema: Any, within: Refs) -> tuple[Node, bool, Refs]:
    """A schema with its references followed, its `allOf` folded in and its null taken out.

    Also whether it allowed null, and the references `within` which its parts stand. Raises _AgainError.
    """
    merged, within = _merged(document, schema, within)
    for key in _BRANCHES:
        some = [branch for branch in merged.get(key, ()) if branch != {"type": "null"}]
        if len(some) < len(merged.get(key, ())):
            rest = {name: value for name, value in merged.items() if name != key}
            merged, within = _merged(document, {**rest, "allOf" if len(some) == 1 else key: some}, within)
            return merged, True, within
    kinds = merged.get("type")
    if isinstance(kinds, list) and "null" in kinds:
        some = [kind for kind in kinds if kind != "null"]
        return {**merged, "type": some[0] if len(some) == 1 else some}, True, within
    return merged, False, within


def _merged(document: Node, schema: Any, within: Refs) -> tuple[dict[str, Any], Refs]:
    """A schema with what it refers to and what its `allOf` adds. What stands in the schema itself decides."""
    if not isinstance(schema, Mapping):
        # `true`, which anything fits.
        return {}, within
    parts: list[Node] = []
    if ref := schema.get("$ref"):
        name = ref.rpartition("/")[2]
        if ref in within:
            raise _AgainError(name)
        found, within = _merged(document, _at(document, ref), within | {ref})
        parts.append({**found, "title": name})
    for part in schema.get("allOf", ()):
        found, within = _merged(document, part, within)
        parts.append(found)
    merged: dict[str, Any] = {}
    for part in (*parts, {name: value for name, value in schema.items() if name not in ("$ref", "allOf")}):
        gathered: dict[str, Any] = {"properties": {**merged.get("properties", {}), **part.get("properties", {})}}
        gathered["required"] = [*merged.get("required", ()), *part.get("required", ())]
        merged = {**merged, **part, **{name: value for name, value in gathered.items() if value}}
    return merged, within


def _resolve(document: Node, node: Node) -> Node:
    """A parameter, a body or a response, wherever the document keeps it."""
    return _at(document, node["$ref"]) if "$ref" in node else node


def _at(document: Node, ref: str) -> Node:
    """What a reference points at; nothing, if that is not in the document."""
    found: Any = document
    for step in ref.removeprefix("#/").split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


# ---- Examples


def _curl(method: str, address: str, needs_key: bool, sent: list[str]) -> str:
    parts = [f'curl "{address}"']
    if method != ("post" if sent else "get"):
        parts.append(f"--request {method.upper()}")
    if needs_key:
        parts.append('--header "Authorization: Bearer $KEY"')
    return " \\\n  ".join(parts + sent)


def _address(document: Node, url: str, parameters: Iterable[Node]) -> str:
    query = urlencode(dict(_asked(document, parameters)))
    return _VARIABLE.sub(lambda found: f"${found[1].upper()}", url) + ("?" if query else "") + query


def _sent(document: Node, body: Node) -> list[str]:
    for media_type, content in body.get("content", {}).items():
        sample = json.dumps(_sample(document, content.get("schema", {})), ensure_ascii=False)
        return [f'--header "Content-Type: {media_type}"', f"--data {shlex.quote(sample)}"]
    return []


def _asked(document: Node, parameters: Iterable[Node]) -> Iterator[tuple[str, str]]:
    """The query that must be given, and what holds without it: it shows how to ask, and changes nothing."""
    for given in parameters:
        schema = given.get("schema", {})
        is_told = given.get("required") or (isinstance(schema, Mapping) and "default" in schema)
        if given["in"] == "query" and is_told:
            yield given["name"], _literal(_sample(document, schema))


def _sample(document: Node, schema: Any, within: Refs = _NOWHERE) -> Any:
    """A value that fits, as small as it may be."""
    try:
        schema, _, within = _flat(document, schema, within)
    except _AgainError:
        return None
    for key in _BRANCHES:
        if key in schema:
            return _sample(document, schema[key][0], within)
    given = [schema[key] for key in ("example", "const", "default") if key in schema]
    given += [value for key in ("examples", "enum") for value in schema.get(key, ())]
    return given[0] if given else _plain(document, schema, within)


def _plain(document: Node, schema: Node, within: Refs) -> Any:
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {name: _sample(document, properties[name], within) for name in schema.get("required", ())}
        case "array":
            return [_sample(document, schema.get("items", {}), within)] if schema.get("minItems") else []
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case _:
            return _TEXTS.get(schema.get("format", ""), "example")


_TEXTS = {
    "date-time": "2026-03-01T12:30:00Z",
    "date": "2026-03-01",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
