"""Finding a substring at a bounded cost, however common it is.

An index over grams answers at once where a text is rare and reads half the table where it is common; a scan from the
newest memory on is the other way round. PostgreSQL takes grams for independent and always believes the text to be rare,
so the choice is made here, by a sample of the newest candidates. Candidates are what the caller may see: whichever way
is taken, the rows are the same, and hidden ones have no part in it.
"""

from dataclasses import dataclass

from memoryhub.memories.querysets import MemoryQuerySet

SAMPLE = 300
RARE = 1


@dataclass(frozen=True, slots=True)
class Matches:
    """Candidates that contain the text; `cut` says whether only the newest candidates were looked at."""

    rows: MemoryQuerySet
    cut: bool


def newest_matches(candidates: MemoryQuerySet, text: str, *, wanted: int, scan: int) -> Matches:
    """The matches among `candidates`: all of them, or those in a stretch of the newest that should hold `wanted`.

    At most `scan` candidates are read one by one.
    """
    sample = candidates.sampled(text, SAMPLE)
    if len(sample) < SAMPLE:
        return Matches(candidates.spelling(text), cut=False)
    hits = sum(hit for _, _, hit in sample)
    if hits >= wanted:
        timestamp, memory_id, _ = sample[-1]
        return Matches(candidates.up_to(timestamp, memory_id).spelling(text), cut=True)
    if hits <= RARE:
        return Matches(candidates.containing(text), cut=False)
    # Half as much again as the sample promises.
    stretch = candidates.newest(min(wanted * SAMPLE * 3 // (2 * hits), scan))
    return (
        Matches(candidates.spelling(text), cut=False) if stretch is None else Matches(stretch.spelling(text), cut=True)
    )
