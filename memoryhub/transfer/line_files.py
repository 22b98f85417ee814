"""Files of JSON lines as they occur: compressed, with a byte order mark, damaged, or not JSON lines at all."""

import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

from memoryhub.core.strict_json import InvalidJsonError, decode_json

MAX_LINE_BYTES = 16 * 2**20
MAX_COMPRESSION_RATIO = 250
"""Bytes that a file may unpack to for each compressed byte, apart from one line. Exports have a ratio of 5 to 50; gzip
could turn 300 kB into 300 MB, which would take minutes to read."""
MAX_BLANK_LINES = 10_000
"""Blank lines in a row: no real file has more, and a file of nothing else would take minutes to read."""
_GZIP_MAGIC = b"\x1f\x8b"
_UTF8_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF16_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
_STRING_PATTERN = re.compile(rb'"(?:[^"\\]|\\.)*"')
SINGLE_DOCUMENT_REASON = "begins a JSON document of several lines. Write each memory on a line of its own (jq -c does)."
UTF16_REASON = "begins a text in UTF-16. Convert it to UTF-8."


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its number, or several lines that cannot be read one by one, with the reason."""

    line_number: int
    text: bytes
    last_line_number: int
    reason: str = ""


class LineReader(Protocol):
    def readline(self, limit: int = -1, /) -> bytes: ...


class CountingStream:
    """Counts the bytes read from a stream, also from a pipe, which has no position."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.read_bytes = 0
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.read_bytes += len(data)
        return data


class GzipReader(io.RawIOBase):
    """The content of a gzip file. It ends where the file is damaged or unpacks to too much; `read_error` says why."""

    def __init__(self, compressed_stream: IO[bytes]) -> None:
        super().__init__()
        self.read_error = ""
        self._compressed_stream = CountingStream(compressed_stream)
        self._uncompressed_byte_count = 0
        self._file = gzip.GzipFile(fileobj=cast("IO[bytes]", self._compressed_stream))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if self.read_error:
            return 0
        try:
            # `read1` unpacks one step at a time, so the data before the damage is returned before the error occurs.
            chunk = self._file.read1(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            self.read_error = str(error).rstrip(".")
            return 0
        self._uncompressed_byte_count += len(chunk)
        if self._uncompressed_byte_count > MAX_LINE_BYTES + MAX_COMPRESSION_RATIO * self._compressed_stream.read_bytes:
            self.read_error = (
                f"it unpacks to more than {MAX_COMPRESSION_RATIO} times its size. Look into it with gzip -dc first"
            )
            return 0
        buffer[: len(chunk)] = chunk
        return len(chunk)


@dataclass(slots=True)
class LineFile:
    stream: LineReader
    raw_stream: IO[bytes] | None = None
    """The stream whose position shows the progress."""
    gzip_reader: GzipReader | None = None
    stream_error: str = ""

    @property
    def read_error(self) -> str:
        """Why the file could not be read to its end; empty if it was."""
        return self.stream_error or (self.gzip_reader.read_error if self.gzip_reader else "")

    def iter_lines(self) -> Iterator[Line]:
        """Each line, numbered from 1. Raises nothing: after a read error the lines end, and `read_error` says why."""
        numbered_lines = self._iter_numbered_lines()
        for line_number, text in numbered_lines:
            if line_number == 1 and text.startswith(_UTF16_BYTE_ORDER_MARKS):
                yield Line(1, b"", _last_line_number(numbered_lines, 1), UTF16_REASON)
            elif _begins_document(text):
                yield from _read_document(line_number, text, numbered_lines)
            else:
                yield Line(line_number, text, line_number)

    def _iter_numbered_lines(self) -> Iterator[tuple[int, bytes]]:
        line_number = blank_line_count = 0
        try:
            while line := self.stream.readline(MAX_LINE_BYTES + 1):
                line_number += 1
                blank_line_count = 0 if line.strip() else blank_line_count + 1
                if blank_line_count > MAX_BLANK_LINES:
                    self.stream_error = f"more than {MAX_BLANK_LINES:,} blank lines follow each other"
                    return
                yield line_number, line.removeprefix(_UTF8_BYTE_ORDER_MARK) if line_number == 1 else line
                while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                    line = self.stream.readline(MAX_LINE_BYTES + 1)
        except OSError as error:
            self.stream_error = error.strerror or str(error)


@contextmanager
def open_lines(path: str) -> Iterator[LineFile]:
    """Open a file, compressed or not, or standard input (`-`). Raises OSError."""
    if path == "-":
        yield _create_line_file(sys.stdin.buffer, path)
        return
    with Path(path).open("rb") as raw_stream:
        yield _create_line_file(raw_stream, path)


def _create_line_file(raw_stream: IO[bytes], path: str) -> LineFile:
    first_bytes = raw_stream.peek(len(_GZIP_MAGIC)) if isinstance(raw_stream, io.BufferedReader) else b""
    if path.endswith(".gz") or first_bytes.startswith(_GZIP_MAGIC):
        gzip_reader = GzipReader(raw_stream)
        return LineFile(io.BufferedReader(gzip_reader), raw_stream, gzip_reader)
    return LineFile(raw_stream, raw_stream)


def _begins_document(text: bytes) -> bool:
    """Whether a line has opening brackets only, like the first line of a pretty-printed document."""
    brackets = b"".join(text.split())
    return brackets in (b"{", b"[", b"[{")


def _read_document(line_number: int, text: bytes, numbered_lines: Iterator[tuple[int, bytes]]) -> Iterator[Line]:
    """The document that begins here as one `Line`, and the memory that follows if the document is incomplete."""
    depth = _count_open_brackets(text)
    is_object = text.lstrip().startswith(b"{")
    last_line_number = line_number
    for next_line_number, line in numbered_lines:
        if is_object and line.startswith(b'{"') and _is_memory(line):
            yield Line(line_number, b"", last_line_number, SINGLE_DOCUMENT_REASON)
            yield Line(next_line_number, line, next_line_number)
            return
        last_line_number = next_line_number
        depth += _count_open_brackets(line)
        if depth <= 0:
            break
    yield Line(line_number, b"", last_line_number, SINGLE_DOCUMENT_REASON)


def _is_memory(line: bytes) -> bool:
    try:
        value = decode_json(line)
    except InvalidJsonError:
        return False
    return isinstance(value, dict) and "payload_id" in value


def _last_line_number(numbered_lines: Iterator[tuple[int, bytes]], line_number: int) -> int:
    for next_line_number, _ in numbered_lines:
        line_number = next_line_number
    return line_number


def _count_open_brackets(line: bytes) -> int:
    """Number of opening minus closing brackets in a line, outside strings."""
    brackets = _STRING_PATTERN.sub(b"", line)
    return sum(map(brackets.count, (b"{", b"["))) - sum(map(brackets.count, (b"}", b"]")))
