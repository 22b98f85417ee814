"""Mutants of what an operator is told, and of what protects a home and a database from the wrong start."""

from tests.mutants.mutant import Mutant

FAULTS = "memoryhub/faults.py"
SCHEMA = "memoryhub/ops/schema.py"
SERVE = "memoryhub/ops/management/commands/serve.py"
MACHINE = "memoryhub/ops/machine.py"
CONFIG = "memoryhub/config.py"
REAL = "tests/api/test_problems.py::TestOnARealServer"
NEWER = (f"{REAL}::test_a_schema_that_a_newer_version_made_is_not_ready_and_not_migrated",)
FULL = (f"{REAL}::test_a_database_without_a_free_connection_says_so_to_callers_and_its_state_to_the_log",)
LIFE = ("tests/ops/test_serve.py::test_its_life_in_one_home",)
HOMES = ("tests/test_config.py",)
LIMITS = ("tests/ops/test_machine.py",)

MUTANTS = [
    Mutant("operators: a refused session is a database that is gone", FAULTS, 'return "53300"', "return None", FULL),
    Mutant("operators: an old version migrates", "memoryhub/ops/management/commands/migrate.py", "schema.refuse_newer_schema()", "pass", NEWER),
    Mutant("operators: an old version is ready", "memoryhub/api/views.py", "if is_ahead:", "if False:", NEWER),
    Mutant("operators: a removed app keeps the hub from starting", SCHEMA, " if app in loader.migrated_apps", "", NEWER),
    Mutant("operators: an error page asks who one looks as", "templates/errors/page.html", "{% block whose %}{% if status < 500 %}", "{% block whose %}{% if status %}", FULL),
    Mutant("operators: two servers on one home", SERVE, "fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass", LIFE),
    Mutant("operators: a signing key that was cut short", CONFIG, "if len(key) < MIN_KEY_LENGTH:", "if False:", HOMES),
    Mutant("operators: a home's trouble as a traceback", CONFIG, "raise SystemExit(home_problem(self.home, error)) from None", "raise", HOMES),
    Mutant("operators: memory by the group alone, not by those it lies in", MACHINE, "(relative, *relative.parents)", "(relative,)", LIMITS),
    Mutant("operators: a log larger than the disk", MACHINE, "min(free_disk_bytes // MEGABYTE // 4, MAX_WAL_MB)", "MAX_WAL_MB", LIMITS),
]  # fmt: skip
