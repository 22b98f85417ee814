"""The form by which a version of a policy is written: what it offers, what was typed, and what that says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from memoryhub.conflicts.detector import CLASSES
from memoryhub.conflicts.models import Policy
from memoryhub.conflicts.policies import DEFAULT_CLASSES
from memoryhub.conflicts.rules import RULES
from memoryhub.memories.envelope import Errors

ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth")
TITLES = {
    "trusted_sources": "Trusted sources, in order",
    "actor_trust": "User over system over agent",
    "latest_event": "Latest event",
    "most_sources": "Most sources agree",
    "human": "Leave it to people",
}
SCOPES = {"namespace": "namespace", "collection": "collection"}
_NAMES = {"name": "The name", "namespace": "The namespace", "collection": "The collection", "rules": "The rules"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """A namespace or a collection that a policy is about, or any of them."""

    name: str
    is_one: bool
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One place in the order of rules."""

    name: str
    options: list[tuple[str, str, bool]]


class PolicyForm:
    """What was typed into the form, or what stands in a policy, and what is wrong with it."""

    def __init__(self, told: Mapping[str, Any], *, version: int = 0, sources: str | None = None) -> None:
        self.told = told
        self.version = version
        of_rules = "\n".join(source for rule in told["rules"] for source in rule.get("sources", ()))
        self.sources = of_rules if sources is None else sources
        self.errors: Errors = {}

    @classmethod
    def of_policy(cls, policy: Policy | None) -> "PolicyForm":
        if policy is None:
            return cls({"classes": list(DEFAULT_CLASSES), "rules": [], "is_enabled": True})
        told = ("name", "namespace", "collection", "classes", "rules", "is_enabled")
        return cls({name: getattr(policy, name) for name in told}, version=policy.version)

    @classmethod
    def of_data(cls, data: QueryDict) -> "PolicyForm":
        lines = [line.strip() for line in data.get("sources", "").splitlines()]
        sources = {"sources": [line for line in lines if line]}
        told = {
            "name": data.get("name", ""),
            **{name: data.get(name, "") if data.get(f"{name}_is") == "one" else None for name in SCOPES},
            "classes": data.getlist("classes"),
            "rules": [
                {"rule": rule, **(sources if rule == "trusted_sources" else {})}
                for rule in data.getlist("rule")
                if rule
            ],
            "is_enabled": "is_enabled" in data,
        }
        version = data.get("version", "")
        number = int(version) if version.isascii() and version.isdecimal() and len(version) < 10 else 0
        return cls(told, version=number, sources=data.get("sources", ""))

    @property
    def name(self) -> str:
        return str(self.told.get("name", ""))

    @property
    def is_enabled(self) -> bool:
        return bool(self.told["is_enabled"])

    @property
    def scopes(self) -> list[Scope]:
        found = {name: self.told.get(name) for name in SCOPES}
        return [Scope(name=name, is_one=value is not None, value=value or "") for name, value in found.items()]

    @property
    def classes(self) -> list[tuple[str, bool]]:
        return [(name, name in self.told["classes"]) for name in CLASSES]

    @property
    def slots(self) -> list[Slot]:
        chosen = [rule["rule"] for rule in self.told["rules"]]
        places = zip(ORDINALS, [*chosen, *[""] * len(ORDINALS)], strict=False)
        return [
            Slot(name=ordinal, options=[(name, TITLES[name], name == rule) for name in RULES])
            for ordinal, rule in places
        ]

    @property
    def sentences(self) -> list[str]:
        """What is wrong, a sentence for each mistake."""
        return [" ".join(filter(None, [_name(field), *said])) for field, said in self.errors.items()]


def _name(field: str) -> str:
    first = field.partition(".")[0]
    return _NAMES.get(first, first.capitalize())
