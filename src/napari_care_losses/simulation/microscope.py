"""The simulated microscope: from the density of fluorophores to a frame of the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from reprlib import repr as shortened
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter

from napari_care_losses.errors import InputError, ParameterError
from napari_care_losses.parameters import Parameters, parameter

if TYPE_CHECKING:
    from napari_care_losses.simulation.cells import FloatImage

Frame = NDArray[np.uint16]

SMALLEST_SIDE = 16
LARGEST = 1_000_000
"""Largest exposure in milliseconds (a quarter of an hour), and largest factor."""

_HIGHEST_LEVEL = 65535


@dataclass(frozen=True, kw_only=True)
class Microscope(Parameters):
    """Objective and camera; the defaults are the paper's: Olympus IX83, 60x / 1.3 NA, Andor Zyla sCMOS."""

    pixel_size: float = parameter(
        0.108, "Pixel size", "Size of a camera pixel in the sample.", unit="µm", low=0.01, high=10
    )
    wavelength: float = parameter(0.58, "Wavelength", "Wavelength of the emitted light.", unit="µm", low=0.3, high=1.2)
    numerical_aperture: float = parameter(
        1.3, "Numerical aperture", "Numerical aperture of the objective.", low=0.05, high=1.7
    )
    refractive_index: float = parameter(
        1.406, "Refractive index", "Refractive index of the immersion medium, by default silicone oil.", low=1, high=1.8
    )
    haze: float = parameter(0.3, "Haze", "Share of the light that comes from out of focus.", low=0, high=0.95)
    haze_radius: float = parameter(
        1.6, "Haze radius", "Standard deviation of the blur of out-of-focus light.", unit="µm", low=0.1, high=50
    )
    background: float = parameter(
        0.03, "Background", "Even light of the medium, relative to the mean light of a cell.", low=0, high=100
    )
    read_noise: float = parameter(
        1.0, "Read noise", "Standard deviation of the read noise of most pixels.", unit="electrons", low=0, high=1000
    )
    read_noise_spread: float = parameter(
        0.25,
        "Read noise spread",
        "Spread of the pixels' read noise, in its logarithm: few are far noisier.",
        low=0,
        high=2,
    )
    offset: float = parameter(
        100.0, "Offset", "Grey level of the camera without light.", unit="grey levels", low=0, high=10000
    )
    offset_spread: float = parameter(
        0.7, "Offset spread", "Standard deviation of the pixels' offsets.", unit="grey levels", low=0, high=1000
    )
    gain: float = parameter(2.0, "Gain", "Grey levels for one electron.", unit="grey levels", low=0.001, high=1000)
    gain_spread: float = parameter(
        0.01, "Gain spread", "Standard deviation of the pixels' gains, as a share of the gain.", low=0, high=0.3
    )
    sensor: int = parameter(0, "Sensor", "Which sensor: the seed its pixels' deviations follow from.", low=0)

    @property
    def psf_sigma(self) -> float:
        """Standard deviation in px of the in-focus spot, 0.21 wavelength / NA (Zhang et al. 2007, widefield)."""
        return 0.21 * self.wavelength / self.numerical_aperture / self.pixel_size

    def draw(self, rng: np.random.Generator) -> Microscope:
        """Return the microscope itself, where a `MicroscopeRange` draws one."""
        return self


@dataclass(frozen=True, kw_only=True)
class MicroscopeRange:
    """Ranges from which every field of view draws its microscope, evenly in the logarithm.

    Values are those of `Microscope`, each above zero. Cells keep their size in pixels, whatever the size of a pixel.
    Every field has its own sensor.
    """

    pixel_size: tuple[float, float] = (0.108, 0.108)
    haze: tuple[float, float] = (0.3, 0.3)
    haze_radius: tuple[float, float] = (1.6, 1.6)
    background: tuple[float, float] = (0.03, 0.03)
    read_noise: tuple[float, float] = (1.0, 1.0)
    gain: tuple[float, float] = (2.0, 2.0)

    def draw(self, rng: np.random.Generator) -> Microscope:
        """Draw a microscope; raises `ParameterError` if a range leaves the bounds of `Microscope`."""
        drawn = {name: math.exp(rng.uniform(*np.log(ends))) for name, ends in vars(self).items()}
        return Microscope(**drawn, sensor=int(rng.integers(2**31)))


def blur(density: NDArray[np.floating], microscope: Microscope) -> FloatImage:
    """Form the image of a density: a Gaussian spot in focus, wide haze, and the background of the medium.

    Density (as from `draw_structure`) and the expected light returned, in its units, are (Y, X). Raises `InputError` if
    the density is not a 2D image of finite, non-negative numbers.
    """
    checked_shape(density.shape)
    density = np.asarray(density, dtype=np.float32)
    if not np.isfinite(density).all() or density.min() < 0:
        raise InputError("A density must be finite and not negative; found other values. Clip it before exposing it.")
    return with_haze(gaussian_filter(density, microscope.psf_sigma, mode="reflect"), density, microscope)


def with_haze(sharp: FloatImage, density: FloatImage, microscope: Microscope) -> FloatImage:
    """Add the wide haze of a density (Y, X) and the background of the medium to its image (Y, X)."""
    # three running means approximate a Gaussian, at a cost that does not grow with its radius
    width = max(1, round(2 * microscope.haze_radius / microscope.pixel_size))
    haze = density
    for _ in range(3):
        haze = uniform_filter(haze, width, mode="reflect")
    light = (1 - microscope.haze) * sharp + microscope.haze * haze + microscope.background
    return np.asarray(np.clip(light, 0, None), dtype=np.float32)


def record(
    image: FloatImage, exposure_ms: float, microscope: Microscope, rng: np.random.Generator, photons_per_ms: float
) -> Frame:
    """Record an image with an sCMOS camera: Poisson photons, and read noise, gain and offset of each pixel.

    ``level = offset + gain * (Poisson(image * photons_per_ms * exposure_ms) + Normal(0, read_noise))``, rounded and
    clipped. Offset, gain and read noise of a pixel belong to the sensor and are the same in every frame (Huang et al.
    2013).

    Parameters
    ----------
    image : ndarray of float32, shape (Y, X)
        What `blur` returns.
    exposure_ms : float
        Exposure in ms, above zero.
    photons_per_ms : float
        Photons detected per pixel and millisecond at a density of 1; zero leaves the camera dark.

    Returns
    -------
    ndarray of uint16, shape (Y, X)
        Grey levels of the camera.

    Raises
    ------
    ParameterError
        If the exposure is not positive or the photon rate negative.
    """
    exposure_ms = checked_positive("exposure_ms", exposure_ms)
    if not (math.isfinite(photons_per_ms) and photons_per_ms >= 0):
        raise ParameterError(f"photons_per_ms must be zero or more, found {photons_per_ms!r}.")
    sensor = _Sensor.made(microscope, checked_shape(image.shape))
    electrons = rng.poisson(image * (photons_per_ms * exposure_ms)).astype(np.float32)
    electrons += sensor.read_noise * rng.standard_normal(image.shape, dtype=np.float32)
    levels = np.rint(sensor.offset + sensor.gain * electrons)
    return np.asarray(np.clip(levels, 0, _HIGHEST_LEVEL), dtype=np.uint16)


class _Sensor(NamedTuple):
    """Offset, gain and read noise of each pixel of a camera, float32 arrays (Y, X)."""

    offset: FloatImage
    gain: FloatImage
    read_noise: FloatImage

    @classmethod
    @lru_cache(maxsize=4)
    def made(cls, microscope: Microscope, shape: tuple[int, int]) -> _Sensor:
        offset, gain, noise = np.random.default_rng(microscope.sensor).standard_normal((3, *shape), dtype=np.float32)
        return cls(
            microscope.offset + np.float32(microscope.offset_spread) * offset,
            microscope.gain * (1 + np.float32(microscope.gain_spread) * gain),
            microscope.read_noise * np.exp(np.float32(microscope.read_noise_spread) * noise),
        )


def checked_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return a shape as two plain integers; raises `InputError` unless height and width are at least 16 px."""
    if len(shape) != 2 or any(side != int(side) or side < SMALLEST_SIDE for side in shape):
        raise InputError(
            f"A simulated image needs a height and a width of at least {SMALLEST_SIDE} px, found {tuple(shape)}."
        )
    return int(shape[0]), int(shape[1])


def checked_positive(name: str, value: float) -> float:
    """Return a value as a plain float; raises `ParameterError` unless it is above zero and at most `LARGEST`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LARGEST:
        raise ParameterError(f"{name} must be a number above zero, found {shortened(value)} (at most {LARGEST:,}).")
    return float(value)
