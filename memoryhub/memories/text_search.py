"""Guarantee: a search for a substring or labels has a bounded cost, however common they are, whatever rows are hidden.

Why the obvious way breaks it. A GIN index is fast for rare terms and reads half the table for common ones; a scan from
the newest memory on is the other way round. PostgreSQL assumes that trigrams are independent and so estimates every
text to be rare, and its statistics about labels include hidden rows. So this module chooses, by a sample of the newest
candidates. Candidates are rows that the caller may see: both ways return the same rows, and hidden rows have no
influence on the choice.

Tests that notice: `tests/memories/test_text_search.py`, and `tests/harness/test_query_plans.py` for the plans.
"""

from dataclasses import dataclass

from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.memories.sql.search_conditions import SearchTerms

SAMPLE_SIZE = 300
RARE_TEXT_HITS, RARE_LABEL_HITS = 1, 3
"""Maximum hits in a sample for an index lookup.

A lookup is exact for labels; trigram matches are compared once more.
"""


def rare_hits(search_terms: SearchTerms) -> int:
    """Return the maximum hits in a sample for an index lookup."""
    return RARE_TEXT_HITS if search_terms.has_text else RARE_LABEL_HITS


@dataclass(frozen=True, slots=True)
class Matches:
    """Candidates that match the search terms. `is_truncated` says that only the newest candidates were searched."""

    rows: MemoryQuerySet
    is_truncated: bool


def newest_matching(
    candidates: MemoryQuerySet, search_terms: SearchTerms, *, target_count: int, max_scanned: int
) -> Matches:
    """Return all matches among `candidates`, or those in a range of the newest that should hold `target_count`.

    At most `max_scanned` candidates are read one by one.
    """
    sample = candidates.sample(search_terms, SAMPLE_SIZE)
    if len(sample) < SAMPLE_SIZE:
        return Matches(candidates.matching_by_scan(search_terms), is_truncated=False)
    hits = sum(hit for _, _, hit in sample)
    if hits >= target_count:
        timestamp, memory_id, _ = sample[-1]
        return Matches(candidates.up_to_keyset(timestamp, memory_id).matching_by_scan(search_terms), is_truncated=True)
    if hits <= rare_hits(search_terms):
        return Matches(candidates.matching_by_index(search_terms), is_truncated=False)
    # One and a half times the range that the sample predicts.
    newest_rows = candidates.newest_range(min(target_count * SAMPLE_SIZE * 3 // (2 * hits), max_scanned))
    if newest_rows is None:
        return Matches(candidates.matching_by_scan(search_terms), is_truncated=False)
    return Matches(newest_rows.matching_by_scan(search_terms), is_truncated=True)


def all_matching(candidates: MemoryQuerySet, search_terms: SearchTerms) -> MemoryQuerySet:
    """Return all matches among `candidates`: by an index, unless there are few candidates."""
    is_small = len(candidates.sample(search_terms, SAMPLE_SIZE)) < SAMPLE_SIZE
    return candidates.matching_by_scan(search_terms) if is_small else candidates.matching_by_index(search_terms)
