"""What is done to frames after the camera: filters, interpolation, compression, stretches to 8 bits, uneven rows.

Most of it makes the noise of neighbouring pixels correlate.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import affine_transform, convolve1d, gaussian_filter1d, median_filter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.simulation.cells import FloatImage

KINDS = ("none", "smoothed", "along x", "interpolated", "compressed", "median")
"""What may have been done to a frame, in the order of `SHARES`."""
SHARES = (0.42, 0.24, 0.12, 0.12, 0.06, 0.04)


@dataclass(frozen=True, kw_only=True)
class Processing:
    """What was done to the frames of one recording.

    `linear` is what noise and image go through alike; the rest (compression, median, rows, stretch) only a noisy frame
    goes through.
    """

    kind: str = "none"
    """One of `KINDS`."""
    kernel_y: tuple[float, ...] = (1.0,)
    """Filter along y, and along x: weights of sum 1, their number odd."""
    kernel_x: tuple[float, ...] = (1.0,)
    matrix: tuple[tuple[float, float], tuple[float, float]] | None = None
    """Rotation and magnification of an interpolated frame, and its order: 1 is linear, 3 cubic."""
    order: int = 1
    quality: int = 90
    """Of JPEG, 1 to 95."""
    rows: float = 0.0
    """Standard deviation of the offsets of rows, and of columns, relative to the noise of a pixel."""
    columns: float = 0.0
    saturated: float | None = None
    """Percentage of pixels that an 8-bit stretch cuts off at either end; None keeps the grey levels."""

    @classmethod
    def drawn(cls, rng: np.random.Generator, *, most_correlation: float = 1.0) -> Processing:
        """Draw what was done to a recording, again until its `correlation` is at most this: nothing in two of five."""
        made = cls._drawn(rng)
        while made.correlation > most_correlation:
            made = cls._drawn(rng)
        return made

    @classmethod
    def _drawn(cls, rng: np.random.Generator) -> Processing:
        kind = str(rng.choice(KINDS, p=SHARES))
        values: dict[str, object] = {"kind": kind}
        if kind == "smoothed":
            kernel = _drawn_kernel(rng)
            values |= {"kernel_y": kernel, "kernel_x": kernel}
        elif kind == "along x":
            values["kernel_x"] = _drawn_kernel(rng)
        elif kind == "interpolated":
            zoom = 1 / rng.uniform(1.0, 1.8)
            angle = rng.uniform(-np.pi, np.pi) if rng.random() < 0.5 else 0.0
            cos, sin = float(zoom * np.cos(angle)), float(zoom * np.sin(angle))
            values |= {"matrix": ((cos, -sin), (sin, cos)), "order": int(rng.choice([1, 1, 3]))}
        elif kind == "compressed":
            values["quality"] = int(rng.integers(50, 96))
        if rng.random() < 0.12:
            values["rows"] = float(rng.uniform(0.05, 0.5))
        if rng.random() < 0.06:
            values["columns"] = float(rng.uniform(0.05, 0.4))
        if kind == "compressed" or rng.random() < 0.5:
            values["saturated"] = float(10 ** rng.uniform(-3, -0.3))
        return cls(**values)  # type: ignore[arg-type]

    @property
    def correlation(self) -> float:
        """How white noise correlates between neighbours after the filters, the larger of both axes.

        Interpolation and medians count as 1, compression is left out.
        """
        if self.kind in ("interpolated", "median"):
            return 1.0
        return max(_neighbour_correlation(kernel) for kernel in (self.kernel_y, self.kernel_x))

    @property
    def noise_power(self) -> float:
        """Variance of white noise of variance 1 after the filters, interpolation left out."""
        return float(np.square(self.kernel_y).sum() * np.square(self.kernel_x).sum())

    def linear(self, image: NDArray[np.floating]) -> FloatImage:
        """Filter or interpolate an image (Y, X)."""
        made = np.asarray(image, dtype=np.float32)
        if self.matrix is not None:
            matrix, middle = np.array(self.matrix), (np.array(made.shape) - 1) / 2
            made = affine_transform(made, matrix, middle - matrix @ middle, order=self.order, mode="mirror")
        for axis, kernel in enumerate((self.kernel_y, self.kernel_x)):
            if len(kernel) > 1:
                made = convolve1d(made, np.array(kernel, np.float32), axis=axis, mode="mirror")
        return made

    def recorded(self, noisy: NDArray[np.floating], noise: float, rng: np.random.Generator) -> FloatImage:
        """Return a noisy frame (Y, X) as it is stored; `noise` is the standard deviation that `rows` refer to."""
        made = self.linear(noisy)
        for spread, shape in ((self.rows, (made.shape[0], 1)), (self.columns, (1, made.shape[1]))):
            if spread:
                made = made + np.float32(spread * noise) * rng.standard_normal(shape, dtype=np.float32)
        if self.kind == "median":
            made = median_filter(made, 3, mode="mirror")
        if self.saturated is not None:
            dark, bright = np.percentile(made, [self.saturated, 100 - self.saturated])
            made = np.rint(np.clip((made - dark) / max(bright - dark, 1e-6), 0, 1) * np.float32(255))
        if self.kind == "compressed":
            made = _compressed(made, self.quality)
        return np.asarray(made, dtype=np.float32)


def _neighbour_correlation(kernel: tuple[float, ...]) -> float:
    weights = np.array(kernel)
    return float(weights[1:] @ weights[:-1] / (weights @ weights))


def _drawn_kernel(rng: np.random.Generator) -> tuple[float, ...]:
    """Draw a narrow Gaussian, one with wide tails, or a running mean of two or three pixels."""
    impulse = np.zeros(17)
    impulse[8] = 1
    if rng.random() < 0.15:
        kernel = np.convolve(impulse, rng.choice([0.5, 0.25]) * np.array([1.0, 1.0]), "same")
        kernel = kernel + kernel[::-1]
    else:
        kernel = gaussian_filter1d(impulse, rng.uniform(0.35, 1.2))
        if rng.random() < 0.5:
            share = rng.uniform(0, 0.5)
            kernel = (1 - share) * kernel + share * gaussian_filter1d(impulse, rng.uniform(0.8, 2.0))
    kernel = kernel / kernel.sum()
    return tuple(float(weight) for weight in kernel)


def _compressed(levels: FloatImage, quality: int) -> FloatImage:
    from PIL import Image

    stored = io.BytesIO()
    Image.fromarray(levels.astype(np.uint8)).save(stored, "JPEG", quality=quality)
    return np.asarray(Image.open(stored), dtype=np.float32)
