"""The work of a live preview, as iterators without Qt."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.errors import CareError
from napari_care_losses.models.library import quicker_model
from napari_care_losses.restoration.preview.previewer import KeptRanges, Previewer
from napari_care_losses.widgets.layers.conversion import comparable_limits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.images.regions import Region
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.restoration.preview.previewer import PreviewTile
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


class Quick(NamedTuple):
    """A step of a quick preview, by a smaller model than the one chosen."""

    model: str
    tile: PreviewTile


class Complete(NamedTuple):
    """A preview is complete."""

    limits: tuple[float, float]
    """Contrast limits of its pixels."""
    note: str
    """What the user should know; may be empty."""


class Previewers:
    """What previews: one previewer for the chosen model, one for a smaller model that shows something at once."""

    def __init__(self) -> None:
        ranges = KeptRanges()
        self.chosen, self.quick = Previewer(ranges=ranges), Previewer(ranges=ranges, is_hasty=True)

    def close(self) -> None:
        """Free their working memory; they stay usable."""
        self.chosen.close()
        self.quick.close()


def previewed(
    previewers: Previewers,
    frames: Frames,
    request: PreviewRequest,
    cursor: tuple[float, float] | None,
    parameters: RestorationParameters,
) -> Iterator[tuple[PreviewRequest, PreviewTile | Quick | Complete | str]]:
    """Make a preview; yields the request with each of its tiles, then with `Complete`, or with what went wrong.

    Where the library has a quicker model of the same kind, its tiles come first, as `Quick`.
    """
    shown, images, note = request.shown, [], ""
    quicker = quicker_model(shown.entry)
    has_it = previewers.chosen.has(frames, shown.index, request.window, shown.entry.path, parameters)
    if quicker is not None and not has_it:
        tiles = previewers.quick.preview(frames, shown.index, request.window, cursor, quicker.path, parameters)
        # what is wrong with the frame is said below
        with closing(tiles), suppress(CareError):
            for tile in tiles:
                yield request, Quick(quicker.name, tile)
    tiles = previewers.chosen.preview(frames, shown.index, request.window, cursor, shown.entry.path, parameters)
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


def tile_note(request: PreviewRequest, tile: PreviewTile, quick_model: str, *, is_quick: bool) -> str:
    """Return the line shown with a step of a preview; empty if nothing is to be said."""
    chosen = request.shown.entry.path.stem
    if is_quick and tile.image is not None:
        return f"Quick preview with {quick_model}; {chosen} follows…"
    step = f"{tile.note}…"
    if tile.image is not None:
        step = f"tile {tile.done} of {tile.total}" if tile.done < tile.total else ""
    if quick_model and not is_quick:
        return step and f"Quick preview with {quick_model}; {chosen} follows: {step}"
    return step and f"Preview: {step}"


def modified(path: Path) -> int:
    """Return when a file was written; a model may be trained anew under its name."""
    return path.stat().st_mtime_ns if path.exists() else 0
