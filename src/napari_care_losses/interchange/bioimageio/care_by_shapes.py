"""Recognising the CARE network in a state dict of others: by the shapes of its tensors, then by what it computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.errors import ParameterError
from napari_care_losses.models.architecture import MERGING, Architecture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Weights = dict[str, NDArray[np.float32]]


def care_candidates(
    tensors: Mapping[str, NDArray[np.float32]], order: Sequence[str]
) -> Iterator[tuple[Architecture, Weights]]:
    """Yield the CARE networks that a state dict may be, whatever its names.

    Layers must stand in the order in which they compute. Shapes tell neither whether the input is added to the
    output nor which comes first where a level is joined, the upsampled features or the skipped ones: all four are
    yielded, for the package's own test image to decide.

    Parameters
    ----------
    tensors : dict of str to float32 array
        The state dict.
    order : sequence of str
        Its names, in its own order.
    """
    shapes = [tensors[name].shape for name in order if name in tensors]
    values = [tensors[name] for name in order if name in tensors]
    if len(values) < 14 or any(len(shape) != (4, 1)[number % 2] for number, shape in enumerate(shapes)):
        return
    (filters, _, kernel, _), (depth, rest) = shapes[0], divmod(len(values) // 2 - 3, 4)
    if rest or len(values) % 2:
        return
    try:
        architecture = Architecture(depth=depth, kernel_size=kernel, filters=filters)
    except ParameterError:
        return
    expected = architecture.weight_shapes()
    if list(expected.values()) != shapes:
        return
    weights = dict(zip(expected, values, strict=True))
    for residual in (True, False):
        shape = Architecture(depth=depth, kernel_size=kernel, filters=filters, residual=residual)
        yield shape, weights
        yield shape, _skipped_first(shape, weights)


def _skipped_first(architecture: Architecture, weights: Weights) -> Weights:
    """Return the weights of a network that joins skipped and upsampled features, in our order."""
    turned = dict(weights)
    for layer in architecture.layers():
        if layer.kind == MERGING:
            name = f"{layer.name}.weight"
            skipped, upsampled = np.split(weights[name], [layer.skip_channels], axis=1)
            turned[name] = np.concatenate([upsampled, skipped], axis=1)
    return turned
