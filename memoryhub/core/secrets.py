"""Detect and mask secrets in a text, also disguised ones.

Nothing here changes what is stored. The detector is a list of known forms: it proves nothing and misses new forms. It
runs on megabytes that anybody may write, so it takes linear time: a cheap keyword decides whether a pattern is tried at
all, and no pattern can start twice on the same stretch.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from memoryhub.core.storable_text import INVISIBLE_CHARACTERS

MASK = "••••••••"

# The beginning of a word. In a JSON document also the position after an escaped control character, such as \n, whose
# letter is not part of the text.
_WORD_START = r"(?:(?<![\w-])|(?<=\\[nrtbf])|(?<=\\u00[01][0-9a-f]))"
_LETTER_AND_DIGIT = r"(?=[\w-]*?[0-9])(?=[\w-]*?[A-Za-z])"
# (keyword that makes the pattern worth trying, pattern). The first group stays visible: it names the kind of secret and
# gives no access. A change needs a migration that computes `Memory.masked_content` again and replaces
# `memory_holds_secret`.
SECRET_PATTERNS = (
    (
        "PRIVATE KEY",
        r"(-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)(?!•)"
        r"(?:[^\"-]++|-(?!----(?:BEGIN|END) ))*+(?:-----END [A-Z0-9 ]{0,40}(?: BLOCK)?-----)?",
    ),
    ("eyJ", rf"{_WORD_START}(eyJ)[\w-]{{8,}}+\.eyJ[\w-]{{8,}}+\.[\w-]*+"),
    ("AKIA", rf"{_WORD_START}(AKIA)[0-9A-Z]{{16}}(?![\w-])"),
    ("ASIA", rf"{_WORD_START}(ASIA)[0-9A-Z]{{16}}(?![\w-])"),
    ("sk-", rf"{_WORD_START}(sk-){_LETTER_AND_DIGIT}[\w-]{{20,}}+"),
    ("_live_", rf"{_WORD_START}([spr]k_live_)[A-Za-z0-9]{{16,}}+"),
    ("_test_", rf"{_WORD_START}([spr]k_test_)[A-Za-z0-9]{{16,}}+"),
    ("gh", rf"{_WORD_START}(gh[pousr]_)[A-Za-z0-9]{{30,}}+"),
    ("github_pat_", rf"{_WORD_START}(github_pat_)\w{{22,}}+"),
    ("glpat-", rf"{_WORD_START}(glpat-)[\w-]{{20,}}+"),
    ("xox", rf"{_WORD_START}(xox[a-z]-)(?=[\w-]*?[0-9])[A-Za-z0-9-]{{10,}}+"),
    ("AIza", rf"{_WORD_START}(AIza)[\w-]{{35}}(?![\w-])"),
    ("mh_", rf"{_WORD_START}(mh_)[A-Za-z0-9]{{32,}}+"),
)
_COMPILED_SECRETS = tuple((keyword, re.compile(pattern, re.ASCII)) for keyword, pattern in SECRET_PATTERNS)


def _iter_lookalikes() -> Iterator[tuple[int, int]]:
    """Yield (code, ASCII code) of characters that stand for an ASCII one: full-width letters (NFKC), dashes, etc."""
    for code in chain(
        range(0xA0, 0x3400), range(0xF900, 0x1_0000), range(0x1_D400, 0x1_D800), range(0x1_F100, 0x1_FC00)
    ):
        ascii_letter = unicodedata.normalize("NFKC", chr(code))
        if len(ascii_letter) == 1 and ascii_letter.isascii():
            yield code, ord(ascii_letter)
    yield from dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), ord("-")).items()


_LOOKALIKE_TRANSLATION: dict[int, int | None] = dict(_iter_lookalikes()) | dict.fromkeys(
    map(ord, INVISIBLE_CHARACTERS), None
)
DISGUISE_TRANSLATIONS: tuple[Mapping[int, int | None], ...] = (
    _LOOKALIKE_TRANSLATION,
    _LOOKALIKE_TRANSLATION | {0xE0000 + code: code for code in range(0x20, 0x7F)},
)
"""The two ways to undo a disguise: remove invisible characters, or read tag characters as ASCII and remove the rest."""


def _format_ranges(codes: Iterable[int]) -> str:
    """Format code points as the inside of a bracket expression that both Python and PostgreSQL understand."""
    ranges: list[list[int]] = []
    for code in sorted(codes):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{first:08X}-\\U{last:08X}" for first, last in ranges)


DISGUISE_RANGES = _format_ranges(_LOOKALIKE_TRANSLATION)
"""The characters that can disguise a secret, as the inside of a bracket expression."""
_DISGUISE_PATTERN = re.compile(f"[{DISGUISE_RANGES}]")


def mask_secrets(text: str) -> str:
    """Replace each secret in `text` by a mask, also if invisible or full-width characters disguise it.

    A masked text is returned unchanged.
    """
    for keyword, pattern in _COMPILED_SECRETS:
        if keyword in text:
            text = pattern.sub(rf"\1{MASK}", text)
    if text.isascii() or not _DISGUISE_PATTERN.search(text):
        return text
    for translation in DISGUISE_TRANSLATIONS:
        text = _mask_disguised(text, translation)
    return text


def mask_secrets_or_none(text: str) -> str | None:
    """Return `mask_secrets(text)` as it is stored beside `text`: None if there is nothing to mask."""
    masked_text = mask_secrets(text)
    return None if masked_text == text else masked_text


def _mask_disguised(text: str, translation: Mapping[int, int | None]) -> str:
    """Mask each secret of `text` that becomes readable after `translation` has undone its disguise."""
    plain_text = text.translate(translation)
    for keyword, pattern in _COMPILED_SECRETS:
        if keyword not in plain_text or not (matches := list(pattern.finditer(plain_text))):
            continue
        # The position in the disguised text of each character of the plain text.
        positions = [position for position, letter in enumerate(text) if translation.get(ord(letter), 0) is not None]
        copied_end, parts = 0, []
        for match in matches:
            prefix_end, end = positions[match.end(1) - 1] + 1, positions[match.end() - 1] + 1
            parts += [text[copied_end:prefix_end], MASK]
            copied_end = end
        text = "".join([*parts, text[copied_end:]])
        plain_text = text.translate(translation)
    return text
