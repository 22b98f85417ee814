"""Storing what an export holds: versions with their ids, numbers, statuses and decisions.

A line of a history is a version of one memory: it is stored after the versions before it, or before those that are
stored already, and compared with what is stored under its number. Any other line is a memory as it stands. Nothing that
is retired, quarantined or erased here comes into force by an import; but a history may go on from its own versions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

from memoryhub.firewall.models import Source
from memoryhub.firewall.types import Clearance, Principal
from memoryhub.memories import clock, rejected
from memoryhub.memories.envelope import Draft, Rejected
from memoryhub.memories.exported import Exported
from memoryhub.memories.identity import (
    Classification,
    NewVersion,
    OnConflict,
    StoredVersion,
    check_actor,
    check_clearance,
    classified,
    conflict,
    refuse_hiding,
)
from memoryhub.memories.ingest import (
    Outcome,
    Receipt,
    close_versions,
    committed,
    copy_versions,
    receipt_of,
    record_writes,
    refusal_of,
    waves,
)
from memoryhub.memories.stored_versions import KnownVersion, StoredMemory, exported_fields, find_versions

OPENNESS = ("erased", "quarantined", "retired", "active")
"""The statuses, from the one in which a memory is least visible to the one in which it is in force."""


@dataclass(slots=True)
class Progress:
    """What one import has met so far, over all of its batches."""

    decisions: set[UUID] = field(default_factory=set)
    """Decisions that the exporting hub knew: what it made of a value in spite of them stays."""
    diverged: set[UUID] = field(default_factory=set)
    """Memories of which a version is stored here with other content."""
    verified: dict[UUID, int] = field(default_factory=dict)
    """The last version that is stored here as the file has it, of memories that are not in force."""

    def verify(self, version: StoredVersion | NewVersion, status: str) -> None:
        self.verified.pop(version.memory_id, None)
        if status != "active":
            self.verified[version.memory_id] = version.version


def restore(drafts: Sequence[Draft], *, by: Principal, on_conflict: OnConflict, progress: Progress) -> list[Receipt]:
    """Store drafts that come from an export in one transaction; a receipt for each, in order, after COMMIT."""
    sources = {made.source for made in drafts}
    with committed(None if by.is_operator else sources):
        clearances = dict.fromkeys(sources, by.clearance) | Source.objects.clearances(sources)
        receipts: dict[int, Receipt] = {}
        for wave in waves(drafts):
            receipts |= _restore_wave(wave, _Import(by, clearances, on_conflict, progress))
        ordered = [receipts[position] for position in range(len(drafts))]
        if any(one.outcome is Outcome.CREATED for one in ordered):
            Source.objects.create_missing(sources, by.clearance)
        record_writes(ordered, by, "")
    return ordered


@dataclass(frozen=True, slots=True)
class _Import:
    by: Principal
    clearances: Mapping[str, Clearance]
    on_conflict: OnConflict
    progress: Progress


def _restore_wave(wave: Mapping[int, Draft], run: _Import) -> dict[int, Receipt]:
    clock.tick()
    receipts: dict[int, Receipt] = {}
    due: dict[int, NewVersion] = {}
    for (position, made), found in zip(wave.items(), _find(list(wave.values()), run), strict=True):
        try:
            version = _next_version(made, found, run)
        except Rejected as reason:
            receipts[position] = refusal_of(made.envelope.payload_id, reason)
            continue
        if version is not None:
            due[position] = version
        elif found.current is not None:
            receipts[position] = receipt_of(made, Outcome.DUPLICATE, found.current.memory_id)
    _retire_rejected(due, run)
    for position, version in due.items():
        outcome = Outcome.UPDATED if version.replaces else Outcome.CREATED
        receipts[position] = receipt_of(version.written, outcome, version.memory_id, version.decision)
    close_versions([version.replaces.id for version in due.values() if version.replaces])
    copy_versions(list(due.values()))
    return receipts


def _retire_rejected(due: dict[int, NewVersion], run: _Import) -> None:
    """Retire what would come into force though it was rejected here, by a decision that the export does not know."""
    progress = run.progress
    progress.decisions |= {version.decision for version in due.values() if version.decision}
    active = {
        position: version
        for position, version in due.items()
        if version.status == "active" and not version.is_superseded
    }
    if active:
        decided = rejected.decisions([version.written for version in active.values()], run.by.clearance)
        for (position, version), decision in zip(active.items(), decided, strict=True):
            if decision and decision not in progress.decisions:
                due[position] = replace(version, status="retired", decision=decision)
    for version in due.values():
        is_of_file = version.replaces is None or exported_fields(version.draft).is_of_history
        if is_of_file and not version.is_superseded and version.status == _status(version.draft):
            progress.verify(version, version.status)


def _next_version(made: Draft, found: StoredMemory, run: _Import) -> NewVersion | None:
    """The version that a line adds; None if it adds nothing. Raises Rejected, `payload_id_conflict` and the like."""
    exported = exported_fields(made)
    if found.current is None:
        if found.is_taken:
            raise conflict("has the memory_id of another memory.")
        return _first_version(made, run)
    if exported.is_of_history and run.by.is_operator:
        return _version_of_history(made, found, found.current, run)
    return _version_as_it_stands(made, found, found.current, run)


def _first_version(made: Draft, run: _Import) -> NewVersion:
    check_clearance(made, run.by, run.clearances[made.source])
    check_actor(made, run.by)
    exported = exported_fields(made)
    is_operator = run.by.is_operator
    last_sent = _last_sent(made) if is_operator else Classification.of(made)
    return NewVersion(
        draft=made,
        written=classified(made, last_sent),
        memory_id=(is_operator and exported.memory_id) or uuid4(),
        version=(is_operator and exported.version) or 1,
        status=_status(made),
        last_sent=last_sent,
        beyond_source=_is_beyond_source(made, run),
        said_at=exported.said_at if is_operator else None,
        **(_decided(exported) if is_operator else {}),
    )


def _version_of_history(made: Draft, found: StoredMemory, current: KnownVersion, run: _Import) -> NewVersion | None:
    exported, stored, progress = exported_fields(made), found.at_or_after, run.progress
    if exported.memory_id != current.memory_id:
        raise conflict("is stored as another memory: its memory_id is another one.")
    if current.memory_id in progress.diverged:
        raise conflict("belongs to a history of which an earlier version is stored with other content.")
    if stored is None:
        return _append(made, current, run)
    if stored.version != exported.version:
        _refuse_reviving(made, current)
        return replace(_following(made, current, said_like=stored), replaces=None, is_superseded=True)
    if not _is_same(made, stored):
        progress.diverged.add(current.memory_id)
        raise conflict(f"is stored with other content as version {stored.version}.")
    progress.verify(stored, stored.status)
    return None


def _append(made: Draft, current: KnownVersion, run: _Import) -> NewVersion:
    goes_on = run.progress.verified.get(current.memory_id) == current.version and current.status != "erased"
    if not (goes_on or OPENNESS.index(_status(made)) <= OPENNESS.index(current.status)):
        raise conflict(f"is {current.status} here, and an import does not bring it back.")
    _refuse_erasing(made, current)
    if _is_beyond_source(made, run):
        refuse_hiding(made, current)
    return _following(made, current, said_like=current)


def _version_as_it_stands(made: Draft, found: StoredMemory, current: KnownVersion, run: _Import) -> NewVersion | None:
    exported = exported_fields(made)
    is_same_memory = exported.memory_id == current.memory_id
    numbered = found.at_or_after
    rows = [current]
    if is_same_memory and numbered is not None and numbered.version == exported.version:
        rows.append(numbered)
    if any(_is_same(made, row) for row in rows):
        return None
    if run.on_conflict is OnConflict.REFUSE or not run.by.is_operator:
        raise conflict("is stored with other content, or another classification or status.")
    _refuse_reviving(made, current)
    _refuse_erasing(made, current)
    if _is_beyond_source(made, run):
        refuse_hiding(made, current)
    follows = is_same_memory and exported.version is not None and exported.version > current.version
    least = min((_status(made), current.status), key=OPENNESS.index)
    return replace(
        _following(made, current, said_like=current),
        version=exported.version if follows and exported.version else current.version + 1,
        status=least,
        decision=exported.decision if least == exported.status else None,
    )


def _following(made: Draft, current: KnownVersion, *, said_like: KnownVersion) -> NewVersion:
    """The version that a line of the operator's is of the memory that is stored."""
    exported, last_sent = exported_fields(made), _last_sent(made, current)
    # A version that only classifies anew, or was retired, keeps the place of the value that it repeats.
    repeats = exported.said_at == said_like.said_at
    return NewVersion(
        draft=made,
        written=classified(made, last_sent),
        memory_id=current.memory_id,
        version=exported.version or current.version + 1,
        replaces=current,
        status=_status(made),
        last_sent=last_sent,
        beyond_source=current.beyond_source,
        said_at=exported.said_at,
        said_id=said_like.said_id if repeats else None,
        **_decided(exported),
    )


def _decided(exported: Exported) -> dict[str, Any]:
    """What a line says of the decision that its version's status comes from."""
    return {
        "decision": exported.decision,
        "is_other_spelling": exported.is_other_spelling,
        "decided_beyond_source": exported.decided_beyond_source,
    }


def _refuse_reviving(made: Draft, current: StoredVersion) -> None:
    if current.status == "erased" and _status(made) != "erased":
        raise conflict("was erased here, and an import does not bring it back.")


def _refuse_erasing(made: Draft, current: StoredVersion) -> None:
    if _status(made) == "erased" and current.status != "erased":
        raise conflict("was erased where the export was made, and not here.")


def _is_same(made: Draft, row: KnownVersion) -> bool:
    """Whether a line holds what a stored version holds."""
    exported = exported_fields(made)
    if exported.status not in (None, row.status):
        return False
    if row.status == "erased":
        return exported.status == "erased"
    # A row knows what its source sent by its fingerprint, whatever it was classified as since.
    written = classified(made, _last_sent(made, row))
    return row.fingerprint == written.fingerprint and row.is_classified_as(made)


def _last_sent(made: Draft, row: StoredVersion | None = None) -> Classification:
    """What the source last sent: as the line says, else as it is stored, else what the line is classified as."""
    exported, other = exported_fields(made), row.last_sent if row else Classification.of(made)
    tier, labels = exported.sent_tier, exported.sent_labels
    return Classification(
        namespace=other.namespace if exported.sent_namespace is None else exported.sent_namespace,
        classification_tier=other.classification_tier if tier is None else tier,
        sensitivity_labels=other.sensitivity_labels if labels is None else tuple(labels),
    )


def _is_beyond_source(made: Draft, run: _Import) -> bool:
    return run.by.is_operator and (
        exported_fields(made).beyond_source or not run.clearances[made.source].permits(_last_sent(made))
    )


def _status(made: Draft) -> str:
    return exported_fields(made).status or "active"


def _find(drafts: Sequence[Draft], run: _Import) -> list[StoredMemory]:
    beyond_source = [_is_beyond_source(made, run) for made in drafts]
    return find_versions(drafts, beyond_source, by_memory_id=run.by.is_operator)
