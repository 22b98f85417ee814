"""A group of conflicting cities, and the requests that read it and decide about it."""

from typing import Any

from memoryhub.conflicts.groups.group_keys import encode_id
from memoryhub.memories.models import Memory
from tests.factories import make_memory

KEY = ("user:ada", "city")
GROUP_URL = f"/api/conflicts/{encode_id(*KEY)}"
DECISIONS_URL = f"{GROUP_URL}/decisions"
CLAIM_URL = f"{GROUP_URL}/claim"
DECISION_LIST_URL = "/api/decisions"
NOT_A_CONFLICT = {"outcome": "not_a_conflict", "reason": "Both are true."}


def make_cities(*names: str, **fields: Any) -> list[Memory]:
    """Memories that say different things about one key."""
    subject, collection = KEY
    return [make_memory(subject=subject, collection=collection, content=name, **fields) for name in names]


def read_group(caller: Any) -> dict[str, Any]:
    response = caller.get(GROUP_URL)
    assert response.status_code == 200, response.content
    body: dict[str, Any] = response.json()
    return body


def decision_body(caller: Any, **fields: Any) -> dict[str, Any]:
    """A choice about the group as `caller` reads it."""
    return {**NOT_A_CONFLICT, "evidence": read_group(caller)["evidence"], **fields}


def create_decision(caller: Any, **fields: Any) -> dict[str, Any]:
    response = caller.post(DECISIONS_URL, decision_body(caller, **fields))
    assert response.status_code == 201, response.content
    body: dict[str, Any] = response.json()
    return body
