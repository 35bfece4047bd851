"""Restoring frames: tile by tile, equal to the whole, in memory that does not grow with the stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.core.engines import TorchEngine
from napari_care_losses.core.errors import InputError
from napari_care_losses.core.frames import Frames
from napari_care_losses.core.losses import LOSSES
from napari_care_losses.core.low_band import tie_low_band
from napari_care_losses.core.normalization import frame_range, stack_ranges
from napari_care_losses.core.parameters import Parameters, parameter

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

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
            own = frame_range(frame, card.normalization)
        except InputError as error:
            raise InputError(f"Frame {index}: {error}") from error
        grey_levels = ranges.get(frames.channel(index), own)
        restoring = _restore_normalized(grey_levels.apply(frame), engine, card, parameters, tiles)
        last_tile = done + len(tiles)
        while True:
            try:
                next(restoring)
            except StopIteration as finished:
                mean, scale = finished.value
                break
            done += 1
            if done < last_tile:
                yield Progress(done, total)
        image = grey_levels.undo(mean)
        yield Progress(done, total, RestoredFrame(index, image, None if scale is None else scale * grey_levels.width))


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


def _restore_normalized(
    image: NDArray[np.float32],
    engine: TorchEngine,
    card: ModelCard,
    parameters: RestorationParameters,
    tiles: list[Tile],
) -> Generator[None, None, tuple[NDArray[np.float32], NDArray[np.float32] | None]]:
    """Restore one normalised frame; yields after every tile, returns mean and scale."""
    padding = [_padding(size, card.architecture.block) for size in image.shape]
    padded = np.pad(image, padding, mode="reflect" if min(image.shape) > card.architecture.block else "symmetric")
    mean = np.empty_like(padded)
    scale = np.empty_like(padded) if card.architecture.predicts_scale else None
    for tile in tiles:
        tile_mean, tile_scale = engine.run(padded[tile.source])
        mean[tile.target] = tile_mean[tile.inner]
        if scale is not None and tile_scale is not None:
            scale[tile.target] = tile_scale[tile.inner]
        yield
    crop = tuple(slice(before, before + size) for (before, _), size in zip(padding, image.shape, strict=True))
    mean, scale = mean[crop], None if scale is None else scale[crop]
    if parameters.low_band == "tied" or (parameters.low_band == "auto" and not _fixes_low_band(card)):
        mean = tie_low_band(mean, image, float(card.loss_parameters.get("sigma_large", 5.0)))
    return mean, scale


def _fixes_low_band(card: ModelCard) -> bool:
    return card.loss not in LOSSES or LOSSES[card.loss].fixes_low_band
