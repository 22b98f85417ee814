"""A file of lines ends where reading on would take minutes and bring nothing: packed too well, or blank."""

import gzip
import io
import json
import time
from pathlib import Path

import pytest

from memoryhub.transfer import line_files
from memoryhub.transfer.line_files import (
    MAX_BLANK_LINES,
    MAX_COMPRESSION_RATIO,
    CountingStream,
    GzipReader,
    LineFile,
    open_lines,
)

pytestmark = pytest.mark.unit


def read_lines(path: Path) -> tuple[int, str]:
    """How many lines a file has, and why it could not be read to its end."""
    with open_lines(str(path)) as file:
        return sum(1 for _ in file.iter_lines()), file.read_error


def test_300_million_blank_lines_in_300_kb_end_within_half_a_second(tmp_path):
    file = tmp_path / "blank.jsonl.gz"
    # Members one after another are one file to gzip: 30 times 10 million lines.
    file.write_bytes(gzip.compress(b"\n" * 10_000_000) * 30)
    assert file.stat().st_size < 320_000
    start_time = time.thread_time()

    line_count, damage = read_lines(file)

    assert time.thread_time() - start_time < 0.5
    assert (line_count, damage) == (MAX_BLANK_LINES, "more than 10,000 blank lines follow each other")


def test_so_do_blank_lines_that_are_not_packed(tmp_path):
    file = tmp_path / "blank.jsonl"
    file.write_bytes(b"{}\n" + b" \r\n" * 2_000_000)

    assert read_lines(file) == (1 + MAX_BLANK_LINES, "more than 10,000 blank lines follow each other")


def test_blank_lines_between_others_are_read_over(tmp_path):
    file = tmp_path / "spaced.jsonl"
    file.write_bytes((b"{}\n" + b"\n" * MAX_BLANK_LINES) * 3)

    assert read_lines(file) == (3 * (1 + MAX_BLANK_LINES), "")


@pytest.mark.large_input
def test_a_file_that_unpacks_to_much_more_than_its_size_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(line_files, "MAX_LINE_BYTES", 2**16)
    file = tmp_path / "bomb.jsonl.gz"
    file.write_bytes(gzip.compress(b"0\n" * 300_000))

    line_count, damage = read_lines(file)

    allowed = 2**16 + MAX_COMPRESSION_RATIO * file.stat().st_size
    assert allowed / 2 - 10_000 < line_count <= allowed / 2 + 1
    assert damage.startswith(f"it unpacks to more than {MAX_COMPRESSION_RATIO} times its size")


@pytest.mark.large_input
def test_nor_is_one_that_comes_through_a_pipe(monkeypatch):
    monkeypatch.setattr(line_files, "MAX_LINE_BYTES", 2**16)

    class Pipe(io.BytesIO):
        def tell(self) -> int:
            raise io.UnsupportedOperation

    unpacked_file = GzipReader(Pipe(gzip.compress(b"0\n" * 300_000)))
    line_count = sum(1 for _ in LineFile(io.BufferedReader(unpacked_file), None, unpacked_file).iter_lines())

    assert 0 < line_count < 200_000
    assert unpacked_file.read_error


@pytest.mark.large_input
def test_an_export_whose_memories_are_much_alike_is_read_to_its_end(tmp_path):
    """About 100 times its packed size: more than exports of different memories have."""
    file = tmp_path / "alike.jsonl.gz"
    text = "The customer prefers to be called in the morning. " * 20
    lines = [json.dumps({"payload_id": str(index), "content": text, "subject": "user:ada"}) for index in range(20_000)]
    packed_bytes = gzip.compress("\n".join(lines).encode())
    file.write_bytes(packed_bytes)

    assert len("\n".join(lines)) / len(packed_bytes) > 80
    assert read_lines(file) == (20_000, "")


def test_what_is_read_is_counted():
    packed_file = CountingStream(io.BytesIO(b"12345"))

    assert (packed_file.read(2), packed_file.read_bytes, packed_file.read(), packed_file.read_bytes) == (
        b"12",
        2,
        b"345",
        5,
    )
