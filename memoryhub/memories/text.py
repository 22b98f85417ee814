"""Which texts may be stored, and how they are folded for comparison."""

import unicodedata

# Format characters that a reader does not see. Search looks through them; `memory_fold` in SQL strips the same ones.
INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u200b\u200c\u200d\u200e\u200f"
    "\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f"
    "\u3164\ufeff\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10))) + "".join(map(chr, range(0xE0000, 0xE0080)))
)
_STRIP = dict.fromkeys(map(ord, INVISIBLE))


def fold(text: str) -> str:
    """`text` as substring search compares it: composed, lower case, without invisible characters."""
    return unicodedata.normalize("NFC", text.translate(_STRIP)).lower()


def why_not_storable(text: str) -> str | None:
    """The reason why PostgreSQL or a reader could not hold this text, as a sentence; None if it can be stored."""
    if text.isascii() and "\x00" not in text:
        return None
    if "\x00" in text:
        return "must not contain the NUL character (U+0000)."
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"must not contain the lone surrogate U+{ord(text[error.start]):04X}."
    return None
