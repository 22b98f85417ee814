"""The form for a version of a policy: its choices, its input and its errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from memoryhub.conflicts.detector.compare import CLASSES
from memoryhub.conflicts.models import Policy
from memoryhub.conflicts.policies.policies import DEFAULT_CLASSES
from memoryhub.conflicts.policies.rules import RULES
from memoryhub.memories.writes.envelope import Errors

ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth")
RULE_TITLES = {
    "trusted_sources": "Trusted sources, in order",
    "actor_trust": "User over system over agent",
    "latest_event": "Latest event",
    "most_sources": "Most sources agree",
    "manual_review": "Leave it to people",
}
SCOPE_NAMES = {"namespace": "namespace", "collection": "collection"}
_FIELD_LABELS = {"name": "The name", "namespace": "The namespace", "collection": "The collection", "rules": "The rules"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyScopeField:
    """The namespace or the collection to which a policy is limited, or any."""

    name: str
    is_specific: bool
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSlot:
    """One position in the order of rules, with the rules to choose from."""

    name: str
    options: list[tuple[str, str, bool]]


class PolicyForm:
    """The values of the form, from its input or from a stored policy, and its errors."""

    def __init__(self, values: Mapping[str, Any], *, version: int = 0, sources: str | None = None) -> None:
        self.values = values
        self.version = version
        rule_sources = "\n".join(source for rule in values["rules"] for source in rule.get("sources", ()))
        self.sources = rule_sources if sources is None else sources
        self.errors: Errors = {}

    @classmethod
    def from_policy(cls, policy: Policy | None) -> "PolicyForm":
        if policy is None:
            return cls({"classes": list(DEFAULT_CLASSES), "rules": [], "is_enabled": True})
        field_names = ("name", "namespace", "collection", "classes", "rules", "is_enabled")
        return cls({name: getattr(policy, name) for name in field_names}, version=policy.version)

    @classmethod
    def from_data(cls, data: QueryDict) -> "PolicyForm":
        lines = [line.strip() for line in data.get("sources", "").splitlines()]
        sources = {"sources": [line for line in lines if line]}
        values = {
            "name": data.get("name", ""),
            **{name: data.get(name, "") if data.get(f"{name}_mode") == "specific" else None for name in SCOPE_NAMES},
            "classes": data.getlist("classes"),
            "rules": [
                {"rule": rule, **(sources if rule == "trusted_sources" else {})}
                for rule in data.getlist("rule")
                if rule
            ],
            "is_enabled": "is_enabled" in data,
        }
        version = data.get("version", "")
        version_number = int(version) if version.isascii() and version.isdecimal() and len(version) < 10 else 0
        return cls(values, version=version_number, sources=data.get("sources", ""))

    @property
    def name(self) -> str:
        return str(self.values.get("name", ""))

    @property
    def is_enabled(self) -> bool:
        return bool(self.values["is_enabled"])

    @property
    def scopes(self) -> list[PolicyScopeField]:
        scope_values = {name: self.values.get(name) for name in SCOPE_NAMES}
        return [
            PolicyScopeField(name=name, is_specific=value is not None, value=value or "")
            for name, value in scope_values.items()
        ]

    @property
    def classes(self) -> list[tuple[str, bool]]:
        return [(name, name in self.values["classes"]) for name in CLASSES]

    @property
    def slots(self) -> list[RuleSlot]:
        rule_names = [rule["rule"] for rule in self.values["rules"]]
        ordinal_rules = zip(ORDINALS, [*rule_names, *[""] * len(ORDINALS)], strict=False)
        return [
            RuleSlot(name=ordinal, options=[(name, RULE_TITLES[name], name == rule) for name in RULES])
            for ordinal, rule in ordinal_rules
        ]

    @property
    def error_messages(self) -> list[str]:
        """One sentence per error."""
        return [
            " ".join(filter(None, [_get_field_label(field), *field_messages]))
            for field, field_messages in self.errors.items()
        ]


def _get_field_label(field: str) -> str:
    field_name = field.partition(".")[0]
    return _FIELD_LABELS.get(field_name, field_name.capitalize())
