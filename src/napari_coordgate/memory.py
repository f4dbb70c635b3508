"""Memory of this process: what it may still take, and the most it has taken."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

__all__ = ["free_host_memory", "peak_resident_bytes"]

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
OWN_STATUS = Path("/proc/self/status")


def free_host_memory() -> int:
    """Memory that this process may still take.

    Returns
    -------
    int
        Bytes: the least of what the system has to give, what the limits of the process
        leave (``ulimit -v`` and ``ulimit -d``), and what those of its control groups
        (containers, and jobs of a cluster) leave. Never negative.
    """
    rooms = [psutil.virtual_memory().available, *_process_rooms(), *_cgroup_rooms()]
    return max(0, min(rooms))


def peak_resident_bytes() -> int | None:
    """Largest resident memory of this process so far.

    Returns
    -------
    int or None
        Bytes, mapped pages of files among them; None where the system does not tell.
    """
    if sys.platform == "linux":
        # Not getrusage: there a new process begins with the peak of the one that started it.
        for line in OWN_STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return None
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _process_rooms() -> Iterator[int]:
    """What each limit of this process leaves, bytes."""
    if sys.platform == "win32":
        return
    import resource

    taken = psutil.Process().memory_info()
    # Only Linux tells the size of the data.
    sizes = {resource.RLIMIT_AS: taken.vms, resource.RLIMIT_DATA: getattr(taken, "data", 0)}
    for limited, size in sizes.items():
        limit, _ = resource.getrlimit(limited)
        if limit != resource.RLIM_INFINITY:
            yield limit - size


def _cgroup_rooms() -> Iterator[int]:
    """What each limit of this process's control groups leaves, bytes; none but on Linux."""
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
        # The limits of the groups above hold as well. In a container, the path may be one of
        # the host's, and its own group the root.
        for folder in (group, *group.parents):
            if folder.is_relative_to(root):
                yield from _room(folder, *names)


def _room(folder: Path, limit_name: str, usage_name: str, reclaimable: str) -> Iterator[int]:
    """What the limit of one control group leaves, bytes; files that it may forget count as free."""
    try:
        limit = float((folder / limit_name).read_text().replace("max", "inf"))
        usage = int((folder / usage_name).read_text())
        statistics = (folder / "memory.stat").read_text().split()
    except (OSError, ValueError):
        return
    if math.isfinite(limit):
        named = dict(zip(statistics[::2], statistics[1::2], strict=False))
        yield int(limit) - usage + int(named.get(reclaimable, 0))
