"""The mutants of `make mutants` can be made: what they replace is there, and so are the tests that shall notice."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.mutation.catalogue import MUTANTS
from tests.mutation.mutant import Mutant

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_replaces_stands_once_in_its_file(mutant: Mutant):
    source = (ROOT / mutant.file).read_text()

    assert source.count(mutant.old) == 1
    if mutant.file.endswith(".py"):
        ast.parse(source.replace(mutant.old, mutant.new))


@pytest.mark.parametrize("test", sorted({test for mutant in MUTANTS for test in mutant.tests}))
def test_a_test_that_shall_notice_exists(test: str):
    path, *names = test.partition("[")[0].split("::")
    body = ast.parse((ROOT / path).read_text()).body
    for name in names:
        (node_match,) = [
            node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name
        ]
        body = node_match.body


def test_no_two_mutants_have_one_name():
    assert {name for name, count in Counter(mutant.name for mutant in MUTANTS).items() if count > 1} == set()
