"""Conflicts over HTTP: what older clients read, what speaks for a class, and nothing of what is hidden."""

from typing import Any

import pytest

from memoryhub.access_log import read_log
from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts.groups.group_keys import encode_id
from tests.api.responses import assert_problem
from tests.factories import make_key, make_memory

pytestmark = pytest.mark.django_db

CONFLICTS = "/api/conflicts"
CITIES = ("Paris", "Berlin")


def test_a_group_carries_the_names_that_older_clients_read(reader):
    paris = make_memory(subject="user:bob", collection="facts", content="Bob has a dog.", source="crm")
    berlin = make_memory(subject="user:bob", collection="facts", content="Bob does not have a dog.", source="mail")

    response = reader.get(CONFLICTS).json()

    (group,) = response["conflicts"]
    assert (response["has_more"], response["next_cursor"]) == (False, None)
    assert {name: group[name] for name in ("subject", "entity", "entity_key", "group_size", "count", "status")} == {
        "subject": "user:bob", "entity": "facts", "entity_key": "facts", "group_size": 2, "count": 2, "status": "open",
    }  # fmt: skip
    assert group["class"] == "contradiction"
    assert group["sources"] == ["crm", "mail"]
    assert set(group["conflicting_values"]) == {"Bob has a dog.", "Bob does not have a dog."}
    assert {member["memory_id"] for member in group["memories"]} == {str(paris.memory_id), str(berlin.memory_id)}
    for member in group["memories"]:
        assert {"source", "actor_type", "ts", "content", "payload_id"} <= member.keys()


def test_one_group_says_what_speaks_for_its_class(reader):
    for content in ("Bob has a dog.", "Bob does not have a dog."):
        make_memory(subject="user:bob", collection="facts", content=content)
    (summary,) = reader.get(CONFLICTS).json()["conflicts"]

    detail = reader.get(f"{CONFLICTS}/{summary['id']}").json()

    pairs = detail.pop("pairs")
    assert (detail.pop("decisions"), detail.pop("claim")) == ([], None)
    assert detail == summary
    assert [(pair["values"], pair["class"]) for pair in pairs] == [([0, 1], "contradiction")]
    assert {"negation", "bias"} <= {feature["name"] for feature in pairs[0]["features"]}


def test_a_group_says_that_it_has_more_values_than_it_lists(reader):
    for index in range(21):
        make_memory(subject="user:ada", collection="city", content=f"City {index}")
        make_memory(subject="user:bob", collection="city", content=f"City {index % 2}")
    make_memory(subject="user:eve", collection="city", content="Paris")
    make_memory(subject="user:eve", collection="city", content="London")

    summaries = reader.get(CONFLICTS).json()["conflicts"]
    flags = {group["subject"]: (group["has_more_values"], group["has_more_memories"]) for group in summaries}
    detail = reader.get(f"{CONFLICTS}/{summaries[0]['id']}").json()

    assert flags == {"user:ada": (True, True), "user:bob": (False, True), "user:eve": (False, False)}
    assert (len(detail["values"]), detail["has_more_values"], detail["has_more_memories"]) == (21, False, False)


def test_a_group_without_a_subject_is_found_by_its_id(reader):
    for city in CITIES:
        make_memory(subject="", collection="city", content=city)
    (summary,) = reader.get(CONFLICTS, include_keyless="true").json()["conflicts"]

    assert reader.get(CONFLICTS).json()["conflicts"] == []
    assert reader.get(f"{CONFLICTS}/{summary['id']}").json()["subject"] == ""
    assert reader.get(f"{CONFLICTS}/{encode_id('user:ada', 'city')}").status_code == 404


def test_pages_go_on_where_the_one_before_ended(reader):
    for index in range(5):
        for content in ("Paris", "Berlin"):
            make_memory(subject=f"user:{index}", collection="city", content=content)

    subjects: list[str] = []
    page: dict[str, Any] = {"next_cursor": ""}
    while page["next_cursor"] is not None:
        page = reader.get(CONFLICTS, limit=2, cursor=page["next_cursor"]).json()
        subjects += [group["subject"] for group in page["conflicts"]]

    assert subjects == [f"user:{index}" for index in range(5)]


class TestStatus:
    def test_of_a_decided_group_is_shown_with_the_decision_and_what_it_retired(self, steward):
        paris, berlin = (
            make_memory(subject="user:ada", collection="city", content=city) for city in ("Paris", "Berlin")
        )
        (summary,) = steward.get(CONFLICTS).json()["conflicts"]
        choice = {"outcome": "keep_one", "keep": [str(paris.memory_id)], "reason": "Seen."}

        decision = steward.post(
            f"{CONFLICTS}/{summary['id']}/decisions", {**choice, "evidence": summary["evidence"]}
        ).json()

        assert steward.get(CONFLICTS).json()["conflicts"] == []
        for status in ("decided", "all"):
            (group,) = steward.get(CONFLICTS, status=status).json()["conflicts"]
            assert (group["status"], group["reopened"], group["decision"]) == ("decided", False, decision)
            statuses = {member["memory_id"]: member["status"] for member in group["memories"]}
            assert statuses == {str(paris.memory_id): "active", str(berlin.memory_id): "retired"}
        detail = steward.get(f"{CONFLICTS}/{summary['id']}").json()
        assert (detail["status"], detail["decisions"]) == ("decided", [decision])

    def test_is_open_again_once_a_value_joins_and_says_so(self, steward):
        for city in CITIES:
            make_memory(subject="user:ada", collection="city", content=city)
        url = f"{CONFLICTS}/{steward.get(CONFLICTS).json()['conflicts'][0]['id']}"
        choice = {"outcome": "not_a_conflict", "reason": "Both."}
        created_decision = steward.post(
            f"{url}/decisions", choice, headers={"If-Match": steward.get(url)["ETag"]}
        ).json()
        make_memory(subject="user:ada", collection="city", content="Rome")

        (group,) = steward.get(CONFLICTS).json()["conflicts"]

        assert (group["status"], group["reopened"], group["decision"]) == ("open", True, created_decision)
        undo = steward.post(f"/api/decisions/{created_decision['id']}/undo", {"reason": "No."}).json()
        detail = steward.get(url).json()
        assert (detail["reopened"], detail["decision"]) == (False, None)
        assert [decision["id"] for decision in detail["decisions"]] == [undo["id"], created_decision["id"]]

    def test_of_an_earlier_instant_knows_nothing_of_later_decisions(self, steward):
        for city in CITIES:
            make_memory(subject="user:ada", collection="city", content=city)
        url = f"{CONFLICTS}/{steward.get(CONFLICTS).json()['conflicts'][0]['id']}"
        before = steward.get(url).json()
        instant = max(member["recorded_at"] for member in before["memories"])
        choice = {"outcome": "not_a_conflict", "reason": "Both."}
        steward.post(f"{url}/decisions", {**choice, "evidence": before["evidence"]})

        assert steward.get(url, known_at=instant).json() == before
        assert len(steward.get(CONFLICTS, known_at=instant).json()["conflicts"]) == 1

    def test_changes_the_etag_whatever_of_it_changes(self, steward):
        paris, _ = (make_memory(subject="user:ada", collection="city", content=city) for city in CITIES)
        url = f"{CONFLICTS}/{steward.get(CONFLICTS).json()['conflicts'][0]['id']}"
        tags: list[str] = []

        def has_new_etag() -> bool:
            response = steward.get(url)
            tags.append(response["ETag"])
            assert steward.client.head(url)["ETag"] == response["ETag"]
            not_modified = steward.client.get(url, headers={"If-None-Match": ", ".join(tags)})
            assert (not_modified.status_code, not_modified["ETag"]) == (304, response["ETag"])
            return len(set(tags)) == len(tags)

        assert has_new_etag()
        steward.post(f"{url}/claim", {})
        assert has_new_etag()
        choice = {"outcome": "not_a_conflict", "reason": "Both.", "evidence": tags[0].strip('"').partition(".")[0]}
        decision = steward.post(f"{url}/decisions", choice).json()
        assert has_new_etag()
        steward.post(f"/api/decisions/{decision['id']}/undo", {"reason": "No."})
        assert has_new_etag()
        make_memory(payload_id=paris.payload_id, subject="user:ada", collection="city", content="Rome")
        assert has_new_etag()


class TestHiddenMemories:
    def test_makes_no_conflict(self, reader, outsider):
        make_memory(subject="user:ada", collection="city", content="Paris")
        make_memory(subject="user:ada", collection="city", content="Berlin", tier="restricted")
        (group,) = reader.get(CONFLICTS).json()["conflicts"]

        assert outsider.get(CONFLICTS).json() == {"conflicts": [], "next_cursor": None, "has_more": False}
        hidden = outsider.get(f"{CONFLICTS}/{group['id']}")
        assert_problem(hidden, 404, "not_found")
        assert_problem(outsider.get(f"{CONFLICTS}/cf_none"), 404, "not_found")

    def test_is_no_member(self, reader, outsider):
        for content in ("Paris", "Berlin"):
            make_memory(subject="user:ada", collection="city", content=content)
        make_memory(subject="user:ada", collection="city", content="Hidden canary", tier="restricted")

        response = outsider.get(CONFLICTS)

        assert response.json()["conflicts"][0]["count"] == 2
        assert b"canary" not in response.content
        assert reader.get(CONFLICTS).json()["conflicts"][0]["count"] == 3


def test_readers_of_a_conflict_are_in_the_audit_log(api):
    memories = [make_memory(subject="user:ada", collection="city", content=content) for content in ("Paris", "Berlin")]

    api(make_key()).get(CONFLICTS)
    read_log.flush_reads()

    entry = AuditEntry.objects.get(route="api:conflict-list")
    assert set(entry.memory_ids) == {memory.memory_id for memory in memories}


@pytest.mark.parametrize(
    "query", ["class=none", "status=x", "scope=x", "min_values=-1", "include_keyless=1", "q=paris", "from=now"]
)
def test_a_bad_question_is_named(reader, query):
    name, value = query.split("=")

    error = assert_problem(reader.get(CONFLICTS, **{name: value}), 400, "invalid_parameter")

    assert list(error["errors"]) == [name]
