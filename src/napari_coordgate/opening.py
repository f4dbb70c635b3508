"""The one place that opens files of users for reading.

A pipe or device under the name of a file would make its reader wait forever, or fill the memory;
and a memory map of a file that is truncated kills the process. So regular files alone are opened,
and none is mapped.
"""

import errno
import os
import stat
from pathlib import Path

from napari_coordgate.memory import free_host_memory

MIN_BUDGET = 2**28
"""Bytes that a file may always claim."""


def check_regular(path: str | Path) -> None:
    """Raise OSError unless a path is a regular file or a folder."""
    _check_mode(path, Path(path).stat().st_mode)


def regular(path: str, flags: int) -> int:
    """Opener for `open`: raises OSError at once if a path is a pipe, a socket or a device."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    try:
        _check_mode(path, os.fstat(descriptor).st_mode)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_file(path: str | Path) -> bytes:
    """Contents of a regular file; ValueError if it does not fit into the free memory."""
    with open(path, "rb", opener=regular) as file:
        check_claim(os.fstat(file.fileno()).st_size, "it has")
        return file.read()


def check_claim(nbytes: int, claim: str) -> None:
    """Raise ValueError, which begins with a claim of a file, if it does not fit into memory."""
    budget = max(MIN_BUDGET, free_host_memory() // 2)
    if nbytes > budget:
        raise ValueError(f"{claim} {nbytes / 1e9:.1f} GB, with {budget / 1e9:.1f} GB to spare")


def _check_mode(path: str | Path, mode: int) -> None:
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is a pipe, socket or device, not a file", str(path))
