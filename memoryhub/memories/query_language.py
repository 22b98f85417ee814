"""The query language of the search box, the API's `q` and the command line. Every text has a reading.

- `ada paris`: both words, in any order. Case, accents and apostrophes do not matter.
- `"lives in"`: a phrase. So is a part of several words without a space, such as `foo-bar`. A quotation mark counts at
  the beginning of a part; without a second one, all that follows is quoted. `\\"` is a quotation mark within a phrase.
- `contains:a.b`, `contains:"a  b"`: literal text. Words of scripts without spaces between words, and parts of symbols,
  are read as literal text, too.
- `subject:ada`: a filter. `subject:ada,bob` takes any of the values, `subject:"a, b"` one with a comma or a space,
  `subject:customer:*` those with a beginning, `subject:\\*` an asterisk, `subject:none` and `subject:""` no value.
- `after:2026-03-01`, `before:7d`: instants, also so long before now: min (minutes), h, d, w, m (months), y.
- `-paris`, `-"lives in"`, `-subject:ada`, `-contains:x`: the same, excluded. `--x` is the word x.

What looks like a filter and is none, such as `user:ada` or `tier:unknown`, is read as the words of its text.
"""

import re
import unicodedata
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from memoryhub.core.storable_text import fold_text
from memoryhub.core.words import holds_unspaced_letters, split_words

MAX_WORDS = 100
"""Maximum number of words of a query that are searched for. A literal text counts as one."""
FIELD_ALIASES = {"before": "to", "after": "from", "is": "status", "actor": "actor_id", "id": "payload_id"}
INSTANT_FIELDS = frozenset({"from", "to", "as_of", "known_at"})
CONTAINS, NO_VALUE, WILDCARD, ESCAPED_WILDCARD = "contains", "none", "*", "\\*"

# Straight, typographic, Swiss and full-width quotation marks: any of them ends what any of them began.
_QUOTES = '"\u201c\u201d\u201e\u201f\u00ab\u00bb\u301d\u301e\u301f\uff02'
_MINUS, _COLON = "\\-\u2212\uff0d", "[:\uff1a]"
_QUOTED = f"[{_QUOTES}](?:[^{_QUOTES}\\\\]|\\\\[{_QUOTES}]?)*+[{_QUOTES}]?"
_VALUE = f"(?:{_QUOTED}|[^\\s,{_QUOTES}][^\\s,]*+)"
_PART = re.compile(
    f"(?P<minus>[{_MINUS}](?=[^\\s{_MINUS}]))?"
    f"(?P<text>(?i:{CONTAINS}){_COLON}(?P<literal>{_QUOTED}|\\S++)"
    # The scheme of an address is no field.
    f"|(?P<name>[A-Za-z][A-Za-z0-9_]++){_COLON}(?!//)(?P<values>{_VALUE}?(?:,{_VALUE}?)*+)"
    f"|(?P<quoted>{_QUOTED})|\\S++)"
)
_VALUES = re.compile(_VALUE)
_ESCAPED_QUOTE = re.compile(f"\\\\([{_QUOTES}])")
_UNSTORABLE = re.compile("[\\x00\\ud800-\\udfff]")
_RELATIVE_INSTANT = re.compile("([0-9]{1,6})(min|h|d|w|m|y)")
_INSTANT_DESCRIPTIONS = {
    "from": "event time {} or later",
    "to": "event time before {}",
    "as_of": "as of {}",
    "known_at": "as known at {}",
}
_UNITS = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}

Accepts = Callable[[str, str, bool], bool]
"""Whether the filter of this name takes this value, included (False) or excluded (True). False for an unknown name."""


class TermKind(StrEnum):
    WORDS = "words"
    LITERAL = "literal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """Words that a content must have, adjacent and in this order, or a text that it must contain; or must not."""

    kind: TermKind
    text: str
    is_excluded: bool = False
    is_explicit: bool = False
    """It was written in quotes or with `contains:`: every result of a search has it."""

    @property
    def words(self) -> list[str]:
        return split_words(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldTerm:
    """A filter: the name of its parameter and the values, any of which it takes, as the parameter takes them."""

    name: str
    values: tuple[str, ...]
    is_excluded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedQuery:
    """How a text was read: a memory must match all terms and all filters."""

    terms: tuple[Term, ...] = ()
    field_terms: tuple[FieldTerm, ...] = ()
    rejected_fields: tuple[str, ...] = ()
    """What looks like a filter and was read as words."""
    ignored: tuple[str, ...] = ()
    """Parts that carry nothing, such as lone punctuation."""
    surplus_word_count: int = 0
    """How many words after the first MAX_WORDS were ignored."""


def parse_query(text: str, *, accepts: Accepts, now: datetime) -> ParsedQuery:
    """Read `text`. `now` is the instant, with a zone, to which relative instants refer."""
    parser = _Parser(accepts=accepts, now=now)
    # No content has characters that cannot be stored.
    for part in _PART.finditer(_UNSTORABLE.sub(" ", text)):
        parser.read(part)
    return ParsedQuery(
        terms=tuple(parser.terms.values()),
        field_terms=tuple(dict.fromkeys(parser.field_terms)),
        rejected_fields=tuple(dict.fromkeys(parser.rejected_fields)),
        ignored=tuple(dict.fromkeys(parser.ignored)),
        surplus_word_count=parser.surplus_word_count,
    )


@dataclass(slots=True, kw_only=True)
class _Parser:
    accepts: Accepts
    now: datetime
    terms: dict[tuple[object, ...], Term] = field(default_factory=dict)
    """By what they search for: the same term is searched for once."""
    field_terms: list[FieldTerm] = field(default_factory=list)
    rejected_fields: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    word_count: int = 0
    surplus_word_count: int = 0

    def read(self, part: re.Match[str]) -> None:
        is_excluded = part["minus"] is not None
        if part["literal"] is not None:
            self._add_literal(_unquote(part["literal"]), part, is_excluded=is_excluded, is_explicit=True)
        elif part["quoted"] is not None:
            self._add_words(_unquote(part["quoted"]), part, is_excluded=is_excluded)
        elif part["name"] is None or not self._add_field(part, is_excluded=is_excluded):
            self._add_words(part["text"], part, is_excluded=is_excluded)

    def _add_field(self, part: re.Match[str], *, is_excluded: bool) -> bool:
        """Add the filter in `part`; False if it is none."""
        name = part["name"].lower()
        name = FIELD_ALIASES.get(name, name)
        sent_values = [value for value in _VALUES.findall(part["values"]) if not _is_begun(value)]
        if not sent_values:
            return False
        values = [self._read_value(name, sent_value, is_excluded=is_excluded) for sent_value in sent_values]
        accepted_values = tuple(dict.fromkeys(value for value in values if value is not None))
        if None in values or (name in INSTANT_FIELDS and len(accepted_values) > 1):
            self.rejected_fields.append(part["text"])
            return False
        self.field_terms.append(FieldTerm(name=name, values=accepted_values, is_excluded=is_excluded))
        return True

    def _read_value(self, name: str, sent_value: str, *, is_excluded: bool) -> str | None:
        """Return the value that the filter is sent; None if it does not take it."""
        value = _unquote(sent_value)
        if sent_value == NO_VALUE:
            value = ""
        elif name in INSTANT_FIELDS:
            value = _resolve_instant(value, self.now)
        # The values of a filter with a few choices are in lower case.
        return next((case for case in (value, value.lower()) if self.accepts(name, case, is_excluded)), None)

    def _add_words(self, text: str, part: re.Match[str], *, is_excluded: bool) -> None:
        words = split_words(text)
        if not words:
            # Punctuation is searched for if it is quoted, an emoji always.
            is_literal = part["quoted"] is not None or any(map(_is_symbol, text))
            self._add_literal(text if is_literal else "", part, is_excluded=is_excluded)
        elif holds_unspaced_letters(text):
            self._add_literal(_strip_punctuation(text), part, is_excluded=is_excluded)
        else:
            is_quoted = part["quoted"] is not None
            text = _strip_punctuation(text)
            term = Term(kind=TermKind.WORDS, text=text, is_excluded=is_excluded, is_explicit=is_quoted)
            self._add_term(term, words)

    def _add_literal(self, text: str, part: re.Match[str], *, is_excluded: bool, is_explicit: bool = False) -> None:
        folded_text = fold_text(text)
        if folded_text.strip():
            term = Term(kind=TermKind.LITERAL, text=text, is_excluded=is_excluded, is_explicit=is_explicit)
            self._add_term(term, [folded_text])
        elif fold_text(part[0]):
            self.ignored.append(part[0])

    def _add_term(self, term: Term, words: list[str]) -> None:
        """Add `term` unless there is the same, as far as its words may be used."""
        if (key := (term.kind, term.is_excluded, *words)) in self.terms:
            return
        used_words = words[: MAX_WORDS - self.word_count]
        if len(used_words) < len(words):
            # A text that has a phrase has its beginning, too. A text without the phrase may have it.
            used_words = [] if term.is_excluded else used_words
            term = replace(term, text=" ".join(used_words))
        if used_words:
            self.terms[key] = term
        self.word_count += len(used_words)
        self.surplus_word_count += len(words) - len(used_words)


def _unquote(text: str) -> str:
    """Return a value or a phrase without the quotation marks around it."""
    if text[0] not in _QUOTES:
        return text
    return _ESCAPED_QUOTE.sub(r"\1", text[1:-1] if _is_closed(text) else text[1:])


def _is_closed(quoted_text: str) -> bool:
    return len(quoted_text) > 1 and quoted_text[-1] in _QUOTES and quoted_text[-2] != "\\"


def _is_begun(value: str) -> bool:
    """Whether of `value` no more than a quotation mark has been typed."""
    return value[0] in _QUOTES and not _is_closed(value) and not value[1:].strip()


def _resolve_instant(value: str, now: datetime) -> str:
    """Return the instant, to the second, that lies as long before `now` as `value` says; or `value` as it is."""
    match = _RELATIVE_INSTANT.fullmatch(value.lower())
    if match is None:
        return value
    count, unit = int(match[1]), match[2]
    try:
        if unit in _UNITS:
            instant = now - count * _UNITS[unit]
        else:
            instant = _subtract_months(now, count if unit == "m" else 12 * count)
        return f"{instant.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat()}Z"
    except (OverflowError, ValueError):
        # Before the year 1.
        return value


def _subtract_months(instant: datetime, count: int) -> datetime:
    """Return the same day `count` months before, or the last day of that month if it is shorter."""
    year, month = divmod(instant.year * 12 + instant.month - 1 - count, 12)
    last_day = monthrange(year, month + 1)[1]
    return instant.replace(year=year, month=month + 1, day=min(instant.day, last_day))


def _is_symbol(character: str) -> bool:
    """Whether `character` is a symbol such as an arrow or an emoji, and not on every keyboard."""
    is_symbol = unicodedata.category(character) in ("Sc", "Sm", "So")
    return is_symbol and not character.isascii() and character not in _MINUS


def _strip_punctuation(text: str) -> str:
    """Return `text`, which has a word, from its first to its last character that belongs to one."""
    start, end = 0, len(text)
    while _is_punctuation(text[start]):
        start += 1
    while _is_punctuation(text[end - 1]):
        end -= 1
    return text[start:end]


@lru_cache(maxsize=1_000)
def _is_punctuation(character: str) -> bool:
    # An accent is no word of its own but belongs to the letter before it.
    return unicodedata.category(character)[0] != "M" and not split_words(character)


def describe_query(parsed: ParsedQuery) -> str:
    """Return in plain English how a text was read."""
    conditions = _describe_terms([term for term in parsed.terms if not term.is_excluded], "the ")
    conditions += _describe_terms([term for term in parsed.terms if term.is_excluded], "without the ")
    conditions += map(_describe_field_term, parsed.field_terms)
    sentences = [f"All of: {'; '.join(conditions)}." if conditions else "Every memory."]
    if parsed.rejected_fields:
        sentences.append(f"Not a filter, and read as words: {' '.join(parsed.rejected_fields)}")
    if parsed.ignored:
        sentences.append(f"Ignored: {' '.join(parsed.ignored)}")
    if parsed.surplus_word_count:
        sentences.append(f"Ignored after the first {MAX_WORDS} words: {parsed.surplus_word_count:,} more.")
    return " ".join(sentences)


def _describe_terms(terms: list[Term], article: str) -> list[str]:
    conditions = []
    for term in terms:
        noun = "text" if term.kind == TermKind.LITERAL else "phrase" if term.words[1:] else "word"
        conditions.append(f"{article}{noun} {term.text}" if noun == "word" else f'{article}{noun} "{term.text}"')
    return conditions


def _describe_field_term(field_term: FieldTerm) -> str:
    name, is_excluded = field_term.name, field_term.is_excluded
    if name in _INSTANT_DESCRIPTIONS and not is_excluded:
        return _INSTANT_DESCRIPTIONS[name].format(field_term.values[0])
    values = [_describe_value(value) for value in field_term.values]
    if name == "has":
        return f"{'does not have' if is_excluded else 'has'} {' or '.join(values)}"
    verb = f"{name.replace('_', ' ')} is"
    if is_excluded:
        return f"{verb} neither {' nor '.join(values)}" if values[1:] else f"{verb} not {values[0]}"
    return f"{verb} {' or '.join(values)}"


def _describe_value(value: str) -> str:
    if value.endswith(ESCAPED_WILDCARD):
        return value.removesuffix(ESCAPED_WILDCARD) + WILDCARD
    if value.endswith(WILDCARD):
        return f"anything that begins with {beginning}" if (beginning := value.removesuffix(WILDCARD)) else "anything"
    return value or "empty"
