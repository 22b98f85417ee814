"""The door for a WSGI server."""

import multiprocessing
import os
import threading
from multiprocessing.process import BaseProcess

from django.core.wsgi import get_wsgi_application


def _belong_to(parent: BaseProcess) -> None:
    # Ctrl-C reaches every process of the terminal's group: the parent alone decides when its workers stop.
    os.setpgid(0, 0)

    def leave_with_it() -> None:
        parent.join()
        os._exit(1)

    # Without this a parent killed with -9 leaves workers that hold the port.
    threading.Thread(target=leave_with_it, name="parent", daemon=True).start()


if (parent := multiprocessing.parent_process()) is not None:
    _belong_to(parent)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.settings")
application = get_wsgi_application()
