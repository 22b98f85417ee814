"""The ledger's query string, for the API and the inspector alike, and cursors that nobody else can use."""

from dataclasses import replace
from typing import Any

from django import forms
from django.core.signing import BadSignature, Signer
from django.core.validators import RegexValidator
from django.http import QueryDict

from memoryhub.firewall.cursors import signer_of
from memoryhub.firewall.types import Principal
from memoryhub.memories.filters import BadQuery, InstantField, TextField, read_parameters, refuse_unknown, text_options
from memoryhub.memories.pages import PARAMETERS, parse_limit
from memoryhub.ops import trail
from memoryhub.ops.trail import Trail

FILTERS = ("principal", "action", "memory", "request_id", "from", "to")
ACTIONS = (
    "memory.read", "memory.reveal", "memory.export", "memory.write", "memory.relabel", "memory.quarantine",
    "memory.release", "key.create", "key.change", "key.rotate", "key.revoke", "clearance.change", "user.change",
    "conflict.decide", "conflict.undo", "conflict.import", "policy.change", "policy.run", "policy.import",
    "session.sign_in", "session.refused", "session.sign_out", "view_as.start", "view_as.stop", "reads.lost",
)  # fmt: skip
"""What the hub itself does; any other word of this shape finds nothing."""
LONGEST = 300


_FIELDS: dict[str, forms.Field] = {
    "principal": TextField(required=False, **text_options(LONGEST)),
    "action": forms.CharField(
        required=False,
        strip=False,
        validators=[RegexValidator(r"\A[a-z_]{1,32}\.[a-z_]{1,32}\Z", f"must be an action, such as {ACTIONS[0]}.")],
    ),
    "memory": forms.UUIDField(required=False, error_messages={"invalid": "must be the id of a memory."}),
    "request_id": TextField(required=False, **text_options(LONGEST)),
    "from": InstantField(required=False),
    "to": InstantField(required=False),
}


def entries(data: QueryDict, viewer: Principal) -> Trail:
    """The entries that a query string asks for. Raises BadQuery."""
    refuse_unknown(data, frozenset((*FILTERS, *PARAMETERS)))
    asked = read_parameters(data, _FIELDS)
    if asked["from"] and asked["to"] and asked["from"] >= asked["to"]:
        raise BadQuery({"to": ["must be later than from."]})
    signer = signer_of(viewer, "ledger", [data.get(name) for name in FILTERS])
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
    signer = signer_of(viewer, "told to", principal)
    return _signed(trail.told_to(principal, viewer, **_place(data, signer)), signer)


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
