"""The shape of a CARE network, known without torch: presets, block size and receptive-field margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from napari_care_losses.errors import ParameterError
from napari_care_losses.parameters import Parameters, parameter


class Local(Protocol):
    """What there is to know of whatever makes pixels from pixels near them, to cut images into tiles for it."""

    @property
    def block(self) -> int:
        """Number of pixels that image sizes and tile positions must be multiples of."""

    @property
    def margin(self) -> int:
        """Distance in pixels from which an input pixel can still reach an output pixel, rounded up to `block`."""


class Tiled(Local, Protocol):
    """What there is to know of a network to run it tile by tile."""

    @property
    def memory_per_pixel(self) -> int:
        """Bytes of working memory for every pixel of a tile."""

    @property
    def cost_per_pixel(self) -> float:
        """What a pixel costs, in multiply-adds up to a factor."""

    @property
    def predicts_scale(self) -> bool:
        """Whether it gives the Laplace scale of every pixel too."""


@dataclass(frozen=True, kw_only=True)
class Architecture(Parameters):
    """Size and heads of a `CareNetwork`."""

    depth: int = parameter(2, "Depth", "Number of times the image is halved.", low=1, high=6)
    kernel_size: int = parameter(
        5, "Kernel size", "Width of every convolution, an odd number.", unit="px", low=1, high=15
    )
    filters: int = parameter(32, "First filters", "Filters of the first convolution.", low=1, high=256)
    residual: bool = parameter(True, "Residual", "Whether the input is added to the output.")
    predicts_scale: bool = parameter(False, "Predicts scale", "Whether a second head gives the Laplace scale.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel_size % 2 == 0:
            raise ParameterError(f"kernel_size must be odd, found {self.kernel_size}.")

    @property
    def block(self) -> int:
        """Number of pixels that image sizes and tile positions must be multiples of."""
        return 1 << self.depth

    @property
    def memory_per_pixel(self) -> int:
        """Bytes of working memory for every pixel of a tile: measured, 13 to 19 a first filter on every engine."""
        return 20 * self.filters

    @property
    def step_memory_per_pixel(self) -> int:
        """Bytes of a training step for every pixel of its patches: measured, 55 to 63 a first filter on processors."""
        return 60 * self.filters

    @property
    def cost_per_pixel(self) -> float:
        """What a pixel costs, in multiply-adds up to a factor.

        Every halving quarters the pixels and doubles the filters, so that every level costs the same.
        """
        return float((self.filters * self.kernel_size) ** 2 * (self.depth + 1))

    @property
    def margin(self) -> int:
        """Distance in pixels from which an input pixel can still reach an output pixel, rounded up to `block`.

        A tile restored with this margin on every side equals the whole image. The reach is that of two convolutions a
        level, twice where the path goes down and up again, plus what pooling to the coarser grid adds; measured
        on all-positive networks in ``tests/models/test_unet.py``.
        """
        radius = self.kernel_size // 2
        convolutions = sum(2 * 2 * (radius << level) for level in range(self.depth)) + 2 * radius * self.block
        reach = convolutions + self.block - 1
        return -(-reach // self.block) * self.block


PRESETS: dict[str, Architecture] = {
    "care": Architecture(),
    "lite": Architecture(kernel_size=3, filters=16),
    "deep": Architecture(kernel_size=3, filters=16, depth=3),
}
"""Named sizes: ``care`` is CSBDeep's default; ``lite`` costs an eleventh of it per pixel; ``deep``, an eighth,
sees twice as far as ``lite``."""
