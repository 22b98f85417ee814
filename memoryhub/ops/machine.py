"""How much of the machine the embedded PostgreSQL may use: a container's share, not what the host has."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MEGABYTE = 2**20
CGROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
MIN_SHARED_BUFFERS_MB, MAX_SHARED_BUFFERS_MB = 16, 1024
MAX_MAINTENANCE_MB = 256
MIN_WAL_MB, MAX_WAL_MB = 128, 4096


def server_settings(memory_bytes: int, free_disk_bytes: int) -> list[str]:
    """PostgreSQL's settings for that much memory, and that much free space where its data lies."""
    memory = memory_bytes // MEGABYTE
    shared_buffers = max(MIN_SHARED_BUFFERS_MB, min(memory // 4, MAX_SHARED_BUFFERS_MB))
    wal = max(MIN_WAL_MB, min(free_disk_bytes // MEGABYTE // 4, MAX_WAL_MB))
    return [
        f"shared_buffers={shared_buffers}MB",
        f"effective_cache_size={max(memory // 2, shared_buffers)}MB",
        f"maintenance_work_mem={max(MIN_SHARED_BUFFERS_MB, min(memory // 8, MAX_MAINTENANCE_MB))}MB",
        f"max_wal_size={wal}MB",
    ]


def memory_bytes(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """The host's memory, or less where a control group of this process allows less."""
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([host, *_limits(cgroups, membership)])


def free_disk_bytes(folder: Path) -> int:
    """The free space of the file system on which `folder` lies."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _limits(cgroups: Path, membership: Path) -> Iterator[int]:
    """The memory limits of the groups this process is in; each group also obeys those that it lies in."""
    for line in _read(membership).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0":
            yield from _limits_upwards(cgroups, group, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _limits_upwards(cgroups / "memory", group, "memory.limit_in_bytes")


def _limits_upwards(root: Path, group: str, name: str) -> Iterator[int]:
    # In a container the group's own path may be the host's, which is not mounted there: its root is the limit then.
    relative = PurePosixPath(group.lstrip("/"))
    for folder in (relative, *relative.parents):
        limit = _read(root / folder / name).strip()
        # "max" is no limit.
        if limit.isdecimal():
            yield int(limit)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
