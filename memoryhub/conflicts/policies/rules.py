"""Rules that choose a value of a group. Each rule narrows down the values that the rule before it left.

The rules know nothing but their arguments and read no database, so hidden memories cannot affect them. The order of the
values and of their assertions makes no difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from memoryhub.conflicts.detector.compare import SIMULTANEOUS_SECONDS
from memoryhub.firewall.principal import ACTOR_TRUST_RANK
from memoryhub.memories.writes.validated_types import Name, one_of

RULES = {
    "trusted_sources": "The first of the listed sources that has a value wins.",
    "actor_trust": "A value of a user wins over one of a system, and that over one of an agent.",
    "latest_event": "The value with the latest event time wins.",
    "most_sources": "The value that most sources have wins.",
    "manual_review": "Groups that no rule before has decided are left to curators.",
}
MAX_RULES = 20
MAX_SOURCES = 100
_SIMULTANEOUS_WINDOW = timedelta(seconds=SIMULTANEOUS_SECONDS)


class Rule(BaseModel):
    """One rule of a policy, as it is sent and as it is stored."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    rule: Annotated[str, one_of(*RULES), Field(json_schema_extra={"enum": list(RULES)})]
    sources: Annotated[
        list[Annotated[Name, Field(min_length=1)]],
        Field(description="Required for trusted_sources: the sources, the most trusted first."),
    ] = []

    @model_validator(mode="after")
    def _validate_sources(self) -> Self:
        if self.rule == "trusted_sources" and not 0 < len(self.sources) <= MAX_SOURCES:
            raise PydanticCustomError("sources", f"needs 1 to {MAX_SOURCES} sources, the most trusted first.")
        if self.rule != "trusted_sources" and self.sources:
            raise PydanticCustomError("sources", "must be empty: only the rule trusted_sources takes sources.")
        if len(set(self.sources)) < len(self.sources):
            raise PydanticCustomError("sources", "names a source twice.")
        return self

    @property
    def json_fields(self) -> dict[str, object]:
        return {"rule": self.rule, **({"sources": self.sources} if self.sources else {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """One assertion of a value: its source, its actor type and its event time."""

    source: str
    actor_type: str
    timestamp: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateValue:
    """One value of a group: the hash of its content, and its assertions."""

    content_sha256: bytes
    assertions: Sequence[Assertion]

    @property
    def sources(self) -> set[str]:
        return {assertion.source for assertion in self.assertions}

    @property
    def trust_rank(self) -> int:
        return max(ACTOR_TRUST_RANK.get(assertion.actor_type, 0) for assertion in self.assertions)

    def latest_event_at(self, now: datetime) -> datetime | None:
        """The latest event time up to `now`; None if there is none. A future-dated event has not happened yet."""
        return max((assertion.timestamp for assertion in self.assertions if assertion.timestamp <= now), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOutcome:
    """The value that is kept, the rule that decided, and the explanation."""

    winner: bytes
    rule: str
    explanation: str


def apply_rules(candidates: Sequence[CandidateValue], rules: Sequence[Rule], *, now: datetime) -> RuleOutcome | None:
    """The value that `rules` choose; None if they leave the group to a curator."""
    remaining = list(candidates)
    if len(remaining) < 2:
        return None
    for rule in rules:
        if rule.rule == "manual_review":
            return None
        remaining = _RULE_FILTERS[rule.rule](remaining, rule, now)
        if len(remaining) == 1:
            (winner,) = remaining
            return RuleOutcome(
                winner=winner.content_sha256, rule=rule.rule, explanation=_EXPLANATIONS[rule.rule](winner, rule)
            )
    return None


def _keep_first_source(remaining: list[CandidateValue], rule: Rule, _now: datetime) -> list[CandidateValue]:
    for source in rule.sources:
        if matches := [candidate for candidate in remaining if source in candidate.sources]:
            return matches
    return remaining


def _keep_most_trusted(remaining: list[CandidateValue], _rule: Rule, _now: datetime) -> list[CandidateValue]:
    max_trust_rank = max(candidate.trust_rank for candidate in remaining)
    return [candidate for candidate in remaining if candidate.trust_rank == max_trust_rank]


def _keep_latest(remaining: list[CandidateValue], _rule: Rule, now: datetime) -> list[CandidateValue]:
    dated_candidates = [
        (event_time, candidate) for candidate in remaining if (event_time := candidate.latest_event_at(now)) is not None
    ]
    if not dated_candidates:
        return remaining
    latest_time = max(event_time for event_time, _ in dated_candidates)
    # Events that are so close together count as simultaneous.
    return [candidate for event_time, candidate in dated_candidates if latest_time - event_time < _SIMULTANEOUS_WINDOW]


def _keep_most_sources(remaining: list[CandidateValue], _rule: Rule, _now: datetime) -> list[CandidateValue]:
    max_source_count = max(len(candidate.sources) for candidate in remaining)
    return [candidate for candidate in remaining if len(candidate.sources) == max_source_count]


_RULE_FILTERS: dict[str, Callable[[list[CandidateValue], Rule, datetime], list[CandidateValue]]] = {
    "trusted_sources": _keep_first_source,
    "actor_trust": _keep_most_trusted,
    "latest_event": _keep_latest,
    "most_sources": _keep_most_sources,
}


def _explain_source(winner: CandidateValue, rule: Rule) -> str:
    source = next(source for source in rule.sources if source in winner.sources)
    return f"it is from {source}, the first of the listed sources that has a value"


def _explain_trust(winner: CandidateValue, _rule: Rule) -> str:
    trusted_actor_type = max(
        (assertion.actor_type for assertion in winner.assertions),
        key=lambda actor_type: ACTOR_TRUST_RANK.get(actor_type, 0),
    )
    return f"the value of a {trusted_actor_type} wins over the other values"


def _explain_source_count(winner: CandidateValue, _rule: Rule) -> str:
    return f"{len(winner.sources):,} sources have it, and fewer have any other value"


_EXPLANATIONS: dict[str, Callable[[CandidateValue, Rule], str]] = {
    "trusted_sources": _explain_source,
    "actor_trust": _explain_trust,
    "latest_event": lambda *_: "its event time is the latest",
    "most_sources": _explain_source_count,
}
