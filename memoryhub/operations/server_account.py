"""The account that runs the embedded PostgreSQL, and its access to files.

PostgreSQL refuses to run as root. If this process runs as root, another account runs the server, and the server's files
and the way to them are opened to that account.
"""

import logging
import os
import pwd
import shutil
import stat
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

log = logging.getLogger(__name__)

SYSTEM_USER = "memoryhub-pg"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAccount:
    """The account that runs the server. Without a name it is the user of this process."""

    uid: int
    gid: int
    name: str = ""

    def take_over(self, path: Path | int) -> None:
        """Give a file that root owns to the account; a file of another user keeps its owner."""
        if self.name and os.stat(path).st_uid == 0:
            os.chown(path, self.uid, self.gid)

    def create_private_directory(self, path: Path) -> None:
        """Create a directory of mode 0700 for the server.

        Raises SystemExit if the path belongs to another user or is not a directory.
        """
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {self.uid, os.geteuid()}:
            raise SystemExit(f"{path} belongs to another user: remove it, or set MEMORYHUB_HOME to another directory.")
        path.chmod(0o700)
        self.take_over(path)

    def grant_path_access(self, *, home: Path, socket_dir: Path, install_dir: Path) -> None:
        """Let an account with a name traverse to the home and to the programs, and read the programs.

        Nothing else is opened.
        """
        if not self.name:
            return
        libraries_dir = install_dir.parent.with_name(f"{install_dir.parent.name}.libs")
        trees = [tree for tree in (install_dir, libraries_dir) if tree.exists()]
        parent_dirs = {
            parent
            for target_path in (home, socket_dir, install_dir / "bin")
            for path in (target_path, target_path.resolve())
            for parent in path.parents
        }
        changed_paths = [str(path) for path in self._add_mode(sorted(parent_dirs), stat.S_IXOTH)]
        files = chain.from_iterable(_iter_tree(tree) for tree in trees)
        if file_count := len(self._add_mode(files, stat.S_IROTH | stat.S_IXOTH)):
            changed_paths.append(f"{file_count} files of {install_dir}")
        if changed_paths:
            log.warning("Opened %s to the user %s, who runs PostgreSQL for root.", ", ".join(changed_paths), self.name)

    def _add_mode(self, paths: Iterable[Path], mode: int) -> Sequence[Path]:
        changed_paths = []
        for path in paths:
            status = path.stat()
            is_executable = stat.S_ISDIR(status.st_mode) or status.st_mode & stat.S_IXUSR
            missing_mode = (mode if is_executable else mode & ~stat.S_IXOTH) & ~status.st_mode
            if missing_mode and status.st_uid != self.uid:
                path.chmod(stat.S_IMODE(status.st_mode) | missing_mode)
                changed_paths.append(path)
        return changed_paths


def choose_server_account(home: Path) -> ServerAccount:
    """Return the user of this process; if that is root, the owner of `home`, or else a system user.

    Raises SystemExit if there is no such user.
    """
    if os.geteuid() != 0:
        return ServerAccount(uid=os.geteuid(), gid=os.getegid())
    owner_uid = home.stat().st_uid
    user_entry = _find_user(owner_uid) if owner_uid != 0 else None
    user_entry = user_entry or _get_or_create_system_user()
    return ServerAccount(uid=user_entry.pw_uid, gid=user_entry.pw_gid, name=user_entry.pw_name)


def _iter_tree(root: Path) -> Iterator[Path]:
    yield root
    yield from (path for path in root.rglob("*") if not path.is_symlink())


def _find_user(key: str | int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(key) if isinstance(key, str) else pwd.getpwuid(key)
    except KeyError:
        return None


def _get_or_create_system_user() -> pwd.struct_passwd:
    """Return the system user for the server: created if it is missing, else postgres or nobody.

    Raises SystemExit if there is none.
    """
    useradd = shutil.which("useradd", path=f"{os.defpath}:/usr/sbin:/sbin")
    for _ in range(10):
        if _find_user(SYSTEM_USER) or useradd is None:
            break
        command = [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
        if subprocess.run(command, capture_output=True, check=False).returncode:  # noqa: S603 - fixed
            # Another start may hold the lock on the list of users for a moment.
            time.sleep(0.3)
    user_entry = _find_user(SYSTEM_USER) or _find_user("postgres") or _find_user("nobody")
    if user_entry is None:
        raise SystemExit("PostgreSQL cannot run as root, and there is no other user to run it: set DATABASE_URL.")
    return user_entry
