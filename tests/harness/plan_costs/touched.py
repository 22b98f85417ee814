"""What a transaction has touched so far, table by table and index by index.

PostgreSQL counts it for its statistics. The counters of a transaction are exact and include every statement, also those
in functions, triggers and cursors; so a question is asked once, as the product asks it, and needs no EXPLAIN.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import connection

# Of a table the rows of sequential scans, of an index its entries; the rows that an index led to are among its entries.
_COUNTERS = """
SELECT relname, pg_stat_get_xact_tuples_returned(oid), pg_stat_get_xact_blocks_fetched(oid),
       pg_stat_get_xact_numscans(oid)
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')
"""


@dataclass(frozen=True, slots=True)
class Count:
    """Rows (or entries) and pages that were read of one table or index, in how many scans."""

    rows: int = 0
    pages: int = 0
    scans: int = 0

    def __sub__(self, other: "Count") -> "Count":
        return Count(self.rows - other.rows, self.pages - other.pages, self.scans - other.scans)

    def __add__(self, other: "Count") -> "Count":
        return Count(self.rows + other.rows, self.pages + other.pages, self.scans + other.scans)


@dataclass(slots=True)
class Touched:
    """What the block of `counted` touched, by the name of the table or index."""

    counts: dict[str, Count] = field(default_factory=dict)

    @property
    def total(self) -> Count:
        return sum(self.counts.values(), Count())

    def exceeds(self, other: "Touched") -> bool:
        """Whether this is more than `other` by what is no coincidence.

        A taller index costs a page more in each scan; what a page holds of others makes no difference of a tenth.
        """
        mine, its = self.total, other.total
        return mine.rows > its.rows + its.rows // 50 + 10 or mine.pages > its.pages + its.pages // 5 + 10 + max(
            mine.scans, its.scans
        )

    def rows_of(self, name: str) -> int:
        return self.counts.get(name, Count()).rows


@contextmanager
def counted() -> Iterator[Touched]:
    """Count what the block touches. Within a transaction: at its end the counters begin anew."""
    if not connection.in_atomic_block:
        raise TypeError("Only within a transaction is it known what was touched.")
    touched, before = Touched(), _counters()
    yield touched
    for name, count in _counters().items():
        spent = count - before.get(name, Count())
        if spent != Count():
            touched.counts[name] = spent


def _counters() -> dict[str, Count]:
    with connection.cursor() as cursor:
        cursor.execute(_COUNTERS)
        return {name: Count(*map(int, counts)) for name, *counts in cursor.fetchall()}
