"""Questions about memories. Each chain that answers a caller begins with `visible_to`."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import UUID

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, DateTimeField, Exists, F, Func, Q, UUIDField, Value
from django.db.models.functions import Now
from django.db.models.sql.compiler import SQLCompiler

from memoryhub.firewall.querysets import visible
from memoryhub.firewall.types import Clearance, label_key
from memoryhub.memories.text import fold

if TYPE_CHECKING:
    from memoryhub.memories.models import Memory

Row = TypeVar("Row", bound=models.Model)

NEWEST_FIRST = ("-timestamp", "-memory_id")
GRAM_BYTES = 3


class Contains(Func):
    """Whether a text contains another, without regard to case, composition and invisible characters."""

    output_field = BooleanField()

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **_: Any) -> tuple[str, list[Any]]:
        content, sought = self.get_source_expressions()
        content_sql, content_params = compiler.compile(content)
        sought_sql, sought_params = compiler.compile(sought)
        decides = f"memory_fold({content_sql}) LIKE memory_pattern({sought_sql})"
        params = [*content_params, *sought_params]
        if len(fold(sought.value).encode()) < GRAM_BYTES:
            return decides, params
        # What the index can answer comes first; the pattern decides.
        return f"(memory_grams({content_sql}) @> memory_grams({sought_sql}) AND {decides})", [*params, *params]


class Before(Func):
    """Whether a row's (timestamp, memory_id) comes after a given pair in a list that is newest first."""

    output_field = BooleanField()
    template = "(timestamp, memory_id) < (%(expressions)s)"


class ClassifiedQuerySet(models.QuerySet[Row]):
    """Rows that carry a namespace, a tier and labels."""

    def visible_to(self, clearance: Clearance) -> Self:
        """Rows that `clearance` may see: the only way in which rows reach a caller."""
        return self.filter(visible(clearance))

    def labelled(self, *labels: str) -> Self:
        """Rows that carry all of `labels`, in whatever spelling."""
        return self.filter(label_keys__contains=sorted(map(label_key, labels)))


class MemoryQuerySet(ClassifiedQuerySet["Any"]):
    def current(self) -> Self:
        """The version in force of each memory that has not outlived its time to live."""
        unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=Now())
        return self.filter(unexpired, superseded_at__isnull=True)

    def mortal(self) -> Self:
        """Memories with a time to live, which no tally holds."""
        return self.filter(expires_at__isnull=False)

    def containing(self, text: str) -> Self:
        """Memories whose content contains `text`, without regard to case and invisible characters."""
        return self.filter(Contains(F("content"), Value(text)))

    def history(self, memory_id: UUID) -> Self:
        """All versions of one memory, the newest first; none, unless the version in force is among these rows.

        History never declassifies: what may not be seen now is not seen as it was before.
        """
        current = self.current().filter(memory_id=memory_id)
        return self.filter(Exists(current), memory_id=memory_id).order_by("-version")

    def beside(self, memory: "Memory") -> Self:
        """Other memories in force about the same subject and collection."""
        return self.current().filter(subject=memory.subject, collection=memory.collection).exclude(
            memory_id=memory.memory_id
        )

    def newest_first(self) -> Self:
        """The order of every list. memory_id breaks ties, so that equal instants page the same way twice."""
        return self.order_by(*NEWEST_FIRST)

    def before(self, timestamp: datetime, memory_id: UUID) -> Self:
        """What follows (timestamp, memory_id) in a list that is newest first."""
        pair = (Value(timestamp, DateTimeField()), Value(memory_id, UUIDField()))
        return self.filter(Before(*pair))
