"""Layers made by a restoration: how they are marked, found again and filled frame by frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Image

from napari_care_losses.core.model import load_model
from napari_care_losses.widgets.layers import comparable_limits, new_array, placement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_care_losses.core.frames import Frames
    from napari_care_losses.core.library import LibraryEntry
    from napari_care_losses.core.restoration_parameters import RestorationParameters

KEY = "napari-care-losses"
"""Under which a result layer's metadata say what it is."""

RESTORED, UNCERTAINTY = "restored", "uncertainty"


class Filled(NamedTuple):
    """A step of a restoration into arrays.

    Attributes
    ----------
    done, total : int
        Steps taken and steps in all.
    frame_index : int, or None
        The frame that has just been completed, if one was.
    arrays : dict of str to array
        Restored stack, and its Laplace scale if asked for, filled so far.
    limits : dict of str to tuple of float
        Contrast limits of every array, from the frame completed.
    note : str
        What the user should know of the engine at work; may be empty.
    """

    done: int
    total: int
    frame_index: int | None
    arrays: dict[str, NDArray[np.float32]]
    limits: dict[str, tuple[float, float]]
    note: str = ""


def restore_into_arrays(
    frames: Frames,
    entry: LibraryEntry,
    parameters: RestorationParameters,
    *,
    indices: Sequence[int],
    with_uncertainty: bool,
) -> Iterator[Filled]:
    """Restore frames, in the order of `indices`, into new arrays of the stack's shape."""
    # torch takes seconds to load: it does so here, in the background, and not when a widget is opened
    from napari_care_losses.core.engines import leave_a_core
    from napari_care_losses.core.restoration import restore_frames

    leave_a_core()
    model = load_model(entry.path)
    kinds = [RESTORED, UNCERTAINTY] if with_uncertainty and model.card.architecture.predicts_scale else [RESTORED]
    arrays = {kind: new_array(frames.shape) for kind in kinds}
    for done, total, frame, note in restore_frames(frames, model, parameters, indices=indices):
        if frame is None:
            yield Filled(done, total, None, arrays, {}, note)
            continue
        images = {RESTORED: frame.image, UNCERTAINTY: frame.scale}
        limits = {}
        for kind, array in arrays.items():
            image = images[kind]
            assert image is not None
            array[frames.position(frame.index)] = image
            limits[kind] = comparable_limits(image)
        yield Filled(done, total, frame.index, arrays, limits, note)


def is_result(layer: Layer) -> bool:
    """Return whether a layer was made by a restoration."""
    return KEY in layer.metadata


def find_result(viewer: ViewerModel, source: Image, entry: LibraryEntry, kind: str = RESTORED) -> Image | None:
    """Return the layer that holds what a model made of a layer, if there is one."""
    wanted = _mark(source, entry, kind)
    for layer in viewer.layers:
        mark = layer.metadata.get(KEY, {})
        if isinstance(layer, Image) and all(mark.get(name) == value for name, value in wanted.items()):
            return layer
    return None


def frames_done(layer: Image) -> set[int]:
    """Return which frames of a result layer have been restored."""
    done: set[int] = layer.metadata[KEY]["done"]
    return done


def show_arrays(viewer: ViewerModel, source: Image, entry: LibraryEntry, filled: Filled) -> None:
    """Show arrays as layers on `source`: new ones, or in place of what the same model made of it before."""
    for kind in reversed(filled.arrays):
        array, limits = filled.arrays[kind], filled.limits[kind]
        mark = {**_mark(source, entry, kind), "done": set()}
        layer = find_result(viewer, source, entry, kind)
        if layer is None:
            layer = viewer.add_image(
                array,
                name=f"{source.name} {kind} ({_short_name(entry)})",
                contrast_limits=limits,
                colormap=source.colormap if kind == RESTORED else "magma",
                metadata={KEY: mark},
                **placement(source),
            )
        else:
            layer.metadata[KEY] = mark
            layer.data = array
        levels = filled.arrays[kind]
        low, high = layer.contrast_limits
        shown = levels[np.unravel_index(filled.frame_index or 0, levels.shape[:-2])] if levels.ndim > 2 else levels
        layer.contrast_limits_range = (min(low, float(shown.min())), max(high, float(shown.max())))


def mark_done(viewer: ViewerModel, source: Image, entry: LibraryEntry, filled: Filled, *, is_shown: bool) -> None:
    """Note that a frame is there, and draw it if the viewer shows it."""
    assert filled.frame_index is not None
    for kind in filled.arrays:
        layer = find_result(viewer, source, entry, kind)
        if layer is not None:
            frames_done(layer).add(filled.frame_index)
            if is_shown:
                layer.refresh(extent=False)


def _mark(source: Image, entry: LibraryEntry, kind: str) -> dict[str, Any]:
    return {"source": source.unique_id, "model": str(entry.path), "kind": kind}


def _short_name(entry: LibraryEntry) -> str:
    return entry.path.stem
