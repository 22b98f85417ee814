"""What an export writes to its file, and what an import reads from a damaged file or one of another layout."""

import gzip
import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from memoryhub.memories.models import Memory
from memoryhub.transfer.line_files import SINGLE_DOCUMENT_REASON
from tests.conflicts.policies.policy_factories import make_group
from tests.factories import envelope, make_clearance, make_memory
from tests.transfer.hub_history import (
    export_bytes,
    export_output,
    reclassify_memory,
    resolve_group,
    store_history,
    to_lines,
)

pytestmark = pytest.mark.django_db


def test_an_export_is_full_and_says_what_an_option_leaves_out():
    store_history()

    file, output = export_output()
    active, skipped_lines = export_output("--active-only")

    status = [json.loads(line).get("status") for line in file.splitlines()]
    assert {"active", "retired", "quarantined", "erased"} <= set(status)
    inactive = sum(status_value not in (None, "active") for status_value in status)
    assert f"{inactive:,} memories left out by --active-only: 1 erased, 1 quarantined, " in skipped_lines
    assert "earlier versions left out" in output
    assert {json.loads(line).get("status", "active") for line in active.splitlines()} == {"active"}
    assert "decisions left out: some of their memories are not in this export" in skipped_lines
    validity = [json.loads(line)["validity"] for line in file.splitlines() if b'"payload_id"' in line and
                "validity" in json.loads(line) and json.loads(line).get("type") is None]  # fmt: skip
    assert validity == [{"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"}]


def test_a_readers_export_has_neither_what_a_source_sent_nor_decisions_that_the_reader_may_not_see():
    make_memory(payload_id="opened", tier="restricted", labels=["secret"], namespace="deep")
    reclassify_memory(Memory.objects.get(), classification_tier="public", remove_labels=["secret"])
    _, london = make_group("user:ada", "Paris", "London")
    resolve_group("user:ada", "keep_one", london, reason="Canary.")
    reclassify_memory(london, classification_tier="restricted")
    make_clearance(name="low", max_tier="public")

    full_export, low = export_bytes(), export_bytes("--clearance", "low")

    assert b"secret" in full_export
    assert b"Canary" in full_export
    assert b"sent_" not in low
    assert b"decision" not in low
    assert b"Canary" not in low
    assert b"Paris" in low


class TestFiles:
    def run_import(self, tmp_path: Path, name: str, data: bytes) -> tuple[str, str]:
        (tmp_path / name).write_bytes(data)
        out, err = io.StringIO(), io.StringIO()
        try:
            call_command("import_memories", str(tmp_path / name), stdout=out, stderr=err, no_color=True)
        except CommandError as error:
            err.write(str(error))
        return out.getvalue(), err.getvalue()

    @pytest.mark.parametrize("damage", [lambda packed: packed + b"garbage", lambda packed: packed[:-300]],
                             ids=["trailing garbage", "cut off"])  # fmt: skip
    def test_a_damaged_archive_keeps_what_can_be_read_and_says_how_much(self, tmp_path, damage):
        texts = to_lines(*[envelope(payload_id=f"p-{n}", content=f"{n} {hash(str(n))}") for n in range(100)])

        out, err = self.run_import(tmp_path, "damaged.jsonl.gz", damage(gzip.compress(texts)))

        stored_count = Memory.objects.count()
        assert stored_count > 80
        assert f"{stored_count} created" in out
        assert "cannot be read beyond line" in err

    def test_a_mark_layouts_and_nanoseconds_are_understood_or_complained_of_once(self, tmp_path):
        pretty = json.dumps(envelope(metadata={"a": [1, {"b": "}"}]}), indent=2).encode()
        array = json.dumps([envelope(), envelope()], indent=2).encode()
        fine = envelope(payload_id="fine", timestamp="2026-03-01T12:00:00.123456789Z")
        data = b"\xef\xbb\xbf" + to_lines(envelope(payload_id="first"), fine)

        out, err = self.run_import(
            tmp_path, "foreign.jsonl", data + pretty + b"\n" + array + b"\n" + to_lines(envelope())
        )

        assert "3 created" in out
        assert "2 rejected, 1 truncated to microseconds" in out
        assert Memory.objects.get(payload_id="fine").timestamp.microsecond == 123456
        assert f":3: {SINGLE_DOCUMENT_REASON}" in err
        assert f"2 times {SINGLE_DOCUMENT_REASON}" in err
        assert err.count("document") == 3

    def test_reasons_are_counted_and_not_repeated_a_thousand_times(self, tmp_path):
        data = b"".join(b"no json %d\n" % index for index in range(1_000)) + to_lines({"payload_id": "p"})

        _, err = self.run_import(tmp_path, "bad.jsonl", data)

        assert "1,000 times is not JSON" in err
        assert "1 times " in err
        assert len(err.splitlines()) < 60
