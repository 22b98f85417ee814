"""Questions about memories. Each chain that answers a caller begins with `visible_to`."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import UUID

from django.db import models
from django.db.models import BooleanField, DateTimeField, Exists, F, Func, Q, UUIDField, Value
from django.db.models.functions import Now

from memoryhub.firewall.querysets import visible
from memoryhub.firewall.types import Clearance, label_key
from memoryhub.memories.text import fold

if TYPE_CHECKING:
    from memoryhub.memories.models import Memory

Row = TypeVar("Row", bound=models.Model)

NEWEST_FIRST = ("-timestamp", "-memory_id")
GRAM_BYTES = 3


class HasGrams(Func):
    """Whether a text holds all grams of another: what the index can answer."""

    output_field = BooleanField()
    template = "memory_grams(%(expressions)s)"
    arg_joiner = ") @> memory_grams("


class Spells(Func):
    """Whether a text contains another, without regard to case, composition and invisible characters."""

    output_field = BooleanField()
    template = "memory_fold(%(expressions)s)"
    arg_joiner = ") LIKE memory_pattern("


class Beyond(Func):
    """Whether a row's (timestamp, memory_id) comes after a given pair in a list that is newest first."""

    output_field = BooleanField()
    template = "(timestamp, memory_id) < (%(expressions)s)"


class UpTo(Beyond):
    """Whether a row's (timestamp, memory_id) comes before a given pair in such a list, or is that pair."""

    template = "(timestamp, memory_id) >= (%(expressions)s)"


class ClassifiedQuerySet(models.QuerySet[Row]):
    """Rows that carry a namespace, a tier and labels."""

    def visible_to(self, clearance: Clearance) -> Self:
        """Rows that `clearance` may see: the only way in which rows reach a caller."""
        return self.filter(visible(clearance))

    def labelled(self, *labels: str) -> Self:
        """Rows that carry all of `labels`, in whatever spelling."""
        return self.filter(label_keys__contains=sorted(map(label_key, labels)))


class MemoryQuerySet(ClassifiedQuerySet[Any]):
    def current(self) -> Self:
        """The version in force of each memory that has not outlived its time to live."""
        unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=Now())
        return self.filter(unexpired, superseded_at__isnull=True)

    def mortal(self) -> Self:
        """Memories with a time to live, which no tally holds."""
        return self.filter(expires_at__isnull=False)

    def containing(self, text: str) -> Self:
        """Memories whose content contains `text`, without regard to case and invisible characters; by the index."""
        has_grams = len(fold(text).encode()) >= GRAM_BYTES
        matches = self.spelling(text)
        return matches.filter(HasGrams(F("content"), Value(text))) if has_grams else matches

    def spelling(self, text: str) -> Self:
        """The same memories, found by reading one after the other."""
        return self.filter(Spells(F("content"), Value(text)))

    def history(self, memory_id: UUID) -> Self:
        """All versions of one memory, the newest first; none, unless the version in force is among these rows.

        History never declassifies: what may not be seen now is not seen as it was before.
        """
        current = self.current().filter(memory_id=memory_id)
        return self.filter(Exists(current), memory_id=memory_id).order_by("-version")

    def beside(self, memory: "Memory") -> Self:
        """Other memories in force about the same subject and collection."""
        return (
            self.current()
            .filter(subject=memory.subject, collection=memory.collection)
            .exclude(memory_id=memory.memory_id)
        )

    def newest_first(self) -> Self:
        """The order of every list. memory_id breaks ties, so that equal instants page the same way twice."""
        return self.order_by(*NEWEST_FIRST)

    def before(self, timestamp: datetime, memory_id: UUID) -> Self:
        """What follows (timestamp, memory_id) in a list that is newest first."""
        return self.filter(Beyond(*_key(timestamp, memory_id)))

    def up_to(self, timestamp: datetime, memory_id: UUID) -> Self:
        """What comes before (timestamp, memory_id) in a list that is newest first, and that row itself."""
        return self.filter(UpTo(*_key(timestamp, memory_id)))

    def newest(self, number: int) -> Self | None:
        """The newest `number` rows; None if there are fewer, so that they are all."""
        last = list(self.newest_first().values_list("timestamp", "memory_id")[number - 1 : number])
        return self.up_to(*last[0]) if last else None

    def sampled(self, text: str, number: int) -> list[tuple[datetime, UUID, bool]]:
        """(timestamp, memory_id, whether it contains `text`) of the newest `number` rows."""
        marked = self.newest_first().annotate(hit=Spells(F("content"), Value(text)))
        return list(marked.values_list("timestamp", "memory_id", "hit")[:number])


def _key(timestamp: datetime, memory_id: UUID) -> tuple[Value, Value]:
    return Value(timestamp, DateTimeField()), Value(memory_id, UUIDField())
