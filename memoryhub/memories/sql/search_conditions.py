"""Conditions on texts, labels and secrets: what a search compares, and the expressions that indexes hold."""

from dataclasses import dataclass

from django.contrib.postgres.fields import ArrayField
from django.db.models import BigIntegerField, BooleanField, Case, F, Func, Q, TextField, When
from django.db.models.expressions import Combinable

from memoryhub.core.storable_text import fold_text
from memoryhub.firewall.clearance import normalize_label

TRIGRAM_BYTES = 3
# The text of a memory that is compared with other texts. A caller who could search masked secrets could spell them out
# letter by letter. (A CASE, because PostgreSQL does not treat COALESCE as leakproof, and then uses no index under
# row-level security.)
SEARCHED_TEXT = Case(When(masked_content__isnull=True, then=F("content")), default=F("masked_content"))
HOLDS_SECRET = Q(masked_content__isnull=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTerms:
    """Search terms that the order of a list does not help to find: a text that contents contain, labels of memories."""

    text: str = ""
    labels: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.labels)

    @property
    def normalized_labels(self) -> list[str]:
        return sorted(map(normalize_label, self.labels))

    @property
    def has_trigrams(self) -> bool:
        return len(fold_text(self.text).encode()) >= TRIGRAM_BYTES


class TextContains(Func):
    """Whether a text contains another, without regard to case, composition and invisible characters."""

    output_field = BooleanField()
    template = "memory_fold(%(expressions)s)"
    arg_joiner = ") LIKE memory_like_pattern("


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
