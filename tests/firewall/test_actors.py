"""For whom a key may speak (AZ-05): provenance is the key's, unless the key vouches for others."""

from typing import Any

import pytest

from memoryhub.memories.models import Memory
from tests.api.answers import problem
from tests.builders import envelope, make_key

pytestmark = pytest.mark.django_db

URL = "/api/memories"
AGENT: dict[str, Any] = {"actor_type": "agent", "actor_id": "a-1", "vouches_for": []}
RELAY: dict[str, Any] = {"actor_type": "agent", "actor_id": "", "vouches_for": ["user"]}
ANY_AGENT: dict[str, Any] = {"actor_type": "agent", "actor_id": "", "vouches_for": []}


@pytest.mark.parametrize(
    ("key", "claimed", "field"),
    [
        (AGENT, {"actor_type": "user"}, "actor_type"),
        (AGENT, {"actor_type": "system"}, "actor_type"),
        (AGENT, {"actor_id": "a-2"}, "actor_id"),
        (AGENT, {"actor_id": "A-1"}, "actor_id"),
        (AGENT, {"actor_id": "a-1 "}, "actor_id"),
        (AGENT, {"actor_type": "user", "actor_id": "a-1"}, "actor_type"),
        (RELAY, {"actor_type": "system"}, "actor_type"),
        ({**RELAY, "actor_id": "relay"}, {"actor_type": "user", "actor_id": "ada"}, "actor_id"),
        (ANY_AGENT, {"actor_type": "user", "actor_id": "ada"}, "actor_type"),
    ],
)
def test_a_key_cannot_claim_to_be_somebody_else(api, key, claimed, field):
    caller = api(make_key(scopes="write", **key))

    body = problem(caller.post(URL, envelope(**claimed)), 403, "actor_mismatch")
    results = caller.post(URL, [envelope(**claimed), envelope()]).json()["results"]

    assert list(body["errors"]) == [field]
    assert [(result["outcome"], result.get("code")) for result in results] == [
        ("rejected", "actor_mismatch"),
        ("created", None),
    ]
    assert Memory.objects.count() == 1


@pytest.mark.parametrize(
    ("key", "claimed", "stored"),
    [
        (AGENT, {}, ("agent", "a-1", {"actor_type", "actor_id"})),
        (AGENT, {"actor_id": "a-1"}, ("agent", "a-1", {"actor_type"})),
        (AGENT, {"actor_type": "agent", "actor_id": "a-1"}, ("agent", "a-1", set())),
        (ANY_AGENT, {"actor_id": "a-7"}, ("agent", "a-7", {"actor_type"})),
        (ANY_AGENT, {}, ("agent", "", {"actor_type", "actor_id"})),
        (RELAY, {"actor_type": "user", "actor_id": "ada"}, ("user", "ada", set())),
        (RELAY, {"actor_id": "a-7"}, ("agent", "a-7", {"actor_type"})),
    ],
)
def test_what_a_key_does_not_say_is_its_own_and_counts_as_defaulted(api, key, claimed, stored):
    assert api(make_key(scopes="write", **key)).post(URL, envelope(**claimed)).status_code == 201

    memory = Memory.objects.get()
    said = {"actor_type", "actor_id"} & set(memory.defaulted)
    assert (memory.actor_type, memory.actor_id, said) == stored


def test_an_administrators_key_names_whomever_it_likes(api):
    caller = api(make_key(scopes="admin", clearance={}, **AGENT))

    answers = [caller.post(URL, envelope(actor_type="user", actor_id=name)).status_code for name in ("ada", "bob")]

    assert answers == [201, 201]


def test_a_write_that_is_sent_again_with_its_actor_spelled_out_is_the_same_write(api):
    caller = api(make_key(scopes="write", **AGENT))
    sent: dict[str, Any] = envelope()

    assert caller.post(URL, sent).status_code == 201
    again = caller.post(URL, {**sent, "actor_type": "agent", "actor_id": "a-1"})

    assert (again.status_code, again.json()["outcome"]) == (200, "duplicate")


def test_an_update_cannot_change_who_said_it(api):
    """Provenance is part of what a version says: who may not claim it at first may not claim it later."""
    caller = api(make_key(scopes="write", **AGENT))
    sent = envelope()
    caller.post(URL, sent)

    answer = caller.post(f"{URL}?on_conflict=update", {**sent, "content": "Changed.", "actor_type": "user"})

    problem(answer, 403, "actor_mismatch")
    assert Memory.objects.get().actor_type == "agent"
