"""What CONTRIBUTING.md says about the tree is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def test_every_file_and_folder_that_it_names_exists():
    paths = set(re.findall(r"`([\w./-]+/[\w./-]*)`", TEXT))
    assert len(paths) > 20
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_every_name_that_it_gives_for_a_file_is_in_that_file():
    pairs = re.findall(r"`(\w+)`(?: there)? in\s+`([\w./-]+\.py)`", TEXT)
    assert len(pairs) > 8
    assert [(name, path) for name, path in pairs if not re.search(rf"\b{name}\b", (ROOT / path).read_text())] == []
