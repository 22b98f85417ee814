"""What is left of a text without its case, spaces, punctuation and Unicode form."""

import re
import unicodedata

from memoryhub.memories.text import INVISIBLE

# Sorting the marks on one letter takes CPython quadratic time. No script needs more than thirty (UAX #15, Stream-Safe
# Text Format), so the rest is dropped. Three Tibetan vowels become marks only when they are decomposed.
_MARKS = "".join(chr(code) for code in range(0x300, 0x1E950) if unicodedata.combining(chr(code))) + "\u0f73\u0f75\u0f81"
_TOO_MANY_MARKS = re.compile(f"([{_MARKS}]{{30}})[{_MARKS}]+")

_LOOK: dict[int, str | None] = {
    **dict.fromkeys(map(ord, INVISIBLE), None),
    **dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\uff07`\u00b4"), "'"),
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-"),
}
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))", re.ASCII)
_SIGNIFICANT = re.compile(
    r"(?:(?<![^\s(\[])-)?\d+(?:[.,:]\d+)*%?"  # a number
    r"|[^\W\d_]+(?:[#+]+(?!\w))?"  # a word
    r"|[^\w\s!-/:-@\[-`{-~]|[<>=+$]"  # a symbol; punctuation beyond ASCII is sorted out by its category
)
_DIGITS = frozenset("-0123456789")
_APART = frozenset({"no", "not", "nor", "never"})


def folded(text: str) -> str:
    """`text` in one case and one compatibility form (NFKC), its quotes and dashes plain, nothing invisible in it."""
    if not text.isascii():
        text = _TOO_MANY_MARKS.sub(r"\1", text)
        # Folding the case may decompose again, and composing may bring new capitals (The Unicode Standard, D146).
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(_LOOK)
    return text.casefold()


def normalised(text: str) -> str:
    """What two duplicates have in common: their words and numbers, run together.

    Signs that change a value stay: a decimal point, a minus, a currency, `C#`. So does the gap between two numbers, and
    the one around a negation: `no table` is not `notable`.
    """
    plain = folded(text)
    words = _SIGNIFICANT.findall(_THOUSANDS.sub("", plain.replace("'", "")))
    if not plain.isascii():
        words = [word for word in words if not _is_punctuation(word)]
    kept = "".join(f" {word} " if word[0] in _DIGITS or word in _APART else word for word in words)
    return kept or " ".join(plain.split())


def _is_punctuation(word: str) -> bool:
    return len(word) == 1 and unicodedata.category(word)[0] in "PZC"
