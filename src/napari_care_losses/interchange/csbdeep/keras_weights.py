"""Converting Keras' weights of a CARE U-Net into those of a `CareNetwork`."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.errors import ModelFileError
from napari_care_losses.io.untrusted_files import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_care_losses.interchange.sandbox import Tensors
    from napari_care_losses.models.architecture import Architecture

    Arrays = Mapping[str, NDArray[np.float32]]

_LEVELS = re.compile(r"(down|up)_level_(\d+)_no_([012])|middle_([012])")
_WITHOUT_WEIGHTS = re.compile(
    r"(input|max|max_pooling2d|up_sampling2d|concatenate|activation|add|lambda|dropout)(_\d+)*|input_layer(_\d+)?"
)
"""Layers that CSBDeep puts between the convolutions; dropout does nothing when restoring."""

_NORMALIZATION = "batch_normalization"


def care_weights(
    found: Tensors, architecture: Architecture, *, swaps_axes: bool = False
) -> dict[str, NDArray[np.float32]]:
    """Return the weights of a Keras model by the names of `CareNetwork`.

    Convolutions are identified by the names that CSBDeep gives them. If none has such a name, they are taken in their
    order: a CARE network is one chain of convolutions, up to the two heads at its end.

    Parameters
    ----------
    found : Tensors
        From `read_hdf5`.
    swaps_axes : bool
        Whether the network was made for images (X, Y).

    Raises
    ------
    ModelFileError
        If the layers are not those of this architecture; the message names the first that differs.
    """
    layers = convolutions(found)
    expected = architecture.layers()
    if len(layers) != len(expected):
        raise ModelFileError(
            f"The weights are those of {len(layers)} convolutions; a network as in config.json has {len(expected)}."
        )
    _check_residual(found, architecture)
    weights: dict[str, NDArray[np.float32]] = {}
    for convolution, (layer, (kernel, bias)) in zip(expected, layers.items(), strict=True):
        name, size = convolution.name, convolution.kernel_size
        shape = (size, size, convolution.channels_in, convolution.channels_out)
        if kernel.shape != shape or bias.shape != shape[-1:]:
            raise ModelFileError(
                f"Layer {layer!r} has a kernel of {kernel.shape} (Y, X, in, out); in a network as in config.json it "
                f"has {shape}."
            )
        weights[f"{name}.weight"] = torch_kernel(kernel, swaps_axes=swaps_axes)
        weights[f"{name}.bias"] = bias
    return weights


def torch_kernel(kernel: NDArray[np.float32], *, swaps_axes: bool) -> NDArray[np.float32]:
    """Return a kernel as torch keeps it: output, input, Y, X. Keras keeps it as Y, X, input, output."""
    return np.ascontiguousarray(kernel.transpose(3, 2, 1, 0) if swaps_axes else kernel.transpose(3, 2, 0, 1))


def convolutions(found: Tensors) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return kernel and bias of every convolution, in the order in which they compute; other layers must be harmless.

    Raises `ModelFileError` if there are layers that a CARE network has not.
    """
    arrays: dict[str, dict[str, NDArray[np.float32]]] = {name: {} for name in _layer_names(found)}
    for key, value in found.tensors.items():
        layer, _, name = key.rpartition("/")
        arrays.setdefault(layer, {})[name] = value
    layers = {}
    for layer, held in arrays.items():
        if not held:
            if not _WITHOUT_WEIGHTS.fullmatch(layer):
                raise ModelFileError(f"The network has a layer {layer!r} that a CARE network of CSBDeep has not.")
            continue
        if layer.startswith(_NORMALIZATION):
            raise ModelFileError(
                f"The network has batch normalisation (layer {layer!r}), which a CARE network of CSBDeep has not: only "
                "those without can be imported."
            )
        kernels = [value for value in held.values() if value.ndim > 1]
        biases = [value for value in held.values() if value.ndim == 1]
        if len(kernels) != 1 or len(biases) != 1 or kernels[0].ndim != 4:
            if any(kernel.ndim == 5 for kernel in kernels):
                raise ModelFileError(f"Layer {layer!r} is a convolution in 3D: only 2D networks can be imported.")
            shapes = ", ".join(str(value.shape) for value in held.values())
            raise ModelFileError(f"Layer {layer!r} is no 2D convolution with a bias: it holds arrays of {shapes}.")
        layers[layer] = kernels[0], biases[0]
    return {layer: layers[layer] for layer in _by_name(layers) or layers}


def _layer_names(found: Tensors) -> list[str]:
    try:
        names = read_json(found.notes["layers"])
        if not all(isinstance(name, str) for name in names):
            raise TypeError("a name is no text")
    except (KeyError, ValueError, TypeError) as error:
        raise ModelFileError(f"The list of layers is damaged ({error}).") from error
    return list(names)


def _by_name(layers: Iterable[str]) -> list[str]:
    """Return Keras' layers in the order in which they compute, known from their names; none if no name says it."""
    places: dict[tuple[float, ...], str] = {}
    heads = []
    for layer in layers:
        match = _LEVELS.fullmatch(layer)
        if match is None:
            heads.append(layer)
            continue
        side, level, number, in_middle = match.groups()
        places[
            (1, 0, int(in_middle))
            if side is None
            else (0, int(level), int(number))
            if side == "down"
            else (2, -int(level), int(number))
        ] = layer
    if not places:
        return []
    # The heads are named in the order they were made in, the mean first: conv2d before conv2d_1, 9 before 10.
    return [places[place] for place in sorted(places)] + sorted(heads, key=_number)


def _number(layer: str) -> float:
    ending = re.search(r"_(\d+)$", layer)
    return int(ending[1]) if ending else -math.inf


def _check_residual(found: Tensors, architecture: Architecture) -> None:
    """Refuse a file whose layers and config.json disagree on whether the input is added to the output."""
    names: Sequence[str] = _layer_names(found)
    adds = any(re.fullmatch(r"add(_\d+)?", name) for name in names)
    tells = any(re.fullmatch(r"(add|activation|concatenate)(_\d+)?", name) for name in names)
    if tells and adds != architecture.residual:
        raise ModelFileError(
            f"config.json says that the network {'is' if architecture.residual else 'is not'} residual, its layers say "
            "otherwise."
        )
