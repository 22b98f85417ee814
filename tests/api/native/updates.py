"""Writes of one memory, `p`, in each mode, and the version of it that is in force."""

from datetime import datetime
from typing import Any

from memoryhub.memories.models import Memory
from tests.api.receipts import Receipt, post_memory


def post_write(client: Any, on_conflict: str, **fields: Any) -> Receipt:
    plain_fields = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}
    return post_memory(client, on_conflict=on_conflict, **{"payload_id": "p", **plain_fields})


def post_update(client: Any, **fields: Any) -> Receipt:
    return post_write(client, "update", **fields)


def current(payload_id: str = "p") -> Memory:
    return Memory.objects.get(payload_id=payload_id, superseded_at=None)


def receipt_outcome(receipt: Receipt) -> str:
    return receipt.code or receipt.outcome
