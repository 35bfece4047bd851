"""How much more memory this process may take: what the machine has free, and what it was allowed."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

_GROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
"""Where a container or a batch system says how much its processes may take together, and how much they have."""


def free_memory() -> int:
    """Return the bytes of memory that this process may still take."""
    return max(0, min(int(psutil.virtual_memory().available), _of_the_group(), _of_the_process()))


def _of_the_group() -> int:
    for limit, usage in _GROUPS:
        try:
            return int(limit.read_text()) - int(usage.read_text())
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
