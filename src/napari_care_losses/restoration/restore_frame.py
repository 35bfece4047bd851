"""Restoring one frame: cut into tiles, run through the engine, stitched, its range undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.compute.memory import require_memory
from napari_care_losses.errors import InputError
from napari_care_losses.images.neighbours import NeighbourReader
from napari_care_losses.images.regions import Region
from napari_care_losses.images.sampling import evenly_spaced
from napari_care_losses.images.usable_pixels import with_gaps
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.restoration.engines.choose import open_engine
from napari_care_losses.restoration.low_band import DEFAULT_SIGMA, noise_limited_sigma, tie_low_band
from napari_care_losses.restoration.neighbours import choose_neighbours
from napari_care_losses.restoration.remarks import Remarks
from napari_care_losses.restoration.stitching.canvas import FLIPS, Canvas, Tiling
from napari_care_losses.restoration.tiles import in_padded, pad, reach

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from napari_care_losses.evaluation.intervals import Intervals
    from napari_care_losses.images.frames import Frames
    from napari_care_losses.images.normalization import Range
    from napari_care_losses.models.model import Model, ModelCard
    from napari_care_losses.restoration.engines.base import Pixels
    from napari_care_losses.restoration.engines.treatment import Treatment
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.restoration.ranges import Ranges

_COPIES = 5
"""How many copies of a frame, in float32, reading it takes at most."""

_COPIES_OF_NEIGHBOUR = 2
"""How many each neighbour adds: it is kept, and padded."""


@dataclass(frozen=True)
class RestoredFrame:
    """One restored frame (Y, X), or the region of it that was asked for, in the input's units."""

    index: int
    """Index of the frame in the stack."""
    image: NDArray[np.float32]
    scale: NDArray[np.float32] | None
    """Laplace scale of every pixel: half the true values lie within 0.69 of it; None for models without one."""
    remarks: Remarks
    grey_levels: Range
    """The levels that were 0 and 1 for the network."""
    unchanged: NDArray[np.bool_] | None = None
    """Pixels that stayed as they were; None where none did."""

    def bounds(self, card: ModelCard, level: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return lower and upper ends of intervals that hold this share of the true grey levels, in the input's units.

        Pixels that stayed as they were have no width. Raises `InputError` if the card of the model that restored the
        frame has no intervals, or none of this level.
        """
        intervals = calibrated(card)
        width = np.float32(self.grey_levels.width)
        scale = None if self.scale is None else self.scale / width
        half = (intervals.half_width(level, self.grey_levels.apply(self.image), scale) * width).astype(np.float32)
        if self.unchanged is not None:
            half[self.unchanged] = 0
        return self.image - half, self.image + half


class Beside(NamedTuple):
    """What is asked for beside a restored frame."""

    scale: bool = False
    """The Laplace scale."""
    level: float | None = None
    """Lower and upper ends of the intervals that hold this share of the true grey levels; None for none."""

    def images(self, frame: RestoredFrame, card: ModelCard) -> list[NDArray[np.float32]]:
        """Return the images of a frame: the scale before the lower ends, and the upper ends after them."""
        scale = [frame.scale] if self.scale and frame.scale is not None else []
        return scale if self.level is None else [*scale, *frame.bounds(card, self.level)]


def calibrated(card: ModelCard) -> Intervals:
    """Return the intervals of a model; raise `InputError` if it has none."""
    if card.intervals is None:
        raise InputError(
            "This model has no intervals. They come from the validation images of a training on clean images; of the "
            "bundled models, those trained with the Laplace loss have them."
        )
    return card.intervals


class Input(NamedTuple):
    """A frame ready to be restored."""

    frame_index: int
    grey_levels: Range
    image: NDArray[np.float32]
    """Normalised; finite everywhere."""
    around: tuple[NDArray[Any], ...]
    """The neighbours (Y, X) as they were read, those before the frame first; finite everywhere."""
    source: NDArray[Any]
    """The frame as it was read."""
    outside: NDArray[np.bool_] | None
    """Pixels that stay as they are, as in `napari_care_losses.images.usable_pixels.UsableFrame`."""
    remarks: Remarks
    tied_sigma: float | None = None
    """Sigma in pixels of the low band that is tied, which the noise of this frame sets; None if none is tied."""
    placed: Pixels = None
    """What is read of the channels, padded, where the engine reads it soonest; None where it was not put there."""

    @property
    def is_blank(self) -> bool:
        """Whether the whole frame stays as it is."""
        return bool(self.remarks.blank)

    def padded(self, block: int, place: tuple[slice, ...] = ()) -> Padded:
        """Return what the network reads, padded to multiples of its block; of a place in that alone."""
        sides = (self.around[: len(self.around) // 2], (self.image,), self.around[len(self.around) // 2 :])
        before, own, after = ([pad(image, block)[place] for image in side] for side in sides)
        return Padded(self.grey_levels, before, own[0], after)


class Padded(NamedTuple):
    """A padded frame and its neighbours, which are normalised where they are read: whole copies fill the memory."""

    grey_levels: Range
    before: list[NDArray[Any]]
    image: NDArray[np.float32]
    """Normalised."""
    after: list[NDArray[Any]]

    def channels(self, place: tuple[slice, ...] = ()) -> NDArray[np.float32]:
        """Return what the network reads: the image (Y, X), or (1 + neighbours, Y, X), all in the range of the image."""
        if not self.before:
            return self.image[place]
        own = self.image[place]
        channels = np.empty((len(self.before) + 1 + len(self.after), *own.shape), np.float32)
        # one after the other: a tile may be the whole frame
        for number, image in enumerate((*self.before, None, *self.after)):
            channels[number] = own if image is None else self.grey_levels.apply(image[place])
        return channels


def read_inputs(
    frames: Frames, indices: Sequence[int], ranges: Ranges, reader: NeighbourReader
) -> Generator[Input, None, None]:
    """Read and normalise frames.

    Raises `InputError` if one cannot be restored, `ComputeError` if there is no memory for it.
    """
    for index in indices:
        require_memory_for_frame(*frames.frame_shape, neighbours=reader.count)
        read = reader.read(index)
        usable = read.usable
        grey_levels = ranges.of(index, usable.inside)
        remarks = Remarks.of(index, usable, is_flash=ranges.shared(index) not in (None, grey_levels))
        image = grey_levels.apply(usable.pixels)
        yield Input(index, grey_levels, image, read.around, read.source, usable.outside, remarks)


def require_memory_for_frame(height: int, width: int, *, neighbours: int = 0) -> None:
    """Raise `ComputeError` unless there is memory to read and normalise a frame, and its neighbours.

    NumPy crashes where it finds none for the small buffers of an operation: it says so without Python's lock.
    """
    copies = _COPIES + _COPIES_OF_NEIGHBOUR * neighbours
    require_memory(copies * 4 * height * width, f"reading a frame of {height} x {width} px", "crop the image")


class FrameRestorer:
    """Restores frames of a stack, one at a time; engine and tiles are prepared once.

    Parameters
    ----------
    frames, model, parameters, treatment, region, device
        As in `napari_care_losses.restoration.restore_stack.restore_frames`.

    Raises
    ------
    InputError
        If the device does not exist, the region is not in the frames, or the model reads neighbouring frames and the
        stack has none.
    """

    def __init__(
        self,
        frames: Frames,
        model: Model,
        parameters: RestorationParameters,
        treatment: Treatment,
        *,
        region: Region | None = None,
        device: str,
    ) -> None:
        self._frames, self._card, self._treatment = frames, model.card, treatment
        self._engine = open_engine(parameters.engine, model, device, treatment)
        self._neighbours = neighbours = choose_neighbours(frames, model.card)
        along, repairs = neighbours.axis or "auto", parameters.repairs
        self._reader = NeighbourReader(frames, neighbours.number, along, repairs, runs=1)
        self._sigma = tied_sigma(model.card, parameters.low_band)
        self._flips = FLIPS if parameters.average_flips else FLIPS[:1]
        height, width = frames.frame_shape
        whole = Region(0, height, 0, width)
        self._region = region or whole
        y0, y1, x0, x1 = self._region
        if not (0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width):
            raise InputError(f"Expected a region of frames of {height} x {width} px, found {self._region}.")
        # The gain of a low band that is tied is that of the whole frame.
        self._computed = self._region if self._sigma is None else whole
        self._placed = in_padded(self._computed, frames.frame_shape, self._engine.architecture.block)
        self._read = reach(self._placed, frames.frame_shape, self._engine.architecture)
        # the frames around a frame take the other half
        share = 2 if neighbours.number else 1
        self._tiling = Tiling(self._read.shape, self._engine, parameters.tile_size, self._engine.memory() // share)

    @property
    def note(self) -> str:
        """Note on the noise, the neighbouring frames and of the engine for the user; may be empty."""
        return " ".join(filter(None, (self._treatment.note, self._neighbours.note, self._engine.note)))

    @property
    def order(self) -> list[int]:
        """The numbers of all frames, those that are neighbours one after the other: each is read once."""
        return self._neighbours.order(self._frames)

    @property
    def neighbour_axis(self) -> str:
        """The axis along which the model reads neighbouring frames, T or Z; empty for models of single frames."""
        return self._neighbours.axis

    def grow(self, frames: Frames) -> None:
        """Restore the frames of a stack that has become longer along its first axis; those that were there stay."""
        self._frames = frames
        self._reader.grow(frames)

    def prepare(self, ranges: Ranges) -> None:
        """Calibrate the engine, if it needs that, on frames spread over the stack; raise as `restored` does."""
        # Always the same frames, so that a resumed run computes like the one that was stopped.
        indices = evenly_spaced(range(len(self._frames)), self._engine.samples)
        samples = read_inputs(self._frames, indices, ranges, self._reader)
        block = self._engine.architecture.block
        self._engine.prepare(sample.padded(block).channels() for sample in samples if not sample.is_blank)

    def read(self, indices: Sequence[int], ranges: Ranges) -> Generator[Input, None, None]:
        """Read and normalise frames, as `read_inputs` does, and measure what else is known before they are restored."""
        for given in read_inputs(self._frames, indices, ranges, self._reader):
            if self._sigma is None or given.is_blank:
                yield given
            else:
                sigma = noise_limited_sigma(with_gaps(given.image, given.outside), self._sigma)
                yield given._replace(tied_sigma=sigma)

    def read_ahead(self, indices: Sequence[int], ranges: Ranges) -> Generator[Input, None, None]:
        """Read frames as `read` does, and copy them to where the engine computes; for a thread beside it."""
        for given in self.read(indices, ranges):
            copied = self._engine.copies and not given.is_blank
            yield given._replace(placed=self._pixels(given)) if copied else given

    def _pixels(self, given: Input) -> Pixels:
        """Return what is read of a frame, padded, where the engine reads it soonest."""
        return self._engine.placed(self._padded(given).channels())

    def _padded(self, given: Input) -> Padded:
        return given.padded(self._engine.architecture.block, self._read.slices)

    def restored(self, given: Input) -> Generator[int, None, RestoredFrame]:
        """Restore a frame; yields the number of its finished tiles, nothing if it is blank.

        Raises `ComputeError` if the device fails.
        """
        source, kept = given.source[self._region.slices], self._region.within(self._computed).slices
        unchanged = None
        if given.is_blank:
            unchanged = np.ones(source.shape, np.bool_)
            image = source.astype(np.float32)
            scale = np.zeros_like(image) if self._card.architecture.predicts_scale else None
        else:
            has_scale, placed = self._card.architecture.predicts_scale, given.placed
            channels = self._padded(given).channels if placed is None else lambda source: placed[..., *source]
            canvas = Canvas(channels, self._flips, self._read, self._placed, has_scale=has_scale)
            yield from self._tiling.fill(canvas)
            mean, scale = canvas.finished()
            if given.tied_sigma is not None:
                mean = tie_low_band(mean, given.image, given.tied_sigma)
            image = given.grey_levels.undo(mean[kept])
            if scale is not None:
                scale = scale[kept]
                scale *= given.grey_levels.width
        if given.outside is not None:
            unchanged = outside = given.outside[self._region.slices]
            image[outside] = source[outside]
            if scale is not None:
                scale[outside] = np.where(np.isfinite(image[outside]), 0, np.nan)
        return RestoredFrame(given.frame_index, image, scale, given.remarks, given.grey_levels, unchanged)

    def left(self, filled: int, frames: int) -> int:
        """Return the number of tiles left in `frames` frames, of which the first has `filled` finished ones."""
        return frames * len(self._tiling.tiles) - filled

    def close(self) -> None:
        """Free the working memory."""
        self._engine.close()


def tied_sigma(card: ModelCard, low_band: str) -> float | None:
    """Return the smallest sigma, in pixels, above which structure comes from the input; None for nowhere."""
    loss = LOSSES[card.loss].from_dict(card.loss_parameters) if card.loss in LOSSES else None
    free_above = None if loss is None else loss.free_above
    if low_band == "tied":
        return free_above or DEFAULT_SIGMA
    return free_above if low_band == "auto" else None


def keeps_levels(card: ModelCard, low_band: str) -> bool:
    """Return whether restored grey levels are comparable with the input's and with those of other images.

    They are if the low band is the input's, or if the model was trained to keep grey levels
    (`TrainingParameters.match_levels`, and without clean images always) with a loss that determines all of them.
    """
    if tied_sigma(card, low_band) is not None:
        return True
    was_matched = card.training.get("match_levels") is True or card.target != "clean"
    return was_matched and tied_sigma(card, "auto") is None
