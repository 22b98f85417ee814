"""What an import refuses: a history that differs, what was rejected or removed, and what its sender may not send."""

import io
import json
from dataclasses import replace
from typing import Any

import pytest

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts.models import Decision, Policy
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.models import Memory
from memoryhub.memories.writes.identity import OnConflict
from memoryhub.memories.writes.write import WriteOutcome
from memoryhub.transfer.jsonl_import import import_lines
from tests.conflicts.policies.policy_factories import ADMIN, make_group, make_policy
from tests.factories import envelope, make_memory
from tests.memories.raw_rows import execute
from tests.transfer.hub_history import (
    empty_database,
    export_bytes,
    import_bytes,
    reclassify_memory,
    resolve_group,
    to_lines,
    version_statuses,
)

pytestmark = pytest.mark.django_db


def history_rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in export_bytes("--history").splitlines()]


def test_a_history_with_other_content_or_of_another_memory_is_a_conflict_and_nothing_of_it_is_stored():
    for text in ("One.", "Two."):
        make_memory(payload_id="p", content=text)
    first, second = history_rows()
    third_line = second | {"version": 3, "content": "Three."}
    before = version_statuses()

    diverged = import_lines(io.BytesIO(to_lines(first | {"content": "Other."}, second, third_line)))
    foreign = {"memory_id": "8e7f1d9c-3f5b-4f25-9a35-2f5a5d3d2f11"}
    other_report = import_lines(
        io.BytesIO(to_lines(first | foreign, third_line | foreign)), on_conflict=OnConflict.UPDATE
    )
    bare_line = {"payload_id": "p", "source": "test", "content": "Bare."}
    manual_report = import_lines(io.BytesIO(to_lines(bare_line | {"version": 1}, bare_line | {"version": 3})))

    assert [report.outcome_counts[WriteOutcome.CONFLICT] for report in (diverged, other_report, manual_report)] == [
        3,
        2,
        2,
    ]
    assert "as version 1" in diverged.failures[0][1]
    assert "memory_id" in other_report.failures[0][1]
    assert version_statuses() == before
    goes_on = import_lines(io.BytesIO(to_lines(first, second, third_line)))
    assert (goes_on.outcome_counts[WriteOutcome.DUPLICATE], goes_on.outcome_counts[WriteOutcome.UPDATED]) == (2, 1)


@pytest.mark.parametrize("status", ["retired", "quarantined", "erased"])
def test_an_import_brings_nothing_back_into_force(status):
    make_memory(payload_id="p", content="Wrong.", subject="user:ada", collection="city")
    before = history_rows()
    memory = Memory.objects.get()
    if status == "erased":
        execute("UPDATE memories SET status = 'erased', content = '', fingerprint = '' WHERE id = %s", memory.pk)
    elif status == "quarantined":
        reclassify_memory(memory, status="quarantined")
    else:
        right_memory = make_memory(payload_id="q", content="Right.", subject="user:ada", collection="city")
        resolve_group("user:ada", "keep_one", right_memory)
    wrong_envelope = envelope(payload_id="p", content="Wrong.", subject="user:ada", collection="city")
    attempts = [
        before,
        [{name: value for name, value in before[0].items() if name not in ("memory_id", "version", "superseded_at")}],
        [wrong_envelope],
        [wrong_envelope | {"content": "Other."}],
        [wrong_envelope | {"content": "Once more.", "status": "active"}],
        [before[0] | {"version": 7, "content": "Seven."}],
        [before[0] | {"version": 7, "status": "retired"}],
    ]

    for on_conflict in OnConflict:
        for attempt in attempts:
            import_lines(io.BytesIO(to_lines(*attempt)), on_conflict=on_conflict)
    bare_line = to_lines(wrong_envelope | {"content": "Bare."})
    report = import_lines(io.BytesIO(bare_line), on_conflict=OnConflict.UPDATE)

    current_version = Memory.objects.get(payload_id="p", superseded_at=None)
    assert current_version.status == status
    assert ("was erased here" in str(report.failures)) == (status == "erased")


def test_a_value_that_was_rejected_here_comes_in_as_retired_whatever_the_export_says():
    make_memory(payload_id="there", content="Paris", subject="user:ada", collection="city")
    file = history_rows()
    empty_database()
    _, right_memory = make_group("user:ada", "Paris", "London")
    rejection = resolve_group("user:ada", "keep_one", right_memory)

    import_bytes(to_lines(*file))

    existing_memory = Memory.objects.get(payload_id="there")
    assert (existing_memory.status, existing_memory.decision_id) == ("retired", rejection)


def test_statuses_are_for_the_operator_and_for_those_who_judge_memories():
    line = envelope(payload_id="p", content="Wrong.") | {"status": "retired"}
    writer = Principal(
        name="user:bob", source="test", scopes=frozenset({Scope.WRITE}), clearance=unrestricted_clearance()
    )
    steward = replace(writer, scopes=frozenset({Scope.WRITE, Scope.CURATE}))

    refused_report = import_lines(io.BytesIO(to_lines(line)), principal=writer)
    assert (refused_report.outcome_counts[WriteOutcome.REJECTED], Memory.objects.count()) == (1, 0)
    assert "scope `curate`" in refused_report.failures[0][1]

    import_bytes(to_lines(line), principal=steward)
    assert [status for *_, status in version_statuses()] == ["retired"]


def test_decisions_and_policies_are_compared_and_imported_by_the_operator_alone():
    _, london = make_group("user:ada", "Paris", "London")
    resolve_group("user:ada", "keep_one", london)
    make_policy()
    policy, decision = [json.loads(line) for line in export_bytes().splitlines()][:2]
    rival = policy | {"policy_id": "8e7f1d9c-3f5b-4f25-9a35-2f5a5d3d2f11"}
    twin = decision | {"decision_id": "8e7f1d9c-3f5b-4f25-9a35-2f5a5d3d2f11"}
    foreign_memories = [memory_name | {"payload_id": "other"} for memory_name in decision["memories"]]

    refused_report = import_lines(io.BytesIO(to_lines(
        policy | {"name": "Other"}, decision | {"reason": "Other."}, twin | {"memories": foreign_memories},
        twin | {"memories": []}, twin | {"outcome": "undo"},
        twin | {"outcome": "undo", "undoes_id": rival["policy_id"]},
    )))  # fmt: skip
    admin_report = import_lines(io.BytesIO(to_lines(policy, decision)), principal=ADMIN)

    assert refused_report.outcome_counts[WriteOutcome.CONFLICT] == 6, refused_report.failures
    assert import_lines(io.BytesIO(to_lines(rival))).outcome_counts[WriteOutcome.CONFLICT] == 1
    assert admin_report.outcome_counts[WriteOutcome.REJECTED] == 2
    assert (Decision.objects.count(), Policy.objects.count()) == (1, 1)
    assert not AuditEntry.objects.filter(action__endswith=".import").exists()
