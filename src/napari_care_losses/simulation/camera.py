"""A camera in front of simulated cells that records them at any exposure, frame after frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.simulation.microscope import Microscope, blur, record
from napari_care_losses.simulation.pairs_and_movies import checked_seed, draw_structure, known_structure

if TYPE_CHECKING:
    from napari_care_losses.simulation.microscope import Frame


class SimulatedCamera:
    """Records one field of view that does not move, each time with noise drawn anew.

    Parameters
    ----------
    name : str
        A key of `napari_care_losses.simulation.pairs_and_movies.STRUCTURES`.
    shape : tuple of int
        Height and width in px, each at least 16.
    microscope : Microscope, optional
        Objective and camera; by default the paper's.
    seed : int
        Zero or more; the same seed gives the same cells, and the same frames where the exposures are the same.

    Raises
    ------
    InputError
        If the structure is unknown or the shape unusable.
    ParameterError
        If the seed is out of bounds.

    Examples
    --------
    >>> from napari_care_losses.simulation.camera import SimulatedCamera
    >>> camera = SimulatedCamera("actin", (64, 64), seed=0)
    >>> short, long = camera.record(1.0).mean() - 100, camera.record(50.0).mean() - 100  # above the offset
    >>> round(float(long / short))  # photons are in proportion to the exposure
    50
    """

    def __init__(
        self,
        name: str = "actin",
        shape: tuple[int, int] = (512, 512),
        microscope: Microscope | None = None,
        *,
        seed: int,
    ) -> None:
        self._rng = np.random.default_rng(checked_seed(seed))
        self.microscope = microscope or Microscope()
        self._photons_per_ms = known_structure(name).photons_per_ms
        self._light = blur(draw_structure(name, shape, self._rng), self.microscope)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a frame in px."""
        height, width = self._light.shape
        return height, width

    def record(self, exposure_ms: float) -> Frame:
        """Return a frame of uint16 (Y, X); raises `ParameterError` if the exposure in ms is not above zero."""
        return record(self._light, exposure_ms, self.microscope, self._rng, self._photons_per_ms)
