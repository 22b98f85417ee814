"""Records for responses, without a database."""

from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from memoryhub.memories.records import mask_record

pytestmark = pytest.mark.unit

SECRET = "ghp_" + "a1B2c3D4e5" * 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    text: str


def test_secrets_are_masked_in_every_part_of_a_record():
    record: dict[str, Any] = {
        "text": SECRET,
        "list": [SECRET],
        "object": {"text": SECRET},
        "dataclass": Note(text=SECRET),
        "json": orjson.Fragment(orjson.dumps({"text": SECRET})),
    }

    masked_record = mask_record(record)

    assert masked_record.keys() == record.keys()
    assert SECRET.encode() not in orjson.dumps(masked_record)
    assert SECRET.encode() in orjson.dumps(record)


def test_a_record_without_secrets_is_unchanged():
    record = {"text": "Paris", "note": Note(text="Berlin"), "count": 2}

    assert mask_record(record) == record
