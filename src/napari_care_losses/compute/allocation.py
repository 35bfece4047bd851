"""Keeping freed memory for the next step of a training instead of returning it to the system after every one."""

from __future__ import annotations

import ctypes
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# from glibc's malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3

_MIB = 1 << 20


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let the C library keep freed memory while the context lasts, and return it afterwards.

    A training step allocates and frees the same large tensors again and again. By default glibc gives their memory
    back to the system after every step, which must clear it page by page for the next: a fifth of the time of a small
    network. Where the C library is another one, nothing happens.
    """
    glibc = _glibc()
    if glibc is None:
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


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
