"""Parsing of a text for the detector: sentences, word stems, numbers with units, dates, negations."""

import re
from collections.abc import Set
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

from memoryhub.conflicts.detector import lexicon
from memoryhub.conflicts.detector.normalization import casefold_text

MAX_SENTENCES = 8
MAX_SHORT_VALUE_WORDS = 3
"""A value of up to so many words is a name, a state or a quantity; a longer one is prose."""

MAX_VALUE_WORDS = 12
"""An address or a path has many words, but a text with more than these is prose, or a list."""

_SENTENCE_END = re.compile(r"(?<![.!?。！？])[.!?。！？]++(?=\s|$)|[;\n。！？]+")  # noqa: RUF001  -  full-width marks are meant
# In scripts without spaces each character is a word.
_WORD = re.compile(
    r"[^\W\d\u3040-\u30ff\u3400-\u9fff]+(?:'[^\W\d_]+)?|(?:(?<![^\s(\[])-)?\d+(?:[.,:]\d+)*"
    r"|[\u3040-\u30ff\u3400-\u9fff]|[%$€£&]"
)
_WORD_OR_ADDRESS = re.compile(rf"https?://[^\s\"'<>)]+|[\w.+-]{{1,64}}@[\w-]+(?:\.\w+)*|{_WORD.pattern}")
_DIGIT = re.compile(r"\d")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))", re.ASCII)
_ORDINAL = re.compile(r"(?<=\d)(?:st|nd|rd|th)\b")
_MONTH = "|".join(sorted(lexicon.MONTHS, key=len, reverse=True))
_DATES = re.compile(
    r"\b(?P<y>\d{4})[-/.](?P<m>\d\d?)[-/.](?P<d>\d\d?)(?!\d)"
    rf"|\b(?P<m2>{_MONTH})\.? (?P<d2>\d\d?)(?!\d)(?:,? (?P<y2>\d{{4}})\b)?"
    rf"|\b(?P<d3>\d\d?)\.? (?:of )?(?P<m3>{_MONTH})\b\.?(?:,? (?P<y3>\d{{4}})\b)?"
    rf"|\b(?P<m4>{_MONTH})\.?,? (?P<y4>\d{{4}})\b",
    re.ASCII,
)
_TIMES = re.compile(
    r"(?<![\d:.])(?:(?P<h>1[0-2]|0?[1-9])(?:[:.](?P<m>[0-5]\d))? ?(?P<half>[ap])\.?m\b\.?"
    r"|(?P<h2>[01]?\d|2[0-3]):(?P<m2>[0-5]\d)\b(?!:))",
    re.ASCII,
)
_NAME = re.compile(r"(?<=[a-z,0-9] )[A-Z]\w*")
_EXACT_PREFIXES = frozenset("-0123456789")
_NUMBER_WORDS = frozenset(lexicon.NUMBERS)
UNIT_SIGNS = frozenset("%$€£&")
_LIST = re.compile(r"[,;|\n]| / | and | & ")

Date = tuple[str | None, int | None, int | None]
Number = tuple[str, str]
CLOCK = "time of day"


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    stem: str
    meaning: str
    """The stem; synonyms share the stem of one of them."""
    is_stop: bool


class Sentence:
    """The words of a sentence, with its negations, numbers and dates."""

    def __init__(
        self, text: str, words: list[Word], negations: int, numbers: frozenset[Number], dates: frozenset[Date]
    ) -> None:
        self.text = text
        self.words = words
        self.negations = negations
        self.numbers = numbers
        self.dates = dates
        self.content_words = [word for word in words if not word.is_stop]
        self.words_by_meaning = {word.meaning: word for word in self.content_words}
        # The first content word: usually the subject, which all values of a group share.
        self.leader = next(iter(self.words_by_meaning), "")

    @cached_property
    def stems(self) -> frozenset[str]:
        return frozenset(word.stem for word in self.words)

    @classmethod
    def parse(cls, text: str) -> "Sentence":
        remaining_text = text
        dates: frozenset[Date] = frozenset()
        times: frozenset[Number] = frozenset()
        has_digits = _DIGIT.search(remaining_text) is not None
        if has_digits:
            remaining_text = _ORDINAL.sub("", remaining_text)
            dates = frozenset(map(_parse_date, _DATES.finditer(remaining_text)))
            remaining_text = _DATES.sub(" ", remaining_text) if dates else remaining_text
            times = frozenset(map(_parse_time, _TIMES.finditer(remaining_text)))
            remaining_text = _TIMES.sub(" ", remaining_text) if times else remaining_text
        tokens = _tokenize(remaining_text)
        has_numbers = has_digits or not _NUMBER_WORDS.isdisjoint(tokens)
        numbers, number_indexes = _extract_numbers(tokens) if has_numbers else (frozenset[Number](), frozenset[int]())
        negation_words = lexicon.NEGATIONS & set(tokens)
        negations = (
            sum(word in negation_words for word in tokens) - _count_idle_negations(tokens) if negation_words else 0
        )
        excluded_words = negation_words | UNIT_SIGNS
        words = [
            _make_word(word)
            for index, word in enumerate(tokens)
            if word not in excluded_words and index not in number_indexes
        ]
        return cls(text, words, negations, numbers | times, dates)

    @classmethod
    def join(cls, sentences: "list[Sentence]") -> "Sentence":
        return cls(
            "",
            [word for sentence in sentences for word in sentence.words],
            sum(sentence.negations for sentence in sentences),
            frozenset().union(*(sentence.numbers for sentence in sentences)),
            frozenset().union(*(sentence.dates for sentence in sentences)),
        )


@dataclass(frozen=True)
class ParsedText:
    full_sentence: Sentence
    sentences: list[Sentence]
    names: frozenset[str]
    """Words that begin with a capital although they do not begin a sentence."""
    kind: str
    """`null`, `boolean`, `number`, `date`, `state` (one word), `phrase` (a few words), `list` or `prose`."""
    items: frozenset[str]
    """The items, if the text is a list."""

    @property
    def is_short(self) -> bool:
        return self.kind != "prose"


@lru_cache(maxsize=256)
def parse_text(text: str) -> ParsedText:
    folded_text = casefold_text(text)
    names = frozenset(map(casefold_text, _NAME.findall(text)))
    parsed_sentences = [Sentence.parse(part) for part in _SENTENCE_END.split(folded_text) if part.strip()]
    full_sentence = parsed_sentences[0] if len(parsed_sentences) == 1 else Sentence.join(parsed_sentences)
    items = frozenset[str]() if full_sentence.negations or len(parsed_sentences) > 1 else _parse_list_items(folded_text)
    return ParsedText(
        full_sentence, parsed_sentences[:MAX_SENTENCES], names, _classify_kind(folded_text, full_sentence, items), items
    )


@lru_cache(maxsize=8_192)
def _make_word(text: str) -> Word:
    word_stem = stem(text)
    return Word(text, word_stem, _MEANING_BY_STEM.get(word_stem, word_stem), text in lexicon.STOP_WORDS)


def stem(word: str) -> str:
    """A light suffix stripper after Harman, "How effective is suffixing?" (1991): strips -s, -ing, -ed and -ly."""
    if word.endswith("'s"):
        word = word[:-2]
    word = word.replace("'", "")
    word = lexicon.IRREGULAR_FORMS.get(word, word)
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes", "zes")):
        word = word[:-2]
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending, min_length in (("ing", 6), ("ied", 5), ("ed", 5), ("ly", 6)):
        if word.endswith(ending) and len(word) >= min_length:
            word = word[: -len(ending)] + ("y" if ending == "ied" else "")
            if ending in {"ing", "ed"} and len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    return word[:-1] + "i" if len(word) > 2 and word.endswith("y") else word


def _tokenize(folded_text: str) -> list[str]:
    if "'" in folded_text or "cannot" in folded_text:
        for contraction, expansion in lexicon.CONTRACTIONS.items():
            folded_text = folded_text.replace(contraction, expansion)
        folded_text = (
            folded_text.replace("n't", " not").replace("'re", " are").replace("'ve", " have").replace("'ll", " will")
        )
    folded_text = _THOUSANDS.sub("", folded_text) if "," in folded_text else folded_text
    return (_WORD_OR_ADDRESS if "@" in folded_text or "://" in folded_text else _WORD).findall(folded_text)


def _count_idle_negations(tokens: list[str]) -> int:
    """Number of negation words that do not count: `not` in `not only`, and one of `neither … nor`."""
    has_neither_nor = "neither" in tokens and "nor" in tokens
    return has_neither_nor + sum(word == "not" and next_word == "only" for word, next_word in pairwise(tokens))


def _parse_date(match: re.Match[str]) -> Date:
    date_parts = match.groupdict()
    year = date_parts["y"] or date_parts["y2"] or date_parts["y3"] or date_parts["y4"]
    month = date_parts["m"] or date_parts["m2"] or date_parts["m3"] or date_parts["m4"]
    day = date_parts["d"] or date_parts["d2"] or date_parts["d3"]
    return year, lexicon.MONTHS.get(month) or int(month), int(day) if day else None


def _parse_time(match: re.Match[str]) -> Number:
    """A time of day as a number: minutes since midnight."""
    time_parts = match.groupdict()
    hour, minute = int(time_parts["h"] or time_parts["h2"]), int(time_parts["m"] or time_parts["m2"] or 0)
    if time_parts["half"]:
        hour = hour % 12 + 12 * (time_parts["half"] == "p")
    return CLOCK, str(60 * hour + minute)


def _extract_numbers(tokens: list[str]) -> tuple[frozenset[Number], Set[int]]:
    """Each number as (dimension, amount in base units), and the indexes of the tokens that form the numbers."""
    numbers: set[Number] = set()
    number_indexes: set[int] = set()
    for index, token in enumerate(tokens):
        amount = None if index in number_indexes else _parse_amount(token)
        if amount is None:
            if _is_exact(token) and index not in number_indexes:
                # A version or an address is no amount, but identifies one thing as exactly as a number does.
                numbers.add(("", token))
                number_indexes.add(index)
            continue
        end = index + 1
        is_money = index > 0 and tokens[index - 1] in UNIT_SIGNS
        while end < len(tokens) and (scale := _scale_factor(tokens[end], is_money=is_money)) >= 100:
            amount *= scale
            end += 1
        unit = tokens[index - 1] if is_money else tokens[end] if end < len(tokens) else ""
        dimension, size = lexicon.UNITS.get(unit, ("", 1))
        numbers.add((dimension, f"{amount * size:.9g}"))
        number_indexes.update(range(index, end + (bool(dimension) and not is_money)))
    return frozenset(numbers), number_indexes


def _scale_factor(word: str, *, is_money: bool) -> float:
    scales = lexicon.MONEY_SCALES if is_money else lexicon.SCALES
    return scales.get(word) or lexicon.NUMBERS.get(word, 0)


def _is_exact(word: str) -> bool:
    return word[0] in _EXACT_PREFIXES or word[0].isdigit()


def _parse_amount(word: str) -> float | None:
    if not _is_exact(word):
        return lexicon.NUMBERS.get(word)
    try:
        return float(word[:40].replace(":", "."))
    except ValueError:
        return None


def _parse_list_items(folded_text: str) -> frozenset[str]:
    parts = [part.strip(" -*[]()\"'") for part in _LIST.split(folded_text)]
    max_words = MAX_SHORT_VALUE_WORDS if any(separator in folded_text for separator in ",;|\n") else 2
    if len(parts) < 2 or folded_text.rstrip().endswith(".") or any(len(part.split()) > max_words for part in parts):
        return frozenset()
    return frozenset(part for part in parts if part)


def _classify_kind(folded_text: str, full_sentence: Sentence, items: frozenset[str]) -> str:
    if len(full_sentence.words) > MAX_VALUE_WORDS and not items:
        return "prose"
    bare_text = " ".join(_WORD_OR_ADDRESS.findall(folded_text))
    if bare_text in lexicon.NULL_WORDS or not folded_text.strip(" -.()"):
        return "null"
    if bare_text in lexicon.BOOLEAN_WORDS:
        return "boolean"
    word_count = bare_text.count(" ") + 1
    if word_count > 2 and (
        folded_text.rstrip().endswith((".", "!", "?"))
        or any(word.text in lexicon.SENTENCE_VERBS for word in full_sentence.words)
    ):
        return "prose"
    if full_sentence.dates and len(full_sentence.words) <= 1:
        return "date"
    if full_sentence.numbers and len(full_sentence.content_words) <= 1 and word_count <= MAX_SHORT_VALUE_WORDS:
        return "number"
    if len(items) > 1:
        return "list"
    if len(folded_text.split()) == 1 and (folded_text.isascii() or word_count <= 6):
        return "state"
    return "phrase" if word_count <= MAX_SHORT_VALUE_WORDS else "prose"


_MEANING_BY_STEM = {stem(word): stem(synonym) for word, synonym in lexicon.SYNONYMS.items()}
