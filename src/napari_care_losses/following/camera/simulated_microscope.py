"""A Micro-Manager core whose camera looks at simulated cells: to try an acquisition without a microscope."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.following.camera.micro_manager import no_search_for_adapters, require_acquisition
from napari_care_losses.simulation.camera import SimulatedCamera

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from pymmcore_plus import CMMCorePlus

CAMERA = "Simulated camera"
"""Its label in the core."""


def simulated_microscope(
    record: Callable[[float], NDArray[np.uint16]] | None = None,
    *,
    exposure_ms: float = 10.0,
    interval_ms: float = 0.0,
    pixel_size: float = 0.108,
) -> CMMCorePlus:
    """Return a Micro-Manager core with one camera, written in Python: no device adapter is needed.

    It is of `pymmcore_plus.experimental.unicore`, and is to be driven like any other: ``setExposure``, ``snap``,
    ``startContinuousSequenceAcquisition``, ``run_mda``. The light is never shut off.

    Parameters
    ----------
    record : callable, optional
        Returns a frame (Y, X) of uint16 at an exposure in ms, all of one shape; by default that of a `SimulatedCamera`
        before actin.
    exposure_ms : float
        The exposure that it begins with, in ms.
    interval_ms : float
        Least time from one frame to the next, in ms, where the exposure is shorter.
    pixel_size : float
        Width of a pixel in micrometres.

    Raises
    ------
    InputError
        If pymmcore-plus is not installed.

    Examples
    --------
    >>> from napari_care_losses.following.camera.simulated_microscope import simulated_microscope
    >>> core = simulated_microscope(SimulatedCamera("actin", (64, 64), seed=0).record, exposure_ms=5)
    >>> core.snap().shape, core.getExposure()
    ((64, 64), 5.0)
    """
    require_acquisition()
    from pymmcore_plus.experimental.unicore import SimpleCameraDevice, UniMMCore

    frame_at = record or SimulatedCamera(seed=0).record
    sample = frame_at(exposure_ms)

    class Camera(SimpleCameraDevice):
        """Plays `frame_at`."""

        def __init__(self) -> None:
            super().__init__()
            self._exposure_ms, self._due = float(exposure_ms), 0.0

        def get_exposure(self) -> float:
            return self._exposure_ms

        def set_exposure(self, exposure: float) -> None:
            self._exposure_ms = float(exposure)

        def sensor_shape(self) -> tuple[int, int]:
            return int(sample.shape[0]), int(sample.shape[1])

        def dtype(self) -> type[np.uint16]:
            return np.uint16

        def snap(self, buffer: NDArray[np.uint16]) -> Mapping[str, str]:
            exposure_ms = self._exposure_ms
            begun = time.perf_counter()
            buffer[:] = frame_at(exposure_ms)
            wait = max(begun + exposure_ms / 1e3, self._due) - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            self._due = max(self._due, begun) + max(interval_ms, exposure_ms) / 1e3
            return {"Exposure-ms": f"{exposure_ms:g}"}

    with no_search_for_adapters():
        core = UniMMCore()
    core.loadPyDevice(CAMERA, Camera())
    core.initializeDevice(CAMERA)
    core.setCameraDevice(CAMERA)
    # there is no shutter that it could open
    core.setAutoShutter(False)
    core.definePixelSizeConfig("objective")
    core.setPixelSizeUm("objective", pixel_size)
    core.setPixelSizeConfig("objective")
    return core
