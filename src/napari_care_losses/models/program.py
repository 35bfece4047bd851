"""External networks: programs of other tools, and what is needed to run them tile by tile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from napari_care_losses.errors import ComputeError
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.parameters import Parameters, parameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

TORCHSCRIPT, ONNX = "torchscript", "onnx"
PROGRAMS = (TORCHSCRIPT, ONNX)
"""Kinds of programs: TorchScript is code, run only after the user agreed; ONNX is a graph of known operators."""

TENSOR = "program"
"""Name of the one tensor (bytes) in the model file of an external network."""

NO_BOUND = 1e30
"""Stands for no bound on clipping."""


@dataclass(frozen=True, kw_only=True)
class Program(Parameters):
    """An external network: its kind, the form of its input and result, and its receptive field."""

    kind: str = parameter(TORCHSCRIPT, "Kind", "The program's format.", choices=PROGRAMS)
    sha256: str = parameter("", "SHA-256", "Digest of the program.")
    axes_in: str = parameter("bcyx", "Axes", "Axes of the input, one letter each: y, x and others of size 1.")
    axes_out: str = parameter("bcyx", "Axes", "Axes of the result.")
    block: int = parameter(1, "Block", "Step of the sizes it takes.", unit="px", low=1, high=4096)
    smallest: int = parameter(1, "Smallest", "Smallest size it takes.", unit="px", low=1, high=16384)
    size: int = parameter(0, "Size", "The only size it takes; 0 for any.", unit="px", low=0, high=16384)
    margin: int = parameter(
        0, "Margin", "Radius of the receptive field, a multiple of the block.", unit="px", low=0, high=16384
    )
    gain: float = parameter(1.0, "Gain", "Normalised tiles are multiplied by this,")
    offset: float = parameter(0.0, "Offset", "this is added,")
    lowest: float = parameter(-NO_BOUND, "Lowest", "and the result is clipped to this")
    highest: float = parameter(NO_BOUND, "Highest", "and this. The result is scaled back.")

    # Memory and cost are unknown: those of CARE with 64 first filters.
    memory_per_pixel: ClassVar[int] = Architecture(filters=64).memory_per_pixel
    cost_per_pixel: ClassVar[float] = Architecture(filters=64).cost_per_pixel
    predicts_scale: ClassVar[bool] = False
    neighbours: ClassVar[int] = 0

    def valid(self, size: int) -> int:
        """Return the smallest size that the network takes and that holds an image of `size` pixels."""
        if self.size:
            return self.size
        return self.smallest + -(-max(0, size - self.smallest) // self.block) * self.block

    def to_input(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a normalised tile (Y, X) as the network takes it: of a valid size, scaled, its axes in order."""
        missing = [(0, self.valid(size) - size) for size in tile.shape]
        image = np.pad(tile, missing, mode="symmetric") * np.float32(self.gain) + np.float32(self.offset)
        image = image.clip(self.lowest, self.highest)
        if _is_turned(self.axes_in):
            image = image.T
        sizes = iter(image.shape)
        shaped = image.reshape([next(sizes) if axis in "yx" else 1 for axis in self.axes_in])
        return np.ascontiguousarray(shaped, dtype=np.float32)

    def from_result(self, result: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return the network's result for a tile (Y, X) of this shape, in normalised units.

        Raises
        ------
        ComputeError
            If it is not an image of the same size, or not finite.
        """
        sizes = {axis: self.valid(size) for axis, size in zip("yx", shape, strict=True)}
        expected = tuple(sizes.get(axis, 1) for axis in self.axes_out)
        if result.shape != expected:
            raise ComputeError(f"The network gave an array of shape {result.shape} where {expected} was expected.")
        image = result.reshape([size for axis, size in zip(self.axes_out, result.shape, strict=True) if axis in "yx"])
        if _is_turned(self.axes_out):
            image = image.T
        image = (image[: shape[0], : shape[1]].astype(np.float32) - np.float32(self.offset)) / np.float32(self.gain)
        if not np.isfinite(image).all():
            raise ComputeError("The network gave NaN or infinite values.")
        return image


Network = Architecture | Program
"""What can be run tile by tile."""


def _is_turned(axes: str) -> bool:
    return axes.index("x") < axes.index("y")
