"""The hub as one process: the server that started the workers, and when.

A worker inherits the environment of the server, also one that replaces a worker that failed. So every worker answers
the same.
"""

import os
import time

_VARIABLE = "MEMORYHUB_SERVER_PROCESS"
_THIS_PROCESS = (os.getpid(), time.monotonic())


def begin_serving() -> None:
    """Note that this process is the server of the workers that it will start."""
    os.environ[_VARIABLE] = f"{os.getpid()} {time.monotonic()}"


def pid() -> int:
    """The process id of the server; of this process if no server started it."""
    return _server()[0]


def uptime_seconds() -> float:
    """How long the server has been running."""
    return time.monotonic() - _server()[1]


def _server() -> tuple[int, float]:
    noted = os.environ.get(_VARIABLE)
    if noted is None:
        return _THIS_PROCESS
    number, started = noted.split()
    return int(number), float(started)
