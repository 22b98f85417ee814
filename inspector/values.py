"""A group as its page shows it: the values side by side, each against the newest, and why it is of its class."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from inspector import fields
from inspector.text import shorten
from memoryhub.conflicts.detector import CLASSES, Class, Feature, Verdict
from memoryhub.conflicts.groups import Group, Support
from memoryhub.conflicts.similar import Like
from memoryhub.memories.records import Record
from memoryhub.timetravel.text import Piece, words_changed

MOST_KEYS = 9
MOST_SHOWN = 1_600
MOST_SUPPORT = 20
MOST_PAIRS = 6
MOST_WORDS = 300
"""Longer differences are told by lines: the page compares up to nine values."""
IN_THE_LIST = 3
WIDTH = 200

CLASS_WORDS: dict[str, str] = {
    "contradiction": "They cannot be true at once, and none of them clearly takes the place of the others.",
    "update": "A later value takes the place of an earlier one.",
    "paraphrase": "They say the same in other words, or can be true at once.",
    "duplicate": "They say the same apart from case of words, white space, closing punctuation or composition.",
    "unrelated": "They merely share a key.",
}
CLASS_NAMES: dict[str, str] = {
    "contradiction": "Contradictions",
    "update": "Updates",
    "paraphrase": "Paraphrases",
    "duplicate": "Duplicates",
    "unrelated": "Unrelated",
}
QUESTIONS = {
    "related": "Do both speak of one matter?",
    "incompatible": "Are they incompatible?",
    "replaces": "Does the later one take the place of the earlier one?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One of the values, told by the memory that said it last."""

    place: int
    memory: Record
    pieces: list[Piece]
    others: list[Record]
    more: int
    support: int
    sources: list[str]
    is_active: bool
    has_secrets: bool

    @property
    def key(self) -> str:
        return str(self.place) if self.place <= MOST_KEYS else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    words: str
    x: float
    width: float
    zero: float
    contribution: float

    @property
    def kind(self) -> str:
        return "for" if self.contribution > 0 else "against"

    @property
    def shown(self) -> str:
        return f"{self.contribution:+.1f}".replace("-", "\u2212")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    words: str
    answer: str
    bars: list[Bar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two values by their places, and what speaks for their class."""

    one: int
    other: int
    klass: Class
    percent: int
    questions: list[Question]


def values(group: Group) -> list[Value]:
    told = [list(map(fields.shown, support.memories)) for support in group.values]
    contents = [memories[0]["content"] for memories in told]
    return [
        _value(place, support, memories, _against(contents, place - 1))
        for place, (support, memories) in enumerate(zip(group.values, told, strict=True), 1)
    ]


def _value(place: int, support: Support, memories: Sequence[Record], pieces: list[Piece]) -> Value:
    return Value(
        place=place,
        memory=memories[0],
        pieces=pieces,
        others=list(memories[1 : MOST_SUPPORT + 1]),
        more=len(memories[MOST_SUPPORT + 1 :]),
        support=len(support.memories),
        sources=sorted({memory["source"] for memory in memories}),
        is_active=any(memory.get("status", "active") == "active" for memory in memories),
        has_secrets=any(memory["has_secrets"] for memory in memories),
    )


def _against(contents: Sequence[str], at: int) -> list[Piece]:
    """The content at a place, with what sets it apart from the newest one; the newest against the next."""
    content = contents[at]
    plain = [Piece("same", shorten(content, MOST_SHOWN))]
    if at >= MOST_KEYS or len(contents) < 2:
        return plain
    other = contents[0] if at else contents[1]
    pieces = [piece for piece in words_changed(other, content, most=MOST_WORDS) if piece.kind != "gone"]
    alike = sum(len(piece.text.strip()) for piece in pieces if piece.kind == "same")
    # Where little is alike, marks would be everywhere and tell nothing.
    return fields.short(pieces) if alike * 4 >= len(content) else plain


def pairs(group: Group) -> tuple[list[Pair], int]:
    """The pairs that decide the class, the most serious first, and how many more there are."""
    found = sorted(group.verdicts, key=lambda pair: (CLASSES.index(pair[2].klass), pair[0], pair[1]))
    return [_pair(*pair) for pair in found[:MOST_PAIRS]], len(found[MOST_PAIRS:])


def _pair(one: int, other: int, verdict: Verdict) -> Pair:
    asked = [list(same) for _, same in groupby(verdict.features, key=lambda feature: feature.question)]
    reached = [total for features in asked for total in (0.0, *_running(features))]
    low, high = min(reached), max(reached)
    scale = WIDTH / max(high - low, 1.0)
    return Pair(
        one=one + 1,
        other=other + 1,
        klass=verdict.klass,
        percent=round(verdict.confidence * 100),
        questions=[_question(features, low, scale) for features in asked],
    )


def _question(features: Sequence[Feature], low: float, scale: float) -> Question:
    """Each bar begins where the one before it ended: where the last ends is the answer."""
    bars, before = [], 0.0
    for feature, total in zip(features, _running(features), strict=True):
        start = min(before, total) - low
        bars.append(
            Bar(
                words=feature.words,
                x=round(start * scale, 1),
                width=round(max(abs(feature.contribution) * scale, 1.0), 1),
                zero=round(-low * scale, 1),
                contribution=feature.contribution,
            )
        )
        before = total
    return Question(words=QUESTIONS[features[0].question], answer="yes" if before >= 0 else "no", bars=bars)


def _running(features: Iterable[Feature]) -> list[float]:
    totals: list[float] = []
    for feature in features:
        totals.append((totals[-1] if totals else 0.0) + feature.contribution)
    return totals


def line(group: Group) -> dict[str, Any]:
    """A group as the queue shows it: the beginnings of its newest values."""
    shown = [fields.shown(support.memories[0]) for support in group.values[:IN_THE_LIST]]
    subject, collection, *namespace = group.key
    return {
        "group": group,
        "id": group.id,
        "about": {"subject": subject, "collection": collection},
        "namespace": namespace[0] if namespace else "",
        "klass": group.klass,
        "contents": [memory["content"] for memory in shown],
        "more": group.value_count - len(shown),
        "sources": sorted({memory["source"] for memory in group.members}),
        "since": since(group),
        "has_secrets": any(memory["has_secrets"] for memory in shown),
    }


def compared(like: Like) -> dict[str, Any]:
    """A group as the preview of one decision for many shows it: what would be kept of it, and what not."""
    held = like.group.values if like.kept is None else [like.kept]
    kept: list[Record] = []
    others: list[Record] = []
    for support in like.group.values:
        (kept if support in held else others).append(fields.shown(support.memories[0]))
    subject, collection, *_ = like.group.key
    return {
        "id": like.group.id,
        "about": {"subject": subject, "collection": collection},
        "kept": kept,
        "others": others,
        "keep": like.kept.memories[0]["memory_id"] if like.kept else "",
        "evidence": like.group.evidence,
        "memory_count": like.group.memory_count,
    }


def since(group: Group) -> datetime:
    """When a second value was said: from then on they disagree."""
    first: list[datetime] = sorted(min(memory["timestamp"] for memory in support.memories) for support in group.values)
    return first[min(1, len(first) - 1)]
