"""Finding a substring or labels at a bounded cost, however common they are.

An inverted index answers at once where they are rare and reads half the table where they are common; a scan from the
newest memory on is the other way round. PostgreSQL takes grams for independent and always believes the text to be rare,
and what it believes of labels it has from hidden rows, too: so the choice is made here, by a sample of the newest
candidates. Candidates are what the caller may see: whichever way is taken, the rows are the same, and hidden ones have
no part in it.
"""

from dataclasses import dataclass

from memoryhub.memories.querysets import MemoryQuerySet, Sought

SAMPLE = 300
RARE_TEXT, RARE_LABELS = 1, 3
"""Hits in a sample, at most, of what is looked up. Labels are looked up exactly, grams are to be compared once more."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Candidates that have what is sought; `cut` says whether only the newest candidates were looked at."""

    rows: MemoryQuerySet
    cut: bool


def newest_matches(candidates: MemoryQuerySet, sought: Sought, *, wanted: int, scan: int) -> Matches:
    """The matches among `candidates`: all of them, or those in a stretch of the newest that should hold `wanted`.

    At most `scan` candidates are read one by one.
    """
    sample = candidates.sampled(sought, SAMPLE)
    if len(sample) < SAMPLE:
        return Matches(candidates.read_for(sought), cut=False)
    hits = sum(hit for _, _, hit in sample)
    if hits >= wanted:
        timestamp, memory_id, _ = sample[-1]
        return Matches(candidates.up_to(timestamp, memory_id).read_for(sought), cut=True)
    if hits <= (RARE_TEXT if sought.text else RARE_LABELS):
        return Matches(candidates.looked_up(sought), cut=False)
    # Half as much again as the sample promises.
    stretch = candidates.stretch(min(wanted * SAMPLE * 3 // (2 * hits), scan))
    if stretch is None:
        return Matches(candidates.read_for(sought), cut=False)
    return Matches(stretch.read_for(sought), cut=True)


def all_matches(candidates: MemoryQuerySet, sought: Sought) -> MemoryQuerySet:
    """All matches among `candidates`: looked up, unless these are few."""
    is_small = len(candidates.sampled(sought, SAMPLE)) < SAMPLE
    return candidates.read_for(sought) if is_small else candidates.looked_up(sought)
