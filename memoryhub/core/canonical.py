"""The canonical form of a value. Two values are duplicates if, and only if, their canonical forms are equal.

What makes no difference: Unicode composition (NFC), runs of white space, punctuation that closes the text, and the case
of words. Everything else is content: signs, operators, units, paths, flags, versions, emoji, compatibility forms,
punctuation inside the text, and every other difference of case. Where a mark could be either, it is content: two
spellings that are told apart cost a question, two values that are taken for one cost a value.

Digests of canonical forms are stored. Whoever changes what the form is fills them anew in a migration.
"""

import hashlib
import re
import unicodedata

# Unicode's White_Space, and the two spaces that have no width. Written out: str.split() knows four controls besides.
_SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\u200b\ufeff"
_SPACE = re.compile(f"[{_SPACES}]+")

# Sorting the marks on one letter takes CPython quadratic time. No script needs more than thirty (UAX #15, Stream-Safe
# Text Format). Three Tibetan vowels become marks only when they are decomposed.
MARKS = "".join(chr(code) for code in range(0x300, 0x1E950) if unicodedata.combining(chr(code))) + "\u0f73\u0f75\u0f81"
MAX_MARKS = 30
_TOO_MANY_MARKS = re.compile(f"[{MARKS}]{{{MAX_MARKS + 1}}}")
# The same among other characters, in few ranges: a set of nine hundred single characters is slow to look through.
_MAYBE_MARKS = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u1dff\u20d0-\u20ff\u2cef-\u2dff\u302a-\u302f\u3099\u309a\ua66f-\uabed"
    f"\ufb1e\ufe20-\ufe2f\U000101fd-\U0001e94a]{{{MAX_MARKS + 1},}}+"
)

# The question mark is none of them: a question says something else. Nor are two dots: `main..` is a range.
_FULL_STOPS = frozenset(".\u3002\uff0e\uff61\u0964\u0965\u06d4\u1362\u0589\u104b\u17d4\u1803\uff01")
_CLOSING = "".join(sorted(_FULL_STOPS)) + "!\u2026"
_OPENING_QUOTES = "(\"'\u201c\u2018\u00ab\u201e\u201a\u00bf\u00a1"
_CLOSING_QUOTES = ")\"'\u201d\u2019\u00bb\u201c\u2018"
_AFTER_WORD = _CLOSING_QUOTES + ",;:?\u3001\uff0c" + _CLOSING
_APOSTROPHES = re.compile("(?<=.)['\u2019](?=.)")

# After a number these are units, which differ by their case alone: megabytes and megabits, metres and mega, and so on.
_CASED_UNITS = {
    *(prefix + unit for prefix in ("", "k", "m", "g", "t", "p", "e") for unit in ("b", "bps", "ib")),
    *("m" + unit for unit in ("w", "wh", "v", "a", "g", "m", "s", "j", "n", "l", "t", "f", "h", "hz", "pa", "ev")),
    *("p" + unit for unit in ("a", "f", "s", "g", "j", "l", "v", "w", "h", "t")),
    *("mbar", "mmol", "nm"),
}


def canonical_form(text: str) -> str:
    """What all spellings of one value have in common. The canonical form of a form is the form itself."""
    if not text.isascii():
        text = _composed(text)
    return _with_folded_words(_without_closing(_SPACE.sub(" ", text).strip(" ")))


def canonical_digest(text: str) -> bytes:
    """SHA-256 of the canonical form: 32 bytes."""
    return hashlib.sha256(canonical_form(text).encode("utf-8", "surrogatepass")).digest()


def _composed(text: str) -> str:
    if any(_TOO_MANY_MARKS.search(run.group()) for run in _MAYBE_MARKS.finditer(text)):
        return text
    return unicodedata.normalize("NFC", text)


def _without_closing(text: str) -> str:
    base = text.rstrip(_CLOSING)
    closing = text[len(base) :]
    # A mark that stands alone names something: `git add .`, `cd ..`
    token = base.rpartition(" ")[2]
    if not closing or not token:
        return text
    if closing in _FULL_STOPS:
        return base if _may_end_a_sentence(token) else text
    if closing == "..":
        return text
    # `5!` and `n!` are numbers, and `*!` is a pattern.
    return base if token[-1] in _CLOSING_QUOTES or _is_word_of_letters(token) else text


def _may_end_a_sentence(token: str) -> bool:
    """Whether a full stop after this token is no part of it, as it is in `*.`, `../.` and `a+.`"""
    last = token[-1]
    if last.isalnum() or last in _CLOSING_QUOTES or last in "%]}`":
        return True
    if token.endswith(("++", "#")):
        return token.rstrip("+#")[-1:].isalpha()
    category = unicodedata.category(last)
    return category[0] == "M" or category in ("Sc", "So") or (category == "Sk" and not last.isascii())


def _is_word_of_letters(token: str) -> bool:
    parts = _APOSTROPHES.sub("-", token.lstrip(_OPENING_QUOTES)).split("-")
    return all(map(_is_word, parts)) and sum(map(str.isalpha, token)) > 1


def _with_folded_words(text: str) -> str:
    if "\u03c2" not in text and text == text.lower():
        return text
    is_upper = text.isupper()
    tokens = text.split(" ")
    # Most tokens are in lower case: they are what they were.
    for at, (token, lower) in enumerate(zip(text.split(" "), text.lower().split(" "), strict=True)):
        if token != lower or "\u03c2" in token:
            tokens[at] = _folded(token, is_upper=is_upper, is_after_number=at > 0 and _is_number(tokens[at - 1]))
    folded = " ".join(tokens)
    return folded if folded.isascii() else _composed(folded)


def _folded(token: str, *, is_upper: bool, is_after_number: bool) -> str:
    """A token of letters, with or without quotes and punctuation around it, in lower case; every other one as it is."""
    start, word = 0, token
    if not token.isalpha():
        start = len(token) - len(token.lstrip(_OPENING_QUOTES))
        word = token[start:].rstrip(_AFTER_WORD)
        if not word or not all(map(_is_word, _APOSTROPHES.split(word))):
            return token
    lower = word.lower()
    if is_after_number and (len(word) == 1 or lower in _CASED_UNITS):
        return token
    if not is_upper and word[1:] != word[1:].lower():
        return token
    # Of the two small sigmas one is written at the end of a word.
    return token[:start] + lower.replace("\u03c2", "\u03c3") + token[start + len(word) :]


def _is_word(part: str) -> bool:
    """Whether a text consists of letters and of the marks on them."""
    if part.isalpha():
        return True
    return part[:1].isalpha() and all(letter.isalpha() or unicodedata.category(letter)[0] == "M" for letter in part)


def _is_number(token: str) -> bool:
    return any(map(str.isdigit, token)) and not any(map(str.isalpha, token))
