"""The OpenAPI description of the routes that search."""

from collections.abc import Iterable

from drf_spectacular.utils import OpenApiParameter, extend_schema

from memoryhub.api.parameters import (
    FILTER_PARAMETERS,
    FILTER_SCHEMA,
    INSTANT_PARAMETERS,
    PAGE_PARAMETERS,
    build_request_body,
)
from memoryhub.api.requests import SearchRequest
from memoryhub.api.responses.search import SearchResponse, SimilarResponse
from memoryhub.api.schema import READ_PROBLEMS, problem_responses
from memoryhub.search.options import MAX_HALF_LIFE_DAYS
from memoryhub.search.profiles import DEFAULT_PROFILE, PROFILES, Mode, Sort

_CHOICES: dict[str, tuple[Iterable[str], str, str]] = {
    "mode": (Mode, Mode.HYBRID, "What is compared: words, meaning, or both."),
    "profile": (
        PROFILES,
        DEFAULT_PROFILE.name,
        "How thorough: `fast` compares words alone, `deep` ranks more candidates.",
    ),
    "sort": (Sort, Sort.RELEVANCE, "The order of the results; the times are those of the best candidates."),
}
_OPTION_SCHEMAS = {
    name: {"type": "string", "enum": list(values), "default": default}
    for name, (values, default, _) in _CHOICES.items()
}
_OPTION_PARAMETERS = [
    *(
        OpenApiParameter(name, _OPTION_SCHEMAS[name], description=description)
        for name, (_, _, description) in _CHOICES.items()
    ),
    OpenApiParameter(
        "half_life_days",
        {"type": "integer", "minimum": 1},
        description=f"A score is halved for each such number of days that the event is ago; at most "
        f"{MAX_HALF_LIFE_DAYS}.",
    ),
    OpenApiParameter(
        "explain",
        {"type": "string", "enum": ["true", "false"], "default": "false"},
        description="Whether the answer says what each stage did, and how long it took.",
    ),
]
_DESCRIPTION = (
    "A result need not have all words of `q`: memories are ranked by the words that they have and by meaning, and "
    "both rankings are merged. Phrases in quotes, `-exclusions`, `contains:` and `field:value` in `q` are conditions "
    "that every result meets. All pages are those of the time at which the first one was asked for."
)
search = extend_schema(
    operation_id="search",
    summary="Search by words and by meaning, the best result first",
    description=_DESCRIPTION,
    parameters=[*FILTER_PARAMETERS, *_OPTION_PARAMETERS, *PAGE_PARAMETERS],
    responses={200: SearchResponse, **READ_PROBLEMS},
)
search_with_body = extend_schema(
    operation_id="search_with_body",
    summary="Search, with a vector of your own or with a long text",
    description=_DESCRIPTION,
    request=build_request_body(SearchRequest, filter=FILTER_SCHEMA, **_OPTION_SCHEMAS),
    responses={200: SearchResponse, **READ_PROBLEMS, **problem_responses(408, 411, 413, 415)},
)
similar = extend_schema(
    operation_id="memory_similar",
    summary="The memories that are nearest in meaning to one",
    parameters=INSTANT_PARAMETERS,
    responses={200: SimilarResponse, **READ_PROBLEMS, **problem_responses(404)},
)
