"""Values of filters: several, excluded, beginnings; and that a cursor belongs to them."""

import pytest
from django.http import QueryDict

from memoryhub.firewall.clearance import Clearance
from memoryhub.memories.filter_fields import FilterValues, escape_wildcard, unescape_wildcard
from memoryhub.memories.filters import MemoryFilterSet
from tests.factories import make_memory

HIGH = Clearance(max_tier="restricted")


@pytest.mark.unit
@pytest.mark.parametrize("value", ["", "a", "*", "a*", "a\\*", "a**", "\\", "\\*", "*a", "a\\"])
def test_an_escaped_value_is_that_value_alone(value):
    escaped_value = escape_wildcard(value)

    assert unescape_wildcard(escaped_value) == value
    assert FilterValues(included=(escaped_value,)).exact_value == value


@pytest.mark.unit
@pytest.mark.parametrize("included", [(), ("a*",), ("*",), ("a", "b")])
def test_values_of_which_several_match_are_no_exact_value(included):
    assert FilterValues(included=included, excluded=("c",)).exact_value is None


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "expected_subjects"),
    [
        ("subject=a*", ["a", "a*", "a*b", "ab"]), ("subject=a\\*", ["a*"]), ("subject=a**", ["a*", "a*b"]),
        ("subject!=a*", ["b"]), ("subject!=a\\*", ["a", "a*b", "ab", "b"]),
        ("subject=a*&subject!=ab", ["a", "a*", "a*b"]),
        ("subject=b&subject=a\\*", ["a*", "b"]), ("subject=a*&subject=b", ["a", "a*", "a*b", "ab", "b"]),
    ],
)  # fmt: skip
def test_a_last_asterisk_stands_for_any_text(query, expected_subjects):
    for subject in ("a", "a*", "a*b", "ab", "b"):
        make_memory(payload_id=subject, subject=subject)

    results = MemoryFilterSet(QueryDict(query), clearance=HIGH).results

    assert sorted(results.values_list("subject", flat=True)) == expected_subjects


@pytest.mark.unit
def test_what_is_excluded_is_a_part_of_the_query_that_a_cursor_belongs_to():
    filters = MemoryFilterSet(QueryDict("source=b&source=a&source!=c&label!=x&q=d"), clearance=HIGH)

    assert sorted(filters.active_filters) == [
        ("label!", "x"),
        ("q", "d"),
        ("source", "a"),
        ("source", "b"),
        ("source!", "c"),
    ]
