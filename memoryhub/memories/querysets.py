"""Questions about memories. Each chain that answers a caller begins with `visible_to`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.db.models import (
    BooleanField,
    Case,
    CharField,
    DateTimeField,
    F,
    Func,
    OuterRef,
    Q,
    Subquery,
    UUIDField,
    Value,
    When,
)
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Now
from django.db.models.lookups import IsNull

from memoryhub.firewall.querysets import stored_tiers, visible
from memoryhub.firewall.types import Clearance, label_key
from memoryhub.memories.text import fold

if TYPE_CHECKING:
    from memoryhub.memories.models import Memory

Row = TypeVar("Row", bound=models.Model)

GRAM_BYTES = 3
# The order of every list. memory_id breaks ties, so that equal instants page the same way twice.
NEWEST_FIRST = ("-timestamp", "-memory_id")
# What stands in a question for what each of its parts is told; no text that is stored or sought holds a NUL.
ANY_TIER, ANY_FORETOLD, ANY_LATEST = "\0", "\0foretold", "\0latest"
FORETOLD_AFTER = timedelta(days=1)
"""An event that lies further ahead of the instant at which the hub came to know of it is foretold (`Memory.foretold`).

What is not foretold cannot have been known before its event, but for a day: a list as it was known at an instant begins
there, and need not pass all that came later.
"""
ACTIVE, EXPIRED = "active", "expired"
"""An active memory whose `expires_at` has come is expired. No row says so: time passes without a write."""
END_OF_TIME = datetime.max.replace(tzinfo=UTC)
# True of every row, and said only by who means one of the indexes that ask for it: else PostgreSQL would take an
# inverted index, which is small, for a way to all current rows at once, those of hidden tiers among them.
LOOKED_UP = Q(schema_version__gte=1)
# The same trick for the indexes that do not begin with the tier: those that keep ids unique, and those of decisions. A
# question that does not say this cannot go through them, whatever it filters by, and so passes no row of a tier that it
# does not name. It is said where an id is looked up, and nowhere else. Not LOOKED_UP: who looks up a label would have
# a way through all sources then.
BY_ID = Q(version__gte=1)
# The text of a memory to whoever compares it with another: whoever may search what is masked can spell it out letter by
# letter. (A CASE, because PostgreSQL holds that a COALESCE may leak, and then uses no index behind row-level security.)
SEARCHED_TEXT = Case(When(masked_content__isnull=True, then=F("content")), default=F("masked_content"))
HOLDS_SECRET = Q(masked_content__isnull=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """What no order leads to: a text that the contents contain, labels that the memories carry."""

    text: str = ""
    labels: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.labels)

    @property
    def keys(self) -> list[str]:
        return sorted(map(label_key, self.labels))

    @property
    def has_grams(self) -> bool:
        return len(fold(self.text).encode()) >= GRAM_BYTES


class HasGrams(Func):
    """Whether the searched text of a row of a tier holds all grams of another text: what the index can answer."""

    output_field = BooleanField()
    template = "memory_tier_grams(%(expressions)s)"
    arg_joiner = ", classification_tier) @> memory_tier_grams("


class OfTier(Func):
    """A text and the tier that its grams are told apart by, as `memory_tier_grams` takes them."""

    output_field = CharField()
    template = "%(expressions)s"


class IsMortal(Func):
    """Whether a row of a tier has a time to live, or with `is_active` one that has not passed.

    An array, because no planner knows how long it is: whatever hidden rows there are, the row's own index is not chosen
    by their number.
    """

    output_field = BooleanField()
    template = (
        "memories.id = ANY (ARRAY(SELECT id FROM memories AS mortal WHERE superseded_at IS NULL"
        " AND classification_tier = %(expressions)s AND expires_at %(bound)s))"
    )

    def __init__(self, *expressions: Any, is_active: bool) -> None:
        # Memories expire and stay: those that have expired are not read to count the others.
        super().__init__(*expressions, bound="> statement_timestamp()" if is_active else "IS NOT NULL")


class Among(Func):
    """Whether a memory is one of those that are looked up.

    An array, because no planner knows how long it is: hidden rows have no part in how it is read.
    """

    output_field = BooleanField()
    arg_joiner = " = ANY ("
    template = "%(expressions)s)"


class HasLabels(Func):
    """Whether a row of a tier carries all labels of a list: what the index can answer."""

    output_field = BooleanField()
    template = "memory_tier_labels(label_keys, classification_tier) @> memory_tier_labels(%(expressions)s)"


class Spells(Func):
    """Whether a text contains another, without regard to case, composition and invisible characters."""

    output_field = BooleanField()
    template = "memory_fold(%(expressions)s)"
    arg_joiner = ") LIKE memory_pattern("


class HoldsSecret(Func):
    """Whether something in a short text would be masked: a search within such texts passes over those that do.

    What is masked has a stored form of its own in the contents alone.
    """

    output_field = BooleanField()
    function = "memory_holds_secret"


class OfPart(Func):
    """What a part of a question asked in turn is told."""

    output_field = models.Field()
    template = "parts.%(name)s"


class Told(Func):
    """What a part of a merged question is told in the place of a parameter."""

    output_field = models.Field()
    template = "%(expressions)s::%(type)s"


class Beyond(Func):
    """Whether a row's (timestamp, memory_id) comes after a given pair in a list that is newest first."""

    output_field = BooleanField()
    template = "(timestamp, memory_id) < (%(expressions)s)"


# A version that only classifies anew tells when, and by which row, it was said.
SAID = {"said_at": "recorded_at", "said_id": "id"}


class Supersedes(Func):
    """Whether a value of the same key comes after another: by event time, by record time, then as it was written."""

    output_field = BooleanField()
    template = "(timestamp, coalesce(said_at, recorded_at), coalesce(said_id, id)) > (%(expressions)s)"


class InForce(Func):
    """Whether a version was not superseded by an instant.

    In words that no index answers: which of the ways to the ended ones and to the others is taken, and not that in the
    order of what is asked for, would be the planner's guess from the number of hidden rows.
    """

    output_field = BooleanField()
    template = "(coalesce(%(expressions)s))"
    arg_joiner = ", 'infinity') > ("


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
    """Memories. Lists of them are read tier by tier, so that what hidden tiers hold costs a reader nothing."""

    tiers: Sequence[str] = ()
    lookups: Sequence[Any] = ()
    """Conditions that an index answers in an order of its own, for any tier."""
    is_stretch = False
    seen_by: Clearance | None = None
    instant: datetime | None = None
    """The instant of record time at which these versions were in force; None is now."""
    valid_at: datetime | None = None
    """The instant at which it is judged whether these versions have expired; None is now."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.samples: dict[tuple[Sought, int], list[tuple[datetime, UUID, bool]]] = {}

    def visible_to(self, clearance: Clearance) -> Self:
        visible = super().visible_to(clearance)
        visible.tiers, visible.seen_by = stored_tiers(clearance), clearance
        return visible

    def newest(self, number: int, *names: str, **computed: Any) -> tuple[str, list[Any]]:
        """The SQL, with its parameters, of the newest `number` rows: `names` of each, and its timestamp and memory_id.

        One question for each tier, merged.
        """
        columns = (*names, *(name for name in ("timestamp", "memory_id") if name not in names))
        if self.lookups:
            rows, params = self._merged(self._looked_up().values(*columns, **computed))
        elif self.is_stretch:
            rows, params = self._merged(self._of_a_tier().values(*columns, **computed))
        else:
            part = self._part(*(OfPart(name=name) for name in _PART)).order_by(*NEWEST_FIRST)[:number]
            rows, params = self._in_turn(part.values(*columns, **computed))
        return _NEWEST.format(rows=rows, number=number), params

    def at_once(self) -> Self:
        """The same rows, looked up already, to be taken in whatever order."""
        if not self.lookups:
            return self
        return self.filter(id__in=RawSQL(*self._merged(self._looked_up().values("id"))))  # noqa: S611 - compiled here

    def in_order(self, order: Sequence[str], *names: str, **computed: Any) -> tuple[str, list[Any]]:
        """The SQL, with its parameters, of all rows in an order that an index has for each tier: merged, not sorted."""
        part = self.filter(classification_tier=ANY_TIER).order_by(*order).values(*names, **computed)
        return self._union(part, [{ANY_TIER: tier} for tier in self.tiers or [""]])

    def _of_a_tier(self) -> Self:
        return self._part(
            ANY_TIER,
            Told(Value(ANY_FORETOLD), type="boolean"),
            Told(Value(ANY_LATEST), type="timestamptz"),
        )

    def _part(self, tier: Any, foretold: Any, latest: Any) -> Self:
        """The rows of a tier; at an instant those that were foretold or those that were not, and up to when they go."""
        part = self.filter(classification_tier=tier)
        return part if self.instant is None else part.filter(foretold=foretold, timestamp__lte=latest)

    @property
    def _parts(self) -> list[tuple[str, bool, datetime]]:
        """What `_part` is told in turn."""
        tiers = self.tiers or [""]
        if self.instant is None:
            return [(tier, False, END_OF_TIME) for tier in tiers]
        ends = [(False, self.instant + FORETOLD_AFTER), (True, END_OF_TIME)]
        return [(tier, *end) for tier in tiers for end in ends]

    def _looked_up(self) -> Self:
        return self._of_a_tier().filter(LOOKED_UP, *self.lookups)

    def _in_turn(self, part: models.QuerySet[Any, Any]) -> tuple[str, list[Any]]:
        """A question about `parts`, asked for one after the other, and planned once.

        To plan it for each costs five times as much as to answer it, where it is limited.
        """
        sql, params = compiled(part)
        told = self._parts if self.tiers else []
        return _IN_TURN.format(part=sql), [*([part[place] for part in told] for place in range(len(_PART))), *params]

    def _merged(self, part: models.QuerySet[Any, Any]) -> tuple[str, list[Any]]:
        """A question about any part for each, planned with what it is told before the planner's eyes."""
        names = (ANY_TIER, ANY_FORETOLD, ANY_LATEST)
        return self._union(part, [dict(zip(names, values, strict=True)) for values in self._parts])

    def _union(self, part: models.QuerySet[Any, Any], told: Sequence[Mapping[str, Any]]) -> tuple[str, list[Any]]:
        sql, params = compiled(part)
        each = [of_part.get(param, param) if isinstance(param, str) else param for of_part in told for param in params]
        return " UNION ALL ".join([f"({sql})"] * len(told)), each

    def current(self) -> Self:
        """The version in force of each memory, whatever its status, expired or not."""
        return self.filter(superseded_at__isnull=True)

    def known_at(self, instant: datetime) -> Self:
        """The version of each memory that was in force at `instant` of record time, whatever its status.

        Time travel never declassifies: a version is there if it may be seen under its labels, and the memory may be
        seen under those of now.
        """
        in_force = Q(InForce(F("superseded_at"), Value(instant, DateTimeField())))
        return self.recorded_by(instant).filter(in_force)

    def judged_at(self, instant: datetime | None) -> Self:
        """The same rows, of which it is judged at `instant` whether they have expired; None is now."""
        judged = self.all()
        judged.valid_at = instant
        return judged

    def unexpired(self) -> Self:
        """Versions whose time to live has not passed, whatever their status."""
        return self.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=self._judged_at))

    def without_expired(self) -> Self:
        """Versions that are told with the status of their row: what is retired or in quarantine does not expire."""
        return self.exclude(self._has_expired)

    def active(self) -> Self:
        """Active versions that have not expired: what holds."""
        return self.unexpired().filter(status=ACTIVE)

    def with_status(self, status: str) -> Self:
        """Versions with a status as readers are told it."""
        if status == EXPIRED:
            return self.filter(self._has_expired)
        return self.active() if status == ACTIVE else self.filter(status=status)

    @property
    def is_expired(self) -> Case:
        """Whether a row has expired, to be told with it."""
        return Case(When(self._has_expired, then=True), default=False)

    @property
    def _has_expired(self) -> Q:
        return Q(status=ACTIVE, expires_at__lte=self._judged_at)

    @property
    def _judged_at(self) -> Any:
        return Now() if self.valid_at is None else Value(self.valid_at, DateTimeField())

    def recorded_by(self, instant: datetime) -> Self:
        """All versions that the hub knew at `instant`, of memories that may be seen as they stand now."""
        known = self.filter(self._seen_now(), recorded_at__lte=instant)
        known.instant = instant
        return known

    def _seen_now(self) -> Q:
        """Versions of memories whose latest version may be seen as well. (No join, whose way would be a guess.)"""
        if self.seen_by is None:
            raise TypeError("An earlier instant is asked about by somebody: visible_to comes first.")
        of_now = type(self)(self.model).visible_to(self.seen_by)
        latest = of_now.with_id(OuterRef("memory_id")).filter(superseded_at__isnull=True).values("id")[:1]
        return Q(superseded_at__isnull=True) | Q(IsNull(Subquery(latest), False))

    def believed(self) -> Self:
        """Of the values that share a subject and a collection, the latest: by event time, then by record time.

        Record time is that at which the value was told: to classify it anew, or to undo that, makes it no younger. What
        is said of no subject has no key and is no value of one.
        """
        # What comes later is not earlier: an index knows of events alone.
        same_key = self.filter(
            subject=OuterRef("subject"), collection=OuterRef("collection"), timestamp__gte=OuterRef("timestamp")
        )
        told = [Coalesce(OuterRef(said), OuterRef(own)) for said, own in SAID.items()]
        later = same_key.filter(Supersedes(OuterRef("timestamp"), *told))
        return self.exclude(subject="").filter(IsNull(Subquery(later.values("id")[:1]), True))

    def mortal(self, status: str) -> Self:
        """Those with a time to live of rows `with_status(status)`, now; to be asked for as `newest` or `at_once`.

        No tally holds them.
        """
        return self._by(IsMortal(Value(ANY_TIER), is_active=status == ACTIVE))

    def recorded_after(self, moment: datetime) -> Self:
        """Versions that the hub came to know after `moment`."""
        return self.filter(LOOKED_UP, recorded_at__gt=moment)

    def looked_up(self, sought: Sought) -> Self:
        """Memories that have what is sought; by the index."""
        found = self.read_for(sought)
        if sought.has_grams:
            found = found._by(HasGrams(SEARCHED_TEXT, OfTier(Value(sought.text), Value(ANY_TIER))))
        if sought.labels:
            found = found._by(HasLabels(Value(sought.keys, ArrayField(CharField())), Value(ANY_TIER)))
        return found

    def read_for(self, sought: Sought) -> Self:
        """The same memories, found by reading one after the other.

        Texts are compared without regard to case, composition and invisible characters, labels in whatever spelling.
        """
        found = self.filter(Spells(SEARCHED_TEXT, Value(sought.text))) if sought.text else self
        return found.filter(label_keys__contains=sought.keys) if sought.labels else found

    def with_id(self, memory_id: Any) -> Self:
        """The versions of one memory."""
        return self.filter(BY_ID, memory_id=memory_id)

    def with_ids(self, memory_ids: Any) -> Self:
        """The versions of several memories: their ids, or a queryset of them, each of which is looked up."""
        if isinstance(memory_ids, models.QuerySet):
            return self.filter(BY_ID, Among(F("memory_id"), ArraySubquery(memory_ids)))
        return self.filter(BY_ID, memory_id__in=memory_ids)

    def beside(self, memory: "Memory") -> Self:
        """Other memories about the same subject and collection."""
        return self.filter(subject=memory.subject, collection=memory.collection).exclude(memory_id=memory.memory_id)

    def before(self, timestamp: datetime, memory_id: UUID) -> Self:
        """What follows (timestamp, memory_id) in a list that is newest first."""
        return self.filter(Beyond(*_key(timestamp, memory_id)))

    def up_to(self, timestamp: datetime, memory_id: UUID) -> Self:
        """What comes before (timestamp, memory_id) in a list that is newest first, and that row itself.

        It is read whole: how far a reader of one row after the other gets would be the planner's guess.
        """
        found = self.filter(UpTo(*_key(timestamp, memory_id)))
        found.is_stretch = True
        return found

    def stretch(self, number: int) -> Self | None:
        """The newest `number` rows; None if there are fewer, so that they are all."""
        # Merged rather than asked in turn: it reads `number` rows, not as many of each tier.
        parts, params = self._merged(self._of_a_tier().order_by(*NEWEST_FIRST).values("timestamp", "memory_id"))
        last = fetched(f"{_NEWEST.format(rows=parts, number=1)} OFFSET {number - 1:d}", params)
        return self.up_to(**last[0]) if last else None

    def sampled(self, sought: Sought, number: int) -> list[tuple[datetime, UUID, bool]]:
        """(timestamp, memory_id, whether it has what is sought) of the newest `number` rows; asked once."""
        if (sought, number) not in self.samples:
            rows, params = self.newest(number, "label_keys", searched_text=SEARCHED_TEXT)
            # Outside of the rows' own question, whose sort might come after its columns are computed.
            found = fetched(_SAMPLE.format(rows=rows), [sought.keys, sought.text, sought.text, *params])
            self.samples[sought, number] = [(row["timestamp"], row["memory_id"], row["hit"]) for row in found]
        return self.samples[sought, number]

    def _by(self, lookup: Any) -> Self:
        """The same rows, with one more condition to look those of a tier up by."""
        found = self.all()
        found.lookups = (*self.lookups, lookup)
        return found

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]  # the stubs leave it out
        for name in ("tiers", "seen_by", "instant", "valid_at", "lookups", "is_stretch"):
            setattr(clone, name, getattr(self, name))
        return clone


def compiled(queryset: models.QuerySet[Any, Any]) -> tuple[str, list[Any]]:
    # A question that can have no answer, such as one without any tier, is asked all the same: it counts nothing.
    sql, params = queryset.query.get_compiler(connection=connection, elide_empty=False).as_sql()
    return sql, list(params)


def fetched(sql: str, params: Sequence[Any]) -> list[dict[str, Any]]:
    """The rows that `sql` finds, by the names of their columns."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


_NEWEST = 'SELECT * FROM ({rows}) AS found ORDER BY "timestamp" DESC, memory_id DESC LIMIT {number:d}'
_PART = ("tier", "foretold", "latest")
_IN_TURN = (
    "SELECT part.* FROM unnest(%s::varchar[], %s::boolean[], %s::timestamptz[]) AS parts(tier, foretold, latest)"
    " CROSS JOIN LATERAL ({part}) AS part"
)
_SAMPLE = """
SELECT timestamp, memory_id,
       label_keys @> %s::varchar[] AND (%s = '' OR memory_fold(searched_text) LIKE memory_pattern(%s)) AS hit
FROM ({rows}) AS newest
ORDER BY timestamp DESC, memory_id DESC
"""


def _key(timestamp: datetime, memory_id: UUID) -> tuple[Value, Value]:
    return Value(timestamp, DateTimeField()), Value(memory_id, UUIDField())
