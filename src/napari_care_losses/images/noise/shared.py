"""How much noise neighbouring pixels share, measured in samples of a stack."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.checks import has_value
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.noise.block_spectra import BLOCK
from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.images.normalization import PercentileNormalization, percentiles
from napari_care_losses.images.sampling import evenly_spaced

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from napari_care_losses.images.noise.model import NoiseModel

SAMPLES = 3
"""Number of frames of a stack that are measured, or of windows of a single frame."""

WINDOW = 512
"""Largest width and height of what is measured of a frame, in pixels."""

SMALLEST = 128
"""Smallest width and height of what is measured, in pixels: structure of smaller images is often taken for noise."""

# of frames with more pixels, only the middle one of a stack is read
_LARGE = 1 << 22
# share of the variance that is left within 2 x 2 px
_LEAST_WITHIN = 1e-3
# a stack whose samples differ by more has no single correlation
_MOST_DIFFERENT = 0.2


@dataclass(frozen=True)
class SharedNoise:
    """The noise that neighbouring pixels of a stack share."""

    correlation: tuple[tuple[float, ...], ...]
    """Correlation of two pixels at lags (y, x) from 0 on, as in `napari_care_losses.images.noise.model.NoiseModel`."""
    share: float
    """Standard deviation of the noise, relative to the range from percentile 2 to 99.8."""
    excess: float
    """Power of the finest detail of the usual block of 16 x 16 px, relative to that of the noise: 1, or more where
    structure was taken for noise."""
    is_alike: bool
    """Whether all samples have about this correlation."""

    @property
    def along_y(self) -> float:
        """Correlation of neighbours along Y."""
        return self.correlation[1][0] if len(self.correlation) > 1 else 0.0

    @property
    def along_x(self) -> float:
        """Correlation of neighbours along X."""
        return self.correlation[0][1] if len(self.correlation[0]) > 1 else 0.0

    @property
    def strongest(self) -> float:
        """The larger of the two."""
        return max(self.along_y, self.along_x)


def measure_frames(frames: Frames) -> SharedNoise | None:
    """Measure the shared noise of a stack, from a few windows of a few frames, which are always the same ones.

    None where no frame holds noise, or frames are too small.
    """
    if min(frames.frame_shape) < SMALLEST:
        return None
    return measure_images(_samples(frames))


def measure_images(images: Iterable[NDArray[Any]]) -> SharedNoise | None:
    """Measure the shared noise of images (Y, X) of any real dtype, of each that of its middle 512 px.

    None where none holds noise, or all are too small.

    Examples
    --------
    >>> from scipy.ndimage import gaussian_filter
    >>> rng = np.random.default_rng(0)
    >>> noise = measure_images([gaussian_filter(rng.normal(100, 5, (128, 128)), (0, 0.6))])
    >>> round(noise.along_y, 1), round(noise.along_x, 1)
    (0.0, 0.4)
    """
    found = [noise for image in images if (noise := _measured(_window(image))) is not None]
    if not found:
        return None
    lags = max(len(noise.correlation) for noise in found)
    all_lags = np.zeros((len(found), lags, lags))
    all_lags[:, 0, 0] = 1
    for place, noise in zip(all_lags, found, strict=True):
        place[: len(noise.correlation), : len(noise.correlation)] = noise.correlation
    strongest = [noise.strongest for noise in found]
    return SharedNoise(
        tuple(tuple(row) for row in all_lags.mean(0).tolist()),
        float(np.mean([noise.share for noise in found])),
        float(np.mean([noise.excess for noise in found])),
        max(strongest) - min(strongest) <= _MOST_DIFFERENT,
    )


def _samples(frames: Frames) -> Iterator[NDArray[Any]]:
    """Read frames spread over a stack, and yield windows on their diagonal; frames that cannot be read are left out."""
    is_large = frames.frame_shape[0] * frames.frame_shape[1] > _LARGE
    chosen = [len(frames) // 2] if is_large else evenly_spaced(range(len(frames)), SAMPLES)
    windows = SAMPLES if len(chosen) < SAMPLES and max(frames.frame_shape) > WINDOW else 1
    for number, index in enumerate(chosen):
        # restoring the frame says what is wrong with it
        with suppress(InputError):
            # not of a subclass, which may note what was read
            frame = Frames.__getitem__(frames, index)
            for place in range(windows):
                yield _window(frame, (number * windows + place + 1) / (len(chosen) * windows + 1))


def _window(image: NDArray[Any], share: float = 0.5) -> NDArray[Any]:
    """Return the window of an image (Y, X) at a share of the way along its diagonal."""
    rows, columns = (
        slice(start, start + WINDOW) for start in (round(share * max(0, size - WINDOW)) for size in image.shape)
    )
    return image[rows, columns]


def _measured(image: NDArray[Any]) -> SharedNoise | None:
    finite = image[has_value(image)]
    if not finite.size or min(image.shape) < SMALLEST:
        return None
    normalization = PercentileNormalization()
    low, high = percentiles(finite, normalization.low, normalization.high)
    if not high > low:
        return None
    noise = estimate_noise(image)
    variance = float(np.mean(noise.variance(finite)))
    if not variance > 0:
        return None
    return SharedNoise(noise.correlation, variance**0.5 / (high - low), _excess(image, noise), is_alike=True)


def _excess(image: NDArray[Any], noise: NoiseModel) -> float:
    """Return the variance within 2 x 2 px, the median over blocks, relative to what it is for such noise alone."""
    height, width = (size // BLOCK * BLOCK for size in image.shape)
    whole = image[:height, :width].astype(np.float64)
    # a block with a pixel without a value has none either
    small = np.where(has_value(whole), whole, np.nan).reshape(height // 2, 2, width // 2, 2)
    within, means = (
        each.reshape(height // BLOCK, BLOCK // 2, width // BLOCK, BLOCK // 2).mean((1, 3))
        for each in (small.var((1, 3)), small.mean((1, 3)))
    )
    lags = np.zeros((2, 2))
    known = np.array(noise.correlation)[:2, :2]
    lags[: len(known), : len(known)] = known
    expected = noise.variance(means) * max(1 - lags.mean(), _LEAST_WITHIN)
    relative = within / expected
    return float(np.median(relative[np.isfinite(relative)])) if np.isfinite(relative).any() else np.inf
