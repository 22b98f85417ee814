"""Policies: which rules decide the open groups of a namespace and a collection.

Nothing of a policy changes: to change it is to write its next version, and to disable it, too. The newest one holds.

A policy is visible to those who may see all that its maker could see. So two policies of the same groups may be
enabled, where the maker of the second could not see the first: neither goes before the other, and the one that is
carried out first decides, for a group that is decided is open no more.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from memoryhub.conflicts.detector import CLASSES
from memoryhub.conflicts.keys import Key
from memoryhub.conflicts.models import Policy
from memoryhub.conflicts.rules import MOST_RULES, Rule
from memoryhub.firewall import deeds
from memoryhub.firewall.querysets import covered_by
from memoryhub.firewall.reach import reach_columns, reach_of
from memoryhub.firewall.types import Clearance, Principal, Scope
from memoryhub.memories.envelope import Name, Rejected, one_of, rejected

DEFAULT_CLASSES = ("duplicate",)
"""The classes of groups that a policy decides unless it names others. A policy that names `contradiction` or
`update` retires values that differ, and relies on a detector that errs about some."""
LEFT_TO_PEOPLE = ("paraphrase",)
"""The classes of groups that no policy decides, even one that names them: too many of these groups hold two values that
differ. For as long as the detector tells them no better."""
OTHER_REACH = "The policy was made by somebody who sees other memories. Disable it, and make one of your own."
_TOLD = ("name", "namespace", "collection", "classes", "rules", "is_enabled")


def _classes(value: list[str]) -> list[str]:
    if not value:
        raise PydanticCustomError("empty", "must name one class at least.")
    return [name for name in CLASSES if name in value]


def _rules(value: list[Rule]) -> list[Rule]:
    if not 0 < len(value) <= MOST_RULES:
        raise PydanticCustomError("rules", f"must hold 1 to {MOST_RULES} rules.")
    names = [each.rule for each in value]
    if len(set(names)) < len(names):
        raise PydanticCustomError("rules", "must hold each rule only once.")
    if "human" in names[:-1]:
        raise PydanticCustomError("rules", "must end with human, if it is one of them.")
    return value


def _named(value: str) -> str:
    if not value.strip():
        raise PydanticCustomError("blank", "is required.")
    return value


OfClass = Annotated[str, one_of(*CLASSES), Field(json_schema_extra={"enum": list(CLASSES)})]


class Draft(BaseModel):
    """What a version of a policy says. Without a namespace it is about all of them, and so with the collection."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: Annotated[Name, AfterValidator(_named)]
    namespace: Name | None = None
    collection: Name | None = None
    classes: Annotated[
        list[OfClass],
        AfterValidator(_classes),
        Field(json_schema_extra={"minItems": 1}, description=f"No policy decides {', '.join(LEFT_TO_PEOPLE)} for now."),
    ] = list(DEFAULT_CLASSES)
    rules: Annotated[
        list[Rule], AfterValidator(_rules), Field(json_schema_extra={"minItems": 1, "maxItems": MOST_RULES})
    ]
    is_enabled: bool = True


def read(given: Any) -> Draft:
    """The draft in `given`, a decoded JSON value. Raises Rejected with the errors of every field."""
    if not isinstance(given, Mapping):
        raise Rejected({"": ["must be a JSON object."]})
    try:
        return Draft.model_validate(given)
    except ValidationError as error:
        raise rejected(error) from None


def newest(by: Principal) -> list[Policy]:
    """The version in force of each policy that `by` may see, the most specific first."""
    found = _visible(by.clearance).order_by("policy_id", "-version").distinct("policy_id")
    return sorted(found, key=lambda policy: (_specificity(policy), policy.name, policy.policy_id))


def versions(policy_id: UUID, by: Principal) -> list[Policy]:
    """All versions of a policy, the newest first: none, if `by` may not see it."""
    found = list(Policy.objects.filter(policy_id=policy_id).order_by("-version"))
    # A later version may be about another namespace: the one in force decides who may see the namespaces of all.
    return found if found and _visible(by.clearance).filter(pk=found[0].pk).exists() else []


def visible_ids(clearance: Clearance) -> QuerySet[Policy, UUID]:
    """The ids of all policies that `clearance` may see."""
    return _visible(clearance).values_list("policy_id", flat=True)


def one(policy_id: UUID, by: Principal) -> Policy | None:
    """The version in force of a policy, if `by` may see it."""
    return next(iter(versions(policy_id, by)), None)


def save(
    draft: Draft,
    *,
    by: Principal,
    policy_id: UUID | None = None,
    version: int = 0,
    route: str = "",
    request_id: str = "",
) -> Policy:
    """Write a new policy, or the version after `version` of one.

    Raises PermissionDenied for who is no admin, and Rejected: `not_found`, `stale` if there is a later version than the
    one that was read, `invalid_value` for a namespace that `by` may not see, and for a policy that would decide the
    groups of another one that `by` may see, `other_reach` for a change by somebody who sees more than the maker. Such
    a one may disable the policy, and what it wrote would be read by those who see less.
    """
    by.require(Scope.ADMIN)
    before = None
    if policy_id is not None and (before := one(policy_id, by)) is None:
        raise Rejected({"": ["There is no such policy."]}, "not_found")
    if before is not None and before.version != version:
        raise stale()
    made = Policy(
        policy_id=policy_id or uuid4(),
        version=version + 1 if before else 1,
        principal=by.name,
        **(before.reach if before else reach_columns(reach_of(by.clearance))),
        **draft.model_dump(),
    )
    made.rules = [rule.told for rule in draft.rules]
    if before is not None and before.reach != reach_columns(reach_of(by.clearance)) and _rewrites(before, made):
        raise Rejected({"": [OTHER_REACH]}, "other_reach")
    _check(made, by)
    try:
        with deeds.together(), transaction.atomic():
            made.save(force_insert=True)
            _tell(before, made, by, route=route, request_id=request_id)
    except IntegrityError:
        raise stale() from None
    return made


def stale() -> Rejected:
    return Rejected({"": ["The policy has changed since it was read. Nothing was done; look at it again."]}, "stale")


def draft_of(policy: Policy, **changed: Any) -> Draft:
    """What a version says, with some of it in another way."""
    return Draft.model_validate({**{name: getattr(policy, name) for name in _TOLD}, **changed})


def rules_of(policy: Policy) -> list[Rule]:
    return [Rule.model_validate(told) for told in policy.rules]


def is_about(policy: Policy, key: Key, namespaces: Iterable[str]) -> bool:
    """Whether a policy speaks of the group of a key, all visible members of which are in `namespaces`."""
    return policy.collection in (None, key[1]) and (policy.namespace is None or set(namespaces) == {policy.namespace})


def before(policy: Policy, by: Principal) -> list[Policy]:
    """The enabled policies that decide instead of `policy` where they speak of a group, too."""
    others = [other for other in newest(by) if other.is_enabled and other.policy_id != policy.policy_id]
    return [other for other in others if _specificity(other) < _specificity(policy)]


def as_json(policy: Policy) -> dict[str, Any]:
    return {name: getattr(policy, name) for name in ("policy_id", "version", *_TOLD, "at", "principal")}


def _specificity(policy: Policy) -> tuple[bool, bool]:
    """Sorts the most specific first: one of a namespace before one of a collection alone."""
    return policy.namespace is None, policy.collection is None


def _visible(clearance: Clearance) -> QuerySet[Policy]:
    """Versions of policies whose maker could see no more than `clearance`, about namespaces that it may see."""
    rule = covered_by(clearance)
    if clearance.namespaces is not None:
        rule &= Q(namespace__isnull=True) | Q(namespace__in=sorted(clearance.namespaces))
    return Policy.objects.filter(rule)


def _rewrites(before: Policy, made: Policy) -> bool:
    """Whether a version says anything else than the one before it, besides whether it is enabled."""
    return any(getattr(before, name) != getattr(made, name) for name in _TOLD if name != "is_enabled")


def _check(made: Policy, by: Principal) -> None:
    seen = by.clearance.namespaces
    if made.namespace is not None and seen is not None and made.namespace not in seen:
        raise Rejected({"namespace": ["is not one that you may see."]})
    rival = next((other for other in newest(by) if made.is_enabled and _is_rival(other, made)), None)
    if rival is not None:
        raise Rejected({"": [f"“{rival.name}” decides such groups already: change that one, or disable it."]})


def _is_rival(other: Policy, made: Policy) -> bool:
    """Whether another policy would decide the same groups, with nothing to say which of the two goes first."""
    return (
        other.is_enabled
        and other.policy_id != made.policy_id
        and (other.namespace, other.collection) == (made.namespace, made.collection)
        and not set(other.classes).isdisjoint(made.classes)
    )


def _tell(before: Policy | None, made: Policy, by: Principal, *, route: str, request_id: str) -> None:
    told = _said(made)
    deeds.tell(
        "policy.change",
        by=by,
        details={
            "policy": str(made.policy_id),
            "name": made.name,
            "version": made.version,
            "changed": deeds.changes({} if before is None else _said(before), told),
        },
        route=route,
        request_id=request_id,
    )


def _said(policy: Policy) -> dict[str, Any]:
    return {name: getattr(policy, name) for name in _TOLD}
