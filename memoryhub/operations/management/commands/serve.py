"""`manage.py serve`: bring the database and the static files up to date, then serve HTTP until a signal stops it."""

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
from contextlib import ExitStack, contextmanager
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

from memoryhub.config import MAX_IDLE_SECONDS, SERVER_LOCK_FILE, Config
from memoryhub.operations import bootstrap, database_roles, embedded_postgres, process, schema, worker_process
from memoryhub.operations.program import PROGRAM_NAME
from memoryhub.version import VERSION

START_LOCK_ID = 0x6D656D68  # advisory lock id: arbitrary, but the same in every process
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_TIMEOUT_SECONDS = 5
"""How long a request may still run after the server was told to stop; then its connection is closed."""


class Command(BaseCommand):
    help = "Migrate, collect the static files and serve on MEMORYHUB_BIND and MEMORYHUB_PORT."
    # Run only memoryhub's own checks, which test settings. Django's others would slow down the start.
    requires_system_checks: list[str] = ["memoryhub"]

    def handle(self, *_args: Any, **_options: Any) -> None:
        process.mark_server_process()
        # A stop signal is not a failure, even during the start.
        for signal_number in STOP_SIGNALS:
            signal.signal(signal_number, lambda *_: sys.exit(0))
        config: Config = settings.APP_CONFIG
        host, port = _resolve_listen_address(config.bind, config.port)
        url = f"http://{_format_url_host(host)}:{port}"
        # Workers are forks and report this port in /api/status.
        config.port = port
        with _hold_home_lock(config, url):
            self._prepare_database(config, url)
            # A worker is a fork: it must not use the parent's connection.
            connections.close_all()
            self._print_welcome(config, url)
            with ExitStack() as stack:
                if config.is_embedded:
                    stack.enter_context(embedded_postgres.supervise(config))
                if config.worker:
                    stack.enter_context(worker_process.supervise())
                _run_http_server(config, host, port)

    def _prepare_database(self, config: Config, url: str) -> None:
        try:
            with _hold_startup_lock():
                self._run_migrations()
                with config.exit_on_home_errors():
                    _collect_static_files(config.home / "static.stamp")
                    bootstrap.initialize_hub(config, url)
        except OperationalError as error:
            raise CommandError(f"The database cannot be used: {error}") from None

    def _run_migrations(self) -> None:
        with database_roles.connect_as_owner():
            count = len(schema.list_pending_migrations())
        if count:
            count_text = f"{count} migration{'s' if count > 1 else ''}"
            self._print(f"Migrating the database: {count_text}. Nothing listens until they are done.")
        started_at = time.monotonic()
        call_command("migrate", interactive=False, verbosity=0)
        if count:
            self._print(f"Migrated the database in {time.monotonic() - started_at:.1f} s.")

    def _print_welcome(self, config: Config, url: str) -> None:
        credentials = config.home / bootstrap.CREDENTIALS_FILE
        # The file may be missing on a later start (it was deleted, or the database has another home); the users exist.
        sign_in_hint = (
            f"with an account of this database (`{PROGRAM_NAME} changepassword NAME` sets a forgotten password)"
        )
        self._print(
            f"memoryhub {VERSION} is at {url}\nSign-in: {credentials if credentials.exists() else sign_in_hint}"
        )

    def _print(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def _run_http_server(config: Config, host: str, port: int) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; requests under way are finished first, for STOP_TIMEOUT_SECONDS."""
    server = Server(
        "memoryhub.rsgi:application",
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=MAX_IDLE_SECONDS * 1000),
        websockets=False,
        workers=config.workers,
        # Backpressure counts connections: slow clients must not use up all permits.
        backlog=2048,
        backpressure=1024,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_TIMEOUT_SECONDS,
        # granian's records go to memoryhub's log handlers.
        log_level=LogLevels.warning,
        log_dictconfig={
            "filters": {"stop": {"()": RewordStopMessageFilter}},
            "loggers": {"_granian": {"propagate": True, "filters": ["stop"]}},
        },
    )
    # On SIGHUP, which a closing terminal sends, granian would reload and keep running.
    server.on_startup(lambda: signal.signal(signal.SIGHUP, server.signal_handler_interrupt))
    os.register_at_fork(after_in_child=_reset_signal_handlers)
    try:
        server.serve()
    except SystemExit:
        # A service manager signals the workers too, and granian reports their exit as a failure.
        if not server.interrupt_signal:
            raise


class RewordStopMessageFilter(logging.Filter):
    """Reword granian's message about a worker that was ended with open connections: that is no refusal to stop."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.getMessage().endswith("after it refused to gracefully stop"):
            record.msg = f"Connections that were still open after {STOP_TIMEOUT_SECONDS} s were cut off"
            record.args, record.levelno, record.levelname = None, logging.INFO, "INFO"
        return True


def _reset_signal_handlers() -> None:
    # The inherited handlers would swallow a stop signal that reaches a worker before it has its own handlers.
    for signal_number in STOP_SIGNALS:
        signal.signal(signal_number, signal.SIG_DFL)


def _resolve_listen_address(bind: str, port: int) -> tuple[str, int]:
    """Return the numeric address and the port to listen on; for port 0 a free port.

    Checked here because granian would share a port with another process that allows it. Raises CommandError.
    """
    # The workers of a killed server exit a moment after it.
    deadline = time.monotonic() + 2
    while True:
        try:
            family, socket_type, _, _, address = socket.getaddrinfo(bind, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, socket_type) as probe_socket:
                probe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe_socket.bind(address)
                host, free_port = probe_socket.getsockname()[:2]
                return str(host), int(free_port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise CommandError(f"memoryhub cannot listen on {bind} port {port}: {error.strerror}.") from None
            if time.monotonic() > deadline:
                raise CommandError(
                    f"Port {port} on {bind} is taken: stop the program that uses it, or set MEMORYHUB_PORT to another."
                ) from None
        time.sleep(0.1)


def _collect_static_files(stamp_file: Path) -> None:
    """Collect the static files if they have changed since the last collection."""
    fingerprint = _fingerprint_static_files()
    if stamp_file.exists() and stamp_file.read_text() == fingerprint and Path(settings.STATIC_ROOT).exists():
        return
    call_command("collectstatic", interactive=False, verbosity=0)
    stamp_file.write_text(fingerprint)


def _fingerprint_static_files() -> str:
    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in sorted(finder.list([]), key=lambda entry: entry[0]):
            digest.update(f"{name} {Path(storage.path(name)).stat().st_mtime_ns}\n".encode())
    return digest.hexdigest()


@contextmanager
def _hold_home_lock(config: Config, url: str) -> Iterator[None]:
    """Hold the lock of the home, which only one server may use: its credentials file names one address.

    It is a POSIX lock, which forks do not inherit, so the workers of a killed server do not hold it. Raises
    CommandError if another server has it.
    """
    with config.exit_on_home_errors():
        descriptor = os.open(config.ensure_home() / SERVER_LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
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
def _hold_startup_lock() -> Iterator[None]:
    with connection.cursor() as cursor:
        # A start waits for the migrations of another start, however long they take.
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("SET lock_timeout = 0")
        cursor.execute("SELECT pg_advisory_lock(%s)", [START_LOCK_ID])
    try:
        yield
    finally:
        # Closing the connection releases the lock and resets the settings.
        connection.close()


def _format_url_host(host: str) -> str:
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return f"[{address}]" if address.version == 6 else host
