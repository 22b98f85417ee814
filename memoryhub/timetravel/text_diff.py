"""Word-by-word differences between two texts."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import Literal

WORD_PATTERN = re.compile(r"\s+|\w+|[^\w\s]")
LINE_PATTERN = re.compile(r"[^\n]*\n|[^\n]+")
WHOLE_PATTERN = re.compile(r".+", re.DOTALL)
# difflib takes quadratic time, and more on repetitive texts. So long texts are compared by lines, the longest as a
# whole.
MAX_TOKENS = 800
CONTEXT_TOKENS = 30

SegmentKind = Literal["equal", "deleted", "inserted", "elided"]


@dataclass(frozen=True, slots=True)
class DiffSegment:
    kind: SegmentKind
    text: str


def diff_words(before: str, after: str, *, max_tokens: int = MAX_TOKENS) -> list[DiffSegment]:
    """Segments of `after`, with the deleted parts of `before` among them.

    If more than `max_tokens` words differ, lines are compared instead, or the texts as a whole.
    """
    for pattern in (WORD_PATTERN, LINE_PATTERN, WHOLE_PATTERN):
        old_tokens, new_tokens = pattern.findall(before), pattern.findall(after)
        prefix_length = _common_prefix_length(old_tokens, new_tokens)
        suffix_length = _common_prefix_length(old_tokens[prefix_length:][::-1], new_tokens[prefix_length:][::-1])
        old_end, new_end = len(old_tokens) - suffix_length, len(new_tokens) - suffix_length
        if max(old_end, new_end) - prefix_length <= max_tokens:
            break
    segments = [
        DiffSegment("equal", "".join(new_tokens[:prefix_length])),
        *_compare_tokens(old_tokens[prefix_length:old_end], new_tokens[prefix_length:new_end]),
        DiffSegment("equal", "".join(new_tokens[new_end:])),
    ]
    return list(_merge_segments(segments))


def diff_for_display(before: str, after: str, *, max_tokens: int = MAX_TOKENS) -> list[DiffSegment]:
    """Like `diff_words`, but with long unchanged stretches replaced by their number of words."""
    return list(_elide_unchanged(diff_words(before, after, max_tokens=max_tokens)))


def _common_prefix_length(left_tokens: Sequence[str], right_tokens: Sequence[str]) -> int:
    """Number of equal tokens at the beginning."""
    return next(
        (
            index
            for index, (left_token, right_token) in enumerate(zip(left_tokens, right_tokens, strict=False))
            if left_token != right_token
        ),
        min(len(left_tokens), len(right_tokens)),
    )


def _compare_tokens(old_tokens: Sequence[str], new_tokens: Sequence[str]) -> Iterator[DiffSegment]:
    for tag, start, end, new_start, new_end in SequenceMatcher(
        None, old_tokens, new_tokens, autojunk=False
    ).get_opcodes():
        if tag == "equal":
            yield DiffSegment("equal", "".join(old_tokens[start:end]))
        else:
            yield DiffSegment("deleted", "".join(old_tokens[start:end]))
            yield DiffSegment("inserted", "".join(new_tokens[new_start:new_end]))


def _merge_segments(segments: Iterable[DiffSegment]) -> Iterator[DiffSegment]:
    """Merge neighbouring changes: a lone space between two changed words belongs to the change."""
    nonempty_segments = [segment for segment in segments if segment.text]
    inner = range(1, len(nonempty_segments) - 1)
    change_flags = [
        segment.kind != "equal" or (index in inner and segment.text.isspace())
        for index, segment in enumerate(nonempty_segments)
    ]
    for is_change, flagged_segments in groupby(
        zip(nonempty_segments, change_flags, strict=True), key=lambda pair: pair[1]
    ):
        run_segments = [segment for segment, _ in flagged_segments]
        if not is_change:
            yield DiffSegment("equal", "".join(segment.text for segment in run_segments))
            continue
        deleted_text = "".join(segment.text for segment in run_segments if segment.kind != "inserted")
        inserted_text = "".join(segment.text for segment in run_segments if segment.kind != "deleted")
        yield from (
            segment
            for segment in (DiffSegment("deleted", deleted_text), DiffSegment("inserted", inserted_text))
            if segment.text
        )


def _elide_unchanged(segments: list[DiffSegment]) -> Iterator[DiffSegment]:
    for index, segment in enumerate(segments):
        words = WORD_PATTERN.findall(segment.text) if segment.kind == "equal" else []
        # The first segment needs no context before it, and the last one none after it.
        leading_count = 0 if index == 0 else CONTEXT_TOKENS
        trailing_count = 0 if index == len(segments) - 1 else CONTEXT_TOKENS
        if len(segments) == 1 or len(words) <= 3 * CONTEXT_TOKENS:
            yield segment
            continue
        elided_count = sum(not word.isspace() for word in words[leading_count : len(words) - trailing_count])
        yield DiffSegment("equal", "".join(words[:leading_count]))
        yield DiffSegment("elided", f"{elided_count:,} unchanged words")
        yield DiffSegment("equal", "".join(words[len(words) - trailing_count :]))
