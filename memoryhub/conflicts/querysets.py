"""Questions about decisions: those that a caller may see, and those in force."""

from datetime import datetime
from typing import Any, Self

from django.db import models
from django.db.models import BooleanField, Exists, F, Func, IntegerField, OuterRef, Q, Subquery, Value
from django.db.models.functions import Now

from memoryhub.firewall.querysets import stored_tiers
from memoryhub.firewall.types import Clearance, label_keys
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import BY_ID


class AnyOf(Func):
    """Whether a value is one of an array, which an index on the value answers."""

    output_field = BooleanField()
    template = "%(expressions)s)"
    arg_joiner = " = ANY ("


class Number(Func):
    """How many rows a subquery finds. (No aggregate to Django, which would group by what it is correlated with.)"""

    function = "count"
    output_field = IntegerField()


class DecisionQuerySet(models.QuerySet[Any]):
    def visible_to(self, clearance: Clearance) -> Self:
        """Decisions made on memories that `clearance` may all see, as they were classified then and as they are now.

        The only way in which decisions reach a caller. Someone who sees a part of what was decided on is told nothing:
        the decision comes from all of it.
        """
        rule = Q(tiers__contained_by=stored_tiers(clearance))
        if clearance.blocked_labels:
            rule &= ~Q(some_labels__overlap=sorted(label_keys(clearance.blocked_labels)))
        if clearance.required_labels:
            rule &= Q(all_labels__contains=sorted(label_keys(clearance.required_labels)))
        if clearance.namespaces is not None:
            rule &= Q(namespaces__contained_by=sorted(clearance.namespaces))
        latest = Memory.objects.visible_to(clearance).filter(superseded_at__isnull=True)
        seen = latest.filter(BY_ID, AnyOf(F("memory_id"), OuterRef("memory_ids"))).annotate(number=Number(Value(1)))
        return self.filter(rule, memory_ids__len=Subquery(seen.values("number")))

    def of(self, *key: str) -> Self:
        """Decisions about the group of a key (`keys.Key`)."""
        subject, collection, *namespace = key
        found = self.filter(subject=subject, collection=collection)
        return found.filter(namespace=namespace[0]) if namespace else found.filter(namespace__isnull=True)

    def in_force(self, instant: datetime | None = None) -> Self:
        """Decisions that were not undone, nor deferred to an earlier time: now, or at an instant of record time."""
        moment = Now() if instant is None else Value(instant, models.DateTimeField())
        # What was decided while a transaction waited came after its now(), and is in force all the same.
        made = Q() if instant is None else Q(recorded_at__lte=moment)
        undone = type(self)(self.model).filter(made, reverses=OuterRef("decision_id"))
        waiting = Q(until__isnull=True) | Q(until__gt=moment)
        return self.filter(made, waiting, ~Exists(undone)).exclude(outcome="undo")

    def undone_by(self) -> Self:
        """With `undo`: the decision that undid this one, or None."""
        undo = type(self)(self.model).filter(reverses=OuterRef("decision_id"))
        return self.annotate(undo=Subquery(undo.values("decision_id")[:1]))
