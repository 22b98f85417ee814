"""Conflicts over HTTP: what older clients read, what speaks for a class, and nothing of what is hidden."""

from typing import Any

import pytest

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts.keys import id_of
from memoryhub.ops import reads
from tests.api.answers import problem
from tests.builders import make_key, make_memory

pytestmark = pytest.mark.django_db

CONFLICTS = "/api/conflicts"
CITIES = ("Paris", "Berlin")


def test_a_group_carries_the_names_that_older_clients_read(reader):
    paris = make_memory(subject="user:bob", collection="facts", content="Bob has a dog.", source="crm")
    berlin = make_memory(subject="user:bob", collection="facts", content="Bob does not have a dog.", source="mail")

    answer = reader.get(CONFLICTS).json()

    (group,) = answer["conflicts"]
    assert (answer["has_more"], answer["next_cursor"]) == (False, None)
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
    (listed,) = reader.get(CONFLICTS).json()["conflicts"]

    told = reader.get(f"{CONFLICTS}/{listed['id']}").json()

    pairs = told.pop("pairs")
    assert (told.pop("decisions"), told.pop("claim")) == ([], None)
    assert told == listed
    assert [(pair["values"], pair["class"]) for pair in pairs] == [([0, 1], "contradiction")]
    assert {"negation", "bias"} <= {feature["name"] for feature in pairs[0]["features"]}


def test_a_group_says_that_more_is_said_than_is_told(reader):
    for number in range(21):
        make_memory(subject="user:ada", collection="city", content=f"City {number}")
        make_memory(subject="user:bob", collection="city", content=f"City {number % 2}")
    make_memory(subject="user:eve", collection="city", content="Paris")
    make_memory(subject="user:eve", collection="city", content="London")

    listed = reader.get(CONFLICTS).json()["conflicts"]
    told = {group["subject"]: (group["has_more_values"], group["has_more_memories"]) for group in listed}
    alone = reader.get(f"{CONFLICTS}/{listed[0]['id']}").json()

    assert told == {"user:ada": (True, True), "user:bob": (False, True), "user:eve": (False, False)}
    assert (len(alone["values"]), alone["has_more_values"], alone["has_more_memories"]) == (21, False, False)


def test_a_group_without_a_subject_is_found_by_its_id(reader):
    for city in CITIES:
        make_memory(subject="", collection="city", content=city)
    (listed,) = reader.get(CONFLICTS, unkeyed="true").json()["conflicts"]

    assert reader.get(CONFLICTS).json()["conflicts"] == []
    assert reader.get(f"{CONFLICTS}/{listed['id']}").json()["subject"] == ""
    assert reader.get(f"{CONFLICTS}/{id_of('user:ada', 'city')}").status_code == 404


def test_pages_go_on_where_the_one_before_ended(reader):
    for number in range(5):
        for content in ("Paris", "Berlin"):
            make_memory(subject=f"user:{number}", collection="city", content=content)

    walked: list[str] = []
    page: dict[str, Any] = {"next_cursor": ""}
    while page["next_cursor"] is not None:
        page = reader.get(CONFLICTS, limit=2, cursor=page["next_cursor"]).json()
        walked += [group["subject"] for group in page["conflicts"]]

    assert walked == [f"user:{number}" for number in range(5)]


class TestStatus:
    @pytest.fixture
    def steward(self, api: Any) -> Any:
        return api(make_key(scopes="read inspect", clearance={"max_tier": "restricted"}))

    def test_of_a_group_that_was_decided_is_told_with_the_decision_and_what_it_retired(self, steward):
        paris, berlin = (
            make_memory(subject="user:ada", collection="city", content=city) for city in ("Paris", "Berlin")
        )
        (listed,) = steward.get(CONFLICTS).json()["conflicts"]
        choice = {"outcome": "keep_one", "keep": [str(paris.memory_id)], "reason": "Seen."}

        made = steward.post(f"{CONFLICTS}/{listed['id']}/decisions", {**choice, "evidence": listed["evidence"]}).json()

        assert steward.get(CONFLICTS).json()["conflicts"] == []
        for status in ("decided", "all"):
            (group,) = steward.get(CONFLICTS, status=status).json()["conflicts"]
            assert (group["status"], group["reopened"], group["decision"]) == ("decided", False, made)
            told = {member["memory_id"]: member["status"] for member in group["memories"]}
            assert told == {str(paris.memory_id): "active", str(berlin.memory_id): "retired"}
        detail = steward.get(f"{CONFLICTS}/{listed['id']}").json()
        assert (detail["status"], detail["decisions"]) == ("decided", [made])

    def test_is_open_again_once_a_value_joins_and_says_so(self, steward):
        for city in CITIES:
            make_memory(subject="user:ada", collection="city", content=city)
        place = f"{CONFLICTS}/{steward.get(CONFLICTS).json()['conflicts'][0]['id']}"
        choice = {"outcome": "not_a_conflict", "reason": "Both."}
        made = steward.post(f"{place}/decisions", choice, headers={"If-Match": steward.get(place)["ETag"]}).json()
        make_memory(subject="user:ada", collection="city", content="Rome")

        (group,) = steward.get(CONFLICTS).json()["conflicts"]

        assert (group["status"], group["reopened"], group["decision"]) == ("open", True, made)
        undo = steward.post(f"/api/decisions/{made['id']}/undo", {"reason": "No."}).json()
        detail = steward.get(place).json()
        assert (detail["reopened"], detail["decision"]) == (False, None)
        assert [decision["id"] for decision in detail["decisions"]] == [undo["id"], made["id"]]

    def test_of_an_earlier_instant_knows_nothing_of_later_decisions(self, steward):
        for city in CITIES:
            make_memory(subject="user:ada", collection="city", content=city)
        place = f"{CONFLICTS}/{steward.get(CONFLICTS).json()['conflicts'][0]['id']}"
        before = steward.get(place).json()
        instant = max(member["recorded_at"] for member in before["memories"])
        choice = {"outcome": "not_a_conflict", "reason": "Both."}
        steward.post(f"{place}/decisions", {**choice, "evidence": before["evidence"]})

        assert steward.get(place, known_at=instant).json() == before
        assert len(steward.get(CONFLICTS, known_at=instant).json()["conflicts"]) == 1

    def test_changes_the_etag_whatever_of_it_changes(self, steward):
        paris, _ = (make_memory(subject="user:ada", collection="city", content=city) for city in CITIES)
        place = f"{CONFLICTS}/{steward.get(CONFLICTS).json()['conflicts'][0]['id']}"
        tags: list[str] = []

        def is_new() -> bool:
            found = steward.get(place)
            tags.append(found["ETag"])
            assert steward.client.head(place)["ETag"] == found["ETag"]
            again = steward.client.get(place, headers={"If-None-Match": ", ".join(tags)})
            assert (again.status_code, again["ETag"]) == (304, found["ETag"])
            return len(set(tags)) == len(tags)

        assert is_new()
        steward.post(f"{place}/claim", {})
        assert is_new()
        choice = {"outcome": "not_a_conflict", "reason": "Both.", "evidence": tags[0].strip('"').partition(".")[0]}
        made = steward.post(f"{place}/decisions", choice).json()
        assert is_new()
        steward.post(f"/api/decisions/{made['id']}/undo", {"reason": "No."})
        assert is_new()
        make_memory(payload_id=paris.payload_id, subject="user:ada", collection="city", content="Rome")
        assert is_new()


class TestWhatIsHidden:
    def test_makes_no_conflict(self, reader, outsider):
        make_memory(subject="user:ada", collection="city", content="Paris")
        make_memory(subject="user:ada", collection="city", content="Berlin", tier="restricted")
        (group,) = reader.get(CONFLICTS).json()["conflicts"]

        assert outsider.get(CONFLICTS).json() == {"conflicts": [], "next_cursor": None, "has_more": False}
        hidden = outsider.get(f"{CONFLICTS}/{group['id']}")
        problem(hidden, 404, "not_found")
        problem(outsider.get(f"{CONFLICTS}/cf_none"), 404, "not_found")

    def test_is_no_member(self, reader, outsider):
        for content in ("Paris", "Berlin"):
            make_memory(subject="user:ada", collection="city", content=content)
        make_memory(subject="user:ada", collection="city", content="Hidden canary", tier="restricted")

        answer = outsider.get(CONFLICTS)

        assert answer.json()["conflicts"][0]["count"] == 2
        assert b"canary" not in answer.content
        assert reader.get(CONFLICTS).json()["conflicts"][0]["count"] == 3


def test_who_was_told_of_a_conflict_stands_in_the_ledger(api):
    told = [make_memory(subject="user:ada", collection="city", content=content) for content in ("Paris", "Berlin")]

    api(make_key()).get(CONFLICTS)
    reads.flush()

    entry = AuditEntry.objects.get(route="api:conflicts")
    assert set(entry.memory_ids) == {memory.memory_id for memory in told}


@pytest.mark.parametrize(
    "query", ["class=none", "status=x", "scope=x", "min_values=-1", "unkeyed=1", "q=paris", "from=now"]
)
def test_a_bad_question_is_named(reader, query):
    name, value = query.split("=")

    told = problem(reader.get(CONFLICTS, **{name: value}), 400, "invalid_parameter")

    assert list(told["errors"]) == [name]
