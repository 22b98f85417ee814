"""An update's classification is the stricter of what its writer sent last and of what others made of the memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from memoryhub.memories.models import Memory
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.memories.writes.envelope import parse_body
from memoryhub.memories.writes.identity import OnConflict
from tests.api.native.updates import current, post_update, post_write, receipt_outcome
from tests.api.receipts import make_writer_key
from tests.factories import WRITER, make_key
from tests.noninterference.writes.writers import import_rows

pytestmark = pytest.mark.django_db

SENT_FIELDS: dict[str, Any] = {
    "classification_tier": "internal", "sensitivity_labels": ["eu", "hr"], "namespace": "alpha",
}  # fmt: skip
RAISE_TIER = {"classification_tier": "confidential"}
LOWER_TIER = {"classification_tier": "public"}
ADD_LABEL = {"add_labels": ["pii"]}
REMOVE_LABEL = {"remove_labels": ["hr"]}
MOVE_NAMESPACE = {"namespace": "omega"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a steward made of a memory that was sent as SENT, what its writer sends then, and what is stored then."""

    name: str
    steward_change: Mapping[str, Any]
    sent_fields: Mapping[str, Any]
    stored_fields: Mapping[str, Any]
    outcome: str = "updated"


def declassification_rules(
    name: str, sent_fields: Mapping[str, Any], steward_change: Mapping[str, Any] = {}
) -> list[Rule]:
    """Lowered below what was last sent, whatever a steward has made of it: nothing is stored."""
    return [
        Rule(
            name=f"{name}, {label}",
            steward_change=change_fields,
            sent_fields=sent_fields,
            stored_fields=expected_fields,
            outcome="declassification",
        )
        for label, change_fields, expected_fields in (
            ("untouched", {}, {}),
            ("raised", RAISE_TIER, {"classification_tier": "confidential"}),
            ("lowered", LOWER_TIER, {"classification_tier": "public"}),
            ("labelled", ADD_LABEL, {"sensitivity_labels": ["eu", "hr", "pii"]}),
            ("unlabelled", REMOVE_LABEL, {"sensitivity_labels": ["eu"]}),
            ("moved", MOVE_NAMESPACE, {"namespace": "omega"}),
        )
    ]


WITH_PII = {"sensitivity_labels": ["eu", "hr", "pii"]}
CLASSIFICATION_RULES = [
    Rule(name="raised by the writer", steward_change={}, sent_fields=RAISE_TIER, stored_fields=RAISE_TIER),
    Rule(name="labelled by the writer", steward_change={}, sent_fields=WITH_PII, stored_fields=WITH_PII),
    Rule(name="the same", steward_change={}, sent_fields=SENT_FIELDS, stored_fields={}),
    Rule(
        name="the same labels in other spelling",
        steward_change={},
        sent_fields={"sensitivity_labels": ["HR", "eu"]},
        stored_fields={},
    ),
    # What somebody else raised stays raised.
    Rule(
        name="raised, then sent as before", steward_change=RAISE_TIER, sent_fields=SENT_FIELDS, stored_fields=RAISE_TIER
    ),
    Rule(name="raised, then unsent", steward_change=RAISE_TIER, sent_fields={}, stored_fields=RAISE_TIER),
    Rule(
        name="raised, then raised as far by the writer",
        steward_change=RAISE_TIER,
        sent_fields=RAISE_TIER,
        stored_fields=RAISE_TIER,
    ),
    Rule(
        name="raised, then labelled by the writer",
        steward_change=RAISE_TIER,
        sent_fields=WITH_PII,
        stored_fields=RAISE_TIER | WITH_PII,
    ),
    Rule(
        name="labelled, then sent as before", steward_change=ADD_LABEL, sent_fields=SENT_FIELDS, stored_fields=WITH_PII
    ),
    Rule(name="labelled, then unsent", steward_change=ADD_LABEL, sent_fields={}, stored_fields=WITH_PII),
    Rule(
        name="labelled, then labelled by the writer",
        steward_change=ADD_LABEL,
        sent_fields={"sensitivity_labels": ["eu", "hr", "vip"]},
        stored_fields={"sensitivity_labels": ["eu", "hr", "pii", "vip"]},
    ),
    Rule(
        name="labelled, then labelled alike",
        steward_change=ADD_LABEL,
        sent_fields={"sensitivity_labels": ["eu", "hr", "PII"]},
        stored_fields=WITH_PII,
    ),
    Rule(
        name="moved, then sent as before",
        steward_change=MOVE_NAMESPACE,
        sent_fields=SENT_FIELDS,
        stored_fields=MOVE_NAMESPACE,
    ),
    Rule(name="moved, then unsent", steward_change=MOVE_NAMESPACE, sent_fields={}, stored_fields=MOVE_NAMESPACE),
    Rule(
        name="moved, then raised by the writer",
        steward_change=MOVE_NAMESPACE,
        sent_fields=RAISE_TIER,
        stored_fields=MOVE_NAMESPACE | RAISE_TIER,
    ),
    # What somebody else opened is closed again by a writer that says so, and stays open under one that says nothing.
    Rule(name="lowered, then sent as before", steward_change=LOWER_TIER, sent_fields=SENT_FIELDS, stored_fields={}),
    Rule(name="lowered, then unsent", steward_change=LOWER_TIER, sent_fields={}, stored_fields=LOWER_TIER),
    Rule(
        name="lowered, then raised by the writer",
        steward_change=LOWER_TIER,
        sent_fields=RAISE_TIER,
        stored_fields=RAISE_TIER,
    ),
    Rule(
        name="unlabelled, then sent as before", steward_change=REMOVE_LABEL, sent_fields=SENT_FIELDS, stored_fields={}
    ),
    Rule(
        name="unlabelled, then unsent",
        steward_change=REMOVE_LABEL,
        sent_fields={},
        stored_fields={"sensitivity_labels": ["eu"]},
    ),
    *declassification_rules("lower tier", {"classification_tier": "public"}),
    *declassification_rules("cleared tier", {"classification_tier": None}),
    *declassification_rules("fewer labels", {"sensitivity_labels": ["eu"]}),
    *declassification_rules("other labels", {"sensitivity_labels": ["eu", "vip"]}),
    *declassification_rules("cleared labels", {"sensitivity_labels": []}),
    *declassification_rules("another namespace", {"namespace": "beta"}),
    *declassification_rules("cleared namespace", {"namespace": ""}),
    *declassification_rules("the namespace that it was moved to", MOVE_NAMESPACE),
    *declassification_rules("higher tier with fewer labels", {**RAISE_TIER, "sensitivity_labels": []}),
]


def apply_steward_change(change: Mapping[str, Any]) -> None:
    memory = current()
    if "namespace" in change:
        line = {"source": "test", "payload_id": "p", "content": memory.content, **classification_of(memory), **change}
        import_rows([line], OnConflict.UPDATE)
    elif change:
        plan = classify.plan_for_memory(memory.memory_id, parse_body(change, ClassificationChange), principal=WRITER)
        classify.apply_plan(plan, reason="Looked at.")


def classification_of(memory: Memory) -> dict[str, Any]:
    return {name: getattr(memory, name) for name in SENT_FIELDS}


def with_folded_labels(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A classification with its labels as they are compared."""
    return {**fields, "sensitivity_labels": sorted({label.casefold() for label in fields["sensitivity_labels"]})}


class TestUpdateClassification:
    @pytest.mark.parametrize("rule", CLASSIFICATION_RULES, ids=[rule.name for rule in CLASSIFICATION_RULES])
    def test_is_the_stricter_of_what_was_sent_and_what_is_in_force(self, writer, rule):
        post_write(writer, "", content="Paris.", **SENT_FIELDS)
        apply_steward_change(rule.steward_change)

        receipt = post_update(writer, content="Rome.", **rule.sent_fields)

        assert receipt_outcome(receipt) == rule.outcome
        assert receipt.status == (200 if receipt.is_stored else 403)
        assert with_folded_labels(classification_of(current())) == with_folded_labels(
            {**SENT_FIELDS, **rule.stored_fields}
        )
        assert current().content == ("Rome." if receipt.is_stored else "Paris.")

    def test_is_compared_with_what_was_sent_last(self, writer):
        """Not with what was sent first."""
        post_write(writer, "", content="Paris.", classification_tier="public")

        assert post_update(writer, classification_tier="internal").status_and_outcome == (200, "updated")
        assert post_update(writer, classification_tier="public").status_and_outcome == (403, "declassification")
        assert post_update(writer, role="assistant").status_and_outcome == (200, "updated")
        assert post_update(writer, classification_tier="public").status_and_outcome == (403, "declassification")
        assert post_update(writer, classification_tier="confidential").status_and_outcome == (200, "updated")
        assert post_update(writer, classification_tier="internal").status_and_outcome == (403, "declassification")
        assert current().classification_tier == "confidential"

    def test_is_the_same_for_all_keys_of_a_source(self, api, writer):
        other_client = api(make_writer_key())
        post_write(writer, "", content="Paris.", classification_tier="public")

        assert post_update(other_client, classification_tier="internal").status_and_outcome == (200, "updated")
        assert post_update(writer, classification_tier="public").status_and_outcome == (403, "declassification")

    def test_is_raised_by_its_writer_where_a_steward_has_raised_it_as_far_already(self, writer):
        post_write(writer, "", content="Paris.", **SENT_FIELDS)
        apply_steward_change(RAISE_TIER)

        assert post_update(writer, **RAISE_TIER).status_and_outcome == (200, "updated")
        assert post_update(writer, **RAISE_TIER).status_and_outcome == (200, "duplicate")
        assert post_update(writer, classification_tier="internal").status_and_outcome == (403, "declassification")

    def test_is_not_repeated_in_a_version_when_it_is_sent_again(self, writer):
        post_write(writer, "", content="Paris.", **SENT_FIELDS)
        apply_steward_change(RAISE_TIER)
        before = current()

        assert post_update(writer, content="Paris.", **SENT_FIELDS).status_and_outcome == (200, "duplicate")
        assert post_write(writer, "refuse", content="Paris.", **SENT_FIELDS).status_and_outcome == (200, "duplicate")
        assert current() == before

    @pytest.mark.parametrize(
        "lowered_fields",
        [{"classification_tier": "public"}, {"sensitivity_labels": ["eu"]}, {"namespace": "beta"}],
        ids=["lower tier", "fewer labels", "another namespace"],
    )
    def test_is_lowered_with_the_scope_declassify(self, api, writer, lowered_fields):
        post_write(writer, "", content="Paris.", **SENT_FIELDS)
        declassifier = api(make_writer_key("write read declassify"))

        assert post_update(writer, **lowered_fields).status_and_outcome == (403, "declassification")
        assert post_update(declassifier, **lowered_fields).status_and_outcome == (200, "updated")
        assert classification_of(current()) == {**SENT_FIELDS, **lowered_fields}
        # From then on that is what was last sent.
        assert post_update(writer, **lowered_fields, role="assistant").status_and_outcome == (200, "updated")

    @pytest.mark.parametrize(
        "raised_fields",
        [{"classification_tier": "restricted"}, {"sensitivity_labels": ["eu", "hr", "sealed"]}],
        ids=["tier", "label"],
    )
    @pytest.mark.parametrize("steward", [{}, RAISE_TIER, MOVE_NAMESPACE], ids=["untouched", "raised", "moved"])
    def test_is_not_raised_beyond_the_writers_clearance(self, api, raised_fields, steward):
        clearance = {"max_tier": "confidential", "blocked_labels": ["sealed"]}
        writer = api(make_key(scopes="write read", source="test", clearance=clearance))
        post_write(writer, "", content="Paris.", **SENT_FIELDS)
        apply_steward_change(steward)

        assert post_update(writer, **raised_fields).status_and_outcome == (403, "above_clearance")
        assert current().content == "Paris."
