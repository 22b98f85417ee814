"""The name under which the user started memoryhub, for messages that tell them which command to run."""

import sys
from pathlib import Path

# The console script of an installed package; any other process belongs to a checkout.
PROGRAM_NAME = "memoryhub" if Path(sys.argv[0]).name in ("memoryhub", "memoryhub.exe") else "manage.py"
