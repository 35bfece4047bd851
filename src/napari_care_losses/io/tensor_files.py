"""Files of tensors (safetensors), opened within bounds; nothing in them is ever run."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGEST_HEADER = 32 << 20
"""Bytes of a header at most, all of which is parsed when a file is opened; those of models have a few thousand."""


@contextmanager
def open_tensors(path: Path, framework: str) -> Iterator[Any]:
    """Open a file of tensors, as `safetensors.safe_open` does.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If its header is larger than `LARGEST_HEADER`, or it is too large for the memory.
    SafetensorError
        If it is damaged.
    """
    with path.open("rb") as file:
        claimed = int.from_bytes(file.read(8), "little")
    if claimed > LARGEST_HEADER:
        raise ValueError(f"its header claims {claimed:,} bytes")
    try:
        opened = safe_open(path, framework=framework)
    except RuntimeError as error:
        # of torch, for a file larger than the memory can be mapped to
        raise ValueError(str(error)) from error
    with opened as file:
        yield file
