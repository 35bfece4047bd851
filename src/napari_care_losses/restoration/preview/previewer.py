"""Restores the visible part of a frame at once, as the restoration of the whole stack will."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.images.neighbours import NeighbourReader
from napari_care_losses.images.noise.shared import measure_frames
from napari_care_losses.images.regions import Region
from napari_care_losses.images.usable_pixels import with_gaps
from napari_care_losses.models.model import load_model, read_card
from napari_care_losses.restoration.correlated_noise import treatment_of
from napari_care_losses.restoration.engines.treatment import Treatment
from napari_care_losses.restoration.neighbours import Neighbours, choose_neighbours
from napari_care_losses.restoration.preview.window import WIDTHS, cut, plan_window, richest_cell, tile_width
from napari_care_losses.restoration.ranges import estimate_ranges, frames_to_sample
from napari_care_losses.restoration.remarks import Remarks
from napari_care_losses.restoration.tiles import crop, pad

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.images.neighbours import FrameRead
    from napari_care_losses.images.noise.shared import SharedNoise
    from napari_care_losses.images.normalization import Normalization, Range
    from napari_care_losses.images.usable_pixels import Repairs
    from napari_care_losses.restoration.engines.base import Engine
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.restoration.ranges import Ranges
    from napari_care_losses.restoration.tiles import Tile

    Image = NDArray[np.float32]

KEPT_PIXELS = 16 << 20
"""Restored pixels that are kept for when they are looked at again (64 MiB)."""


class PreviewTile(NamedTuple):
    """A step of a preview: tiles restored and tiles in all, 0 and 0 before the first begins."""

    done: int
    total: int
    position: tuple[slice, slice] | None = None
    """Where the tile lies in the frame; it may extend beyond the window. None for a step without a tile."""
    image: NDArray[np.float32] | None = None
    """The restored tile (Y, X) in the input's units."""
    note: str = ""
    """Note for the user; may be empty."""


class KeptRanges:
    """Ranges and noise of the stack last previewed; an estimation continues where an earlier preview was closed."""

    def __init__(self) -> None:
        self._ranges: Ranges | None = None
        self._estimation: Generator[int, None, Ranges] | None = None
        # what they were made for
        self._key: tuple[object, ...] = (None,)
        self._noise: SharedNoise | None = None
        self._measured: Frames | None = None

    def known(self, frames: Frames, parameters: RestorationParameters, normalization: Normalization) -> Ranges | None:
        """Return the ranges of a stack if they are known; else forget those of another."""
        # the parameters that the range depends on
        key = frames, _for_ranges(parameters), normalization
        if self._key[0] is not frames or self._key[1:] != key[1:]:
            self._key, self._ranges, self._estimation = key, None, None
        return self._ranges

    def estimated(
        self, frames: Frames, parameters: RestorationParameters, normalization: Normalization
    ) -> Generator[PreviewTile, None, Ranges]:
        """Return the ranges of a stack, estimated if they are not known."""
        self.known(frames, parameters, normalization)
        while self._ranges is None:
            if self._estimation is None:
                self._estimation = estimate_ranges(frames, parameters, normalization)
            try:
                read = next(self._estimation)
            except StopIteration as finished:
                self._ranges, self._estimation = finished.value, None
            except BaseException:
                self._estimation = None
                raise
            else:
                total = frames_to_sample(frames, parameters, normalization)
                yield PreviewTile(0, 0, note=f"estimating the range, frame {read} of {total}")
        return self._ranges

    def has_noise(self, frames: Frames) -> bool:
        """Return whether the noise that neighbouring pixels of a stack share is known."""
        return self._measured is frames

    def noise(self, frames: Frames) -> Generator[PreviewTile, None, SharedNoise | None]:
        """Return the noise that neighbouring pixels of a stack share, measured if it is not known."""
        if not self.has_noise(frames):
            yield PreviewTile(0, 0, note="measuring the noise")
            self._noise, self._measured = measure_frames(frames), frames
        return self._noise


def _for_ranges(parameters: RestorationParameters) -> RestorationParameters:
    return replace(parameters, low_band="auto", correlated_noise="auto", engine="auto", tile_size=None)


class Previewer:
    """Restores windows of frames; keeps engine, ranges, frame and restored tiles for the next window.

    Only one preview runs at a time: it must have ended or been closed before the next. Threads may differ. Previewers
    of several models for the same stacks may share `KeptRanges`. A hasty one does not measure the noise of a stack:
    until another has, it does nothing about noise that neighbouring pixels share.
    """

    def __init__(self, device: str = "auto", *, ranges: KeptRanges | None = None, is_hasty: bool = False) -> None:
        self._device, self._is_hasty = device, is_hasty
        self._kept_ranges = ranges or KeptRanges()
        self._engine: Engine | None = None
        self._note = ""
        self._ranges: Ranges | None = None
        self._frame: _Frame | None = None
        self._tiles: OrderedDict[object, Image] = OrderedDict()
        # what the engine was made for
        self._engine_key: object = None
        self._sigma: float | None = None
        self._neighbours = Neighbours()
        self._reader: NeighbourReader | None = None
        # what the reader was made for
        self._reader_key: tuple[object, ...] = (None,)
        self._treatment = Treatment()
        self._treatment_key: tuple[object, ...] = (None,)

    def preview(
        self,
        frames: Frames,
        index: int,
        window: Region,
        cursor: tuple[float, float] | None,
        path: Path,
        parameters: RestorationParameters,
    ) -> Generator[PreviewTile, None, None]:
        """Restore a window of a frame, from the cursor outward; can be closed at any step.

        The pixels equal those of the restoration of the whole stack, to rounding. If the low band is tied, they do so
        up to the gain, which is estimated from the part with most structure unless the frame is one tile.

        Parameters
        ----------
        frames : Frames
            The stack; its ranges are kept as long as the same object is passed.
        index : int
            Index of the frame.
        window : Region
            The part to restore.
        cursor : tuple of float, optional
            (y, x) in pixels of the frame, where to begin.
        path : Path
            The model's file.
        parameters : RestorationParameters
            As for the restoration. With the 8-bit engine the preview uses float32, because calibration takes seconds.

        Yields
        ------
        PreviewTile
            First one before every other slow step, then one for every tile.

        Raises
        ------
        InputError, ComputeError
            If the frame, the model or the parameters cannot be used, or the device fails.
        """
        treatment = yield from self._treated(frames, path, parameters)
        engine = yield from self._opened(path, parameters, treatment)
        ranges = yield from self._kept_ranges.estimated(frames, parameters, engine.model.card.normalization)
        if ranges is not self._ranges:
            self._ranges, self._frame = ranges, None
            self._tiles.clear()
        sigma = self._followed_sigma(engine, parameters.low_band)
        frame = self._frame
        if frame is None or frame.index != index:
            read = self._followed_reader(frames, engine, parameters.repairs).read(index)
            grey_levels = ranges.of(index, read.usable.inside)
            remarks = Remarks.of(index, read.usable, is_flash=ranges.shared(index) not in (None, grey_levels))
            frame = self._frame = _Frame(index, read, grey_levels, engine, remarks)
        width = tile_width(frame.architecture, on_cpu=engine.device == "cpu")
        tiles = plan_window(window, frames.frame_shape, frame.architecture, width, cursor)
        for number, tile in enumerate(tiles, 1):
            image = self._restored(frame, tile, width, sigma)
            note = f"{self._neighbours.note} {self._note}".strip()
            yield PreviewTile(number, len(tiles), frame.position(tile), image, frame.remarks.text(note))

    def has(self, frames: Frames, index: int, window: Region, path: Path, parameters: RestorationParameters) -> bool:
        """Return whether `preview` of these would compute nothing, because all tiles are kept."""
        engine = self._engine
        if engine is None or not self._is_treated(frames, path, parameters):
            return False
        if self._engine_key != (*_stamp(path), parameters.engine, self._treatment):
            return False
        ranges = self._kept_ranges.known(frames, parameters, engine.model.card.normalization)
        if ranges is None or ranges is not self._ranges:
            return False
        self._followed_sigma(engine, parameters.low_band)
        width = tile_width(engine.architecture, on_cpu=engine.device == "cpu")
        tiles = plan_window(window, frames.frame_shape, engine.architecture, width)
        return all(_tile_key(index, tile) in self._tiles for tile in tiles)

    def close(self) -> None:
        """Free the engine's working memory; the previewer stays usable."""
        if self._engine is not None:
            self._engine.close()

    def _treated(
        self, frames: Frames, path: Path, parameters: RestorationParameters
    ) -> Generator[PreviewTile, None, Treatment]:
        """Return what is done about shared noise, measured once as long as stack, model and setting stay."""
        if self._is_hasty and not self._kept_ranges.has_noise(frames):
            return treatment_of(None, read_card(path), parameters)
        if not self._is_treated(frames, path, parameters):
            noise = yield from self._kept_ranges.noise(frames)
            self._treatment = treatment_of(noise, read_card(path), parameters)
            self._treatment_key = frames, *_stamp(path), parameters.correlated_noise
        return self._treatment

    def _is_treated(self, frames: Frames, path: Path, parameters: RestorationParameters) -> bool:
        """Return whether it is known what is done about the noise."""
        wanted = *_stamp(path), parameters.correlated_noise
        return self._treatment_key[0] is frames and self._treatment_key[1:] == wanted

    def _opened(
        self, path: Path, parameters: RestorationParameters, treatment: Treatment
    ) -> Generator[PreviewTile, None, Engine]:
        """Return the engine for a model; a new one if the file has changed."""
        name, key = parameters.engine, (*_stamp(path), parameters.engine, treatment)
        if self._engine is None or self._engine_key != key:
            yield PreviewTile(0, 0, note="loading the model")
            # imported here, in the background: opening the widget need not wait for it
            from napari_care_losses.restoration.engines.choose import open_engine

            self.close()
            self._engine, self._frame = None, None
            self._tiles.clear()
            is_8_bit = name == "openvino-int8"
            self._engine = open_engine("openvino" if is_8_bit else name, load_model(path), self._device, treatment)
            note = self._engine.note or ("In float32; restoring will use 8 bits." if is_8_bit else "")
            self._note = f"{treatment.note} {note}".strip()
            self._engine_key = key
        return self._engine

    def _followed_sigma(self, engine: Engine, low_band: str) -> float | None:
        from napari_care_losses.restoration.restore_frame import tied_sigma

        sigma = tied_sigma(engine.model.card, low_band)
        if sigma != self._sigma:
            self._sigma, self._frame = sigma, None
            self._tiles.clear()
        return sigma

    def _followed_reader(self, frames: Frames, engine: Engine, repairs: Repairs) -> NeighbourReader:
        """Return what reads the frames of a stack with as many neighbours as the model needs; a kept one if it does."""
        neighbours = choose_neighbours(frames, engine.model.card)
        wanted = neighbours.number, neighbours.axis, repairs
        if self._reader is None or self._reader_key[0] is not frames or self._reader_key[1:] != wanted:
            self._reader = NeighbourReader(frames, neighbours.number, neighbours.axis or "auto", repairs)
            self._reader_key = frames, *wanted
        self._neighbours = neighbours
        return self._reader

    def _restored(self, frame: _Frame, tile: Tile, width: int, sigma: float | None) -> Image:
        """Return the restored pixels of a tile, in grey levels."""
        key = _tile_key(frame.index, tile)
        if key in self._tiles:
            self._tiles.move_to_end(key)
            return self._tiles[key]
        image = self._tiles[key] = frame.restored(tile, width, sigma)
        while sum(kept.size for kept in self._tiles.values()) > KEPT_PIXELS:
            self._tiles.popitem(last=False)
        return image


def _stamp(path: Path) -> tuple[Path, int | None]:
    """Return what tells a model file from others, and from what it was before it was written again."""
    return path, path.stat().st_mtime_ns if path.exists() else None


def _tile_key(index: int, tile: Tile) -> object:
    return index, *((span.start, span.stop) for span in tile.target)


class _Frame:
    """The visible frame, with its range and what was estimated from it."""

    def __init__(
        self,
        index: int,
        read: FrameRead,
        grey_levels: Range,
        engine: Engine,
        remarks: Remarks,
    ) -> None:
        self.index, self.grey_levels, self.remarks = index, grey_levels, remarks
        self.architecture = engine.architecture
        image = read.usable.pixels
        self._engine, self._image, self._source, self._usable = engine, image, read.source, read.usable
        self._shape = int(image.shape[0]), int(image.shape[1])
        # Padded before it is normalised, because only parts of large frames are; the order makes no difference.
        self._padded = pad(read.channels(image), self.architecture.block)
        self._own = len(read.around) // 2
        self._gain: float | None = None
        self._sigma: float | None = None

    def position(self, tile: Tile) -> tuple[slice, slice]:
        """Return where a tile writes in the unpadded frame."""
        rows, columns = (
            slice(target.start - inside.start, target.stop - inside.start)
            for target, inside in zip(tile.target, self._inside, strict=True)
        )
        return rows, columns

    def restored(self, tile: Tile, width: int, sigma: float | None) -> Image:
        """Return the restored pixels of a tile, in grey levels, the low band tied if its smallest sigma is given."""
        position, outside = self.position(tile), self._usable.outside
        if self._usable.is_blank:
            return self._source[position].astype(np.float32)
        mean = self.run(tile)[0][tile.inner] if sigma is None else self.tied(tile, width, sigma)
        image = self.grey_levels.undo(mean)
        return image if outside is None else np.where(outside[position], self._source[position], image)

    def run(self, tile: Tile) -> tuple[Image, Image]:
        """Return the network's output for the pixels that a tile reads of the frame, and these pixels, normalised."""
        read = self.grey_levels.apply(self._padded[..., *tile.source])
        return self._engine.restore(read)[0], read if read.ndim == 2 else read[self._own]

    def tied(self, tile: Tile, width: int, least: float) -> Image:
        """Return the restored pixels of a tile, normalised, the low band tied above a sigma of at least `least`."""
        from napari_care_losses.restoration.low_band import estimate_gain, noise_limited_sigma, tie_low_band

        if self._sigma is None:
            self._sigma = noise_limited_sigma(
                with_gaps(self._image, self._usable.outside), least, data_range=self.grey_levels.width
            )
        sigma = self._sigma
        mean, read = self.run(tile)
        if self._gain is None:
            sample = self._gain_tile(width)
            output, pixels = (mean, read) if sample.source == tile.source else self.run(sample)
            unpadded = self._unpadded(sample)
            self._gain = estimate_gain(output[unpadded], pixels[unpadded], sigma)
        unpadded = self._unpadded(tile)
        tied = tie_low_band(mean[unpadded], read[unpadded], sigma, gain=self._gain)
        rows, columns = (
            slice(inner.start - inside.start, inner.stop - inside.start)
            for inner, inside in zip(tile.inner, unpadded, strict=True)
        )
        return tied[rows, columns]

    def _gain_tile(self, width: int) -> Tile:
        """Return the tile to estimate the gain from: the whole frame if that is one tile, else the richest part.

        The gain of a part without structure would be that of noise.
        """
        if max(self._shape) <= width:
            return cut(Region(0, self._shape[0], 0, self._shape[1]), self._shape, self.architecture, width)
        return cut(richest_cell(self._image, self.grey_levels.high), self._shape, self.architecture, WIDTHS[0])

    @property
    def _inside(self) -> tuple[slice, ...]:
        """Where the frame lies in the padded frame."""
        return crop(self._shape, self.architecture.block)

    def _unpadded(self, tile: Tile) -> tuple[slice, slice]:
        """Return the part of the pixels a tile reads that is not padding."""
        rows, columns = (
            slice(max(inside.start, read.start) - read.start, min(inside.stop, read.stop) - read.start)
            for inside, read in zip(self._inside, tile.source, strict=True)
        )
        return rows, columns
