"""What each filter is asked with: a value that most rows have, one that few have, and some that no visible row has.

A filter of a FilterSet that is not here fails a test.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations

from memoryhub.conflicts.groups.groups import GroupFilterSet
from memoryhub.memories.filter_fields import EXCLUDING_SUFFIX
from memoryhub.memories.filters import POINT_IN_TIME_PARAMS, PointInTimeFilterSet
from tests.harness.plan_costs.rows import ABSENT, COMMON, HIDDEN, RARE, instant_sql

Values = Mapping[str, str]
KINDS = ("common", "rare", "absent", "hidden")
"""`absent` is a value that no row has, `hidden` one that half of the hidden rows have and no visible one."""

_TEXT = {"common": COMMON, "rare": RARE, "absent": ABSENT, "hidden": HIDDEN}
# The same with a wildcard; the texts of the other kinds are no beginnings of each other.
_PREFIX = {**_TEXT, "rare": f"{RARE[:3]}*", "hidden": f"{HIDDEN[:3]}*"}
_TEXT_FILTERS = ("q", "subject", "destination", "source", "actor_id", "label")
_PREFIX_FILTERS = ("namespace", "collection", "model", "role")


def filter_values(filter_set: type[PointInTimeFilterSet], visible: int) -> dict[str, Values]:
    """The values of each filter of `filter_set`, by kind. Raises KeyError for a filter that nobody has thought of.

    Of a choice there may be none that few rows have, or that no row has.
    """
    almost_the_last = instant_sql(visible - 5)
    values_by_filter: dict[str, Values] = {
        **dict.fromkeys(_TEXT_FILTERS, _TEXT),
        **dict.fromkeys(_PREFIX_FILTERS, _PREFIX),
        # The parameters of a point in time: every query is sent at each (routes.py).
        **{name: {} for name in (*POINT_IN_TIME_PARAMS, "since", "until", "axis")},
        "payload_id": {**_TEXT, "rare": f"v{RARE}"},
        "actor_type": {"common": "agent", "rare": "user", "hidden": "system"},
        "tier": {"common": "public", "hidden": "restricted"},
        "kind": {"common": "fact", "rare": "summary", "hidden": "checkpoint"},
        # To who may not judge memories there is no status "quarantined", which half of the hidden rows have.
        "status": {"common": "active", "rare": "retired", "absent": "expired"},
        "from": {
            "common": instant_sql(30),
            "rare": almost_the_last,
            "absent": "2100-01-01",
            "hidden": instant_sql(visible),
        },
        "to": {"common": almost_the_last, "rare": instant_sql(5), "absent": "2023-01-01"},
        "change": {"common": "added", "rare": "retired", "absent": "erased"},
        "subject_contains": {**_TEXT, "common": "user"},
        "class": {"common": "update", "rare": "contradiction"},
        "scope": {"common": "collection", "rare": "namespace"},
    }
    if issubclass(filter_set, GroupFilterSet):
        values_by_filter["status"] = {"common": "open", "rare": "decided", "hidden": "all"}
    if missing_names := filter_set.base_filters.keys() - values_by_filter.keys():
        raise KeyError(f"give {', '.join(sorted(missing_names))} values here, and rows.py rows that have them")
    values_by_param = {name: values_by_filter[name] for name in filter_set.base_filters}
    for param in sorted(filter_set.repeatable_params() - values_by_param.keys()):
        values_by_param[param] = _excluding_values(values_by_param[param.removesuffix(EXCLUDING_SUFFIX)])
    return values_by_param


def _excluding_values(values: Values) -> Values:
    """What matches most rows if it is left out, and what then matches few."""
    swapped_values = {"common": values.get("rare"), "rare": values["common"], "hidden": values.get("hidden")}
    return {kind: value for kind, value in swapped_values.items() if value is not None}


def single_filters(values: Mapping[str, Values], kinds: Iterable[str]) -> Iterator[dict[str, str]]:
    """Each filter alone, with a value of each of `kinds` that it has; with its last one, where it has none of them."""
    for name, filter_kinds in values.items():
        chosen_values = [filter_kinds[kind] for kind in kinds if kind in filter_kinds] or list(filter_kinds.values())[
            -1:
        ]
        yield from ({name: value} for value in chosen_values)


def filter_pairs(values: Mapping[str, Values], kinds: Iterable[tuple[str, str]]) -> Iterator[dict[str, str]]:
    """Each two filters together, their values of each two of `kinds`; what they exclude is asked alone."""
    names = [name for name, filter_kinds in values.items() if filter_kinds and not name.endswith(EXCLUDING_SUFFIX)]
    for first_name, second_name in combinations(names, 2):
        for kind, other_kind in kinds:
            if kind in values[first_name] and other_kind in values[second_name]:
                pair = {first_name: values[first_name][kind], second_name: values[second_name][other_kind]}
                if not ("from" in pair and "to" in pair and pair["from"] >= pair["to"]):
                    yield pair
