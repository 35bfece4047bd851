"""The work of a live preview, as iterators without Qt."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.errors import CareError
from napari_care_losses.widgets.layers.conversion import comparable_limits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.images.regions import Region
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.restoration.preview.previewer import Previewer, PreviewTile
    from napari_care_losses.widgets.restore.preview.overlay import PreviewedFrame


class PreviewRequest(NamedTuple):
    """What to preview; the same again is not computed again."""

    shown: PreviewedFrame
    window: Region
    """Which part of the frame."""
    is_part: bool
    """Whether more of the frame is visible than that."""
    projection: str = ""
    """What the viewer shows of the layer in place of a single frame; empty where it shows one."""


class Complete(NamedTuple):
    """A preview is complete."""

    limits: tuple[float, float]
    """Contrast limits of its pixels."""
    note: str
    """What the user should know; may be empty."""


def previewed(
    previewer: Previewer,
    frames: Frames,
    request: PreviewRequest,
    cursor: tuple[float, float] | None,
    parameters: RestorationParameters,
) -> Iterator[tuple[PreviewRequest, PreviewTile | Complete | str]]:
    """Make a preview; yields the request with each of its tiles, then with `Complete`, or with what went wrong."""
    shown, images, note = request.shown, [], ""
    tiles = previewer.preview(frames, shown.index, request.window, cursor, shown.entry.path, parameters)
    try:
        with closing(tiles):
            for tile in tiles:
                yield request, tile
                if tile.image is not None:
                    images.append(tile.image.ravel())
                    note = tile.note
        yield request, Complete(comparable_limits(np.concatenate(images)), note)
    except CareError as error:
        # in a line only: a message at every step of the slider would be in the way
        yield request, str(error)


def preview_note(request: PreviewRequest, seconds: float, note: str) -> str:
    """Return the line shown for a complete preview."""
    height, width = request.window.shape
    where = "around the cursor" if request.is_part else "in view"
    said = [f"Preview: {height} x {width} px {where}, {seconds:.2f} s"]
    if request.projection:
        said.append(f"It shows frame {request.shown.index} alone, the layer the {request.projection}")
    return ". ".join([*said, note] if note else said)


def modified(path: Path) -> int:
    """Return when a file was written; a model may be trained anew under its name."""
    return path.stat().st_mtime_ns if path.exists() else 0
