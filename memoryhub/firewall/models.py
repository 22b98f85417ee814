from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from django.db import models, transaction
from django.db.models import Q
from knox.models import AbstractAuthToken, AuthTokenManager

from memoryhub.firewall.types import ACTOR_TYPES, Clearance, Principal, Scope, tier_order


def _is_a_tier(value: str) -> None:
    if value not in tier_order():
        raise ValidationError(f"“{value}” is not a tier. The tiers are {', '.join(tier_order())}.")


def _words(**options: Any) -> Any:
    return ArrayField(models.CharField(max_length=255), blank=True, default=list, **options)


def _some_of(values: Iterable[str], **options: Any) -> Any:
    choices = [(str(value), str(value)) for value in values]
    return ArrayField(models.CharField(max_length=16, choices=choices), blank=True, default=list, **options)


class ClearanceFields(models.Model):
    """A clearance as columns."""

    max_tier = models.CharField(max_length=64, validators=[_is_a_tier], help_text="The highest tier that may be seen.")
    blocked_labels = _words(help_text="A memory with any of these labels is hidden, whatever its tier.")
    required_labels = _words(help_text="Only memories that carry all of these labels are seen.")
    every_namespace = models.BooleanField(default=True, help_text="Off: only the namespaces listed below.")
    namespaces = _words()

    class Meta:
        abstract = True

    def as_clearance(self) -> Clearance:
        return Clearance(
            max_tier=self.max_tier,
            blocked_labels=frozenset(self.blocked_labels),
            required_labels=frozenset(self.required_labels),
            namespaces=None if self.every_namespace else frozenset(self.namespaces),
        )


class ClearanceRecord(ClearanceFields):
    """A clearance under a name, as administrators keep it and as users and keys hold it."""

    name = models.CharField(max_length=100, unique=True)

    class Meta:
        db_table = "clearances"
        ordering = ["name"]
        verbose_name = "clearance"

    def __str__(self) -> str:
        return self.name


class SourceManager(models.Manager["Source"]):
    def clearances(self, names: Iterable[str]) -> dict[str, Clearance]:
        """The clearance for writing of each source of these names; a source that does not exist yet is missing."""
        return {source.name: source.as_clearance() for source in self.filter(name__in=set(names))}

    def create_missing(self, names: Iterable[str], clearance: Clearance) -> None:
        """Create those of these sources that do not exist yet, with `clearance` for writing."""
        fields = {
            "max_tier": clearance.max_tier,
            "blocked_labels": sorted(clearance.blocked_labels),
            "required_labels": sorted(clearance.required_labels),
            "every_namespace": clearance.namespaces is None,
            "namespaces": sorted(clearance.namespaces or ()),
        }
        self.bulk_create([Source(name=name, **fields) for name in sorted(set(names))], ignore_conflicts=True)


class Source(ClearanceFields):
    """A name under which memories are written, with its clearance for writing.

    All keys of a source write within this clearance, whatever each of them may read: what the answer to a write depends
    on is then the same for all of them.
    """

    name = models.CharField(max_length=255, unique=True)

    objects = SourceManager()

    class Meta:
        db_table = "sources"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class UserClearance(models.Model):
    """Which clearance a user holds, and what the user may do. A user without one sees the most open tier only."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="held_clearance")
    clearance = models.ForeignKey(ClearanceRecord, on_delete=models.PROTECT, related_name="holders")
    scopes = _some_of(Scope)

    class Meta:
        db_table = "user_clearances"

    def __str__(self) -> str:
        return f"{self.user} holds {self.clearance}"

    def as_principal(self, username: str) -> Principal:
        return Principal(
            name=f"user:{username}",
            clearance=self.clearance.as_clearance(),
            scopes=frozenset(map(Scope, self.scopes)),
            actor_type="user",
            actor_id=username,
        )


class ApiKeyManager(AuthTokenManager):
    """Makes keys (`create` answers the key and its secret, once) and finds them again."""

    def get_queryset(self) -> "models.QuerySet[ApiKey]":
        queryset: models.QuerySet[ApiKey] = super().get_queryset().select_related("user", "clearance")
        return queryset


class ApiKey(AbstractAuthToken):
    """A key of an agent or a monitor: kept as a hash, shown once, expiring."""

    name = models.CharField(max_length=100, unique=True)
    source = models.CharField(
        max_length=255, blank=True, default="", validators=[MaxLengthValidator(255)], help_text="What it writes as."
    )
    actor_type = models.CharField(max_length=16, default="agent", choices=[(kind, kind) for kind in ACTOR_TYPES])
    actor_id = models.CharField(
        max_length=255, blank=True, default="", help_text="The actor that it writes as. Empty: it may name any."
    )
    vouches_for = _some_of(
        ACTOR_TYPES, help_text="Actor types besides its own for which it may pass memories on, as a relay does."
    )
    scopes = _some_of(Scope)
    clearance = models.ForeignKey(ClearanceRecord, null=True, blank=True, on_delete=models.PROTECT, related_name="keys")
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ApiKeyManager()

    class Meta:
        db_table = "api_keys"
        ordering = ["name"]
        verbose_name = "API key"
        constraints = [
            models.CheckConstraint(
                condition=~Q(scopes__contains=["write"]) | ~Q(source="") | Q(scopes__contains=["admin"]),
                name="a_writing_key_has_a_source",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @transaction.atomic
    def save(self, *args: Any, **options: Any) -> None:
        """Store the key, and its source with the key's clearance if the source is new."""
        super().save(*args, **options)
        if self.source:
            Source.objects.create_missing([self.source], self.as_principal().clearance)

    def as_principal(self) -> Principal:
        return Principal(
            name=f"key:{self.name}",
            clearance=self.clearance.as_clearance() if self.clearance else Clearance(),
            scopes=frozenset(map(Scope, self.scopes)),
            source=self.source or None,
            actor_type=self.actor_type,
            actor_id=self.actor_id,
            vouches_for=frozenset(self.vouches_for),
        )
