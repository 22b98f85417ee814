"""Queryset methods of decisions: which ones a clearance may see, and which are in force."""

from datetime import datetime
from typing import Any, Self

from django.db import models
from django.db.models import Exists, F, Func, IntegerField, OuterRef, Q, Subquery, Value
from django.db.models.functions import Now

from memoryhub.core.sql import EqualsAny
from memoryhub.firewall.clearance import Clearance, normalize_labels
from memoryhub.firewall.querysets import stored_tier_values
from memoryhub.memories.models import Memory
from memoryhub.memories.sql.tiers import ID_INDEX_GUARD

# The number of rows of a subquery. Not a Django aggregate: Django would group by the correlated outer columns.
ROW_COUNT = Func(Value(1), function="count", output_field=IntegerField())


class DecisionQuerySet(models.QuerySet[Any]):
    def visible_to(self, clearance: Clearance) -> Self:
        """Decisions whose members `clearance` may all see, as they were classified at the decision and as they are now.

        Callers may read decisions only through this method. A reader that sees only some of the members sees nothing of
        the decision, because it was computed from all of them.
        """
        condition = Q(tiers__contained_by=stored_tier_values(clearance))
        if clearance.blocked_labels:
            condition &= ~Q(any_labels__overlap=sorted(normalize_labels(clearance.blocked_labels)))
        if clearance.required_labels:
            condition &= Q(common_labels__contains=sorted(normalize_labels(clearance.required_labels)))
        if clearance.namespaces is not None:
            condition &= Q(namespaces__contained_by=sorted(clearance.namespaces))
        latest_versions = Memory.objects.visible_to(clearance).filter(superseded_at__isnull=True)
        visible_members = latest_versions.filter(
            ID_INDEX_GUARD, EqualsAny(F("memory_id"), OuterRef("memory_ids"))
        ).annotate(row_count=ROW_COUNT)
        return self.filter(condition, memory_ids__len=Subquery(visible_members.values("row_count")))

    def for_key(self, *key: str) -> Self:
        """Decisions about the group of a key (`group_keys.GroupKey`)."""
        subject, collection, *namespace = key
        decisions = self.filter(subject=subject, collection=collection)
        return decisions.filter(namespace=namespace[0]) if namespace else decisions.filter(namespace__isnull=True)

    def in_force(self, known_at: datetime | None = None) -> Self:
        """Decisions that are not undone nor past `deferred_until`, now or at an instant of record time."""
        record_time = Now() if known_at is None else Value(known_at, models.DateTimeField())
        # No upper limit for "now": a decision made while this transaction waited is later than its now(), but it is in
        # force.
        is_recorded = Q() if known_at is None else Q(recorded_at__lte=record_time)
        undo_decisions = type(self)(self.model).filter(is_recorded, undoes_id=OuterRef("decision_id"))
        is_unexpired = Q(deferred_until__isnull=True) | Q(deferred_until__gt=record_time)
        return self.filter(is_recorded, is_unexpired, ~Exists(undo_decisions)).exclude(outcome="undo")

    def with_undo(self) -> Self:
        """Annotate `undone_by_id`: the id of the decision that undid this one, or None."""
        undo_decisions = type(self)(self.model).filter(undoes_id=OuterRef("decision_id"))
        return self.annotate(undone_by_id=Subquery(undo_decisions.values("decision_id")[:1]))
