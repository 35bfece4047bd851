"""A network that another tool has packed as a program: what there is to know of it to run it tile by tile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.errors import ComputeError
from napari_care_losses.parameters import Parameters, parameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

TORCHSCRIPT, ONNX = "torchscript", "onnx"
PROGRAMS = (TORCHSCRIPT, ONNX)
"""Kinds of programs: TorchScript is code, run only after the user agreed; ONNX is a graph of known operators."""

TENSOR = "program"
"""Name of the one tensor (bytes) in a model file that holds a program."""

NO_BOUND = 1e30
"""In place of a bound of what is clipped: none."""


@dataclass(frozen=True, kw_only=True)
class Program(Parameters):
    """A foreign network: its kind, how tiles are handed to it, and how far it sees."""

    kind: str = parameter(TORCHSCRIPT, "Kind", "What the program is written in.", choices=PROGRAMS)
    sha256: str = parameter("", "SHA-256", "Digest of the program.")
    axes_in: str = parameter("bcyx", "Axes", "Axes of what goes in, a letter each; y, x and others of size 1.")
    axes_out: str = parameter("bcyx", "Axes", "Axes of what comes out.")
    block: int = parameter(1, "Block", "Step of the sizes it takes.", unit="px", low=1, high=4096)
    smallest: int = parameter(1, "Smallest", "Smallest size it takes.", unit="px", low=1, high=16384)
    size: int = parameter(0, "Size", "The only size it takes; 0 for any.", unit="px", low=0, high=16384)
    margin: int = parameter(0, "Margin", "How far it sees, a multiple of the block.", unit="px", low=0, high=16384)
    gain: float = parameter(1.0, "Gain", "Normalised tiles are multiplied by this,")
    offset: float = parameter(0.0, "Offset", "this is added,")
    lowest: float = parameter(-NO_BOUND, "Lowest", "and the result is clipped to this")
    highest: float = parameter(NO_BOUND, "Highest", "and this; what comes out is divided and subtracted from likewise.")

    @property
    def memory_per_pixel(self) -> int:
        """Bytes of working memory for every pixel of a tile: as a network of 64 first filters; it is not known."""
        return 20 * 64

    @property
    def cost_per_pixel(self) -> float:
        """What a pixel costs, in multiply-adds up to a factor: as CARE's network with 64 filters; it is not known."""
        return float((64 * 5) ** 2 * 3)

    @property
    def predicts_scale(self) -> bool:
        """Whether it gives the Laplace scale of every pixel too: never."""
        return False

    def valid(self, size: int) -> int:
        """Return the smallest size that the network takes and an image of `size` pixels fits into."""
        if self.size:
            return self.size
        return self.smallest + -(-max(0, size - self.smallest) // self.block) * self.block

    def entering(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a normalised tile (Y, X) as the network takes it: of a valid size, scaled, its axes in order."""
        missing = [(0, self.valid(size) - size) for size in tile.shape]
        image = np.pad(tile, missing, mode="symmetric") * np.float32(self.gain) + np.float32(self.offset)
        image = image.clip(self.lowest, self.highest)
        if _is_turned(self.axes_in):
            image = image.T
        sizes = iter(image.shape)
        shaped = image.reshape([next(sizes) if axis in "yx" else 1 for axis in self.axes_in])
        return np.ascontiguousarray(shaped, dtype=np.float32)

    def leaving(self, made: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return what the network made of a tile (Y, X) of this shape, in normalised units.

        Raises
        ------
        ComputeError
            If it made something else than an image of the same size, or one that is not finite.
        """
        sizes = {axis: self.valid(size) for axis, size in zip("yx", shape, strict=True)}
        expected = tuple(sizes.get(axis, 1) for axis in self.axes_out)
        if made.shape != expected:
            raise ComputeError(f"The network gave an array of shape {made.shape} where {expected} was expected.")
        image = made.reshape([size for axis, size in zip(self.axes_out, made.shape, strict=True) if axis in "yx"])
        if _is_turned(self.axes_out):
            image = image.T
        image = (image[: shape[0], : shape[1]].astype(np.float32) - np.float32(self.offset)) / np.float32(self.gain)
        if not np.isfinite(image).all():
            raise ComputeError("The network gave NaN or infinite values.")
        return image


def _is_turned(axes: str) -> bool:
    return axes.index("x") < axes.index("y")
