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
from memoryhub.conflicts import decisions, policies, runs
from memoryhub.conflicts import groups as conflict_groups
from memoryhub.conflicts.decide import Choice, Wish, decide, members, undo
from memoryhub.conflicts.groups import GroupFilterSet
from memoryhub.conflicts.keys import evidence_of
from memoryhub.conflicts.models import Decision, Policy, PolicyRun
from memoryhub.firewall.types import Principal, Scope, everything
from memoryhub.memories import clock, ingest, relabel
from memoryhub.memories.ingest import OnConflict, Outcome
from memoryhub.memories.models import STATUSES, Memory
from memoryhub.ops.importing import Report, import_lines
from memoryhub.ops.line_files import ONE_DOCUMENT
from memoryhub.timetravel.travel import travel
from tests.builders import WRITER, envelope, make_clearance, make_memory
from tests.conflicts.runs import ADMIN, carried_out, change, make_group, make_policy
from tests.memories.rows import execute

pytestmark = pytest.mark.django_db

STEWARD = Principal(name="user:ada", scopes=frozenset(Scope), clearance=everything(), actor_type="user")
INSTANTS = [datetime(2026, 2, 27, 12, tzinfo=UTC) + timedelta(days=n) for n in range(20)]


def decide_about(subject: str, outcome: str, *kept: Memory, reason: str = "Asked her.", **choice: Any) -> Any:
    found = members((subject, "city"), STEWARD)
    evidence = evidence_of((member.memory_id, member.version) for member in found)
    keep = [memory.memory_id for memory in kept]
    chosen = Choice(outcome=outcome, keep=keep, reason=reason, **choice)  # type: ignore[arg-type]
    return decide(Wish(key=(subject, "city"), evidence=evidence, choice=chosen), by=STEWARD).decision_id


def tell_a_story() -> None:
    """Memories of every status, decisions of every outcome, and policies."""
    _, london = make_group("user:ada", "Paris", "London")
    decide_about("user:ada", "keep_one", london)
    first = make_group("user:bob", "Rome", "Oslo")
    undo([decide_about("user:bob", "keep_one", first[0])], by=STEWARD, reason="Too early.")
    both = make_group("user:cy", "Bern", "Basel")
    spans = {both[0].memory_id: {"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"}}
    decide_about("user:cy", "keep_several", *both, validity=spans)
    make_group("user:di", "Nice", "Lyon")
    decide_about("user:di", "merge", content="Nice and Lyon")
    make_group("user:ed", "Graz", "Linz")
    decide_about("user:ed", "not_a_conflict")
    make_group("user:flo", "Köln", "Bonn")
    decide_about("user:flo", "defer", until="2999-01-01T00:00:00Z")
    make_group("user:gil", "Turin", "Genoa", namespace="team")
    carried_out(change(make_policy(name="By a policy", namespace="team"), name="Renamed"))
    # Values of one event time and one write: the later one holds, whatever the earlier one was labelled since.
    tied = {"subject": "user:hal", "collection": "city", "timestamp": "2026-03-04T12:00:00Z"}
    ingest.write([envelope(content=content, **tied) for content in ("Wien", "Graz")], by=WRITER)
    reclassify(Memory.objects.get(content="Wien"), add_labels=["pii"], classification_tier="restricted")
    put_away = make_memory(payload_id="away", subject="user:ida", collection="city", content="Ulm")
    reclassify(put_away, status="quarantined")
    released = make_memory(payload_id="released", subject="user:jo", collection="city", content="Jena")
    reclassify(released, status="quarantined")
    reclassify(released, status="active")
    for text in ("One.", "Two.", "Three."):
        make_memory(payload_id="updated", content=text, labels=["a", "b"])
    gone = make_memory(payload_id="gone", content="Erase me.")
    execute("UPDATE memories SET status = 'erased', content = '', masked_content = NULL, embedding = NULL,"
            " metadata = '{}', propagation = NULL, fingerprint = '' WHERE memory_id = %s", gone.memory_id)  # fmt: skip


def reclassify(memory: Memory, **change: Any) -> None:
    plan = relabel.plan_one(memory.memory_id, relabel.Change(reason="Story.", **change), by=STEWARD)
    relabel.carry_out(plan, reason="Story.")


def empty_the_hub() -> None:
    keepers = ("memories.Memory:keep", "conflicts.Decision:append_only")
    with pgtrigger.ignore(*keepers), connection.cursor() as cursor:
        # A run refers to its policy, which is checked at the end of the transaction otherwise.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("TRUNCATE memories, record_clock, decisions, policies, policy_runs RESTART IDENTITY CASCADE")
        cursor.execute("SELECT tablename FROM pg_tables WHERE starts_with(tablename, 'memory_')")
        for (table,) in cursor.fetchall():
            cursor.execute(f'TRUNCATE "{table}"')


def export(*arguments: str) -> bytes:
    """What the command writes to a file of its own."""
    return exported(*arguments)[0]


def exported(*arguments: str) -> tuple[bytes, str]:
    err = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "out.jsonl"
        call_command("export_memories", *arguments, output=str(file), stderr=err)
        return file.read_bytes(), err.getvalue()


def load(data: bytes, **options: Any) -> Report:
    report = import_lines(io.BytesIO(data), **options)
    assert report.refused == 0, report.bad
    return report


def hub() -> dict[str, Any]:
    """All that must be the same in the hub that took over."""
    versions = Memory.objects.order_by("source", "payload_id", "version")
    same = ("source", "payload_id", "memory_id", "version", "content", "status", "decision", "timestamp", "defaulted",
            "sensitivity_labels", "classification_tier", "namespace", "sent_tier", "sent_labels", "sent_namespace",
            "beyond_source", "fingerprint", "masked_content", "is_other_spelling", "decided_beyond_source")  # fmt: skip
    told = list(decisions.every(QueryDict(), reader=STEWARD))
    names = dict(Memory.objects.filter(superseded_at=None).values_list("memory_id", "payload_id"))
    return {
        "versions": [(*row[:16], bytes(row[16]), row[17]) for row in versions.values_list(*same)],
        "current": list(versions.filter(superseded_at=None).values_list("payload_id", "version")),
        "states": [state(instant) for instant in INSTANTS],
        "groups": groups(),
        "decisions": [
            (one.outcome, one.reason, one.principal, one.at, [names[id_] for id_ in one.memory_ids], one.is_in_force,
             one.kept, one.retired, one.merged, one.validity, one.until, one.evidence, one.undone_by)
            for one in told
        ],
        "policies": [policies.as_json(policy) for policy in Policy.objects.order_by("at", "id")],
        "runs": [{**runs.as_json(run), "finished": run.finished} for run in PolicyRun.objects.order_by("started")],
    }  # fmt: skip


def state(instant: datetime) -> list[tuple[str, str, str]]:
    asked = QueryDict(mutable=True)
    asked.update({"view": "state", "as_of": instant.isoformat(), "limit": "200"})
    records = travel(asked, reader=STEWARD).page.records
    return [(record["subject"], record["collection"], record["content"]) for record in records]


def groups() -> list[Any]:
    filters = GroupFilterSet(QueryDict("status=all"), clearance=STEWARD.clearance)
    page = conflict_groups.page(filters, reader=STEWARD, parameters={"limit": "200", "cursor": ""})
    return [(group.id, group.status, group.evidence, group.klass) for group in page.groups]


@pytest.mark.parametrize("parts", [("--history",), ("", "--history")], ids=["at once", "plain first"])
def test_a_hub_that_took_over_an_export_answers_as_the_old_one(parts):
    tell_a_story()
    old = hub()
    files = [export(*part.split()) for part in parts]
    empty_the_hub()

    reports = [load(file) for file in files]
    new = hub()

    assert {name: new[name] for name in old if new[name] != old[name]} == {}
    assert {status for *_, status in Memory.objects.values_list("id", "status")} == set(STATUSES)
    assert reports[-1].outcomes[Outcome.CREATED] > 0
    assert as_told(export("--history")) == as_told(files[-1])
    again = load(files[-1])
    assert again.outcomes[Outcome.DUPLICATE] == again.lines
    assert hub() == new


def test_a_plain_export_restores_what_is_in_force_and_what_was_decided():
    tell_a_story()
    old, file = hub(), export()
    empty_the_hub()

    load(file)
    new = hub()

    same = ("current", "states", "groups", "decisions", "policies", "runs")
    assert {name: new[name] for name in same if new[name] != old[name]} == {}
    assert export() == file


def as_told(file: bytes) -> list[dict[str, Any]]:
    """The lines without the record times, which are each hub's own, in the order of identities."""
    lines = [json.loads(line) for line in file.splitlines()]
    told = [{name: value for name, value in line.items() if name not in ("recorded_at", "superseded_at")}
            for line in lines]  # fmt: skip
    return sorted(told, key=lambda line: json.dumps([line.get("memory_id"), line.get("version"), line], sort_keys=True))


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def history() -> list[dict[str, Any]]:
    return [json.loads(line) for line in export("--history").splitlines()]


def statuses() -> list[tuple[str, str, int, str]]:
    rows = Memory.objects.filter(superseded_at=None).order_by("payload_id")
    return list(rows.values_list("payload_id", "content", "version", "status"))


def test_a_hub_that_took_over_an_export_answers_writers_as_the_old_one():
    low = replace(WRITER, name="key:low", scopes=frozenset({Scope.WRITE}))
    sent = envelope(payload_id="p", tier="internal", labels=["a"])
    ingest.write([sent], by=low)
    reclassify(Memory.objects.get(), classification_tier="restricted", add_labels=["b"])
    make_memory(payload_id="opened", tier="restricted", labels=["secret"])
    opened = envelope(payload_id="opened", content=Memory.objects.get(payload_id="opened").content)
    reclassify(Memory.objects.get(payload_id="opened"), classification_tier="public", remove_labels=["secret"])
    file = export()
    empty_the_hub()
    load(file)

    def answer(**fields: Any) -> str:
        (receipt,) = ingest.write([sent | fields], by=low, on_conflict=OnConflict.UPDATE)
        return receipt.code or receipt.outcome.value

    assert answer() == "duplicate"
    assert answer(classification_tier="public") == "declassification"
    assert answer(sensitivity_labels=[]) == "declassification"
    assert answer(content="Other.") == "updated"
    now = Memory.objects.get(payload_id="p", superseded_at=None)
    assert (now.classification_tier, sorted(now.sensitivity_labels)) == ("restricted", ["a", "b"])
    (receipt,) = ingest.write([opened | {"content": "Other."}], by=low, on_conflict=OnConflict.REPLACE)
    assert receipt.code == "declassification"


def test_a_history_with_other_content_or_of_another_memory_is_a_conflict_and_nothing_of_it_is_stored():
    for text in ("One.", "Two."):
        make_memory(payload_id="p", content=text)
    first, second = history()
    third = second | {"version": 3, "content": "Three."}
    before = statuses()

    diverged = import_lines(io.BytesIO(lines(first | {"content": "Other."}, second, third)))
    foreign = {"memory_id": "8e7f1d9c-3f5b-4f25-9a35-2f5a5d3d2f11"}
    other = import_lines(io.BytesIO(lines(first | foreign, third | foreign)), on_conflict=OnConflict.UPDATE)
    bare = {"payload_id": "p", "source": "test", "content": "Bare."}
    by_hand = import_lines(io.BytesIO(lines(bare | {"version": 1}, bare | {"version": 3})))

    assert [report.outcomes[Outcome.CONFLICT] for report in (diverged, other, by_hand)] == [3, 2, 2]
    assert "as version 1" in diverged.bad[0][1]
    assert "memory_id" in other.bad[0][1]
    assert statuses() == before
    goes_on = import_lines(io.BytesIO(lines(first, second, third)))
    assert (goes_on.outcomes[Outcome.DUPLICATE], goes_on.outcomes[Outcome.UPDATED]) == (2, 1)


@pytest.mark.parametrize("status", ["retired", "quarantined", "erased"])
def test_an_import_brings_nothing_back_into_force(status):
    make_memory(payload_id="p", content="Wrong.", subject="user:ada", collection="city")
    before = history()
    memory = Memory.objects.get()
    if status == "erased":
        execute("UPDATE memories SET status = 'erased', content = '', fingerprint = '' WHERE id = %s", memory.pk)
    elif status == "quarantined":
        reclassify(memory, status="quarantined")
    else:
        right = make_memory(payload_id="q", content="Right.", subject="user:ada", collection="city")
        decide_about("user:ada", "keep_one", right)
    bare = envelope(payload_id="p", content="Wrong.", subject="user:ada", collection="city")
    attempts = [
        before,
        [{name: value for name, value in before[0].items() if name not in ("memory_id", "version", "superseded_at")}],
        [bare],
        [bare | {"content": "Other."}],
        [bare | {"content": "Once more.", "status": "active"}],
        [before[0] | {"version": 7, "content": "Seven."}],
        [before[0] | {"version": 7, "status": "retired"}],
    ]

    for on_conflict in OnConflict:
        for attempt in attempts:
            import_lines(io.BytesIO(lines(*attempt)), on_conflict=on_conflict)

    now = Memory.objects.get(payload_id="p", superseded_at=None)
    assert now.status == status


def test_a_value_that_was_rejected_here_comes_in_as_retired_whatever_the_export_says():
    make_memory(payload_id="there", content="Paris", subject="user:ada", collection="city")
    file = history()
    empty_the_hub()
    _, right = make_group("user:ada", "Paris", "London")
    rejection = decide_about("user:ada", "keep_one", right)

    load(lines(*file))

    there = Memory.objects.get(payload_id="there")
    assert (there.status, there.decision) == ("retired", rejection)


def test_statuses_are_for_the_operator_and_for_those_who_judge_memories():
    line = envelope(payload_id="p", content="Wrong.") | {"status": "retired"}
    person = Principal(name="user:bob", source="test", scopes=frozenset({Scope.WRITE}), clearance=everything())
    steward = replace(person, scopes=frozenset({Scope.WRITE, Scope.INSPECT}))

    refused = import_lines(io.BytesIO(lines(line)), by=person)
    assert (refused.outcomes[Outcome.REJECTED], Memory.objects.count()) == (1, 0)
    assert "scope inspect" in refused.bad[0][1]

    load(lines(line), by=steward)
    assert [status for *_, status in statuses()] == ["retired"]


def test_an_export_is_full_and_says_what_an_option_leaves_out():
    tell_a_story()

    file, told = exported()
    active, left_out = exported("--active-only")

    status = [json.loads(line).get("status") for line in file.splitlines()]
    assert {"active", "retired", "quarantined", "erased"} <= set(status)
    inactive = sum(one not in (None, "active") for one in status)
    assert f"{inactive:,} memories left out by --active-only: 1 erased, 1 quarantined, " in left_out
    assert "earlier versions left out" in told
    assert {json.loads(line).get("status", "active") for line in active.splitlines()} == {"active"}
    assert "decisions left out: not all of their memories are in this export" in left_out
    validity = [json.loads(line)["validity"] for line in file.splitlines() if b'"payload_id"' in line and
                "validity" in json.loads(line) and json.loads(line).get("type") is None]  # fmt: skip
    assert validity == [{"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"}]


def test_a_readers_export_tells_neither_what_a_source_sent_nor_decisions_that_the_reader_may_not_see():
    make_memory(payload_id="opened", tier="restricted", labels=["secret"], namespace="deep")
    reclassify(Memory.objects.get(), classification_tier="public", remove_labels=["secret"])
    _, london = make_group("user:ada", "Paris", "London")
    decide_about("user:ada", "keep_one", london, reason="Canary.")
    reclassify(london, classification_tier="restricted")
    make_clearance(name="low", max_tier="public")

    whole, low = export(), export("--clearance", "low")

    assert b"secret" in whole
    assert b"Canary" in whole
    assert b"sent_" not in low
    assert b"decision" not in low
    assert b"Canary" not in low
    assert b"Paris" in low


def test_decisions_and_policies_are_compared_and_imported_by_the_operator_alone():
    _, london = make_group("user:ada", "Paris", "London")
    decide_about("user:ada", "keep_one", london)
    make_policy()
    policy, decision = [json.loads(line) for line in export().splitlines()][:2]
    rival = policy | {"policy_id": "8e7f1d9c-3f5b-4f25-9a35-2f5a5d3d2f11"}
    twin = decision | {"decision_id": "8e7f1d9c-3f5b-4f25-9a35-2f5a5d3d2f11"}
    taken = [named | {"payload_id": "other"} for named in decision["memories"]]

    refused = import_lines(io.BytesIO(lines(
        policy | {"name": "Other"}, decision | {"reason": "Other."}, twin | {"memories": taken},
        twin | {"memories": []}, twin | {"outcome": "undo"}, twin | {"outcome": "undo", "reverses": rival["policy_id"]},
    )))  # fmt: skip
    by_person = import_lines(io.BytesIO(lines(policy, decision)), by=ADMIN)

    assert refused.outcomes[Outcome.CONFLICT] == 6, refused.bad
    assert import_lines(io.BytesIO(lines(rival))).outcomes[Outcome.CONFLICT] == 1
    assert by_person.outcomes[Outcome.REJECTED] == 2
    assert (Decision.objects.count(), Policy.objects.count()) == (1, 1)
    assert not AuditEntry.objects.filter(action__endswith=".import").exists()


def test_an_import_of_decisions_is_in_the_ledger_and_an_undo_gives_back_what_they_retired():
    paris, london = make_group("user:ada", "Paris", "London")
    decision = decide_about("user:ada", "keep_one", london)
    file = export()
    empty_the_hub()
    load(file)

    entry = AuditEntry.objects.get(action="conflict.import")
    assert set(entry.memory_ids) == {paris.memory_id, london.memory_id}
    undo([decision], by=STEWARD, reason="Not so.")
    assert {status for *_, status in statuses()} == {"active"}


def test_an_answer_about_an_earlier_instant_of_record_time_does_not_change_by_an_import():
    make_group("user:ada", "Paris", "London")
    decide_about("user:ada", "not_a_conflict")
    file = export("--history")
    empty_the_hub()
    make_group("user:bob", "Rome", "Oslo")
    then = clock.settle()
    load(file)

    assert not Decision.objects.in_force(then).exists()
    assert Decision.objects.in_force().count() == 1
    assert Memory.objects.visible_to(everything()).known_at(then).count() == 2
    (seen,) = Decision.objects.all()
    assert seen.at < then < seen.recorded_at


def test_earlier_versions_that_come_later_were_never_in_force():
    for text in ("One.", "Two."):
        make_memory(payload_id="p", content=text)
    plain, past = export(), export("--history")
    empty_the_hub()
    load(plain)
    load(past)

    one, two = Memory.objects.order_by("version")
    assert (one.version, two.version, one.superseded_at) == (1, 2, one.recorded_at)
    for instant in (one.recorded_at, two.recorded_at):
        known = Memory.objects.visible_to(everything()).known_at(instant)
        assert list(known.values_list("version", flat=True)) == [2]


def test_more_labels_than_a_source_may_send_come_over():
    memory = make_memory(payload_id="p", labels=[f"sent-{n}" for n in range(64)])
    before = [*memory.sensitivity_labels, "added-1", "added-2"]
    file = [json.loads(line) for line in export().splitlines()]
    empty_the_hub()

    load(lines(file[0] | {"sensitivity_labels": before, "sent_labels": memory.sensitivity_labels}))

    assert Memory.objects.get().sensitivity_labels == before


class TestFiles:
    def run(self, tmp_path: Path, name: str, data: bytes) -> tuple[str, str]:
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
        texts = lines(*[envelope(payload_id=f"p-{n}", content=f"{n} {hash(str(n))}") for n in range(100)])

        out, err = self.run(tmp_path, "damaged.jsonl.gz", damage(gzip.compress(texts)))

        stored = Memory.objects.count()
        assert stored > 80
        assert f"{stored} created" in out
        assert "cannot be read beyond line" in err

    def test_a_mark_layouts_and_nanoseconds_are_understood_or_complained_of_once(self, tmp_path):
        pretty = json.dumps(envelope(metadata={"a": [1, {"b": "}"}]}), indent=2).encode()
        array = json.dumps([envelope(), envelope()], indent=2).encode()
        fine = envelope(payload_id="fine", timestamp="2026-03-01T12:00:00.123456789Z")
        data = b"\xef\xbb\xbf" + lines(envelope(payload_id="first"), fine)

        out, err = self.run(tmp_path, "foreign.jsonl", data + pretty + b"\n" + array + b"\n" + lines(envelope()))

        assert "3 created" in out
        assert "2 rejected, 1 truncated to microseconds" in out
        assert Memory.objects.get(payload_id="fine").timestamp.microsecond == 123456
        assert f":3: {ONE_DOCUMENT}" in err
        assert f"2 times {ONE_DOCUMENT}" in err
        assert err.count("document") == 3

    def test_reasons_are_counted_and_not_told_a_thousand_times(self, tmp_path):
        data = b"".join(b"no json %d\n" % number for number in range(1_000)) + lines({"payload_id": "p"})

        _, err = self.run(tmp_path, "bad.jsonl", data)

        assert "1,000 times is not JSON" in err
        assert "1 times " in err
        assert len(err.splitlines()) < 60
