"""What of a layer the viewer shows: which frame, which part of it, and where the cursor is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.widgets.layers.conversion import full_shape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.components import Dims, ViewerModel
    from napari.layers import Image

Region = tuple[float, float, float, float]
"""First and last y, first and last x, in pixels of a frame; pixel i reaches from i - 0.5 to i + 0.5."""

PROJECTIONS = {"max": "maximum", "min": "minimum"}
"""How napari's short names of projections are written out."""


def camera_of(viewer: ViewerModel) -> Any:
    """Return the camera; viewer.camera is deprecated since napari 0.9."""
    return getattr(viewer, "scene", viewer).camera


def grid_of(viewer: ViewerModel) -> Any:
    """Return what says whether layers lie side by side; viewer.grid is deprecated since napari 0.9."""
    return getattr(getattr(viewer, "canvas", viewer), "grid", None) or viewer.grid


def view_events(viewer: ViewerModel) -> tuple[Any, ...]:
    """Return the events of all but the camera that change what the viewer shows of a layer."""
    dims = viewer.dims.events
    # older napari does not tell of a canvas that is resized
    canvas = getattr(getattr(viewer, "canvas", None), "events", None)
    resized = (canvas.size,) if hasattr(canvas, "size") else ()
    moved = (dims.current_step, dims.order, dims.margin_left, dims.margin_right)
    return *moved, grid_of(viewer).events.enabled, *resized


def obstacle(viewer: ViewerModel, layer: Image) -> str:
    """Return why nothing can be laid over the frames of a layer; empty if it can."""
    return view_obstacle(viewer) or ("" if layer.visible else "the image is hidden")


def view_obstacle(viewer: ViewerModel) -> str:
    """Return why it cannot be told which part of a frame is in view; empty if it can."""
    return frame_obstacle(viewer) or ("not while layers lie side by side (grid)" if grid_of(viewer).enabled else "")


def frame_obstacle(viewer: ViewerModel) -> str:
    """Return why no single frame of a layer is shown; empty if one is."""
    if viewer.dims.ndisplay != 2:
        return "only in 2D"
    if set(viewer.dims.displayed) != {viewer.dims.ndim - 2, viewer.dims.ndim - 1}:
        return "only while Y and X are displayed: roll the dimensions back"
    return ""


def shown_frame(layer: Image, dims: Dims) -> int | None:
    """Return which of the layer's frames the viewer shows; None where the slider stands outside of it."""
    shape = full_shape(layer)[:-2]
    place = np.rint(np.asarray(layer.world_to_data(dims.point))[: len(shape)])
    if not all(0 <= at < size for at, size in zip(place, shape, strict=True)):
        return None
    return int(np.ravel_multi_index(tuple(place.astype(int)), shape)) if shape else 0


def projected_frames(layer: Image, dims: Dims) -> str:
    """Return what the viewer shows in place of a single frame, as "mean of frames 2 to 4"; empty where it shows one.

    Thick slices of napari are rounded to frames as it does.
    """
    mode, shape = str(layer.projection_mode), full_shape(layer)[:-2]
    if mode == "none" or not shape:
        return ""
    left, right = (
        np.asarray(layer.world_to_data(world))[: len(shape)]
        for world in (np.subtract(dims.point, dims.margin_left), np.add(dims.point, dims.margin_right))
    )
    steps = []
    for start, end, size in zip(left, right, shape, strict=True):
        first, last = max(round(float(start)), 0), round(float(end))
        # an end between two frames is not in it
        steps.append(range(size)[first : max(last + math.isclose(last, end, abs_tol=1e-8), first + 1)])
    indices = np.arange(math.prod(shape)).reshape(shape)[np.ix_(*steps)].ravel()
    if len(indices) < 2:
        return ""
    is_row = indices[-1] - indices[0] < len(indices)
    which = f"frames {indices[0]} to {indices[-1]}" if is_row else f"{len(indices)} frames"
    return f"{PROJECTIONS.get(mode, mode)} of {which}"


def visible_region(viewer: ViewerModel, layer: Image) -> Region | None:
    """Return what of the layer's frames the canvas shows, as a rectangle around it; None if that cannot be told."""
    camera = camera_of(viewer)
    # its public name came with napari 0.9
    size = getattr(getattr(viewer, "canvas", None), "size", None) or viewer._canvas_size
    half = np.asarray(size, float) / (2 * camera.zoom)
    centre = np.asarray(camera.center[-2:], float)
    corners = [centre + half * signs for signs in ((-1, -1), (-1, 1), (1, -1), (1, 1))]
    places = np.array([_in_frame(viewer, layer, corner) for corner in corners])
    if not np.isfinite(places).all():
        return None
    (y0, x0), (y1, x1) = places.min(axis=0), places.max(axis=0)
    return float(y0), float(y1), float(x0), float(x1)


def cursor_place(viewer: ViewerModel, layer: Image) -> tuple[float, float] | None:
    """Return (y, x) of the cursor in pixels of the layer's frames; None while it is not over the canvas."""
    if not viewer.mouse_over_canvas:
        return None
    y, x = np.asarray(layer.world_to_data(viewer.cursor.position))[-2:]
    return (float(y), float(x)) if math.isfinite(y) and math.isfinite(x) else None


def _in_frame(viewer: ViewerModel, layer: Image, place: Iterable[float]) -> Any:
    """Return where in its frame a layer has a place of the plane displayed, (y, x)."""
    world = np.array(viewer.dims.point, float)
    world[list(viewer.dims.displayed)] = list(place)
    return np.asarray(layer.world_to_data(world))[-2:]
