"""Finding memories by what is masked: for who may reveal, row by row, and the ledger tells of it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.http import QueryDict

from memoryhub.audit.models import AuditEntry
from memoryhub.firewall.types import Clearance, Principal, Scope, everything
from memoryhub.memories import secret_search
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.secret_search import SecretMatches, search_secrets
from memoryhub.memories.suspicion import MASK
from memoryhub.ops import reads
from tests.builders import make_key, make_memory
from tests.inspector import pages

pytestmark = pytest.mark.django_db

KEY = "AKIA" + "IOSFODNN7EXAMPLE"
STEWARD = Principal(name="user:eve", clearance=everything(), scopes=frozenset({Scope.READ, Scope.INSPECT}))


def search(text: str = KEY, query: str = "", *, by: Principal = STEWARD) -> SecretMatches:
    return search_secrets(MemoryFilterSet(QueryDict(query), clearance=by.clearance), text, by=by)


def contents(found: SecretMatches) -> list[str]:
    return [record["content"] for record in found.records]


def reveals() -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(action="memory.reveal"))


class TestASearch:
    def test_finds_what_is_masked_by_any_part_of_it(self):
        make_memory(content=f"The key is {KEY}.")
        make_memory(content="The key is under the mat.")

        for text in (KEY, KEY.lower()[5:12], "key is AKIAI"):
            assert contents(search(text)) == [f"The key is {KEY}."]
        assert contents(search("mat")) == contents(search("AKIAX")) == []

    def test_is_for_who_may_reveal_alone(self):
        with pytest.raises(PermissionDenied):
            search(by=Principal(name="user:ada", clearance=everything(), scopes=frozenset({Scope.READ})))
        assert reveals() == []

    def test_finds_only_what_the_searcher_may_see_and_the_filters_find(self):
        make_memory(content=f"Restricted: {KEY}.", tier="restricted")
        make_memory(content=f"Retired from {KEY}.", subject="user:bob")
        make_memory(content=f"Open: {KEY}.", subject="user:ada")
        low = Principal(name="user:low", clearance=Clearance(max_tier="internal"), scopes=STEWARD.scopes)

        assert contents(search(query="subject=user:ada", by=low)) == [f"Open: {KEY}."]
        assert len(search(by=low).records) == 2
        assert len(search().records) == 3

    def test_is_a_reveal_in_the_ledger_that_does_not_repeat_the_text(self):
        memory = make_memory(content=f"The key is {KEY}.")
        search()
        search("AKIAX")

        found, nothing = sorted(reveals(), key=lambda entry: entry.seq)
        assert (found.principal, found.memory_ids, nothing.memory_ids) == ("user:eve", [memory.memory_id], [])
        assert KEY not in repr([vars(found), vars(nothing)])

    def test_reads_so_many_memories_and_says_if_there_are_more(self, monkeypatch):
        monkeypatch.setattr(secret_search, "MAX_READ", 3)
        for number in range(4):
            make_memory(content=f"{number}: {KEY}.", timestamp=f"2026-03-0{number + 1}T12:00:00Z")

        found = search()

        assert (contents(found), found.capped) == ([f"{number}: {KEY}." for number in (3, 2, 1)], True)
        monkeypatch.setattr(secret_search, "MAX_READ", 4)
        assert search().capped is False
        monkeypatch.setattr(secret_search, "MAX_FOUND", 2)
        assert (len(search().records), search().capped) == (2, True)


class TestOverTheApi:
    def test_a_key_gets_what_was_written_and_a_session_what_pages_show(self, api: Callable[..., Any]):
        make_memory(content=f"The key is {KEY}.")
        body = {"text": KEY, "filter": {"source": "test"}}

        key = api(make_key(scopes="read inspect", clearance={"max_tier": "restricted"}))
        session = pages.signed_in(scopes="read inspect")
        told = key.post("/api/memories/secrets", body).json()
        shown = session.post("/api/memories/secrets", body, content_type="application/json").json()

        assert [record["content"] for record in told["records"]] == [f"The key is {KEY}."]
        assert [record["content"] for record in shown["records"]] == [f"The key is AKIA{MASK}."]

    @pytest.mark.parametrize(
        "body",
        [{}, {"text": ""}, {"text": "x" * 1_001}, {"text": 1}, {"text": "x", "filter": []}, {"text": "\u200b\u00ad"}],
    )
    def test_what_is_no_search_is_refused(self, api: Callable[..., Any], body: dict[str, Any]):
        key = api(make_key(scopes="read inspect"))

        assert key.post("/api/memories/secrets", body).status_code == 400
        assert key.post("/api/memories/secrets", {"text": "x", "filter": {"nonsense": "1"}}).status_code == 400
        assert reveals() == []


class TestThePage:
    def test_leads_from_a_search_to_the_memory_without_the_text_in_an_address(self):
        memory = make_memory(content=f"The key is {KEY}.")
        steward = pages.signed_in(scopes="read inspect")

        assert "/memories/secrets?source=test" in pages.text(steward.get("/?q=AKIAI&source=test"))
        form = pages.text(steward.get("/memories/secrets?source=test"))
        found = steward.post("/memories/secrets", {"text": KEY, "source": "test"})

        assert 'name="source" value="test"' in form
        assert f"/memories/{memory.memory_id}" in pages.text(found)
        assert KEY not in pages.text(found)
        reads.flush()
        assert not AuditEntry.objects.filter(query__contains=KEY).exists()

    def test_says_what_is_wrong(self):
        steward = pages.signed_in(scopes="read inspect")

        assert steward.post("/memories/secrets", {"text": ""}).status_code == 400
        assert steward.post("/memories/secrets", {"text": "\u200b"}).status_code == 400
        assert steward.get("/memories/secrets?nonsense=1").status_code == 400
        assert "No memory with a secret" in pages.text(steward.post("/memories/secrets", {"text": "AKIA"}))

    def test_is_offered_to_nobody_else(self):
        reader = pages.signed_in()

        assert "/memories/secrets" not in pages.text(reader.get("/?q=AKIAI"))
        assert reader.get("/memories/secrets").status_code == 403
