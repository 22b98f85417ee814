"""Storing what an export holds: versions with their ids, numbers, statuses and decisions.

A line of a history is a version of one memory: it is stored after the versions before it, or before those that are
stored already, and compared with what is stored under its number. Any other line is a memory as it stands. Nothing that
is retired, quarantined or erased here comes into force by an import; but a history may go on from its own versions.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
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
from memoryhub.memories.querysets import fetched

OPENNESS = ("erased", "quarantined", "retired", "active")
"""The statuses, from the one in which a memory is least visible to the one in which it is in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownVersion(StoredVersion):
    """A stored version, with its place among the values that were said."""

    said_at: datetime
    said_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is stored of the memory that a line is about."""

    current: KnownVersion | None = None
    at_or_after: KnownVersion | None = None
    """The version with the line's number, or the next one that is stored."""
    is_taken: bool = False
    """Whether the line's memory_id is that of a memory of another identity."""


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
    for (position, made), found in zip(wave.items(), _look_up(list(wave.values()), run), strict=True):
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
        is_of_file = version.replaces is None or _exported(version.draft).is_of_history
        if is_of_file and not version.is_superseded and version.status == _status(version.draft):
            progress.verify(version, version.status)


def _next_version(made: Draft, found: Found, run: _Import) -> NewVersion | None:
    """The version that a line adds; None if it adds nothing. Raises Rejected, `payload_id_conflict` and the like."""
    exported = _exported(made)
    if found.current is None:
        if found.is_taken:
            raise conflict("has the memory_id of another memory.")
        return _first_version(made, run)
    if exported.is_of_history and run.by.is_operator:
        return _version_of_history(made, found, found.current, run.progress)
    return _version_as_it_stands(made, found, found.current, run)


def _first_version(made: Draft, run: _Import) -> NewVersion:
    check_clearance(made, run.by, run.clearances[made.source])
    check_actor(made, run.by)
    exported = _exported(made)
    is_operator = run.by.is_operator
    last_sent = _last_sent(made) if is_operator else Classification.of(made)
    return NewVersion(
        draft=made,
        written=classified(made, last_sent),
        memory_id=(is_operator and exported.memory_id) or uuid4(),
        version=(is_operator and exported.version) or 1,
        status=_status(made),
        decision=exported.decision if is_operator else None,
        last_sent=last_sent,
        beyond_source=_is_beyond_source(made, run),
        said_at=exported.said_at if is_operator else None,
    )


def _version_of_history(made: Draft, found: Found, current: KnownVersion, progress: Progress) -> NewVersion | None:
    exported, stored = _exported(made), found.at_or_after
    if exported.memory_id != current.memory_id:
        raise conflict("is stored as another memory: its memory_id is another one.")
    if current.memory_id in progress.diverged:
        raise conflict("belongs to a history of which an earlier version is stored with other content.")
    if stored is None:
        return _append(made, current, progress)
    if stored.version != exported.version:
        _refuse_reviving(made, current)
        return replace(_following(made, current, said_like=stored), replaces=None, is_superseded=True)
    if not _is_same(made, stored):
        progress.diverged.add(current.memory_id)
        raise conflict(f"is stored with other content as version {stored.version}.")
    progress.verify(stored, stored.status)
    return None


def _append(made: Draft, current: KnownVersion, progress: Progress) -> NewVersion:
    goes_on = progress.verified.get(current.memory_id) == current.version and current.status != "erased"
    if not (goes_on or OPENNESS.index(_status(made)) <= OPENNESS.index(current.status)):
        raise conflict(f"is {current.status} here, and an import does not bring it back.")
    _refuse_erasing(made, current)
    return _following(made, current, said_like=current)


def _version_as_it_stands(made: Draft, found: Found, current: KnownVersion, run: _Import) -> NewVersion | None:
    exported = _exported(made)
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
    exported, last_sent = _exported(made), _last_sent(made, current)
    # A version that only classifies anew, or was retired, keeps the place of the value that it repeats.
    repeats = exported.said_at == said_like.said_at
    return NewVersion(
        draft=made,
        written=classified(made, last_sent),
        memory_id=current.memory_id,
        version=exported.version or current.version + 1,
        replaces=current,
        status=_status(made),
        decision=exported.decision,
        last_sent=last_sent,
        beyond_source=current.beyond_source,
        said_at=exported.said_at,
        said_id=said_like.said_id if repeats else None,
    )


def _refuse_reviving(made: Draft, current: StoredVersion) -> None:
    if current.status == "erased" and _status(made) != "erased":
        raise conflict("was erased here, and an import does not bring it back.")


def _refuse_erasing(made: Draft, current: StoredVersion) -> None:
    if _status(made) == "erased" and current.status != "erased":
        raise conflict("was erased where the export was made, and not here.")


def _is_same(made: Draft, row: KnownVersion) -> bool:
    """Whether a line holds what a stored version holds."""
    exported = _exported(made)
    if exported.status not in (None, row.status):
        return False
    if row.status == "erased":
        return exported.status == "erased"
    # A row knows what its source sent by its fingerprint, whatever it was classified as since.
    written = classified(made, _last_sent(made, row))
    return row.fingerprint == written.fingerprint and row.is_classified_as(made)


def _last_sent(made: Draft, row: StoredVersion | None = None) -> Classification:
    """What the source last sent: as the line says, else as it is stored, else what the line is classified as."""
    exported, other = _exported(made), row.last_sent if row else Classification.of(made)
    tier, labels = exported.sent_tier, exported.sent_labels
    return Classification(
        namespace=other.namespace if exported.sent_namespace is None else exported.sent_namespace,
        classification_tier=other.classification_tier if tier is None else tier,
        sensitivity_labels=other.sensitivity_labels if labels is None else tuple(labels),
    )


def _is_beyond_source(made: Draft, run: _Import) -> bool:
    return run.by.is_operator and (
        _exported(made).beyond_source or not run.clearances[made.source].permits(_last_sent(made))
    )


def _exported(made: Draft) -> Exported:
    return made.exported or Exported()


def _status(made: Draft) -> str:
    return _exported(made).status or "active"


def _look_up(drafts: Sequence[Draft], run: _Import) -> list[Found]:
    """What is stored of the memory of each draft: by its memory_id, else by its identity."""
    identities = [
        [made.source for made in drafts],
        [made.envelope.payload_id for made in drafts],
        [_is_beyond_source(made, run) for made in drafts],
    ]
    by_identity = {row["place"]: row for row in fetched(_BY_IDENTITY, identities)}
    by_id: dict[int, dict[str, Any]] = {}
    if run.by.is_operator:
        by_id = {row["place"]: row for row in fetched(_BY_MEMORY_ID, [[_exported(made).memory_id for made in drafts]])}
    current: list[dict[str, Any] | None] = []
    for place, made in enumerate(drafts, 1):
        row = by_id.get(place)
        is_it = row is not None and (row["source"], row["payload_id"]) == (made.source, made.envelope.payload_id)
        current.append(row if is_it else by_identity.get(place))
    numbers = [_exported(made).version or 1 for made in drafts]
    ids = [row and row["memory_id"] for row in current]
    later = {row["place"]: row for row in fetched(_BY_VERSION, [ids, numbers])}
    return [
        Found(current=_known(row), at_or_after=_known(later.get(place)), is_taken=row is None and place in by_id)
        for place, row in enumerate(current, 1)
    ]


Name = tuple[UUID, str, str]
"""(memory_id, source, payload_id) of a memory, as another hub has it."""


def find_ids(names: Collection[Name]) -> dict[Name, UUID | None]:
    """The memory_id here of each of these memories, its own if nothing is stored; None if that is another memory's.

    Asked in a transaction that writes as every source.
    """
    wanted = list(names)
    ids: dict[Name, UUID | None] = {name: name[0] for name in wanted}
    rows = fetched(_NAMED, [list(column) for column in zip(*wanted, strict=True)] or [[], [], []])
    for row in sorted(rows, key=lambda row: bool(row["has_the_id"])):
        name = wanted[row["place"] - 1]
        if row["has_the_name"]:
            # Of two memories of one identity that with the same id is meant, which comes last.
            ids[name] = row["memory_id"]
        elif ids[name] == name[0]:
            ids[name] = None
    return ids


def _known(row: dict[str, Any] | None) -> KnownVersion | None:
    if row is None:
        return None
    return KnownVersion(
        id=row["id"],
        memory_id=row["memory_id"],
        version=row["version"],
        fingerprint=bytes(row["fingerprint"]),
        status=row["status"],
        beyond_source=row["beyond_source"],
        current=Classification(
            namespace=row["namespace"],
            classification_tier=row["classification_tier"],
            sensitivity_labels=tuple(row["sensitivity_labels"]),
        ),
        last_sent=Classification(
            namespace=row["sent_namespace"],
            classification_tier=row["sent_tier"],
            sensitivity_labels=tuple(row["sent_labels"]),
        ),
        said_at=row["said_at"],
        said_id=row["said_id"],
    )


_COLUMNS = """
m.source, m.payload_id, m.id, m.memory_id, m.version, m.fingerprint, m.status, m.beyond_source, m.namespace,
m.classification_tier, m.sensitivity_labels, m.sent_namespace, m.sent_tier, m.sent_labels,
coalesce(m.said_at, m.recorded_at) AS said_at, coalesce(m.said_id, m.id) AS said_id
"""
# Each is one descent of an index, which asks for `querysets.BY_ID`.
_LATERAL = """
SELECT wanted.place::integer, {columns} FROM {wanted}
CROSS JOIN LATERAL (
    SELECT * FROM memories WHERE version >= 1 AND {condition}
) AS m
"""
_BY_IDENTITY = _LATERAL.format(
    columns=_COLUMNS,
    wanted="unnest(%s::varchar[], %s::varchar[], %s::boolean[]) WITH ORDINALITY"
    " AS wanted(source, payload_id, beyond_source, place)",
    condition="source = wanted.source AND payload_id = wanted.payload_id AND superseded_at IS NULL"
    " AND beyond_source = wanted.beyond_source",
)
_BY_MEMORY_ID = _LATERAL.format(
    columns=_COLUMNS,
    wanted="unnest(%s::uuid[]) WITH ORDINALITY AS wanted(memory_id, place)",
    condition="memory_id = wanted.memory_id AND superseded_at IS NULL",
)
_BY_VERSION = _LATERAL.format(
    columns=_COLUMNS,
    wanted="unnest(%s::uuid[], %s::integer[]) WITH ORDINALITY AS wanted(memory_id, number, place)",
    condition="memory_id = wanted.memory_id AND version >= wanted.number ORDER BY version LIMIT 1",
)
_NAMED = """
SELECT wanted.place::integer, m.memory_id, m.memory_id = wanted.memory_id AS has_the_id,
       (m.source, m.payload_id) = (wanted.source, wanted.payload_id) AS has_the_name
FROM unnest(%s::uuid[], %s::varchar[], %s::varchar[]) WITH ORDINALITY AS wanted(memory_id, source, payload_id, place)
CROSS JOIN LATERAL (
    SELECT memory_id, source, payload_id FROM memories
    WHERE version >= 1 AND memory_id = wanted.memory_id AND superseded_at IS NULL
    UNION ALL
    SELECT memory_id, source, payload_id FROM memories
    WHERE version >= 1 AND source = wanted.source AND payload_id = wanted.payload_id AND superseded_at IS NULL
) AS m
"""
