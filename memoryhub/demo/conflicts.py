"""The demo's scripted conflicts: contradicting statements of agents, and the decisions of its stewards.

`story` also has accidental conflicts. These sort before them by subject, so the conflict queue begins with them.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from pydantic import Field

from memoryhub.conflicts.decisions.resolution_requests import Resolution, ResolutionRequest
from memoryhub.conflicts.decisions.resolve import list_members, resolve, undo_decisions
from memoryhub.conflicts.groups.group_keys import compute_evidence
from memoryhub.conflicts.policies import policies
from memoryhub.demo.story import StoryData, Texts, Tier, read_data
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import write
from memoryhub.memories.writes.identity import OnConflict


class Statement(StoryData):
    """What an agent writes under a key, so many days before the end of the story."""

    source: str
    actor_type: str
    tier: Tier
    days_before_end: int
    labels: Texts = ()
    content: str


class ScriptedDecision(StoryData):
    """A decision of a steward, and what follows it: an undo, or later statements."""

    outcome: str
    reason: str
    username: str = "steward"
    kept_prefixes: Texts = ()
    """How the contents of the kept memories begin."""
    content: str = ""
    validity: dict[str, dict[str, str]] = Field(default_factory=dict)
    """The period of a value, by the beginning of its content."""
    undo_reason: str = ""
    """The reason of the undo; without one the decision stays."""
    later_statements: tuple[Statement, ...] = ()
    """Statements that agents make after the decision."""


class Disagreement(StoryData):
    """The statements under one key, and perhaps the decision about them."""

    subject: str
    collection: str
    namespace: str
    statements: tuple[Statement, ...]
    decision: ScriptedDecision | None = None

    def build_envelope(self, statement: Statement, end_time: datetime, payload_number: str) -> dict[str, Any]:
        timestamp = end_time.astimezone(UTC) - timedelta(
            days=statement.days_before_end, minutes=7 * len(statement.content)
        )
        return {
            "payload_id": f"conflict-{payload_number}",
            "source": statement.source,
            "subject": self.subject,
            "collection": self.collection,
            "namespace": self.namespace,
            "content": statement.content,
            "classification_tier": statement.tier,
            "sensitivity_labels": list(statement.labels),
            "actor_type": statement.actor_type,
            "actor_id": statement.source,
            "timestamp": timestamp.isoformat(timespec="seconds").replace("+00:00", "Z"),
        }


class ConflictStory(StoryData):
    disagreements: tuple[Disagreement, ...]
    policy: dict[str, Any]


CONFLICT_STORY = ConflictStory.model_validate(read_data("conflicts.toml"))
DECIDED_DISAGREEMENTS = [
    (disagreement, disagreement.decision) for disagreement in CONFLICT_STORY.disagreements if disagreement.decision
]


def write_demo_conflicts(end_time: datetime, *, principal: Principal) -> list[UUID]:
    """Write the statements, the decisions and a policy as of `end_time`; return the ids of the decisions."""
    _write_envelopes(generate_envelopes(end_time), principal)
    policies.save_version(
        policies.parse_input(CONFLICT_STORY.policy), principal=_create_principal("admin", Scope.ADMIN)
    )
    decision_ids = []
    for index, (disagreement, decision) in enumerate(DECIDED_DISAGREEMENTS):
        decision_ids.append(_resolve_group(disagreement, decision))
        if decision.undo_reason:
            undo_decisions(
                decision_ids[-1:], principal=_create_principal(decision.username), reason=decision.undo_reason
            )
        later_envelopes = (
            disagreement.build_envelope(statement, end_time, f"late-{index}") for statement in decision.later_statements
        )
        _write_envelopes(later_envelopes, principal)
    return decision_ids


def generate_envelopes(end_time: datetime) -> Iterator[dict[str, Any]]:
    """Yield the statements of the disagreements as envelopes."""
    for index, disagreement in enumerate(CONFLICT_STORY.disagreements):
        for statement_index, statement in enumerate(disagreement.statements):
            yield disagreement.build_envelope(statement, end_time, f"{index}-{statement_index}")


def _write_envelopes(envelopes: Iterator[dict[str, Any]], principal: Principal) -> None:
    write.write_memories(list(envelopes), principal=principal, on_conflict=OnConflict.REPLACE)


def _resolve_group(disagreement: Disagreement, scripted_decision: ScriptedDecision) -> UUID:
    principal = _create_principal(scripted_decision.username)
    key = (disagreement.subject, disagreement.collection)
    group_members = list_members(key, principal)
    with rls.as_reader(principal.clearance):
        rows = Memory.objects.visible_to(principal.clearance).filter(id__in=[member.id for member in group_members])
        memory_ids_by_content = dict(rows.values_list("content", "memory_id"))
    kept_ids_by_prefix = {
        prefix: next(id_ for content, id_ in memory_ids_by_content.items() if content.startswith(prefix))
        for prefix in scripted_decision.kept_prefixes
    }
    resolution = Resolution.model_validate(
        {
            "outcome": scripted_decision.outcome,
            "keep": list(kept_ids_by_prefix.values()),
            "content": scripted_decision.content,
            "validity": {kept_ids_by_prefix[prefix]: period for prefix, period in scripted_decision.validity.items()},
            "reason": scripted_decision.reason,
        }
    )
    evidence = compute_evidence((member.memory_id, member.version) for member in group_members)
    decision = resolve(ResolutionRequest(key=key, evidence=evidence, resolution=resolution), principal=principal)
    # A refused resolution raises, so there is an id.
    return cast("UUID", decision.decision_id)


def _create_principal(username: str, *scopes: Scope) -> Principal:
    granted_scopes = frozenset({Scope.READ, Scope.CURATE, *scopes})
    return Principal(
        name=f"user:{username}",
        scopes=granted_scopes,
        clearance=unrestricted_clearance(),
        actor_type="user",
        actor_id=username,
    )
