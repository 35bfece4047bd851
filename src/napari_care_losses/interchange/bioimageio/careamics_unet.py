"""The U-Net of CAREamics in a package, as a CARE network with bilinear upsampling.

Both have the layers of CSBDeep's U-Net. CAREamics interpolates where CSBDeep repeats pixels, and normalises batches
after every convolution but the last. With statistics that no longer change, that is a factor and an offset a channel,
which go into the weights.

References
----------
CAREamics 0.3.5, ``careamics.models.unet`` and ``careamics.dataset.normalization``; Ioffe and Szegedy 2015,
arXiv:1502.03167 (batch normalisation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import ModelFileError
from napari_care_losses.images.normalization import FixedLevels
from napari_care_losses.interchange.bioimageio.processing import EPS, mean_and_divisor
from napari_care_losses.interchange.bioimageio.rdf import at, read_yaml

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.images.normalization import Normalization
    from napari_care_losses.interchange.archives import Contents

    Weights = dict[str, NDArray[np.float32]]

BATCH_EPS = 1e-5
"""What torch adds to the variance of a batch normalisation."""

SETTINGS = "careamics.yaml"
"""CAREamics' own description of a training, in its packages."""

_BOTTLENECK, _FINAL = "decoder.bottleneck", "final_conv"


def is_careamics_unet(tensors: Weights) -> bool:
    """Return whether a state dict has the names of CAREamics' U-Net."""
    return f"{_BOTTLENECK}.conv1.weight" in tensors and f"{_FINAL}.weight" in tensors


# numbers that overflow do not give the package's test result
@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def care_weights(
    tensors: Weights, contents: Contents, described: dict[str, Any], normalization: Normalization
) -> Weights:
    """Return CAREamics' weights and biases in the order in which they compute, as CARE's network would have them.

    CAREamics gives a result in the grey levels of the training's targets, whatever the package says of it. Where those
    are not the input's, given by `normalization`, the last layer makes up for the difference.

    Raises
    ------
    ModelFileError
        If it is the network of N2V2, a tensor is missing or does not fit, or the result's grey levels cannot be made.
    """
    weights = _plain_layers(tensors)
    target = _target_levels(contents, described)
    if target is None or target == normalization:
        return weights
    if not isinstance(normalization, FixedLevels):
        raise ModelFileError("it is CAREamics' U-Net, but its input is not normalised as CAREamics does it")
    if at(described, "weights", "pytorch_state_dict", "architecture", "kwargs", "residual"):
        raise ModelFileError(
            "it is CAREamics' U-Net with a residual connection and a result in other grey levels than its input, which "
            "networks here cannot give: train it without that connection (residual: false)"
        )
    width = normalization.high - normalization.low
    factor, offset = (target.high - target.low) / width, (target.low - normalization.low) / width
    weights[f"{_FINAL}.weight"] = (weights[f"{_FINAL}.weight"] * factor).astype(np.float32)
    weights[f"{_FINAL}.bias"] = (weights[f"{_FINAL}.bias"] * factor + offset).astype(np.float32)
    return weights


def _plain_layers(tensors: Weights) -> Weights:
    depth = sum(f"{_encoder(level)}.conv1.weight" in tensors for level in range(len(tensors)))
    blocks = [*map(_encoder, range(depth)), _BOTTLENECK, *(f"decoder.decoder_blocks.{2 * n + 1}" for n in range(depth))]
    found: Weights = {}
    try:
        first, last = (tensors[f"{block}.conv1.weight"] for block in (blocks[0], blocks[-1]))
        if first.shape[0] == last.shape[1]:
            raise ModelFileError(
                "it is CAREamics' network for N2V2, whose pooling is not available here: train it with use_n2v2=False"
            )
        for block in blocks:
            for number in (1, 2):
                found |= _folded(tensors, f"{block}.conv{number}", f"{block}.batch_norm{number}")
        return found | {name: tensors[name] for name in (f"{_FINAL}.weight", f"{_FINAL}.bias")}
    except (KeyError, IndexError, ValueError) as error:
        raise ModelFileError(f"it has the names of CAREamics' U-Net, but not its layers ({error})") from error


def _encoder(level: int) -> str:
    # a pooling, which has no weights, follows each
    return f"encoder.encoder_blocks.{2 * level}"


def _folded(tensors: Weights, convolution: str, norm: str) -> Weights:
    """Return weight and bias of a convolution with the batch normalisation after it, if that was ever trained."""
    weight, bias = (tensors[f"{convolution}.{part}"].astype(np.float64) for part in ("weight", "bias"))
    # networks without batch normalisation have its numbers too, as they were at the start
    if tensors.get(f"{norm}.num_batches_tracked", np.zeros(())) > 0:
        factor, offset, mean, variance = (
            tensors[f"{norm}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = factor / np.sqrt(variance + BATCH_EPS)
        weight, bias = weight * factor[:, None, None, None], (bias - mean) * factor + offset
    return {f"{convolution}.weight": weight.astype(np.float32), f"{convolution}.bias": bias.astype(np.float32)}


def _target_levels(contents: Contents, described: dict[str, Any]) -> FixedLevels | None:
    """Return which grey levels the network's 0 and 1 stand for; None for those of its input."""
    attachments = described.get("attachments")
    sources = [at(entry, "source") for entry in attachments] if isinstance(attachments, list) else []
    source = next((source for source in sources if str(source).split("/")[-1] == SETTINGS), None)
    if source is None:
        return None
    settings = at(read_yaml(contents, str(source)), "data_config", "normalization")
    if at(settings, "skip_target"):
        return FixedLevels(low=0.0, high=1.0)
    if at(settings, "target_means") is None:
        return None
    mean, divisor = mean_and_divisor({"mean": settings["target_means"], "std": at(settings, "target_stds"), "eps": EPS})
    return FixedLevels(low=mean, high=mean + divisor)
