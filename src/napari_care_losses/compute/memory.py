"""How much more memory this process may take: what the machine has free, and what it was allowed."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

from napari_care_losses.errors import ComputeError

_GROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Where a container or a batch system says how much its processes may take together, and how much they have."""

_CACHED = ("active_file", "inactive_file")
"""Parts of what they have that hold contents of files read, which the system gives back when memory is asked for."""

LEAST_MEMORY = 64 << 20
"""Bytes that stay free beside what work takes: with almost none, oneDNN crashes for want of a kernel."""


def free_memory() -> int:
    """Return the bytes of memory that this process may still take."""
    return max(0, min(int(psutil.virtual_memory().available), _of_the_group(), _of_the_process()))


def require_memory(needed: int, what: str, remedy: str) -> None:
    """Refuse work that does not fit, before it makes new kernels on a processor.

    Parameters
    ----------
    needed : int
        Bytes that it takes, besides `LEAST_MEMORY`.
    what : str
        The work.
    remedy : str
        What the user can do, besides closing other programs.

    Raises
    ------
    ComputeError
        If less is left.
    """
    needed, left = needed + LEAST_MEMORY, free_memory()
    if left < needed:
        raise ComputeError(
            f"Only {left >> 20} MB of memory are left, and {what} takes about {needed >> 20} MB: {remedy}, or close "
            "other programs."
        )


def _of_the_group() -> int:
    for folder, limit, usage in _GROUPS:
        try:
            left = int((folder / limit).read_text()) - int((folder / usage).read_text())
            rows = [line.split() for line in (folder / "memory.stat").read_text().splitlines()]
            return left + sum(int(row[1]) for row in rows if row[0] in _CACHED)
        except (OSError, ValueError):
            # no such file, or "max"
            continue
    return sys.maxsize


def _of_the_process() -> int:
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    if allowed == resource.RLIM_INFINITY:
        return sys.maxsize
    return allowed - int(psutil.Process().memory_info().vms)
