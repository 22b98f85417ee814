"""A text as the detector reads it: in one case, and in one form of each character."""

import re
import unicodedata

from memoryhub.core.canonical import MARKS, MAX_MARKS
from memoryhub.memories.text import INVISIBLE

_TOO_MANY_MARKS = re.compile(f"([{MARKS}]{{{MAX_MARKS}}})[{MARKS}]+")
_LOOK: dict[int, str | None] = {
    **dict.fromkeys(map(ord, INVISIBLE), None),
    **dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\uff07`\u00b4"), "'"),
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-"),
}


def folded(text: str) -> str:
    """`text` in one case and one compatibility form (NFKC), its quotes and dashes plain, nothing invisible in it."""
    if not text.isascii():
        text = _TOO_MANY_MARKS.sub(r"\1", text)
        # Folding the case may decompose again, and composing may bring new capitals (The Unicode Standard, D146).
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(_LOOK)
    return text.casefold()
