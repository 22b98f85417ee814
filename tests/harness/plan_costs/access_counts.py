"""What a transaction has touched so far, table by table and index by index.

PostgreSQL counts it for its statistics. The counters of a transaction are exact and include every statement, also those
in functions, triggers and cursors; so a question is asked once, as the product asks it, and needs no EXPLAIN.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import connection

# Of a table the rows of sequential scans, of an index its entries; the rows that an index led to are among its entries.
_COUNTERS_SQL = """
SELECT relname, pg_stat_get_xact_tuples_returned(oid), pg_stat_get_xact_blocks_fetched(oid),
       pg_stat_get_xact_numscans(oid)
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')
"""


@dataclass(frozen=True, slots=True)
class AccessCount:
    """Rows (or entries) and pages that were read of one table or index, in how many scans."""

    rows: int = 0
    pages: int = 0
    scans: int = 0

    def __sub__(self, other: "AccessCount") -> "AccessCount":
        return AccessCount(self.rows - other.rows, self.pages - other.pages, self.scans - other.scans)

    def __add__(self, other: "AccessCount") -> "AccessCount":
        return AccessCount(self.rows + other.rows, self.pages + other.pages, self.scans + other.scans)


@dataclass(slots=True)
class TouchedRelations:
    """What the block of `count_touched` touched, by the name of the table or index."""

    counts: dict[str, AccessCount] = field(default_factory=dict)

    @property
    def total(self) -> AccessCount:
        return sum(self.counts.values(), AccessCount())

    def exceeds(self, other: "TouchedRelations") -> bool:
        """Whether this is more than `other` by what is no coincidence.

        A taller index costs a page more in each scan; what a page holds of others makes no difference of a tenth.
        """
        own_total, other_total = self.total, other.total
        return (
            own_total.rows > other_total.rows + other_total.rows // 50 + 10
            or own_total.pages
            > other_total.pages + other_total.pages // 5 + 10 + max(own_total.scans, other_total.scans)
        )

    def rows_of(self, name: str) -> int:
        return self.counts.get(name, AccessCount()).rows


@contextmanager
def count_touched() -> Iterator[TouchedRelations]:
    """Count what the block touches. Within a transaction: at its end the counters begin anew."""
    if not connection.in_atomic_block:
        raise TypeError("Only within a transaction is it known what was touched.")
    touched, before = TouchedRelations(), _read_counters()
    yield touched
    for name, count in _read_counters().items():
        elapsed = count - before.get(name, AccessCount())
        if elapsed != AccessCount():
            touched.counts[name] = elapsed


def _read_counters() -> dict[str, AccessCount]:
    with connection.cursor() as cursor:
        cursor.execute(_COUNTERS_SQL)
        return {name: AccessCount(*map(int, counts)) for name, *counts in cursor.fetchall()}
