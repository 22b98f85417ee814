"""Every action of the audit log is a member of one enum, is recorded, and has its text."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from memoryhub.audit.actions import AuditAction

ROOT = Path(__file__).resolve().parents[2]
# They filter and describe actions.
READERS = {"actions.py", "audit_queries.py", "audit_filters.py", "schema.py", "audit.py"}


def iter_sources() -> Iterator[tuple[Path, ast.Module]]:
    for room in ("memoryhub", "inspector"):
        for path in (ROOT / room).rglob("*.py"):
            if "migrations" not in path.parts:
                yield path, ast.parse(path.read_text())


def test_no_action_is_written_as_a_string_outside_the_enum() -> None:
    literals = {
        (path.name, node.value)
        for path, tree in iter_sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in AuditAction.values and path.name != "actions.py"
    }
    templates = {
        (path.name, action)
        for path in (ROOT / "templates").rglob("*.html")
        for action in AuditAction
        if f'"{action}"' in path.read_text()
    }

    assert not literals | templates


def test_every_action_is_recorded_somewhere() -> None:
    recorded_names = {
        node.attr
        for path, tree in iter_sources()
        for node in ast.walk(tree)
        if path.name not in READERS
        and isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "AuditAction"
    }

    assert recorded_names == set(AuditAction.names)


@pytest.mark.parametrize("action", AuditAction)
def test_every_action_has_its_text_on_the_audit_log_page(action: AuditAction) -> None:
    assert action.label[0].islower(), "without a text of its own, the label is made of the name"
