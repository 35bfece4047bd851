"""The CARE network as an OpenVINO graph, in float32 or with 8-bit convolutions."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
import torch
from openvino import opset13 as operations

from napari_care_losses.models.unet import SCALE_FLOOR, upsampled_kernel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_care_losses.models.architecture import Architecture

ACTIVATION_LEVELS, WEIGHT_LEVELS = 256, 255
"""Steps of 8-bit numbers: activations are never negative, weights lie symmetrically around zero."""

IN_FLOAT = ("down.0.0", "mean", "scale")
"""Convolutions that stay in float32: the one that reads the image, and the heads, which make the result."""


def build_graph(
    architecture: Architecture,
    weights: Mapping[str, Tensor],
    shape: tuple[int, ...],
    *,
    ranges: Mapping[str, float] | None = None,
    is_watched: bool = False,
) -> openvino.Model:
    """Return the network for tiles of one shape.

    Parameters
    ----------
    architecture : Architecture
        Depth, kernel size, filters and heads.
    weights : dict of str to Tensor
        The parameters of `napari_care_losses.models.unet.CareNetwork`, by its names.
    shape : tuple of int
        (Y, X) of the tiles.
    ranges : dict of str to float, optional
        By the name of a convolution, the largest value after its ReLU. Given, all convolutions but `IN_FLOAT` compute
        in 8 bits.
    is_watched : bool
        Return instead of the restored tile the largest value of every channel after each ReLU, one output a
        convolution, named after it.

    Returns
    -------
    openvino.Model
        From (1, 1, Y, X) to the mean and, where the architecture has it, the scale.
    """
    builder = _Builder(weights, ranges or {})
    image = operations.parameter((1, 1, *shape), np.float32, name="image")
    features, skips = image, []
    for level in range(architecture.depth):
        for number in range(2):
            features = builder.activated(f"down.{level}.{number}", features)
        skips.append(features)
        features = operations.max_pool(
            features, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2], "floor", "explicit", "i64"
        ).output(0)
    for number in range(2):
        features = builder.activated(f"middle.{number}", features)
    for level in range(architecture.depth):
        features = builder.merged(f"up.{level}.0", features, skips.pop())
        features = builder.activated(f"up.{level}.1", features)
    if is_watched:
        largest = [operations.reduce_max(activation, [0, 2, 3]) for activation in builder.activations.values()]
        for name, node in zip(builder.activations, largest, strict=True):
            node.output(0).set_names({name})
        return openvino.Model(largest, [image], "watched")
    mean = builder.convolved("mean", features)
    outputs = [operations.add(mean, image) if architecture.residual else mean]
    if architecture.predicts_scale:
        scale = operations.softplus(builder.convolved("scale", features))
        outputs.append(operations.add(scale, _constant(SCALE_FLOOR)))
    return openvino.Model(outputs, [image], "care")


@lru_cache(maxsize=1)
def weight_room() -> float:
    """Return the range of a filter's weights over its largest: 2 where this processor would overflow with 1.

    Processors without VNNI add two products in 16 bits, which overflow where activations and weights both fill their
    range (40 dB of the float32 result instead of 53 on one Laplace model). OpenVINO does not tell, so it is tried.
    """
    most, largest, channels = ACTIVATION_LEVELS - 1, WEIGHT_LEVELS // 2, 32
    image = operations.parameter((1, channels, 8, 8), np.float32)
    bound = np.full(channels, largest)
    kernel = _quantized(_constant(np.full((channels, channels, 3, 3), largest)), -bound, bound, WEIGHT_LEVELS)
    convolution = operations.convolution(
        _quantized(image, 0, most, ACTIVATION_LEVELS), kernel, [1, 1], [0, 0], [0, 0], [1, 1]
    )
    compiled = openvino.Core().compile_model(
        openvino.Model([convolution], [image], "overflow"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    result = compiled([np.full((1, channels, 8, 8), most, np.float32)])[0]
    return 1.0 if np.allclose(result, 9 * channels * largest * most) else 2.0


class _Builder:
    """Makes the nodes of a graph from the parameters of a network, by their names there.

    Attributes
    ----------
    activations : dict of str to node
        What every convolution gives after its ReLU.
    """

    def __init__(self, weights: Mapping[str, Tensor], ranges: Mapping[str, float]) -> None:
        self._weights, self._ranges = weights, ranges
        self.activations: dict[str, Any] = {}

    def convolved(self, name: str, features: Any) -> Any:
        """Return a convolution with its bias."""
        return operations.add(self._convolution(name, features, self._weights[f"{name}.weight"]), self._bias(name))

    def activated(self, name: str, features: Any) -> Any:
        """Return a convolution after its ReLU, in 8 bits where a range is given."""
        return self._activation(name, self.convolved(name, features))

    def merged(self, name: str, coarse: Any, skip: Any) -> Any:
        """Return the convolution of upsampled and skipped features after its ReLU, the former on the coarse grid."""
        weight = self._weights[f"{name}.weight"]
        if weight.shape[-1] % 4 == 3:
            # An even kernel on the coarse grid, whose result must be cropped: slower than what it saves.
            return self.activated(name, operations.concat([_upsampled(coarse), skip], 1))
        own = weight.shape[1] - skip.get_output_partial_shape(0)[1].get_length()
        kernel = upsampled_kernel(weight[:, :own])
        upsampled = operations.depth_to_space(self._convolution(name, coarse, kernel), "depth_first", 2)
        skipped = operations.add(self._convolution(name, skip, weight[:, own:]), self._bias(name))
        return self._activation(name, operations.add(skipped, upsampled))

    def _activation(self, name: str, features: Any) -> Any:
        activation = self.activations[name] = operations.relu(features)
        if name not in self._ranges:
            return activation
        return _quantized(activation, 0.0, self._ranges[name], ACTIVATION_LEVELS)

    def _convolution(self, name: str, features: Any, weight: Tensor) -> Any:
        kernel: Any = _constant(weight)
        padding = [weight.shape[-1] // 2] * 2
        if self._ranges and name not in IN_FLOAT:
            bound = weight_room() * np.abs(weight.numpy()).max(axis=(1, 2, 3))
            bound[bound == 0] = 1
            kernel = _quantized(kernel, -bound, bound, WEIGHT_LEVELS)
        return operations.convolution(features, kernel, [1, 1], padding, padding, [1, 1])

    def _bias(self, name: str) -> Any:
        return _constant(self._weights[f"{name}.bias"].reshape(1, -1, 1, 1))


def _upsampled(node: Any) -> Any:
    return operations.interpolate(
        node,
        operations.constant(np.array([2.0, 2.0], np.float32)),
        "nearest",
        "scales",
        axes=operations.constant(np.array([2, 3])),
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def _quantized(node: Any, low: Any, high: Any, levels: int) -> Any:
    bounds = [operations.constant(np.asarray(bound, np.float32).reshape(-1, 1, 1, 1)) for bound in (low, high)]
    return operations.fake_quantize(node, *bounds, *bounds, levels)


def _constant(values: Tensor | NDArray[Any] | float) -> Any:
    array = values.detach().numpy() if isinstance(values, torch.Tensor) else values
    return operations.constant(np.array(array, np.float32))
