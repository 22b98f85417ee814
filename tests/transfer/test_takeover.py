"""A hub that is exported and imported again answers as it did: every status, all versions, decisions and policies."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.http import QueryDict

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts.decisions import decision_queries
from memoryhub.conflicts.decisions.resolve import undo_decisions
from memoryhub.conflicts.groups import groups as conflict_groups
from memoryhub.conflicts.groups.groups import GroupFilterSet
from memoryhub.conflicts.models import Decision, Policy, PolicyRun
from memoryhub.conflicts.policies import policies, policy_runs
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.firewall.principal import Scope
from memoryhub.memories import clock
from memoryhub.memories.fields import FIELDS
from memoryhub.memories.models import STATUSES, Memory
from memoryhub.memories.writes import write
from memoryhub.memories.writes.identity import OnConflict
from memoryhub.memories.writes.write import WriteOutcome
from memoryhub.timetravel.point_queries import query_at
from tests.conflicts.policies.policy_factories import make_group
from tests.factories import WRITER, envelope, make_memory
from tests.transfer.hub_history import (
    STEWARD,
    empty_database,
    export_bytes,
    import_bytes,
    reclassify_memory,
    resolve_group,
    store_history,
    to_lines,
    version_statuses,
)

pytestmark = pytest.mark.django_db

INSTANTS = [datetime(2026, 2, 27, 12, tzinfo=UTC) + timedelta(days=n) for n in range(20)]


def database_state() -> dict[str, Any]:
    """All that must be the same in the hub that took over."""
    versions = Memory.objects.order_by("source", "payload_id", "version")
    own_fields = {"embedding", "asserted_at", "asserted_version_id", "superseded_at"}
    compared_columns = [field.name for field in FIELDS if field.is_inserted and field.name not in own_fields]
    decision_records = list(decision_queries.iter_decisions(QueryDict(), principal=STEWARD))
    names = dict(Memory.objects.filter(superseded_at=None).values_list("memory_id", "payload_id"))
    return {
        "versions": [
            [bytes(value) if isinstance(value, memoryview) else value for value in row]
            for row in versions.values_list(*compared_columns)
        ],
        "current": list(versions.filter(superseded_at=None).values_list("payload_id", "version")),
        "states": [state_at(instant) for instant in INSTANTS],
        "groups": group_summaries(),
        "decisions": [
            (record.outcome, record.reason, record.principal, record.decided_at,
             [names[id_] for id_ in record.memory_ids], record.is_in_force, record.kept_ids, record.retired_ids,
             record.merged_id, record.validity, record.deferred_until, record.evidence, record.undone_by_id)
            for record in decision_records
        ],
        "policies": [policies.to_json(policy) for policy in Policy.objects.order_by("created_at", "id")],
        "runs": [
            {**policy_runs.to_json(run), "finished_at": run.finished_at}
            for run in PolicyRun.objects.order_by("started_at")
        ],
    }  # fmt: skip


def state_at(instant: datetime) -> list[tuple[str, str, str]]:
    querydict = QueryDict(mutable=True)
    querydict.update({"view": "state", "as_of": instant.isoformat(), "limit": "200"})
    records = query_at(querydict, principal=STEWARD).page.records
    return [(record["subject"], record["collection"], record["content"]) for record in records]


def group_summaries() -> list[Any]:
    filters = GroupFilterSet(QueryDict("status=all"), clearance=STEWARD.clearance)
    page = conflict_groups.list_page(filters, principal=STEWARD, params={"limit": "200", "cursor": ""})
    return [(group.id, group.status, group.evidence, group.conflict_class) for group in page.groups]


@pytest.mark.parametrize("parts", [("--history",), ("", "--history")], ids=["at once", "plain first"])
def test_a_hub_that_took_over_an_export_answers_as_the_old_one(parts):
    store_history()
    old = database_state()
    files = [export_bytes(*part.split()) for part in parts]
    empty_database()

    reports = [import_bytes(file) for file in files]
    new = database_state()

    assert {name: new[name] for name in old if new[name] != old[name]} == {}
    assert {status for *_, status in Memory.objects.values_list("id", "status")} == set(STATUSES)
    assert reports[-1].outcome_counts[WriteOutcome.CREATED] > 0
    assert comparable_lines(export_bytes("--history")) == comparable_lines(files[-1])
    second_report = import_bytes(files[-1])
    assert second_report.outcome_counts[WriteOutcome.DUPLICATE] == second_report.line_count
    assert database_state() == new


def test_a_plain_export_restores_what_is_in_force_and_what_was_decided():
    store_history()
    old, file = database_state(), export_bytes()
    empty_database()

    import_bytes(file)
    new = database_state()

    compared_keys = ("current", "states", "groups", "decisions", "policies", "runs")
    assert {name: new[name] for name in compared_keys if new[name] != old[name]} == {}
    assert export_bytes() == file


def comparable_lines(data: bytes) -> list[dict[str, Any]]:
    """The lines without the record times, which are each hub's own, in the order of identities."""
    lines = [json.loads(line) for line in data.splitlines()]
    documents = [{name: value for name, value in line.items() if name not in ("recorded_at", "superseded_at")}
            for line in lines]  # fmt: skip
    return sorted(
        documents, key=lambda line: json.dumps([line.get("memory_id"), line.get("version"), line], sort_keys=True)
    )


def test_a_hub_that_took_over_an_export_answers_writers_as_the_old_one():
    low = replace(WRITER, name="key:low", scopes=frozenset({Scope.WRITE}))
    payload = envelope(payload_id="p", tier="internal", labels=["a"])
    write.write_memories([payload], principal=low)
    reclassify_memory(Memory.objects.get(), classification_tier="restricted", add_labels=["b"])
    make_memory(payload_id="opened", tier="restricted", labels=["secret"])
    opened_envelope = envelope(payload_id="opened", content=Memory.objects.get(payload_id="opened").content)
    reclassify_memory(Memory.objects.get(payload_id="opened"), classification_tier="public", remove_labels=["secret"])
    file = export_bytes()
    empty_database()
    import_bytes(file)

    def write_outcome(**fields: Any) -> str:
        (receipt,) = write.write_memories([payload | fields], principal=low, on_conflict=OnConflict.UPDATE)
        return receipt.code or receipt.outcome.value

    assert write_outcome() == "duplicate"
    assert write_outcome(classification_tier="public") == "declassification"
    assert write_outcome(sensitivity_labels=[]) == "declassification"
    assert write_outcome(content="Other.") == "updated"
    current_version = Memory.objects.get(payload_id="p", superseded_at=None)
    assert (current_version.classification_tier, sorted(current_version.sensitivity_labels)) == (
        "restricted",
        ["a", "b"],
    )
    (receipt,) = write.write_memories(
        [opened_envelope | {"content": "Other."}], principal=low, on_conflict=OnConflict.REPLACE
    )
    assert receipt.code == "declassification"


def test_an_import_of_decisions_is_in_the_audit_log_and_an_undo_restores_what_they_retired():
    paris, london = make_group("user:ada", "Paris", "London")
    decision = resolve_group("user:ada", "keep_one", london)
    file = export_bytes()
    empty_database()
    import_bytes(file)

    entry = AuditEntry.objects.get(action="conflict.import")
    assert set(entry.memory_ids) == {paris.memory_id, london.memory_id}
    undo_decisions([decision], principal=STEWARD, reason="Not so.")
    assert {status for *_, status in version_statuses()} == {"active"}


def test_an_answer_about_an_earlier_instant_of_record_time_does_not_change_by_an_import():
    make_group("user:ada", "Paris", "London")
    resolve_group("user:ada", "not_a_conflict")
    file = export_bytes("--history")
    empty_database()
    make_group("user:bob", "Rome", "Oslo")
    known_at = clock.stable_record_time()
    import_bytes(file)

    assert not Decision.objects.in_force(known_at).exists()
    assert Decision.objects.in_force().count() == 1
    assert Memory.objects.visible_to(unrestricted_clearance()).known_at(known_at).count() == 2
    (visible_decision,) = Decision.objects.all()
    assert visible_decision.decided_at < known_at < visible_decision.recorded_at


def test_earlier_versions_that_come_later_were_never_in_force():
    for text in ("One.", "Two."):
        make_memory(payload_id="p", content=text)
    current_export, history_export = export_bytes(), export_bytes("--history")
    empty_database()
    import_bytes(current_export)
    import_bytes(history_export)

    first_version, second_version = Memory.objects.order_by("version")
    assert (first_version.version, second_version.version, first_version.superseded_at) == (
        1,
        2,
        first_version.recorded_at,
    )
    for instant in (first_version.recorded_at, second_version.recorded_at):
        known_memories = Memory.objects.visible_to(unrestricted_clearance()).known_at(instant)
        assert list(known_memories.values_list("version", flat=True)) == [2]


def test_more_labels_than_a_source_may_send_come_over():
    memory = make_memory(payload_id="p", labels=[f"sent-{n}" for n in range(64)])
    before = [*memory.sensitivity_labels, "added-1", "added-2"]
    file = [json.loads(line) for line in export_bytes().splitlines()]
    empty_database()

    import_bytes(to_lines(file[0] | {"sensitivity_labels": before, "sent_labels": memory.sensitivity_labels}))

    assert Memory.objects.get().sensitivity_labels == before
