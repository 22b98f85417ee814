"""A hub with memories of every status, decisions and policies, and how tests export, empty and import it."""

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pgtrigger
from django.core.management import call_command
from django.db import connection

from memoryhub.conflicts.decisions.resolve import Resolution, ResolutionRequest, list_members, resolve, undo_decisions
from memoryhub.conflicts.groups.group_keys import compute_evidence
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import classify, write
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.transfer.jsonl_import import ImportReport, import_lines
from tests.conflicts.policies.policy_factories import change_policy, make_group, make_policy, run_policy
from tests.factories import WRITER, envelope, make_memory
from tests.memories.raw_rows import execute

STEWARD = Principal(name="user:ada", scopes=frozenset(Scope), clearance=unrestricted_clearance(), actor_type="user")


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


def to_lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def version_statuses() -> list[tuple[str, str, int, str]]:
    rows = Memory.objects.filter(superseded_at=None).order_by("payload_id")
    return list(rows.values_list("payload_id", "content", "version", "status"))
