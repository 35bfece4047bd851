"""The file that a layer was opened from, as far as it still holds what the layer shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.errors import CareError
from napari_care_losses.images.selection import channel_of
from napari_care_losses.io.file_names import suggested_file_name
from napari_care_losses.io.stacks import NEW_SUFFIXES, list_images, read_stack
from napari_care_losses.widgets.layers.conversion import layer_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.layers import Image

    from napari_care_losses.images.frames import Frames

MOST_IMAGES = 64
"""Images of one file that are looked at."""


class LayerFile(NamedTuple):
    """Where the pixels of a layer lie."""

    path: Path
    """The image in its file, an absolute path; the name to save the layer under where there is none."""
    channel: int | None = None
    """The only channel of the file that the layer shows."""
    is_incomplete: bool = False
    """Whether frames are missing in the file."""

    @property
    def is_saved(self) -> bool:
        """Whether there is a file."""
        return self.path.is_absolute()


def file_of(layer: Image) -> LayerFile:
    """Return the file that holds the frames of a layer; the first and the last frame are compared."""
    path = None if layer.source.path is None else Path(layer.source.path)
    try:
        if path is not None and path.exists():
            frames = layer_frames(layer)
            for image, stack, channel in _stacks_of(path.absolute()):
                if _is_same(frames, stack):
                    return LayerFile(image, channel, bool(stack.note))
    except (CareError, OSError):
        # it was moved or changed: the layer is all there is
        pass
    return unsaved(layer)


def unsaved(layer: Image) -> LayerFile:
    """Return the name under which a layer is to be saved."""
    return LayerFile(Path(suggested_file_name(layer.name) + NEW_SUFFIXES["tiff"]))


def _stacks_of(path: Path) -> Iterator[tuple[Path, Frames, int | None]]:
    """Yield the stacks in a file: of every image that with all channels, then each channel."""
    for image in list_images(path, incomplete=True)[:MOST_IMAGES]:
        whole = read_stack(image, incomplete=True)
        yield image, whole, None
        count = whole.leading_shape[whole.axes.index("C")] if "C" in whole.axes else 1
        for channel in range(count if count > 1 else 0):
            yield image, channel_of(whole, channel), channel


def _is_same(frames: Frames, stack: Frames) -> bool:
    shapes = [[size for size in one.leading_shape if size > 1] for one in (frames, stack)]
    if shapes[0] != shapes[1] or (frames.frame_shape, frames.dtype) != (stack.frame_shape, stack.dtype):
        return False
    ends = {0, len(frames) - 1}
    return all(np.array_equal(frames[index], stack[index], equal_nan=frames.dtype.kind == "f") for index in ends)
