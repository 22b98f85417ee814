"""`manage.py serve`: bring the database and the static files up to date, then answer HTTP until told to stop."""

import errno
import fcntl
import hashlib
import ipaddress
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import BaseCommand, CommandError, call_command
from django.db import OperationalError, connection, connections
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from memoryhub.config import IDLE_SECONDS, SERVER_LOCK, Config
from memoryhub.ops import embedded, first_start, process, roles, schema
from memoryhub.version import VERSION

START_LOCK = 0x6D656D68  # "memh": any number, as long as every start asks for the same
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_SECONDS = 5
"""How long a request that is under way may still take once the server has to stop; then it is cut off."""


class Command(BaseCommand):
    help = "Migrate, collect the static files and serve on MEMORYHUB_BIND and MEMORYHUB_PORT."
    # What a setting can spoil; all the others would only make the start slower.
    requires_system_checks: list[str] = ["memoryhub"]

    def handle(self, *_args: Any, **_options: Any) -> None:
        process.begin_serving()
        # To be told to stop is no failure, however early.
        for number in STOP_SIGNALS:
            signal.signal(number, lambda *_: sys.exit(0))
        config: Config = settings.MEMORYHUB
        host, port = free_address(config.bind, config.port)
        url = f"http://{_host_for_people(host)}:{port}"
        # The workers are forks: what they tell in /api/status is the port that was found.
        config.port = port
        with home_in_use(config, url):
            self._prepare(config, url)
            # A worker is a fork: it must not talk over the parent's connection.
            connections.close_all()
            self._welcome(config, url)
            with embedded.kept_alive(config) if config.embedded else nullcontext():
                serve(config, host, port)

    def _prepare(self, config: Config, url: str) -> None:
        try:
            with _one_start_at_a_time():
                self._migrate()
                with config.home_problems_explained():
                    collect_static(config.home / "static.stamp")
                    first_start.prepare(config, url)
        except OperationalError as error:
            raise CommandError(f"The database cannot be used: {error}") from None

    def _migrate(self) -> None:
        with roles.as_owner():
            count = len(schema.pending_migrations())
        if count:
            number = f"{count} migration{'s' if count > 1 else ''}"
            self._say(f"Migrating the database: {number}. Nothing listens until they are done.")
        started = time.monotonic()
        call_command("migrate", interactive=False, verbosity=0)
        if count:
            self._say(f"Migrated the database in {time.monotonic() - started:.1f} s.")

    def _welcome(self, config: Config, url: str) -> None:
        credentials = config.home / first_start.CREDENTIALS
        # The first start makes users, so there are some.
        known = "with an account of this database (`manage.py changepassword NAME` sets a forgotten password)"
        self._say(f"memoryhub {VERSION} is at {url}\nSign-in: {credentials if credentials.exists() else known}")

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def serve(config: Config, host: str, port: int) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; requests under way are finished first."""
    server = Server(
        "memoryhub.rsgi:application",
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=IDLE_SECONDS * 1000),
        websockets=False,
        workers=config.workers,
        # One permit is one connection: slow clients must not use them up before the honest ones come.
        backlog=2048,
        backpressure=1024,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
        # Its words go where ours go.
        log_level=LogLevels.warning,
        log_dictconfig={
            "filters": {"stop": {"()": CutOffAtStop}},
            "loggers": {"_granian": {"propagate": True, "filters": ["stop"]}},
        },
    )
    # granian would reload on the signal that a closing terminal sends, and live on without it.
    server.on_startup(lambda: signal.signal(signal.SIGHUP, server.signal_handler_interrupt))
    os.register_at_fork(after_in_child=_forget_the_parents_handlers)
    try:
        server.serve()
    except SystemExit:
        # A service manager tells the workers to stop too; granian reports their leaving as a failure.
        if not server.interrupt_signal:
            raise


class CutOffAtStop(logging.Filter):
    """granian calls it a refusal to stop when a worker is ended that still has open connections: it is the rule."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.getMessage().endswith("after it refused to gracefully stop"):
            record.msg = f"Connections that were still open after {STOP_SECONDS} s were cut off"
            record.args, record.levelno, record.levelname = None, logging.INFO, "INFO"
        return True


def _forget_the_parents_handlers() -> None:
    # They would swallow a stop that reaches a worker before it has handlers of its own.
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def free_address(bind: str, port: int) -> tuple[str, int]:
    """The numeric address to listen on; port 0 becomes one that is free.

    Asked here because granian shares a port with whoever else is willing to.
    """
    # The workers of a server that was killed are gone a moment after it.
    deadline = time.monotonic() + 2
    while True:
        try:
            family, kind, _, _, address = socket.getaddrinfo(bind, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                host, free = probe.getsockname()[:2]
                return str(host), int(free)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise CommandError(f"memoryhub cannot listen on {bind} port {port}: {error.strerror}.") from None
            if time.monotonic() > deadline:
                raise CommandError(
                    f"Port {port} on {bind} is taken: stop the program that uses it, or set MEMORYHUB_PORT to another."
                ) from None
        time.sleep(0.1)


def collect_static(stamp: Path) -> None:
    """Collect the static files if they are not the ones that were collected last."""
    source = _fingerprint()
    if stamp.exists() and stamp.read_text() == source and Path(settings.STATIC_ROOT).exists():
        return
    call_command("collectstatic", interactive=False, verbosity=0)
    stamp.write_text(source)


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in sorted(finder.list([]), key=lambda found: found[0]):
            digest.update(f"{name} {Path(storage.path(name)).stat().st_mtime_ns}\n".encode())
    return digest.hexdigest()


@contextmanager
def home_in_use(config: Config, url: str) -> Iterator[None]:
    """Keep the home for this server alone: its credentials file names one address.

    A lock of POSIX, which forks do not share: the workers of a server that was killed do not go on holding it.
    """
    with config.home_problems_explained():
        descriptor = os.open(config.ensure_home() / SERVER_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"MEMORYHUB_HOME={config.home} is in use: a hub serves it at {file.read().strip() or 'an address'}. "
                "Stop that one, or set MEMORYHUB_HOME to another directory."
            ) from None
        file.truncate()
        file.write(url)
        file.flush()
        yield


@contextmanager
def _one_start_at_a_time() -> Iterator[None]:
    with connection.cursor() as cursor:
        # Waiting for another start takes the time that its migrations take.
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("SET lock_timeout = 0")
        cursor.execute("SELECT pg_advisory_lock(%s)", [START_LOCK])
    try:
        yield
    finally:
        # The lock and the settings go with the connection.
        connection.close()


def _host_for_people(host: str) -> str:
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return f"[{address}]" if address.version == 6 else host
