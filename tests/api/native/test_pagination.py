"""The pages of GET /api/memories: how long they are, in which order, and the cursors that lead from one to the next."""

import base64
import random
import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memoryhub.firewall.models import ApiKey
from memoryhub.memories.writes import write
from memoryhub.memories.writes.identity import OnConflict
from tests.api.responses import assert_problem, comparable_response, payload_ids
from tests.factories import WRITER, envelope, make_key, make_memory, utc

pytestmark = pytest.mark.django_db

LIST = "/api/memories"


def make_many(count: int, **fields: Any) -> None:
    for start in range(0, count, 500):
        batch = [envelope(**fields) for _ in range(min(500, count - start))]
        write.write_memories(batch, principal=WRITER, on_conflict=OnConflict.UPDATE)


class TestPages:
    @pytest.mark.parametrize(
        ("limit", "length"),
        [
            ("", 20),
            ("1", 1),
            ("7", 7),
            ("007", 7),
            ("200", 200),
            ("201", 200),
            ("1" + "0" * 20, 200),
            ("9" * 5_000, 200),
        ],
    )
    def test_have_the_length_that_was_asked_for_up_to_200(self, reader, limit, length):
        make_many(201)

        response = reader.get(LIST, **({"limit": limit} if limit else {}))
        body = response.json()

        assert (len(body["records"]), body["has_more"]) == (length, True)
        is_clipped = len(limit) > 3 or limit == "201"
        assert response.headers.get("Memoryhub-Clipped") == ("limit" if is_clipped else None)

    @pytest.mark.parametrize("limit", ["0", "-1", "abc", "1.5", "+5", " 5", "5 ", "0x10", "٣", "1e2", "%00", "null"])
    def test_of_no_length_are_refused(self, reader, limit):
        assert list(assert_problem(reader.get(LIST, limit=limit), 400, "invalid_parameter")["errors"]) == ["limit"]

    @pytest.mark.parametrize("parameter", ["limit=1&limit=1", "cursor=a&cursor=b"])
    def test_are_asked_for_once(self, reader, parameter):
        error = assert_problem(reader.client.get(f"{LIST}?{parameter}"), 400, "invalid_parameter")

        assert list(error["errors"]) == [parameter.partition("=")[0]]

    def test_are_newest_first_and_the_memory_id_breaks_ties(self, reader):
        for hour in (12, 14, 12, 13, 12, 14):
            make_memory(timestamp=utc(f"2026-03-01 {hour}:00"))

        records = reader.get(LIST).json()["records"]

        keys = [(record["timestamp"], uuid.UUID(record["memory_id"]).bytes) for record in records]
        assert keys == sorted(keys, reverse=True)
        assert len(keys) == 6

    @pytest.mark.parametrize("limit", [1, 3, 10, 200])
    def test_show_each_row_once_even_with_equal_instants(self, reader, limit):
        instants = [utc("2026-03-01 12:00"), utc("2026-03-01 12:00").replace(microsecond=1), utc("0001-01-01 00:00")]
        rows = [envelope(timestamp=random.Random(n).choice(instants)) for n in range(30)]
        write.write_memories(rows, principal=WRITER)

        payload_ids_seen, cursor, pages = [], None, 0
        while True:
            page = reader.get(LIST, limit=limit, **({"cursor": cursor} if cursor else {})).json()
            payload_ids_seen += page["records"]
            pages += 1
            assert page["has_more"] == (page["next_cursor"] is not None)
            if not (cursor := page["next_cursor"]):
                break

        assert payload_ids_seen == reader.get(LIST, limit=200).json()["records"]
        assert len({record["memory_id"] for record in payload_ids_seen}) == 30
        assert pages == -(-30 // limit)

    def test_do_not_move_when_a_newer_memory_comes_between(self, reader):
        for hour in range(10):
            make_memory(timestamp=utc(f"2026-03-01 {hour:02}:00"))
        first = reader.get(LIST, limit=5).json()
        make_memory(timestamp=utc("2026-03-02 00:00"))

        second = reader.get(LIST, limit=5, cursor=first["next_cursor"]).json()

        assert [row["timestamp"][11:13] for row in second["records"]] == ["04", "03", "02", "01", "00"]

    @pytest.mark.parametrize("query", ["", "q=fact", "subject=user:ada", "label=pii", "tier=public"])
    def test_of_20_and_of_200_rows_cost_the_same_number_of_queries(self, reader, query):
        make_many(201, subject="user:ada", labels=["pii"], metadata={"a": 1})

        numbers = []
        for limit in (20, 200):
            with CaptureQueriesContext(connection) as queries:
                assert len(payload_ids(reader.client.get(f"{LIST}?{query}&limit={limit}"))) == limit
            numbers.append(len(queries))

        # The key, the wall, the rows; a text or a label that is sought costs a look at how rare it is. Within a test's
        # transaction the wall is a savepoint, what held there before, telling, telling that again, and its release.
        assert numbers == ([8, 8] if query.startswith(("q=", "label=")) else [7, 7])


class TestCursors:
    def test_that_are_not_of_this_list_are_all_refused_alike(self, api, reader):
        make_many(5)
        own_cursor = reader.get(LIST, limit=1).json()["next_cursor"]
        payload, _, signature = own_cursor.rpartition(".")
        other_client = api(make_key(clearance={"max_tier": "restricted"}))
        cursors = {
            "random": base64.urlsafe_b64encode(random.Random(1).randbytes(24)).decode(),
            "random, with a signature": payload
            + "."
            + base64.urlsafe_b64encode(random.Random(2).randbytes(32)).decode(),
            "another key's": other_client.get(LIST, limit=1).json()["next_cursor"],
            "another filter's": reader.get(LIST, limit=1, source="test").json()["next_cursor"],
            "truncated": own_cursor[:-1],
            "only the signature": signature,
            "only the key": payload,
            "changed": ("A" if own_cursor[0] != "A" else "B") + own_cursor[1:],
            "8 KB": "A" * 8_192,
            "8 KB, signed by nobody": own_cursor + "A" * 8_192,
            "NUL": "\x00",
            "NUL inside": own_cursor[:5] + "\x00" + own_cursor[5:],
            "not ASCII": "é" + own_cursor,
            "white space": " ",
            "padded": own_cursor + "==",
        }

        answers = {
            name: comparable_response(reader.get(LIST, limit=1, cursor=cursor)) for name, cursor in cursors.items()
        }

        assert {status for status, *_ in answers.values()} == {400}
        assert {name: response for name, response in answers.items() if response != answers["random"]} == {}
        assert b'"invalid_cursor"' in answers["random"][2]
        assert reader.get(LIST, limit=1, cursor=own_cursor).status_code == 200

    def test_end_when_the_clearance_of_the_key_is_lowered(self, reader):
        make_many(5)
        cursor = reader.get(LIST, limit=1).json()["next_cursor"]
        clearance_profile = ApiKey.objects.get().clearance
        assert clearance_profile is not None
        clearance_profile.max_tier = "internal"
        clearance_profile.save()

        assert_problem(reader.get(LIST, limit=1, cursor=cursor), 400, "invalid_cursor")

    def test_say_nothing_of_hidden_rows(self, outsider):
        make_many(5, timestamp=utc("2026-03-01 12:00"))
        page_without = outsider.get(LIST, limit=2)
        make_many(20, timestamp=utc("2026-03-01 12:00"), tier="internal")

        assert comparable_response(outsider.get(LIST, limit=2)) == comparable_response(page_without)
