"""The page of a group: its values side by side, each compared with the newest, and the reasons for its class."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from inspector.presenters import memory_fields
from inspector.presenters.safe_text import shorten
from memoryhub.conflicts.detector.compare import CLASSES, ConflictClass, FeatureContribution, PairVerdict
from memoryhub.conflicts.groups.groups import Group, ValueSupport
from memoryhub.conflicts.groups.similar import SimilarGroup
from memoryhub.memories.records import MemoryRecord
from memoryhub.timetravel.text_diff import DiffSegment, diff_for_display

MAX_SHORTCUTS = 9
MAX_CONTENT_CHARS = 1_600
MAX_OTHER_MEMORIES = 20
MAX_PAIRS = 6
MAX_DIFF_WORDS = 300
"""Longer differences are compared by lines. The limit is low, because a page compares up to nine values."""
MAX_VALUES_IN_LIST = 3
BAR_CHART_WIDTH = 200

CLASS_DESCRIPTIONS: dict[str, str] = {
    "contradiction": "They cannot be true at once, and none of them clearly takes the place of the others.",
    "update": "A later value takes the place of an earlier one.",
    "paraphrase": "They say the same in other words, or can be true at once.",
    "duplicate": "They say the same apart from case of words, white space, closing punctuation or composition.",
    "unrelated": "They merely share a key.",
}
CLASS_TITLES: dict[str, str] = {
    "contradiction": "Contradictions",
    "update": "Updates",
    "paraphrase": "Paraphrases",
    "duplicate": "Duplicates",
    "unrelated": "Unrelated",
}
QUESTION_TEXTS = {
    "same_topic": "Do both speak of one matter?",
    "contradicts": "Are they incompatible?",
    "supersedes": "Does the later one take the place of the earlier one?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueCard:
    """One value, represented by the newest memory with it."""

    position: int
    memory: MemoryRecord
    segments: list[DiffSegment]
    other_memories: list[MemoryRecord]
    more_count: int
    memory_count: int
    sources: list[str]
    is_active: bool
    has_secrets: bool

    @property
    def shortcut(self) -> str:
        return str(self.position) if self.position <= MAX_SHORTCUTS else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureBar:
    explanation: str
    x: float
    width: float
    zero_x: float
    contribution: float

    @property
    def kind(self) -> str:
        return "for" if self.contribution > 0 else "against"

    @property
    def display_contribution(self) -> str:
        return f"{self.contribution:+.1f}".replace("-", "\u2212")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionView:
    text: str
    answer: str
    bars: list[FeatureBar]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairView:
    """The positions of two values, and the features that led to their class."""

    first_position: int
    second_position: int
    conflict_class: ConflictClass
    percent: int
    questions: list[QuestionView]


def build_explanation(group: Group) -> dict[str, Any]:
    """Return what the page of a group says about it: its values, its class and the pairs that decide the class."""
    cards = build_value_cards(group)
    pairs, more_pairs = build_pair_views(group)
    return {
        "cards": cards,
        "more_values": group.value_count - len(cards),
        "conflict_class": group.conflict_class,
        "class_description": CLASS_DESCRIPTIONS[group.conflict_class],
        "disputed_since": get_disputed_since(group),
        "pairs": pairs,
        "more_pairs": more_pairs,
        "has_secrets": any(card.has_secrets for card in cards),
    }


def build_value_cards(group: Group) -> list[ValueCard]:
    memories_by_value = [list(map(memory_fields.mask_memory, value.memories)) for value in group.values]
    contents = [memories[0]["content"] for memories in memories_by_value]
    return [
        _build_value_card(position, value, memories, _diff_against_newest(contents, position - 1))
        for position, (value, memories) in enumerate(zip(group.values, memories_by_value, strict=True), 1)
    ]


def _build_value_card(
    position: int, value: ValueSupport, memories: Sequence[MemoryRecord], segments: list[DiffSegment]
) -> ValueCard:
    return ValueCard(
        position=position,
        memory=memories[0],
        segments=segments,
        other_memories=list(memories[1 : MAX_OTHER_MEMORIES + 1]),
        more_count=len(memories[MAX_OTHER_MEMORIES + 1 :]),
        memory_count=len(value.memories),
        sources=sorted({memory["source"] for memory in memories}),
        is_active=any(memory.get("status", "active") == "active" for memory in memories),
        has_secrets=any(memory["has_secrets"] for memory in memories),
    )


def _diff_against_newest(contents: Sequence[str], index: int) -> list[DiffSegment]:
    """Mark in one content the differences to the newest one; in the newest, those to the next."""
    content = contents[index]
    unmarked_segments = [DiffSegment("equal", shorten(content, MAX_CONTENT_CHARS))]
    if index >= MAX_SHORTCUTS or len(contents) < 2:
        return unmarked_segments
    other_content = contents[0] if index else contents[1]
    segments = [
        segment
        for segment in diff_for_display(other_content, content, max_tokens=MAX_DIFF_WORDS)
        if segment.kind != "deleted"
    ]
    equal_length = sum(len(segment.text.strip()) for segment in segments if segment.kind == "equal")
    # If the texts have little in common, marks would be everywhere and not help.
    return memory_fields.truncate_segments(segments) if equal_length * 4 >= len(content) else unmarked_segments


def build_pair_views(group: Group) -> tuple[list[PairView], int]:
    """Return the pairs that decide the class, most serious first, and the number of further pairs."""
    verdicts = sorted(group.pair_verdicts, key=lambda pair: (CLASSES.index(pair[2].conflict_class), pair[0], pair[1]))
    return [_build_pair_view(*pair) for pair in verdicts[:MAX_PAIRS]], len(verdicts[MAX_PAIRS:])


def _build_pair_view(left_index: int, right_index: int, verdict: PairVerdict) -> PairView:
    features_by_question = [
        list(question_features)
        for _, question_features in groupby(verdict.features, key=lambda feature: feature.question)
    ]
    totals = [total for features in features_by_question for total in (0.0, *_accumulate_contributions(features))]
    low, high = min(totals), max(totals)
    scale = BAR_CHART_WIDTH / max(high - low, 1.0)
    return PairView(
        first_position=left_index + 1,
        second_position=right_index + 1,
        conflict_class=verdict.conflict_class,
        percent=round(verdict.confidence * 100),
        questions=[_build_question_view(features, low, scale) for features in features_by_question],
    )


def _build_question_view(features: Sequence[FeatureContribution], low: float, scale: float) -> QuestionView:
    """Build a waterfall chart: each bar starts where the previous one ended. The sign of the last end is the answer."""
    bars, previous_total = [], 0.0
    for feature, total in zip(features, _accumulate_contributions(features), strict=True):
        start = min(previous_total, total) - low
        bars.append(
            FeatureBar(
                explanation=feature.explanation,
                x=round(start * scale, 1),
                width=round(max(abs(feature.contribution) * scale, 1.0), 1),
                zero_x=round(-low * scale, 1),
                contribution=feature.contribution,
            )
        )
        previous_total = total
    return QuestionView(
        text=QUESTION_TEXTS[features[0].question], answer="yes" if previous_total >= 0 else "no", bars=bars
    )


def _accumulate_contributions(features: Iterable[FeatureContribution]) -> list[float]:
    totals: list[float] = []
    for feature in features:
        totals.append((totals[-1] if totals else 0.0) + feature.contribution)
    return totals


def build_queue_row(group: Group) -> dict[str, Any]:
    """Return a group as a row of the queue: its newest values."""
    memories = [memory_fields.mask_memory(value.memories[0]) for value in group.values[:MAX_VALUES_IN_LIST]]
    subject, collection, *namespace = group.key
    return {
        "group": group,
        "id": group.id,
        "about": {"subject": subject, "collection": collection},
        "namespace": namespace[0] if namespace else "",
        "conflict_class": group.conflict_class,
        "contents": [memory["content"] for memory in memories],
        "more_count": group.value_count - len(memories),
        "sources": sorted({memory["source"] for memory in group.members}),
        "disputed_since": get_disputed_since(group),
        "has_secrets": any(memory["has_secrets"] for memory in memories),
    }


def build_similar_row(similar_group: SimilarGroup) -> dict[str, Any]:
    """Return a group as a row of the preview of similar groups: the memories to keep, and those to retire."""
    kept_values = similar_group.group.values if similar_group.kept_value is None else [similar_group.kept_value]
    kept_memories: list[MemoryRecord] = []
    retired_memories: list[MemoryRecord] = []
    for value in similar_group.group.values:
        (kept_memories if value in kept_values else retired_memories).append(
            memory_fields.mask_memory(value.memories[0])
        )
    subject, collection, *_ = similar_group.group.key
    return {
        "id": similar_group.group.id,
        "about": {"subject": subject, "collection": collection},
        "kept_memories": kept_memories,
        "retired_memories": retired_memories,
        "keep_id": similar_group.kept_value.memories[0]["memory_id"] if similar_group.kept_value else "",
        "evidence": similar_group.group.evidence,
        "memory_count": similar_group.group.memory_count,
    }


def get_disputed_since(group: Group) -> datetime:
    """Return the event time of the first memory with the second value: since then the group disagrees."""
    value_starts: list[datetime] = sorted(
        min(memory["timestamp"] for memory in value.memories) for value in group.values
    )
    return value_starts[min(1, len(value_starts) - 1)]
