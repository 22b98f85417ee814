"""The repository's documents: what code, tests and documents cite is there."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("memoryhub", "inspector", "templates", "static", "tests", "docs")
SUFFIXES = {".py", ".html", ".js", ".css", ".md"}
THREAT_ID = re.compile(r"\b(?:AU|AZ|BI|CC|DB|FW|MG|TM|UN|XS)-\d\d\b")
THREAT_MODEL = ROOT / "docs/security/threat-model.md"
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
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


def iter_definitions(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """The functions, classes, methods and constants of a module, with the names of their classes."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name
        elif isinstance(node, ast.ClassDef):
            yield prefix + node.name
            yield from iter_definitions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Assign):
            yield from (prefix + target.id for target in node.targets if isinstance(target, ast.Name))


def test_every_function_that_the_architecture_names_exists():
    pairs = re.findall(r"`([\w/]+\.py):\s+([\w.]+)`", ARCHITECTURE)
    missing = [
        f"{path}: {name}"
        for path, name in pairs
        if not (ROOT / path).is_file() or name not in set(iter_definitions(ast.parse((ROOT / path).read_text()).body))
    ]

    assert missing == []
    assert len(pairs) == ARCHITECTURE.count(".py: ") > 80


def test_the_architecture_lists_every_room_in_the_order_of_imports():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    rooms = [name.strip(" ()").replace(".", "/") for layer in contract["layers"] for name in layer.split("|")]

    assert re.findall(r"^\| `([\w/]+)/` \|", ARCHITECTURE, re.MULTILINE) == [
        room for room in rooms if (ROOT / room).is_dir()
    ]


def iter_relative_links() -> Iterator[tuple[Path, str, str]]:
    """The links of the documents that name a file or a heading of the repository: document, path and heading."""
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for path, heading in re.findall(r"\]\(([^)#\s]*)(?:#([\w-]+))?\)", document.read_text()):
            if not path.startswith("http"):
                yield document, path, heading


def list_anchors(document: Path) -> list[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


def test_every_relative_link_leads_to_a_file_and_a_heading():
    broken = [
        f"{document.relative_to(ROOT)}: {path}#{heading}"
        for document, path, heading in iter_relative_links()
        if not (target := document.parent / path if path else document).exists()
        or (heading and heading not in list_anchors(target))
    ]

    assert broken == []


def test_the_list_of_decisions_names_every_record_once():
    folder = ROOT / "docs/adr"
    records = sorted(path.name for path in folder.glob("0*.md"))

    assert re.findall(r"^\| \[\d+\]\((.+?)\) \|", (folder / "README.md").read_text(), re.MULTILINE) == records
