"""An OME-Zarr image that becomes longer as its frames come."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.images.frames import Frames
from napari_care_losses.io.ome_zarr_reader import VERSIONS
from napari_care_losses.io.ome_zarr_writer import OmeZarrStackWriter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_care_losses.following.source import Layout

GROWTH = 1.5
"""Room is made for so many times the time points that there are: metadata are written seldom."""

_OPENING = "opening"


class GrowingOmeZarrWriter(OmeZarrStackWriter):
    """An OME-Zarr image being written, of which nobody knows how many time points it will have.

    It is partial until `close_at`; see `napari_care_losses.io.stack_writer.StackWriter`.

    Parameters
    ----------
    path, dtype, job, resume, zarr_version
        As in `StackWriter`.
    layout : Layout
        What all frames have in common.
    opening : int
        Number of first time points that were measured.

    Attributes
    ----------
    opening : int
        That of the run that is resumed, where one is.
    """

    def __init__(
        self,
        path: Path,
        layout: Layout,
        *,
        opening: int,
        dtype: np.typing.DTypeLike = np.float32,
        job: dict[str, Any],
        resume: bool,
        zarr_version: str = VERSIONS[0],
    ) -> None:
        self.opening = opening
        # one time point, without memory: how many there are is not known
        empty = np.broadcast_to(np.zeros((), layout.dtype), layout.shape(times=1))
        like = Frames(empty, layout.axes, layout.calibration, metadata=layout.metadata)
        super().__init__(path, like, dtype=dtype, job=job, resume=resume, zarr_version=zarr_version)

    @property
    def frames_per_time(self) -> int:
        """Number of frames of one time point."""
        return len(self._like)

    def _create(self) -> dict[str, Any]:
        return {**super()._create(), _OPENING: self.opening}

    def _accepts(self, values: dict[str, Any]) -> bool:
        if not super()._accepts(values):
            return False
        self.opening = int(values.get(_OPENING, self.opening))
        return True

    def _open(self) -> None:
        super()._open()
        self._frames.make_room(self._frames.times)

    def _store(self, index: int, frame: NDArray[Any]) -> None:
        time = index // self.frames_per_time
        if time >= self._frames.times:
            self._frames.make_room(max(time + 1, int(GROWTH * self._frames.times)))
        super()._store(index, frame)

    def close_at(self, times: int, provenance: Mapping[str, str]) -> None:
        """Move the image into place, with its first `times` time points, and how it was made."""
        self._like = replace(self._like, metadata=replace(self._like.metadata, provenance=provenance))
        self._frames.make_room(times)
        self.close()
