"""The history of a subject: every version, in order, page by page, for readers who see both classifications."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.http import QueryDict
from django.utils import timezone

from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall.cursors import create_cursor_codec
from memoryhub.firewall.principal import Principal
from memoryhub.memories import pagination
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from tests.api.responses import assert_problem
from tests.factories import make_key, make_memory, utc
from tests.memories.raw_rows import execute

pytestmark = pytest.mark.django_db

ADA = "user:ada"
NOON = utc("2026-03-01 12:00")


@pytest.fixture
def reader(api: Callable[..., Any]) -> Any:
    return api(make_key(clearance={"max_tier": "restricted"}))


@pytest.fixture
def low(api: Callable[..., Any]) -> Any:
    limited_namespaces = {"all_namespaces": False, "namespaces": ["", "team"]}
    return api(make_key(clearance={"max_tier": "internal", "blocked_labels": ["pii"], **limited_namespaces}))


def make_version(payload_id: str, content: str, **fields: Any) -> Memory:
    subject_fields: dict[str, Any] = {"subject": ADA, "timestamp": NOON} | fields
    return make_memory(payload_id=payload_id, content=content, **subject_fields)


def erase_memory(payload_id: str) -> None:
    execute("UPDATE memories SET status = 'erased', content = '', fingerprint = '' WHERE payload_id = %s", payload_id)


def get_history(caller: Any, **params: Any) -> Any:
    params_text = {name: value if isinstance(value, str) else value.isoformat() for name, value in params.items()}
    return caller.get("/api/timetravel", **({"view": "history", "subject": ADA} | params_text))


def contents_in_history(caller: Any, **parameters: Any) -> list[str]:
    response = get_history(caller, **parameters)
    assert response.status_code == 200, response.content
    return [record["content"] for record in response.json()["records"]]


def walk_pages(caller: Any, **parameters: str) -> list[tuple[str, str, int]]:
    """Timestamp, memory and version of the versions on all pages."""
    rows_found: list[tuple[str, str, int]] = []
    cursor = ""
    while True:
        page = get_history(caller, cursor=cursor, **parameters).json()
        rows_found += [(record["timestamp"], record["memory_id"], record["version"]) for record in page["records"]]
        if not page["has_more"]:
            return rows_found
        cursor = page["next_cursor"]


class TestVersions:
    def test_are_all_there_whatever_became_of_them_the_latest_event_first(self, reader):
        make_version("city", "Paris.", timestamp=utc("2026-03-01 12:00"))
        make_version("city", "London.", timestamp=utc("2026-03-03 12:00"))
        make_version("team", "Red.", timestamp=utc("2026-03-02 12:00"))
        make_version("other", "Not of her.", subject="user:bob")
        erase_memory("team")

        assert contents_in_history(reader) == ["London.", "", "Paris."]
        assert contents_in_history(reader, status="active") == ["London.", "Paris."]
        assert get_history(reader).json()["erased_count"] == 1

    def test_are_those_known_then_of_events_up_to_then(self, reader):
        first = make_version("city", "Paris.", timestamp=utc("2026-03-01 12:00"))
        second = make_version("city", "London.", timestamp=utc("2026-03-03 12:00"))

        assert contents_in_history(reader, known_at=first.recorded_at) == ["Paris."]
        assert contents_in_history(reader, known_at=second.recorded_at) == ["London.", "Paris."]
        assert contents_in_history(reader, as_of=utc("2026-03-01 12:00")) == ["Paris."]
        assert contents_in_history(reader, as_of=utc("2026-03-01 11:59")) == []
        assert contents_in_history(reader, as_of=utc("2026-03-03 12:00"), known_at=first.recorded_at) == ["Paris."]

    def test_are_those_that_the_filters_find(self, reader):
        make_version("a", "Paris, France.", collection="city", labels=["eu"])
        make_version("a", "Paris, Texas.", collection="city", tier="internal")
        make_version("b", "Red.", collection="team")

        assert contents_in_history(reader, collection="city") == ["Paris, Texas.", "Paris, France."]
        assert contents_in_history(reader, q="PARIS", label="EU") == ["Paris, France."]
        assert contents_in_history(reader, q="texas") == ["Paris, Texas."]
        assert contents_in_history(reader, tier="internal") == ["Paris, Texas."]
        assert contents_in_history(reader, to="2026-03-01T12:00:00Z") == []

    def test_of_what_has_expired_are_there_and_say_so(self, reader):
        make_version("city", "Paris.", expires_at=timezone.now() - timedelta(seconds=1))
        make_version("town", "Berlin.", expires_at=NOON + timedelta(days=1))

        def statuses_by_content(**parameters: Any) -> dict[str, str]:
            return {
                record["content"]: record["status"] for record in get_history(reader, **parameters).json()["records"]
            }

        assert (
            statuses_by_content()
            == statuses_by_content(status="expired")
            == {"Paris.": "expired", "Berlin.": "expired"}
        )
        assert (
            statuses_by_content(as_of=NOON)
            == statuses_by_content(as_of=NOON, status="active")
            == {"Paris.": "active", "Berlin.": "active"}
        )
        assert statuses_by_content(as_of=NOON + timedelta(days=1)) == {"Paris.": "active", "Berlin.": "expired"}


class TestPages:
    @pytest.mark.parametrize("limit", ["1", "2", "3", "7"])
    def test_show_each_version_once_though_many_share_an_instant(self, reader, limit):
        for version in range(4):
            for memory in range(3):
                make_version(f"p{memory}", f"{memory}.{version}", tier=["public", "internal", "restricted"][memory])
        make_version("p0", "later", timestamp=utc("2026-03-01 13:00"))

        all_versions = walk_pages(reader, limit="200")

        assert len(all_versions) == 13
        assert all_versions == sorted(all_versions, reverse=True)
        assert walk_pages(reader, limit=limit) == all_versions

    def test_stay_what_they_were_when_the_first_was_asked_for(self, reader):
        for version in range(4):
            make_version("p", str(version))
        first = get_history(reader, limit="2").json()
        make_version("p", "4")
        make_version("q", "new")

        next_page = get_history(reader, limit="2", cursor=first["next_cursor"]).json()

        assert [record["content"] for record in first["records"] + next_page["records"]] == ["3", "2", "1", "0"]
        assert next_page["known_at"] == first["known_at"]
        assert not next_page["has_more"]

    def test_end_with_the_reader_and_the_question(self, reader, low):
        for version in range(3):
            make_version("p", str(version), collection="city")
        first = get_history(reader, as_of=NOON, limit="1").json()
        cursor = first["next_cursor"]

        assert get_history(reader, as_of=NOON, cursor=cursor).status_code == 200
        assert_problem(get_history(low, as_of=NOON, cursor=cursor), 400, "invalid_cursor")
        for other_params in (
            {"collection": "city"},
            {"subject": "user:bob"},
            {"view": "list"},
            {"view": "state"},
            {"as_of": "2026-03-02"},
            {"known_at": first["known_at"]},
            {"cursor": cursor[:-1]},
            {"cursor": chr(ord(cursor[0]) ^ 1) + cursor[1:]},
            {"cursor": get_history(reader, as_of=NOON, known_at=first["known_at"], limit="1").json()["next_cursor"]},
        ):
            assert_problem(
                get_history(reader, **({"as_of": NOON, "cursor": cursor} | other_params)), 400, "invalid_cursor"
            )

    def test_do_not_go_on_from_a_cursor_of_another_shape(self):
        """Such as an earlier version of the hub has signed."""
        reader = Principal(name="key:reader")
        cursor = create_cursor_codec(reader, MemoryFilterSet.cursor_kind, []).encode(NOON, UUID(int=0))

        with pytest.raises(InvalidQueryError, match="cursor"):
            pagination.list_page(
                MemoryFilterSet(QueryDict(), clearance=reader.clearance), principal=reader, params={"cursor": cursor}
            )


class TestQuestions:
    def test_need_a_subject(self, reader):
        assert_problem(reader.get("/api/timetravel?view=history"), 400, "missing_parameter")
        assert_problem(reader.get("/api/timetravel?view=history&as_of=2026-03-01&subject="), 400, "missing_parameter")

    def test_need_no_instant(self, reader):
        make_version("p", "Known.")

        response = get_history(reader).json()

        assert (response["as_of"], len(response["records"])) == (None, 1)
        assert response["known_at"]


class TestTheFirewall:
    HIDING_FIELDS = ({"tier": "restricted"}, {"labels": ["PII"]}, {"namespace": "board"})

    @pytest.mark.parametrize("hiding_fields", HIDING_FIELDS, ids=str)
    def test_what_is_hidden_now_has_no_history(self, reader, low, hiding_fields):
        """FW-13"""
        open_version = make_version("p", "Open then.")
        make_version("p", "Closed now.", **hiding_fields)

        assert contents_in_history(low) == contents_in_history(low, known_at=open_version.recorded_at) == []
        assert len(contents_in_history(reader)) == 2

    @pytest.mark.parametrize("hiding_fields", HIDING_FIELDS, ids=str)
    def test_what_was_hidden_then_is_no_part_of_a_history(self, reader, low, hiding_fields):
        """FW-14"""
        closed_version = make_version("p", "Closed then.", **hiding_fields)
        make_version("p", "Open now.", tier="public", labels=[], namespace="")

        assert contents_in_history(low) == ["Open now."]
        assert contents_in_history(low, known_at=closed_version.recorded_at) == []
        assert contents_in_history(reader, known_at=closed_version.recorded_at) == ["Closed then."]

    def test_an_erased_memory_that_is_hidden_is_not_counted(self, reader, low):
        make_version("p", "Secret.", tier="restricted")
        erase_memory("p")

        assert get_history(low).json()["erased_count"] == 0
        assert get_history(reader).json()["erased_count"] == 1
