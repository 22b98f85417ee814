from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.expressions import Combinable
from pgvector.django import VectorField

from memoryhub.firewall.principal import ACTOR_TYPES
from memoryhub.firewall.querysets import ClassifiedQuerySet
from memoryhub.memories import triggers
from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.memories.sql.search_conditions import HOLDS_SECRET, SEARCHED_TEXT, tier_labels, tier_trigrams
from memoryhub.memories.sql.tiers import ID_INDEX_GUARD, LOOKUP_INDEX_GUARD
from memoryhub.memories.word_index import MemoryWords, WordIndexProgress

__all__ = [
    "Memory",
    "MemoryDayRollup",
    "MemoryRollup",
    "MemoryTotalRollup",
    "MemoryWords",
    "RecordClock",
    "WordIndexProgress",
]

KINDS = ("fact", "summary", "checkpoint")
STATUSES = ("active", "retired", "quarantined", "erased")
"""The values of the column. Readers also see EXPIRED, which is derived (`MemoryQuerySet.with_statuses`)."""
NAME_LENGTH = 255
MAX_LABELS = 64

CURRENT = Q(superseded_at__isnull=True)
HAS_DECISION = Q(decision_id__isnull=False)
REJECTED = HAS_DECISION & Q(status="retired")


# Plain `Func` expressions, so that the migrations do not import this module.
def _utf8(text: Combinable) -> Func:
    """The UTF-8 bytes of a text. PostgreSQL declares convert_to as STABLE; the SQL function is declared IMMUTABLE."""
    return Func(text, function="memory_utf8", output_field=models.BinaryField())


def _is_future_dated(timestamp: Combinable, recorded_at: Combinable) -> Func:
    """Whether the event time is later than the record time by more than `tiers.FUTURE_DATED_AFTER`."""
    return Func(
        timestamp,
        recorded_at,
        arg_joiner=" - ",
        template="(%(expressions)s > '24:00:00'::interval)",
        output_field=models.BooleanField(),
    )


def _tier_index(name: str, *fields: str, **options: Any) -> models.Index:
    return models.Index(fields=["classification_tier", *fields], name=f"memories_{name}", **options)


class Memory(models.Model):
    """One version of one memory. A version is not updated in place, and not deleted."""

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

    normalized_labels = ArrayField(
        models.CharField(max_length=NAME_LENGTH * 3),
        default=list,
        blank=True,
        help_text="The labels as they are compared (firewall.clearance.normalize_label), sorted, each once.",
    )
    defaulted_fields = ArrayField(
        models.CharField(max_length=32),
        default=list,
        blank=True,
        help_text="The envelope's fields that the writer did not give.",
    )
    fingerprint = models.BinaryField(help_text="SHA-256 over the envelope's canonical form: same write, same bytes.")
    content_sha256 = models.GeneratedField(
        expression=Func(_utf8(F("content")), function="sha256"),
        output_field=models.BinaryField(),
        db_persist=True,
    )
    value_sha256 = models.BinaryField(
        help_text="SHA-256 over what it says as a value (core.values): all spellings of one value have the same.",
    )

    recorded_at = models.DateTimeField(default=None, help_text="Record time, given by the database alone.")
    asserted_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Record time of the version that asserted the value, where this one only changes its classification"
        " or status; of an imported version a time of the exporting hub.",
    )
    asserted_version_id = models.BigIntegerField(
        null=True, blank=True, help_text="The id of that version; internal as id is."
    )
    superseded_at = models.DateTimeField(null=True, blank=True, help_text="When a next version replaced this one.")
    is_future_dated = models.GeneratedField(
        expression=_is_future_dated(F("timestamp"), F("recorded_at")),
        output_field=models.BooleanField(),
        db_persist=True,
    )
    status = models.CharField(max_length=16, default="active")
    decision_id = models.UUIDField(
        null=True,
        blank=True,
        help_text="Id of the conflict decision that set this status. Copied to later versions that only change the"
        " classification.",
    )

    is_spelling_rejection = models.BooleanField(
        default=False,
        help_text="The decision that retired it keeps the same value in another spelling: this text alone is rejected.",
    )
    decision_exceeds_source = models.BooleanField(
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
    exceeds_source_clearance = models.BooleanField(
        default=False,
        help_text="The operator stored it beyond its source's clearance for writing: to the source it does not exist.",
    )

    objects: ClassVar[models.Manager["Memory"]] = MemoryQuerySet.as_manager()

    class Meta:
        db_table = "memories"
        verbose_name_plural = "memories"
        constraints = [
            models.UniqueConstraint(fields=["memory_id", "version"], condition=ID_INDEX_GUARD, name="memories_version"),
            models.UniqueConstraint(fields=["memory_id"], condition=CURRENT & ID_INDEX_GUARD, name="memories_current"),
            models.UniqueConstraint(
                fields=["source", "payload_id", "exceeds_source_clearance"],
                condition=CURRENT & ID_INDEX_GUARD,
                name="memories_identity",
            ),
            models.CheckConstraint(condition=Q(actor_type__in=ACTOR_TYPES), name="memories_actor_type"),
            models.CheckConstraint(condition=Q(kind__in=KINDS), name="memories_kind"),
            models.CheckConstraint(condition=Q(status__in=STATUSES), name="memories_status"),
            # The operator's setting defines the tiers and may change after a row was written. The firewall hides an
            # unknown tier, so this constraint checks its shape alone.
            models.CheckConstraint(
                condition=Q(classification_tier__regex=r"^[a-z0-9_.-]{0,64}$"), name="memories_tier"
            ),
            models.CheckConstraint(condition=~Q(payload_id="") & ~Q(source=""), name="memories_identity_not_empty"),
            models.CheckConstraint(
                condition=Q(version__gte=1) & Q(schema_version__gte=1), name="memories_versions_positive"
            ),
            models.CheckConstraint(
                condition=Q(timestamp__gte="0001-01-01T00:00:00Z") & Q(timestamp__lte="9999-12-31T23:59:59.999999Z"),
                name="memories_timestamp_readable",
            ),
            models.CheckConstraint(
                # Those that the source sent, and as many that others added.
                condition=Q(sensitivity_labels__len__lte=2 * MAX_LABELS)
                & Q(normalized_labels__len__lte=F("sensitivity_labels__len")),
                name="memories_labels_length",
            ),
            models.CheckConstraint(
                condition=(Q(status="erased") & Q(content="")) | (~Q(status="erased") & ~Q(content="")),
                name="memories_content_matches_status",
            ),
            models.CheckConstraint(
                # The interval is empty for an earlier version that was imported after the current one; see
                # triggers.STAMP_RECORD_TIME.
                condition=Q(superseded_at__isnull=True) | Q(superseded_at__gte=F("recorded_at")),
                name="memories_half_open",
            ),
        ]
        indexes = [
            # The tier comes first in the indexes of lists, so that an index scan for a reader passes no row of another
            # tier. Every list is newest first by (timestamp, memory_id); columns that are compared for equality come
            # before.
            _tier_index("newest", "timestamp", "memory_id", condition=CURRENT),
            _tier_index("namespace", "namespace", "timestamp", "memory_id", condition=CURRENT),
            _tier_index("subject", "subject", "timestamp", "memory_id", condition=CURRENT),
            _tier_index("namespace_actor", "namespace", "actor_type", "timestamp", "memory_id", condition=CURRENT),
            _tier_index("recorded", "recorded_at", condition=LOOKUP_INDEX_GUARD),
            # The same lists as they were known at a record time, over all versions.
            _tier_index("history", "is_future_dated", "timestamp", "memory_id", "recorded_at"),
            _tier_index("history_namespace", "namespace", "is_future_dated", "timestamp", "memory_id", "recorded_at"),
            _tier_index("history_key", "subject", "collection", "timestamp", "memory_id", "recorded_at"),
            # Contents of one key are adjacent in the index, so that differing ones are found in one pass.
            _tier_index(
                "subject_collection", "subject", "collection", "content_sha256", condition=CURRENT & Q(status="active")
            ),
            # Finds a rejected value that arrives again, in any spelling; the next one, all memories that one decision
            # changed.
            models.Index(
                fields=["subject", "collection", "value_sha256"],
                condition=CURRENT & REJECTED & ID_INDEX_GUARD,
                name="memories_rejected_values",
            ),
            models.Index(
                fields=["decision_id"], condition=CURRENT & HAS_DECISION & ID_INDEX_GUARD, name="memories_by_decision"
            ),
            _tier_index("superseded", "superseded_at", condition=Q(superseded_at__isnull=False)),
            _tier_index("erased", "timestamp", condition=Q(status="erased")),
            _tier_index("ttl", "expires_at", condition=CURRENT & Q(expires_at__isnull=False)),
            # Active rows alone, so that the planner does not choose this index in place of memories_ttl, which counts
            # read.
            _tier_index(
                "expiring", "timestamp", "memory_id", condition=CURRENT & Q(expires_at__isnull=False, status="active")
            ),
            _tier_index("with_secret", "timestamp", "memory_id", condition=HOLDS_SECRET),
            _tier_index(
                "ttl_history", "expires_at", condition=Q(expires_at__isnull=False, superseded_at__isnull=False)
            ),
            GinIndex(
                tier_labels(F("normalized_labels"), F("classification_tier")),
                condition=LOOKUP_INDEX_GUARD,
                name="memories_labels",
            ),
            # A batch of memories adds megabytes of trigrams, which wait in the pending list before they are merged in.
            GinIndex(
                tier_trigrams(SEARCHED_TEXT, F("classification_tier")),
                condition=LOOKUP_INDEX_GUARD,
                gin_pending_list_limit=16_384,
                name="memories_trigrams",
            ),
        ]
        triggers = [
            triggers.STAMP_RECORD_TIME,
            triggers.APPEND_ONLY,
            triggers.FORBID_DELETE,
            triggers.FORBID_TRUNCATE,
            triggers.ROLLUP_INSERTED,
            triggers.ROLLUP_CLOSED,
        ]

    def __str__(self) -> str:
        return f"{self.source}/{self.payload_id} v{self.version}"

    def save(self, *_args: Any, **_kwargs: Any) -> None:
        raise TypeError("Memories are written only by memories.writes.")


class RecordClock(models.Model):
    """The hub's record time: one row, whose lock gives instants and commits the same order.

    `record_time_current()` advances it inside the writing transaction. A reader of the row sees the instant up to which
    every write is committed and visible: answers about that instant or an earlier one never change.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    instant = models.DateTimeField()

    class Meta:
        db_table = "record_clock"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="record_clock_is_one_row")]

    def __str__(self) -> str:
        return self.instant.isoformat()


class Rollup(models.Model):
    """The count of memories that share some values, with the columns by which the firewall decides."""

    key = models.UUIDField(primary_key=True, help_text="MD5 over all the values that are shared.")
    classification_tier = models.CharField(max_length=64)
    normalized_labels = ArrayField(models.CharField(max_length=NAME_LENGTH * 3))
    status = models.CharField(max_length=16)
    count = models.BigIntegerField(help_text="Current memories without a time to live.")
    versions_written = models.BigIntegerField(help_text="Versions ever written.")

    class Meta:
        abstract = True


class MemoryRollup(Rollup):
    """The count of current memories that share these values; triggers keep it, so that facets never scan the table."""

    namespace = models.CharField(max_length=NAME_LENGTH)
    source = models.CharField(max_length=NAME_LENGTH)
    actor_type = models.CharField(max_length=16)
    collection = models.CharField(max_length=NAME_LENGTH)
    kind = models.CharField(max_length=16)

    objects: ClassVar[models.Manager["MemoryRollup"]] = ClassifiedQuerySet.as_manager()

    class Meta:
        db_table = "memory_rollups"
        indexes = [models.Index(fields=["classification_tier", "namespace"], name="memory_rollups_namespace")]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.source}/{self.collection}: {self.count}"


class MemoryDayRollup(Rollup):
    """The count of current memories that share these values and this day of event time (UTC); triggers keep it."""

    namespace = models.CharField(max_length=NAME_LENGTH)
    source = models.CharField(max_length=NAME_LENGTH)
    actor_type = models.CharField(max_length=16)
    day = models.DateField()

    objects: ClassVar[models.Manager["MemoryDayRollup"]] = ClassifiedQuerySet.as_manager()

    class Meta:
        db_table = "memory_day_rollups"
        indexes = [models.Index(fields=["classification_tier", "namespace"], name="memory_day_rollups_namespace")]

    def __str__(self) -> str:
        return f"{self.day} {self.namespace}: {self.count}"


class MemoryTotalRollup(Rollup):
    """The count of current memories that share a tier, labels and one value of one dimension, over all namespaces.

    It is small enough to answer a caller who sees every namespace and filters by nothing finer, however many memories
    there are. It has no namespace column: a query with a clearance that is bound to namespaces is an error.
    """

    dimension = models.CharField(max_length=16, help_text="A column's name, `day` (UTC), or `total`, without a value.")
    value = models.CharField(max_length=NAME_LENGTH)

    objects: ClassVar[models.Manager["MemoryTotalRollup"]] = ClassifiedQuerySet.as_manager()

    class Meta:
        db_table = "memory_total_rollups"
        indexes = [models.Index(fields=["classification_tier", "dimension"], name="memory_total_rollups_dimension")]

    def __str__(self) -> str:
        return f"{self.dimension} {self.value}: {self.count}"
