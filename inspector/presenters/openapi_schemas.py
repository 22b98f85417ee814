"""Resolve the references of an OpenAPI document and merge the parts of its schemas."""

from collections.abc import Mapping
from typing import Any

Node = Mapping[str, Any]
RefSet = frozenset[str]
BRANCH_KEYS = ("oneOf", "anyOf")


class RecursiveSchemaError(Exception):
    """A schema is nested in itself. The message is its name."""


def flatten_schema(document: Node, schema: Any, parent_refs: RefSet) -> tuple[Node, bool, RefSet]:
    """Return a schema with references and `allOf` merged and null removed; whether it allowed null; and its references.

    The references are `parent_refs` and those that were followed, to detect recursion in nested schemas. Raises
    RecursiveSchemaError.
    """
    merged, parent_refs = _merge(document, schema, parent_refs)
    for key in BRANCH_KEYS:
        remaining = [branch for branch in merged.get(key, ()) if branch != {"type": "null"}]
        if len(remaining) < len(merged.get(key, ())):
            other_keys = {name: value for name, value in merged.items() if name != key}
            merged, parent_refs = _merge(
                document, {**other_keys, "allOf" if len(remaining) == 1 else key: remaining}, parent_refs
            )
            return merged, True, parent_refs
    kinds = merged.get("type")
    if isinstance(kinds, list) and "null" in kinds:
        remaining = [kind for kind in kinds if kind != "null"]
        return {**merged, "type": remaining[0] if len(remaining) == 1 else remaining}, True, parent_refs
    return merged, False, parent_refs


def _merge(document: Node, schema: Any, parent_refs: RefSet) -> tuple[dict[str, Any], RefSet]:
    """Merge a schema with its reference and its `allOf`. The schema's own keys win."""
    if not isinstance(schema, Mapping):
        # The schema `true` accepts any value.
        return {}, parent_refs
    parts: list[Node] = []
    if ref := schema.get("$ref"):
        name = ref.rpartition("/")[2]
        if ref in parent_refs:
            raise RecursiveSchemaError(name)
        part_schema, parent_refs = _merge(document, _lookup_ref(document, ref), parent_refs | {ref})
        parts.append({**part_schema, "title": name})
    for part in schema.get("allOf", ()):
        part_schema, parent_refs = _merge(document, part, parent_refs)
        parts.append(part_schema)
    merged: dict[str, Any] = {}
    for part in (*parts, {name: value for name, value in schema.items() if name not in ("$ref", "allOf")}):
        combined: dict[str, Any] = {"properties": {**merged.get("properties", {}), **part.get("properties", {})}}
        combined["required"] = [*merged.get("required", ()), *part.get("required", ())]
        merged = {**merged, **part, **{name: value for name, value in combined.items() if value}}
    return merged, parent_refs


def resolve_ref(document: Node, node: Node) -> Node:
    """Return a parameter, body or response, following its reference if it is one."""
    return _lookup_ref(document, node["$ref"]) if "$ref" in node else node


def _lookup_ref(document: Node, ref: str) -> Node:
    """Return the target of a reference; an empty mapping if the document has none."""
    node: Any = document
    for step in ref.removeprefix("#/").split("/"):
        node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, Mapping) else None
    return node if isinstance(node, Mapping) else {}
