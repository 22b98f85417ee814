"""What changed between two texts, told word by word."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import Literal

WORDS = re.compile(r"\s+|\w+|[^\w\s]")
LINES = re.compile(r"[^\n]*\n|[^\n]+")
WHOLE = re.compile(r".+", re.DOTALL)
# difflib takes quadratic time, and more on repetitive texts: long texts are compared by lines, the longest as a whole.
MOST_TOKENS = 800
CONTEXT = 30

Kind = Literal["same", "gone", "new", "skipped"]


@dataclass(frozen=True, slots=True)
class Piece:
    kind: Kind
    text: str


def changed(before: str, after: str, *, most: int = MOST_TOKENS) -> list[Piece]:
    """`after` in pieces, among them what it lost. More than `most` words that differ are not looked at one by one."""
    for token in (WORDS, LINES, WHOLE):
        old, new = token.findall(before), token.findall(after)
        head = _common(old, new)
        tail = _common(old[head:][::-1], new[head:][::-1])
        old_end, new_end = len(old) - tail, len(new) - tail
        if max(old_end, new_end) - head <= most:
            break
    pieces = [
        Piece("same", "".join(new[:head])),
        *_compared(old[head:old_end], new[head:new_end]),
        Piece("same", "".join(new[new_end:])),
    ]
    return list(_merged(pieces))


def words_changed(before: str, after: str, *, most: int = MOST_TOKENS) -> list[Piece]:
    """The same for people: long unchanged stretches are told by their number of words."""
    return list(_calm(changed(before, after, most=most)))


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many tokens both begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _compared(old: Sequence[str], new: Sequence[str]) -> Iterator[Piece]:
    for tag, start, end, new_start, new_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            yield Piece("same", "".join(old[start:end]))
        else:
            yield Piece("gone", "".join(old[start:end]))
            yield Piece("new", "".join(new[new_start:new_end]))


def _merged(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Neighbouring changes as one: a lone space between two changed words belongs to the change."""
    held = [piece for piece in pieces if piece.text]
    inner = range(1, len(held) - 1)
    changed = [piece.kind != "same" or (at in inner and piece.text.isspace()) for at, piece in enumerate(held)]
    for is_change, run in groupby(zip(held, changed, strict=True), key=lambda pair: pair[1]):
        group = [piece for piece, _ in run]
        if not is_change:
            yield Piece("same", "".join(piece.text for piece in group))
            continue
        gone = "".join(piece.text for piece in group if piece.kind != "new")
        new = "".join(piece.text for piece in group if piece.kind != "gone")
        yield from (piece for piece in (Piece("gone", gone), Piece("new", new)) if piece.text)


def _calm(pieces: list[Piece]) -> Iterator[Piece]:
    for at, piece in enumerate(pieces):
        words = WORDS.findall(piece.text) if piece.kind == "same" else []
        # Words and the spaces between them; nothing precedes the first piece and nothing follows the last.
        before = 0 if at == 0 else CONTEXT
        after = 0 if at == len(pieces) - 1 else CONTEXT
        if len(pieces) == 1 or len(words) <= 3 * CONTEXT:
            yield piece
            continue
        skipped = sum(not word.isspace() for word in words[before : len(words) - after])
        yield Piece("same", "".join(words[:before]))
        yield Piece("skipped", f"{skipped:,} unchanged words")
        yield Piece("same", "".join(words[len(words) - after :]))
