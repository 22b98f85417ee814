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

from tests.mutation.catalogue import MUTANTS
from tests.mutation.mutant import Mutant
from tests.postgres_plugin import start_server

ROOT = Path(__file__).resolve().parents[2]
WORKER_COUNT = 2
TIMEOUT_SECONDS = 120
PLUGINS = (
    "-p",
    "pytest_django.plugin",
    "-p",
    "time_machine",
    "-p",
    "tests.mutation.fast_profile",
    "-p",
    "no:cacheprovider",
)
# What the tests need of the checkout, and nothing that was made by running it.
COPIED_FOLDERS = ("memoryhub", "inspector", "templates", "static", "tests", "docs", "requirements", ".ci", "manage.py")
COPIED_FILES = ("pyproject.toml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile")
console = Console(width=None if sys.stdout.isatty() else 240)
_FAILED_PATTERN = re.compile(r"^FAILED (.+?)(?: - |$)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class MutantResult:
    """What became of a mutant: the test that killed it; else it survived, or could not even be tried."""

    mutant: Mutant
    killer: str
    failure: str
    seconds: float


class Worker:
    """A copy of the checkout, with test databases of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in (*COPIED_FOLDERS, *COPIED_FILES):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy2(source, folder)

    def try_mutant(self, mutant: Mutant, failing_tests: Iterable[str]) -> MutantResult:
        start_time = time.monotonic()
        with self._apply_mutant(mutant):
            # What a broken migration made must not serve the next mutant.
            database_options = ["--create-db"] if "/migrations/" in mutant.file else []
            deselect_options = [f"--deselect={test}" for test in failing_tests]
            test_arguments = ["-x", *mutant.tests, *database_options, *deselect_options]
            failed_tests, failure = self.run_tests(
                test_arguments, database="broken" if database_options else "whole", timeout_seconds=TIMEOUT_SECONDS
            )
        killer = failed_tests[0] if failed_tests else ""
        return MutantResult(mutant=mutant, killer=killer, failure=failure, seconds=time.monotonic() - start_time)

    def run_tests(
        self, arguments: Iterable[str], *, database: str = "whole", timeout_seconds: int = 20 * TIMEOUT_SECONDS
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
            process = subprocess.run(
                command,
                cwd=self.folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return [], f"took longer than {timeout_seconds} s"
        failed_tests = _FAILED_PATTERN.findall(process.stdout)
        # An error before the first test is no kill: such a mutant proves nothing.
        failure = "" if failed_tests or process.returncode == 0 else (process.stdout + process.stderr).strip()[-500:]
        return failed_tests, failure

    @contextmanager
    def _apply_mutant(self, mutant: Mutant) -> Iterator[None]:
        path = self.folder / mutant.file
        original_text = path.read_text()
        assert original_text.count(mutant.old) == 1, mutant
        path.write_text(original_text.replace(mutant.old, mutant.new))
        try:
            yield
        finally:
            path.write_text(original_text)


def main(patterns: list[str]) -> int:
    chosen_mutants = [
        mutant for mutant in MUTANTS if not patterns or any(pattern in mutant.name for pattern in patterns)
    ]
    tests = sorted({test for mutant in chosen_mutants for test in mutant.tests})
    # One PostgreSQL for all of them: the tests are children of this process and find its address.
    start_server()
    with tempfile.TemporaryDirectory(prefix="memoryhub-mutants-") as folder, ThreadPoolExecutor(WORKER_COUNT) as pool:
        workers = [Worker(Path(folder) / f"worker{index}") for index in range(WORKER_COUNT)]
        failing_tests = []
        # A worker without a test of its own would run all that there are.
        shares = [tests[index::WORKER_COUNT] for index in range(min(WORKER_COUNT, len(tests)))]
        for failed_tests, failure in pool.map(Worker.run_tests, workers, shares):
            console.print("\n".join(failed_tests) + failure, markup=False)
            failing_tests += failed_tests
        free_workers: SimpleQueue[Worker] = SimpleQueue()
        for worker in workers:
            free_workers.put(worker)
        results = list(pool.map(lambda mutant: _run_mutant(mutant, free_workers, failing_tests), chosen_mutants))
    _print_results(results)
    if failing_tests:
        console.print(f"{len(failing_tests)} tests fail though nothing is broken, and have killed nothing.")
    return int(bool(failing_tests) or not all(result.killer for result in results))


def _run_mutant(mutant: Mutant, free_workers: "SimpleQueue[Worker]", failing_tests: list[str]) -> MutantResult:
    worker = free_workers.get()
    try:
        result = worker.try_mutant(mutant, failing_tests)
    finally:
        free_workers.put(worker)
    console.print(f"{'killed  ' if result.killer else 'SURVIVED'} {result.seconds:5.1f} s  {mutant.name}")
    return result


def _print_results(results: list[MutantResult]) -> None:
    table = Table("Mutant", "File", "Killed by", "Seconds")
    for result in results:
        outcome_text = escape(result.killer) or (
            f"[red]not tried:[/] {escape(result.failure)}" if result.failure else "[red]survived[/]"
        )
        table.add_row(result.mutant.name, result.mutant.file, outcome_text, f"{result.seconds:.1f}")
    console.print(table)
    killed = sum(bool(result.killer) for result in results)
    console.print(f"{killed} of {len(results)} mutants killed.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
