"""Pairs as the user chose them, in memory or in files, and checks of whether they can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Frames, in_order
from napari_care_losses.images.sampling import evenly_spaced
from napari_care_losses.io.stacks import bare_name, is_stack
from napari_care_losses.training.pair_checks import warnings_of
from napari_care_losses.training.pair_names import natural_key
from napari_care_losses.training.pairs import check_images

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

WARNED_FRAMES = 3
"""Frames of a pair, spread over all, that are checked for warnings: this takes longer than reading them."""


class PairSource(NamedTuple):
    """A low and a high exposure of the same fields of view."""

    name: str
    """Used in messages and in the model's provenance."""
    low: Frames | Path
    """A stack, or the file it is read from when it is needed: many files are never open at once."""
    high: Frames | Path

    def opened(self) -> tuple[Frames, Frames]:
        """Return both stacks, lazily; raises as `read_stack` does."""
        low = _opened(self.low)
        return low, in_order(_opened(self.high), low.axes)

    @property
    def is_at_hand(self) -> bool:
        """Whether both are in memory, so that reading a frame takes no time."""
        return all(isinstance(side, Frames) and type(side.data) is np.ndarray for side in (self.low, self.high))

    @property
    def key(self) -> tuple[Hashable, Hashable]:
        """What is equal for equal pairs."""
        return _key(self.low), _key(self.high)


def check_pair(source: PairSource) -> tuple[int, ...]:
    """Return the shape both stacks have, after looking at their first frames; `examine_pair` looks at the others.

    Raises
    ------
    InputError
        If they are no pair to learn from.
    """
    first, second = source.key
    if first == second:
        what = "layer" if isinstance(source.low, Frames) else "file"
        raise InputError(f"The same {what} twice: choose the two exposures of one field of view.")
    low, high = source.opened()
    if low.shape != high.shape:
        raise InputError(f"Different shapes: {shape_text(low.shape)} and {shape_text(high.shape)}.")
    _check_frame(low, high, 0)
    return low.shape


def examine_pair(source: PairSource) -> Generator[int, None, list[str]]:
    """Look at every frame of a pair that `check_pair` lets pass.

    Yields
    ------
    int
        Number of frames looked at so far.

    Returns
    -------
    list of str
        Warnings, of the first of the checked frames that has any.

    Raises
    ------
    InputError
        If a frame cannot be learnt from, or not be read.
    """
    low, high = source.opened()
    count = len(low)
    warned = evenly_spaced(range(count), WARNED_FRAMES)
    found: list[str] = []
    for index in range(count):
        images = _check_frame(low, high, index)
        if index in warned and not found:
            found = [f"Frame {index}: {warning}" if count > 1 else warning for warning in warnings_of(*images)]
        yield index + 1
    return found


def _check_frame(low: Frames, high: Frames, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
    images = low[index], high[index]
    try:
        check_images(*images)
    except InputError as error:
        text = str(error)
        raise InputError(f"Frame {index}: {text}" if index else text[:1].upper() + text[1:]) from error
    return images


def first_listing(sources: Sequence[PairSource | None]) -> list[int | None]:
    """Return for every pair where in the list it stands already; None for the first of its kind."""
    seen: dict[Hashable, int] = {}
    places: list[int | None] = []
    for place, source in enumerate(sources):
        first = None if source is None else seen.setdefault(source.key, place)
        places.append(None if first == place else first)
    return places


def stack_files(folder: Path) -> dict[str, Path]:
    """Return the TIFF files and OME-Zarr images of a folder by name without suffix, 2 before 10.

    Raises
    ------
    InputError
        If the folder is missing, cannot be read or holds none.
    """
    try:
        paths = [path for path in folder.iterdir() if is_stack(path)]
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be read: {error.strerror or error}.") from error
    # hidden files: what some systems leave beside every file they copy
    visible = (path for path in paths if not path.name.startswith("."))
    files = {
        bare_name(path).removesuffix(".ome"): path for path in sorted(visible, key=lambda path: natural_key(path.name))
    }
    if not files:
        raise InputError(f"The folder {folder} holds no TIFF files (.tif, .tiff) and no OME-Zarr images.")
    return files


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as people write it: 9 x 512 x 512."""
    return " x ".join(map(str, shape))


def _opened(side: Frames | Path) -> Frames:
    if isinstance(side, Frames):
        return side
    # half a second to import, which the viewer's forms need not wait for
    from napari_care_losses.io.stacks import read_stack

    return read_stack(side)


def _key(side: Frames | Path) -> Hashable:
    return id(side.data) if isinstance(side, Frames) else side.resolve()
