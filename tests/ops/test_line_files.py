"""A file of lines ends where reading on would take minutes and bring nothing: packed too well, or blank."""

import gzip
import io
import json
import time
from pathlib import Path

from memoryhub.ops import line_files
from memoryhub.ops.line_files import MAX_BLANK_LINES, MAX_RATIO, LineFile, Packed, Unpacked, opened


def read(path: Path) -> tuple[int, str]:
    """How many lines a file has, and why it could not be read to its end."""
    with opened(str(path)) as file:
        return sum(1 for _ in file.lines()), file.damage


def test_300_million_blank_lines_in_300_kb_end_within_half_a_second(tmp_path):
    file = tmp_path / "blank.jsonl.gz"
    # Members one after another are one file to gzip: 30 times 10 million lines.
    file.write_bytes(gzip.compress(b"\n" * 10_000_000) * 30)
    assert file.stat().st_size < 320_000
    started = time.thread_time()

    number, damage = read(file)

    assert time.thread_time() - started < 0.5
    assert (number, damage) == (MAX_BLANK_LINES, "more than 10,000 blank lines follow each other")


def test_so_do_blank_lines_that_are_not_packed(tmp_path):
    file = tmp_path / "blank.jsonl"
    file.write_bytes(b"{}\n" + b" \r\n" * 2_000_000)

    assert read(file) == (1 + MAX_BLANK_LINES, "more than 10,000 blank lines follow each other")


def test_blank_lines_between_others_are_read_over(tmp_path):
    file = tmp_path / "spaced.jsonl"
    file.write_bytes((b"{}\n" + b"\n" * MAX_BLANK_LINES) * 3)

    assert read(file) == (3 * (1 + MAX_BLANK_LINES), "")


def test_a_file_that_unpacks_to_much_more_than_its_size_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(line_files, "MAX_LINE_BYTES", 2**16)
    file = tmp_path / "bomb.jsonl.gz"
    file.write_bytes(gzip.compress(b"0\n" * 300_000))

    number, damage = read(file)

    allowed = 2**16 + MAX_RATIO * file.stat().st_size
    assert allowed / 2 - 10_000 < number <= allowed / 2 + 1
    assert damage.startswith(f"it unpacks to more than {MAX_RATIO} times its size")


def test_nor_is_one_that_comes_through_a_pipe(monkeypatch):
    monkeypatch.setattr(line_files, "MAX_LINE_BYTES", 2**16)

    class Pipe(io.BytesIO):
        def tell(self) -> int:
            raise io.UnsupportedOperation

    unpacked = Unpacked(Pipe(gzip.compress(b"0\n" * 300_000)))
    number = sum(1 for _ in LineFile(io.BufferedReader(unpacked), None, unpacked).lines())

    assert 0 < number < 200_000
    assert unpacked.damage


def test_an_export_whose_memories_are_much_alike_is_read_to_its_end(tmp_path):
    """About 100 times its packed size: more than exports of different memories have."""
    file = tmp_path / "alike.jsonl.gz"
    text = "The customer prefers to be called in the morning. " * 20
    lines = [
        json.dumps({"payload_id": str(number), "content": text, "subject": "user:ada"}) for number in range(20_000)
    ]
    packed = gzip.compress("\n".join(lines).encode())
    file.write_bytes(packed)

    assert len("\n".join(lines)) / len(packed) > 80
    assert read(file) == (20_000, "")


def test_what_is_read_is_counted():
    packed = Packed(io.BytesIO(b"12345"))

    assert (packed.read(2), packed.read_bytes, packed.read(), packed.read_bytes) == (b"12", 2, b"345", 5)
