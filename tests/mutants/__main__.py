"""`make mutants`: break each place that applies the rule, in a copy of the checkout, and see that a test notices.

With words as arguments: only the mutants whose names contain one of them.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests import cluster  # noqa: F401 - one PostgreSQL for all of them
from tests.mutants import catalogue, transfers
from tests.mutants.catalogue import Mutant

MUTANTS = [*catalogue.MUTANTS, *transfers.MUTANTS]
ROOT = Path(__file__).resolve().parents[2]
LANES = 2
PATIENCE_SECONDS = 120
PLUGINS = ("-p", "pytest_django.plugin", "-p", "time_machine", "-p", "tests.mutants.hurried", "-p", "no:cacheprovider")
# What the tests need of the checkout, and nothing that was made by running it.
PARTS = ("memoryhub", "inspector", "templates", "static", "tests", "docs", "requirements", ".ci", "manage.py")
FILES = ("pyproject.toml", "README.md", "CHANGELOG.md", "Makefile")
console = Console(width=None if sys.stdout.isatty() else 240)
_FAILED = re.compile(r"^FAILED (.+?)(?: - |$)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of a mutant: the test that killed it; else it survived, or could not even be tried."""

    mutant: Mutant
    killer: str
    trouble: str
    seconds: float


class Lane:
    """A copy of the checkout, with test databases of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in (*PARTS, *FILES):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy2(source, folder)

    def fate(self, mutant: Mutant, failing: Iterable[str]) -> Fate:
        began = time.monotonic()
        with self._broken(mutant):
            # What a broken migration made must not serve the next mutant.
            anew = ["--create-db"] if "/migrations/" in mutant.file else []
            but = [f"--deselect={test}" for test in failing]
            asked = ["-x", *mutant.tests, *anew, *but]
            failed, trouble = self.run(asked, database="broken" if anew else "whole", patience=PATIENCE_SECONDS)
        killer = failed[0] if failed else ""
        return Fate(mutant=mutant, killer=killer, trouble=trouble, seconds=time.monotonic() - began)

    def run(
        self, arguments: Iterable[str], *, database: str = "whole", patience: int = 20 * PATIENCE_SECONDS
    ) -> tuple[list[str], str]:
        """The tests that fail, and what else goes wrong."""
        name = f"/{database}_{self.folder.name}?"
        environment = {
            **os.environ,
            "DATABASE_URL": os.environ["DATABASE_URL"].replace("/memoryhub?", name, 1),
            # Every other plugin takes longer to load than most of these tests to run.
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", *PLUGINS, *arguments]
        try:
            told = subprocess.run(
                command,
                cwd=self.folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return [], f"took longer than {patience} s"
        failed = _FAILED.findall(told.stdout)
        # An error before the first test is no kill: such a mutant proves nothing.
        trouble = "" if failed or told.returncode == 0 else (told.stdout + told.stderr).strip()[-500:]
        return failed, trouble

    @contextmanager
    def _broken(self, mutant: Mutant) -> Iterator[None]:
        path = self.folder / mutant.file
        whole = path.read_text()
        assert whole.count(mutant.old) == 1, mutant
        path.write_text(whole.replace(mutant.old, mutant.new))
        try:
            yield
        finally:
            path.write_text(whole)


def main(words: list[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]
    tests = sorted({test for mutant in chosen for test in mutant.tests})
    with tempfile.TemporaryDirectory(prefix="memoryhub-mutants-") as folder, ThreadPoolExecutor(LANES) as pool:
        lanes = [Lane(Path(folder) / f"lane{number}") for number in range(LANES)]
        failing = []
        # A lane without a test of its own would run all that there are.
        shares = [tests[number::LANES] for number in range(min(LANES, len(tests)))]
        for failed, trouble in pool.map(Lane.run, lanes, shares):
            console.print("\n".join(failed) + trouble, markup=False)
            failing += failed
        free: SimpleQueue[Lane] = SimpleQueue()
        for lane in lanes:
            free.put(lane)
        fates = list(pool.map(lambda mutant: _try(mutant, free, failing), chosen))
    _show(fates)
    if failing:
        console.print(f"{len(failing)} tests fail though nothing is broken, and have killed nothing.")
    return int(bool(failing) or not all(fate.killer for fate in fates))


def _try(mutant: Mutant, free: "SimpleQueue[Lane]", failing: list[str]) -> Fate:
    lane = free.get()
    try:
        fate = lane.fate(mutant, failing)
    finally:
        free.put(lane)
    console.print(f"{'killed  ' if fate.killer else 'SURVIVED'} {fate.seconds:5.1f} s  {mutant.name}")
    return fate


def _show(fates: list[Fate]) -> None:
    table = Table("Mutant", "File", "Killed by", "Seconds")
    for fate in fates:
        verdict = escape(fate.killer) or (
            f"[red]not tried:[/] {escape(fate.trouble)}" if fate.trouble else "[red]survived[/]"
        )
        table.add_row(fate.mutant.name, fate.mutant.file, verdict, f"{fate.seconds:.1f}")
    console.print(table)
    killed = sum(bool(fate.killer) for fate in fates)
    console.print(f"{killed} of {len(fates)} mutants killed.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
