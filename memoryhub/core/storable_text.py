"""Check which texts can be stored, and fold texts for comparison."""

import unicodedata

# Format characters that a reader does not see. Search ignores them; `memory_fold` in SQL removes the same ones.
INVISIBLE_CHARACTERS = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u200b\u200c\u200d\u200e\u200f"
    "\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f"
    "\u3164\ufeff\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10))) + "".join(map(chr, range(0xE0000, 0xE0080)))
)
# Lower-case letters that share their capital with another letter: to a reader they are that letter at another position
# or in another hand (a sigma at the end of a word, a long s). Python, unlike PostgreSQL, can turn a capital sigma into
# one of them, so the capital is listed as well to make both agree. `memory_fold` in SQL maps the same letters; stored
# trigrams depend on it.
VARIANT_LETTERS = (
    "\u03a3\u03c2\u00b5\u017f\u03d0\u03d1\u03d5\u03d6\u03f0\u03f1\u03f5"
    "\u1c80\u1c81\u1c82\u1c83\u1c84\u1c85\u1c86\u1c87\u1c88\u1e9b"
)
PLAIN_LETTERS = (
    "\u03c3\u03c3\u03bcs\u03b2\u03b8\u03c6\u03c0\u03ba\u03c1\u03b5"
    "\u0432\u0434\u043e\u0441\u0442\u0442\u044a\u0463\ua64b\u1e61"
)
_FOLD_TRANSLATION: dict[int, int | None] = {
    **dict.fromkeys(map(ord, INVISIBLE_CHARACTERS)),
    **dict(zip(map(ord, VARIANT_LETTERS), map(ord, PLAIN_LETTERS), strict=True)),
}


def fold_text(text: str) -> str:
    """Fold `text` for substring search: composed (NFC), lower case, without invisible characters."""
    # Letters are replaced before composition: a long s combines with a dot above or below only as an s.
    return unicodedata.normalize("NFC", text.translate(_FOLD_TRANSLATION)).lower()


def unsearchable_reason(text: str) -> str | None:
    """Return why `text` cannot be searched for, as a sentence without its subject; None if it can.

    A text that folds to nothing would be contained in every text.
    """
    return None if fold_text(text) else "must contain a character that can be seen: all of these are invisible."


def unstorable_reason(text: str) -> str | None:
    """Return why `text` cannot be stored or read, as a sentence without its subject; None if it can."""
    if text.isascii() and "\x00" not in text:
        return None
    if "\x00" in text:
        return "must not contain the NUL character (U+0000)."
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"must not contain the lone surrogate U+{ord(text[error.start]):04X}."
    return None
