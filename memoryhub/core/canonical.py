"""The canonical form of a text: two values are duplicates if and only if their canonical forms are equal.

The canonical form ignores Unicode composition (NFC), runs of white space, closing punctuation and the case of words.
Everything else is content: signs, operators, units, paths, flags, versions, emoji, compatibility forms, punctuation
inside the text, and every other difference of case. A mark that could be either counts as content: two spellings of one
value that are kept apart cost a curator one question, two different values that are merged cost one of the values.

Digests of canonical forms are stored, so a change of the canonical form needs a migration that computes them again.
"""

import hashlib
import re
import unicodedata

# Unicode's White_Space and the two zero-width spaces. Written out, because str.split() also splits at four control
# characters.
_SPACE_CHARACTERS = "\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\u200b\ufeff"
_SPACE_RUN = re.compile(f"[{_SPACE_CHARACTERS}]+")

# CPython sorts the combining marks of one letter in quadratic time. No script needs more than thirty (UAX #15,
# Stream-Safe Text Format). Three Tibetan vowels are listed because they become marks only when they are decomposed.
COMBINING_MARKS = (
    "".join(chr(code) for code in range(0x300, 0x1E950) if unicodedata.combining(chr(code))) + "\u0f73\u0f75\u0f81"
)
MAX_MARKS = 30
_TOO_MANY_MARKS = re.compile(f"[{COMBINING_MARKS}]{{{MAX_MARKS + 1}}}")
# A superset of COMBINING_MARKS in few ranges: a character class of nine hundred single characters is slow to search
# for.
_POSSIBLE_MARKS = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u1dff\u20d0-\u20ff\u2cef-\u2dff\u302a-\u302f\u3099\u309a\ua66f-\uabed"
    f"\ufb1e\ufe20-\ufe2f\U000101fd-\U0001e94a]{{{MAX_MARKS + 1},}}+"
)

# Without the question mark: a question is another value than the statement. Without two dots: `main..` is a range.
_FULL_STOPS = frozenset(".\u3002\uff0e\uff61\u0964\u0965\u06d4\u1362\u0589\u104b\u17d4\u1803\uff01")
_CLOSING_PUNCTUATION = "".join(sorted(_FULL_STOPS)) + "!\u2026"
_OPENING_QUOTES = "(\"'\u201c\u2018\u00ab\u201e\u201a\u00bf\u00a1"
_CLOSING_QUOTES = ")\"'\u201d\u2019\u00bb\u201c\u2018"
_TRAILING_PUNCTUATION = _CLOSING_QUOTES + ",;:?\u3001\uff0c" + _CLOSING_PUNCTUATION
_APOSTROPHES = re.compile("(?<=.)['\u2019](?=.)")

# After a number these are units that differ by case alone: megabytes and megabits, meters and mega, and so on.
_CASED_UNITS = {
    *(prefix + unit for prefix in ("", "k", "m", "g", "t", "p", "e") for unit in ("b", "bps", "ib")),
    *("m" + unit for unit in ("w", "wh", "v", "a", "g", "m", "s", "j", "n", "l", "t", "f", "h", "hz", "pa", "ev")),
    *("p" + unit for unit in ("a", "f", "s", "g", "j", "l", "v", "w", "h", "t")),
    *("mbar", "mmol", "nm"),
}


def canonicalize_text(text: str) -> str:
    """Return the form that all spellings of one value share. The canonical form of a canonical form is itself."""
    if not text.isascii():
        text = _compose_marks(text)
    return _fold_words(_strip_closing_punctuation(_SPACE_RUN.sub(" ", text).strip(" ")))


def compute_canonical_digest(text: str) -> bytes:
    """Return the SHA-256 of the canonical form: 32 bytes."""
    return hashlib.sha256(canonicalize_text(text).encode("utf-8", "surrogatepass")).digest()


def _compose_marks(text: str) -> str:
    if any(_TOO_MANY_MARKS.search(run.group()) for run in _POSSIBLE_MARKS.finditer(text)):
        return text
    return unicodedata.normalize("NFC", text)


def _strip_closing_punctuation(text: str) -> str:
    body = text.rstrip(_CLOSING_PUNCTUATION)
    closing = text[len(body) :]
    # Punctuation that stands alone is a name: `git add .`, `cd ..`
    token = body.rpartition(" ")[2]
    if not closing or not token:
        return text
    if closing in _FULL_STOPS:
        return body if _can_end_sentence(token) else text
    if closing == "..":
        return text
    # `5!` and `n!` are numbers, and `*!` is a pattern.
    return body if token[-1] in _CLOSING_QUOTES or _is_alphabetic_word(token) else text


def _can_end_sentence(token: str) -> bool:
    """Whether a full stop after `token` ends a sentence. In `*.`, `../.` and `a+.` it is part of the token."""
    last_character = token[-1]
    if last_character.isalnum() or last_character in _CLOSING_QUOTES or last_character in "%]}`":
        return True
    if token.endswith(("++", "#")):
        return token.rstrip("+#")[-1:].isalpha()
    category = unicodedata.category(last_character)
    return category[0] == "M" or category in ("Sc", "So") or (category == "Sk" and not last_character.isascii())


def _is_alphabetic_word(token: str) -> bool:
    parts = _APOSTROPHES.sub("-", token.lstrip(_OPENING_QUOTES)).split("-")
    return all(map(_is_word, parts)) and sum(map(str.isalpha, token)) > 1


def _fold_words(text: str) -> str:
    if "\u03c2" not in text and text == text.lower():
        return text
    is_upper = text.isupper()
    tokens = text.split(" ")
    # Most tokens are in lower case already and need no work.
    for index, (token, lowercase_token) in enumerate(zip(text.split(" "), text.lower().split(" "), strict=True)):
        if token != lowercase_token or "\u03c2" in token:
            tokens[index] = _fold_token(
                token, is_upper=is_upper, is_after_number=index > 0 and _is_number(tokens[index - 1])
            )
    folded_text = " ".join(tokens)
    return folded_text if folded_text.isascii() else _compose_marks(folded_text)


def _fold_token(token: str, *, is_upper: bool, is_after_number: bool) -> str:
    """Return a token of letters, also within quotes and punctuation, in lower case; any other token unchanged."""
    start, word = 0, token
    if not token.isalpha():
        start = len(token) - len(token.lstrip(_OPENING_QUOTES))
        word = token[start:].rstrip(_TRAILING_PUNCTUATION)
        if not word or not all(map(_is_word, _APOSTROPHES.split(word))):
            return token
    lowercase_word = word.lower()
    if is_after_number and (len(word) == 1 or lowercase_word in _CASED_UNITS):
        return token
    if not is_upper and word[1:] != word[1:].lower():
        return token
    # The second form of the small sigma, for the end of a word, becomes the ordinary one.
    return token[:start] + lowercase_word.replace("\u03c2", "\u03c3") + token[start + len(word) :]


def _is_word(part: str) -> bool:
    """Whether `part` consists of letters and the combining marks on them."""
    if part.isalpha():
        return True
    return part[:1].isalpha() and all(letter.isalpha() or unicodedata.category(letter)[0] == "M" for letter in part)


def _is_number(token: str) -> bool:
    return any(map(str.isdigit, token)) and not any(map(str.isalpha, token))
