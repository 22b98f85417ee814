"""The repository's documents: what code, tests and documents cite is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("memoryhub", "inspector", "templates", "static", "tests", "docs")
SUFFIXES = {".py", ".html", ".js", ".css", ".md"}
THREAT_ID = re.compile(r"\b(?:AU|AZ|BI|CC|DB|FW|MG|TM|UN|XS)-\d\d\b")
THREAT_MODEL = ROOT / "docs/security/threat-model.md"
# Files of other projects, from which measured data was taken.
FOREIGN_DOCUMENTS = {"AGENTS.md", "CLAUDE.md"}
DOCUMENT = re.compile(r"(?<![\w/])[\w./-]+\.md\b")


def read_sources() -> dict[Path, str]:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    return {path: path.read_text() for path in [*paths, *ROOT.glob("*.md")]}


def test_every_threat_that_is_cited_is_in_the_threat_model():
    described_ids = re.findall(r"^\| ([A-Z]{2}-\d\d) \|", THREAT_MODEL.read_text(), re.MULTILINE)
    texts = [text for path, text in read_sources().items() if path != THREAT_MODEL]
    cited_ids = {threat_id for text in texts for threat_id in THREAT_ID.findall(text)}

    assert cited_ids == set(described_ids)
    assert len(described_ids) == len(set(described_ids)) > 50


def test_every_document_that_is_cited_is_in_the_repository():
    missing = {
        (path.relative_to(ROOT).as_posix(), name)
        for path, text in read_sources().items()
        for name in set(DOCUMENT.findall(text)) - FOREIGN_DOCUMENTS
        if not (ROOT / name).is_file() and not (path.parent / name).is_file()
    }

    assert missing == set()
