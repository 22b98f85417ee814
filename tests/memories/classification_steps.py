"""Steps that the tests of classification share: plan a change, apply it, undo it."""

from typing import Any

from django.http import QueryDict

from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange, ClassificationPlan
from memoryhub.memories.writes.classify import ClassificationResult
from memoryhub.memories.writes.envelope import parse_body

STEWARD = Principal(
    name="user:sue",
    clearance=Clearance(max_tier="restricted"),
    scopes=frozenset({Scope.READ, Scope.CURATE, Scope.DECLASSIFY}),
)
CURATOR = Principal(
    name="user:cal", clearance=Clearance(max_tier="confidential"), scopes=frozenset({Scope.READ, Scope.CURATE})
)


def make_plan(memory: Memory, principal: Principal = STEWARD, **change_fields: Any) -> ClassificationPlan:
    return classify.plan_for_memory(
        memory.memory_id, parse_body(change_fields, ClassificationChange), principal=principal
    )


def classify_memory(
    memory: Memory, principal: Principal = STEWARD, reason: str = "Checked.", **change_fields: Any
) -> Memory:
    """`memory` reclassified, as it is now."""
    classify.apply_plan(make_plan(memory, principal, **change_fields), reason=reason)
    return Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)


def plan_for_query(query: str, principal: Principal = STEWARD, **change_fields: Any) -> ClassificationPlan:
    filters = MemoryFilterSet(QueryDict(query), clearance=principal.clearance)
    return classify.plan_for_filter(filters, parse_body(change_fields, ClassificationChange), principal=principal)


def undo_result(result: ClassificationResult, principal: Principal = STEWARD) -> ClassificationResult:
    return classify.apply_plan(classify.plan_undo(result.undo_token, principal=principal), reason="Taken back.")
