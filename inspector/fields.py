"""Every field of a memory with where it comes from, and what changed between two versions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from inspector.text import shorten
from memoryhub.memories.querysets import ACTIVE, EXPIRED
from memoryhub.memories.records import Record, for_people
from memoryhub.timetravel.text import Piece, words_changed

MOST_VERSIONS = 20
MOST_OF_A_DIFF = 8_000
MOST_OF_A_PIECE = 2_000
MOST_OF_A_CHANGE = 400

GIVEN = ("given", "given", "given: the writer said so")
DEFAULTED = ("defaulted", "defaulted", "defaulted: the writer did not say")
UNKNOWN = ("unsaid", "not said", "the writer did not say, and memoryhub does not guess")
HUB = ("hub", "memoryhub", "known by memoryhub itself")

GROUPS = {
    "What": ("subject", "collection", "namespace", "kind", "pinned", "expires_at"),
    "Who": ("source", "actor_type", "actor_id", "model", "role"),
    "When": ("timestamp", "recorded_at", "superseded_at"),
    "Sensitivity": ("classification_tier", "sensitivity_labels"),
    "Transport": (
        "payload_id", "request_id", "idempotency_key", "destination", "schema_version", "transform_version",
    ),
    "Record": ("memory_id", "version", "status"),
}  # fmt: skip
BY_HUB = {"recorded_at", "superseded_at", "memory_id", "version", "status"}
CODES = {"payload_id", "request_id", "idempotency_key", "memory_id"}
TRACKED = (
    "subject", "collection", "namespace", "source", "actor_type", "actor_id", "model", "role", "timestamp", "kind",
    "pinned", "expires_at", "classification_tier", "sensitivity_labels", "status", "destination", "metadata",
    "propagation",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One line of the list of fields. At most one of `text`, `moment`, `items` and `tier` is set."""

    name: str
    origin: str
    origin_shown: str
    origin_words: str
    text: str = ""
    moment: datetime | None = None
    items: Sequence[str] = ()
    tier: str = ""
    is_code: bool = False
    absent: str = "unknown"

    @property
    def copy_label(self) -> str:
        return f"Copy {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    title: str
    fields: list[Field]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    label: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version, and what it changed."""

    number: int
    status: str
    """As long as no other version took its place; empty then."""
    recorded_at: datetime
    superseded_at: datetime | None
    changes: list[Change]
    pieces: list[Piece]


def shown(memory: Record) -> Record:
    """`memory` as pages show it unless somebody asks for more: secrets masked, and `has_secrets` telling of them."""
    masked = for_people(memory)
    return {**masked, "has_secrets": masked != memory}


def grouped(memory: Record) -> list[Group]:
    return [Group(title=title, fields=[_field(name, memory) for name in names]) for title, names in GROUPS.items()]


def compared(versions: Sequence[Record]) -> list[Version]:
    """`versions`, the newest first, each with what it changed in the one after it in the list."""
    followed = [*versions[1:], None]
    return [_version(memory, before) for memory, before in zip(versions, followed, strict=True)]


def pretty(document: orjson.Fragment | None) -> str:
    """A JSON document laid out in lines, each number and string exactly as it is stored. "" for an empty one."""
    text = _text(document)
    if text in ("", "{}", "null"):
        return ""
    parts: list[str] = []
    depth = 0
    for token in TOKEN.findall(text):
        if token in ("{", "["):
            depth += 1
            parts.append(token + _line(depth))
        elif token in ("}", "]"):
            depth -= 1
            parts.append(_line(depth) + token)
        else:
            parts.append({",": "," + _line(depth), ":": ": "}.get(token, token))
    return "".join(parts)


TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|\{\s*\}|\[\s*\]|[{}\[\],:]|[^\s{}\[\],:"]+')


def _line(depth: int) -> str:
    return "\n" + "  " * min(depth, 20)


def _field(name: str, memory: Record) -> Field:
    value = memory[name]
    origin, shown, words = _origin(name, memory)
    made: dict[str, Any] = {"name": name, "origin": origin, "origin_shown": shown, "origin_words": words}
    if isinstance(value, datetime):
        return Field(**made, moment=value)
    if name == "classification_tier":
        return Field(**made, tier=value or "public")
    if name == "sensitivity_labels":
        return Field(**made, items=value, absent="none")
    return Field(**made, text=_text(value), is_code=name in CODES, absent=_absent(name, memory))


def _origin(name: str, memory: Record) -> tuple[str, str, str]:
    if name in BY_HUB:
        return HUB
    if name not in memory["defaulted"]:
        return GIVEN
    return DEFAULTED if memory[name] not in ("", None, []) else UNKNOWN


def _absent(name: str, memory: Record) -> str:
    """How the lack of a value reads."""
    if name == "superseded_at":
        return "not replaced"
    if name == "expires_at":
        return "never"
    return "unknown" if name in memory["defaulted"] else "empty"


def _version(memory: Record, before: Mapping[str, Any] | None) -> Version:
    return Version(
        number=memory["version"],
        status=memory["status"] if memory["superseded_at"] is None else "",
        recorded_at=memory["recorded_at"],
        superseded_at=memory["superseded_at"],
        changes=changes_between(before, memory) if before else [],
        pieces=short(words_changed(before["content"], memory["content"]))
        if before and before["content"] != memory["content"]
        else [],
    )


def short(pieces: list[Piece]) -> list[Piece]:
    """As many of the pieces as people read, each cut where it is longer: two versions may share nothing in 1 MB."""
    kept: list[Piece] = []
    left = MOST_OF_A_DIFF
    for piece in pieces:
        text = shorten(piece.text, MOST_OF_A_PIECE)
        left -= len(text)
        if left < 0:
            return [*kept, Piece("skipped", "and more")]
        kept.append(Piece(piece.kind, text))
        if len(text) < len(piece.text):
            kept.append(Piece("skipped", f"{len(piece.text) - len(text):,} more characters"))
    return kept


def changes_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    pairs = ((name, _text(_tracked(name, before)), _text(_tracked(name, after))) for name in TRACKED)
    return [
        Change(label=name, before=shorten(old, MOST_OF_A_CHANGE), after=shorten(new, MOST_OF_A_CHANGE))
        for name, old, new in pairs
        if old != new
    ]


def _tracked(name: str, version: Mapping[str, Any]) -> Any:
    """A value as its version holds it: that it has expired since is no change that a version made."""
    return ACTIVE if name == "status" and version[name] == EXPIRED else version[name]


def _text(value: Any) -> str:
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
