"""The WSGI application."""

import multiprocessing
import os
import threading
from multiprocessing.process import BaseProcess

from django.core.wsgi import get_wsgi_application


def _exit_with_parent(parent: BaseProcess) -> None:
    # Ctrl-C signals every process of the terminal's group, but only the parent decides when its workers stop.
    os.setpgid(0, 0)

    def watch_parent() -> None:
        parent.join()
        os._exit(1)

    # Without this, the workers of a parent killed by SIGKILL would go on and hold the port.
    threading.Thread(target=watch_parent, name="parent", daemon=True).start()


if (parent := multiprocessing.parent_process()) is not None:
    _exit_with_parent(parent)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.settings")
application = get_wsgi_application()
