"""How much more memory this process may take, and freed memory kept for the next training step."""

from __future__ import annotations

import ctypes
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from napari_care_losses.errors import ComputeError

if TYPE_CHECKING:
    from collections.abc import Iterator

_GROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Files in which a container or a batch system states the limit and the usage of its processes together."""

_CACHED = ("active_file", "inactive_file")
"""Parts of the usage that cache files: the system frees them on demand."""

_MIB = 1 << 20

# from glibc's malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3

LEAST_MEMORY = 64 * _MIB
"""Bytes that stay free beside what work takes: oneDNN crashes where it finds no memory for a kernel."""


def free_memory() -> int:
    """Return the bytes of memory that this process may still take."""
    return max(0, min(int(psutil.virtual_memory().available), _of_the_group(), _of_the_process()))


def require_memory(needed: int, what: str, remedy: str) -> None:
    """Raise `ComputeError` unless there is memory for `needed` bytes besides `LEAST_MEMORY`.

    Call it before work that makes new kernels on a CPU. `what` names the work, `remedy` what the user can do besides
    closing other programs.
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


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let the C library keep freed memory while the context lasts, and return it afterwards.

    A training step allocates and frees the same large tensors again and again. By default glibc gives their memory
    back to the system after every step, which must clear it page by page for the next: a fifth of the time of a small
    network. Where the C library is another one, nothing happens.
    """
    glibc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if glibc is None or not (hasattr(glibc, "mallopt") and hasattr(glibc, "malloc_trim")):
        yield
        return
    # Releases before 2.35 refuse a threshold above 32 MiB.
    if not glibc.mallopt(_MMAP_THRESHOLD, 1024 * _MIB):
        glibc.mallopt(_MMAP_THRESHOLD, 32 * _MIB)
    glibc.mallopt(_TRIM_THRESHOLD, -1)
    # Threads other than the main one keep their memory only up to this.
    glibc.mallopt(_TOP_PAD, 64 * _MIB)
    try:
        yield
    finally:
        # glibc raises its thresholds to these by itself as large blocks are freed, but no longer once they were set.
        glibc.mallopt(_MMAP_THRESHOLD, 32 * _MIB)
        glibc.mallopt(_TRIM_THRESHOLD, 64 * _MIB)
        glibc.mallopt(_TOP_PAD, 128 << 10)
        glibc.malloc_trim(0)
