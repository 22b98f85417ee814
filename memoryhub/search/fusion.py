"""Merge the results of the stages by reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009).

A row's score is the sum of 1 / (k + rank) over the stages that found it, so scores of different kinds need not be
compared. The paper has k = 60; with k = 10 the first ranks count for more, which found more of the memories that answer
a question (docs/usage/search.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from memoryhub.search.ranked_rows import RankedRow


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedRow:
    """One result. `ranks` has its position in each stage that found it, from 1 on, and `scores` its score there."""

    memory_id: UUID
    timestamp: datetime
    recorded_at: datetime
    score: float
    ranks: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def sort_key(self) -> tuple[float, float, int]:
        """The best first, then the newest, then by memory_id."""
        return -self.score, -self.timestamp.timestamp(), -self.memory_id.int


def merge_stages(stages: Mapping[str, Sequence[RankedRow]], k: int) -> list[MergedRow]:
    """Return the rows of all stages, the best first."""
    merged_rows: dict[UUID, MergedRow] = {}
    for stage, rows in stages.items():
        for row in rows:
            merged = merged_rows.get(row.memory_id) or MergedRow(
                memory_id=row.memory_id, timestamp=row.timestamp, recorded_at=row.recorded_at, score=0.0
            )
            merged_rows[row.memory_id] = replace(
                merged,
                score=merged.score + 1 / (k + row.rank),
                ranks={**merged.ranks, stage: row.rank},
                scores={**merged.scores, stage: row.score},
            )
    return sorted(merged_rows.values(), key=lambda row: row.sort_key)


def with_recency(rows: Sequence[MergedRow], *, half_life: timedelta, now: datetime) -> list[MergedRow]:
    """Return the rows with scores that are halved for every `half_life` that an event is ago, the best first."""
    decayed_rows = (
        replace(row, score=row.score * 0.5 ** (max(now - row.timestamp, timedelta()) / half_life)) for row in rows
    )
    return sorted(decayed_rows, key=lambda row: row.sort_key)
