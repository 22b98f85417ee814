from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from django.db import models, transaction
from django.db.models import Q
from knox.models import AbstractAuthToken, AuthTokenManager

from memoryhub.firewall.clearance import Clearance, get_tier_order
from memoryhub.firewall.principal import ACTOR_TYPES, Principal, Scope


def _text_array_field(max_length: int = 255, **options: Any) -> Any:
    return ArrayField(models.CharField(max_length=max_length), blank=True, default=list, **options)


def _scopes_field() -> Any:
    # Without choices, which the forms have: a new scope is no migration.
    return _text_array_field(max_length=16)


class ClearanceFields(models.Model):
    """A clearance as columns."""

    max_tier = models.CharField(max_length=64, help_text="The highest tier that may be seen.")
    blocked_labels = _text_array_field(help_text="A memory with any of these labels is hidden, whatever its tier.")
    required_labels = _text_array_field(help_text="Only memories that carry all of these labels are seen.")
    all_namespaces = models.BooleanField(default=True, help_text="Off: only the namespaces listed below.")
    namespaces = _text_array_field()

    class Meta:
        abstract = True

    def clean(self) -> None:
        # Not a validator of the field: the tiers are a setting, and migrations must not import this module.
        if self.max_tier not in get_tier_order():
            tiers = ", ".join(get_tier_order())
            raise ValidationError({"max_tier": f"“{self.max_tier}” is not a tier. The tiers are {tiers}."})

    def as_clearance(self) -> Clearance:
        return Clearance(
            max_tier=self.max_tier,
            blocked_labels=frozenset(self.blocked_labels),
            required_labels=frozenset(self.required_labels),
            namespaces=None if self.all_namespaces else frozenset(self.namespaces),
        )


class ClearanceProfile(ClearanceFields):
    """A clearance that administrators store under a name, and that users and keys hold."""

    name = models.CharField(max_length=100, unique=True)

    class Meta:
        db_table = "clearances"
        ordering = ["name"]
        verbose_name = "clearance"

    def __str__(self) -> str:
        return self.name


class SourceManager(models.Manager["Source"]):
    def get_clearances(self, names: Iterable[str]) -> dict[str, Clearance]:
        """Return the clearance for writing of each source by name; sources that do not exist yet are missing."""
        return {source.name: source.as_clearance() for source in self.filter(name__in=set(names))}

    def create_missing(self, names: Iterable[str], clearance: Clearance) -> None:
        """Create the sources of these names that do not exist yet, with `clearance` for writing."""
        fields = {
            "max_tier": clearance.max_tier,
            "blocked_labels": sorted(clearance.blocked_labels),
            "required_labels": sorted(clearance.required_labels),
            "all_namespaces": clearance.namespaces is None,
            "namespaces": sorted(clearance.namespaces or ()),
        }
        self.bulk_create([Source(name=name, **fields) for name in sorted(set(names))], ignore_conflicts=True)


class Source(ClearanceFields):
    """A name under which memories are written, with its clearance for writing.

    All keys of a source write within this clearance, whatever each of them may read. So the data on which the answer to
    a write depends is the same for all of them.
    """

    name = models.CharField(max_length=255, unique=True)

    objects = SourceManager()

    class Meta:
        db_table = "sources"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class UserAccess(models.Model):
    """The clearance and the scopes of a user. A user without a row sees the most open tier only."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="access")
    clearance = models.ForeignKey(ClearanceProfile, on_delete=models.PROTECT, related_name="holders")
    scopes = _scopes_field()

    class Meta:
        db_table = "user_access"

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
    """Creates keys (`create` returns the key and its secret, once) and finds them."""

    def get_queryset(self) -> "models.QuerySet[ApiKey]":
        queryset: models.QuerySet[ApiKey] = super().get_queryset().select_related("user", "clearance")
        return queryset


class ApiKey(AbstractAuthToken):
    """A key of an agent or a monitor. It is stored as a hash, shown once, and expires."""

    name = models.CharField(max_length=100, unique=True)
    source = models.CharField(
        max_length=255,
        blank=True,
        default="",
        validators=[MaxLengthValidator(255)],
        help_text="The source it writes as.",
    )
    actor_type = models.CharField(
        max_length=16,
        default="agent",
        choices=[(actor_type_choice, actor_type_choice) for actor_type_choice in ACTOR_TYPES],
    )
    actor_id = models.CharField(
        max_length=255, blank=True, default="", help_text="The actor id it writes as. Empty: any."
    )
    delegated_actor_types = _text_array_field(
        max_length=16, help_text="Other actor types it may write for, as a relay does."
    )
    scopes = _scopes_field()
    clearance = models.ForeignKey(
        ClearanceProfile, null=True, blank=True, on_delete=models.PROTECT, related_name="keys"
    )
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ApiKeyManager()

    class Meta:
        db_table = "api_keys"
        ordering = ["name"]
        verbose_name = "API key"
        constraints = [
            models.CheckConstraint(
                condition=~Q(scopes__contains=["write"]) | ~Q(source="") | Q(scopes__contains=["admin"]),
                name="api_keys_write_requires_source",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @transaction.atomic
    def save(self, *args: Any, **options: Any) -> None:
        """Store the key. If its source is new, create the source with the key's clearance."""
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
            delegated_actor_types=frozenset(self.delegated_actor_types),
        )
