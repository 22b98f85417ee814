"""How to search: the options of a search, and their parameters in a query string."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from memoryhub.core.errors import InvalidQueryError
from memoryhub.language.embedding_values import Vector
from memoryhub.memories.pagination import parse_positive_int
from memoryhub.search.profiles import DEFAULT_PROFILE, PROFILES, Mode, Profile, Sort

MAX_HALF_LIFE_DAYS = 9_999
OPTION_PARAMS = ("mode", "profile", "sort", "half_life_days", "explain")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How to search."""

    profile: Profile = DEFAULT_PROFILE
    mode: Mode = Mode.HYBRID
    sort: Sort = Sort.RELEVANCE
    half_life: timedelta | None = None
    """A score is halved for every such time that an event is ago."""
    embedding: Vector | None = None
    """A vector of the configured model, to be compared instead of one of the text."""
    explain: bool = False


def parse_options(params: Mapping[str, str]) -> SearchOptions:
    """Read OPTION_PARAMS; a missing one has its default. Raises InvalidQueryError."""
    half_life_text = params.get("half_life_days", "")
    half_life_days = parse_positive_int("half_life_days", half_life_text, default=0, maximum=MAX_HALF_LIFE_DAYS)
    return SearchOptions(
        profile=PROFILES[_parse_choice(params, "profile", PROFILES, DEFAULT_PROFILE.name)],
        mode=Mode(_parse_choice(params, "mode", Mode, Mode.HYBRID)),
        sort=Sort(_parse_choice(params, "sort", Sort, Sort.RELEVANCE)),
        half_life=timedelta(days=half_life_days) if half_life_days else None,
        explain=_parse_choice(params, "explain", ("true", "false"), "false") == "true",
    )


def _parse_choice(params: Mapping[str, str], name: str, choices: Iterable[str], default: str) -> str:
    value = params.get(name, default)
    if value not in list(choices):
        raise InvalidQueryError({name: [f"must be one of {', '.join(choices)}."]})
    return value
