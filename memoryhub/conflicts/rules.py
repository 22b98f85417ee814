"""Which value of a group survives: rules in order, each of which narrows down what the one before it left.

Nothing is read from a database and nothing else is known than what is given, so that what a reader may not see plays no
part. In what order the values and those who said them are given makes no difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from memoryhub.conflicts.detector import AT_ONCE_SECONDS
from memoryhub.firewall.types import TRUST
from memoryhub.memories.envelope import Name, one_of

RULES = {
    "trusted_sources": "The first of these sources that holds a value is believed.",
    "actor_trust": "Users are believed over systems, and systems over agents.",
    "latest_event": "What happened last is believed.",
    "most_sources": "What most sources agree on is believed.",
    "human": "What is not decided by now is left to people.",
}
MOST_RULES = 20
MOST_SOURCES = 100
_AT_ONCE = timedelta(seconds=AT_ONCE_SECONDS)


class Rule(BaseModel):
    """One rule of a policy, as it is sent and as it is stored."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    rule: Annotated[str, one_of(*RULES), Field(json_schema_extra={"enum": list(RULES)})]
    sources: Annotated[
        list[Annotated[Name, Field(min_length=1)]], Field(description="For trusted_sources: the most trusted first.")
    ] = []

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if self.rule == "trusted_sources" and not 0 < len(self.sources) <= MOST_SOURCES:
            raise PydanticCustomError("sources", f"needs 1 to {MOST_SOURCES} sources, the most trusted first.")
        if self.rule != "trusted_sources" and self.sources:
            raise PydanticCustomError("sources", "takes no sources: trusted_sources does.")
        if len(set(self.sources)) < len(self.sources):
            raise PydanticCustomError("sources", "names a source twice.")
        return self

    @property
    def told(self) -> dict[str, object]:
        return {"rule": self.rule, **({"sources": self.sources} if self.sources else {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """By whom a value was said, and when it happened."""

    source: str
    actor_type: str
    timestamp: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One value of a group: the hash of its content, and all that say so."""

    content_sha256: bytes
    said: Sequence[Said]

    @property
    def sources(self) -> set[str]:
        return {each.source for each in self.said}

    @property
    def trust(self) -> int:
        return max(TRUST.get(each.actor_type, 0) for each in self.said)

    def happened(self, now: datetime) -> datetime | None:
        """When it happened last. What is still to come has not happened, whoever foretells it."""
        return max((each.timestamp for each in self.said if each.timestamp <= now), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The value that survives, the rule that left it alone, and why in words."""

    winner: bytes
    rule: str
    words: str


def decide(candidates: Sequence[Candidate], rules: Sequence[Rule], *, now: datetime) -> Ruling | None:
    """What `rules` decide of the values of a group; None where they leave it to people."""
    standing = list(candidates)
    if len(standing) < 2:
        return None
    for rule in rules:
        if rule.rule == "human":
            return None
        standing = _NARROWED[rule.rule](standing, rule, now)
        if len(standing) == 1:
            (winner,) = standing
            return Ruling(winner=winner.content_sha256, rule=rule.rule, words=_WORDS[rule.rule](winner, rule))
    return None


def _from_the_first_source(standing: list[Candidate], rule: Rule, _now: datetime) -> list[Candidate]:
    for source in rule.sources:
        if held := [each for each in standing if source in each.sources]:
            return held
    return standing


def _of_the_most_trusted(standing: list[Candidate], _rule: Rule, _now: datetime) -> list[Candidate]:
    most = max(each.trust for each in standing)
    return [each for each in standing if each.trust == most]


def _latest(standing: list[Candidate], _rule: Rule, now: datetime) -> list[Candidate]:
    dated = [(when, each) for each in standing if (when := each.happened(now)) is not None]
    if not dated:
        return standing
    latest = max(when for when, _ in dated)
    # What happened so close together has no order.
    return [each for when, each in dated if latest - when < _AT_ONCE]


def _of_most_sources(standing: list[Candidate], _rule: Rule, _now: datetime) -> list[Candidate]:
    most = max(len(each.sources) for each in standing)
    return [each for each in standing if len(each.sources) == most]


_NARROWED: dict[str, Callable[[list[Candidate], Rule, datetime], list[Candidate]]] = {
    "trusted_sources": _from_the_first_source,
    "actor_trust": _of_the_most_trusted,
    "latest_event": _latest,
    "most_sources": _of_most_sources,
}


def _source_in_words(winner: Candidate, rule: Rule) -> str:
    source = next(source for source in rule.sources if source in winner.sources)
    return f"it is from {source}, the most trusted source that says anything"


def _trust_in_words(winner: Candidate, _rule: Rule) -> str:
    by = max((each.actor_type for each in winner.said), key=lambda actor_type: TRUST.get(actor_type, 0))
    return f"the word of a {by} is believed over that of the others"


def _number_in_words(winner: Candidate, _rule: Rule) -> str:
    return f"{len(winner.sources):,} sources agree on it, and fewer on any other value"


_WORDS: dict[str, Callable[[Candidate, Rule], str]] = {
    "trusted_sources": _source_in_words,
    "actor_trust": _trust_in_words,
    "latest_event": lambda *_: "it happened last",
    "most_sources": _number_in_words,
}
