"""The residual as a layer: what a restoration removed from its input, computed when it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from napari.layers import Image

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.residual import residual
from napari_care_losses.widgets.layers.conversion import placement
from napari_care_losses.widgets.layers.restored_layers import KEY

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames

RESIDUAL = "residual"
"""The kind of these layers in their metadata."""

COLORMAP = "PiYG"
"""Diverging: white where nothing changed."""

LIMIT_PERCENTILE = 99.8


def residual_stack(source: Frames, restored: Frames, done: Collection[int]) -> Any:
    """Return input minus restored as a lazy stack.

    Parameters
    ----------
    source, restored : Frames
        Stacks of one shape.
    done : collection of int
        Frames that are restored; it may grow. The others are NaN, which napari draws as transparent.

    Returns
    -------
    dask array of the stack's shape, float32
        One chunk a frame; see `evaluation.residual.residual`.
    """
    import dask.array

    leading, frame_shape = source.leading_shape, source.frame_shape

    def compute(block_id: tuple[int, ...]) -> NDArray[np.float32]:
        index = int(np.ravel_multi_index(block_id[:-2], leading)) if leading else 0
        frame = _frame(source, restored, index) if index in done else np.full(frame_shape, np.nan, np.float32)
        return frame.reshape((1,) * len(leading) + frame_shape)

    return dask.array.map_blocks(
        compute,
        chunks=(*((1,) * size for size in leading), *((size,) for size in frame_shape)),
        dtype=np.float32,
        meta=np.empty((0,) * len(source.shape), np.float32),
        # dask would hash all pixels of both stacks for a name
        name=f"{RESIDUAL}-{uuid4().hex}",
    )


def residual_limit(source: Frames, restored: Frames, index: int) -> float:
    """Return the contrast limit, above and below zero, that shows the residual of a frame.

    Raises
    ------
    InputError
        If the frame cannot be read, or is not finite.
    """
    limit = float(np.percentile(np.abs(residual(source[index], restored[index])), LIMIT_PERCENTILE))
    return limit if limit > 0 else 1.0


def find_residual(viewer: ViewerModel, source: Image, restored: Image) -> Image | None:
    """Return the layer with the residual of `source` and `restored`, if there is one."""
    wanted = _mark(source, restored)
    for layer in viewer.layers:
        if isinstance(layer, Image) and layer.metadata.get(KEY) == wanted:
            return layer
    return None


def add_residual(viewer: ViewerModel, source: Image, restored: Image, data: Any, limit: float) -> Image:
    """Show a residual on its input, in contrast symmetric about zero."""
    return viewer.add_image(
        data,
        name=_name(source, restored),
        contrast_limits=(-limit, limit),
        colormap=COLORMAP,
        metadata={KEY: _mark(source, restored)},
        # napari would keep frames computed before they were restored
        cache=False,
        multiscale=False,
        **placement(source),
    )


def _frame(source: Frames, restored: Frames, index: int) -> NDArray[np.float32]:
    try:
        return residual(source[index], restored[index])
    except InputError:
        # the frame stays empty, and the scores say why
        return np.full(source.frame_shape, np.nan, np.float32)


def _mark(source: Image, restored: Image) -> dict[str, Any]:
    model = restored.metadata.get(KEY, {}).get("model", "")
    return {"source": source.unique_id, "model": model, "restored": restored.unique_id, "kind": RESIDUAL}


def _name(source: Image, restored: Image) -> str:
    model = restored.metadata.get(KEY, {}).get("model")
    return f"residual {source.name} ({Path(model).stem if model else restored.name})"
