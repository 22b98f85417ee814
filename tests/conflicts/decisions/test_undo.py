"""Undoing decisions: what is restored, which later changes stay, and that the decisions have no other effect left."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.conflicts.decisions import resolve
from memoryhub.conflicts.groups.group_keys import compute_evidence
from memoryhub.conflicts.models import Decision
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.memories.writes.envelope import OperationRejectedError
from tests.conflicts.decisions.resolution_steps import (
    KEY,
    STEWARD,
    current_statuses,
    current_version,
    keep_values,
    make_value,
    resolution_request,
    undo_decisions,
)
from tests.harness.strategies import example_settings, roll_back

pytestmark = pytest.mark.django_db


class TestUndo:
    def test_restores_all_of_it(self):
        paris, berlin = make_value("Paris"), make_value("Berlin")
        before = visible_rows()
        outcome = keep_values(paris)

        (undo_result,) = undo_decisions(outcome.decision_id)

        assert undo_result.restored_ids == [berlin.memory_id]
        assert current_version(berlin).decision_id == undo_result.decision_id
        assert visible_rows() == before

    def test_keeps_what_was_classified_meanwhile(self):
        paris, berlin = make_value("Paris"), make_value("Berlin")
        outcome = keep_values(paris)
        admin = Principal(name="user:root", scopes=frozenset({Scope.ADMIN}), clearance=unrestricted_clearance())
        change = ClassificationChange(classification_tier="restricted")
        classify.apply_plan(classify.plan_for_memory(berlin.memory_id, change, principal=admin))

        undo_decisions(outcome.decision_id)

        assert (current_version(berlin).status, current_version(berlin).classification_tier) == ("active", "restricted")

    def test_retires_what_was_merged(self):
        paris, berlin = make_value("Paris"), make_value("Berlin")
        outcome = resolve.resolve(resolution_request(outcome="merge", content="Both"), principal=STEWARD)

        undo_decisions(outcome.decision_id)

        assert current_statuses(paris, berlin) == ["active", "active"]
        assert Memory.objects.get(memory_id=outcome.merged_id or uuid4(), superseded_at=None).status == "retired"

    def test_is_done_once_and_not_undone(self):
        paris, _ = make_value("Paris"), make_value("Berlin")
        outcome = keep_values(paris)
        (first,) = undo_decisions(outcome.decision_id)

        assert [result.refusal for result in undo_decisions(outcome.decision_id, first.decision_id, uuid4())] == [
            "already_undone", "cannot_undo_undo", "not_found",
        ]  # fmt: skip

    def test_of_a_later_decision_leaves_the_earlier_one(self):
        paris, berlin = make_value("Paris"), make_value("Berlin")
        first = keep_values(paris)
        rome = make_value("Rome")
        second = keep_values(rome)
        assert current_statuses(paris, berlin, rome) == ["retired", "retired", "active"]

        undo_decisions(first.decision_id)
        assert current_statuses(paris, berlin, rome) == ["retired", "active", "active"]
        undo_decisions(second.decision_id)
        assert current_statuses(paris, berlin, rome) == ["active", "active", "active"]

    def test_does_not_touch_a_memory_that_its_writer_has_updated(self):
        paris, berlin = make_value("Paris"), make_value("Berlin")
        outcome = keep_values(paris)
        later_memory = make_value("Bern", payload_id=berlin.payload_id)

        undo_decisions(outcome.decision_id)

        assert (later_memory.status, current_version(berlin).content, current_version(berlin).version) == (
            "active",
            "Bern",
            3,
        )

    def test_needs_a_reason(self):
        with pytest.raises(OperationRejectedError):
            resolve.undo_decisions([uuid4()], principal=STEWARD, reason=" ")


def visible_rows(**filters: Any) -> dict[UUID, tuple[Any, ...]]:
    """What default reads show of every memory; or what one says, however it stands."""
    rows = Memory.objects.filter(superseded_at=None, **filters or {"status": "active"})
    field_names = (
        "source",
        "payload_id",
        "content",
        "timestamp",
        "classification_tier",
        "normalized_labels",
        "fingerprint",
    )
    return {
        row["memory_id"]: tuple(map(str, (row[name] for name in field_names)))
        for row in rows.values("memory_id", *field_names)
    }


def is_decided(members: list[resolve.GroupMember]) -> bool:
    """Whether a decision stands that changed nothing of what it was made on."""
    evidence = bytes.fromhex(compute_evidence((member.memory_id, member.version) for member in members))
    return Decision.objects.visible_to(unrestricted_clearance()).in_force().filter(evidence=evidence).exists()


ACTION_STRATEGY = st.lists(
    st.tuples(
        st.sampled_from(["keep_one", "keep_several", "merge", "not_a_conflict", "defer", "undo", "say"]),
        st.integers(0, 7),
    ),
    max_size=14,
)


@example_settings(12, soak_examples=2_000)
@given(actions=ACTION_STRATEGY)
def test_after_all_is_undone_everything_is_as_if_nothing_had_been_decided(actions):
    """Whatever was said or classified meanwhile stays; whatever was decided leaves no trace but in the record."""
    with roll_back():
        for index in range(3):
            make_value(f"City {index}", payload_id=f"p{index}")
        expected = visible_rows()
        decision_ids: list[UUID] = []
        for action, index in actions:
            members = resolve.list_members(KEY, STEWARD)
            values = list({member.content_sha256: member.memory_id for member in members}.values())
            if action == "undo":
                open_ = [
                    decision_id
                    for decision_id in decision_ids
                    if not Decision.objects.filter(undoes_id=decision_id).exists()
                ]
                if open_:
                    (undo_result,) = undo_decisions(open_[index % len(open_)])
                    assert not undo_result.refusal
            elif action == "say":
                memory = make_value(f"City {index}", payload_id=f"q{index}")
                # Rejected already, it is in nobody's way until that is undone.
                expected |= visible_rows(memory_id=memory.memory_id)
            elif len(values) > 1 and not is_decided(members):
                kept_values = values[: 1 + index % (len(values) - 1)]
                choices: dict[str, dict[str, Any]] = {
                    "keep_one": {"keep": kept_values[:1]},
                    "keep_several": {"keep": values[:2]},
                    "merge": {"content": f"All of them {len(decision_ids)}"},
                }
                outcome = resolve.resolve(
                    resolution_request(outcome=action, **choices.get(action, {})), principal=STEWARD
                )
                assert outcome.decision_id
                decision_ids.append(outcome.decision_id)

        undo_decisions(
            *[
                decision_id
                for decision_id in decision_ids
                if not Decision.objects.filter(undoes_id=decision_id).exists()
            ]
        )

        assert visible_rows() == expected
        assert Decision.objects.exclude(outcome="undo").count() == Decision.objects.filter(outcome="undo").count()
