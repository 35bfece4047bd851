"""The CARE network as an OpenVINO graph, in float32 or with 8-bit convolutions."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
from openvino import opset13 as operations

from napari_care_losses.models.architecture import BLENDING, HEAD, PACKING, POOLING, SCALE_FLOOR, UNPACKING, run_layers
from napari_care_losses.models.upsampling import upsampled_kernel
from napari_care_losses.restoration.engines.int8 import readers_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_care_losses.models.architecture import Architecture, Layer
    from napari_care_losses.restoration.engines.int8 import Reading

ACTIVATION_LEVELS, WEIGHT_LEVELS = 256, 255
"""Numbers of values in 8 bits: activations are never negative, weights lie symmetrically around zero."""


def build_graph(
    architecture: Architecture,
    weights: Mapping[str, NDArray[np.float32]],
    shape: tuple[int, ...],
    *,
    ranges: Mapping[Reading, float] | None = None,
    is_watched: bool = False,
) -> openvino.Model:
    """Return the network for tiles of one shape (Y, X): to the mean and, if it has it, the scale.

    From (1, 1, Y, X), or (1, 1 + neighbours, Y, X).

    Parameters
    ----------
    weights : dict of str to float32 array
        The parameters of `napari_care_losses.models.unet.CareNetwork`, by its names.
    ranges : dict of Reading to float, optional
        The largest value of what is read in 8 bits. Layers that read nothing else compute in 8 bits.
    is_watched : bool
        Whether the outputs are not the restored tile but the largest value of every channel after each ReLU, named
        after their layers.
    """
    builder = _Builder(architecture, weights, ranges or {})
    image = operations.parameter((1, architecture.channels_in, *shape), np.float32, name="image")
    seen = _seen(image, architecture)
    heads = run_layers(architecture.layers(), seen, builder.result)
    if is_watched:
        largest = [operations.reduce_max(activation, [0, 2, 3]) for activation in builder.activations.values()]
        for name, node in zip(builder.activations, largest, strict=True):
            node.output(0).set_names({name})
        return openvino.Model(largest, [image], "watched")
    outputs = [operations.add(heads["mean"], _own(seen, architecture)) if architecture.residual else heads["mean"]]
    if architecture.predicts_scale:
        outputs.append(operations.add(operations.softplus(heads["scale"]), _constant(SCALE_FLOOR)))
    return openvino.Model(outputs, [image], "care")


@lru_cache(maxsize=1)
def weight_room() -> float:
    """Return the range of a filter's 8-bit weights, relative to the largest of them: 2 on CPUs that overflow with 1.

    CPUs without VNNI add two products in 16 bits, which overflow where activations and weights both fill their range.
    OpenVINO does not say which CPUs do, so this function tries it.
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
    """Makes the nodes of a graph from the parameters of a network, by their names there."""

    def __init__(
        self, architecture: Architecture, weights: Mapping[str, NDArray[np.float32]], ranges: Mapping[Reading, float]
    ) -> None:
        # tensors, of a calibration, are taken as arrays
        self._weights, self._ranges = {name: np.asarray(values) for name, values in weights.items()}, ranges
        # results that some layer reads in float32, which may read them in 8 bits
        self._stay_float = {
            source
            for source, readers in readers_of(architecture).items()
            if any((reader, source) not in ranges for reader, _ in readers)
        }
        self._rounded: dict[str, Any] = {}
        self.activations: dict[str, Any] = {}  # results of the layers after their ReLU, by name

    def result(self, layer: Layer, features: Any, skip: Any) -> Any:
        """Return a layer's result, see `run_layers`; in 8 bits where ranges are given."""
        weight, own = self._weights[f"{layer.name}.weight"], layer.channels_in - layer.skip_channels
        is_8_bit = (layer.name, layer.source) in self._ranges
        if layer.kind == POOLING and layer.source in self._stay_float:
            # others read it in float32: a quarter of it is left to be rounded
            features = self._read(layer, f"pooled {layer.source}", _pooled(features), layer.source)
        else:
            features = self._read(layer, layer.source, features)
            features = _pooled(features) if layer.kind == POOLING else features
        if layer.kind == PACKING:
            features = operations.space_to_depth(features, "depth_first", 2)
        elif layer.kind == UNPACKING:
            features = operations.depth_to_space(features, "depth_first", 2)
        if skip is None:
            convolved = self._convolution(features, weight, is_8_bit)
        else:
            skips_8_bit, skip = (layer.name, layer.skip) in self._ranges, self._read(layer, layer.skip, skip)
            # Repeated pixels: an even kernel on the coarse grid, whose result must be cropped, is slower than these.
            is_fine = layer.kind in (BLENDING, UNPACKING) or layer.kernel_size % 4 == 3
            features = _upsampled(features, layer.kind) if is_fine and layer.kind != UNPACKING else features
            # an unpacked image has few channels: joining them with the others takes longer than adding two results
            if is_fine and is_8_bit == skips_8_bit and layer.kind != UNPACKING:
                convolved = self._convolution(operations.concat([features, skip], 1), weight, is_8_bit)
            elif is_fine:
                convolved = operations.add(
                    self._convolution(features, weight[:, :own], is_8_bit),
                    self._convolution(skip, weight[:, own:], skips_8_bit),
                )
            else:
                # what is upsampled is convolved on the coarse grid
                coarse = self._convolution(features, upsampled_kernel(weight[:, :own]), is_8_bit)
                upsampled = operations.depth_to_space(coarse, "depth_first", 2)
                convolved = operations.add(self._convolution(skip, weight[:, own:], skips_8_bit), upsampled)
        convolved = operations.add(convolved, _constant(self._weights[f"{layer.name}.bias"].reshape(1, -1, 1, 1)))
        if layer.kind == HEAD:
            return convolved
        activation = self.activations[layer.name] = operations.relu(convolved)
        return activation

    def _read(self, layer: Layer, name: str, features: Any, source: str = "") -> Any:
        """Return what a layer reads: rounded to 8 bits where it is to be, once for all readers of one name."""
        reading = layer.name, source or name
        if reading not in self._ranges:
            return features
        if name not in self._rounded:
            self._rounded[name] = _quantized(features, 0.0, self._ranges[reading], ACTIVATION_LEVELS)
        return self._rounded[name]

    def _convolution(self, features: Any, weight: NDArray[np.float32], is_8_bit: bool) -> Any:
        kernel: Any = _constant(weight)
        padding = [weight.shape[-1] // 2] * 2
        if is_8_bit:
            bound = weight_room() * np.abs(weight).max(axis=(1, 2, 3))
            bound[bound == 0] = 1
            kernel = _quantized(kernel, -bound, bound, WEIGHT_LEVELS)
        return operations.convolution(features, kernel, [1, 1], padding, padding, [1, 1])


def _seen(image: Any, architecture: Architecture) -> Any:
    """Return the channels that the network sees: of a blind one, the mean of its neighbours in place of the frame."""
    if not architecture.is_blind:
        return image
    own = architecture.own_channel
    around = operations.add(_channels(image, own - 1, own), _channels(image, own + 1, own + 2))
    between = operations.multiply(around, _constant(0.5))
    parts = [_channels(image, 0, own), between, _channels(image, own + 1, architecture.channels_in)]
    return operations.concat(parts, 1)


def _own(image: Any, architecture: Architecture) -> Any:
    own = architecture.own_channel
    return _channels(image, own, own + 1) if architecture.neighbours else image


def _channels(image: Any, start: int, stop: int) -> Any:
    bounds = [operations.constant(np.array([value])) for value in (start, stop, 1, 1)]
    return operations.slice(image, *bounds)


def _pooled(node: Any) -> Any:
    pooled = operations.max_pool(node, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2], "floor", "explicit", "i64")
    return pooled.output(0)


def _upsampled(node: Any, kind: str) -> Any:
    mode, coordinates = ("linear_onnx", "half_pixel") if kind == BLENDING else ("nearest", "asymmetric")
    return operations.interpolate(
        node,
        operations.constant(np.array([2.0, 2.0], np.float32)),
        mode,
        "scales",
        axes=operations.constant(np.array([2, 3])),
        coordinate_transformation_mode=coordinates,
        nearest_mode="floor",
    )


def _quantized(node: Any, low: Any, high: Any, levels: int) -> Any:
    bounds = [operations.constant(np.asarray(bound, np.float32).reshape(-1, 1, 1, 1)) for bound in (low, high)]
    return operations.fake_quantize(node, *bounds, *bounds, levels)


def _constant(values: NDArray[Any] | float) -> Any:
    return operations.constant(np.array(values, np.float32))
