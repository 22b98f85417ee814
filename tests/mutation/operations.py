"""Mutants of what an operator sees, and of what protects a home and a database from the wrong start."""

from tests.mutation.mutant import Mutant

CORE_ERRORS = "memoryhub/core/errors.py"
SCHEMA = "memoryhub/operations/schema.py"
SERVE = "memoryhub/operations/management/commands/serve.py"
MACHINE_RESOURCES = "memoryhub/operations/machine_resources.py"
CONFIG = "memoryhub/config.py"
REAL_SERVER_TESTS = "tests/api/test_problems.py::TestOnARealServer"
NEWER_SCHEMA_TESTS = (f"{REAL_SERVER_TESTS}::test_a_schema_that_a_newer_version_made_is_not_ready_and_not_migrated",)
FULL_DATABASE_TESTS = (
    f"{REAL_SERVER_TESTS}::test_a_database_without_a_free_connection_says_so_to_callers_and_its_state_to_the_log",
)
SERVE_TESTS = ("tests/operations/test_serve.py::test_its_life_in_one_home",)
CONFIG_TESTS = ("tests/test_config.py",)
WORKER = "memoryhub/operations/worker.py"
METRICS_VIEW = "memoryhub/api/native/metrics.py"
WORKER_TESTS, METRICS_TESTS = "tests/operations/test_worker.py", "tests/api/native/test_metrics.py"
JOB_STATUS_TESTS = (
    "tests/operations/test_worker_status.py::test_nobody_else_learns_of_the_jobs_because_one_waits_after_every_write",
)
MACHINE_TESTS = ("tests/operations/test_machine_resources.py",)

MUTANTS = [
    Mutant("operators: a refused session is a database that is gone", CORE_ERRORS, 'return "53300"', "return None", FULL_DATABASE_TESTS),
    Mutant("operators: an old version migrates", "memoryhub/operations/management/commands/migrate.py", "schema.reject_newer_schema()", "pass", NEWER_SCHEMA_TESTS),
    Mutant("operators: an old version is ready", "memoryhub/api/native/memories.py", "if has_unknown_migrations:", "if False:", NEWER_SCHEMA_TESTS),
    Mutant("operators: a removed app keeps the hub from starting", SCHEMA, " if app in loader.migrated_apps", "", NEWER_SCHEMA_TESTS),
    Mutant("operators: an error page asks for the view-as target", "templates/errors/page.html", "{% block view_as_banner %}{% if status < 500 %}", "{% block view_as_banner %}{% if status %}", FULL_DATABASE_TESTS),
    Mutant("operators: two servers on one home", SERVE, "fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass", SERVE_TESTS),
    Mutant("operators: a signing key that was cut short", CONFIG, "if len(key) < MIN_KEY_LENGTH:", "if False:", CONFIG_TESTS),
    Mutant("operators: a home's trouble as a traceback", CONFIG, "raise SystemExit(describe_home_error(self.home, error)) from None", "raise", CONFIG_TESTS),
    Mutant("operators: memory by the group alone, not by those it lies in", MACHINE_RESOURCES, "(group_path, *group_path.parents)", "(group_path,)", MACHINE_TESTS),
    Mutant("worker: a job of a killed worker is lost", WORKER, "await _requeue_stalled_jobs(app)", "pass", (f"{WORKER_TESTS}::test_a_job_that_was_killed_is_done_by_the_next_worker_and_no_row_is_done_twice",)),
    Mutant("worker: a job runs beside one whose heartbeats are lost", WORKER, "while is_locked and job.run", "while job.run", (f"{WORKER_TESTS}::test_a_job_does_not_run_beside_one_whose_worker_is_taken_for_dead",)),
    Mutant("worker: what is left is forgotten at a stop", WORKER, "                    return False", "                    return True", (f"{WORKER_TESTS}::test_a_worker_that_is_stopped_leaves_its_job_to_the_next_one",)),
    Mutant("worker: the message of a failure is stored", "memoryhub/operations/background_jobs.py", "type(error).__qualname__", "str(error)", (f"{WORKER_TESTS}::test_a_failure_is_counted_and_tried_again_and_its_message_is_nowhere",)),
    Mutant("worker: it survives serve", WORKER, "and parent_pid in (None, os.getppid())", "", (f"{WORKER_TESTS}::test_a_worker_waits_for_a_database_that_is_not_migrated_and_ends_with_its_parent",)),
    Mutant("status: every admin learns that something was written", "memoryhub/operations/status.py", "if principal.is_unrestricted_admin:", "if principal.has_scope(Scope.ADMIN):", JOB_STATUS_TESTS),
    Mutant("metrics: a proxy on this machine is a program of it", "memoryhub/core/client_address.py", "and not any(", "or any(", (METRICS_TESTS,)),
    Mutant("metrics: an admin with any clearance", METRICS_VIEW, "and not get_principal(request).is_unrestricted_admin", "and False", (METRICS_TESTS,)),
    Mutant("operators: a log larger than the disk", MACHINE_RESOURCES, "min(free_disk_bytes // MEGABYTE // 4, MAX_WAL_MB)", "MAX_WAL_MB", MACHINE_TESTS),
]  # fmt: skip
