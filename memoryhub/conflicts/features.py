"""What two texts have in common and what sets them apart, each as a number and in words."""

from collections.abc import Iterator, Sequence, Set
from functools import cached_property
from itertools import pairwise
from math import isfinite, sqrt
from operator import mul

from memoryhub.conflicts import lexicon
from memoryhub.conflicts.reading import CLOCK, Reading, Sentence, Word, stem

Measured = tuple[str, float, str]
"""The name of a feature, how strong it is (mostly 0-1), and what a steward is told about it."""

_LEADER = 0.35
"""What the word that both begin with counts: the values of a group share their subject anyway."""
_COMPARABLE = 0.4
"""How much two sentences must have in common before a difference between them means anything."""
_SHOWN = 40
_CLEARED = "one of them says that there is no value"


class Pair:
    """Two texts, and of each the sentence in which they come closest without being the same."""

    def __init__(self, one: Reading, other: Reading, *, may_quote: bool = True) -> None:
        self.one, self.other = one, other
        self.may_quote = may_quote
        self.s, self.t, self.shared, self.contained = _focus(one, other)

    def related(self) -> Iterator[Measured]:
        same = len(self.s.meant.keys() & self.t.meant.keys())
        yield "shared_words", self.shared, f"share {same} words that matter"
        yield "contained_words", self.contained, f"{self.contained:.0%} of the shorter one stands in the other"
        yield "same_frame", self.frame, f"{self.frame:.0%} of the words stand at the same places"
        if self.is_cleared:
            yield "cleared", 1.0, _CLEARED
        elif self.are_short:
            yield "same_kind", 1.0, f"both are short values: {self.quote(self.one.kind, self.other.kind)}"
        more = min(len(self.only_s), len(self.only_t))
        if more > 1:
            yield "both_say_more", min(1.0, more / 5), f"each has {more} words or more that the other has not"
        if self.is_turned_twice:
            yield "turned_twice", 1.0, "two opposites cancel each other out"
        if self.opposition:
            yield "opposed", 1.0, "one says the opposite of the other"
        if self.replaced and self.frame_is_open:
            yield "another_object", 1.0, f"both can be true of {self.told}"
        elif self.opposition and self.is_nothing_else:
            yield "nothing_else", 1.0, "nothing but opposites sets them apart"

    def incompatible(self) -> Iterator[Measured]:
        if self.is_cleared:
            yield "cleared", 1.0, _CLEARED
        elif self.are_short:
            yield from self._of_short_values()
        elif self.one.items and self.other.items:
            yield from self._of_lists()
        yield from self.opposition
        if self.replaced and not self.frame_is_open:
            yield "another_value", self.replaced, self.told
        if self.is_part and not self.opposition:
            yield "contained", 1.0, "all words of the shorter one stand in the other"

    def quote(self, one: str, other: str) -> str:
        """Both in an order that does not tell which came first, or neither."""
        return " / ".join(sorted({one[:_SHOWN], other[:_SHOWN]})) if self.may_quote else "…"

    @cached_property
    def frame(self) -> float:
        """With how many words both begin and end alike, as a share of the longer one."""
        one, other = self.s.words, self.t.words
        most = min(len(one), len(other))
        head = next((at for at in range(most) if one[at].stem != other[at].stem), most)
        tail = next((at for at in range(most - head) if one[-1 - at].stem != other[-1 - at].stem), most - head)
        return (head + tail) / max(len(one), len(other), 1)

    @cached_property
    def is_comparable(self) -> bool:
        return self.are_short or self.shared >= _COMPARABLE or self.frame > 0.5

    @cached_property
    def is_part(self) -> bool:
        """Whether all that the shorter one says stands in the other."""
        if self.are_short and not (self.s.stems <= self.t.stems or self.t.stems <= self.s.stems):
            return False
        return self.contained >= 0.999

    @property
    def is_cleared(self) -> bool:
        return "cleared" in {self.one.kind, self.other.kind}

    @cached_property
    def are_short(self) -> bool:
        return self.one.is_short and self.other.is_short

    @property
    def are_apart(self) -> bool:
        """Whether both are short values that have nothing in common, and are no opposites either."""
        return self.are_short and not self.is_cleared and not self.shared and not self.opposition

    @cached_property
    def opposition(self) -> list[Measured]:
        """What makes one the opposite of the other, whatever else they say."""
        if not self.is_comparable:
            return []
        differing = [found for find in (_exclusive, _quantities, _dates) if (found := find(self)) is not None]
        return ([] if self.is_turned_twice else self.turned) + differing

    @cached_property
    def turned(self) -> list[Measured]:
        if not self.is_comparable:
            return []
        return [found for find in (_negation, _antonyms, _swapped) if (found := find(self)) is not None]

    @property
    def is_turned_twice(self) -> bool:
        """`not possible` is `impossible`, and whoever is older has a younger one beside them."""
        return len(self.turned) == 2

    @cached_property
    def only_s(self) -> list[Word]:
        return [word for meant, word in self.s.meant.items() if meant not in self.t.meant]

    @cached_property
    def only_t(self) -> list[Word]:
        return [word for meant, word in self.t.meant.items() if meant not in self.s.meant]

    @cached_property
    def replaced(self) -> float:
        """How sure it is that one word or name stands in the place of another one, and all else is the same."""
        one, other = self.only_s, self.only_t
        if not one or not other or self.turned or len(one) > 4 or len(other) > 4 or not self.is_comparable:
            return 0.0
        if not (_are_together(one, self.s) and _are_together(other, self.t)):
            return 0.0
        if any(word.plain in self.one.names for word in one) and any(word.plain in self.other.names for word in other):
            return 1.0
        if one[-1] is self.s.content[-1] and other[-1] is self.t.content[-1]:
            return 0.9
        if _is_the_one(one, self.s) and _is_the_one(other, self.t):
            return 0.9
        return 0.9 if _is_thing(one, self.s) and _is_thing(other, self.t) else 0.4

    @cached_property
    def is_nothing_else(self) -> bool:
        """Whether they begin alike, and no word sets them apart but those of one pair of opposites."""
        one, other = self.only_s, self.only_t
        if _subject(self.s) != _subject(self.t) or len(one) != len(other) or len(one) > 1:
            return False
        return not one or _are_opposites(one[0].stem, other[0].stem)

    @cached_property
    def frame_is_open(self) -> bool:
        """Whether what is said can be said of many things at once: one may like tea and coffee."""
        return any(stem in _MANY for stem in _verbs(self.s) & self.t.stems | _verbs(self.t) & self.s.stems)

    @property
    def told(self) -> str:
        return self.quote(_text(self.only_s), _text(self.only_t))

    def _of_short_values(self) -> Iterator[Measured]:
        if self.one.items and self.other.items:
            yield from self._of_lists()
        elif not self.is_part:
            yield "short_values", 1.0 - self.shared / 2, f"two different values of one kind: {self.told}".rstrip(": ")

    def _of_lists(self) -> Iterator[Measured]:
        one, other = self.one.items, self.other.items
        if one != other:
            yield "lists", 1.0, f"lists with {len(one & other)} of {len(one | other)} items in common"


def cosine(one: Sequence[float] | None, other: Sequence[float] | None) -> float | None:
    """The cosine of the angle between two embeddings; None where there is none."""
    if one is None or other is None or len(one) != len(other) or not len(one):
        return None
    norm = sqrt(sum(map(mul, one, one))) * sqrt(sum(map(mul, other, other)))
    found = sum(map(mul, one, other)) / norm if norm else 0.0
    return max(-1.0, min(1.0, found)) if norm and isfinite(found) else None


def _focus(one: Reading, other: Reading) -> tuple[Sentence, Sentence, float, float]:
    whole = (one.whole, other.whole, *_overlap(one.whole, other.whole))
    if len(one.sentences) == len(other.sentences) == 1:
        return whole
    found = [(s, t, *_overlap(s, t)) for s in one.sentences for t in other.sentences]
    # The same sentence in both says nothing about where they part.
    closer = [each for each in found if each[2] > whole[2] and not _says_the_same(each[0], each[1])]
    # Among equals the texts decide, not which of the two was given first.
    return max(closer, key=lambda each: (*each[2:], *sorted((each[0].text, each[1].text))), default=whole)


def _says_the_same(s: Sentence, t: Sentence) -> bool:
    return s.meant.keys() == t.meant.keys() and s.negations == t.negations and s.numbers == t.numbers


def _overlap(s: Sentence, t: Sentence) -> tuple[float, float]:
    """Dice's coefficient (1945) and the overlap coefficient (Szymkiewicz, Simpson) of the words that matter."""
    # Numbers and dates count where they agree; where they do not, they are what differs about one matter.
    values = len(s.numbers & t.numbers) + len(s.dates & t.dates)
    shared = float(len(s.meant.keys() & t.meant.keys()) + values)
    one, other = float(len(s.meant) + values), float(len(t.meant) + values)
    if s.leader and s.leader == t.leader:
        shared, one, other = shared - 1 + _LEADER, one - 1 + _LEADER, other - 1 + _LEADER
    if not one or not other:
        return 0.0, 0.0
    return 2 * shared / (one + other), shared / min(one, other)


def _negation(pair: Pair) -> Measured | None:
    if (pair.s.negations - pair.t.negations) % 2 == 0:
        return None
    return "negation", 1.0, "one of them negates, the other does not"


def _antonyms(pair: Pair) -> Measured | None:
    one, other = pair.s.stems - pair.t.stems, pair.t.stems - pair.s.stems
    found = [
        pair.quote(word, opposite)
        for word in one
        if (opposite := min(_OPPOSITES.get(word, _NO_WORDS) & other, default="") or _negated(word, other))
    ]
    return ("antonyms", 1.0, f"opposites: {min(found)}") if found else None


def _negated(word: str, others: Set[str]) -> str:
    """Of `others` the one that differs from `word` by a prefix that negates."""
    for prefix in lexicon.NEGATIVE_PREFIXES:
        if len(word) > 3 and prefix + word in others:
            return prefix + word
        base = word.removeprefix(prefix)
        if base != word and len(base) > 3 and base in others:
            return base
    return ""


def _exclusive(pair: Pair) -> Measured | None:
    if _negation(pair):
        return None
    for together in _EXCLUSIVE:
        one, other = together & pair.s.stems, together & pair.t.stems
        if one and other and not one & other:
            return "exclusive", 1.0, f"only one can be: {pair.quote(min(one), min(other))}"
    return None


def _quantities(pair: Pair) -> Measured | None:
    one, other = pair.s.numbers - pair.t.numbers, pair.t.numbers - pair.s.numbers
    for dimension, amount in sorted(one):
        for another, rival in sorted(other):
            if dimension == another or pair.are_short:
                quoted = pair.quote(_in_units(dimension, amount), _in_units(another, rival))
                return "quantities", 1.0, f"numbers differ: {quoted}"
    return None


def _in_units(dimension: str, amount: str) -> str:
    """An amount of base units in the largest unit of which it is a whole number."""
    if dimension == CLOCK:
        return "{:02}:{:02}".format(*divmod(int(amount), 60))
    for size, name in lexicon.BY_SIZE.get(dimension, ()):
        if (whole := float(amount) / size).is_integer():
            return f"{whole:g} {name}"
    return f"{amount} {dimension}".rstrip()


def _dates(pair: Pair) -> Measured | None:
    one, other = pair.s.dates - pair.t.dates, pair.t.dates - pair.s.dates
    if any(_differ(a, b) for a in one for b in other):
        return "dates", 1.0, "dates differ"
    return None


def _differ(one: Sequence[object], other: Sequence[object]) -> bool:
    return any(a is not None and b is not None and a != b for a, b in zip(one, other, strict=True))


def _swapped(pair: Pair) -> Measured | None:
    """Whether two parts changed places around a word that tells them apart: `A beats B`, `B beats A`."""
    before, after = (
        [_either_end(word.stem, other) for word in side.words if word.plain not in _ARTICLES]
        for side, other in ((pair.s, pair.t), (pair.t, pair.s))
    )
    if before == after or len(before) > 60 or sorted(before) != sorted(after):
        return None
    # In one order, so that it makes no difference which of the two was given first.
    before, after = sorted(_without_ends(before, after))
    for head in range(1, len(before)):
        tail = _tail(before, after, head)
        if tail:
            around = before[head : len(before) - tail]
            told = pair.quote(*[" ".join(around)] * 2)
            is_mutual = around == ["be"] or not _MUTUAL.isdisjoint(around)
            return None if is_mutual else ("swapped", 1.0, f"both sides of {told} changed places")
    return None


def _either_end(word: str, other: Sentence) -> str:
    """A word, or the first of the two if the other sentence has its opposite: `older` and `younger` order alike."""
    opposites = _OPPOSITES.get(word, _NO_WORDS) & other.stems
    return min(word, *opposites) if opposites and word not in other.stems else word


def _without_ends(before: list[str], after: list[str]) -> tuple[list[str], list[str]]:
    while before and after and before[-1] == after[-1]:
        before, after = before[:-1], after[:-1]
    while before and after and before[0] == after[0]:
        before, after = before[1:], after[1:]
    return before, after


def _tail(before: list[str], after: list[str], head: int) -> int:
    """With how many words `after` begins that end `before`, if it also ends with the first `head` of `before`."""
    if after[-head:] != before[:head]:
        return 0
    return next(
        (
            size
            for size in range(1, len(before) - head)
            if after[:size] == before[-size:] and after[size:-head] == before[head:-size]
        ),
        0,
    )


def _subject(sentence: Sentence) -> str:
    """The word that a sentence begins with, after any article or such."""
    return next((word.stem for word in sentence.words if word.plain not in lexicon.DETERMINERS), "")


def _are_opposites(one: str, other: str) -> bool:
    return (
        other in _OPPOSITES.get(one, _NO_WORDS)
        or bool(_negated(one, {other}))
        or any(one in together and other in together for together in _EXCLUSIVE)
    )


def _verbs(sentence: Sentence) -> frozenset[str]:
    """The words that may be verbs: what comes after an article or such is none."""
    words = sentence.words
    first = [word.stem for word in words[:1]]
    return frozenset(first + [word.stem for before, word in pairwise(words) if before.plain not in lexicon.DETERMINERS])


def _is_thing(words: list[Word], sentence: Sentence) -> bool:
    """Whether some words stand where a thing is named: after an article, a preposition or such, and before no more."""
    first, last = (next(at for at, word in enumerate(sentence.words) if word is one) for one in (words[0], words[-1]))
    following = sentence.words[last + 1 : last + 2]
    return first > 0 and sentence.words[first - 1].plain in lexicon.BEFORE_THINGS and all(w.is_stop for w in following)


def _is_the_one(words: list[Word], sentence: Sentence) -> bool:
    """Whether a sentence begins with some words, and says that they are what there is one of: `Ada is the owner`."""
    last = next(at for at, word in enumerate(sentence.words) if word is words[-1])
    is_, the = ([word.stem for word in sentence.words[last + 1 : last + 3]] + ["", ""])[:2]
    return sentence.words[0] is words[0] and (is_, the) == ("be", "the")


def _are_together(words: list[Word], sentence: Sentence) -> bool:
    places = [at for at, word in enumerate(sentence.content) if any(word is one for one in words)]
    return places[-1] - places[0] < len(places)


def _text(words: list[Word]) -> str:
    return " ".join(word.plain for word in words)


def _opposites() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for one, other in lexicon.ANTONYMS:
        found.setdefault(stem(one), set()).add(stem(other))
        found.setdefault(stem(other), set()).add(stem(one))
    return {word: frozenset(others) for word, others in found.items()}


_NO_WORDS: frozenset[str] = frozenset()
_OPPOSITES = _opposites()
_EXCLUSIVE = tuple(frozenset(map(stem, words)) for words in lexicon.EXCLUSIVE)
_MANY = frozenset(map(stem, lexicon.MANY))
_MUTUAL = frozenset(map(stem, lexicon.MUTUAL))
_ARTICLES = frozenset({"a", "an", "the"})
