"""What a mutant is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old`, which stands once in `file`, becomes `new`; then one of `tests` (pytest's names) must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
