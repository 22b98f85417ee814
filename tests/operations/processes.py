"""Real processes in homes of their own, for the tests of what starts, shares and stops the server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from memoryhub.config import Config

# A process that was started under nohup ignores SIGHUP, and so would its children.
HOLDER_SCRIPT = """
import os, signal, sys
from memoryhub.config import Config
from memoryhub.operations import embedded_postgres

signal.signal(signal.SIGHUP, signal.SIG_DFL)
config = Config(home=sys.argv[1], database_url=None)
if len(sys.argv) > 2:
    os.setgroups([]), os.setgid(int(sys.argv[2])), os.setuid(int(sys.argv[2]))
with embedded_postgres.run_server(config):
    print("up", flush=True)
    sys.stdin.read()
"""


def config_for_home(home: Path) -> Config:
    return Config(home=home, database_url=None)


@contextmanager
def run_process(*arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process in a group of its own, which is gone at the end whatever happened."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MEMORYHUB_", "DATABASE_"))}
    child = subprocess.Popen(
        [sys.executable, *arguments],
        env=inherited | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


@contextmanager
def hold_server(home: Path, *, uid: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process that uses the server of `home` until its standard input is closed."""
    user = [] if uid is None else [str(uid)]
    with run_process("-c", HOLDER_SCRIPT, str(home), *user) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line == "up\n" or "Opened" in line, line + child.stdout.read()
        if line != "up\n":
            assert child.stdout.readline() == "up\n"
        yield child
        if child.poll() is None:
            child.communicate("")


def query_value(config: Config, query: str = "SELECT 1") -> object:
    """The first value of the answer, over the address that Django uses."""
    with psycopg.connect(config.dsn) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row and row[0]


def server_pid(home: Path) -> int:
    return int((home / "postgres" / "postmaster.pid").read_text().partition("\n")[0])


def is_running(pid: int) -> bool:
    try:
        state = Path("/proc", str(pid), "stat").read_text()
    except FileNotFoundError:
        return False
    # Where nobody reaps orphans, a process that ended stays in the list as a zombie.
    return state.rpartition(")")[2].split()[0] != "Z"


def list_workers(server_pid: int) -> list[int]:
    """The process ids of the workers that `serve` has started, also if it is gone."""
    commands = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            commands[int(path.name)] = (path / "cmdline").read_bytes().split(b"\0")
    last_arguments = [b"worker", b"--parent-pid", str(server_pid).encode(), b""]
    return [pid for pid, command in commands.items() if command[-4:] == last_arguments and is_running(pid)]
