"""Search masked texts, for principals who may unmask secrets. An audit entry records each search.

No index holds the masked secrets. Few memories hold a secret, so they are read one by one: the newest of those that
match the filters.
"""

from dataclasses import dataclass
from uuid import UUID

from memoryhub.audit.actions import AuditAction
from memoryhub.core.sql import fetch_dicts
from memoryhub.firewall import audit_events, rls
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.records import DETAIL_FIELDS, MemoryRecord, newest_records
from memoryhub.memories.sql.search_conditions import HOLDS_SECRET

MAX_TEXT_LENGTH = 1_000
MAX_SCANNED = 1_000
MAX_MATCHES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretMatches:
    """The memories whose unmasked content contains a text; the newest first."""

    records: list[MemoryRecord]
    is_capped: bool
    """Whether more memories hold secrets than were read, or more match than are returned."""

    @property
    def memory_ids(self) -> list[UUID]:
        return [record["memory_id"] for record in self.records]


def search_secrets(
    filters: MemoryFilterSet, text: str, *, principal: Principal, route: str = "", request_id: str = ""
) -> SecretMatches:
    """Return the memories that match `filters` and whose unmasked content contains `text`.

    Of the memories with secrets the newest `MAX_SCANNED` are read, and at most `MAX_MATCHES` matches are returned. The
    audit entry names the matches, but not the text. Raises MissingScopeError without the scope `curate`.
    """
    principal.require_scopes(Scope.CURATE)
    with rls.as_reader(principal.clearance):
        matches = _find_matches(filters, text)
        audit_events.record_audit_event(
            AuditAction.MEMORY_UNMASK,
            principal=principal,
            memory_ids=matches.memory_ids,
            route=route,
            request_id=request_id,
        )
    return matches


def _find_matches(filters: MemoryFilterSet, text: str) -> SecretMatches:
    secret_memories = filters.candidates.matching_by_scan(filters.search_terms).filter(HOLDS_SECRET)
    rows_sql, params = secret_memories.newest_sql(MAX_SCANNED + 1, "content")
    scanned_rows = fetch_dicts(_MATCHES_SQL.format(rows=rows_sql), [text, *params])
    matching_ids = [row["memory_id"] for row in scanned_rows[:MAX_SCANNED] if row["is_match"]]
    records = (
        newest_records(secret_memories.filter(memory_id__in=matching_ids[:MAX_MATCHES]), MAX_MATCHES, DETAIL_FIELDS)
        if matching_ids
        else []
    )
    return SecretMatches(records=records, is_capped=len(scanned_rows) > MAX_SCANNED or len(matching_ids) > MAX_MATCHES)


_MATCHES_SQL = """
SELECT memory_id, memory_fold(content) LIKE memory_like_pattern(%s) AS is_match FROM ({rows}) AS secret
ORDER BY "timestamp" DESC, memory_id DESC
"""
