"""Files of JSON lines as they come: packed, with a byte order mark, damaged, or not lines at all."""

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

from memoryhub.memories.strict_json import BadJson, decode

MAX_LINE_BYTES = 16 * 2**20
MAX_RATIO = 250
"""How many times its packed size a file may hold, besides one line: exports hold 5 to 50 times theirs, and gzip could
make 300 MB of 300 kB, which would be read for minutes."""
MAX_BLANK_LINES = 10_000
"""How many blank lines may follow each other: nobody writes more, and a file of nothing else would take minutes."""
_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
ONE_DOCUMENT = "begins a JSON document of several lines. Write each memory on a line of its own (jq -c does)."
UTF16 = "begins a text in UTF-16. Convert it to UTF-8."


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its number, or a stretch of lines that cannot be read one by one, with the reason."""

    number: int
    text: bytes
    last_number: int
    reason: str = ""


class Readable(Protocol):
    def readline(self, limit: int = -1, /) -> bytes: ...


class Packed:
    """A stream that counts what was read of it, also where it cannot tell a position, as a pipe cannot."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.read_bytes = 0
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.read_bytes += len(data)
        return data


class Unpacked(io.RawIOBase):
    """What a gzip file holds, up to where it is damaged or holds too much: there it ends, and `damage` says why."""

    def __init__(self, packed: IO[bytes]) -> None:
        super().__init__()
        self.damage = ""
        self._packed = Packed(packed)
        self._unpacked_bytes = 0
        self._file = gzip.GzipFile(fileobj=cast("IO[bytes]", self._packed))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if self.damage:
            return 0
        try:
            # One step at a time: what was unpacked before the damage is handed out before it is met.
            unpacked = self._file.read1(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            self.damage = str(error).rstrip(".")
            return 0
        self._unpacked_bytes += len(unpacked)
        if self._unpacked_bytes > MAX_LINE_BYTES + MAX_RATIO * self._packed.read_bytes:
            self.damage = f"it unpacks to more than {MAX_RATIO} times its size. Look into it with gzip -dc first"
            return 0
        buffer[: len(unpacked)] = unpacked
        return len(unpacked)


@dataclass(slots=True)
class LineFile:
    """The lines of a file."""

    stream: Readable
    position: IO[bytes] | None = None
    """The stream whose position tells the progress."""
    unpacked: Unpacked | None = None
    fault: str = ""

    @property
    def damage(self) -> str:
        """Why the file could not be read to its end; empty if it was."""
        return self.fault or (self.unpacked.damage if self.unpacked else "")

    def lines(self) -> Iterator[Line]:
        """Each line, numbered from 1. Raises nothing: where reading fails the lines end, and `damage` says why."""
        numbered = self._numbered()
        for number, text in numbered:
            if number == 1 and text.startswith(_UTF16_MARKS):
                yield Line(1, b"", _last(numbered, 1), UTF16)
            elif _begins_document(text):
                yield from _document(number, text, numbered)
            else:
                yield Line(number, text, number)

    def _numbered(self) -> Iterator[tuple[int, bytes]]:
        number = blank = 0
        try:
            while line := self.stream.readline(MAX_LINE_BYTES + 1):
                number += 1
                blank = 0 if line.strip() else blank + 1
                if blank > MAX_BLANK_LINES:
                    self.fault = f"more than {MAX_BLANK_LINES:,} blank lines follow each other"
                    return
                yield number, line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
                while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                    line = self.stream.readline(MAX_LINE_BYTES + 1)
        except OSError as error:
            self.fault = error.strerror or str(error)


@contextmanager
def opened(name: str) -> Iterator[LineFile]:
    """The lines of a file, packed or not, or of standard input (`-`). Raises OSError."""
    if name == "-":
        yield _line_file(sys.stdin.buffer, name)
        return
    with Path(name).open("rb") as raw:
        yield _line_file(raw, name)


def _line_file(raw: IO[bytes], name: str) -> LineFile:
    first = raw.peek(len(_GZIP_MAGIC)) if isinstance(raw, io.BufferedReader) else b""
    if name.endswith(".gz") or first.startswith(_GZIP_MAGIC):
        unpacked = Unpacked(raw)
        return LineFile(io.BufferedReader(unpacked), raw, unpacked)
    return LineFile(raw, raw)


def _begins_document(text: bytes) -> bool:
    """Whether a line is brackets alone that are not closed: how a document that is laid out for people begins."""
    brackets = b"".join(text.split())
    return brackets in (b"{", b"[", b"[{")


def _document(number: int, text: bytes, numbered: Iterator[tuple[int, bytes]]) -> Iterator[Line]:
    """The document that begins here as one, and the line after it that shows that it broke off."""
    depth = _opened_brackets(text)
    is_object = text.lstrip().startswith(b"{")
    last = number
    for following, line in numbered:
        if is_object and line.startswith(b'{"') and _is_memory(line):
            yield Line(number, b"", last, ONE_DOCUMENT)
            yield Line(following, line, following)
            return
        last = following
        depth += _opened_brackets(line)
        if depth <= 0:
            break
    yield Line(number, b"", last, ONE_DOCUMENT)


def _is_memory(line: bytes) -> bool:
    try:
        value = decode(line)
    except BadJson:
        return False
    return isinstance(value, dict) and "payload_id" in value


def _last(numbered: Iterator[tuple[int, bytes]], number: int) -> int:
    for following, _ in numbered:
        number = following
    return number


def _opened_brackets(line: bytes) -> int:
    """How many brackets a line opens more than it closes; those in strings do not count."""
    brackets = _STRING.sub(b"", line)
    return sum(map(brackets.count, (b"{", b"["))) - sum(map(brackets.count, (b"}", b"]")))
