"""The CARE network as an ONNX graph, for any batch and image size.

Built node by node: the graph is small, and torch's own exporters change their form with its version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.models.architecture import BLENDING, HEAD, PACKING, POOLING, SCALE_FLOOR, UNPACKING, run_layers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_care_losses.models.architecture import Architecture, Layer
    from napari_care_losses.models.model import Model

OPSET = 13
"""Version of the operators; old enough for the programs in Java and C++ that run such files."""

IR_VERSION = 7

_NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
_LINEAR = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}


def onnx_model(model: Model, input_name: str, output_names: list[str]) -> bytes:
    """Return a model as ONNX; its input is (batch, 1 + neighbours, y, x), normalised.

    The outputs are the restored image and, for models that predict it, the scale.
    """
    import onnx
    from onnx import helper

    graph = _Graph(model.arrays)
    architecture = model.card.care
    seen = graph.seen(input_name, architecture)
    heads = run_layers(architecture.layers(), seen, graph.result)
    mean = heads["mean"]
    if architecture.residual:
        own = architecture.own_channel
        image = graph.channels(seen, own, own + 1) if architecture.neighbours else seen
        mean = graph.add("Add", [mean, image])
    graph.add("Identity", [mean], output=output_names[0])
    if architecture.predicts_scale:
        floor = graph.constant("floor", np.array(SCALE_FLOOR, np.float32))
        graph.add("Add", [graph.add("Softplus", [heads["scale"]]), floor], output=output_names[1])

    def tensor(name: str, channels: int = 1) -> Any:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", channels, "y", "x"])

    made = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "care",
            [tensor(input_name, architecture.channels_in)],
            [tensor(name) for name in output_names],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="napari-care-losses",
    )
    onnx.checker.check_model(made, full_check=True)
    serialized: bytes = made.SerializeToString()
    return serialized


class _Graph:
    """Collects nodes and constants, in ONNX' own classes."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self._weights = weights
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def result(self, layer: Layer, features: str, skip: str | None) -> str:
        """Return the name of a layer's result, see `run_layers`."""
        if layer.kind == POOLING:
            features = self.add("MaxPool", [features], kernel_shape=[2, 2], strides=[2, 2])
        elif layer.kind == PACKING:
            features = self.add("SpaceToDepth", [features], blocksize=2)
        if skip is not None and layer.kind == UNPACKING:
            unpacked = self.add("DepthToSpace", [features], blocksize=2, mode="CRD")
            features = self.add("Concat", [unpacked, skip], axis=1)
        elif skip is not None:
            if not any(constant.name == "doubled" for constant in self.constants):
                self.constant("doubled", np.array([1, 1, 2, 2], np.float32))
            doubling = _LINEAR if layer.kind == BLENDING else _NEAREST
            upsampled = self.add("Resize", [features, "", "doubled"], **doubling)
            features = self.add("Concat", [upsampled, skip], axis=1)
        kernel = self._weights[f"{layer.name}.weight"]
        if layer.kind == PACKING:
            # ONNX sorts the channels by their place among the 2 x 2 pixels first
            filters, _, *width = kernel.shape
            kernel = kernel.reshape(filters, -1, 4, *width).swapaxes(1, 2).reshape(kernel.shape)
        weight = self.constant(f"{layer.name}.weight", kernel)
        bias = self.constant(f"{layer.name}.bias", self._weights[f"{layer.name}.bias"])
        size = layer.kernel_size
        convolved = self.add("Conv", [features, weight, bias], kernel_shape=[size, size], pads=[size // 2] * 4)
        return convolved if layer.kind == HEAD else self.add("Relu", [convolved])

    def seen(self, image: str, architecture: Architecture) -> str:
        """Return the name of the channels that the network sees."""
        if not architecture.is_blind:
            return image
        own = architecture.own_channel
        around = self.add("Add", [self.channels(image, own - 1, own), self.channels(image, own + 1, own + 2)])
        between = self.add("Mul", [around, self.constant("half", np.array(0.5, np.float32))])
        parts = [self.channels(image, 0, own), between, self.channels(image, own + 1, architecture.channels_in)]
        return self.add("Concat", parts, axis=1)

    def channels(self, image: str, start: int, stop: int) -> str:
        """Return the name of some channels of an image."""
        number = len(self.constants)
        bounds = [
            self.constant(f"slice_{number}_{name}", np.array([value]))
            for name, value in (("start", start), ("stop", stop), ("axis", 1))
        ]
        return self.add("Slice", [image, *bounds])

    def constant(self, name: str, value: NDArray[np.float32]) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, kind: str, inputs: list[str], *, output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output
