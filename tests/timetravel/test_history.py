"""The history of a subject: every version, in order, page by page, for those who may see it then and now."""

import base64
import struct
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.http import QueryDict
from django.utils import timezone

from memoryhub.firewall.cursors import signer_of
from memoryhub.firewall.types import Principal
from memoryhub.memories import pages
from memoryhub.memories.filters import BadQuery, MemoryFilterSet
from memoryhub.memories.models import Memory
from tests.api.answers import problem
from tests.builders import at, make_key, make_memory
from tests.memories.rows import execute

pytestmark = pytest.mark.django_db

ADA = "user:ada"
NOON = at("2026-03-01 12:00")


@pytest.fixture
def reader(api: Callable[..., Any]) -> Any:
    return api(make_key(clearance={"max_tier": "restricted"}))


@pytest.fixture
def low(api: Callable[..., Any]) -> Any:
    of_some = {"every_namespace": False, "namespaces": ["", "team"]}
    return api(make_key(clearance={"max_tier": "internal", "blocked_labels": ["pii"], **of_some}))


def said(payload_id: str, content: str, **fields: Any) -> Memory:
    about: dict[str, Any] = {"subject": ADA, "timestamp": NOON} | fields
    return make_memory(payload_id=payload_id, content=content, **about)


def erase(payload_id: str) -> None:
    execute("UPDATE memories SET status = 'erased', content = '', fingerprint = '' WHERE payload_id = %s", payload_id)


def asked(caller: Any, **parameters: Any) -> Any:
    told = {name: value if isinstance(value, str) else value.isoformat() for name, value in parameters.items()}
    return caller.get("/api/timetravel", **({"view": "history", "subject": ADA} | told))


def history(caller: Any, **parameters: Any) -> list[str]:
    answer = asked(caller, **parameters)
    assert answer.status_code == 200, answer.content
    return [record["content"] for record in answer.json()["records"]]


def paged(caller: Any, **parameters: str) -> list[tuple[str, str, int]]:
    """Timestamp, memory and version of what stands on all pages."""
    found: list[tuple[str, str, int]] = []
    cursor = ""
    while True:
        page = asked(caller, cursor=cursor, **parameters).json()
        found += [(record["timestamp"], record["memory_id"], record["version"]) for record in page["records"]]
        if not page["has_more"]:
            return found
        cursor = page["next_cursor"]


class TestVersions:
    def test_are_all_there_whatever_became_of_them_the_latest_event_first(self, reader):
        said("city", "Paris.", timestamp=at("2026-03-01 12:00"))
        said("city", "London.", timestamp=at("2026-03-03 12:00"))
        said("team", "Red.", timestamp=at("2026-03-02 12:00"))
        said("other", "Not of her.", subject="user:bob")
        erase("team")

        assert history(reader) == ["London.", "", "Paris."]
        assert history(reader, status="active") == ["London.", "Paris."]
        assert asked(reader).json()["erased"] == 1

    def test_are_those_known_then_of_events_up_to_then(self, reader):
        first = said("city", "Paris.", timestamp=at("2026-03-01 12:00"))
        second = said("city", "London.", timestamp=at("2026-03-03 12:00"))

        assert history(reader, known_at=first.recorded_at) == ["Paris."]
        assert history(reader, known_at=second.recorded_at) == ["London.", "Paris."]
        assert history(reader, as_of=at("2026-03-01 12:00")) == ["Paris."]
        assert history(reader, as_of=at("2026-03-01 11:59")) == []
        assert history(reader, as_of=at("2026-03-03 12:00"), known_at=first.recorded_at) == ["Paris."]

    def test_are_those_that_the_filters_find(self, reader):
        said("a", "Paris, France.", collection="city", labels=["eu"])
        said("a", "Paris, Texas.", collection="city", tier="internal")
        said("b", "Red.", collection="team")

        assert history(reader, collection="city") == ["Paris, Texas.", "Paris, France."]
        assert history(reader, q="PARIS", label="EU") == ["Paris, France."]
        assert history(reader, q="texas") == ["Paris, Texas."]
        assert history(reader, tier="internal") == ["Paris, Texas."]
        assert history(reader, to="2026-03-01T12:00:00Z") == []

    def test_of_what_has_expired_are_there_and_say_so(self, reader):
        said("city", "Paris.", expires_at=timezone.now() - timedelta(seconds=1))
        said("town", "Berlin.", expires_at=NOON + timedelta(days=1))

        def statuses(**parameters: Any) -> dict[str, str]:
            return {record["content"]: record["status"] for record in asked(reader, **parameters).json()["records"]}

        assert statuses() == statuses(status="expired") == {"Paris.": "expired", "Berlin.": "expired"}
        assert (
            statuses(as_of=NOON) == statuses(as_of=NOON, status="active") == {"Paris.": "active", "Berlin.": "active"}
        )
        assert statuses(as_of=NOON + timedelta(days=1)) == {"Paris.": "active", "Berlin.": "expired"}


class TestPages:
    @pytest.mark.parametrize("limit", ["1", "2", "3", "7"])
    def test_show_each_version_once_though_many_share_an_instant(self, reader, limit):
        for version in range(4):
            for memory in range(3):
                said(f"p{memory}", f"{memory}.{version}", tier=["public", "internal", "restricted"][memory])
        said("p0", "later", timestamp=at("2026-03-01 13:00"))

        whole = paged(reader, limit="200")

        assert len(whole) == 13
        assert whole == sorted(whole, reverse=True)
        assert paged(reader, limit=limit) == whole

    def test_stay_what_they_were_when_the_first_was_asked_for(self, reader):
        for version in range(4):
            said("p", str(version))
        first = asked(reader, limit="2").json()
        said("p", "4")
        said("q", "new")

        then = asked(reader, limit="2", cursor=first["next_cursor"]).json()

        assert [record["content"] for record in first["records"] + then["records"]] == ["3", "2", "1", "0"]
        assert then["known_at"] == first["known_at"]
        assert not then["has_more"]

    def test_end_with_the_reader_and_the_question(self, reader, low):
        for version in range(3):
            said("p", str(version), collection="city")
        first = asked(reader, as_of=NOON, limit="1").json()
        cursor = first["next_cursor"]

        assert asked(reader, as_of=NOON, cursor=cursor).status_code == 200
        problem(asked(low, as_of=NOON, cursor=cursor), 400, "bad_cursor")
        for others in (
            {"collection": "city"},
            {"subject": "user:bob"},
            {"view": "list"},
            {"view": "state"},
            {"as_of": "2026-03-02"},
            {"known_at": first["known_at"]},
            {"cursor": cursor[:-1]},
            {"cursor": cursor.partition("~")[2]},
            {"cursor": "1~"},
        ):
            problem(asked(reader, **({"as_of": NOON, "cursor": cursor} | others)), 400, "bad_cursor")

    def test_do_not_go_on_from_a_cursor_of_another_shape(self):
        """Such as an earlier version of the hub has signed."""
        reader = Principal(name="key:reader")
        of_old = base64.urlsafe_b64encode(struct.pack(">q16s", 0, bytes(16))).decode()
        cursor = signer_of(reader, MemoryFilterSet.listed, []).sign(of_old)

        with pytest.raises(BadQuery, match="cursor"):
            pages.page(
                MemoryFilterSet(QueryDict(), clearance=reader.clearance), reader=reader, parameters={"cursor": cursor}
            )


class TestQuestions:
    def test_need_a_subject(self, reader):
        problem(reader.get("/api/timetravel?view=history"), 400, "missing_parameter")
        problem(reader.get("/api/timetravel?view=history&as_of=2026-03-01&subject="), 400, "missing_parameter")

    def test_need_no_instant(self, reader):
        said("p", "Known.")

        answer = asked(reader).json()

        assert (answer["as_of"], len(answer["records"])) == (None, 1)
        assert answer["known_at"]


class TestTheFirewall:
    HIDING = ({"tier": "restricted"}, {"labels": ["PII"]}, {"namespace": "board"})

    @pytest.mark.parametrize("hiding", HIDING, ids=str)
    def test_what_is_hidden_now_has_no_history(self, reader, low, hiding):
        """FW-13"""
        then = said("p", "Open then.")
        said("p", "Closed now.", **hiding)

        assert history(low) == history(low, known_at=then.recorded_at) == []
        assert len(history(reader)) == 2

    @pytest.mark.parametrize("hiding", HIDING, ids=str)
    def test_what_was_hidden_then_is_no_part_of_a_history(self, reader, low, hiding):
        """FW-14"""
        then = said("p", "Closed then.", **hiding)
        said("p", "Open now.", tier="public", labels=[], namespace="")

        assert history(low) == ["Open now."]
        assert history(low, known_at=then.recorded_at) == []
        assert history(reader, known_at=then.recorded_at) == ["Closed then."]

    def test_an_erased_memory_that_is_hidden_is_not_counted(self, reader, low):
        said("p", "Secret.", tier="restricted")
        erase("p")

        assert asked(low).json()["erased"] == 0
        assert asked(reader).json()["erased"] == 1
