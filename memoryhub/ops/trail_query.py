"""The ledger's query string, for the API and the inspector alike, and cursors that nobody else can use."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, Signer
from django.core.validators import RegexValidator
from django.http import QueryDict

from memoryhub.firewall.types import Principal
from memoryhub.memories.filters import BadQuery, InstantField, refuse_unknown
from memoryhub.memories.pages import PARAMETERS, parse_limit
from memoryhub.memories.text import why_not_storable
from memoryhub.ops import trail
from memoryhub.ops.trail import Trail

FILTERS = ("principal", "action", "memory", "request_id", "from", "to")
ACTIONS = (
    "memory.read", "memory.reveal", "memory.export", "memory.write", "memory.relabel", "memory.quarantine",
    "memory.release", "key.create", "key.change", "key.rotate", "key.revoke", "clearance.change", "user.change",
    "session.sign_in", "session.refused", "session.sign_out", "view_as.start", "view_as.stop", "reads.lost",
)  # fmt: skip
"""What the hub itself does; any other word of this shape finds nothing."""
LONGEST = 300


def _storable(value: str) -> None:
    if (reason := why_not_storable(value)) is not None:
        raise ValidationError(reason)


def _text() -> forms.CharField:
    return forms.CharField(
        required=False,
        strip=False,
        max_length=LONGEST,
        validators=[_storable],
        error_messages={"max_length": f"must be at most {LONGEST} characters long."},
    )


_FIELDS: dict[str, forms.Field] = {
    "principal": _text(),
    "action": forms.CharField(
        required=False,
        strip=False,
        validators=[RegexValidator(r"\A[a-z_]{1,32}\.[a-z_]{1,32}\Z", f"must be an action, such as {ACTIONS[0]}.")],
    ),
    "memory": forms.UUIDField(required=False, error_messages={"invalid": "must be the id of a memory."}),
    "request_id": _text(),
    "from": InstantField(required=False),
    "to": InstantField(required=False),
}


def entries(data: QueryDict, viewer: Principal) -> Trail:
    """The entries that a query string asks for. Raises BadQuery."""
    refuse_unknown(data, frozenset((*FILTERS, *PARAMETERS)))
    asked = _cleaned(data)
    if asked["from"] and asked["to"] and asked["from"] >= asked["to"]:
        raise BadQuery({"to": ["must be later than from."]})
    signer = _signer(viewer, {name: data.get(name, "") for name in FILTERS})
    found = trail.entries(
        viewer,
        principal=asked["principal"],
        action=asked["action"],
        memory_id=asked["memory"],
        request_id=asked["request_id"],
        since=asked["from"],
        until=asked["to"],
        **_place(data, signer),
    )
    return _signed(found, signer)


def told_to(principal: str, data: QueryDict, viewer: Principal) -> Trail:
    """The page that a query string asks for of what a principal was told. Raises BadQuery."""
    refuse_unknown(data, frozenset(PARAMETERS))
    signer = _signer(viewer, {"told to": principal})
    return _signed(trail.told_to(principal, viewer, **_place(data, signer)), signer)


def _cleaned(data: QueryDict) -> dict[str, Any]:
    values: dict[str, Any] = {}
    errors: dict[str, list[str]] = {}
    for name, field in _FIELDS.items():
        try:
            values[name] = field.clean(data.get(name, ""))
        except ValidationError as error:
            errors[name] = list(error.messages)
    if errors:
        raise BadQuery(errors)
    return values


def _place(data: QueryDict, signer: Signer) -> dict[str, Any]:
    """Where the page begins, and how long it is."""
    limit = parse_limit(data.get("limit", ""))
    if not (cursor := data.get("cursor", "")):
        return {"limit": limit}
    try:
        return {"limit": limit, "cursor": signer.unsign(cursor)}
    except BadSignature:
        raise BadQuery({"cursor": ["is not a cursor of this list."]}, "bad_cursor") from None


def _signed(found: Trail, signer: Signer) -> Trail:
    return replace(found, next_cursor=found.next_cursor and signer.sign(found.next_cursor))


def _signer(viewer: Principal, asked: Mapping[str, str]) -> Signer:
    """A signer whose signatures hold for this viewer, this clearance and this question only."""
    held = viewer.clearance
    bound = (
        viewer.name,
        held.max_tier,
        sorted(held.blocked_labels),
        sorted(held.required_labels),
        None if held.namespaces is None else sorted(held.namespaces),
        sorted(asked.items()),
    )
    return Signer(salt=f"memoryhub.ledger:{bound!r}", sep=".")
