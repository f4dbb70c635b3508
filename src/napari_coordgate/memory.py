"""Free memory and peak memory use of this process."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
OWN_STATUS = Path("/proc/self/status")


def free_host_memory() -> int:
    """Bytes of host memory that this process can still allocate.

    This is the minimum of the system's available memory and of what is left below the limits of
    the process (``ulimit -v`` and ``ulimit -d``) and of its control groups (containers, cluster
    jobs).
    """
    available = psutil.virtual_memory().available
    return max(0, min([available, *_left_by_rlimits(), *_left_by_cgroups()]))


def peak_resident_bytes() -> int | None:
    """Peak resident memory of this process in bytes, or None if the system does not report it."""
    if sys.platform == "linux":
        # Not getrusage: there a child process starts with the peak of its parent.
        for line in OWN_STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return None
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _left_by_rlimits() -> Iterator[int]:
    """Bytes left below each resource limit of this process."""
    if sys.platform == "win32":
        return
    import resource

    used = psutil.Process().memory_info()
    # Only Linux reports the size of the data segment.
    sizes = {resource.RLIMIT_AS: used.vms, resource.RLIMIT_DATA: getattr(used, "data", 0)}
    for limited, size in sizes.items():
        limit, _ = resource.getrlimit(limited)
        if limit != resource.RLIM_INFINITY:
            yield limit - size


def _left_by_cgroups() -> Iterator[int]:
    """Bytes left below each limit of this process's control groups (Linux only)."""
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2: one tree for all
            names, root = ("memory.max", "memory.current", "inactive_file"), CGROUPS
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            root = CGROUPS / "memory"
        else:
            continue
        group = root / path.lstrip("/")
        # The limits of the parent groups apply as well. In a container, the path may be one of
        # the host, and the container's own group is the root.
        for folder in (group, *group.parents):
            if folder.is_relative_to(root):
                yield from _left_in_cgroup(folder, *names)


def _left_in_cgroup(
    folder: Path, limit_name: str, usage_name: str, reclaimable: str
) -> Iterator[int]:
    """Bytes left below the limit of one control group; reclaimable file cache counts as free."""
    try:
        limit = float((folder / limit_name).read_text().replace("max", "inf"))
        usage = int((folder / usage_name).read_text())
        statistics = (folder / "memory.stat").read_text().split()
    except (OSError, ValueError):
        return
    if math.isfinite(limit):
        named = dict(zip(statistics[::2], statistics[1::2], strict=False))
        yield int(limit) - usage + int(named.get(reclaimable, 0))
