"""For whom a key may speak (AZ-05): provenance is the key's, unless the key vouches for others."""

from typing import Any

import pytest

from memoryhub.memories.models import Memory
from tests.api.responses import assert_problem
from tests.factories import envelope, make_key

pytestmark = pytest.mark.django_db

URL = "/api/memories"
AGENT_KEY: dict[str, Any] = {"actor_type": "agent", "actor_id": "a-1", "delegated_actor_types": []}
RELAY_KEY: dict[str, Any] = {"actor_type": "agent", "actor_id": "", "delegated_actor_types": ["user"]}
ANY_AGENT_KEY: dict[str, Any] = {"actor_type": "agent", "actor_id": "", "delegated_actor_types": []}


@pytest.mark.parametrize(
    ("key", "claimed_actor", "field"),
    [
        (AGENT_KEY, {"actor_type": "user"}, "actor_type"),
        (AGENT_KEY, {"actor_type": "system"}, "actor_type"),
        (AGENT_KEY, {"actor_id": "a-2"}, "actor_id"),
        (AGENT_KEY, {"actor_id": "A-1"}, "actor_id"),
        (AGENT_KEY, {"actor_id": "a-1 "}, "actor_id"),
        (AGENT_KEY, {"actor_type": "user", "actor_id": "a-1"}, "actor_type"),
        (RELAY_KEY, {"actor_type": "system"}, "actor_type"),
        ({**RELAY_KEY, "actor_id": "relay"}, {"actor_type": "user", "actor_id": "ada"}, "actor_id"),
        (ANY_AGENT_KEY, {"actor_type": "user", "actor_id": "ada"}, "actor_type"),
    ],
)
def test_a_key_cannot_claim_to_be_somebody_else(api, key, claimed_actor, field):
    caller = api(make_key(scopes="write", **key))

    body = assert_problem(caller.post(URL, envelope(**claimed_actor)), 403, "actor_mismatch")
    results = caller.post(URL, [envelope(**claimed_actor), envelope()]).json()["results"]

    assert list(body["errors"]) == [field]
    assert [(result["outcome"], result.get("code")) for result in results] == [
        ("rejected", "actor_mismatch"),
        ("created", None),
    ]
    assert Memory.objects.count() == 1


@pytest.mark.parametrize(
    ("key", "claimed_actor", "stored_actor"),
    [
        (AGENT_KEY, {}, ("agent", "a-1", {"actor_type", "actor_id"})),
        (AGENT_KEY, {"actor_id": "a-1"}, ("agent", "a-1", {"actor_type"})),
        (AGENT_KEY, {"actor_type": "agent", "actor_id": "a-1"}, ("agent", "a-1", set())),
        (ANY_AGENT_KEY, {"actor_id": "a-7"}, ("agent", "a-7", {"actor_type"})),
        (ANY_AGENT_KEY, {}, ("agent", "", {"actor_type", "actor_id"})),
        (RELAY_KEY, {"actor_type": "user", "actor_id": "ada"}, ("user", "ada", set())),
        (RELAY_KEY, {"actor_id": "a-7"}, ("agent", "a-7", {"actor_type"})),
    ],
)
def test_what_a_key_does_not_say_is_its_own_and_counts_as_defaulted(api, key, claimed_actor, stored_actor):
    assert api(make_key(scopes="write", **key)).post(URL, envelope(**claimed_actor)).status_code == 201

    memory = Memory.objects.get()
    defaulted_fields = {"actor_type", "actor_id"} & set(memory.defaulted_fields)
    assert (memory.actor_type, memory.actor_id, defaulted_fields) == stored_actor


def test_an_administrators_key_names_whomever_it_likes(api):
    caller = api(make_key(scopes="admin", clearance={}, **AGENT_KEY))

    responses = [caller.post(URL, envelope(actor_type="user", actor_id=name)).status_code for name in ("ada", "bob")]

    assert responses == [201, 201]


def test_a_write_that_is_sent_again_with_its_actor_spelled_out_is_the_same_write(api):
    caller = api(make_key(scopes="write", **AGENT_KEY))
    payload: dict[str, Any] = envelope()

    assert caller.post(URL, payload).status_code == 201
    repeated = caller.post(URL, {**payload, "actor_type": "agent", "actor_id": "a-1"})

    assert (repeated.status_code, repeated.json()["outcome"]) == (200, "duplicate")


def test_an_update_cannot_change_who_said_it(api):
    """Provenance is part of what a version says: who may not claim it at first may not claim it later."""
    caller = api(make_key(scopes="write", **AGENT_KEY))
    payload = envelope()
    caller.post(URL, payload)

    response = caller.post(f"{URL}?on_conflict=update", {**payload, "content": "Changed.", "actor_type": "user"})

    assert_problem(response, 403, "actor_mismatch")
    assert Memory.objects.get().actor_type == "agent"
