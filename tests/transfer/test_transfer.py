"""A hub that is exported and imported again answers as it did: every status, all versions, decisions and policies."""

import gzip
import io
import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pgtrigger
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.http import QueryDict

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts.decisions import decision_queries
from memoryhub.conflicts.decisions.resolve import Resolution, ResolutionRequest, list_members, resolve, undo_decisions
from memoryhub.conflicts.groups import groups as conflict_groups
from memoryhub.conflicts.groups.group_keys import compute_evidence
from memoryhub.conflicts.groups.groups import GroupFilterSet
from memoryhub.conflicts.models import Decision, Policy, PolicyRun
from memoryhub.conflicts.policies import policies, policy_runs
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories import clock
from memoryhub.memories.fields import FIELDS
from memoryhub.memories.models import STATUSES, Memory
from memoryhub.memories.writes import classify, write
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.memories.writes.identity import OnConflict
from memoryhub.memories.writes.write import WriteOutcome
from memoryhub.timetravel.point_queries import query_at
from memoryhub.transfer.jsonl_import import ImportReport, import_lines
from memoryhub.transfer.line_files import SINGLE_DOCUMENT_REASON
from tests.conflicts.policies.policy_factories import ADMIN, change_policy, make_group, make_policy, run_policy
from tests.factories import WRITER, envelope, make_clearance, make_memory
from tests.memories.raw_rows import execute

pytestmark = pytest.mark.django_db

STEWARD = Principal(name="user:ada", scopes=frozenset(Scope), clearance=unrestricted_clearance(), actor_type="user")
INSTANTS = [datetime(2026, 2, 27, 12, tzinfo=UTC) + timedelta(days=n) for n in range(20)]


def resolve_group(subject: str, outcome: str, *kept_memories: Memory, reason: str = "Asked her.", **choice: Any) -> Any:
    group_members = list_members((subject, "city"), STEWARD)
    evidence = compute_evidence((member.memory_id, member.version) for member in group_members)
    keep_ids = [memory.memory_id for memory in kept_memories]
    choice_made = Resolution(outcome=outcome, keep=keep_ids, reason=reason, **choice)
    return resolve(
        ResolutionRequest(key=(subject, "city"), evidence=evidence, resolution=choice_made), principal=STEWARD
    ).decision_id


def store_history() -> None:
    """Memories of every status, decisions of every outcome, and policies."""
    _, london = make_group("user:ada", "Paris", "London")
    resolve_group("user:ada", "keep_one", london)
    first = make_group("user:bob", "Rome", "Oslo")
    undo_decisions([resolve_group("user:bob", "keep_one", first[0])], principal=STEWARD, reason="Too early.")
    bern_and_basel = make_group("user:cy", "Bern", "Basel")
    spans = {bern_and_basel[0].memory_id: {"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"}}
    resolve_group("user:cy", "keep_several", *bern_and_basel, validity=spans)
    make_group("user:di", "Nice", "Lyon")
    resolve_group("user:di", "merge", content="Nice and Lyon")
    make_group("user:ed", "Graz", "Linz")
    resolve_group("user:ed", "not_a_conflict")
    make_group("user:flo", "Köln", "Bonn")
    resolve_group("user:flo", "defer", deferred_until="2999-01-01T00:00:00Z")
    make_group("user:gil", "Turin", "Genoa", namespace="team")
    run_policy(change_policy(make_policy(name="By a policy", namespace="team"), name="Renamed"))
    # Values of one event time and one write: the later one holds, whatever the earlier one was labelled since.
    tied_fields = {"subject": "user:hal", "collection": "city", "timestamp": "2026-03-04T12:00:00Z"}
    write.write_memories([envelope(content=content, **tied_fields) for content in ("Wien", "Graz")], principal=WRITER)
    reclassify_memory(Memory.objects.get(content="Wien"), add_labels=["pii"], classification_tier="restricted")
    quarantined_memory = make_memory(payload_id="away", subject="user:ida", collection="city", content="Ulm")
    reclassify_memory(quarantined_memory, status="quarantined")
    released_memory = make_memory(payload_id="released", subject="user:jo", collection="city", content="Jena")
    reclassify_memory(released_memory, status="quarantined")
    reclassify_memory(released_memory, status="active")
    for text in ("One.", "Two.", "Three."):
        make_memory(payload_id="updated", content=text, labels=["a", "b"])
    erased_memory = make_memory(payload_id="gone", content="Erase me.")
    execute(
        "UPDATE memories SET status = 'erased', content = '', masked_content = NULL, embedding = NULL,"
        " metadata = '{}', propagation = NULL, fingerprint = '' WHERE memory_id = %s",
        erased_memory.memory_id,
    )


def reclassify_memory(memory: Memory, **change: Any) -> None:
    plan = classify.plan_for_memory(
        memory.memory_id, ClassificationChange(reason="Story.", **change), principal=STEWARD
    )
    classify.apply_plan(plan, reason="Story.")


def empty_database() -> None:
    trigger_names = ("memories.Memory:forbid_truncate", "conflicts.Decision:forbid_truncate")
    with pgtrigger.ignore(*trigger_names), connection.cursor() as cursor:
        # A run refers to its policy, which is checked at the end of the transaction otherwise.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("TRUNCATE memories, record_clock, decisions, policies, policy_runs RESTART IDENTITY CASCADE")
        cursor.execute("SELECT tablename FROM pg_tables WHERE starts_with(tablename, 'memory_')")
        for (table,) in cursor.fetchall():
            cursor.execute(f'TRUNCATE "{table}"')


def export_bytes(*arguments: str) -> bytes:
    """What the command writes to a file of its own."""
    return export_output(*arguments)[0]


def export_output(*arguments: str) -> tuple[bytes, str]:
    err = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "out.jsonl"
        call_command("export_memories", *arguments, output=str(file), stderr=err)
        return file.read_bytes(), err.getvalue()


def import_bytes(data: bytes, **options: Any) -> ImportReport:
    report = import_lines(io.BytesIO(data), **options)
    assert report.failure_count == 0, report.failures
    return report


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


def to_lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def history_rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in export_bytes("--history").splitlines()]


def version_statuses() -> list[tuple[str, str, int, str]]:
    rows = Memory.objects.filter(superseded_at=None).order_by("payload_id")
    return list(rows.values_list("payload_id", "content", "version", "status"))


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

    current_version = Memory.objects.get(payload_id="p", superseded_at=None)
    assert current_version.status == status


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


def test_an_export_is_full_and_says_what_an_option_leaves_out():
    store_history()

    file, output = export_output()
    active, skipped_lines = export_output("--active-only")

    status = [json.loads(line).get("status") for line in file.splitlines()]
    assert {"active", "retired", "quarantined", "erased"} <= set(status)
    inactive = sum(status_value not in (None, "active") for status_value in status)
    assert f"{inactive:,} memories left out by --active-only: 1 erased, 1 quarantined, " in skipped_lines
    assert "earlier versions left out" in output
    assert {json.loads(line).get("status", "active") for line in active.splitlines()} == {"active"}
    assert "decisions left out: some of their memories are not in this export" in skipped_lines
    validity = [json.loads(line)["validity"] for line in file.splitlines() if b'"payload_id"' in line and
                "validity" in json.loads(line) and json.loads(line).get("type") is None]  # fmt: skip
    assert validity == [{"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"}]


def test_a_readers_export_has_neither_what_a_source_sent_nor_decisions_that_the_reader_may_not_see():
    make_memory(payload_id="opened", tier="restricted", labels=["secret"], namespace="deep")
    reclassify_memory(Memory.objects.get(), classification_tier="public", remove_labels=["secret"])
    _, london = make_group("user:ada", "Paris", "London")
    resolve_group("user:ada", "keep_one", london, reason="Canary.")
    reclassify_memory(london, classification_tier="restricted")
    make_clearance(name="low", max_tier="public")

    full_export, low = export_bytes(), export_bytes("--clearance", "low")

    assert b"secret" in full_export
    assert b"Canary" in full_export
    assert b"sent_" not in low
    assert b"decision" not in low
    assert b"Canary" not in low
    assert b"Paris" in low


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


class TestFiles:
    def run_import(self, tmp_path: Path, name: str, data: bytes) -> tuple[str, str]:
        (tmp_path / name).write_bytes(data)
        out, err = io.StringIO(), io.StringIO()
        try:
            call_command("import_memories", str(tmp_path / name), stdout=out, stderr=err, no_color=True)
        except CommandError as error:
            err.write(str(error))
        return out.getvalue(), err.getvalue()

    @pytest.mark.parametrize("damage", [lambda packed: packed + b"garbage", lambda packed: packed[:-300]],
                             ids=["trailing garbage", "cut off"])  # fmt: skip
    def test_a_damaged_archive_keeps_what_can_be_read_and_says_how_much(self, tmp_path, damage):
        texts = to_lines(*[envelope(payload_id=f"p-{n}", content=f"{n} {hash(str(n))}") for n in range(100)])

        out, err = self.run_import(tmp_path, "damaged.jsonl.gz", damage(gzip.compress(texts)))

        stored_count = Memory.objects.count()
        assert stored_count > 80
        assert f"{stored_count} created" in out
        assert "cannot be read beyond line" in err

    def test_a_mark_layouts_and_nanoseconds_are_understood_or_complained_of_once(self, tmp_path):
        pretty = json.dumps(envelope(metadata={"a": [1, {"b": "}"}]}), indent=2).encode()
        array = json.dumps([envelope(), envelope()], indent=2).encode()
        fine = envelope(payload_id="fine", timestamp="2026-03-01T12:00:00.123456789Z")
        data = b"\xef\xbb\xbf" + to_lines(envelope(payload_id="first"), fine)

        out, err = self.run_import(
            tmp_path, "foreign.jsonl", data + pretty + b"\n" + array + b"\n" + to_lines(envelope())
        )

        assert "3 created" in out
        assert "2 rejected, 1 truncated to microseconds" in out
        assert Memory.objects.get(payload_id="fine").timestamp.microsecond == 123456
        assert f":3: {SINGLE_DOCUMENT_REASON}" in err
        assert f"2 times {SINGLE_DOCUMENT_REASON}" in err
        assert err.count("document") == 3

    def test_reasons_are_counted_and_not_repeated_a_thousand_times(self, tmp_path):
        data = b"".join(b"no json %d\n" % index for index in range(1_000)) + to_lines({"payload_id": "p"})

        _, err = self.run_import(tmp_path, "bad.jsonl", data)

        assert "1,000 times is not JSON" in err
        assert "1 times " in err
        assert len(err.splitlines()) < 60
