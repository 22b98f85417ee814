"""Conditions on texts, labels and secrets: what a search compares, and the expressions that indexes hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.search import SearchVectorField
from django.db.models import BigIntegerField, BooleanField, Case, F, Field, Func, Q, TextField, Value, When
from django.db.models.expressions import Combinable

from memoryhub.core.storable_text import fold_text
from memoryhub.firewall.clearance import normalize_label

TRIGRAM_BYTES = 3
# The text of a memory that is compared with other texts. A caller who could search masked secrets could spell them out
# letter by letter. (A CASE, because PostgreSQL does not treat COALESCE as leakproof, and then uses no index under
# row-level security.)
SEARCHED_TEXT = Case(When(masked_content__isnull=True, then=F("content")), default=F("masked_content"))
HOLDS_SECRET = Q(masked_content__isnull=False)
# Always true: the predicate of the index of words, which is used by lookups of words alone.
WORD_INDEX_GUARD = Q(tier__gte="")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTerms:
    """Search terms that the order of a list does not help to find: texts that contents contain, labels of memories.

    `words` are words and phrases; `literals` are texts that are contained letter by letter.
    """

    words: tuple[str, ...] = ()
    excluded_words: tuple[str, ...] = ()
    literals: tuple[str, ...] = ()
    excluded_literals: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.has_text or bool(self.labels)

    @property
    def has_text(self) -> bool:
        return bool(self.words or self.excluded_words or self.literals or self.excluded_literals)

    @property
    def normalized_labels(self) -> list[str]:
        return sorted(map(normalize_label, self.labels))

    @property
    def indexed_literals(self) -> list[str]:
        """The literals that are long enough for the index of trigrams."""
        return [text for text in self.literals if len(fold_text(text).encode()) >= TRIGRAM_BYTES]

    @property
    def has_lookup(self) -> bool:
        """Whether an index finds the matches."""
        return bool(self.words or self.indexed_literals or self.labels)

    def text_conditions(self, row_id: Any, recorded_at: Any, searched_text: Any) -> list[Func]:
        """Return the conditions that the text of a row matches, given these columns of the row."""
        conditions: list[Func] = []
        if self.words or self.excluded_words:
            row_words = RowWords(row_id, recorded_at, searched_text)
            conditions.append(HasWords(row_words, WordQuery(self.words, self.excluded_words)))
        conditions += [TextContains(searched_text, Value(text)) for text in self.literals]
        conditions += [TextLacks(searched_text, Value(text)) for text in self.excluded_literals]
        return conditions


class WordQuery(Func):
    """A full-text query for all of some words and phrases, and none of others."""

    output_field = Field()
    template = "(%(expressions)s)"
    arg_joiner = " && "

    def __init__(self, words: Sequence[str], excluded_words: Sequence[str] = ()) -> None:
        super().__init__(
            *map(_word_query, words),
            *(
                Func(Value(text), template="!! memory_word_query(%(expressions)s)", output_field=Field())
                for text in excluded_words
            ),
        )


class AnyWordQuery(Func):
    """A full-text query for any of some words."""

    output_field = Field()
    template = "(%(expressions)s)"
    arg_joiner = " || "

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__(*map(_word_query, words))


def _word_query(text: str) -> Func:
    return Func(Value(text), function="memory_word_query", output_field=Field())


class RowWords(Func):
    """The words of a row: from the index, or computed if the index is not as far yet."""

    output_field = SearchVectorField()
    template = "(CASE WHEN %(expressions)s END)"
    arg_joiner = " "

    def __init__(self, row_id: Any, recorded_at: Any, searched_text: Any) -> None:
        super().__init__(
            Func(recorded_at, template="%(expressions)s <= (SELECT memory_words_indexed_through())"),
            Func(row_id, template="THEN (SELECT words FROM memory_words WHERE row_id = %(expressions)s)"),
            Func(searched_text, template="ELSE memory_words(%(expressions)s)"),
        )


class HasWords(Func):
    """Whether words match a full-text query."""

    output_field = BooleanField()
    template = "(%(expressions)s)"
    arg_joiner = " @@ "


class MatchesWordIndex(Func):
    """Whether a row of a tier has all the words of one of `alternatives`, or is not in the index of words yet.

    Phrases are not compared, nor the words of rows that are not in the index: the other conditions do that.
    """

    output_field = BooleanField()
    template = "memories.id = ANY (ARRAY(SELECT row_id FROM memory_words WHERE tier >= '' AND (%(expressions)s))"
    arg_joiner = (
        ") UNION ALL SELECT id FROM memories AS unindexed WHERE schema_version >= 1"
        " AND recorded_at > (SELECT memory_words_indexed_through()) AND classification_tier = "
    )

    def __init__(self, alternatives: Sequence[Sequence[str]], tier: Combinable) -> None:
        super().__init__(_any_of([_HasIndexedWords(words, tier) for words in alternatives]), tier)


class _HasIndexedWords(Func):
    template = "memory_tier_words(words, tier) @> %(expressions)s"

    def __init__(self, words: Sequence[str], tier: Combinable) -> None:
        searched_words = Func(Value(" ".join(words)), function="memory_words", output_field=SearchVectorField())
        super().__init__(tier_words(searched_words, tier))


def _any_of(conditions: Sequence[Func]) -> Func:
    return Func(*conditions, template="%(expressions)s", arg_joiner=" OR ", output_field=BooleanField())


class TextContains(Func):
    """Whether a text contains another, without regard to case, composition and invisible characters."""

    output_field = BooleanField()
    template = "memory_fold(%(expressions)s)"
    arg_joiner = ") LIKE memory_like_pattern("


class TextLacks(TextContains):
    """Whether a text does not contain another."""

    template = f"NOT {TextContains.template}"


class HoldsSecret(Func):
    """Whether a short text contains something that would be masked: searches in short texts skip those.

    Only contents have a stored masked form.
    """

    output_field = BooleanField()
    function = "memory_holds_secret"


# Plain `Func` expressions, so that the migrations, which have them in two indexes, do not import this module.
def tier_trigrams(text: Combinable, tier: Combinable) -> Func:
    """The byte trigrams of the folded text, each tagged with its tier (substring search without pg_trgm)."""
    return Func(text, tier, function="memory_tier_trigrams", output_field=ArrayField(BigIntegerField()))


def tier_labels(labels: Combinable, tier: Combinable) -> Func:
    """The labels, each tagged with its tier: a lookup for one tier reaches no row of another."""
    return Func(labels, tier, function="memory_tier_labels", output_field=ArrayField(TextField()))


def tier_words(words: Combinable, tier: Combinable) -> Func:
    """The stems of words, each as a hash together with its tier."""
    return Func(words, tier, function="memory_tier_words", output_field=ArrayField(BigIntegerField()))
