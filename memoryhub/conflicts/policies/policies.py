"""Policies: rules that decide the open groups of a namespace and a collection.

A version of a policy never changes. Every change, also to disable the policy, adds a version; the newest one applies.

A policy is visible to principals that see everything its maker could see. So two policies for the same groups may be
enabled, if the maker of the second one could not see the first one. Neither takes precedence: the policy that runs
first decides, because a decided group is no longer open.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from memoryhub.audit.actions import AuditAction
from memoryhub.conflicts.detector.compare import CLASSES
from memoryhub.conflicts.groups.group_keys import GroupKey
from memoryhub.conflicts.models import Policy
from memoryhub.conflicts.policies.rules import MAX_RULES, Rule
from memoryhub.core.shapes import DocumentedAs, select_fields
from memoryhub.firewall import audit_events
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.clearance_snapshot import snapshot_clearance, snapshot_covered_q
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.writes.envelope import OperationRejectedError, rejection_from_pydantic
from memoryhub.memories.writes.validated_types import Name, one_of

DEFAULT_CLASSES = ("duplicate",)
"""The classes that a policy decides unless it names others. A policy that names `contradiction` or `update` retires
differing values, and relies on a detector that is wrong about some of them."""
MANUAL_CLASSES = ("paraphrase",)
"""The classes that no policy decides, even if it names them: too many of these groups hold two different values, as
long as the detector cannot tell them apart better."""
CLEARANCE_DIFFERS_MESSAGE = (
    "The policy was made by a principal that sees other memories. Disable it, and write another policy."
)
_INPUT_FIELDS = ("name", "namespace", "collection", "classes", "rules", "is_enabled")


def _validate_classes(value: list[str]) -> list[str]:
    if not value:
        raise PydanticCustomError("empty", "must name at least one class.")
    return [name for name in CLASSES if name in value]


def _validate_rules(value: list[Rule]) -> list[Rule]:
    if not 0 < len(value) <= MAX_RULES:
        raise PydanticCustomError("rules", f"must have 1 to {MAX_RULES} rules.")
    names = [rule.rule for rule in value]
    if len(set(names)) < len(names):
        raise PydanticCustomError("rules", "must name each rule only once.")
    if "manual_review" in names[:-1]:
        raise PydanticCustomError("rules", "must end with manual_review, if it is one of them.")
    return value


def _validate_name(value: str) -> str:
    if not value.strip():
        raise PydanticCustomError("blank", "is required.")
    return value


ClassName = Annotated[str, one_of(*CLASSES), Field(json_schema_extra={"enum": list(CLASSES)})]


class PolicyInput(BaseModel):
    """The content of a policy version. Without a namespace it applies to all namespaces; likewise the collection."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: Annotated[Name, AfterValidator(_validate_name)]
    namespace: Name | None = None
    collection: Name | None = None
    classes: Annotated[
        list[ClassName],
        AfterValidator(_validate_classes),
        Field(
            json_schema_extra={"minItems": 1},
            description=f"No policy decides groups of the class {', '.join(MANUAL_CLASSES)} yet.",
        ),
    ] = list(DEFAULT_CLASSES)
    rules: Annotated[
        list[Rule], AfterValidator(_validate_rules), Field(json_schema_extra={"minItems": 1, "maxItems": MAX_RULES})
    ]
    is_enabled: bool = True


class PolicyDocument(TypedDict):
    """One version of a policy."""

    policy_id: UUID
    version: int
    name: str
    namespace: Annotated[str | None, Field(description="Null means any namespace.")]
    collection: Annotated[str | None, Field(description="Null means any collection.")]
    classes: list[ClassName]
    rules: list[Annotated[dict[str, Any], DocumentedAs(Rule)]]
    is_enabled: bool
    created_at: datetime
    principal: Annotated[str, Field(description="The principal that wrote this version.")]


def parse_input(body: Any) -> PolicyInput:
    """The policy in `body`, a decoded JSON value. Raises OperationRejectedError with the errors of all fields."""
    if not isinstance(body, Mapping):
        raise OperationRejectedError({"": ["must be a JSON object."]})
    try:
        return PolicyInput.model_validate(body)
    except ValidationError as error:
        raise rejection_from_pydantic(error) from None


def list_current(principal: Principal) -> list[Policy]:
    """The newest version of each policy that `principal` may see, the most specific policy first."""
    visible_policies = _visible_policies(principal.clearance).order_by("policy_id", "-version").distinct("policy_id")
    return sorted(visible_policies, key=lambda policy: (_specificity(policy), policy.name, policy.policy_id))


def list_versions(policy_id: UUID, principal: Principal) -> list[Policy]:
    """All versions of a policy, the newest first; an empty list if `principal` may not see the policy."""
    policy_versions = list(Policy.objects.filter(policy_id=policy_id).order_by("-version"))
    # Versions may name different namespaces: whether the newest version is visible decides about all of them.
    return (
        policy_versions
        if policy_versions and _visible_policies(principal.clearance).filter(pk=policy_versions[0].pk).exists()
        else []
    )


def visible_policy_ids(clearance: Clearance) -> QuerySet[Policy, UUID]:
    """The ids of all policies that `clearance` may see."""
    return _visible_policies(clearance).values_list("policy_id", flat=True)


def get_current(policy_id: UUID, principal: Principal) -> Policy | None:
    """The newest version of a policy; None if `principal` may not see the policy."""
    return next(iter(list_versions(policy_id, principal)), None)


def save_version(
    policy_input: PolicyInput,
    *,
    principal: Principal,
    policy_id: UUID | None = None,
    version: int = 0,
    route: str = "",
    request_id: str = "",
) -> Policy:
    """Store a new policy, or the version that follows `version` of an existing one.

    Raises MissingScopeError without the scope `admin`, and OperationRejectedError with one of these codes:

    - `not_found`: `principal` sees no such policy.
    - `stale`: there is a later version than `version`.
    - `invalid_value`: `principal` may not see the namespace, or another policy that it may see decides the same groups.
    - `clearance_differs`: `principal` sees more than the maker and changes more than `is_enabled`. Principals that see
      less would read the new text.
    """
    principal.require_scopes(Scope.ADMIN)
    previous = None
    if policy_id is not None and (previous := get_current(policy_id, principal)) is None:
        raise OperationRejectedError({"": ["There is no such policy."]}, "not_found")
    if previous is not None and previous.version != version:
        raise stale_error()
    snapshot = snapshot_clearance(principal.clearance)
    new_version = Policy(
        policy_id=policy_id or uuid4(),
        version=version + 1 if previous else 1,
        principal=principal.name,
        **(previous.clearance_snapshot if previous else snapshot).to_columns(),
        **policy_input.model_dump(),
    )
    new_version.rules = [rule.json_fields for rule in policy_input.rules]
    if previous is not None and previous.clearance_snapshot != snapshot and _changes_content(previous, new_version):
        raise OperationRejectedError({"": [CLEARANCE_DIFFERS_MESSAGE]}, "clearance_differs")
    _validate_scope(new_version, principal)
    try:
        with audit_events.atomic(), transaction.atomic():
            new_version.save(force_insert=True)
            _record_change(previous, new_version, principal, route=route, request_id=request_id)
    except IntegrityError:
        raise stale_error() from None
    return new_version


def stale_error() -> OperationRejectedError:
    return OperationRejectedError(
        {"": ["The policy has changed since it was read. Nothing was changed; read it again."]}, "stale"
    )


def to_input(policy: Policy, **changes: Any) -> PolicyInput:
    """The content of a version, with `changes` applied."""
    return PolicyInput.model_validate({**{name: getattr(policy, name) for name in _INPUT_FIELDS}, **changes})


def parse_rules(policy: Policy) -> list[Rule]:
    return [Rule.model_validate(rule) for rule in policy.rules]


def applies_to(policy: Policy, key: GroupKey, namespaces: Iterable[str]) -> bool:
    """Whether a policy covers the group of `key`, whose visible members are in `namespaces`."""
    return policy.collection in (None, key[1]) and (policy.namespace is None or set(namespaces) == {policy.namespace})


def list_higher_priority(policy: Policy, principal: Principal) -> list[Policy]:
    """The enabled policies that take precedence over `policy` for the groups that both cover."""
    candidates = [
        candidate
        for candidate in list_current(principal)
        if candidate.is_enabled and candidate.policy_id != policy.policy_id
    ]
    return [candidate for candidate in candidates if _specificity(candidate) < _specificity(policy)]


def to_json(policy: Policy) -> PolicyDocument:
    return select_fields(PolicyDocument, vars(policy))


def _specificity(policy: Policy) -> tuple[bool, bool]:
    """Sort key, the most specific policy first: one with a namespace before one with a collection alone."""
    return policy.namespace is None, policy.collection is None


def _visible_policies(clearance: Clearance) -> QuerySet[Policy]:
    """Policy versions whose maker could see no more than `clearance`, without a namespace or with a visible one."""
    condition = snapshot_covered_q(clearance)
    if clearance.namespaces is not None:
        condition &= Q(namespace__isnull=True) | Q(namespace__in=sorted(clearance.namespaces))
    return Policy.objects.filter(condition)


def _changes_content(previous: Policy, new_version: Policy) -> bool:
    """Whether a version differs from the one before it in more than `is_enabled`."""
    return any(getattr(previous, name) != getattr(new_version, name) for name in _INPUT_FIELDS if name != "is_enabled")


def _validate_scope(new_version: Policy, principal: Principal) -> None:
    visible_namespaces = principal.clearance.namespaces
    if (
        new_version.namespace is not None
        and visible_namespaces is not None
        and new_version.namespace not in visible_namespaces
    ):
        raise OperationRejectedError({"namespace": ["is not one that you may see."]})
    overlapping_policy = next(
        (
            candidate
            for candidate in list_current(principal)
            if new_version.is_enabled and _overlaps(candidate, new_version)
        ),
        None,
    )
    if overlapping_policy is not None:
        raise OperationRejectedError(
            {"": [f"“{overlapping_policy.name}” already decides these groups: change or disable that policy."]}
        )


def _overlaps(candidate: Policy, new_version: Policy) -> bool:
    """Whether another enabled policy covers the same groups and neither of the two takes precedence."""
    return (
        candidate.is_enabled
        and candidate.policy_id != new_version.policy_id
        and (candidate.namespace, candidate.collection) == (new_version.namespace, new_version.collection)
        and not set(candidate.classes).isdisjoint(new_version.classes)
    )


def _record_change(
    previous: Policy | None, new_version: Policy, principal: Principal, *, route: str, request_id: str
) -> None:
    values = _field_values(new_version)
    audit_events.record_audit_event(
        AuditAction.POLICY_CHANGE,
        principal=principal,
        details={
            "policy_id": str(new_version.policy_id),
            "name": new_version.name,
            "version": new_version.version,
            "changed_fields": audit_events.diff_field_values(
                {} if previous is None else _field_values(previous), values
            ),
        },
        route=route,
        request_id=request_id,
    )


def _field_values(policy: Policy) -> dict[str, Any]:
    return {name: getattr(policy, name) for name in _INPUT_FIELDS}
