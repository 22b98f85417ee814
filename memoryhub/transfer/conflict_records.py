"""Decisions, policies and policy runs as lines of an export, and their import into another hub.

A decision names its memories by id, and each of them also by source and payload_id: if a memory has another id in the
importing hub, it is found by these. Claims are not exported: their holders have to read the groups again.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.db.models import Q

from memoryhub.audit.actions import AuditAction
from memoryhub.audit.clearance_snapshot import SNAPSHOT_COLUMNS
from memoryhub.conflicts.decisions import decision_queries
from memoryhub.conflicts.decisions.resolve import insert_decisions
from memoryhub.conflicts.models import Decision, Policy, PolicyRun
from memoryhub.conflicts.policies import policies
from memoryhub.core.sql import fetch_dicts
from memoryhub.firewall import audit_events, rls
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.clearance_snapshot import snapshot_covered_q
from memoryhub.firewall.principal import Principal
from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from memoryhub.memories.writes.envelope import OperationRejectedError
from memoryhub.memories.writes.stored_versions import find_memory_ids
from memoryhub.memories.writes.versions import write_transaction
from memoryhub.memories.writes.write import WriteOutcome, WriteReceipt
from memoryhub.transfer.conflict_lines import DecisionLine, ExportItem, MemoryReference, PolicyLine, PolicyRunLine

BATCH_SIZE = 500
MemoryIdFilter = Callable[[set[UUID]], set[UUID]]
"""Returns those of the given memories that are in an export."""


_POLICY_FIELDS = ("name", "namespace", "collection", "classes", "rules", "is_enabled")
_DECISION_FIELDS = (
    "decision_id", "decided_at", "outcome", "subject", "collection", "namespace", "memory_ids", "kept_ids",
    "retired_ids", "still_active_ids", "merged_id", "validity", "deferred_until", "evidence", "reason", "principal",
    "policy_id", "policy_version", "rule", "run_id", "undoes_id",
)  # fmt: skip
_CLASSIFICATION_FIELDS = ("tiers", "any_labels", "common_labels", "namespaces")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedDecision:
    """A decision that a reader may see, as a line."""

    line: dict[str, Any]
    is_complete: bool
    """Whether all memories of the decision are in the export."""


def iter_policy_lines(clearance: Clearance, known_at: datetime | None = None) -> Iterator[dict[str, Any]]:
    """All versions of the policies that `clearance` may see, in the order of creation, and then their runs."""
    policy_condition = Q() if known_at is None else Q(created_at__lte=known_at)
    visible_policies = Policy.objects.filter(policy_condition, policy_id__in=policies.visible_policy_ids(clearance))
    for policy in visible_policies.order_by("created_at", "id").iterator(BATCH_SIZE):
        policy_fields = ("policy_id", "version", *_POLICY_FIELDS, "created_at", "principal", *SNAPSHOT_COLUMNS)
        yield {"type": "policy", **{name: getattr(policy, name) for name in policy_fields}}
    run_condition = Q() if known_at is None else Q(started_at__lte=known_at)
    runs = PolicyRun.objects.filter(
        run_condition, snapshot_covered_q(clearance), policy__in=visible_policies
    ).select_related("policy")
    for run in runs.order_by("started_at", "run_id").iterator(BATCH_SIZE):
        run_fields = (
            "run_id",
            "principal",
            "started_at",
            "finished_at",
            "resume_after",
            "groups_seen",
            "decisions_made",
            "groups_skipped",
            "decisions_undone",
            *SNAPSHOT_COLUMNS,
        )
        policy_reference = {"policy_id": run.policy.policy_id, "policy_version": run.policy.version}
        yield {"type": "policy_run", **policy_reference, **{name: getattr(run, name) for name in run_fields}}


def iter_decision_lines(
    clearance: Clearance, filter_exported_ids: MemoryIdFilter | None = None, known_at: datetime | None = None
) -> Iterator[ExportedDecision]:
    """The decisions that `clearance` may see, in the order in which they were stored.

    `filter_exported_ids` returns the memories that are in the export; without it the export has all memories.
    """
    condition, last_id = Q() if known_at is None else Q(recorded_at__lte=known_at), 0
    while True:
        with rls.as_reader(clearance):
            visible_decisions = (
                Decision.objects.visible_to(clearance).filter(condition, id__gt=last_id).with_undo().order_by("id")
            )
            rows: list[Decision] = list(visible_decisions[:BATCH_SIZE])
            exported = list(_export_decisions(rows, clearance, filter_exported_ids))
        yield from exported
        if len(rows) < BATCH_SIZE:
            return
        last_id = rows[-1].pk


def restore_items(items: Sequence[ExportItem], *, principal: Principal) -> list[WriteReceipt]:
    """Store items of one type in one transaction; returns a receipt for each, in order.

    The items are rejected with `scope_required` unless `principal` is the operator.
    """
    if not principal.is_operator:
        errors = {"type": ["is imported by the operator alone."]}
        return [
            WriteReceipt(payload_id=None, outcome=WriteOutcome.REJECTED, code="scope_required", errors=errors)
        ] * len(items)
    with write_transaction(None):
        clock.next_record_time()
        if isinstance(items[0], DecisionLine):
            return _restore_decisions([item for item in items if isinstance(item, DecisionLine)], principal)
        imported_policy_ids = {item.policy_id for item in items if isinstance(item, PolicyLine)}
        receipts = [_restore_item(item, principal, imported_policy_ids) for item in items]
        if any(receipt.outcome is WriteOutcome.CREATED for receipt in receipts):
            audit_events.record_audit_event(AuditAction.POLICY_IMPORT, principal=principal)
        return receipts


def _export_decisions(
    rows: Sequence[Decision], clearance: Clearance, filter_exported_ids: MemoryIdFilter | None
) -> Iterator[ExportedDecision]:
    ids_by_row = {row.pk: {*row.memory_ids, *([row.merged_id] if row.merged_id else [])} for row in rows}
    all_ids = set().union(*ids_by_row.values())
    exported_ids = all_ids if filter_exported_ids is None else filter_exported_ids(all_ids)
    latest_versions = Memory.objects.visible_to(clearance).with_ids(sorted(all_ids)).filter(superseded_at__isnull=True)
    reference_by_id = {
        references[0]: references for references in latest_versions.values_list("memory_id", "source", "payload_id")
    }
    # What the API shows, plus the columns from which another hub computes visibility.
    for row, record in zip(rows, decision_queries.to_records(rows, clearance), strict=True):
        references = [
            dict(zip(MemoryReference.model_fields, reference_by_id[id_], strict=True))
            for id_ in ids_by_row[row.pk]
            if id_ in reference_by_id
        ]
        line = {
            "type": "decision",
            **{name: getattr(record, name) for name in _DECISION_FIELDS},
            "memories": sorted(references, key=lambda reference: str(reference["memory_id"])),
            "accepted_hashes": [bytes(value).hex() for value in row.accepted_hashes],
            **{name: getattr(row, name) for name in _CLASSIFICATION_FIELDS},
        }
        yield ExportedDecision(line=line, is_complete=ids_by_row[row.pk] <= exported_ids)


def _restore_item(item: ExportItem, principal: Principal, imported_policy_ids: set[UUID]) -> WriteReceipt:
    if isinstance(item, PolicyLine):
        return _restore_policy(item, principal, imported_policy_ids)
    if isinstance(item, PolicyRunLine):
        return _restore_run(item)
    raise TypeError(item)


def _restore_policy(line: PolicyLine, principal: Principal, imported_policy_ids: set[UUID]) -> WriteReceipt:
    columns = line.model_dump(exclude={"type"})
    existing = Policy.objects.filter(policy_id=line.policy_id, version=line.version).first()
    if existing is not None:
        return _existing_receipt(all(getattr(existing, name) == value for name, value in columns.items()), "version")
    try:
        policies.parse_input({name: columns[name] for name in _POLICY_FIELDS})
    except OperationRejectedError as error:
        return _refusal_receipt(WriteOutcome.REJECTED, error.errors)
    same_scope = Q(namespace=line.namespace, collection=line.collection, classes__overlap=line.classes)
    other_enabled_ids = {
        policy.pk
        for policy in policies.list_current(principal)
        if policy.is_enabled and policy.policy_id not in imported_policy_ids
    }
    if line.is_enabled and Policy.objects.filter(same_scope, pk__in=other_enabled_ids).exists():
        return _refusal_receipt(
            WriteOutcome.CONFLICT, {"policy_id": ["decides groups that a policy of this hub decides already."]}
        )
    new_policy = Policy(**columns)
    new_policy.save(force_insert=True)
    # `auto_now_add` has set the time of the import; restore the original one.
    Policy.objects.filter(pk=new_policy.pk).update(created_at=line.created_at)
    return WriteReceipt(payload_id=None, outcome=WriteOutcome.CREATED)


def _restore_run(line: PolicyRunLine) -> WriteReceipt:
    policy = Policy.objects.filter(policy_id=line.policy_id, version=line.policy_version).first()
    if policy is None:
        return _refusal_receipt(WriteOutcome.REJECTED, {"policy_id": ["is of no policy that is stored."]})
    columns = line.model_dump(exclude={"type", "run_id", "policy_id", "policy_version"})
    existing = PolicyRun.objects.filter(run_id=line.run_id).first()
    if existing is not None:
        is_same = (
            existing.policy == policy
            and existing.principal == line.principal
            and existing.started_at == line.started_at
        )
        return _existing_receipt(is_same, "run_id")
    PolicyRun(run_id=line.run_id, policy=policy, **columns).save(force_insert=True)
    PolicyRun.objects.filter(run_id=line.run_id).update(started_at=line.started_at)
    return WriteReceipt(payload_id=None, outcome=WriteOutcome.CREATED)


def _restore_decisions(lines: Sequence[DecisionLine], principal: Principal) -> list[WriteReceipt]:
    ids = [line.decision_id for line in lines]
    undo_target_ids = [line.undoes_id for line in lines if line.undoes_id]
    existing_rows = {row["decision_id"]: row for row in fetch_dicts(_EXISTING_SQL, [[*ids, *undo_target_ids]])}
    already_undone_ids = {row["undoes_id"] for row in fetch_dicts(_UNDONE_SQL, [undo_target_ids])}
    id_by_reference = find_memory_ids({reference.identity for line in lines for reference in line.memories})
    new_rows: dict[UUID, dict[str, Any]] = {}
    receipts = []
    for line in lines:
        existing_row = new_rows.get(line.decision_id) or existing_rows.get(line.decision_id)
        if existing_row is not None:
            is_same = all(getattr(line, name) == existing_row[name] for name in _COMPARED_FIELDS)
            receipts.append(_existing_receipt(is_same, "decision_id"))
            continue
        local_ids = {reference.memory_id: id_by_reference[reference.identity] for reference in line.memories}
        if errors := _find_errors(line, local_ids, existing_rows.keys() | new_rows.keys(), already_undone_ids):
            receipts.append(_refusal_receipt(WriteOutcome.CONFLICT, errors))
            continue
        new_rows[line.decision_id] = _decision_row(
            line, {id_: local_id for id_, local_id in local_ids.items() if local_id}
        )
        already_undone_ids |= {line.undoes_id} if line.undoes_id else set()
        receipts.append(WriteReceipt(payload_id=None, outcome=WriteOutcome.CREATED))
    if new_rows:
        insert_decisions(list(new_rows.values()))
        memory_ids = sorted({memory_id for row in new_rows.values() for memory_id in row["memory_ids"]})
        audit_events.record_audit_event(AuditAction.CONFLICT_IMPORT, principal=principal, memory_ids=memory_ids)
    return receipts


def _find_errors(
    line: DecisionLine,
    local_ids: Mapping[UUID, UUID | None],
    known_decision_ids: Collection[UUID],
    already_undone_ids: Collection[UUID],
) -> dict[str, list[str]]:
    if not {*line.memory_ids, *line.kept_ids, *line.retired_ids, *line.still_active_ids} <= local_ids.keys():
        return {"memories": ["must name each memory of the decision by source and payload_id."]}
    if None in local_ids.values():
        return {"memories": ["have the memory_id of another memory here."]}
    if (line.outcome == "undo") != (line.undoes_id is not None):
        return {"undoes_id": ["is given with an undo, and with nothing else."]}
    if line.undoes_id and line.undoes_id not in known_decision_ids:
        return {"undoes_id": ["is no decision that is stored."]}
    if line.undoes_id in already_undone_ids:
        return {"undoes_id": ["was undone here already."]}
    return {}


def _decision_row(line: DecisionLine, local_ids: Mapping[UUID, UUID]) -> dict[str, Any]:
    def to_local_ids(memory_ids: Iterable[UUID]) -> list[UUID]:
        return [local_ids.get(memory_id, memory_id) for memory_id in memory_ids]

    return {
        **line.model_dump(exclude={"type", "memories"}),
        **{name: to_local_ids(getattr(line, name)) for name in _MEMORY_ID_FIELDS},
        "merged_id": line.merged_id and local_ids.get(line.merged_id, line.merged_id),
        "accepted_hashes": [bytes.fromhex(value) for value in line.accepted_hashes],
        "evidence": bytes.fromhex(line.evidence),
        "validity": orjson.dumps(
            {str(local_ids.get(id_, id_)): period for id_, period in line.validity.items()}
        ).decode(),
    }


def _existing_receipt(is_same: bool, field: str) -> WriteReceipt:
    if is_same:
        return WriteReceipt(payload_id=None, outcome=WriteOutcome.DUPLICATE)
    return _refusal_receipt(WriteOutcome.CONFLICT, {field: ["is stored with other content."]})


def _refusal_receipt(outcome: WriteOutcome, errors: dict[str, list[str]]) -> WriteReceipt:
    return WriteReceipt(payload_id=None, outcome=outcome, code="import_conflict", errors=errors)


_MEMORY_ID_FIELDS = ("memory_ids", "kept_ids", "retired_ids", "still_active_ids")
_COMPARED_FIELDS = ("decided_at", "outcome", "subject", "collection", "namespace", "reason", "principal", "undoes_id")
_EXISTING_COLUMNS = ", ".join(("decision_id", *_COMPARED_FIELDS))
_EXISTING_SQL = f"SELECT {_EXISTING_COLUMNS} FROM decisions WHERE decision_id = ANY (%s::uuid[])"  # noqa: S608 - constants
_UNDONE_SQL = "SELECT undoes_id FROM decisions WHERE undoes_id = ANY (%s::uuid[])"
