"""Normalize short texts, such as labels, so that spellings that look the same to a reader compare equal."""

import hashlib
import unicodedata

# Characters that draw nothing: default-ignorable code points (Unicode's DerivedCoreProperties), format characters (Cf),
# controls (Cc) other than white space, noncharacters, and an empty note head. Written out, not computed: stored keys
# depend on the list, and another Python version has another Unicode version.
_INVISIBLE_CODE_RANGES = (
    (0x0000, 0x0008), (0x000E, 0x001B), (0x007F, 0x0084), (0x0086, 0x009F), (0x00AD, 0x00AD), (0x034F, 0x034F),
    (0x0600, 0x0605), (0x061C, 0x061C), (0x06DD, 0x06DD), (0x070F, 0x070F), (0x0890, 0x0891), (0x08E2, 0x08E2),
    (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F),
    (0x3164, 0x3164), (0xFDD0, 0xFDEF), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB),
    (0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x13430, 0x1343F), (0x1BCA0, 0x1BCA3), (0x1D159, 0x1D159),
    (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF), *((plane << 16 | 0xFFFE, plane << 16 | 0xFFFF) for plane in range(17)),
)  # fmt: skip
INVISIBLE_CHARACTERS = "".join(
    chr(code) for first_code, last_code in _INVISIBLE_CODE_RANGES for code in range(first_code, last_code + 1)
)
# Dashes and hyphens (Pd), and characters that look like them: modifier minus, hyphen bullet, minus, heavy minus.
HYPHENS = (
    "-\u058a\u05be\u1400\u1806\u2010\u2011\u2012\u2013\u2014\u2015\u2e17\u2e1a\u2e3a\u2e3b\u2e40\u2e5d\u301c\u3030\u30a0"
    "\ufe31\ufe32\ufe58\ufe63\uff0d\U00010ead\u02d7\u2043\u2212\u2796"
)
# The Braille pattern without dots.
BRAILLE_BLANK = "\u2800"

MAX_KEY_BYTES = 765
"""A key fits into a column of as many characters, and into an entry of a GIN index (2,704 bytes)."""

_INVISIBLE_TRANSLATION = dict.fromkeys(map(ord, INVISIBLE_CHARACTERS))
_UNIFYING_TRANSLATION = {**dict.fromkeys(map(ord, HYPHENS), "-"), ord(BRAILLE_BLANK): " "}


def normalize_text(text: str) -> str:
    """Return the key that all spellings of `text` share which look the same to a reader.

    Invisible characters are removed, compatibility forms resolved (NFKC), case is folded, hyphens are unified, white
    space is trimmed and collapsed. The key is "" if nothing is left. The key of a key is itself. One character can
    expand to eighteen, so a key longer than MAX_KEY_BYTES is replaced by its beginning and its digest. Letters of other
    scripts are kept: see `memoryhub.core.confusables`.
    """
    # Invisible characters go first: between a letter and its accent they would prevent the composition.
    composed = unicodedata.normalize("NFKC", text.translate(_INVISIBLE_TRANSLATION))
    # Case folding can decompose characters again (The Unicode Standard, D146).
    casefolded = unicodedata.normalize("NFKC", composed.casefold())
    normalized = " ".join(casefolded.translate(_UNIFYING_TRANSLATION).split())
    encoded = normalized.encode("utf-8", "surrogatepass")
    if len(encoded) <= MAX_KEY_BYTES:
        return normalized
    return f"{normalized[:100]} sha256:{hashlib.sha256(encoded).hexdigest()}"
