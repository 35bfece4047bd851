"""Prefetching: the next item of an iterator is made in the background while the last one is used."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

Item = TypeVar("Item")

_END = object()


def prefetch(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """Yield the items of a generator, each made in a background thread while the one before it is in use.

    The generator runs one item ahead and no further. What it raises is raised here in its item's place. Closing waits
    for the item being made, then closes the generator too.

    Parameters
    ----------
    items : generator
        Makes the items; what it touches must not be used elsewhere meanwhile.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch") as thread:
        pending = thread.submit(next, items, _END)
        try:
            while (item := pending.result()) is not _END:
                pending = thread.submit(next, items, _END)
                yield item  # type: ignore[misc]
        finally:
            pending.cancel()
            wait([pending])
            items.close()
