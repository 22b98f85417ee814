"""Whether two values of one key disagree, and why.

Three questions are asked one after the other, each of a logistic model over few features: do both speak of one matter;
are they incompatible; does the later one take the place of the earlier one. Without a yes to the first they are
`unrelated`, without one to the second a `paraphrase`, and the third tells an `update` from a `contradiction`. The terms
are those of natural language inference and of record linkage; the weights are data, `weights.py`.

Nothing is learned, fetched or read from a database, and `compare` never raises. It reads English; of other languages
what needs no words: duplicates, numbers, dates, short values, shared words, who and when. Where that leaves a question
in doubt, a language model is asked, if the operator has set one: `method.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain, combinations
from math import exp
from typing import Literal

from memoryhub.conflicts import features, lexicon, method
from memoryhub.conflicts.method import Advice, Method
from memoryhub.conflicts.reading import read, stem
from memoryhub.conflicts.weights import Question, Weights
from memoryhub.firewall.types import TRUST
from memoryhub.memories.suspicion import masked
from memoryhub.memories.values import holds_secret, value_form

Class = Literal["contradiction", "update", "paraphrase", "duplicate", "unrelated"]
CLASSES: tuple[Class, ...] = ("contradiction", "update", "paraphrase", "duplicate", "unrelated")
"""The most serious first."""

MOST_CHARACTERS = 4_000
"""Of a longer text so much is compared, from where it begins to differ. Duplicates are told by the whole
(`memories.values`); everything else is computed from the text with its secrets masked."""
MOST_VALUES = 12
"""Of a larger group the newest values are compared, of each its newest spelling."""
AT_ONCE_SECONDS = 1.0
"""What happened so close together has no order."""

_LEAD_IN = 500
_BIAS: dict[Question, str] = {
    "related": "two values of one key are taken for unrelated until enough speaks against it",
    "incompatible": "both can be true until something shows that they cannot",
    "replaces": "neither takes the place of the other until order and actor say so",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value of a key: what was said, when, by whom."""

    content: str
    timestamp: datetime
    actor_type: str = ""
    actor_id: str = ""
    source: str = ""
    collection: str = ""
    embedding: Sequence[float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One bar of the waterfall: `contribution` = `value` x `weight`, in log-odds of the question's yes.

    The bars of a question add up to its log-odds: above zero the answer is yes.
    """

    question: Question
    name: str
    value: float
    weight: float
    contribution: float
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    klass: Class
    confidence: float
    """How likely the answers that led here are, by the model's own odds: 0-1."""
    features: tuple[Feature, ...]
    version: str
    """Of the method. If its language model did not answer, of the weights alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupVerdict:
    klass: Class
    version: str
    """As of a verdict: without the model's part if the class might be another one, had the model answered."""


def compare(a: Value, b: Value, *, by: Method | None = None) -> Verdict:
    """The class of two values and what speaks for it. The order of the two makes no difference.

    They are compared `by` the current method if none is given.
    """
    by = by or method.current()
    weights = by.weights
    if a.content == b.content or _form(a.content) == _form(b.content):
        words = "the same apart from Unicode composition, white space, closing punctuation and the case of words"
        same = Feature(question="related", name="same_text", value=1.0, weight=1.0, contribution=1.0, words=words)
        return Verdict(klass="duplicate", confidence=1.0, features=(same,), version=by.version)
    # How alike two texts are would tell a secret piece by piece to whoever may write the other text.
    shown = masked(a.content), masked(b.content)
    one, other = _window(*shown)
    pair = features.Pair(read(one), read(other), may_quote=(one, other) == (a.content, b.content))
    advice = Advice(by, pair, one, other)
    told: list[Feature] = []
    confidence = 1.0
    asked: tuple[tuple[Question, Iterator[features.Measured], Class], ...] = (
        ("related", _related(pair, a, b), "unrelated"),
        ("incompatible", pair.incompatible(), "paraphrase"),
        ("replaces", _replaces(pair, a, b), "contradiction"),
    )
    for question, measured, otherwise in asked:
        bars = list(_bars(question, chain([("bias", 1.0, _BIAS[question])], measured), weights))
        bars += _bars(question, advice.on(question, _odds(bars)), weights)
        told += bars
        odds = _odds(bars)
        confidence *= _likely(abs(odds))
        if odds < 0:
            return Verdict(klass=otherwise, confidence=confidence, features=tuple(told), version=advice.version)
    return Verdict(klass="update", confidence=confidence, features=tuple(told), version=advice.version)


def group_verdict(values: Iterable[Value]) -> GroupVerdict:
    """The most serious class among the pairs of a group; of its distinct values the newest twelve are compared.

    A group is `duplicate` only if all of it is: however many spellings there are, they crowd out no other value.
    """
    newest = sorted(values, key=lambda value: (_instant(value), masked(value.content)), reverse=True)
    distinct = list({_form(value.content): value for value in reversed(newest)}.values())[::-1][:MOST_VALUES]
    by = method.current()
    found: set[Class] = set()
    version = by.version
    for a, b in combinations(distinct, 2):
        verdict = compare(a, b, by=by)
        if verdict.klass == CLASSES[0]:
            # Nothing is more serious: what the others say, or would say, makes no difference.
            return GroupVerdict(klass=verdict.klass, version=verdict.version)
        found.add(verdict.klass)
        version = version if verdict.version == by.version else verdict.version
    return GroupVerdict(klass=next((klass for klass in CLASSES if klass in found), "duplicate"), version=version)


def _related(pair: features.Pair, a: Value, b: Value) -> Iterator[features.Measured]:
    yield from pair.related()
    key = a.collection if a.collection == b.collection else ""
    if not _holds_many(key):
        yield "specific_key", 1.0, "the key names one thing"
    elif pair.are_apart:
        yield "many_valued_key", 1.0, "several values may stand under this key beside each other"
    # Of bare values it tells how alike they are, and not whether they are values of one thing. One that was made of a
    # secret tells of it.
    is_telling = not (pair.are_short or pair.is_cleared or holds_secret(a.content) or holds_secret(b.content))
    angle = features.cosine(a.embedding, b.embedding) if is_telling else None
    if angle is not None:
        # Two facts about one subject have a cosine of a half or so, and of three quarters if they are alike by chance.
        yield "cosine", angle - 0.7, f"embeddings have a cosine of {angle:.2f}"


def _replaces(pair: features.Pair, a: Value, b: Value) -> Iterator[features.Measured]:
    earlier, later = sorted((a, b), key=_instant)
    seconds = (_instant(later) - _instant(earlier)).total_seconds()
    if seconds < AT_ONCE_SECONDS:
        return
    yield "later", 1.0, "one was said later than the other"
    step = TRUST.get(later.actor_type, 0) - TRUST.get(earlier.actor_type, 0)
    if step > 0:
        yield "more_trusted", 1.0, f"the later one is from a more trusted actor: {later.actor_type}"
    elif step < 0:
        yield "less_trusted", 1.0, f"the later one is from a less trusted actor: {later.actor_type}"
    elif _is_same_actor(a, b):
        yield "same_actor", 1.0, "both are from the same actor"
    if (pair.are_short or pair.is_cleared) and a.source == b.source:
        yield "same_record", 1.0, "one source keeps the value up to date"


def _is_same_actor(a: Value, b: Value) -> bool:
    return a.actor_id == b.actor_id if a.actor_id or b.actor_id else a.source == b.source


@lru_cache(maxsize=1_024)
def _holds_many(key: str) -> bool:
    words = key[:200].casefold().replace("_", " ").replace("-", " ").split()
    if not words:
        return True
    last = words[-1]
    is_plural = last.endswith("s") and not last.endswith(("ss", "us", "is", "news"))
    return is_plural or bool(lexicon.ANYTHING & {last, stem(last), *words})


def _bars(question: Question, measured: Iterable[features.Measured], weights: Weights) -> Iterator[Feature]:
    weighed = {"bias": weights.biases[question], **weights.weights[question]}
    for name, value, words in measured:
        if value:
            bar = value * weighed[name]
            yield Feature(
                question=question, name=name, value=value, weight=weighed[name], contribution=bar, words=words
            )


def _odds(bars: Iterable[Feature]) -> float:
    return sum(bar.contribution for bar in bars)


def _likely(odds: float) -> float:
    return 1 / (1 + exp(-min(odds, 50.0)))


def _instant(value: Value) -> datetime:
    return value.timestamp if value.timestamp.tzinfo else value.timestamp.replace(tzinfo=UTC)


def _window(one: str, other: str) -> tuple[str, str]:
    if max(len(one), len(other)) > MOST_CHARACTERS:
        start = max(0, _common(one, other) - _LEAD_IN)
        one, other = one[start:], other[start:]
    return one[:MOST_CHARACTERS], other[:MOST_CHARACTERS]


def _common(one: str, other: str) -> int:
    """How many characters both begin with, found by halving."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


# Few, for they may be long: enough for the pairs of one group.
@lru_cache(maxsize=32)
def _form(text: str) -> str:
    return value_form(text)
