"""A cursor carries a position unharmed, and is good for the binding that it was made with alone."""

import string
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.core.cursors import CursorCodec
from memoryhub.core.errors import InvalidQueryError

pytestmark = pytest.mark.unit

CODEC = CursorCodec(("key:reader", "memories"))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CURSOR = CODEC.encode(NOON, UUID(int=7), 3)


@given(
    st.datetimes(timezones=st.just(UTC)),
    st.uuids(),
    st.integers(-(2**63), 2**63 - 1),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_a_position_comes_back_to_the_microsecond(instant: datetime, memory_id: UUID, number: int, text: str) -> None:
    cursor = CODEC.encode(instant, memory_id, number, text)

    assert CODEC.decode(cursor, datetime, UUID, int, str) == (instant, memory_id, number, text)
    assert set(cursor) <= set(string.ascii_letters + string.digits + "-_=.")


@pytest.mark.parametrize("position", range(len(CURSOR)))
def test_a_cursor_with_an_altered_character_is_refused(position: int) -> None:
    altered_character = "A" if CURSOR[position] != "A" else "B"

    with pytest.raises(InvalidQueryError, match="cursor") as exc_info:
        CODEC.decode(CURSOR[:position] + altered_character + CURSOR[position + 1 :], datetime, UUID, int)
    assert exc_info.value.code == "invalid_cursor"


@pytest.mark.parametrize("binding", [("key:other", "memories"), ("key:reader", "history"), ("key:reader",), ()])
def test_a_cursor_of_another_caller_or_query_is_refused(binding: tuple[str, ...]) -> None:
    with pytest.raises(InvalidQueryError, match="cursor"):
        CursorCodec(binding).decode(CURSOR, datetime, UUID, int)


@pytest.mark.parametrize("value_types", [(), (datetime, UUID), (datetime, UUID, int, int), (UUID, UUID, int)])
def test_a_cursor_with_values_of_other_types_is_refused(value_types: tuple[type, ...]) -> None:
    """Such as an earlier version of the hub has signed."""
    with pytest.raises(InvalidQueryError, match="cursor"):
        CODEC.decode(CURSOR, *value_types)
