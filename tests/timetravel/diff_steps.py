"""Steps that the tests of diffs share: note an instant, classify a memory, ask what differs."""

from typing import Any

from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.memories.writes.envelope import parse_body

EARLIEST = "2000-01-01T00:00:00Z"
STEWARD = Principal(name="user:steward", scopes=frozenset(Scope), clearance=unrestricted_clearance())


def current_instant() -> str:
    """An instant after all that was written, and before all that will be."""
    return clock.stable_record_time().isoformat()


def get_diff(caller: Any, **params: Any) -> Any:
    response = caller.get("/api/diff", **{"since": EARLIEST, **params})
    assert response.status_code == 200, response.content
    return response.json()


def change_kinds(caller: Any, **params: Any) -> list[list[str]]:
    return [change["kinds"] for change in get_diff(caller, **params)["changes"]]


def classify_memory(memory: Memory, **change: Any) -> None:
    plan = classify.plan_for_memory(memory.memory_id, parse_body(change, ClassificationChange), principal=STEWARD)
    classify.apply_plan(plan, reason="Looked at.")
