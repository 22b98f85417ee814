"""What a story that is written by hand is made of: the writes of a writer, and what came of them."""

from typing import Any

import pytest

from tests.factories import utc
from tests.noninterference.writes.steps import Fields, Write
from tests.noninterference.writes.story_run import StoryRun
from tests.noninterference.writes.writers import USUAL_FIELDS, WRITERS

NOW = utc("2026-03-10 12:00")
with_and_without_query_filter = pytest.mark.parametrize(
    "row_security", [True, False], ids=["both layers", "query filter alone"]
)


def write_step(writer: str, *, on_conflict: str = "", **fields: Any) -> Write:
    """One envelope, within the writer's clearance."""
    usual_fields = WRITERS[writer].usual_fields or USUAL_FIELDS.get(fields.get("source", ""), {})
    return Write(writer, ({"payload_id": "p-1", **usual_fields, **fields},), on_conflict)


def batch_step(writer: str, *items: Fields, on_conflict: str = "") -> Write:
    return Write(writer, tuple({**WRITERS[writer].usual_fields, **item} for item in items), on_conflict, is_batch=True)


def receipt_outcomes(story_run: StoryRun) -> list[list[tuple[int, str]]]:
    """The status and outcome or code of every receipt of every write."""
    return [[receipt.status_and_outcome for receipt in receipts] for receipts in story_run.receipts]


def final_row(story_run: StoryRun, payload_id: str = "p-1", *, is_hidden: bool = False) -> dict[str, Any]:
    """The memory of a writer under this id, or the hidden one, as it ends in the world that has hidden rows."""
    ids = story_run.plain.tables.memory_ids()
    (row,) = (
        row
        for memory_id, row in story_run.crowded.tables.current().items()
        if row["payload_id"] == payload_id and (memory_id not in ids) == is_hidden
    )
    return dict(row)
