"""The form in which two short texts are compared as people read them."""

import hashlib
import unicodedata

# What draws nothing: default-ignorable code points (Unicode's DerivedCoreProperties), format characters (Cf), controls
# (Cc) that are no white space, noncharacters, and a note head that is empty. Written out, not computed: stored keys
# depend on it, and another Python knows another Unicode.
_INVISIBLE_RANGES = (
    (0x0000, 0x0008), (0x000E, 0x001B), (0x007F, 0x0084), (0x0086, 0x009F), (0x00AD, 0x00AD), (0x034F, 0x034F),
    (0x0600, 0x0605), (0x061C, 0x061C), (0x06DD, 0x06DD), (0x070F, 0x070F), (0x0890, 0x0891), (0x08E2, 0x08E2),
    (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F),
    (0x3164, 0x3164), (0xFDD0, 0xFDEF), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB),
    (0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x13430, 0x1343F), (0x1BCA0, 0x1BCA3), (0x1D159, 0x1D159),
    (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF), *((plane << 16 | 0xFFFE, plane << 16 | 0xFFFF) for plane in range(17)),
)  # fmt: skip
INVISIBLE = "".join(chr(code) for first, last in _INVISIBLE_RANGES for code in range(first, last + 1))
# Dashes and hyphens (Pd), and what looks like them: modifier minus, hyphen bullet, minus, heavy minus.
HYPHENS = (
    "-\u058a\u05be\u1400\u1806\u2010\u2011\u2012\u2013\u2014\u2015\u2e17\u2e1a\u2e3a\u2e3b\u2e40\u2e5d\u301c\u3030\u30a0"
    "\ufe31\ufe32\ufe58\ufe63\uff0d\U00010ead\u02d7\u2043\u2212\u2796"
)
# Braille without a dot.
BLANK = "\u2800"

MAX_KEY_BYTES = 765
"""A key fits into a column of so many characters, and into an entry of a GIN index (2,704 bytes)."""

_REMOVE_INVISIBLE = dict.fromkeys(map(ord, INVISIBLE))
_UNIFY = {**dict.fromkeys(map(ord, HYPHENS), "-"), ord(BLANK): " "}


def comparison_key(text: str) -> str:
    """What all spellings of `text` have in common that a reader takes for the same.

    No invisible characters, compatibility forms resolved (NFKC), casefolded, one kind of hyphen, white space trimmed
    and collapsed. "" if nothing is left. A key is its own key; one that would be longer than MAX_KEY_BYTES, for one
    character can stand for eighteen, is its beginning and its digest. Letters of other scripts stay what they are:
    see `memoryhub.core.scripts`.
    """
    # Invisible characters go first: between a letter and its accent they keep the two from being composed.
    composed = unicodedata.normalize("NFKC", text.translate(_REMOVE_INVISIBLE))
    # Folding the case may decompose again (The Unicode Standard, D146).
    folded = unicodedata.normalize("NFKC", composed.casefold())
    key = " ".join(folded.translate(_UNIFY).split())
    encoded = key.encode("utf-8", "surrogatepass")
    if len(encoded) <= MAX_KEY_BYTES:
        return key
    return f"{key[:100]} sha256:{hashlib.sha256(encoded).hexdigest()}"
