"""Restoring single frames in any order, as the workers of a cluster do; `restore_frames` does whole stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_care_losses.core.engines import open_engine
from napari_care_losses.core.restoration import (
    FLIPS,
    RestoredFrame,
    _Canvas,
    _inputs,
    _spread,
    _Tiling,
    tied_sigma,
)
from napari_care_losses.core.tiles import pad

if TYPE_CHECKING:
    from napari_care_losses.core.frames import Frames
    from napari_care_losses.core.model import Model
    from napari_care_losses.core.ranges import Ranges
    from napari_care_losses.core.restoration import _Input
    from napari_care_losses.core.restoration_parameters import RestorationParameters


class FrameRestorer:
    """Restores single frames of a stack, one at a time; what they share is made ready once.

    Parameters
    ----------
    frames : Frames
        The stack.
    model : Model
        The trained model.
    parameters : RestorationParameters
        How to normalise, tile and put together.
    ranges : Ranges
        The range of every frame.
    device : str
        One of `napari_care_losses.core.restoration_parameters.DEVICES`.

    Raises
    ------
    InputError
        If the device does not exist.
    ComputeError
        If it fails.
    """

    def __init__(
        self, frames: Frames, model: Model, parameters: RestorationParameters, ranges: Ranges, *, device: str
    ) -> None:
        self._frames, self._card, self._ranges = frames, model.card, ranges
        self._engine = open_engine(parameters.engine, model, device)
        self._sigma = tied_sigma(model.card, parameters.low_band)
        self._flips = FLIPS if parameters.average_flips else FLIPS[:1]
        self._tiling = _Tiling(frames.frame_shape, self._engine, parameters.tile_size)
        # the frames that `restore_frames` takes, so that an engine is calibrated alike
        samples = _inputs(frames, _spread(range(len(frames)), self._engine.samples), ranges)
        self._engine.prepare(pad(sample.image, self._card.architecture.block) for sample in samples)

    @property
    def note(self) -> str:
        """What the user should know of the engine at work; may be empty."""
        return self._engine.note

    def read(self, index: int) -> _Input:
        """Read and normalise a frame.

        Raises
        ------
        InputError
            If it cannot be read, or holds NaN or infinite values.
        """
        (given,) = _inputs(self._frames, [index], self._ranges)
        return given

    def restored(self, given: _Input) -> RestoredFrame:
        """Restore a frame that has been read.

        Raises
        ------
        ComputeError
            If the device fails.
        """
        canvas = _Canvas(given.image, self._card, self._flips)
        for _ in self._tiling.fill(canvas):
            pass
        mean, scale = canvas.finished(self._sigma)
        if scale is not None:
            scale *= given.grey_levels.width
        return RestoredFrame(given.frame_index, given.grey_levels.undo(mean), scale)

    def close(self) -> None:
        """Give working memory back."""
        self._engine.close()
