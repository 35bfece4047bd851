"""The CARE network as an ONNX graph, for any batch and image size.

Built node by node: the graph is small, and torch's own exporters change their form with its version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.models.unet import SCALE_FLOOR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.models.model import Model

OPSET = 13
"""Of the operators; old enough for what runs such files in Java and C++."""

IR_VERSION = 7


def onnx_model(model: Model, input_name: str, output_names: list[str]) -> bytes:
    """Return a model as ONNX.

    Parameters
    ----------
    model : Model
        The model.
    input_name : str
        Name of the input, (batch, 1, y, x), normalised.
    output_names : list of str
        Name of the restored image and, for models that predict it, of the scale.
    """
    import onnx
    from onnx import helper

    graph = _Graph({name: tensor.numpy() for name, tensor in model.weights.items()})
    architecture = model.card.care
    features, skips = input_name, []
    for level in range(architecture.depth):
        features = graph.block(f"down.{level}", features)
        skips.append(features)
        features = graph.add("MaxPool", [features], kernel_shape=[2, 2], strides=[2, 2])
    features = graph.block("middle", features)
    doubled = graph.constant("doubled", np.array([1, 1, 2, 2], np.float32))
    for level in range(architecture.depth):
        coarse = graph.add(
            "Resize",
            [features, "", doubled],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        features = graph.block(f"up.{level}", graph.add("Concat", [coarse, skips.pop()], axis=1))
    mean = graph.convolution("mean", features)
    if architecture.residual:
        mean = graph.add("Add", [mean, input_name])
    graph.add("Identity", [mean], output=output_names[0])
    if architecture.predicts_scale:
        scale = graph.add("Softplus", [graph.convolution("scale", features)])
        floor = graph.constant("floor", np.array(SCALE_FLOOR, np.float32))
        graph.add("Add", [scale, floor], output=output_names[1])

    def tensor(name: str) -> Any:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 1, "y", "x"])

    made = helper.make_model(
        helper.make_graph(
            graph.nodes, "care", [tensor(input_name)], [tensor(name) for name in output_names], graph.constants
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="napari-care-losses",
    )
    onnx.checker.check_model(made, full_check=True)
    serialized: bytes = made.SerializeToString()
    return serialized


class _Graph:
    """Nodes and constants being collected.

    Attributes
    ----------
    nodes, constants : list
        In ONNX' own classes.
    """

    def __init__(self, weights: dict[str, NDArray[np.float32]]) -> None:
        self._weights = weights
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def block(self, name: str, features: str) -> str:
        for number in range(2):
            features = self.add("Relu", [self.convolution(f"{name}.{number}", features)])
        return features

    def convolution(self, name: str, features: str) -> str:
        weight, bias = (f"{name}.{kind}" for kind in ("weight", "bias"))
        for each in (weight, bias):
            self.constant(each, self._weights[each])
        size = self._weights[weight].shape[-1]
        return self.add("Conv", [features, weight, bias], kernel_shape=[size, size], pads=[size // 2] * 4)

    def constant(self, name: str, value: NDArray[np.float32]) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, kind: str, inputs: list[str], *, output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output
