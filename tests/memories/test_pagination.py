"""A cursor holds for its reader and clearance; tests/api/native/test_pagination.py has the rest."""

from dataclasses import replace
from typing import Any

import pytest
from django.http import QueryDict

from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.principal import Principal
from memoryhub.memories import pagination
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.pagination import Page
from tests.factories import make_memory

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


def get_page(principal: Principal, cursor: str | None = None) -> Page:
    parameters = {"limit": "1", **({"cursor": cursor} if cursor else {})}
    return pagination.list_page(
        MemoryFilterSet(QueryDict(), clearance=principal.clearance), principal=principal, params=parameters
    )


@pytest.mark.parametrize(
    "changed_fields",
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
def test_a_cursor_ends_with_the_clearance_that_it_was_made_under(changed_fields: dict[str, Any]):
    for _ in range(3):
        make_memory(labels=["eu"])
    cursor = get_page(READER).next_cursor
    other_principal = replace(READER, clearance=replace(READER.clearance, **changed_fields))

    assert get_page(READER, cursor).records
    with pytest.raises(InvalidQueryError, match="cursor"):
        get_page(other_principal, cursor)
