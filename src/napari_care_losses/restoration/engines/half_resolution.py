"""Runs a network at half resolution, for images whose noise correlates between neighbouring pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.restoration.engines.base import WrappingEngine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.models.architecture import Tileable
    from napari_care_losses.restoration.engines.base import Engine

# Cubic interpolation (Catmull-Rom) a quarter of a coarse pixel beside its middle; reads two coarse pixels around.
_WEIGHTS = (-0.0703125, 0.8671875, 0.2265625, -0.0234375)
_REACH = 2


@dataclass(frozen=True)
class HalfResolution:
    """What is needed to cut images into tiles for a network that runs at half resolution."""

    network: Tileable

    @property
    def block(self) -> int:
        """Number of pixels that image sizes and tile positions must be multiples of."""
        return 2 * self.network.block

    @property
    def margin(self) -> int:
        """Radius of the receptive field in pixels, that of the interpolation included, in whole blocks."""
        return 2 * (self.network.margin + -(-_REACH // self.network.block) * self.network.block)

    @property
    def memory_per_pixel(self) -> int:
        """Bytes of working memory for every pixel of a tile."""
        return self.network.memory_per_pixel // 4 + 32

    @property
    def cost_per_pixel(self) -> float:
        """Multiply-adds for every pixel, up to a factor."""
        return self.network.cost_per_pixel / 4


class HalfResolutionEngine(WrappingEngine):
    """Averages blocks of 2 x 2 pixels, runs them through another engine, and interpolates back to full size.

    The mean of a block has little of the noise's correlation left, which networks trained on uncorrelated noise take
    for structure. What is finer than two pixels is lost.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, reach=_REACH)
        self.architecture = HalfResolution(engine.architecture)

    def _before(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        return halved(image)

    def _after(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        return doubled(image)


def halved(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the means of blocks of 2 x 2 pixels of an image (..., Y, X) of even sizes.

    Examples
    --------
    >>> halved(np.float32([[1, 3, 5, 5], [1, 3, 5, 5]])).tolist()
    [[2.0, 5.0]]
    """
    *leading, height, width = image.shape
    blocks = image.reshape(*leading, height // 2, 2, width // 2, 2)
    means: NDArray[np.float32] = blocks.mean(axis=(-3, -1), dtype=np.float32)
    return means


def doubled(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image (Y, X) interpolated to twice its size, by cubic convolution along each axis.

    Pixel i becomes the pixels 2 i and 2 i + 1. Source: Keys 1981, doi:10.1109/TASSP.1981.1163711.

    Examples
    --------
    >>> ramp = np.arange(8, dtype=np.float32) * np.ones((8, 1), np.float32)
    >>> doubled(ramp)[8, 4:12].tolist()
    [1.75, 2.25, 2.75, 3.25, 3.75, 4.25, 4.75, 5.25]
    """
    return _doubled_along_x(_doubled_along_x(image).T).T


def _doubled_along_x(image: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = image.shape
    padded = np.pad(image, ((0, 0), (_REACH, _REACH)), mode="edge")
    made = np.zeros((height, width, 2), np.float32)
    for offset, weight in zip((1, 0, -1, -2), _WEIGHTS, strict=True):
        made[..., 0] += np.float32(weight) * padded[:, _REACH + offset : _REACH + offset + width]
        made[..., 1] += np.float32(weight) * padded[:, _REACH - offset : _REACH - offset + width]
    return made.reshape(height, 2 * width)
