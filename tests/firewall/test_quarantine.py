"""What is in quarantine is there for those alone who judge memories: at every door as if it were not."""

from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client

from memoryhub.conflicts.models import Decision
from memoryhub.firewall import view_as
from memoryhub.firewall.models import ApiKey
from memoryhub.firewall.principals import principal_of
from memoryhub.firewall.types import Clearance, Principal, Scope, everything
from memoryhub.memories import clock, relabel
from memoryhub.memories.models import Memory
from memoryhub.ops import trail
from tests.builders import envelope, make_key, make_memory, make_user
from tests.conflicts.runs import ADMIN, carried_out, make_group, make_policy
from tests.inspector.pages import client_of, text

pytestmark = pytest.mark.django_db
STEWARD = Principal(name="user:steward", clearance=everything(), scopes=frozenset({Scope.INSPECT, Scope.READ}))
OF_ADA: dict[str, Any] = {"subject": "user:ada", "collection": "city"}


def quarantine(memory: Memory) -> None:
    relabel.carry_out(relabel.plan_one(memory.memory_id, relabel.Change(status="quarantined"), by=STEWARD))


def with_key(scopes: str) -> Client:
    key = make_key(scopes=scopes, clearance={"max_tier": "restricted"})
    return Client(headers={"Authorization": f"Bearer {key}"})


@pytest.fixture
def away() -> tuple[Memory, datetime]:
    """A memory in quarantine, and an instant at which it was in force."""
    memory = make_memory(**OF_ADA, content="Quarantined canary.", source="hidden-source")
    then = clock.now()
    clock.settle(then)
    make_memory(subject="user:ada", collection="job", content="Baker")
    quarantine(memory)
    return memory, then


PATHS = (
    "/api/memories?limit=50", "/api/memories?q=canary", "/api/memories?status=active&source=hidden-source",
    "/api/memories?known_at={then}", "/api/memories/{id}", "/api/memories/{id}?known_at={then}",
    "/api/memories/{id}/versions", "/api/memories/{id}/versions?known_at={then}", "/api/facets", "/api/facets?q=canary",
    "/api/facets?known_at={then}", "/api/histogram", "/api/timetravel?view=state&as_of={then}",
    "/api/timetravel?view=history&subject=user:ada&as_of={then}", "/api/diff?axis=known&since={then}",
    "/api/conflicts?status=all",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_nothing_of_it_is_in_any_answer_to_a_key_that_only_reads(away, path):
    memory, then = away
    path = path.format(id=memory.memory_id, then=then.isoformat().replace("+00:00", "Z"))

    answer = with_key("read").get(path)
    body = answer.content.decode()

    assert answer.status_code == (404 if str(memory.memory_id) in path else 200), body
    assert "canary" not in body
    assert "hidden-source" not in body
    assert "quarantined" not in body.replace('"quarantined":0', "")


@pytest.mark.parametrize(
    "path", ["/api/memories?status=quarantined", "/api/memories/{id}", "/api/memories/{id}/versions"]
)
@pytest.mark.parametrize("scopes", ["read inspect", "read admin"])
def test_who_judges_memories_sees_it(away, path, scopes):
    answer = with_key(scopes).get(path.format(id=away[0].memory_id))

    assert (answer.status_code, b"Quarantined canary." in answer.content) == (200, True)


def test_its_status_is_as_unknown_as_one_that_does_not_exist(away):
    reader = with_key("read")
    for path in ("/api/memories", "/api/facets", "/api/histogram"):
        known, unknown = (reader.get(f"{path}?status={status}").json() for status in ("quarantined", "nonsense"))
        assert {**known, "request_id": ""} == {**unknown, "request_id": ""}
        assert known["errors"] == {"status": ["must be one of active, retired, erased, expired."]}
    assert "quarantined" in with_key("read inspect").get("/api/memories?status=nonsense").json()["errors"]["status"][0]


@pytest.mark.parametrize("path", ["/", "/?q=canary", "/memories/{id}", "/subjects/user:ada", "/?status=nonsense"])
def test_no_page_shows_it_to_a_person_who_only_reads(away, path):
    memory, _ = away
    reader = client_of(make_user("reader", max_tier="restricted"))

    answer = reader.get(path.format(id=memory.memory_id))

    assert answer.status_code == {"/memories/{id}": 404, "/?status=nonsense": 400}.get(path, 200)
    assert "Quarantined canary" not in text(answer)
    assert "<option>quarantined" not in text(answer)


def test_the_audit_log_tells_those_alone_of_it_who_may_see_it(away):
    memory, _ = away
    auditor = Principal(name="user:auditor", clearance=everything(), scopes=frozenset({Scope.AUDIT}))

    assert trail.done_to(memory.memory_id, auditor) is None
    assert all(memory.memory_id not in entry.memory_ids for entry in trail.entries(auditor).entries)
    assert "memory.quarantine" not in {entry.action for entry in trail.entries(auditor).entries}
    assert "memory.quarantine" in {entry.action for entry in trail.entries(STEWARD).entries}


def test_a_decision_on_what_is_in_quarantine_by_now_is_hidden_from_who_may_not_see_it():
    group = make_group("user:ada", "Paris", "London")
    carried_out(make_policy())
    reader = Clearance(max_tier="restricted")
    assert Decision.objects.visible_to(reader).count() == 1

    quarantine(next(memory for memory in group if memory.content == "London"))

    assert Decision.objects.visible_to(reader).count() == 0
    assert Decision.objects.visible_to(ADMIN.clearance).count() == 1


def test_a_writer_still_gets_its_receipt_when_it_sends_its_own_again():
    writer = with_key("write")
    body = {name: value for name, value in envelope(payload_id="mine").items() if name != "source"}
    first = writer.post("/api/memories", body, content_type="application/json")
    quarantine(Memory.objects.get(payload_id="mine", superseded_at=None))

    again = writer.post("/api/memories", body, content_type="application/json")

    assert (first.status_code, again.status_code) == (201, 200)
    assert (again.json()["outcome"], again.json()["memory_id"]) == ("duplicate", first.json()["memory_id"])


def test_nobody_sees_it_by_looking_as_somebody_who_does():
    make_user("viewer", scopes="read view_as", max_tier="restricted")
    make_user("steward", scopes="read inspect", max_tier="public")
    make_user("both", scopes="read inspect view_as", max_tier="restricted")

    def offered(viewer: str) -> bool:
        return view_as.target("user:steward", principal_of(User.objects.get(username=viewer))) is not None

    assert (offered("viewer"), offered("both")) == (False, True)


def test_a_cursor_ends_with_the_scope_under_which_it_was_given():
    for _ in range(3):
        make_memory()
    key = make_key(scopes="read inspect")
    reader = Client(headers={"Authorization": f"Bearer {key}"})
    cursor = reader.get("/api/memories?limit=1").json()["next_cursor"]
    assert reader.get("/api/memories", {"limit": 1, "cursor": cursor}).status_code == 200

    ApiKey.objects.update(scopes=["read"])

    assert reader.get("/api/memories", {"limit": 1, "cursor": cursor}).json()["code"] == "bad_cursor"


def test_a_release_shows_it_again_and_not_that_it_was_away(away):
    memory, _ = away
    relabel.carry_out(relabel.plan_one(memory.memory_id, relabel.Change(status="active"), by=STEWARD))

    versions = with_key("read").get(f"/api/memories/{memory.memory_id}/versions").json()["versions"]

    assert [version["status"] for version in versions] == ["active", "active"]
    assert with_key("read").get(f"/api/memories/{uuid4()}").status_code == 404


def test_a_principal_sees_what_is_in_quarantine_by_its_scopes_alone():
    for scopes, sees in (([], False), ([Scope.READ], False), ([Scope.INSPECT], True), ([Scope.ADMIN], True)):
        for said in (False, True):
            held = Clearance(sees_quarantined=said)
            assert Principal(name="x", clearance=held, scopes=frozenset(scopes)).clearance.sees_quarantined is sees
