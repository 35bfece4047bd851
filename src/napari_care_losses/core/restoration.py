"""Restoring frames: tile by tile, equal to the whole, in memory that does not grow with the stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.core.engines import TorchEngine
from napari_care_losses.core.errors import InputError
from napari_care_losses.core.frames import Frames
from napari_care_losses.core.losses import LOSSES
from napari_care_losses.core.low_band import DEFAULT_SIGMA, tie_low_band
from napari_care_losses.core.normalization import finite, frame_range, stack_ranges
from napari_care_losses.core.parameters import Parameters, parameter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_care_losses.core.architecture import Architecture
    from napari_care_losses.core.model import Model, ModelCard
    from napari_care_losses.core.normalization import Range


@dataclass(frozen=True, kw_only=True)
class RestorationParameters(Parameters):
    """How frames are normalised, tiled and put together."""

    normalization: str = parameter(
        "frame",
        "Range",
        "Whose percentiles become 0 and 1: every frame's own (unrelated images), or one range for the stack (movies: "
        "keeps brightness comparable between frames).",
        choices=("frame", "stack"),
    )
    low_band: str = parameter(
        "auto",
        "Low band",
        "Slow changes of brightness: tied to the input's, plain as the network gives them, or auto: tied where the "
        "training loss leaves them free (bandpass).",
        choices=("auto", "tied", "plain"),
    )
    tile_size: int = parameter(
        1024,
        "Tile size",
        "Width of the tiles a large frame is cut into; smaller takes less memory and more time.",
        unit="px",
        low=32,
        high=16384,
        advanced=True,
    )


@dataclass(frozen=True)
class RestoredFrame:
    """One restored frame, in the input's units.

    Attributes
    ----------
    index : int
        Its place in the stack.
    image : float32 array (Y, X)
        The restored frame.
    scale : float32 array (Y, X), or None
        Laplace scale of every pixel: half the true values lie within 0.69 of it; None for models without one.
    """

    index: int
    image: NDArray[np.float32]
    scale: NDArray[np.float32] | None


class Progress(NamedTuple):
    """A step of a restoration.

    Attributes
    ----------
    done, total : int
        Steps taken and steps in all: sampled frames and tiles.
    frame : RestoredFrame, or None
        The frame this step completed, if it did.
    """

    done: int
    total: int
    frame: RestoredFrame | None = None


class Tile(NamedTuple):
    """Where a tile reads from and writes to, in pixels of the padded frame."""

    source: tuple[slice, slice]
    inner: tuple[slice, slice]
    target: tuple[slice, slice]


def restore_frames(
    frames: Frames,
    model: Model,
    parameters: RestorationParameters | None = None,
    *,
    indices: Sequence[int] | None = None,
    device: str = "auto",
) -> Iterator[Progress]:
    """Restore the frames of a stack, one at a time; yields after every tile and can be closed at any.

    Parameters
    ----------
    frames : Frames
        The stack. With one range for the stack, every channel has its own.
    model : Model
        The trained model.
    parameters : RestorationParameters, optional
        How to normalise, tile and put together.
    indices : sequence of int, optional
        Which frames, in this order; all of them by default. The range comes from the whole stack in any case.
    device : str
        One of `napari_care_losses.core.engines.DEVICES`.

    Yields
    ------
    Progress
        One a tile; the last tile of a frame carries the restored frame.

    Raises
    ------
    InputError
        If a frame holds NaN or infinite values, or the device does not exist.
    ComputeError
        If the device fails.
    """
    parameters = parameters or RestorationParameters()
    chosen = range(len(frames)) if indices is None else indices
    engine = TorchEngine(model, device)
    card = model.card
    sigma = _tied_sigma(card, parameters.low_band)
    tiles = plan_tiles(frames.frame_shape, card.architecture, parameters.tile_size)
    total = len(chosen) * len(tiles)
    done = 0
    ranges: dict[int, Range] = {}
    if parameters.normalization == "stack":
        sampling = stack_ranges(frames, card.normalization)
        while True:
            try:
                done = next(sampling)
            except StopIteration as finished:
                ranges = finished.value
                break
            yield Progress(done, total + len(frames))
        total += done
    for index in chosen:
        frame = frames[index]
        try:
            grey_levels = ranges[frames.channel(index)] if ranges else frame_range(frame, card.normalization)
            canvas = _Canvas(grey_levels.apply(finite(frame)), card)
        except InputError as error:
            raise InputError(f"Frame {index}: {error}") from error
        for number, tile in enumerate(tiles, 1):
            canvas.fill(tile, engine)
            done += 1
            if number < len(tiles):
                yield Progress(done, total)
        mean, scale = canvas.finished(sigma)
        if scale is not None:
            scale *= grey_levels.width
        yield Progress(done, total, RestoredFrame(index, grey_levels.undo(mean), scale))


def restore(
    image: ArrayLike,
    model: Model,
    parameters: RestorationParameters | None = None,
    *,
    axes: str = "",
    device: str = "auto",
) -> NDArray[np.float32]:
    """Restore an image or a stack held in memory.

    Parameters
    ----------
    image : array (..., Y, X)
        Any real dtype; up to three axes (T, Z, C) in front.
    model : Model
        The trained model.
    parameters : RestorationParameters, optional
        How to normalise, tile and put together.
    axes : str, optional
        One letter an axis, as `Frames` takes them.
    device : str
        One of `napari_care_losses.core.engines.DEVICES`.

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
    """
    frames = Frames(image if hasattr(image, "dtype") else np.asarray(image), axes)
    restored = np.empty((len(frames), *frames.frame_shape), np.float32)
    for progress in restore_frames(frames, model, parameters, device=device):
        if progress.frame is not None:
            restored[progress.frame.index] = progress.frame.image
    return restored.reshape(frames.shape)


def plan_tiles(shape: tuple[int, int], architecture: Architecture, tile_size: int) -> list[Tile]:
    """Cut a frame into tiles whose stitched restoration equals the whole.

    The frame is padded to multiples of the network's block; tiles start at multiples of it, so that pooling
    falls alike, and read a margin of the receptive field around what they write.

    Parameters
    ----------
    shape : tuple of int
        (Y, X) of the frame.
    architecture : Architecture
        Gives block and margin.
    tile_size : int
        Width of what a tile writes, rounded up to a multiple of the block, in pixels.
    """
    block, margin = architecture.block, architecture.margin
    rows, columns = (_cuts(sum(_padding(size, block)) + size, tile_size, block) for size in shape)
    height, width = (sum(_padding(size, block)) + size for size in shape)
    tiles = []
    for top, bottom in rows:
        for left, right in columns:
            source = (
                slice(max(0, top - margin), min(height, bottom + margin)),
                slice(max(0, left - margin), min(width, right + margin)),
            )
            inner = (
                slice(top - source[0].start, bottom - source[0].start),
                slice(left - source[1].start, right - source[1].start),
            )
            tiles.append(Tile(source, inner, (slice(top, bottom), slice(left, right))))
    return tiles


def _cuts(size: int, tile_size: int, block: int) -> list[tuple[int, int]]:
    """Cut `size` into the fewest parts of at most about `tile_size`, alike in size, at multiples of `block`."""
    count = -(-size // max(tile_size, block))
    width = -(-size // (count * block)) * block
    return [(start, min(start + width, size)) for start in range(0, size, width)]


def _padding(size: int, block: int) -> tuple[int, int]:
    """Return the pixels added before and after, split between both sides as CSBDeep does."""
    missing = -size % block
    return missing // 2, missing - missing // 2


class _Canvas:
    """One normalised frame being restored tile by tile."""

    def __init__(self, image: NDArray[np.float32], card: ModelCard) -> None:
        self._image, self._card = image, card
        block = card.architecture.block
        padding = [_padding(size, block) for size in image.shape]
        # Reflection needs more pixels than it adds; a sliver of an image is repeated instead.
        self._padded = np.pad(image, padding, mode="reflect" if min(image.shape) > block else "symmetric")
        self._crop = tuple(slice(before, before + size) for (before, _), size in zip(padding, image.shape, strict=True))
        self._mean = np.empty_like(self._padded)
        self._scale = np.empty_like(self._padded) if card.architecture.predicts_scale else None

    def fill(self, tile: Tile, engine: TorchEngine) -> None:
        """Restore one tile."""
        mean, scale = engine.run(self._padded[tile.source])
        self._mean[tile.target] = mean[tile.inner]
        if self._scale is not None and scale is not None:
            self._scale[tile.target] = scale[tile.inner]

    def finished(self, tied_sigma: float | None) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return mean and scale once every tile is filled, the low band tied where a sigma is given."""
        mean = self._mean[self._crop]
        scale = None if self._scale is None else self._scale[self._crop]
        return mean if tied_sigma is None else tie_low_band(mean, self._image, tied_sigma), scale


def _tied_sigma(card: ModelCard, low_band: str) -> float | None:
    """Return the sigma in pixels above which structure is tied to the input's; None where the network's stays."""
    loss = LOSSES[card.loss].from_dict(card.loss_parameters) if card.loss in LOSSES else None
    free_above = None if loss is None else loss.free_above
    if low_band == "tied":
        return free_above or DEFAULT_SIGMA
    return free_above if low_band == "auto" else None
