"""Finding memories by what is masked: for who may unmask secrets, row by row, with an audit entry."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.http import QueryDict

from memoryhub.access_log import read_log
from memoryhub.audit.models import AuditEntry
from memoryhub.core.secrets import MASK
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories import secret_search
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.secret_search import SecretMatches, search_secrets
from tests.factories import make_key, make_memory
from tests.inspector import clients

pytestmark = pytest.mark.django_db

KEY = "AKIA" + "IOSFODNN7EXAMPLE"
STEWARD = Principal(name="user:eve", clearance=unrestricted_clearance(), scopes=frozenset({Scope.READ, Scope.CURATE}))


def find_secrets(text: str = KEY, query: str = "", *, principal: Principal = STEWARD) -> SecretMatches:
    return search_secrets(MemoryFilterSet(QueryDict(query), clearance=principal.clearance), text, principal=principal)


def match_contents(matches: SecretMatches) -> list[str]:
    return [record["content"] for record in matches.records]


def list_reveals() -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(action="memory.unmask"))


class TestSearch:
    def test_finds_what_is_masked_by_any_part_of_it(self):
        make_memory(content=f"The key is {KEY}.")
        make_memory(content="The key is under the mat.")

        for text in (KEY, KEY.lower()[5:12], "key is AKIAI"):
            assert match_contents(find_secrets(text)) == [f"The key is {KEY}."]
        assert match_contents(find_secrets("mat")) == match_contents(find_secrets("AKIAX")) == []

    def test_is_for_who_may_reveal_alone(self):
        with pytest.raises(PermissionDenied):
            find_secrets(
                principal=Principal(name="user:ada", clearance=unrestricted_clearance(), scopes=frozenset({Scope.READ}))
            )
        assert list_reveals() == []

    def test_finds_only_what_the_searcher_may_see_and_the_filters_find(self):
        make_memory(content=f"Restricted: {KEY}.", tier="restricted")
        make_memory(content=f"Retired from {KEY}.", subject="user:bob")
        make_memory(content=f"Open: {KEY}.", subject="user:ada")
        low = Principal(name="user:low", clearance=Clearance(max_tier="internal"), scopes=STEWARD.scopes)

        assert match_contents(find_secrets(query="subject=user:ada", principal=low)) == [f"Open: {KEY}."]
        assert len(find_secrets(principal=low).records) == 2
        assert len(find_secrets().records) == 3

    def test_is_a_reveal_in_the_audit_log_that_does_not_repeat_the_text(self):
        memory = make_memory(content=f"The key is {KEY}.")
        find_secrets()
        find_secrets("AKIAX")

        match_entry, empty_entry = sorted(list_reveals(), key=lambda entry: entry.seq)
        assert (match_entry.principal, match_entry.memory_ids, empty_entry.memory_ids) == (
            "user:eve",
            [memory.memory_id],
            [],
        )
        assert KEY not in repr([vars(match_entry), vars(empty_entry)])

    def test_reads_so_many_memories_and_says_if_there_are_more(self, monkeypatch):
        monkeypatch.setattr(secret_search, "MAX_SCANNED", 3)
        for index in range(4):
            make_memory(content=f"{index}: {KEY}.", timestamp=f"2026-03-0{index + 1}T12:00:00Z")

        matches = find_secrets()

        assert (match_contents(matches), matches.is_capped) == ([f"{index}: {KEY}." for index in (3, 2, 1)], True)
        monkeypatch.setattr(secret_search, "MAX_SCANNED", 4)
        assert find_secrets().is_capped is False
        monkeypatch.setattr(secret_search, "MAX_MATCHES", 2)
        assert (len(find_secrets().records), find_secrets().is_capped) == (2, True)


class TestOverTheApi:
    def test_a_key_gets_what_was_written_and_a_session_what_pages_show(self, api: Callable[..., Any]):
        make_memory(content=f"The key is {KEY}.")
        body = {"text": KEY, "filter": {"source": "test"}}

        key = api(make_key(scopes="read curate", clearance={"max_tier": "restricted"}))
        session = clients.client_for_new_user(scopes="read curate")
        key_json = key.post("/api/memories/secrets", body).json()
        session_json = session.post("/api/memories/secrets", body, content_type="application/json").json()

        assert [record["content"] for record in key_json["records"]] == [f"The key is {KEY}."]
        assert [record["content"] for record in session_json["records"]] == [f"The key is AKIA{MASK}."]

    @pytest.mark.parametrize(
        "body",
        [{}, {"text": ""}, {"text": "x" * 1_001}, {"text": 1}, {"text": "x", "filter": []}, {"text": "\u200b\u00ad"}],
    )
    def test_what_is_no_search_is_refused(self, api: Callable[..., Any], body: dict[str, Any]):
        key = api(make_key(scopes="read curate"))

        assert key.post("/api/memories/secrets", body).status_code == 400
        assert key.post("/api/memories/secrets", {"text": "x", "filter": {"nonsense": "1"}}).status_code == 400
        assert list_reveals() == []


class TestPage:
    def test_leads_from_a_search_to_the_memory_without_the_text_in_an_address(self):
        memory = make_memory(content=f"The key is {KEY}.")
        steward = clients.client_for_new_user(scopes="read curate")

        assert "/memories/secrets?source=test" in clients.response_text(steward.get("/?q=AKIAI&source=test"))
        form = clients.response_text(steward.get("/memories/secrets?source=test"))
        page_response = steward.post("/memories/secrets", {"text": KEY, "source": "test"})

        assert 'name="source" value="test"' in form
        assert f"/memories/{memory.memory_id}" in clients.response_text(page_response)
        assert KEY not in clients.response_text(page_response)
        read_log.flush_reads()
        assert not AuditEntry.objects.filter(query__contains=KEY).exists()

    def test_says_what_is_wrong(self):
        steward = clients.client_for_new_user(scopes="read curate")

        assert steward.post("/memories/secrets", {"text": ""}).status_code == 400
        assert steward.post("/memories/secrets", {"text": "\u200b"}).status_code == 400
        assert steward.get("/memories/secrets?nonsense=1").status_code == 400
        assert "No memory with a secret" in clients.response_text(steward.post("/memories/secrets", {"text": "AKIA"}))

    def test_is_offered_to_nobody_else(self):
        reader = clients.client_for_new_user()

        assert "/memories/secrets" not in clients.response_text(reader.get("/?q=AKIAI"))
        assert reader.get("/memories/secrets").status_code == 403
