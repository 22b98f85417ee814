"""Who may change a classification, which changes are refused, and which of them widen visibility."""

import uuid
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.http import QueryDict

from memoryhub.firewall.clearance import Clearance, unrestricted_clearance, widens_visibility
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange, ClassificationState
from memoryhub.memories.writes.envelope import OperationRejectedError, parse_body
from tests.factories import make_clearance, make_memory
from tests.memories.classification_steps import CURATOR, STEWARD, classify_memory, make_plan, plan_for_query

pytestmark = pytest.mark.django_db


class TestPermissions:
    @pytest.mark.parametrize("scopes", [set(), {Scope.READ}, {Scope.WRITE}, {Scope.READ, Scope.DECLASSIFY}])
    def test_nobody_without_the_scope(self, scopes):
        memory = make_memory()
        reader = Principal(name="user:rob", clearance=unrestricted_clearance(), scopes=frozenset(scopes))

        with pytest.raises(PermissionDenied):
            classify_memory(memory, reader, classification_tier="internal")
        assert Memory.objects.count() == 1

    @pytest.mark.parametrize(
        ("current_fields", "change_fields"),
        [
            ({"tier": "confidential"}, {"classification_tier": "internal"}),
            ({"tier": "confidential"}, {"classification_tier": "public", "add_labels": ["pii"]}),
            ({"labels": ["PII"]}, {"remove_labels": ["pii"]}),
            ({"labels": ["pii", "eu"]}, {"remove_labels": ["EU"], "classification_tier": "confidential"}),
            ({}, {"add_labels": ["cleared"]}),
        ],
    )
    def test_only_who_may_declassify_opens_and_says_why(self, current_fields, change_fields):
        make_clearance(required_labels=["Cleared"])
        memory = make_memory(**current_fields)

        with pytest.raises(OperationRejectedError) as exc_info:
            classify_memory(memory, CURATOR, **change_fields)
        assert exc_info.value.code == "declassification"
        for blank in ("", "  \n"):
            with pytest.raises(OperationRejectedError) as exc_info:
                classify_memory(memory, reason=blank, **change_fields)
            assert (exc_info.value.code, list(exc_info.value.errors)) == ("invalid_value", ["reason"])
        assert Memory.objects.count() == 1
        assert classify_memory(memory, reason="It was announced.", **change_fields).version == 2

    @pytest.mark.parametrize(
        ("change_fields", "clearance"),
        [
            ({"classification_tier": "restricted"}, Clearance(max_tier="confidential")),
            (
                {"add_labels": ["PII"]},
                Clearance(max_tier="restricted", blocked_labels=frozenset({"pii"})),
            ),
            ({"remove_labels": ["TEAM-A"]}, Clearance(max_tier="restricted", required_labels=frozenset({"team-a"}))),
        ],
    )
    def test_nobody_makes_a_memory_vanish_from_themselves(self, change_fields, clearance):
        memory = make_memory(labels=["team-a"])
        steward = Principal(name="user:sue", clearance=clearance, scopes=STEWARD.scopes)

        with pytest.raises(OperationRejectedError) as exc_info:
            classify_memory(memory, steward, **change_fields)
        assert exc_info.value.code == "above_clearance"
        assert Memory.objects.count() == 1

    @pytest.mark.usefixtures("protection_layers")
    def test_what_is_hidden_is_not_there(self):
        hidden = make_memory(tier="restricted")

        assert make_plan(hidden, CURATOR, classification_tier="public").planned_changes == []
        assert (
            classify.plan_for_memory(
                uuid.uuid4(), ClassificationChange(status="quarantined"), principal=CURATOR
            ).planned_changes
            == []
        )
        assert plan_for_query("", CURATOR, classification_tier="public").planned_changes == []

    @pytest.mark.usefixtures("protection_layers")
    def test_filters_that_were_read_for_somebody_else_do_not_widen_what_is_seen(self):
        make_memory(tier="restricted")
        other_filters = MemoryFilterSet(QueryDict(), clearance=unrestricted_clearance())

        assert (
            classify.plan_for_filter(
                other_filters, ClassificationChange(status="quarantined"), principal=CURATOR
            ).planned_changes
            == []
        )


@pytest.mark.parametrize(
    ("change_fields", "field"),
    [
        ({}, ""), ({"reason": "Because."}, ""), ({"classification_tier": "secret"}, "classification_tier"),
        ({"classification_tier": ""}, "classification_tier"), ({"classification_tier": None}, "classification_tier"),
        ({"add_labels": "pii"}, "add_labels"), ({"add_labels": [""]}, "add_labels.0"),
        ({"add_labels": ["a\x00"]}, "add_labels.0"), ({"add_labels": ["x" * 256]}, "add_labels.0"),
        ({"remove_labels": [1]}, "remove_labels.0"), ({"add_labels": ["PII"], "remove_labels": ["pii"]}, ""),
        ({"add_labels": [str(number) for number in range(65)]}, "add_labels"),
        ({"status": "retired"}, "status"), ({"status": "erased"}, "status"), ({"tier": "public"}, "tier"),
        ({"status": "active", "reason": "x" * 1_001}, "reason"), ([], ""), ("public", ""), (None, ""),
    ],
)  # fmt: skip
def test_a_change_that_makes_no_sense_is_refused_by_field(change_fields, field):
    with pytest.raises(OperationRejectedError) as exc_info:
        parse_body(change_fields, ClassificationChange)

    assert list(exc_info.value.errors) == [field]


def test_an_unknown_tier_is_as_closed_as_can_be_and_none_as_open():
    def row(tier: str) -> Any:
        return ClassificationState(
            namespace="", classification_tier=tier, sensitivity_labels=(), status="active", defaulted_fields=()
        )

    assert widens_visibility(row("gone-from-the-order"), row("restricted"))
    assert widens_visibility(row("internal"), row(""))
    assert not widens_visibility(row(""), row("public"))
