"""The process id and start time of the server, shared by its workers.

Workers inherit the server's environment, including a worker that replaces a failed one, so all workers report the same
values.
"""

import os
import time

_SERVER_PROCESS_VARIABLE = "MEMORYHUB_SERVER_PROCESS"
_THIS_PROCESS = (os.getpid(), time.monotonic())


def mark_server_process() -> None:
    """Record in the environment that this process is the server of the workers it will start."""
    os.environ[_SERVER_PROCESS_VARIABLE] = f"{os.getpid()} {time.monotonic()}"


def get_server_pid() -> int:
    """Return the process id of the server; without a server that of this process."""
    return _get_server_process()[0]


def get_uptime_seconds() -> float:
    """Return how long the server has been running."""
    return time.monotonic() - _get_server_process()[1]


def _get_server_process() -> tuple[int, float]:
    recorded = os.environ.get(_SERVER_PROCESS_VARIABLE)
    if recorded is None:
        return _THIS_PROCESS
    pid, started_at = recorded.split()
    return int(pid), float(started_at)
