"""Rows with a score and a rank, as the stages of a search return them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

COLUMNS = ("id", "memory_id", "timestamp", "recorded_at")
"""The columns of a memory that `to_ranked_rows` needs, besides its score and rank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedRow:
    """One row of a stage. `row_id` is internal: it never leaves the process."""

    row_id: int
    memory_id: UUID
    timestamp: datetime
    recorded_at: datetime
    score: float
    rank: float
    """The position in the stage, from 1 on; rows with the same score may share the mean of their positions."""


@dataclass(frozen=True, slots=True)
class StageResult:
    """The best rows of a stage, the best first; newest first among equals."""

    rows: list[RankedRow]
    is_complete: bool = True
    """Whether every candidate was ranked."""


def to_ranked_rows(rows: Iterable[dict[str, Any]]) -> list[RankedRow]:
    """Return rows of the columns COLUMNS, `score` and perhaps `rank`, which is their position otherwise."""
    return [
        RankedRow(
            row_id=row["id"],
            memory_id=row["memory_id"],
            timestamp=row["timestamp"],
            recorded_at=row["recorded_at"],
            score=row["score"],
            rank=row.get("rank", float(position)),
        )
        for position, row in enumerate(rows, start=1)
    ]
