"""The detector: whether two values of one key conflict, and why.

It answers three questions one after the other, each by a logistic model over few features: are both values about the
same topic; are they incompatible; does the later one supersede the earlier one. If the first answer is no, the pair is
`unrelated`; if the second one is no, it is a `paraphrase`; the third one separates `update` from `contradiction`. The
terms are those of natural language inference and of record linkage; the weights are data, in `weights.py`.

By these rules nothing is learned, downloaded or read from a database, and `compare` never raises. The detector reads
English; of other languages it uses the features that need no vocabulary: duplicates, numbers, dates, short values,
shared words, actor and time. If a question is in doubt, and the operator has configured a language model, the model is
called (`comparison_model.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain, combinations
from math import exp
from typing import Literal, get_args

from memoryhub.conflicts.comparison_model import ComparisonModel, NliAdvice, current_comparison_model
from memoryhub.conflicts.detector import features, lexicon
from memoryhub.conflicts.detector.parse import parse_text, stem
from memoryhub.conflicts.detector.weights import Question, Weights
from memoryhub.core.secrets import mask_secrets
from memoryhub.core.values import canonicalize_value, holds_secret
from memoryhub.firewall.principal import ACTOR_TRUST_RANK

ConflictClass = Literal["contradiction", "update", "paraphrase", "duplicate", "unrelated"]
CLASSES: tuple[ConflictClass, ...] = get_args(ConflictClass)
"""The most serious class first."""

MAX_CHARACTERS = 4_000
"""Of a longer text only so many characters are compared, from shortly before the first difference. Duplicates are
detected on the whole text (`core.values`); everything else is computed from the text with its secrets masked."""
MAX_VALUES = 12
"""Of a larger group only the newest values are compared, each in its newest spelling."""
SIMULTANEOUS_SECONDS = 1.0
"""Events that are closer together than this count as simultaneous."""

_CONTEXT_CHARACTERS = 500
_BIAS_EXPLANATIONS: dict[Question, str] = {
    "same_topic": "values are unrelated unless the features show one topic",
    "contradicts": "both can be true until something shows that they cannot",
    "supersedes": "neither takes the place of the other until order and actor say so",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedValue:
    """One value of a key: its content, with the time, actor and source of the assertion."""

    content: str
    timestamp: datetime
    actor_type: str = ""
    actor_id: str = ""
    source: str = ""
    collection: str = ""
    embedding: Sequence[float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureContribution:
    """One bar of the waterfall chart: `contribution` = `value` x `weight`, in log-odds of the answer yes.

    The contributions of a question add up to its log-odds: above zero the answer is yes.
    """

    question: Question
    name: str
    value: float
    weight: float
    contribution: float
    explanation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PairVerdict:
    conflict_class: ConflictClass
    confidence: float
    """The probability of the answers that led to the class, by the model's own odds: 0-1."""
    features: tuple[FeatureContribution, ...]
    version: str
    """Method version; without the `+nli-` part if the model failed to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupVerdict:
    conflict_class: ConflictClass
    version: str
    """As in `PairVerdict`: without the `+nli-` part if an answer of the model might have changed the class."""


def compare(a: ComparedValue, b: ComparedValue, *, comparison_model: ComparisonModel | None = None) -> PairVerdict:
    """The class of two values, with the features that lead to it. The order of the two makes no difference.

    `comparison_model` defaults to the current one.
    """
    comparison_model = comparison_model or current_comparison_model()
    weights = comparison_model.weights
    if a.content == b.content or _canonical_value(a.content) == _canonical_value(b.content):
        explanation = "the same apart from Unicode composition, white space, closing punctuation and the case of words"
        feature = FeatureContribution(
            question="same_topic", name="same_text", value=1.0, weight=1.0, contribution=1.0, explanation=explanation
        )
        return PairVerdict(
            conflict_class="duplicate", confidence=1.0, features=(feature,), version=comparison_model.version
        )
    # The similarity of unmasked texts would reveal a secret piece by piece to a principal that may write the other
    # text.
    masked_texts = mask_secrets(a.content), mask_secrets(b.content)
    left_text, right_text = _comparison_windows(*masked_texts)
    pair = features.TextPair(
        parse_text(left_text), parse_text(right_text), may_quote=(left_text, right_text) == (a.content, b.content)
    )
    nli_advice = NliAdvice(comparison_model, pair, left_text, right_text)
    all_contributions: list[FeatureContribution] = []
    confidence = 1.0
    questions: tuple[tuple[Question, Iterator[features.Measurement], ConflictClass], ...] = (
        ("same_topic", _measure_same_topic(pair, a, b), "unrelated"),
        ("contradicts", pair.measure_contradiction(), "paraphrase"),
        ("supersedes", _measure_supersession(pair, a, b), "contradiction"),
    )
    for question, measurements, negative_class in questions:
        contributions = list(
            _weigh_features(question, chain([("bias", 1.0, _BIAS_EXPLANATIONS[question])], measurements), weights)
        )
        contributions += _weigh_features(question, nli_advice.measure(question, _sum_log_odds(contributions)), weights)
        all_contributions += contributions
        log_odds = _sum_log_odds(contributions)
        confidence *= _sigmoid(abs(log_odds))
        if log_odds < 0:
            return PairVerdict(
                conflict_class=negative_class,
                confidence=confidence,
                features=tuple(all_contributions),
                version=nli_advice.version,
            )
    return PairVerdict(
        conflict_class="update", confidence=confidence, features=tuple(all_contributions), version=nli_advice.version
    )


def classify_group(values: Iterable[ComparedValue]) -> GroupVerdict:
    """The most serious class among the pairs of a group; the newest MAX_VALUES distinct values are compared.

    A group is `duplicate` only if all of its members are. Many spellings of one value do not crowd out another value.
    """
    values_newest_first = sorted(
        values, key=lambda value: (_aware_timestamp(value), mask_secrets(value.content)), reverse=True
    )
    distinct_values = _newest_spelling_of_each(values_newest_first)[:MAX_VALUES]
    comparison_model = current_comparison_model()
    classes: set[ConflictClass] = set()
    version = comparison_model.version
    for a, b in combinations(distinct_values, 2):
        verdict = compare(a, b, comparison_model=comparison_model)
        if verdict.conflict_class == CLASSES[0]:
            # No class is more serious, so neither the other pairs nor a missing answer of the model can change the
            # result.
            return GroupVerdict(conflict_class=verdict.conflict_class, version=verdict.version)
        classes.add(verdict.conflict_class)
        version = version if verdict.version == comparison_model.version else verdict.version
    return GroupVerdict(
        conflict_class=next((conflict_class for conflict_class in CLASSES if conflict_class in classes), "duplicate"),
        version=version,
    )


def _newest_spelling_of_each(values_newest_first: Sequence[ComparedValue]) -> list[ComparedValue]:
    """The newest spelling of each distinct value; the value whose first spelling is the newest comes first."""
    # A later entry of a dict replaces the value of an earlier one, but stays at its place.
    return list({_canonical_value(value.content): value for value in reversed(values_newest_first)}.values())[::-1]


def _measure_same_topic(pair: features.TextPair, a: ComparedValue, b: ComparedValue) -> Iterator[features.Measurement]:
    yield from pair.measure_same_topic()
    collection = a.collection if a.collection == b.collection else ""
    if not _is_multi_valued(collection):
        yield "specific_key", 1.0, "the key names one thing"
    elif pair.are_disjoint:
        yield "multi_valued_key", 1.0, "several values may stand under this key beside each other"
    # For short values the cosine shows how similar they are, not whether they share a topic. The embedding of a text
    # with a secret would reveal parts of the secret.
    can_use_cosine = not (pair.are_short or pair.has_null_value or holds_secret(a.content) or holds_secret(b.content))
    cosine = features.cosine(a.embedding, b.embedding) if can_use_cosine else None
    if cosine is not None:
        # Two facts about one subject have a cosine of about 0.5, or about 0.75 if they are similar by chance.
        yield "cosine", cosine - 0.7, f"embeddings have a cosine of {cosine:.2f}"


def _measure_supersession(
    pair: features.TextPair, a: ComparedValue, b: ComparedValue
) -> Iterator[features.Measurement]:
    earlier_value, later_value = sorted((a, b), key=_aware_timestamp)
    seconds = (_aware_timestamp(later_value) - _aware_timestamp(earlier_value)).total_seconds()
    if seconds < SIMULTANEOUS_SECONDS:
        return
    yield "later_timestamp", 1.0, "one was said later than the other"
    trust_change = ACTOR_TRUST_RANK.get(later_value.actor_type, 0) - ACTOR_TRUST_RANK.get(earlier_value.actor_type, 0)
    if trust_change > 0:
        yield "more_trusted", 1.0, f"the later one is from a more trusted actor: {later_value.actor_type}"
    elif trust_change < 0:
        yield "less_trusted", 1.0, f"the later one is from a less trusted actor: {later_value.actor_type}"
    elif _is_same_actor(a, b):
        yield "same_actor", 1.0, "both are from the same actor"
    if (pair.are_short or pair.has_null_value) and a.source == b.source:
        yield "same_record", 1.0, "one source keeps the value up to date"


def _is_same_actor(a: ComparedValue, b: ComparedValue) -> bool:
    return a.actor_id == b.actor_id if a.actor_id or b.actor_id else a.source == b.source


@lru_cache(maxsize=1_024)
def _is_multi_valued(collection: str) -> bool:
    words = collection[:200].casefold().replace("_", " ").replace("-", " ").split()
    if not words:
        return True
    last_word = words[-1]
    is_plural = last_word.endswith("s") and not last_word.endswith(("ss", "us", "is", "news"))
    return is_plural or bool(lexicon.MULTI_VALUED_KEYS & {last_word, stem(last_word), *words})


def _weigh_features(
    question: Question, measurements: Iterable[features.Measurement], weights: Weights
) -> Iterator[FeatureContribution]:
    question_weights = {"bias": weights.biases[question], **weights.weights[question]}
    for name, value, explanation in measurements:
        if value:
            contribution = value * question_weights[name]
            yield FeatureContribution(
                question=question,
                name=name,
                value=value,
                weight=question_weights[name],
                contribution=contribution,
                explanation=explanation,
            )


def _sum_log_odds(contributions: Iterable[FeatureContribution]) -> float:
    return sum(contribution.contribution for contribution in contributions)


def _sigmoid(log_odds: float) -> float:
    return 1 / (1 + exp(-min(log_odds, 50.0)))


def _aware_timestamp(value: ComparedValue) -> datetime:
    return value.timestamp if value.timestamp.tzinfo else value.timestamp.replace(tzinfo=UTC)


def _comparison_windows(left_text: str, right_text: str) -> tuple[str, str]:
    if max(len(left_text), len(right_text)) > MAX_CHARACTERS:
        start = max(0, _common_prefix_length(left_text, right_text) - _CONTEXT_CHARACTERS)
        left_text, right_text = left_text[start:], right_text[start:]
    return left_text[:MAX_CHARACTERS], right_text[:MAX_CHARACTERS]


def _common_prefix_length(left_text: str, right_text: str) -> int:
    """Length of the common prefix, by binary search."""
    low, high = 0, min(len(left_text), len(right_text))
    while low < high:
        middle = (low + high + 1) // 2
        if left_text[low:middle] == right_text[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


# A small cache, because the texts may be long: enough for the pairs of one group.
@lru_cache(maxsize=32)
def _canonical_value(text: str) -> str:
    return canonicalize_value(text)
