"""How many CPU cores this process may use now, and work divided among them; without torch."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

_limit: ContextVar[Callable[[], int] | None] = ContextVar("limit of threads", default=None)


def cpu_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(limit: Callable[[], int]) -> None:
    """Let the work of the calling thread take as many threads as `limit` returns when it is asked, between two pieces.

    It holds for what asks by `threads_now`, and must not change a result.
    """
    _limit.set(limit)


def threads_now(most: int) -> int:
    """Return how many threads, of so many at most, the work of the calling thread may take now.

    Examples
    --------
    >>> threads_now(4)
    4
    """
    limit = _limit.get()
    return most if limit is None else max(1, min(most, limit()))


PART = 1 << 19
BLOCK = 1 << 15
"""Pixels of an image that one thread is given, and those computed at once, which stay in the CPU's cache."""


def parts(pixels: int) -> list[range]:
    """Return the starts of blocks of so many pixels, as parts for `in_threads`; a small image is one part.

    Examples
    --------
    >>> [list(part) for part in parts(100_000)]
    [[0, 32768, 65536, 98304]]
    """
    return [range(start, min(start + PART, pixels), BLOCK) for start in range(0, pixels, PART)]


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], *, most: int | None = None) -> list[Result]:
    """Return what a function gives for every item, in their order, computed by one thread a core.

    Worth it where the function spends its time in calls that release the GIL, such as numpy's on large arrays. On
    Linux the threads have the priority of the calling one. The first exception of the function is raised here.

    Parameters
    ----------
    function : callable
        Called with one item, from several threads at once.
    items : sequence
        What it is called with.
    most : int, optional
        The largest number of threads; by default `cpu_cores`.

    Examples
    --------
    >>> in_threads(abs, [-1, 2, -3])
    [1, 2, 3]
    """
    threads = min(most or cpu_cores(), len(items))
    if threads <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads, thread_name_prefix="in_threads") as pool:
        return list(pool.map(function, items))
