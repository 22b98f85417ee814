"""docs/guarantees.md names modules that explain a guarantee, and tests that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROWS = [
    re.findall(r"`([\w/]+\.py)`", line)
    for line in (ROOT / "docs/guarantees.md").read_text().splitlines()
    if "`memoryhub/" in line
]


@pytest.mark.parametrize(("module", "tests"), [(row[0], row[1:]) for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_guarantee_is_explained_where_it_is_kept_and_names_its_tests(module: str, tests: list[str]) -> None:
    explanation = ast.get_docstring(ast.parse((ROOT / module).read_text())) or ""

    for part in ("Guarantee: ", "Why the obvious way breaks it", "Tests that notice: "):
        assert part in explanation
    for test in tests:
        assert (ROOT / test).is_file()
        assert test in explanation
