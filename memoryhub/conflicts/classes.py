"""How many groups there are of each class."""

from collections import Counter
from dataclasses import dataclass

from memoryhub.conflicts.detector import CLASSES, Class
from memoryhub.conflicts.groups import MOST_COMPARED, GroupFilterSet
from memoryhub.conflicts.listing import Listing

MOST_COUNTED = 1_000
"""Of more groups the first are counted, in the order of keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    numbers: dict[Class, int]
    """Of every class, the most serious first."""
    total: int
    capped: bool
    """Whether there are more groups than were counted."""


def counts(filters: GroupFilterSet) -> Counts:
    """How many groups of each class `filters` find, whatever class they ask for.

    The first MOST_COUNTED, or fewer if MOST_COMPARED pairs of values are in them.
    """
    listing = Listing(filters=filters, columns=filters.columns)
    found = listing.after(None, MOST_COUNTED + 1)
    counted = listing.classified(found[:MOST_COUNTED], most=MOST_COMPARED)
    numbers = Counter(each.klass for each in counted)
    return Counts(
        numbers={klass: numbers[klass] for klass in CLASSES},
        total=len(counted),
        capped=len(counted) < len(found),
    )
