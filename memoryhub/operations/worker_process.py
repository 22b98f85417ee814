"""The worker that `serve` runs as a process of its own, so that its memory and its model are not a web process's."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

START_PAUSE_SECONDS = 1.0
"""The web processes start first: two of them and a worker would share the cores."""
MAX_PAUSE_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 10.0
CHECK_SECONDS = 0.2

log = structlog.get_logger(__name__)


@contextmanager
def supervise() -> Iterator[None]:
    """Within the block: run `worker` as a child, and start it again, after a pause, if it ends."""
    stop_event = threading.Event()
    thread = threading.Thread(target=_keep_running, args=[stop_event], name="worker process", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop_event.set()
        thread.join()


def _keep_running(stop_event: threading.Event) -> None:
    pause_seconds = START_PAUSE_SECONDS
    while not stop_event.wait(pause_seconds):
        started_at = time.monotonic()
        process = _start_worker()
        while process.poll() is None and not stop_event.wait(CHECK_SECONDS):
            pass
        if stop_event.is_set():
            _stop_worker(process)
            return
        has_worked = time.monotonic() - started_at > MAX_PAUSE_SECONDS
        pause_seconds = START_PAUSE_SECONDS if has_worked else min(pause_seconds * 2, MAX_PAUSE_SECONDS)
        log.warning("the worker ended and is started again", status=process.returncode, pause_seconds=pause_seconds)


def _start_worker() -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the program that runs already
        [sys.executable, sys.argv[0], "worker", "--parent-pid", str(os.getpid())],
        stdin=subprocess.DEVNULL,
        # Ctrl-C in the terminal is for the server alone, which stops its worker itself.
        process_group=0,
    )


def _stop_worker(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
