"""A label in any of its spellings: blocked, required, sought, added and removed."""

from typing import Any
from urllib.parse import urlencode

import pytest
from django.http import QueryDict

from memoryhub.firewall.clearance import Clearance, normalize_label
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from tests.api.responses import assert_problem
from tests.core.label_evasions import EVASIONS, LABEL
from tests.factories import make_key, make_memory
from tests.harness.strategies import SOAK

pytestmark = pytest.mark.django_db

URL = "/api/memories"
SPELLINGS = [evade(LABEL) for evade in EVASIONS.values()]
# What costs a request for each.
SENT_SPELLINGS = SPELLINGS if SOAK else SPELLINGS[::6]


@pytest.fixture
def reader(api: Any) -> Any:
    return lambda **clearance: api(make_key(clearance=clearance))


def list_payload_ids(client: Any, **query: Any) -> list[str]:
    return [record["payload_id"] for record in client.get(URL, **query).json()["records"]]


def visible_payload_ids(**rule: Any) -> list[str]:
    return list(Memory.objects.visible_to(Clearance(**rule)).values_list("payload_id", flat=True))


def test_a_blocked_label_is_not_evaded(reader):
    memories = [make_memory(labels=[spelling]) for spelling in SPELLINGS]
    client = reader(blocked_labels=[LABEL])

    assert list_payload_ids(client) == []
    assert {client.get(f"{URL}/{memory.memory_id}").status_code for memory in memories} == {404}
    assert client.get("/api/facets").json()["total"] == 0
    assert [spelling for spelling in SPELLINGS if visible_payload_ids(blocked_labels=frozenset({spelling}))] == []


def test_a_required_label_is_found(reader):
    ids = sorted(make_memory(labels=[spelling]).payload_id for spelling in SPELLINGS)
    make_memory(labels=["another"])

    assert sorted(list_payload_ids(reader(required_labels=[LABEL]), limit=100)) == ids
    for spelling in SPELLINGS:
        assert sorted(visible_payload_ids(required_labels=frozenset({spelling}))) == ids, ascii(spelling)


def test_a_filter_finds_it_and_facets_count_it_once(reader):
    ids = sorted(make_memory(labels=[LABEL, spelling]).payload_id for spelling in SPELLINGS)
    make_memory(labels=["another"])
    client = reader()

    for spelling in (LABEL, *SPELLINGS):
        filters = MemoryFilterSet(QueryDict(urlencode({"label": spelling})), clearance=Clearance())
        assert sorted(filters.results.values_list("payload_id", flat=True)) == ids, ascii(spelling)
    for spelling in (LABEL, *SENT_SPELLINGS):
        assert sorted(list_payload_ids(client, label=spelling, limit=100)) == ids, ascii(spelling)
    label_counts = client.get("/api/facets").json()["facets"]["label"]
    assert label_counts == [{"value": LABEL, "count": len(ids)}, {"value": "another", "count": 1}]


def test_it_is_added_once_and_removed_by_any_name(api):
    steward = api(make_key(scopes="read curate declassify", clearance={"max_tier": "restricted"}))
    for spelling in SENT_SPELLINGS:
        url = f"{URL}/{make_memory(labels=[spelling]).memory_id}/classify"

        added_labels = steward.post(url, {"add_labels": [LABEL], "version": 1}).json()
        removed_labels = steward.post(url, {"remove_labels": [LABEL], "version": 1, "reason": "Not so."}).json()

        assert (added_labels["version"], added_labels["sensitivity_labels"]) == (1, [spelling])
        assert (removed_labels["version"], removed_labels["sensitivity_labels"]) == (2, [])


def test_it_is_removed_from_many_memories_by_any_name(api):
    steward = api(make_key(scopes="read curate declassify", clearance={"max_tier": "restricted"}))
    for spelling in SPELLINGS:
        make_memory(labels=[spelling])
    change = {"filter": {}, "remove_labels": [LABEL]}

    dry_run = steward.post(f"{URL}/classify", change | {"dry_run": True}).json()
    confirmation = {"confirmation_token": dry_run["confirmation_token"], "reason": "Not so."}
    steward.post(f"{URL}/classify", change | confirmation)

    current_labels = Memory.objects.current().values_list("sensitivity_labels", flat=True)
    assert list(current_labels) == [[]] * len(SPELLINGS)


def test_a_writer_keeps_it_by_any_name_and_does_not_drop_it(api):
    writer = api(make_key(scopes="write"))
    bodies = [{"payload_id": make_memory(labels=[spelling]).payload_id, "content": "After."} for spelling in SPELLINGS]

    updated, without_labels = (
        writer.post(f"{URL}?on_conflict=update", [body | {"sensitivity_labels": labels} for body in bodies]).json()
        for labels in ([LABEL], [])
    )

    assert [result["outcome"] for result in updated["results"]] == ["updated"] * len(SPELLINGS)
    assert [result["code"] for result in without_labels["results"]] == ["declassification"] * len(SPELLINGS)
    single = writer.post(f"{URL}?on_conflict=update", bodies[0] | {"sensitivity_labels": []})
    assert_problem(single, 403, "declassification")


def test_a_label_that_cannot_be_seen_is_refused(api):
    client = api(make_key(scopes="write read curate"))
    labels = [" ", "\u200b", "\u00ad\u2060", "\u3164", "\u2800", "\U000e0041", "\x01"]
    bodies = [{"payload_id": "p", "content": "Paris.", "sensitivity_labels": ["eu", label]} for label in labels]
    sentence = ["must contain a visible character."]

    assert assert_problem(client.post(URL, bodies[0]), 400, "invalid_value")["errors"] == {
        "sensitivity_labels.1": sentence
    }
    for label, result in zip(labels, client.post(URL, bodies).json()["results"], strict=True):
        assert (result["outcome"], result["errors"]) == ("rejected", {"sensitivity_labels.1": sentence}), ascii(label)
    assert not Memory.objects.exists()

    memory = make_memory()
    response = client.post(f"{URL}/{memory.memory_id}/classify", {"add_labels": labels, "version": 1})
    assert assert_problem(response, 400, "invalid_value")["errors"] == {
        f"add_labels.{index}": sentence for index in range(len(labels))
    }


@pytest.mark.parametrize("letter", ["\ufdfa", "\u33c2", "\U0001d161", "\u4e2d", "\U0001f600"])
def test_the_longest_label_is_stored_and_hidden_from_whom_it_is_blocked(reader, letter):
    """Compared, one character may stand for eighteen; the column holds 765 and an index entry 2,704 bytes."""
    label = letter * 255
    memory = make_memory(labels=[label])

    assert memory.normalized_labels == [normalize_label(label)]
    assert list_payload_ids(reader(), label=label) == [memory.payload_id]
    assert list_payload_ids(reader(blocked_labels=[label])) == []


class TestWarnings:
    MIXED_SCRIPT_LABEL = "p\u0430ssword"
    WARNING_TEXT = "mixes Cyrillic and Latin letters: policies compare it letter by letter, not by its looks."

    def test_warn_the_writer_of_letters_that_imitate_others(self, api):
        writer = api(make_key(scopes="write"))
        body = {"payload_id": "p", "content": "Paris.", "sensitivity_labels": ["eu", self.MIXED_SCRIPT_LABEL]}

        first, repeated = writer.post(URL, body), writer.post(URL, body)
        (result,) = writer.post(URL, [body]).json()["results"]

        assert (first.status_code, repeated.status_code) == (201, 200)
        for response in (first.json(), repeated.json(), result):
            assert response["warnings"] == {"sensitivity_labels.1": [self.WARNING_TEXT]}
        assert Memory.objects.get().sensitivity_labels == ["eu", self.MIXED_SCRIPT_LABEL]

    def test_are_not_there_where_there_is_nothing_to_say(self, api):
        writer = api(make_key(scopes="write"))
        bodies = [
            {
                "payload_id": "p",
                "content": "Paris.",
                "sensitivity_labels": ["eu", "\u0434\u0430\u043d\u043d\u044b\u0435"],
            },
            {"payload_id": "q", "content": "Paris.", "sensitivity_labels": [self.MIXED_SCRIPT_LABEL], "kind": "none"},
        ]

        assert "warnings" not in writer.post(URL, bodies[0]).json()
        assert not any("warnings" in result for result in writer.post(URL, bodies).json()["results"])

    def test_are_the_same_whatever_is_stored(self, api):
        """A twin that the writer may not see must not show in the writer's warnings."""
        make_memory(labels=["password"], tier="restricted", source="other")
        writer = api(make_key(scopes="write"))

        responses = [
            writer.post(URL, {"payload_id": label, "content": "Paris.", "sensitivity_labels": [label]}).json()
            for label in ("password", self.MIXED_SCRIPT_LABEL)
        ]

        assert [response.get("warnings") for response in responses] == [
            None,
            {"sensitivity_labels.0": [self.WARNING_TEXT]},
        ]

    def test_warn_a_steward_who_adds_such_a_label(self, api):
        steward = api(make_key(scopes="read curate", clearance={"max_tier": "restricted"}))
        memory = make_memory()
        warnings = {"add_labels.0": [self.WARNING_TEXT]}
        change = {"add_labels": [self.MIXED_SCRIPT_LABEL], "filter": {}}

        dry_run = steward.post(f"{URL}/classify", change | {"dry_run": True}).json()
        assert dry_run["warnings"] == warnings
        assert (
            steward.post(f"{URL}/classify", change | {"confirmation_token": dry_run["confirmation_token"]}).json()[
                "warnings"
            ]
            == warnings
        )
        url = f"{URL}/{memory.memory_id}/classify"
        assert (
            steward.post(url, {"add_labels": [self.MIXED_SCRIPT_LABEL, "eu"], "version": 2}).json()["warnings"]
            == warnings
        )
        assert "warnings" not in steward.post(url, {"add_labels": ["hr"], "version": 3}).json()
