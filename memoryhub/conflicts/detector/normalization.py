"""Normalization of texts for the detector: one case, and one form of each character."""

import re
import unicodedata

from memoryhub.core.canonical import COMBINING_MARKS, MAX_MARKS
from memoryhub.core.storable_text import INVISIBLE_CHARACTERS

_EXCESS_MARKS = re.compile(f"([{COMBINING_MARKS}]{{{MAX_MARKS}}})[{COMBINING_MARKS}]+")
_CHARACTER_MAP: dict[int, str | None] = {
    **dict.fromkeys(map(ord, INVISIBLE_CHARACTERS), None),
    **dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\uff07`\u00b4"), "'"),
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-"),
}


def casefold_text(text: str) -> str:
    """`text` case-folded, in compatibility form (NFKC), with plain quotes and dashes and no invisible characters."""
    if not text.isascii():
        text = _EXCESS_MARKS.sub(r"\1", text)
        # Case folding may decompose characters again, and composing may yield new capitals (The Unicode Standard,
        # D146).
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(_CHARACTER_MAP)
    return text.casefold()
