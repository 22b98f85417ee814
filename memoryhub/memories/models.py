from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import F, Func, Q
from pgvector.django import VectorField

from memoryhub.firewall.types import ACTOR_TYPES
from memoryhub.memories import triggers
from memoryhub.memories.querysets import (
    BY_ID,
    HOLDS_SECRET,
    LOOKED_UP,
    SEARCHED_TEXT,
    ClassifiedQuerySet,
    MemoryQuerySet,
)

KINDS = ("fact", "summary", "checkpoint")
STATUSES = ("active", "retired", "quarantined", "erased")
"""What the column holds. A reader may be told EXPIRED besides, which is derived (`MemoryQuerySet.with_status`)."""
NAME_LENGTH = 255
MAX_LABELS = 64

CURRENT = Q(superseded_at__isnull=True)
DECIDED = Q(decision__isnull=False)
REJECTED = DECIDED & Q(status="retired")


class Utf8(Func):
    """Bytes of a text. To PostgreSQL convert_to is stable; for one encoding it is immutable, as the wrapper says."""

    function = "memory_utf8"
    output_field = models.BinaryField()


class Grams(Func):
    """The three-byte grams of the folded text, for substring search without pg_trgm (measurements.md, "Text")."""

    function = "memory_grams"
    output_field = ArrayField(models.IntegerField())


class TierGrams(Grams):
    """The grams, each told apart by its tier: looked up for one tier, they lead to no row of another."""

    function = "memory_tier_grams"
    output_field = ArrayField(models.BigIntegerField())


class TierLabels(Func):
    """The labels, told apart in the same way."""

    function = "memory_tier_labels"
    output_field = ArrayField(models.TextField())


class Foretold(Func):
    """Whether an event lies further ahead of the instant it was known at than `querysets.FORETOLD_AFTER`."""

    arg_joiner = " - "
    template = "(%(expressions)s > '24:00:00'::interval)"
    output_field = models.BooleanField()


class Lexemes(Func):
    """The words of a text. A tsvector holds at most 1 MB, so the index text is cut; the content never is."""

    template = "to_tsvector('english'::regconfig, left(%(expressions)s, 200000))"
    output_field = SearchVectorField()


def _index(name: str, *fields: str, **options: Any) -> models.Index:
    return models.Index(fields=["classification_tier", *fields], name=f"memories_{name}", **options)


class Memory(models.Model):
    """One row is one version of one memory. Nothing is updated in place, nothing is deleted (design.md, part 3)."""

    id = models.BigAutoField(primary_key=True)
    memory_id = models.UUIDField()
    version = models.PositiveIntegerField(default=1)

    payload_id = models.CharField(max_length=NAME_LENGTH)
    request_id = models.CharField(max_length=NAME_LENGTH, default="", blank=True)
    source = models.CharField(max_length=NAME_LENGTH)
    subject = models.CharField(max_length=NAME_LENGTH, default="", blank=True)
    namespace = models.CharField(max_length=NAME_LENGTH, default="", blank=True)
    destination = models.CharField(max_length=NAME_LENGTH, default="", blank=True)
    collection = models.CharField(max_length=NAME_LENGTH, default="", blank=True)
    content = models.TextField(blank=True)
    masked_content = models.TextField(
        null=True,
        blank=True,
        help_text="The content with its secrets masked, which is what searches read; null where it holds none.",
    )
    model = models.CharField(max_length=NAME_LENGTH, default="", blank=True)
    role = models.CharField(max_length=NAME_LENGTH, default="", blank=True)
    timestamp = models.DateTimeField(help_text="Event time: when the producer says it happened.")
    idempotency_key = models.CharField(max_length=NAME_LENGTH, default="", blank=True)
    schema_version = models.PositiveSmallIntegerField(default=1)
    transform_version = models.CharField(max_length=NAME_LENGTH, default="", blank=True)
    actor_type = models.CharField(max_length=16)
    actor_id = models.CharField(max_length=NAME_LENGTH, default="", blank=True)
    embedding = VectorField(null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    sensitivity_labels = ArrayField(models.CharField(max_length=NAME_LENGTH), default=list, blank=True)
    classification_tier = models.CharField(max_length=64, default="", blank=True)

    kind = models.CharField(max_length=16, default="fact")
    pinned = models.BooleanField(default=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    propagation = models.JSONField(null=True, blank=True)

    label_keys = ArrayField(
        models.CharField(max_length=NAME_LENGTH * 3),
        default=list,
        blank=True,
        help_text="The labels as they are compared (firewall.types.label_key), sorted, each once.",
    )
    defaulted = ArrayField(
        models.CharField(max_length=32),
        default=list,
        blank=True,
        help_text="The envelope's fields that the writer did not give.",
    )
    fingerprint = models.BinaryField(help_text="SHA-256 over the envelope's canonical form: same write, same bytes.")
    content_sha256 = models.GeneratedField(
        expression=Func(Utf8(F("content")), function="sha256"),
        output_field=models.BinaryField(),
        db_persist=True,
    )
    value_sha256 = models.BinaryField(
        help_text="SHA-256 over what it says as a value (memories.values): all spellings of one value have the same.",
    )
    search = models.GeneratedField(
        expression=Lexemes(F("content")),
        output_field=SearchVectorField(),
        db_persist=True,
    )

    recorded_at = models.DateTimeField(default=None, help_text="Record time, given by the database alone.")
    said_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Record time of the version that said it, where this one only classifies it anew or was imported:"
        " then it is a time of the hub that it comes from.",
    )
    said_id = models.BigIntegerField(null=True, blank=True, help_text="The id of that version; internal as id is.")
    superseded_at = models.DateTimeField(null=True, blank=True, help_text="When a next version replaced this one.")
    foretold = models.GeneratedField(
        expression=Foretold(F("timestamp"), F("recorded_at")),
        output_field=models.BooleanField(),
        db_persist=True,
    )
    status = models.CharField(max_length=16, default="active")
    decision = models.UUIDField(
        null=True,
        blank=True,
        help_text="The decision about a conflict that this standing comes from; kept when it is classified anew.",
    )

    is_other_spelling = models.BooleanField(
        default=False,
        help_text="The decision that retired it keeps the same value in another spelling: this text alone is rejected.",
    )
    decided_beyond_source = models.BooleanField(
        default=False,
        help_text="The decision that retired it was made on something that its source, which knows it as it was sent, "
        "may not see: nothing that the source writes is rejected because of it.",
    )

    sent_namespace = models.CharField(
        max_length=NAME_LENGTH, default="", blank=True, help_text="The namespace that its source last sent."
    )
    sent_tier = models.CharField(
        max_length=64, default="", blank=True, help_text="The tier that its source last sent, before others changed it."
    )
    sent_labels = ArrayField(
        models.CharField(max_length=NAME_LENGTH),
        default=list,
        blank=True,
        help_text="The labels that its source last sent.",
    )
    beyond_source = models.BooleanField(
        default=False,
        help_text="The operator stored it beyond its source's clearance for writing: to the source it does not exist.",
    )

    objects: ClassVar[models.Manager["Memory"]] = MemoryQuerySet.as_manager()

    class Meta:
        db_table = "memories"
        verbose_name_plural = "memories"
        constraints = [
            models.UniqueConstraint(fields=["memory_id", "version"], condition=BY_ID, name="memories_version"),
            models.UniqueConstraint(fields=["memory_id"], condition=CURRENT & BY_ID, name="memories_latest"),
            models.UniqueConstraint(
                fields=["source", "payload_id", "beyond_source"], condition=CURRENT & BY_ID, name="memories_identity"
            ),
            models.CheckConstraint(condition=Q(actor_type__in=ACTOR_TYPES), name="memories_actor_type"),
            models.CheckConstraint(condition=Q(kind__in=KINDS), name="memories_kind"),
            models.CheckConstraint(condition=Q(status__in=STATUSES), name="memories_status"),
            # Which tiers there are is the operator's setting and may change after a row was written: an unknown
            # tier is hidden by the firewall, so the table holds its shape alone.
            models.CheckConstraint(
                condition=Q(classification_tier__regex=r"^[a-z0-9_.-]{0,64}$"), name="memories_tier"
            ),
            models.CheckConstraint(condition=~Q(payload_id="") & ~Q(source=""), name="memories_identity_given"),
            models.CheckConstraint(condition=Q(version__gte=1) & Q(schema_version__gte=1), name="memories_versions"),
            models.CheckConstraint(
                condition=Q(timestamp__gte="0001-01-01T00:00:00Z") & Q(timestamp__lte="9999-12-31T23:59:59.999999Z"),
                name="memories_timestamp_readable",
            ),
            models.CheckConstraint(
                # Those that a source sent, and as many that others added.
                condition=Q(sensitivity_labels__len__lte=2 * MAX_LABELS)
                & Q(label_keys__len__lte=F("sensitivity_labels__len")),
                name="memories_labels_length",
            ),
            models.CheckConstraint(
                condition=(Q(status="erased") & Q(content="")) | (~Q(status="erased") & ~Q(content="")),
                name="memories_content_given",
            ),
            models.CheckConstraint(
                # Empty for an earlier version that was imported later than the current one; see triggers.STAMP.
                condition=Q(superseded_at__isnull=True) | Q(superseded_at__gte=F("recorded_at")),
                name="memories_half_open",
            ),
        ]
        indexes = [
            # The tier leads everywhere: a reader's way through an index then passes no row of another tier. Every list
            # is newest first by (timestamp, memory_id); the equality columns that people filter by come before.
            _index("newest", "timestamp", "memory_id", condition=CURRENT),
            _index("namespace", "namespace", "timestamp", "memory_id", condition=CURRENT),
            _index("subject", "subject", "timestamp", "memory_id", condition=CURRENT),
            _index("classified", "namespace", "actor_type", "timestamp", "memory_id", condition=CURRENT),
            _index("recorded", "recorded_at", condition=LOOKED_UP),
            # The same lists as they were known at an instant of record time, over all versions.
            _index("history", "foretold", "timestamp", "memory_id", "recorded_at"),
            _index("history_namespace", "namespace", "foretold", "timestamp", "memory_id", "recorded_at"),
            _index("history_key", "subject", "collection", "timestamp", "memory_id", "recorded_at"),
            # Contents of one key stand beside each other, so that those which differ are found in passing.
            _index("keyed", "subject", "collection", "content_sha256", condition=CURRENT & Q(status="active")),
            # What was rejected, for when it arrives again in any spelling; and all that one decision made.
            models.Index(
                fields=["subject", "collection", "value_sha256"],
                condition=CURRENT & REJECTED & BY_ID,
                name="memories_rejected",
            ),
            models.Index(fields=["decision"], condition=CURRENT & DECIDED & BY_ID, name="memories_decided"),
            _index("superseded", "superseded_at", condition=Q(superseded_at__isnull=False)),
            _index("erased", "timestamp", condition=Q(status="erased")),
            _index("mortal", "expires_at", condition=CURRENT & Q(expires_at__isnull=False)),
            # Of active rows alone, so that no plan takes it in place of the one before, which counts read.
            _index(
                "expiring", "timestamp", "memory_id", condition=CURRENT & Q(expires_at__isnull=False, status="active")
            ),
            _index("secret", "timestamp", "memory_id", condition=HOLDS_SECRET),
            _index("outlived", "expires_at", condition=Q(expires_at__isnull=False, superseded_at__isnull=False)),
            GinIndex(
                TierLabels(F("label_keys"), F("classification_tier")), condition=LOOKED_UP, name="memories_labels"
            ),
            # A batch of memories brings megabytes of grams: they wait in a list before they are sorted in.
            GinIndex(
                TierGrams(SEARCHED_TEXT, F("classification_tier")),
                condition=LOOKED_UP,
                gin_pending_list_limit=16_384,
                name="memories_grams",
            ),
        ]
        triggers = [triggers.STAMP, triggers.APPEND_ONLY, triggers.KEEP, triggers.COUNT_NEW, triggers.COUNT_CLOSED]

    def __str__(self) -> str:
        return f"{self.source}/{self.payload_id} v{self.version}"

    def save(self, *_args: Any, **_kwargs: Any) -> None:
        raise TypeError("Memories are written by memories.ingest alone.")


class RecordClock(models.Model):
    """The hub's record time: one row, whose lock makes instants and commits come in the same order.

    `record_instant()` moves it inside the writing transaction. Whoever reads it sees the instant up to which
    every write is committed and visible: a question about it or an earlier instant never changes its answer.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    instant = models.DateTimeField()

    class Meta:
        db_table = "record_clock"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="record_clock_is_one_row")]

    def __str__(self) -> str:
        return self.instant.isoformat()


class Tally(models.Model):
    """How many memories share some values, and what the firewall judges them by."""

    key = models.UUIDField(primary_key=True, help_text="MD5 over all the values that are shared.")
    classification_tier = models.CharField(max_length=64)
    label_keys = ArrayField(models.CharField(max_length=NAME_LENGTH * 3))
    status = models.CharField(max_length=16)
    count = models.BigIntegerField(help_text="Current memories without a time to live.")
    written = models.BigIntegerField(help_text="Versions ever written.")

    class Meta:
        abstract = True


class MemoryCount(Tally):
    """How many current memories share these values; kept by trigger, so that facets never scan the table."""

    namespace = models.CharField(max_length=NAME_LENGTH)
    source = models.CharField(max_length=NAME_LENGTH)
    actor_type = models.CharField(max_length=16)
    collection = models.CharField(max_length=NAME_LENGTH)
    kind = models.CharField(max_length=16)

    objects: ClassVar[models.Manager["MemoryCount"]] = ClassifiedQuerySet.as_manager()

    class Meta:
        db_table = "memory_counts"
        indexes = [models.Index(fields=["classification_tier", "namespace"], name="memory_counts_namespace")]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.source}/{self.collection}: {self.count}"


class MemoryDay(Tally):
    """How many current memories share these values and this day of event time (UTC); kept by trigger."""

    namespace = models.CharField(max_length=NAME_LENGTH)
    source = models.CharField(max_length=NAME_LENGTH)
    actor_type = models.CharField(max_length=16)
    day = models.DateField()

    objects: ClassVar[models.Manager["MemoryDay"]] = ClassifiedQuerySet.as_manager()

    class Meta:
        db_table = "memory_days"
        indexes = [models.Index(fields=["classification_tier", "namespace"], name="memory_days_namespace")]

    def __str__(self) -> str:
        return f"{self.day} {self.namespace}: {self.count}"


class MemoryTotal(Tally):
    """How many current memories share a tier, labels and one value of one dimension, over all namespaces.

    Small enough to answer a caller of every namespace who filters by nothing finer, however many memories there are.
    It has no namespace to judge by: asking it with a clearance that is bound to namespaces is an error.
    """

    dimension = models.CharField(max_length=16, help_text="A column's name, `day` (UTC), or `total`, without a value.")
    value = models.CharField(max_length=NAME_LENGTH)

    objects: ClassVar[models.Manager["MemoryTotal"]] = ClassifiedQuerySet.as_manager()

    class Meta:
        db_table = "memory_totals"
        indexes = [models.Index(fields=["classification_tier", "dimension"], name="memory_totals_dimension")]

    def __str__(self) -> str:
        return f"{self.dimension} {self.value}: {self.count}"
