"""The results of a search as they leave the room: records with their scores, ranks and matched words."""

from dataclasses import dataclass
from typing import Any

from memoryhub.memories.records import LIST_FIELDS, MemoryRecord, fetch_records
from memoryhub.search.reasons import Reason, explain_matches
from memoryhub.search.search import SearchPage


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """One memory that was found. `ranks` and `scores` are by stage; a stage that did not find it is missing."""

    memory: MemoryRecord
    score: float
    ranks: dict[str, float]
    scores: dict[str, float]
    reason: Reason


def build_results(page: SearchPage, names: tuple[str, ...] = LIST_FIELDS) -> list[SearchResult]:
    """Return the results of a page, with records of the fields `names`."""
    memory_ids = [row.memory_id for row in page.rows]
    if not memory_ids:
        return []
    visible_rows = page.filters.point_in_time.current_versions(page.filters.visible_versions)
    records: dict[Any, MemoryRecord] = {
        record["memory_id"]: record for record in fetch_records(visible_rows.with_ids(memory_ids), names)
    }
    reasons = explain_matches(page.filters, page.question, memory_ids)
    return [
        SearchResult(
            memory=records[row.memory_id],
            score=row.score,
            ranks=row.ranks,
            scores=row.scores,
            reason=reasons[row.memory_id],
        )
        for row in page.rows
        # A memory that was changed since the first page was asked for is shown as it was, unless it is hidden now.
        if row.memory_id in records
    ]
