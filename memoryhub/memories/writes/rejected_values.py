"""Store values that a decision rejected as retired if they arrive again, so that the decision still applies.

A value is rejected in all its spellings (`core.values`). Of a value that the decision keeps, only the exact texts
that it retired are rejected.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db.models import BigIntegerField, Q
from django.db.models.functions import Coalesce

from memoryhub.core.sql import LateralColumn, compile_sql, fetch_dicts, match_columns
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance, get_tier_order, widens_visibility
from memoryhub.firewall.models import ClearanceProfile
from memoryhub.firewall.principal import ACTOR_TRUST_RANK
from memoryhub.memories.models import CURRENT, REJECTED, Memory
from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.memories.sql.tiers import ID_INDEX_GUARD
from memoryhub.memories.writes.envelope import MemoryDraft

# Of the memories that were rejected with the same value, one of each classification and actor type is read. If only the
# newest few were read, many rows that a reader does not see could displace the one that it does see.
_CURRENT_COLUMNS = ("namespace", "classification_tier", "sensitivity_labels")
_SENT_COLUMNS = ("sent_namespace", "sent_tier", "sent_labels")


class _RejectedRow:
    """A rejected memory with the classification by which the firewall decides."""

    def __init__(self, row: dict[str, Any], columns: tuple[str, str, str]) -> None:
        namespace, tier, labels = columns
        self.namespace: str = row[namespace]
        self.classification_tier: str = row[tier]
        self.sensitivity_labels: Sequence[str] = row[labels]
        self.trust = ACTOR_TRUST_RANK[row["actor_type"]]
        self.decision_id: UUID = row["decision_id"]


def find_rejecting_decisions(drafts: Sequence[MemoryDraft], clearance: Clearance) -> list[UUID | None]:
    """Return, for each draft, the decision that rejected its value for its subject and collection, or None.

    A decision counts only if every clearance that can see the draft can see the rejected memory, so that a rejection
    reveals no hidden memory. The search covers the rows that the writer sees, its own draft among them. A draft whose
    actor is trusted more than that of any rejected memory is new evidence: it has no such decision.

    Memories of the draft's own source are judged by the classification that the source last sent, and do not count if
    the decision was based on memories that the source may not see: the answer to a write must not reveal that somebody
    reclassified them. A draft that holds a secret is compared with memories of its own source alone: the answer must
    not reveal that another source's masked secret is the same.

    Run in a transaction that writes as the sources of the drafts.
    """
    rejected_rows = _find_rejected_rows(drafts, clearance)
    if not rejected_rows:
        return [None] * len(drafts)
    clearances = [profile.as_clearance() for profile in ClearanceProfile.objects.all()]
    return [
        _decision_for(draft, rejected_rows.get(position, []), clearances) for position, draft in enumerate(drafts, 1)
    ]


def _decision_for(draft: MemoryDraft, rows: Sequence[_RejectedRow], clearances: Sequence[Clearance]) -> UUID | None:
    comparable_rows = [
        row for row in rows if row.namespace == draft.namespace and not widens_visibility(row, draft, clearances)
    ]
    if not comparable_rows or ACTOR_TRUST_RANK[draft.actor_type] > max(row.trust for row in comparable_rows):
        return None
    return comparable_rows[0].decision_id


def _find_rejected_rows(drafts: Sequence[MemoryDraft], clearance: Clearance) -> dict[int, list[_RejectedRow]]:
    """Return the rejected memories with the key and the value of each draft, by the draft's position."""
    digests: list[bytes | None] = [draft.content_forms.value_sha256 for draft in drafts]
    # NULL equals nothing, so a draft with a secret matches no memory of another source.
    secretless_digests = [
        None if draft.content_forms.holds_secret else digest for draft, digest in zip(drafts, digests, strict=True)
    ]
    rejected_rows: dict[int, list[_RejectedRow]] = {}
    with rls.as_reader(clearance):
        for row in _fetch_for_drafts(
            _compile_other_sources_sql(clearance, tuple(get_tier_order())), drafts, secretless_digests
        ):
            rejected_rows.setdefault(row["position"], []).append(_RejectedRow(row, _CURRENT_COLUMNS))
    for row in _fetch_for_drafts(_compile_own_source_sql(), drafts, digests):
        rejected_row = _RejectedRow(row, _SENT_COLUMNS)
        if clearance.permits(rejected_row):
            rejected_rows.setdefault(row["position"], []).append(rejected_row)
    return rejected_rows


# Cached, because compiling these two queries takes longer than running them, and every write runs both. There are few
# clearances.
@lru_cache(maxsize=256)
def _compile_other_sources_sql(
    clearance: Clearance,
    tiers: tuple[str, ...],  # noqa: ARG001  # a part of the key of the cache
) -> tuple[str, list[Any]]:
    """The query for rejected memories of other sources.

    What `clearance` sees depends on `tiers`, the order of tiers.
    """
    visible_memories = Memory.objects.visible_to(clearance)
    return _compile_rejected_sql(visible_memories.exclude(source=LateralColumn("drafts", "source")), _CURRENT_COLUMNS)


@lru_cache(maxsize=1)
def _compile_own_source_sql() -> tuple[str, list[Any]]:
    """The query for rejected memories of the draft's own source."""
    return _compile_rejected_sql(
        Memory.objects.filter(source=LateralColumn("drafts", "source"), decision_exceeds_source=False), _SENT_COLUMNS
    )


def _compile_rejected_sql(rows: MemoryQuerySet, columns: tuple[str, str, str]) -> tuple[str, list[Any]]:
    """Return the query for those of `rows` that match a draft, newest first, with the classification in `columns`."""
    same_value = match_columns("drafts", ("subject", "collection", "value_sha256"))
    text_matches = Q(is_spelling_rejection=False) | Q(content_sha256=LateralColumn("drafts", "content_sha256"))
    group_columns = (*columns, "actor_type")
    # Ordered by the version that asserted the value: a reclassification does not make it newer.
    rows = rows.filter(CURRENT, REJECTED, ID_INDEX_GUARD, text_matches, **same_value).annotate(
        effective_version_id=Coalesce("asserted_version_id", "id", output_field=BigIntegerField())
    )
    newest_rows = rows.order_by(*group_columns, "-effective_version_id").distinct(*group_columns)
    rejected_sql, params = compile_sql(newest_rows.values("effective_version_id", *group_columns, "decision_id"))
    return _REJECTED_SQL.format(part=rejected_sql), params


def _fetch_for_drafts(
    compiled_query: tuple[str, list[Any]], drafts: Sequence[MemoryDraft], digests: Sequence[bytes | None]
) -> list[dict[str, Any]]:
    """Run `compiled_query` for all drafts, each with its digest."""
    sql, params = compiled_query
    envelopes = [draft.envelope for draft in drafts]
    draft_columns: list[list[Any]] = [
        [draft.source for draft in drafts],
        [envelope.subject for envelope in envelopes],
        [envelope.collection for envelope in envelopes],
        list(digests),
        [hashlib.sha256(envelope.content.encode()).digest() for envelope in envelopes],
    ]
    return fetch_dicts(sql, [*draft_columns, *params])


_REJECTED_SQL = """
SELECT drafts.position::integer, rejected.*
FROM unnest(%s::varchar[], %s::varchar[], %s::varchar[], %s::bytea[], %s::bytea[])
    WITH ORDINALITY AS drafts(source, subject, collection, value_sha256, content_sha256, position)
CROSS JOIN LATERAL ({part}) AS rejected
ORDER BY drafts.position, rejected.effective_version_id DESC
"""
