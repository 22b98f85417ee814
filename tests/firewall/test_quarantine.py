"""What is in quarantine is there for those alone who judge memories: at every door as if it were not."""

from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client

from memoryhub.access_log import audit_queries
from memoryhub.conflicts.models import Decision
from memoryhub.firewall import view_as
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.models import ApiKey
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.firewall.principal_lookup import resolve_principal
from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from tests.conflicts.policies.policy_factories import ADMIN, make_group, make_policy, run_policy
from tests.factories import envelope, make_key, make_memory, make_user
from tests.inspector.clients import logged_in_client, response_text

pytestmark = pytest.mark.django_db
STEWARD = Principal(
    name="user:steward", clearance=unrestricted_clearance(), scopes=frozenset({Scope.CURATE, Scope.READ})
)
ADA_KEY: dict[str, Any] = {"subject": "user:ada", "collection": "city"}


def quarantine_memory(memory: Memory) -> None:
    classify.apply_plan(
        classify.plan_for_memory(memory.memory_id, ClassificationChange(status="quarantined"), principal=STEWARD)
    )


def client_with_scopes(scopes: str) -> Client:
    key = make_key(scopes=scopes, clearance={"max_tier": "restricted"})
    return Client(headers={"Authorization": f"Bearer {key}"})


@pytest.fixture
def quarantined() -> tuple[Memory, datetime]:
    """A memory in quarantine, and an instant at which it was in force."""
    memory = make_memory(**ADA_KEY, content="Quarantined canary.", source="hidden-source")
    known_at = clock.database_now()
    clock.stable_record_time(known_at)
    make_memory(subject="user:ada", collection="job", content="Baker")
    quarantine_memory(memory)
    return memory, known_at


READ_PATHS = (
    "/api/memories?limit=50", "/api/memories?q=canary", "/api/memories?status=active&source=hidden-source",
    "/api/memories?known_at={then}", "/api/memories/{id}", "/api/memories/{id}?known_at={then}",
    "/api/memories/{id}/versions", "/api/memories/{id}/versions?known_at={then}", "/api/facets", "/api/facets?q=canary",
    "/api/facets?known_at={then}", "/api/histogram", "/api/timetravel?view=state&as_of={then}",
    "/api/timetravel?view=history&subject=user:ada&as_of={then}", "/api/diff?axis=record&since={then}",
    "/api/conflicts?status=all",
)  # fmt: skip


@pytest.mark.parametrize("path", READ_PATHS)
def test_nothing_of_it_is_in_any_answer_to_a_key_that_only_reads(quarantined, path):
    memory, known_at = quarantined
    path = path.format(id=memory.memory_id, then=known_at.isoformat().replace("+00:00", "Z"))

    response = client_with_scopes("read").get(path)
    body = response.content.decode()

    assert response.status_code == (404 if str(memory.memory_id) in path else 200), body
    assert "canary" not in body
    assert "hidden-source" not in body
    assert "quarantined" not in body.replace('"quarantined":0', "")


@pytest.mark.parametrize(
    "path", ["/api/memories?status=quarantined", "/api/memories/{id}", "/api/memories/{id}/versions"]
)
@pytest.mark.parametrize("scopes", ["read curate", "read admin"])
def test_who_judges_memories_sees_it(quarantined, path, scopes):
    response = client_with_scopes(scopes).get(path.format(id=quarantined[0].memory_id))

    assert (response.status_code, b"Quarantined canary." in response.content) == (200, True)


def test_its_status_is_as_unknown_as_one_that_does_not_exist(quarantined):
    reader = client_with_scopes("read")
    for path in ("/api/memories", "/api/facets", "/api/histogram"):
        quarantined_page, unknown_page = (
            reader.get(f"{path}?status={status}").json() for status in ("quarantined", "nonsense")
        )
        assert {**quarantined_page, "request_id": ""} == {**unknown_page, "request_id": ""}
        assert quarantined_page["errors"] == {"status": ["must be one of active, retired, erased, expired."]}
    assert (
        "quarantined"
        in client_with_scopes("read curate").get("/api/memories?status=nonsense").json()["errors"]["status"][0]
    )


@pytest.mark.parametrize("path", ["/", "/?q=canary", "/memories/{id}", "/subjects/user:ada", "/?status=nonsense"])
def test_no_page_shows_it_to_a_person_who_only_reads(quarantined, path):
    memory, _ = quarantined
    reader = logged_in_client(make_user("reader", max_tier="restricted"))

    response = reader.get(path.format(id=memory.memory_id))

    assert response.status_code == {"/memories/{id}": 404, "/?status=nonsense": 400}.get(path, 200)
    assert "Quarantined canary" not in response_text(response)
    assert "<option>quarantined" not in response_text(response)


def test_the_audit_log_shows_it_only_to_those_who_may_see_it(quarantined):
    memory, _ = quarantined
    auditor = Principal(name="user:auditor", clearance=unrestricted_clearance(), scopes=frozenset({Scope.AUDIT}))

    assert audit_queries.list_memory_actions(memory.memory_id, auditor) is None
    assert all(memory.memory_id not in entry.memory_ids for entry in audit_queries.list_entries(auditor).entries)
    assert "memory.quarantine" not in {entry.action for entry in audit_queries.list_entries(auditor).entries}
    assert "memory.quarantine" in {entry.action for entry in audit_queries.list_entries(STEWARD).entries}


def test_a_decision_on_what_is_in_quarantine_by_now_is_hidden_from_who_may_not_see_it():
    group = make_group("user:ada", "Paris", "London")
    run_policy(make_policy())
    reader = Clearance(max_tier="restricted")
    assert Decision.objects.visible_to(reader).count() == 1

    quarantine_memory(next(memory for memory in group if memory.content == "London"))

    assert Decision.objects.visible_to(reader).count() == 0
    assert Decision.objects.visible_to(ADMIN.clearance).count() == 1


def test_a_writer_still_gets_its_receipt_when_it_sends_its_own_again():
    writer = client_with_scopes("write")
    body = {name: value for name, value in envelope(payload_id="mine").items() if name != "source"}
    first = writer.post("/api/memories", body, content_type="application/json")
    quarantine_memory(Memory.objects.get(payload_id="mine", superseded_at=None))

    repeated = writer.post("/api/memories", body, content_type="application/json")

    assert (first.status_code, repeated.status_code) == (201, 200)
    assert (repeated.json()["outcome"], repeated.json()["memory_id"]) == ("duplicate", first.json()["memory_id"])


def test_nobody_sees_it_by_looking_as_somebody_who_does():
    make_user("viewer", scopes="read view_as", max_tier="restricted")
    make_user("steward", scopes="read curate", max_tier="public")
    make_user("both", scopes="read curate view_as", max_tier="restricted")

    def is_target_offered(viewer: str) -> bool:
        return view_as.get_target("user:steward", resolve_principal(User.objects.get(username=viewer))) is not None

    assert (is_target_offered("viewer"), is_target_offered("both")) == (False, True)


def test_a_cursor_ends_with_the_scope_under_which_it_was_given():
    for _ in range(3):
        make_memory()
    key = make_key(scopes="read curate")
    reader = Client(headers={"Authorization": f"Bearer {key}"})
    cursor = reader.get("/api/memories?limit=1").json()["next_cursor"]
    assert reader.get("/api/memories", {"limit": 1, "cursor": cursor}).status_code == 200

    ApiKey.objects.update(scopes=["read"])

    assert reader.get("/api/memories", {"limit": 1, "cursor": cursor}).json()["code"] == "invalid_cursor"


def test_a_release_shows_it_again_and_not_that_it_was_away(quarantined):
    memory, _ = quarantined
    classify.apply_plan(
        classify.plan_for_memory(memory.memory_id, ClassificationChange(status="active"), principal=STEWARD)
    )

    versions = client_with_scopes("read").get(f"/api/memories/{memory.memory_id}/versions").json()["versions"]

    assert [version["status"] for version in versions] == ["active", "active"]
    assert client_with_scopes("read").get(f"/api/memories/{uuid4()}").status_code == 404


def test_a_principal_sees_what_is_in_quarantine_by_its_scopes_alone():
    for scopes, sees in (([], False), ([Scope.READ], False), ([Scope.CURATE], True), ([Scope.ADMIN], True)):
        for sees_quarantined in (False, True):
            clearance = Clearance(sees_quarantined=sees_quarantined)
            assert Principal(name="x", clearance=clearance, scopes=frozenset(scopes)).clearance.sees_quarantined is sees
