"""How thorough a search is, and which stages it has."""

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    HYBRID = "hybrid"
    KEYWORD = "keyword"
    SEMANTIC = "semantic"


class Sort(StrEnum):
    RELEVANCE = "relevance"
    EVENT_TIME = "timestamp"
    RECORD_TIME = "recorded_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a search may spend."""

    name: str
    has_meaning: bool
    """Whether memories are compared by meaning, too, if the mode does not say otherwise."""
    candidate_count: int
    """The number of best rows of each stage that are merged."""
    scanned_rows: int
    """Up to so many rows are ranked one by one; of more, those with rare words and the newest with frequent ones."""


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(name="fast", has_meaning=False, candidate_count=200, scanned_rows=5_000),
        Profile(name="balanced", has_meaning=True, candidate_count=200, scanned_rows=5_000),
        Profile(name="deep", has_meaning=True, candidate_count=500, scanned_rows=20_000),
    )
}
DEFAULT_PROFILE = PROFILES["balanced"]
