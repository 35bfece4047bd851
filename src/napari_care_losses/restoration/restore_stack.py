"""Restoring stacks: frame by frame and tile by tile, in memory that does not grow with the stack.

The next frame is read and normalised while one is being restored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.compute.prefetch import prefetch
from napari_care_losses.compute.steps import Steps
from napari_care_losses.errors import ComputeError
from napari_care_losses.images.frames import Frames
from napari_care_losses.restoration.correlated_noise import choose_treatment
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.ranges import estimate_ranges, frames_to_sample
from napari_care_losses.restoration.remarks import Remarks
from napari_care_losses.restoration.restore_frame import FrameRestorer, RestoredFrame, require_memory_for_frame

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_care_losses.images.regions import Region
    from napari_care_losses.models.model import Model
    from napari_care_losses.restoration.engines.treatment import Treatment

__all__ = ["Progress", "RestorationParameters", "RestoredFrame", "restore", "restore_frames"]


class Progress(NamedTuple):
    """A step of a restoration: tiles restored and tiles in all."""

    done: int
    total: int
    frame: RestoredFrame | None = None
    """The frame this step completed, if it did."""
    note: str = ""
    """Note for the user, of the engine and on unusual frames; may be empty."""
    sampled: tuple[int, int] | None = None
    """Before the first tile: frames read so far to estimate the range, and frames to read for it."""


def restore_frames(
    frames: Frames,
    model: Model,
    parameters: RestorationParameters | None = None,
    *,
    indices: Sequence[int] | None = None,
    region: Region | None = None,
    device: str = "auto",
    treatment: Treatment | None = None,
) -> Generator[Progress, None, None]:
    """Restore the frames of a stack, one at a time; yields after every tile and can be closed at any step.

    Parameters
    ----------
    frames : Frames
        The stack. With one range for the stack, every channel has its own.
    model : Model
        The trained model.
    parameters : RestorationParameters, optional
        How the frames are restored.
    indices : sequence of int, optional
        The frames to restore, in this order; by default all, for a model that reads neighbouring frames along their
        axis. The range is estimated from the whole stack.
    region : Region, optional
        The part of every frame to restore, with the pixels that the whole frame would have there; by default all.
    device : str
        One of `napari_care_losses.restoration.parameters.DEVICES`.
    treatment : Treatment, optional
        What is done about noise that neighbouring pixels share; by default it is chosen here.

    Yields
    ------
    Progress
        One for every tile; the last tile of a frame carries the restored frame.

    Raises
    ------
    InputError
        If a frame holds values beyond float32, the device does not exist, the region is not in the frames, or the model
        reads neighbouring frames and the stack has none.
    ComputeError
        If the device fails.
    """
    parameters, normalization = parameters or RestorationParameters(), model.card.normalization
    require_memory_for_frame(*frames.frame_shape)
    treatment = treatment or choose_treatment(frames, model.card, parameters)
    restorer = FrameRestorer(frames, model, parameters, treatment, region=region, device=device)
    chosen = restorer.order if indices is None else indices
    sampling = Steps(estimate_ranges(frames, parameters, normalization))
    to_sample = frames_to_sample(frames, parameters, normalization)
    done, total = 0, restorer.left(0, len(chosen))
    for sampled in sampling:
        yield Progress(done, total, sampled=(sampled, to_sample))
    inputs = prefetch(restorer.read_ahead(chosen, sampling.result))
    remarks = Remarks()
    try:
        restorer.prepare(sampling.result)
        for number, given in enumerate(inputs):
            work = Steps(restorer.restored(given))
            for filled in work:
                done += 1
                total = done + restorer.left(filled, len(chosen) - number)
                if restorer.left(filled, 1):
                    yield Progress(done, total, note=remarks.text(restorer.note))
            total = done + restorer.left(0, len(chosen) - number - 1)
            remarks += work.result.remarks
            yield Progress(done, total, work.result, remarks.text(restorer.note))
    except MemoryError as error:
        height, width = frames.frame_shape
        raise ComputeError(
            f"The memory ran out on a frame of {height} x {width} px, of which a few copies are needed: close other "
            "programs, or crop the image."
        ) from error
    finally:
        inputs.close()
        restorer.close()


def restore(
    image: ArrayLike | Frames,
    model: Model,
    parameters: RestorationParameters | None = None,
    *,
    axes: str = "",
    device: str = "auto",
) -> NDArray[np.float32]:
    """Restore an image or a stack; the result is held in memory.

    Parameters
    ----------
    image : array (..., Y, X), or Frames
        Any real dtype; up to three axes (T, Z, C) in front.
    model, parameters, device
        As in `restore_frames`.
    axes : str, optional
        Of an array, one letter for each axis, as in `napari_care_losses.images.frames.Frames`.

    Returns
    -------
    float32 array of the same shape
        In the input's units.

    Raises
    ------
    InputError
        If the image cannot be restored.
    ComputeError
        If the device fails.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.models.library import find_model
    >>> from napari_care_losses.models.model import load_model
    >>> from napari_care_losses.restoration.restore_stack import restore
    >>> from napari_care_losses.simulation.pairs_and_movies import simulate_pair
    >>> low, high = simulate_pair("actin", (64, 64), seed=0)
    >>> restored = restore(low, load_model(find_model("fft-lite")), device="cpu")
    >>> restored.shape, restored.dtype.name
    ((64, 64), 'float32')
    >>> errors = [1 - np.corrcoef(image.ravel(), high.ravel())[0, 1] for image in (low, restored)]
    >>> bool(errors[1] < errors[0] / 2)  # closer to the long exposure
    True
    """
    if isinstance(image, Frames):
        frames = image
    else:
        frames = Frames(image if hasattr(image, "dtype") else np.asarray(image), axes)
    restored = np.empty((len(frames), *frames.frame_shape), np.float32)
    for progress in restore_frames(frames, model, parameters, device=device):
        if progress.frame is not None:
            restored[progress.frame.index] = progress.frame.image
    return restored.reshape(frames.shape)
