"""The identifiers of the project's former private vocabulary do not come back (retired_names.tsv, docs/glossary.md)."""

import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_name("retired_names.tsv")
FOLDERS = ("memoryhub", "inspector", "tests")


def normalize_name(name: str) -> str:
    return name.strip("_").casefold()


def read_table(column_count: int) -> list[list[str]]:
    """The lines with this many columns: two for a retired name, three for an exception."""
    lines = [line.split("\t") for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]
    return [line for line in lines if len(line) == column_count]


REPLACEMENTS = {line[0]: line[1] for line in read_table(2)}
EXCEPTIONS = {(name, path) for name, path, _ in read_table(3)}


@cache
def retired_uses() -> list[tuple[str, str, int]]:
    """Each use of a retired name: the name, the file and the line."""
    return [use for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")) for use in iter_uses(path)]


def iter_uses(path: Path) -> Iterator[tuple[str, str, int]]:
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.NAME and (name := normalize_name(token.string)) in REPLACEMENTS:
                yield name, path.relative_to(ROOT).as_posix(), token.start[0]


def test_no_file_uses_a_retired_name():
    assert [
        f"{path}:{line}: {name} (instead: {REPLACEMENTS[name]})"
        for name, path, line in retired_uses()
        if (name, path) not in EXCEPTIONS
    ] == []


def test_every_exception_is_needed():
    assert EXCEPTIONS - {(name, path) for name, path, _ in retired_uses()} == set()


def test_the_table_names_each_retired_name_once():
    names = [name for name, _ in read_table(2)]

    assert len(names) == len(set(names)) >= 80
    assert [name for name in names if name != normalize_name(name)] == []
    assert [(name, path) for name, path in EXCEPTIONS if name not in REPLACEMENTS] == []
