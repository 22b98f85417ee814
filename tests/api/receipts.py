"""Writing over the API, and what a writer is answered. A test that writes parses receipts here and nowhere else."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.factories import make_key

URL = "/api/memories"
STORED = ("created", "updated")
"""The outcomes that add a version."""
# Answers that are problems name no outcome; an item of a batch with the same code does.
_OUTCOME_OF_CODE = {"payload_id_conflict": "conflict"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The answer about one envelope. `status` is that of the whole answer, so 200 for each item of a batch."""

    status: int
    outcome: str
    payload_id: str | None = None
    memory_id: UUID | None = None
    version: int | None = None
    code: str = ""
    errors: Mapping[str, list[str]] = field(default_factory=dict)
    decision_id: UUID | None = None
    warnings: Any = None

    @property
    def is_stored(self) -> bool:
        return self.outcome in STORED

    @property
    def status_and_outcome(self) -> tuple[int, str]:
        """The status, with the outcome or, where nothing was stored, the reason."""
        return self.status, self.code or self.outcome


def make_writer_key(scopes: str = "write read", **fields: Any) -> str:
    return make_key(scopes=scopes, source="test", clearance={"max_tier": "confidential"}, **fields)


def write_path(on_conflict: str = "") -> str:
    return f"{URL}?on_conflict={on_conflict}" if on_conflict else URL


def post_memory(client: Any, *, on_conflict: str = "", **fields: Any) -> Receipt:
    """Write one memory of exactly these fields, as the caller whom the fixture `api` made."""
    response = client.post(write_path(on_conflict), fields)
    (receipt,) = parse_receipts(response.status_code, response.content)
    return receipt


def post_batch(client: Any, *items: Mapping[str, Any], on_conflict: str = "") -> list[Receipt]:
    response = client.post(write_path(on_conflict), list(items))
    return parse_receipts(response.status_code, response.content)


def parse_receipts(status: int, body: bytes) -> list[Receipt]:
    """The receipts in an answer to a write: one, or one for each item of a batch."""
    document = json.loads(body)
    return [_to_receipt(status, item) for item in document.get("results", [document])]


def _to_receipt(status: int, item: Mapping[str, Any]) -> Receipt:
    code = item.get("code", "")
    return Receipt(
        status=status,
        outcome=item.get("outcome") or _OUTCOME_OF_CODE.get(code, "rejected"),
        payload_id=item.get("payload_id"),
        memory_id=_parse_uuid(item.get("memory_id")),
        version=item.get("version"),
        code=code,
        errors=item.get("errors") or {},
        decision_id=_parse_uuid(item.get("decision_id")),
        warnings=item.get("warnings"),
    )


def _parse_uuid(value: str | None) -> UUID | None:
    return UUID(value) if value else None
