"""A cursor holds for the reader and the clearance that it was made under; tests/api/test_pages.py has the rest."""

from dataclasses import replace
from typing import Any

import pytest
from django.http import QueryDict

from memoryhub.firewall.types import Clearance, Principal
from memoryhub.memories import pages
from memoryhub.memories.filters import BadQuery, MemoryFilterSet
from memoryhub.memories.pages import Page
from tests.builders import make_memory

pytestmark = pytest.mark.django_db

READER = Principal(
    name="key:reader",
    clearance=Clearance(
        max_tier="internal",
        blocked_labels=frozenset({"pii"}),
        required_labels=frozenset({"eu"}),
        namespaces=frozenset({"", "team"}),
    ),
)


def page(reader: Principal, cursor: str | None = None) -> Page:
    parameters = {"limit": "1", **({"cursor": cursor} if cursor else {})}
    return pages.page(MemoryFilterSet(QueryDict(), clearance=reader.clearance), reader=reader, parameters=parameters)


@pytest.mark.parametrize(
    "changed",
    [
        {"max_tier": "confidential"},
        {"max_tier": "public"},
        {"blocked_labels": frozenset()},
        {"blocked_labels": frozenset({"pii", "hr"})},
        {"required_labels": frozenset()},
        {"required_labels": frozenset({"eu", "hr"})},
        {"namespaces": None},
        {"namespaces": frozenset({""})},
    ],
)
def test_a_cursor_ends_with_the_clearance_that_it_was_made_under(changed: dict[str, Any]):
    for _ in range(3):
        make_memory(labels=["eu"])
    cursor = page(READER).next_cursor
    other = replace(READER, clearance=replace(READER.clearance, **changed))

    assert page(READER, cursor).records
    with pytest.raises(BadQuery, match="cursor"):
        page(other, cursor)
