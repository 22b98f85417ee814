"""One text as the detector reads it: sentences, words by their stems, numbers with units, dates, negations."""

import re
from collections.abc import Set
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

from memoryhub.conflicts import lexicon
from memoryhub.conflicts.normalise import folded

MOST_SENTENCES = 8
SHORT_WORDS = 3
"""A value of so many words is a name, a state or a quantity; a longer one is prose."""

MOST_WORDS_OF_A_VALUE = 12
"""An address or a path has many words, but more than these are prose, or a list."""

_SENTENCE_END = re.compile(r"(?<![.!?。！？])[.!?。！？]++(?=\s|$)|[;\n。！？]+")  # noqa: RUF001  -  full-width marks are meant
# Of scripts without spaces a word is a sign.
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
_EXACT = frozenset("-0123456789")
_COUNTING = frozenset(lexicon.NUMBERS)
SIGNS = frozenset("%$€£&")
_LIST = re.compile(r"[,;|\n]| / | and | & ")

Date = tuple[str | None, int | None, int | None]
Number = tuple[str, str]
CLOCK = "time of day"


@dataclass(frozen=True, slots=True)
class Word:
    plain: str
    stem: str
    meaning: str
    """The stem; of words that mean the same, one for all of them."""
    is_stop: bool


class Sentence:
    """Some words in a row, and what they hold."""

    def __init__(
        self, text: str, words: list[Word], negations: int, numbers: frozenset[Number], dates: frozenset[Date]
    ) -> None:
        self.text = text
        self.words = words
        self.negations = negations
        self.numbers = numbers
        self.dates = dates
        self.content = [word for word in words if not word.is_stop]
        self.meant = {word.meaning: word for word in self.content}
        # What the sentence begins with: most often the subject, which all values of a group share.
        self.leader = next(iter(self.meant), "")

    @cached_property
    def stems(self) -> frozenset[str]:
        return frozenset(word.stem for word in self.words)

    @classmethod
    def parse(cls, text: str) -> "Sentence":
        lower = text
        dates: frozenset[Date] = frozenset()
        times: frozenset[Number] = frozenset()
        has_digits = _DIGIT.search(lower) is not None
        if has_digits:
            lower = _ORDINAL.sub("", lower)
            dates = frozenset(map(_date, _DATES.finditer(lower)))
            lower = _DATES.sub(" ", lower) if dates else lower
            times = frozenset(map(_time, _TIMES.finditer(lower)))
            lower = _TIMES.sub(" ", lower) if times else lower
        plain = _plain_words(lower)
        counts = has_digits or not _COUNTING.isdisjoint(plain)
        numbers, used = _numbers(plain) if counts else (frozenset[Number](), frozenset[int]())
        negating = lexicon.NEGATIONS & set(plain)
        negations = sum(word in negating for word in plain) - _idle_negations(plain) if negating else 0
        left_out = negating | SIGNS
        words = [_word(word) for at, word in enumerate(plain) if word not in left_out and at not in used]
        return cls(text, words, negations, numbers | times, dates)

    @classmethod
    def joined(cls, parts: "list[Sentence]") -> "Sentence":
        return cls(
            "",
            [word for part in parts for word in part.words],
            sum(part.negations for part in parts),
            frozenset().union(*(part.numbers for part in parts)),
            frozenset().union(*(part.dates for part in parts)),
        )


@dataclass(frozen=True)
class Reading:
    whole: Sentence
    sentences: list[Sentence]
    names: frozenset[str]
    """Words that are written like names though they begin no sentence."""
    kind: str
    """`cleared`, `boolean`, `number`, `date`, `state` (a word), `phrase` (a few), `list` or `prose`."""
    items: frozenset[str]
    """Of a list, its items."""

    @property
    def is_short(self) -> bool:
        return self.kind != "prose"


@lru_cache(maxsize=256)
def read(text: str) -> Reading:
    lower = folded(text)
    names = frozenset(map(folded, _NAME.findall(text)))
    parts = [Sentence.parse(part) for part in _SENTENCE_END.split(lower) if part.strip()]
    whole = parts[0] if len(parts) == 1 else Sentence.joined(parts)
    items = frozenset[str]() if whole.negations or len(parts) > 1 else _items(lower)
    return Reading(whole, parts[:MOST_SENTENCES], names, _kind(lower, whole, items), items)


@lru_cache(maxsize=8_192)
def _word(plain: str) -> Word:
    found = stem(plain)
    return Word(plain, found, _MEANINGS.get(found, found), plain in lexicon.STOP)


def stem(word: str) -> str:
    """A light suffix stripper, after Harman, "How effective is suffixing?" (1991), with -ing, -ed, -ly beside -s."""
    if word.endswith("'s"):
        word = word[:-2]
    word = word.replace("'", "")
    word = lexicon.IRREGULAR.get(word, word)
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes", "zes")):
        word = word[:-2]
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending, least in (("ing", 6), ("ied", 5), ("ed", 5), ("ly", 6)):
        if word.endswith(ending) and len(word) >= least:
            word = word[: -len(ending)] + ("y" if ending == "ied" else "")
            if ending in {"ing", "ed"} and len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    return word[:-1] + "i" if len(word) > 2 and word.endswith("y") else word


def _plain_words(lower: str) -> list[str]:
    if "'" in lower or "cannot" in lower:
        for short, full in lexicon.CONTRACTIONS.items():
            lower = lower.replace(short, full)
        lower = lower.replace("n't", " not").replace("'re", " are").replace("'ve", " have").replace("'ll", " will")
    lower = _THOUSANDS.sub("", lower) if "," in lower else lower
    return (_WORD_OR_ADDRESS if "@" in lower or "://" in lower else _WORD).findall(lower)


def _idle_negations(words: list[str]) -> int:
    """How many of them negate nothing: `not only`, `no longer` beside nothing else, `neither … nor` counted once."""
    both = "neither" in words and "nor" in words
    return both + sum(one == "not" and other == "only" for one, other in pairwise(words))


def _date(found: re.Match[str]) -> Date:
    part = found.groupdict()
    year = part["y"] or part["y2"] or part["y3"] or part["y4"]
    month = part["m"] or part["m2"] or part["m3"] or part["m4"]
    day = part["d"] or part["d2"] or part["d3"]
    return year, lexicon.MONTHS.get(month) or int(month), int(day) if day else None


def _time(found: re.Match[str]) -> Number:
    """A time of day as minutes since midnight."""
    part = found.groupdict()
    hour, minute = int(part["h"] or part["h2"]), int(part["m"] or part["m2"] or 0)
    if part["half"]:
        hour = hour % 12 + 12 * (part["half"] == "p")
    return CLOCK, str(60 * hour + minute)


def _numbers(words: list[str]) -> tuple[frozenset[Number], Set[int]]:
    """Each number as what it measures and how much, in base units; and which words said so."""
    found: set[Number] = set()
    used: set[int] = set()
    for at, word in enumerate(words):
        amount = None if at in used else _amount(word)
        if amount is None:
            if _is_exact(word) and at not in used:
                # A version or an address: no amount, but it names one thing as exactly as a number does.
                found.add(("", word))
                used.add(at)
            continue
        end = at + 1
        is_money = at > 0 and words[at - 1] in SIGNS
        while end < len(words) and (scale := _scale(words[end], is_money=is_money)) >= 100:
            amount *= scale
            end += 1
        unit = words[at - 1] if is_money else words[end] if end < len(words) else ""
        dimension, size = lexicon.UNITS.get(unit, ("", 1))
        found.add((dimension, f"{amount * size:.9g}"))
        used.update(range(at, end + (bool(dimension) and not is_money)))
    return frozenset(found), used


def _scale(word: str, *, is_money: bool) -> float:
    scales = lexicon.SCALES_OF_MONEY if is_money else lexicon.SCALES
    return scales.get(word) or lexicon.NUMBERS.get(word, 0)


def _is_exact(word: str) -> bool:
    return word[0] in _EXACT or word[0].isdigit()


def _amount(word: str) -> float | None:
    if not _is_exact(word):
        return lexicon.NUMBERS.get(word)
    try:
        return float(word[:40].replace(":", "."))
    except ValueError:
        return None


def _items(lower: str) -> frozenset[str]:
    parts = [part.strip(" -*[]()\"'") for part in _LIST.split(lower)]
    most = SHORT_WORDS if any(mark in lower for mark in ",;|\n") else 2
    if len(parts) < 2 or lower.rstrip().endswith(".") or any(len(part.split()) > most for part in parts):
        return frozenset()
    return frozenset(part for part in parts if part)


def _kind(lower: str, whole: Sentence, items: frozenset[str]) -> str:
    if len(whole.words) > MOST_WORDS_OF_A_VALUE and not items:
        return "prose"
    bare = " ".join(_WORD_OR_ADDRESS.findall(lower))
    if bare in lexicon.CLEARED or not lower.strip(" -.()"):
        return "cleared"
    if bare in lexicon.BOOLEANS:
        return "boolean"
    words = bare.count(" ") + 1
    if words > 2 and (
        lower.rstrip().endswith((".", "!", "?")) or any(word.plain in lexicon.VERBS for word in whole.words)
    ):
        return "prose"
    if whole.dates and len(whole.words) <= 1:
        return "date"
    if whole.numbers and len(whole.content) <= 1 and words <= SHORT_WORDS:
        return "number"
    if len(items) > 1:
        return "list"
    if len(lower.split()) == 1 and (lower.isascii() or words <= 6):
        return "state"
    return "phrase" if words <= SHORT_WORDS else "prose"


_MEANINGS = {stem(word): stem(meant) for word, meant in lexicon.SYNONYMS.items()}
