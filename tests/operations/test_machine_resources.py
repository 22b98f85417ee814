"""How much memory and disk the embedded PostgreSQL takes, on a host and in a container."""

import os
from pathlib import Path

import pytest

from memoryhub.operations.machine_resources import build_server_settings, get_free_disk_bytes, get_memory_bytes

pytestmark = pytest.mark.unit

HOST_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
GIGABYTE = 2**30


@pytest.mark.parametrize(
    ("membership", "limits", "expected"),
    [
        ("0::/\n", {"memory.max": "67108864\n"}, 2**26),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "67108864\n", "memory.max": "max"}, 2**26),
        ("0::/a/b\n", {"a/b/memory.max": "33554432\n", "a/memory.max": "67108864\n"}, 2**25),
        ("0::/a\n", {"a/memory.max": "max\n"}, HOST_BYTES),
        ("0::/a\n", {"a/memory.max": str(2**60)}, HOST_BYTES),
        ("5:cpu:/\n4:memory:/docker/x\n", {"memory/docker/x/memory.limit_in_bytes": "67108864\n"}, 2**26),
        ("4:memory:/docker/x\n0::/\n", {"memory/memory.limit_in_bytes": "67108864\n"}, 2**26),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, HOST_BYTES),
        ("", {}, HOST_BYTES),
    ],
)
def test_the_smallest_limit_of_the_control_groups_counts_and_never_more_than_the_host_has(
    tmp_path, membership, limits, expected
):
    (tmp_path / "membership").write_text(membership)
    for name, limit in limits.items():
        (tmp_path / "cgroups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroups" / name).write_text(limit)

    assert get_memory_bytes(tmp_path / "cgroups", tmp_path / "membership") == expected


def test_a_machine_without_control_groups_counts_whole(tmp_path):
    assert get_memory_bytes(tmp_path / "none", tmp_path / "none") == HOST_BYTES


@pytest.mark.parametrize(
    ("memory", "disk", "shared_buffers", "max_wal_size"),
    [
        (64 * GIGABYTE, 500 * GIGABYTE, "1024MB", "4096MB"),
        (GIGABYTE, 2 * GIGABYTE, "256MB", "512MB"),
        (2**26, 2**26, "16MB", "128MB"),
        (2**20, 0, "16MB", "128MB"),
    ],
)
def test_the_buffers_follow_the_memory_and_the_log_follows_the_disk(memory, disk, shared_buffers, max_wal_size):
    settings = dict(setting.split("=") for setting in build_server_settings(memory, disk))

    assert (settings["shared_buffers"], settings["max_wal_size"]) == (shared_buffers, max_wal_size)
    assert int(settings["effective_cache_size"].removesuffix("MB")) >= int(shared_buffers.removesuffix("MB"))


def test_free_space_is_that_of_the_file_system_of_the_folder(tmp_path):
    assert 0 < get_free_disk_bytes(tmp_path) <= os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize
    assert get_free_disk_bytes(Path("/proc")) == 0
