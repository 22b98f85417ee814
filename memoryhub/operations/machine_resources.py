"""How much memory and disk the embedded PostgreSQL may use: the share of the container, not all of the host."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MEGABYTE = 2**20
CGROUP_ROOT, CGROUP_MEMBERSHIP_FILE = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
MIN_SHARED_BUFFERS_MB, MAX_SHARED_BUFFERS_MB = 16, 1024
MAX_MAINTENANCE_WORK_MEM_MB = 256
MIN_WAL_MB, MAX_WAL_MB = 128, 4096


def build_server_settings(memory_bytes: int, free_disk_bytes: int) -> list[str]:
    """Return PostgreSQL settings (`name=value`) for this much memory, and this much free space for the data."""
    memory_mb = memory_bytes // MEGABYTE
    shared_buffers_mb = max(MIN_SHARED_BUFFERS_MB, min(memory_mb // 4, MAX_SHARED_BUFFERS_MB))
    wal_mb = max(MIN_WAL_MB, min(free_disk_bytes // MEGABYTE // 4, MAX_WAL_MB))
    return [
        f"shared_buffers={shared_buffers_mb}MB",
        f"effective_cache_size={max(memory_mb // 2, shared_buffers_mb)}MB",
        f"maintenance_work_mem={max(MIN_SHARED_BUFFERS_MB, min(memory_mb // 8, MAX_MAINTENANCE_WORK_MEM_MB))}MB",
        f"max_wal_size={wal_mb}MB",
    ]


def get_memory_bytes(cgroup_root: Path = CGROUP_ROOT, membership_file: Path = CGROUP_MEMBERSHIP_FILE) -> int:
    """Return the host's memory, or the lowest limit of this process's control groups."""
    host_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([host_bytes, *_iter_cgroup_limits(cgroup_root, membership_file)])


def get_free_disk_bytes(folder: Path) -> int:
    """Return the free bytes of the file system that holds `folder`."""
    file_system = os.statvfs(folder)
    return file_system.f_bavail * file_system.f_frsize


def _iter_cgroup_limits(cgroup_root: Path, membership_file: Path) -> Iterator[int]:
    """Yield the memory limits of this process's control groups and of their ancestors, whose limits apply too."""
    for line in _read_text_or_empty(membership_file).splitlines():
        hierarchy_id, _, remainder = line.partition(":")
        controllers, _, group = remainder.partition(":")
        if hierarchy_id == "0":
            yield from _iter_ancestor_limits(cgroup_root, group, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _iter_ancestor_limits(cgroup_root / "memory", group, "memory.limit_in_bytes")


def _iter_ancestor_limits(root: Path, group: str, name: str) -> Iterator[int]:
    # In a container the group's path may be that of the host, which is not mounted there: then the mounted root has the
    # limit.
    group_path = PurePosixPath(group.lstrip("/"))
    for folder in (group_path, *group_path.parents):
        limit = _read_text_or_empty(root / folder / name).strip()
        # "max" means no limit.
        if limit.isdecimal():
            yield int(limit)


def _read_text_or_empty(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
