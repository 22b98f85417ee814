"""import_memories and export_memories: every line is accounted for, and what goes out comes back in."""

import gzip
import io
import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pgtrigger
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from memoryhub.audit.models import AuditEntry
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import write
from memoryhub.memories.writes.identity import OnConflict
from memoryhub.transfer import jsonl_import, line_files
from tests.factories import WRITER, envelope, make_clearance, make_memory, utc

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parents[2]


def to_lines(*values: Any) -> bytes:
    return b"".join((value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n" for value in values)


def run_import(*files: Path | str, **options: Any) -> tuple[str, str, int]:
    """Standard output, standard error (the report and the last sentence), and the exit code."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("import_memories", *map(str, files), stdout=out, stderr=err, no_color=True, **options)
    except CommandError as error:
        return out.getvalue(), err.getvalue() + str(error), error.returncode
    return out.getvalue(), err.getvalue(), 0


def run_export(file: Path, *arguments: str) -> bytes:
    file.unlink(missing_ok=True)
    call_command("export_memories", *arguments, output=str(file), stderr=io.StringIO())
    return file.read_bytes()


def outcome_counts(out: str) -> dict[str, int]:
    return {
        outcome: int(digits.replace(",", ""))
        for digits, outcome in re.findall(r"(\d[\d,]*) ([a-z]+)", out.partition(": ")[2])
    }


def empty_the_table() -> None:
    with pgtrigger.ignore("memories.Memory:forbid_truncate"), connection.cursor() as cursor:
        cursor.execute("TRUNCATE memories, record_clock RESTART IDENTITY CASCADE")
        cursor.execute("SELECT tablename FROM pg_tables WHERE starts_with(tablename, 'memory_')")
        for (table,) in cursor.fetchall():
            cursor.execute(f'TRUNCATE "{table}"')


BAD_LINES: list[tuple[bytes, str]] = [
    (b"not json", "is not JSON"),
    (b"[1, 2]", "must be a JSON object"),
    (b'{"payload_id": "a", "payload_id": "b"}', "same key twice"),
    (b'{"payload_id": "a", "content": "b", "source": "s", "x": 1}', "x is not a field"),
    (b'{"payload_id": "a", "content": "b"}', "source is required"),
    (b'{"payload_id": "a", "source": "s"}', "content is required"),
    (b'{"payload_id": "\xff", "content": "b", "source": "s"}', "UTF-8"),
    (b'{"payload_id": "a\\u0000", "content": "b", "source": "s"}', "NUL"),
    (b'{"payload_id": "a", "content": "\\ud800", "source": "s"}', "surrogate"),
    (b'{"payload_id": "a", "content": "b", "source": "s", "timestamp": "now"}', "RFC 3339"),
    (b'{"payload_id": "a", "content": "b", "source": "s", "embedding": [1]}', "384 dimensions"),
    (b'{"payload_id": "a", "content": "b", "source": "s", "status": "rejected"}', "must be one of active"),
    (b'{"payload_id": "a", "content": "b", "source": "s", "version": 0}', "at least 1"),
    (b'{"payload_id": "a", "content": "b", "source": "s", "defaulted_fields": ["nonsense"]}', "the envelope's fields"),
    (b"[" * 100_000, "deeper than"),
    (b'{"payload_id": "\\u001b[31mred", "content": "", "source": "s"}', "content"),
]


class TestImport:
    def test_stores_the_good_lines_and_names_the_bad_ones_by_number(self, tmp_path):
        file = tmp_path / "mixed.jsonl"
        content = []
        for bad_line, _ in BAD_LINES:
            content += [to_lines(envelope(source="agent")), bad_line + b"\n", b"\n"]
        file.write_bytes(b"".join(content))

        out, err, code = run_import(file)

        assert code == 1
        assert outcome_counts(out) == {
            "lines": 3 * len(BAD_LINES), "created": len(BAD_LINES), "duplicate": 0, "updated": 0, "conflict": 0,
            "rejected": len(BAD_LINES),
        }  # fmt: skip
        reported_lines = {
            int(line_number): message
            for line_number, message in re.findall(rf"^{re.escape(str(file))}:(\d+): (.*)$", err, re.M)
        }
        assert list(reported_lines) == [2 + 3 * index for index in range(len(BAD_LINES))]
        assert [
            reason for index, (_, reason) in enumerate(BAD_LINES) if reason not in reported_lines[2 + 3 * index]
        ] == []
        assert Memory.objects.count() == len(BAD_LINES)
        assert f"{len(BAD_LINES)} lines were not stored; all other lines were." in err

    def test_lets_no_control_character_of_a_line_reach_the_terminal(self, tmp_path):
        file = tmp_path / "evil.jsonl"
        control_text = "\x1b]52;c;cm0=\x07\r\u202e\x9b31m"
        file.write_bytes(
            to_lines(
                {"payload_id": control_text, "content": "x", "source": "s", control_text: 1},
                {control_text: control_text},
            )
        )

        _, err, _ = run_import(file)

        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", err)

    def test_keeps_the_source_of_every_line(self, tmp_path):
        file = tmp_path / "two.jsonl"
        file.write_bytes(
            to_lines(*[envelope(source=source, payload_id="same", content=source) for source in ("a", "b")])
        )

        assert run_import(file)[2] == 0
        assert sorted(Memory.objects.values_list("source", "content", "actor_type")) == [
            ("a", "a", "system"),
            ("b", "b", "system"),
        ]

    def test_reads_gzip_standard_input_and_what_has_no_last_newline(self, tmp_path, monkeypatch):
        packed_file, plain_file = tmp_path / "packed.jsonl.gz", tmp_path / "bare.jsonl"
        packed_file.write_bytes(gzip.compress(to_lines(envelope(payload_id="packed"))))
        plain_file.write_bytes(b"\r\n \n" + to_lines(envelope(payload_id="bare")).rstrip(b"\n"))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(to_lines(envelope(payload_id="piped")))))

        out, _, code = run_import(packed_file, plain_file, "-")

        assert code == 0
        assert set(Memory.objects.values_list("payload_id", flat=True)) == {"packed", "bare", "piped"}
        assert [line.rpartition(": ")[0].rpartition(": ")[2] for line in out.splitlines()] == [
            "1 lines",
            "3 lines",
            "1 lines",
        ]

    def test_of_nothing_stores_nothing(self, tmp_path):
        (tmp_path / "empty.jsonl").touch()
        (tmp_path / "empty.jsonl.gz").write_bytes(gzip.compress(b""))

        for name in ("empty.jsonl", "empty.jsonl.gz"):
            out, _, code = run_import(tmp_path / name)
            assert (outcome_counts(out)["lines"], code) == (0, 0)

    def test_adds_nothing_the_second_time(self, tmp_path):
        file = tmp_path / "some.jsonl"
        file.write_bytes(to_lines(*[envelope(embedding=[n + 1.0] * 384, labels=["a"]) for n in range(5)], envelope()))

        first, second_import = run_import(file), run_import(file)

        assert (
            outcome_counts(first[0])["created"],
            outcome_counts(second_import[0])["created"],
            outcome_counts(second_import[0])["duplicate"],
        ) == (6, 0, 6)
        assert Memory.objects.count() == 6

    def test_goes_over_many_batches(self, tmp_path, monkeypatch):
        monkeypatch.setattr(jsonl_import, "BATCH_SIZE", 7)
        file = tmp_path / "many.jsonl"
        file.write_bytes(to_lines(*[envelope() if n % 10 else b"bad" for n in range(100)]))

        out, err, _ = run_import(file)

        assert (outcome_counts(out)["created"], outcome_counts(out)["rejected"]) == (90, 10)
        assert [int(n) for n in re.findall(r":(\d+):", err)] == list(range(1, 101, 10))

    @pytest.mark.parametrize(
        ("options", "outcome", "contents"),
        [({}, "conflict", ["One."]), ({"on_conflict": "update"}, "updated", ["One.", "Two."])],
    )
    def test_refuses_another_content_unless_it_is_asked_to_update(self, tmp_path, options, outcome, contents):
        file = tmp_path / "twice.jsonl"
        file.write_bytes(to_lines(*[envelope(payload_id="p", content=content) for content in ("One.", "Two.")]))

        out, err, code = run_import(file, **options)

        assert outcome_counts(out)[outcome] == 1
        assert (":2: payload_id 'p' is stored with other content" in err) == (code == 1) == (outcome == "conflict")
        assert list(Memory.objects.order_by("version").values_list("content", flat=True)) == contents

    @pytest.mark.parametrize(
        "data",
        [gzip.compress(b"{}\n" * 100, mtime=0)[:-10], b"\x1f\x8b" + b"\x00" * 50, b"no gzip"],
        ids=["cut", "zeros", "text"],
    )
    def test_says_when_a_file_is_damaged(self, tmp_path, data):
        file = tmp_path / "damaged.jsonl.gz"
        file.write_bytes(data)

        _, err, code = run_import(file)

        assert code == 1
        assert "cannot be read" in err

    def test_says_when_a_file_is_missing(self, tmp_path):
        _, err, code = run_import(tmp_path / "nothing.jsonl")

        assert (code, "cannot be read" in err) == (1, True)

    def test_refuses_a_line_that_is_too_long_and_reads_on(self, tmp_path, monkeypatch):
        monkeypatch.setattr(line_files, "MAX_LINE_BYTES", 1_000)
        file = tmp_path / "long.jsonl"
        file.write_bytes(to_lines(envelope(), envelope(content="x" * 5_000), envelope()))

        out, err, _ = run_import(file)

        assert (outcome_counts(out)["created"], ":2: is longer than 1,000 bytes" in err) == (2, True)


def store_varied_memories() -> None:
    rows = [
        envelope(payload_id="plain"),
        {"payload_id": "bare", "content": "Only what must be."},
        envelope(payload_id="vector", embedding=[0.1, -1e-40, 3.4e38, *[1 / 3] * 381]),
        envelope(
            payload_id="numbers",
            metadata={
                "big": 10**400, "bigger than 64 bits": 2**63, "small": 5e-324, "huge": 1.7976931348623157e308,
                "e": 1e23, "float": 1.0, "minus zero": -0.0, "third": 1 / 3, "nested": [[{}], [], None, True, ""],
            },
        ),
        envelope(payload_id="texts", content='Zürich 👩‍👩‍👧 \u202e\u2028\x7f\x1b[31m "\\" e\u0301',
                 subject="é", role="e\u0301"),
        envelope(payload_id="labels", labels=["PII", "pii", "é", "e\u0301"], tier="restricted"),
        envelope(payload_id="expiring", expires_at="2999-12-31T23:59:59.999999Z", pinned=True, kind="checkpoint"),
        envelope(payload_id="propagated", propagation={"to": ["a"], "n": 1.50}),
        envelope(payload_id="first moment", timestamp="0001-01-01T00:00:00Z"),
        envelope(payload_id="last moment", timestamp="9999-12-31T23:59:59.999999Z"),
        envelope(payload_id="user", actor_type="user", actor_id="ada", schema_version=32767, request_id="r"),
        envelope(payload_id="updated", content="One."),
    ]  # fmt: skip
    assert {receipt.outcome for receipt in write.write_memories(rows, principal=WRITER)} == {"created"}
    for text in ("Two.", "Three."):
        make_memory(payload_id="updated", content=text, embedding=[1.0] * 384)


class TestRoundTrip:
    @pytest.mark.parametrize("arguments", [(), ("--history",)])
    def test_gives_the_same_bytes(self, tmp_path, arguments):
        store_varied_memories()
        before = run_export(tmp_path / "before.jsonl", *arguments)
        versions = list(Memory.objects.order_by("id").values_list("payload_id", "version", "content"))
        empty_the_table()

        out, err, code = run_import(tmp_path / "before.jsonl")
        after = run_export(tmp_path / "after.jsonl", *arguments)

        assert (code, outcome_counts(out)["rejected"]) == (0, 0), err
        assert [_without_hub_fields(line) for line in after.splitlines()] == [
            _without_hub_fields(line) for line in before.splitlines()
        ]
        if arguments:
            assert list(Memory.objects.order_by("id").values_list("payload_id", "version", "content")) == versions
        else:
            assert after == before

    @pytest.mark.parametrize("arguments", [(), ("--history",)])
    def test_adds_nothing_where_it_came_from(self, tmp_path, arguments):
        store_varied_memories()
        count = Memory.objects.count()
        exported_file = run_export(tmp_path / "before.jsonl", *arguments)

        out, err, code = run_import(tmp_path / "before.jsonl")

        assert (code, outcome_counts(out)["duplicate"]) == (0, len(exported_file.splitlines())), err
        assert Memory.objects.count() == count

    @pytest.mark.parametrize("arguments", [(), ("--history",)])
    def test_leaves_the_first_writers_replays_duplicates(self, tmp_path, arguments):
        """The hub that took over the memories knows the writes of the old one, also those without a timestamp."""
        minimal = {"payload_id": "bare", "content": "Only what must be."}
        numbers_ = envelope(payload_id="numbers", metadata={"a": 1e23, "b": 1.5e300, "c": 10**30, "d": 1e-7})
        write.write_memories([minimal, numbers_], principal=WRITER)
        run_export(tmp_path / "moved.jsonl", *arguments)
        empty_the_table()
        run_import(tmp_path / "moved.jsonl")

        assert [receipt.outcome for receipt in write.write_memories([minimal, numbers_], principal=WRITER)] == [
            "duplicate"
        ] * 2

    def test_of_a_history_that_is_cut_can_be_repeated(self, tmp_path):
        """The old clearance saw the versions from the second on: so many come over, once."""
        make_memory(payload_id="p", content="Secret.", tier="restricted")
        for text in ("Two.", "Three."):
            make_memory(payload_id="p", content=text, tier="public")
        make_clearance(name="low", max_tier="public")
        run_export(tmp_path / "cut.jsonl", "--history", "--clearance", "low")
        empty_the_table()

        for _ in range(2):
            run_import(tmp_path / "cut.jsonl")

        assert list(Memory.objects.order_by("version").values_list("content", flat=True)) == ["Two.", "Three."]


def _without_hub_fields(line: bytes) -> dict[str, Any]:
    """A line without what belongs to the hub that wrote it."""
    system_fields = {"memory_id", "recorded_at", "superseded_at"}
    return {name: value for name, value in json.loads(line).items() if name not in system_fields}


class TestExport:
    @pytest.mark.parametrize(
        ("arguments", "expected_ids"),
        [
            ((), "a b c"), (("--tier", "internal"), "b"), (("--source", "test"), "a b c"), (("--label", "PII"), "b c"),
            (("--label", "pii", "--label", "x"), "c"), (("--q", "second"), "b"), (("--payload-id", "a"), "a"),
            (("--actor-type", "user"), "c"), (("--from", "2026-03-02"), "b c"), (("--to", "2026-03-02"), "a"),
            (("--status", "retired"), ""), (("--active-only",), "a b c"), (("--clearance", "low"), "a"),
            (("--clearance", "low", "--label", "pii"), ""),
            (("--clearance", "no pii"), "a"),
        ],
    )  # fmt: skip
    def test_has_the_filters_and_the_firewall_of_the_api(self, tmp_path, arguments, expected_ids):
        make_memory(payload_id="a", content="The first.", timestamp=utc("2026-03-01 00:00"))
        make_memory(
            payload_id="b", content="The second.", timestamp=utc("2026-03-02 00:00"), tier="internal", labels=["pii"]
        )
        make_memory(
            payload_id="c", timestamp=utc("2026-03-03 00:00"), tier="restricted", labels=["pii", "x"], actor_type="user"
        )
        make_clearance(name="low", max_tier="public")
        make_clearance(name="no pii", max_tier="restricted", blocked_labels=["PII"])

        exported_file = run_export(tmp_path / "out.jsonl", *arguments)

        assert [json.loads(line)["payload_id"] for line in exported_file.splitlines()] == expected_ids.split()

    @pytest.mark.parametrize(
        ("arguments", "error_text"),
        [
            (("--tier", "nonsense"), "tier must be one of"), (("--from", "yesterday"), "from must be an RFC 3339"),
            (("--clearance", "nobody's"), "no clearance named"), (("--q", "a", "--q", "b"), "only once"),
        ],
    )  # fmt: skip
    def test_refuses_what_it_does_not_understand(self, tmp_path, arguments, error_text):
        with pytest.raises(CommandError, match=error_text):
            run_export(tmp_path / "out.jsonl", *arguments)
        assert not (tmp_path / "out.jsonl").exists()

    def test_overwrites_nothing(self, tmp_path):
        (tmp_path / "out.jsonl").write_text("precious")

        with pytest.raises(CommandError, match="cannot be written"):
            call_command("export_memories", output=str(tmp_path / "out.jsonl"), stderr=io.StringIO())

        assert (tmp_path / "out.jsonl").read_text() == "precious"

    def test_is_in_the_audit_log_with_its_filters_for_those_who_may_see_as_much(self, tmp_path):
        run_export(tmp_path / "out.jsonl", "--source", "test", "--label", "a&b")

        entry = AuditEntry.objects.get(action="memory.export")
        assert (entry.principal, entry.query) == ("system:export", "source=test&label=a%26b")
        assert entry.clearance_tiers == settings.APP_CONFIG.tiers

    def test_of_what_has_expired_is_for_who_asks_for_it(self, tmp_path):
        make_memory(payload_id="p", expires_at=timezone.now() - timedelta(seconds=1))

        for options in ((), ("--history",)):
            assert run_export(tmp_path / "out.jsonl", *options, "--status", "active") == b""
            (line,) = run_export(tmp_path / "out.jsonl", *options, "--status", "expired").splitlines()
            assert json.loads(line)["payload_id"] == "p"

    def test_with_history_never_declassifies(self, tmp_path):
        make_memory(payload_id="p", content="Open.", tier="public")
        make_memory(payload_id="p", content="Secret.", tier="restricted")
        make_clearance(name="low", max_tier="public")

        assert run_export(tmp_path / "out.jsonl", "--history", "--clearance", "low") == b""
        assert len(run_export(tmp_path / "out.jsonl", "--history").splitlines()) == 2


@pytest.mark.django_db(transaction=True)
def test_both_commands_work_through_a_pipe(tmp_path):
    """As an operator types them: `export_memories | import_memories -`, in processes of their own."""
    write.write_memories(
        [envelope(payload_id=f"p{n}", content=f"Zürich {n}", embedding=[1.0] * 384) for n in range(3)], principal=WRITER
    )
    database = settings.DATABASES["default"] | {"NAME": connection.settings_dict["NAME"]}
    user, host = database.get("USER", ""), database.get("HOST", "")
    url = f"postgresql://{user}@/{database['NAME']}?host={host}" + (
        f"&port={database['PORT']}" if database.get("PORT") else ""
    )
    environment = os.environ | {"DATABASE_URL": url, "PYTHONWARNINGS": "ignore"}

    def manage(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=environment, input=stdin, capture_output=True, timeout=60, check=False
        )

    export_process = manage("export_memories")
    import_process = manage(
        "import_memories", "-", stdin=export_process.stdout + b"bad\n" + to_lines(envelope(payload_id="new"))
    )

    assert export_process.returncode == 0, export_process.stderr
    assert [json.loads(line)["payload_id"] for line in export_process.stdout.splitlines()] == ["p0", "p1", "p2"]
    assert import_process.returncode == 1
    assert outcome_counts(import_process.stdout.decode()) == {
        "lines": 5, "created": 1, "duplicate": 3, "updated": 0, "conflict": 0, "rejected": 1,
    }  # fmt: skip
    assert b"-:4: is not JSON" in import_process.stderr
    assert Memory.objects.count() == 4
    assert manage("export_memories", "--history").stdout.count(b"\n") == 4
    assert manage("import_memories", "-", stdin=to_lines(envelope() | {"on": OnConflict.UPDATE})).returncode == 1
