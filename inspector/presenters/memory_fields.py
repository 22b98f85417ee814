"""The fields of a memory with their provenance, and the changes between versions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

import orjson

from inspector.presenters.safe_text import shorten
from memoryhub.memories.fields import FIELDS
from memoryhub.memories.querysets import ACTIVE, EXPIRED
from memoryhub.memories.records import MemoryRecord, mask_record
from memoryhub.timetravel.text_diff import DiffSegment, diff_for_display

MAX_VERSIONS = 20
MAX_DIFF_CHARS = 8_000
MAX_SEGMENT_CHARS = 2_000
MAX_CHANGE_CHARS = 400

PROVENANCE_GIVEN = ("given", "given", "given: the writer said so")
PROVENANCE_DEFAULTED = ("defaulted", "defaulted", "defaulted: the writer did not say")
PROVENANCE_UNKNOWN = ("unknown", "unknown", "the writer did not say, and memoryhub does not guess")
PROVENANCE_SYSTEM = ("system", "memoryhub", "known by memoryhub itself")

SECTION_FIELDS = ("content", "metadata", "propagation", "defaulted_fields")
"""The fields that the page shows elsewhere than in the list of fields."""
_LAYOUT: dict[str, tuple[str, ...]] = {
    "What": ("subject", "collection", "namespace", "kind", "pinned", "expires_at"),
    "Who": ("source", "actor_type", "actor_id", "model", "role"),
    "When": ("timestamp", "recorded_at", "superseded_at"),
    "Sensitivity": ("classification_tier", "sensitivity_labels"),
    "Transport": (),
    "Record": ("memory_id", "version", "status"),
}
_PLACED_FIELDS = {*chain(*_LAYOUT.values()), *SECTION_FIELDS}
FIELD_GROUPS = _LAYOUT | {
    "Transport": tuple(
        field.name for field in FIELDS if field.shown_in != "nowhere" and field.name not in _PLACED_FIELDS
    )
}
SYSTEM_FIELDS = {field.name for field in FIELDS if not field.is_sent}
CODE_FIELDS = {field.name for field in FIELDS if field.is_code}
_COMPARED_FIELDS = {field.name for field in FIELDS if field.is_compared and not field.identifies_transport}
DIFFED_FIELDS = [name for name in (*chain(*FIELD_GROUPS.values()), *SECTION_FIELDS[1:]) if name in _COMPARED_FIELDS]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryField:
    """One row of the list of fields. At most one of `text`, `instant`, `items` and `tier` is set."""

    name: str
    provenance: str
    provenance_label: str
    provenance_explanation: str
    text: str = ""
    instant: datetime | None = None
    items: Sequence[str] = ()
    tier: str = ""
    is_code: bool = False
    absent_label: str = "unknown"

    @property
    def copy_label(self) -> str:
        return f"Copy {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldGroup:
    title: str
    fields: list[MemoryField]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    label: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSummary:
    """One version, and its changes to the previous one."""

    version: int
    status: str
    """The status of a current version; empty for a superseded one."""
    recorded_at: datetime
    superseded_at: datetime | None
    changes: list[FieldChange]
    segments: list[DiffSegment]


def mask_memory(memory: MemoryRecord) -> MemoryRecord:
    """Return `memory` with secrets masked, and with `has_secrets`, which says whether there were any."""
    masked_memory = mask_record(memory)
    return {**masked_memory, "has_secrets": masked_memory != memory}


def group_fields(memory: MemoryRecord) -> list[FieldGroup]:
    return [
        FieldGroup(title=title, fields=[_build_field(name, memory) for name in names])
        for title, names in FIELD_GROUPS.items()
    ]


def build_version_history(versions: Sequence[MemoryRecord]) -> list[VersionSummary]:
    """Summarize `versions`, newest first, each with its changes to the next one in the list."""
    previous_versions = [*versions[1:], None]
    return [
        _build_version_summary(memory, previous_version)
        for memory, previous_version in zip(versions, previous_versions, strict=True)
    ]


def format_json(document: orjson.Fragment | None) -> str:
    """Indent a JSON document; numbers and strings stay as they are stored. Returns "" for an empty document."""
    text = _format_value(document)
    if text in ("", "{}", "null"):
        return ""
    parts: list[str] = []
    depth = 0
    for token in JSON_TOKEN.findall(text):
        if token in ("{", "["):
            depth += 1
            parts.append(token + _indent(depth))
        elif token in ("}", "]"):
            depth -= 1
            parts.append(_indent(depth) + token)
        else:
            parts.append({",": "," + _indent(depth), ":": ": "}.get(token, token))
    return "".join(parts)


JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|\{\s*\}|\[\s*\]|[{}\[\],:]|[^\s{}\[\],:"]+')


def _indent(depth: int) -> str:
    return "\n" + "  " * min(depth, 20)


def _build_field(name: str, memory: MemoryRecord) -> MemoryField:
    value = memory[name]
    provenance, label, explanation = _get_provenance(name, memory)
    common_fields: dict[str, Any] = {
        "name": name,
        "provenance": provenance,
        "provenance_label": label,
        "provenance_explanation": explanation,
    }
    if isinstance(value, datetime):
        return MemoryField(**common_fields, instant=value)
    if name == "classification_tier":
        return MemoryField(**common_fields, tier=value or "public")
    if name == "sensitivity_labels":
        return MemoryField(**common_fields, items=value, absent_label="none")
    return MemoryField(
        **common_fields,
        text=_format_value(value),
        is_code=name in CODE_FIELDS,
        absent_label=_get_absent_label(name, memory),
    )


def _get_provenance(name: str, memory: MemoryRecord) -> tuple[str, str, str]:
    if name in SYSTEM_FIELDS:
        return PROVENANCE_SYSTEM
    if name not in memory["defaulted_fields"]:
        return PROVENANCE_GIVEN
    return PROVENANCE_DEFAULTED if memory[name] not in ("", None, []) else PROVENANCE_UNKNOWN


def _get_absent_label(name: str, memory: MemoryRecord) -> str:
    """Return the label for a missing value."""
    if name == "superseded_at":
        return "not replaced"
    if name == "expires_at":
        return "never"
    return "unknown" if name in memory["defaulted_fields"] else "empty"


def _build_version_summary(memory: MemoryRecord, previous_version: Mapping[str, Any] | None) -> VersionSummary:
    return VersionSummary(
        version=memory["version"],
        status=memory["status"] if memory["superseded_at"] is None else "",
        recorded_at=memory["recorded_at"],
        superseded_at=memory["superseded_at"],
        changes=compare_fields(previous_version, memory) if previous_version else [],
        segments=truncate_segments(diff_for_display(previous_version["content"], memory["content"]))
        if previous_version and previous_version["content"] != memory["content"]
        else [],
    )


def truncate_segments(segments: list[DiffSegment]) -> list[DiffSegment]:
    """Limit the number and the length of segments: two versions of 1 MB may have nothing in common."""
    truncated: list[DiffSegment] = []
    remaining_chars = MAX_DIFF_CHARS
    for segment in segments:
        text = shorten(segment.text, MAX_SEGMENT_CHARS)
        remaining_chars -= len(text)
        if remaining_chars < 0:
            return [*truncated, DiffSegment("elided", "and more")]
        truncated.append(DiffSegment(segment.kind, text))
        if len(text) < len(segment.text):
            truncated.append(DiffSegment("elided", f"{len(segment.text) - len(text):,} more characters"))
    return truncated


def compare_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[FieldChange]:
    pairs = (
        (name, _format_value(_get_stored_value(name, before)), _format_value(_get_stored_value(name, after)))
        for name in DIFFED_FIELDS
    )
    return [
        FieldChange(label=name, before=shorten(old, MAX_CHANGE_CHARS), after=shorten(new, MAX_CHANGE_CHARS))
        for name, old, new in pairs
        if old != new
    ]


def _get_stored_value(name: str, version: Mapping[str, Any]) -> Any:
    """Return a stored value. An expired status counts as active: expiry is not a change between versions."""
    return ACTIVE if name == "status" and version[name] == EXPIRED else version[name]


def _format_value(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.isoformat(sep=" ", timespec="seconds").replace("+00:00", " UTC")
        case list():
            return ", ".join(value)
        case orjson.Fragment():
            return orjson.dumps(value).decode()
        case _:
            return str(value)
