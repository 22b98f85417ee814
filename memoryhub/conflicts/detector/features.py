"""Features of a pair of texts: what they share and how they differ, each as a number with an explanation."""

from collections.abc import Iterator, Sequence, Set
from functools import cached_property
from math import isfinite, sqrt
from operator import mul

from memoryhub.conflicts.detector import lexicon, sentences
from memoryhub.conflicts.detector.parse import CLOCK, ParsedText, Sentence, Word, stem

Measurement = tuple[str, float, str]
"""Name of a feature, its strength (mostly 0-1), and the explanation that a curator reads."""

_MIN_OVERLAP = 0.4
"""Overlap that two sentences need before a difference between them means anything."""
_MAX_QUOTE_CHARACTERS = 40
_NULL_VALUE_EXPLANATION = "one of them says that there is no value"


class TextPair:
    """Two texts, and the sentence of each that is most similar to the other's without having the same meaning."""

    def __init__(self, left_text: ParsedText, right_text: ParsedText, *, may_quote: bool = True) -> None:
        self.left_text, self.right_text = left_text, right_text
        self.may_quote = may_quote
        self.left, self.right, self.overlap, self.containment = sentences.find_closest_sentences(left_text, right_text)

    def measure_same_topic(self) -> Iterator[Measurement]:
        shared_word_count = len(self.left.words_by_meaning.keys() & self.right.words_by_meaning.keys())
        yield "shared_words", self.overlap, f"share {shared_word_count} words that matter"
        yield "contained_words", self.containment, f"{self.containment:.0%} of the shorter one stands in the other"
        yield "shared_frame", self.shared_frame, f"{self.shared_frame:.0%} of the words stand at the same places"
        if self.has_null_value:
            yield "null_value", 1.0, _NULL_VALUE_EXPLANATION
        elif self.are_short:
            yield "same_kind", 1.0, f"both are short values: {self.quote(self.left_text.kind, self.right_text.kind)}"
        extra_word_count = min(len(self.left_only), len(self.right_only))
        if extra_word_count > 1:
            yield (
                "both_add_words",
                min(1.0, extra_word_count / 5),
                f"each has {extra_word_count} words or more that the other has not",
            )
        if self.is_double_negation:
            yield "double_negation", 1.0, "two opposites cancel each other out"
        if self.opposites:
            yield "opposites", 1.0, "one says the opposite of the other"
        if self.substitution_score and self.allows_many_objects:
            yield "different_object", 1.0, f"both can be true of {self.difference}"
        elif self.opposites and self.differ_only_by_opposites:
            yield "only_opposites_differ", 1.0, "nothing but opposites sets them apart"

    def measure_contradiction(self) -> Iterator[Measurement]:
        if self.has_null_value:
            yield "null_value", 1.0, _NULL_VALUE_EXPLANATION
        elif self.are_short:
            yield from self._measure_short_values()
        elif self.left_text.items and self.right_text.items:
            yield from self._measure_lists()
        yield from self.opposites
        if self.substitution_score and not self.allows_many_objects:
            yield "substituted_value", self.substitution_score, self.difference
        if self.is_contained and not self.opposites:
            yield "contained_text", 1.0, "all words of the shorter one stand in the other"

    def quote(self, left_quote: str, right_quote: str) -> str:
        """Both texts in an order that does not reveal which was given first; only "…" if they may not be quoted."""
        return (
            " / ".join(sorted({left_quote[:_MAX_QUOTE_CHARACTERS], right_quote[:_MAX_QUOTE_CHARACTERS]}))
            if self.may_quote
            else "…"
        )

    @cached_property
    def shared_frame(self) -> float:
        """Number of words in the common beginning and end, as a share of the longer sentence."""
        left_words, right_words = self.left.words, self.right.words
        max_length = min(len(left_words), len(right_words))
        prefix_length = next(
            (index for index in range(max_length) if left_words[index].stem != right_words[index].stem), max_length
        )
        suffix_length = next(
            (
                index
                for index in range(max_length - prefix_length)
                if left_words[-1 - index].stem != right_words[-1 - index].stem
            ),
            max_length - prefix_length,
        )
        return (prefix_length + suffix_length) / max(len(left_words), len(right_words), 1)

    @cached_property
    def is_comparable(self) -> bool:
        return self.are_short or self.overlap >= _MIN_OVERLAP or self.shared_frame > 0.5

    @cached_property
    def is_contained(self) -> bool:
        """Whether the longer sentence has all words of the shorter one."""
        if self.are_short and not (self.left.stems <= self.right.stems or self.right.stems <= self.left.stems):
            return False
        return self.containment >= 0.999

    @property
    def has_null_value(self) -> bool:
        return "null" in {self.left_text.kind, self.right_text.kind}

    @cached_property
    def are_short(self) -> bool:
        return self.left_text.is_short and self.right_text.is_short

    @property
    def are_disjoint(self) -> bool:
        """Whether both are short values that have nothing in common and are no opposites either."""
        return self.are_short and not self.has_null_value and not self.overlap and not self.opposites

    @cached_property
    def opposites(self) -> list[Measurement]:
        """The features that make one sentence the opposite of the other."""
        if not self.is_comparable:
            return []
        differences = [
            measurement
            for measure in (_measure_exclusive, _measure_quantities, _measure_dates)
            if (measurement := measure(self)) is not None
        ]
        return ([] if self.is_double_negation else self.reversals) + differences

    @cached_property
    def reversals(self) -> list[Measurement]:
        if not self.is_comparable:
            return []
        return [
            measurement
            for measure in (_measure_negation, _measure_antonyms, _measure_swapped_roles)
            if (measurement := measure(self)) is not None
        ]

    @property
    def is_double_negation(self) -> bool:
        """Whether two reversals cancel out: `not possible` and `impossible`; `A is older than B` and `B is younger`."""
        return len(self.reversals) == 2

    @cached_property
    def left_only(self) -> list[Word]:
        return [
            word for meaning, word in self.left.words_by_meaning.items() if meaning not in self.right.words_by_meaning
        ]

    @cached_property
    def right_only(self) -> list[Word]:
        return [
            word for meaning, word in self.right.words_by_meaning.items() if meaning not in self.left.words_by_meaning
        ]

    @cached_property
    def substitution_score(self) -> float:
        """Confidence (0-1) that one word or name replaces another one and everything else is the same."""
        left_words, right_words = self.left_only, self.right_only
        if (
            not left_words
            or not right_words
            or self.reversals
            or len(left_words) > 4
            or len(right_words) > 4
            or not self.is_comparable
        ):
            return 0.0
        if not (sentences.are_adjacent(left_words, self.left) and sentences.are_adjacent(right_words, self.right)):
            return 0.0
        if any(word.text in self.left_text.names for word in left_words) and any(
            word.text in self.right_text.names for word in right_words
        ):
            return 1.0
        if left_words[-1] is self.left.content_words[-1] and right_words[-1] is self.right.content_words[-1]:
            return 0.9
        if sentences.is_unique_role(left_words, self.left) and sentences.is_unique_role(right_words, self.right):
            return 0.9
        return (
            0.9 if sentences.is_object(left_words, self.left) and sentences.is_object(right_words, self.right) else 0.4
        )

    @cached_property
    def differ_only_by_opposites(self) -> bool:
        """Whether both begin with the same subject, and differ in one pair of opposites at most."""
        left_words, right_words = self.left_only, self.right_only
        if (
            sentences.get_subject_stem(self.left) != sentences.get_subject_stem(self.right)
            or len(left_words) != len(right_words)
            or len(left_words) > 1
        ):
            return False
        return not left_words or _are_opposites(left_words[0].stem, right_words[0].stem)

    @cached_property
    def allows_many_objects(self) -> bool:
        """Whether the verb may have many objects at once: a person may like tea and coffee."""
        return any(
            stem in _MULTI_OBJECT_VERBS
            for stem in sentences.find_verb_candidates(self.left) & self.right.stems
            | sentences.find_verb_candidates(self.right) & self.left.stems
        )

    @property
    def difference(self) -> str:
        return self.quote(sentences.join_words(self.left_only), sentences.join_words(self.right_only))

    def _measure_short_values(self) -> Iterator[Measurement]:
        if self.left_text.items and self.right_text.items:
            yield from self._measure_lists()
        elif not self.is_contained:
            yield (
                "different_short_values",
                1.0 - self.overlap / 2,
                f"two different values of one kind: {self.difference}".rstrip(": "),
            )

    def _measure_lists(self) -> Iterator[Measurement]:
        left_items, right_items = self.left_text.items, self.right_text.items
        if left_items != right_items:
            yield (
                "different_lists",
                1.0,
                f"lists with {len(left_items & right_items)} of {len(left_items | right_items)} items in common",
            )


def cosine(left: Sequence[float] | None, right: Sequence[float] | None) -> float | None:
    """The cosine of two embeddings; None if one is missing, empty, zero or not finite, or their lengths differ."""
    if left is None or right is None or len(left) != len(right) or not len(left):
        return None
    norm = sqrt(sum(map(mul, left, left))) * sqrt(sum(map(mul, right, right)))
    similarity = sum(map(mul, left, right)) / norm if norm else 0.0
    return max(-1.0, min(1.0, similarity)) if norm and isfinite(similarity) else None


def _measure_negation(pair: TextPair) -> Measurement | None:
    if (pair.left.negations - pair.right.negations) % 2 == 0:
        return None
    return "negation", 1.0, "one of them negates, the other does not"


def _measure_antonyms(pair: TextPair) -> Measurement | None:
    left_stems, right_stems = pair.left.stems - pair.right.stems, pair.right.stems - pair.left.stems
    quotes = [
        pair.quote(word, opposite)
        for word in left_stems
        if (
            opposite := min(_OPPOSITES.get(word, _NO_STEMS) & right_stems, default="")
            or _find_negated_form(word, right_stems)
        )
    ]
    return ("antonyms", 1.0, f"opposites: {min(quotes)}") if quotes else None


def _find_negated_form(word: str, candidates: Set[str]) -> str:
    """The one of `candidates` that differs from `word` by a negating prefix; empty if there is none."""
    for prefix in lexicon.NEGATIVE_PREFIXES:
        if len(word) > 3 and prefix + word in candidates:
            return prefix + word
        base = word.removeprefix(prefix)
        if base != word and len(base) > 3 and base in candidates:
            return base
    return ""


def _measure_exclusive(pair: TextPair) -> Measurement | None:
    if _measure_negation(pair):
        return None
    for exclusive_stems in _EXCLUSIVE_SETS:
        left_stems, right_stems = exclusive_stems & pair.left.stems, exclusive_stems & pair.right.stems
        if left_stems and right_stems and not left_stems & right_stems:
            return "mutually_exclusive", 1.0, f"only one can be: {pair.quote(min(left_stems), min(right_stems))}"
    return None


def _measure_quantities(pair: TextPair) -> Measurement | None:
    left_numbers, right_numbers = pair.left.numbers - pair.right.numbers, pair.right.numbers - pair.left.numbers
    for dimension, amount in sorted(left_numbers):
        for other_dimension, other_amount in sorted(right_numbers):
            if dimension == other_dimension or pair.are_short:
                quote = pair.quote(_format_amount(dimension, amount), _format_amount(other_dimension, other_amount))
                return "quantities", 1.0, f"numbers differ: {quote}"
    return None


def _format_amount(dimension: str, amount: str) -> str:
    """An amount of base units, in the largest unit in which it is a whole number."""
    if dimension == CLOCK:
        return "{:02}:{:02}".format(*divmod(int(amount), 60))
    for size, name in lexicon.UNITS_BY_SIZE.get(dimension, ()):
        if (unit_count := float(amount) / size).is_integer():
            return f"{unit_count:g} {name}"
    return f"{amount} {dimension}".rstrip()


def _measure_dates(pair: TextPair) -> Measurement | None:
    left_dates, right_dates = pair.left.dates - pair.right.dates, pair.right.dates - pair.left.dates
    if any(_dates_differ(left_date, right_date) for left_date in left_dates for right_date in right_dates):
        return "dates", 1.0, "dates differ"
    return None


def _dates_differ(left_date: Sequence[object], right_date: Sequence[object]) -> bool:
    return any(
        left_part is not None and right_part is not None and left_part != right_part
        for left_part, right_part in zip(left_date, right_date, strict=True)
    )


def _measure_swapped_roles(pair: TextPair) -> Measurement | None:
    """Whether two parts changed places around an asymmetric relation: `A beats B`, `B beats A`."""
    left_stems, right_stems = (
        [_normalize_direction(word.stem, opposing_sentence) for word in sentence.words if word.text not in _ARTICLES]
        for sentence, opposing_sentence in ((pair.left, pair.right), (pair.right, pair.left))
    )
    if left_stems == right_stems or len(left_stems) > 60 or sorted(left_stems) != sorted(right_stems):
        return None
    # Sorted, so that the order of the arguments makes no difference.
    left_stems, right_stems = sorted(_strip_common_ends(left_stems, right_stems))
    for prefix_length in range(1, len(left_stems)):
        suffix_length = _swapped_suffix_length(left_stems, right_stems, prefix_length)
        if suffix_length:
            pivot_stems = left_stems[prefix_length : len(left_stems) - suffix_length]
            quote = pair.quote(*[" ".join(pivot_stems)] * 2)
            is_symmetric = pivot_stems == ["be"] or not _SYMMETRIC_WORDS.isdisjoint(pivot_stems)
            return None if is_symmetric else ("swapped_roles", 1.0, f"both sides of {quote} changed places")
    return None


def _normalize_direction(word: str, opposing_sentence: Sentence) -> str:
    """The word, or a common form if the other sentence has its opposite: `older` and `younger` become the same word."""
    opposites = _OPPOSITES.get(word, _NO_STEMS) & opposing_sentence.stems
    return min(word, *opposites) if opposites and word not in opposing_sentence.stems else word


def _strip_common_ends(left_stems: list[str], right_stems: list[str]) -> tuple[list[str], list[str]]:
    while left_stems and right_stems and left_stems[-1] == right_stems[-1]:
        left_stems, right_stems = left_stems[:-1], right_stems[:-1]
    while left_stems and right_stems and left_stems[0] == right_stems[0]:
        left_stems, right_stems = left_stems[1:], right_stems[1:]
    return left_stems, right_stems


def _swapped_suffix_length(left_stems: list[str], right_stems: list[str], prefix_length: int) -> int:
    """The length of the suffix of `left_stems` that begins `right_stems`; 0 if the parts did not change places.

    `right_stems` must end with the first `prefix_length` stems of `left_stems`, and both must agree in between.
    """
    if right_stems[-prefix_length:] != left_stems[:prefix_length]:
        return 0
    return next(
        (
            suffix_length
            for suffix_length in range(1, len(left_stems) - prefix_length)
            if right_stems[:suffix_length] == left_stems[-suffix_length:]
            and right_stems[suffix_length:-prefix_length] == left_stems[prefix_length:-suffix_length]
        ),
        0,
    )


def _are_opposites(left: str, right: str) -> bool:
    return (
        right in _OPPOSITES.get(left, _NO_STEMS)
        or bool(_find_negated_form(left, {right}))
        or any(left in exclusive_stems and right in exclusive_stems for exclusive_stems in _EXCLUSIVE_SETS)
    )


def _build_opposites() -> dict[str, frozenset[str]]:
    opposites_by_word: dict[str, set[str]] = {}
    for left, right in lexicon.ANTONYMS:
        opposites_by_word.setdefault(stem(left), set()).add(stem(right))
        opposites_by_word.setdefault(stem(right), set()).add(stem(left))
    return {word: frozenset(opposites) for word, opposites in opposites_by_word.items()}


_NO_STEMS: frozenset[str] = frozenset()
_OPPOSITES = _build_opposites()
_EXCLUSIVE_SETS = tuple(frozenset(map(stem, words)) for words in lexicon.EXCLUSIVE_SETS)
_MULTI_OBJECT_VERBS = frozenset(map(stem, lexicon.MULTI_OBJECT_VERBS))
_SYMMETRIC_WORDS = frozenset(map(stem, lexicon.SYMMETRIC_WORDS))
_ARTICLES = frozenset({"a", "an", "the"})
