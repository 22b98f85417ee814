"""The name under which the user started memoryhub, for messages that tell them which command to run."""

import sys
from pathlib import Path

# Server processes have other names; what they write is read beside a checkout as often as not.
PROGRAM_NAME = "memoryhub" if Path(sys.argv[0]).name in ("memoryhub", "memoryhub.exe") else "manage.py"
