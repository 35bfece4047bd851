"""The README of a bioimage.io package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_care_losses.images.normalization import FixedLevels, PercentileNormalization, Standardization
from napari_care_losses.restoration.restore_frame import tied_sigma
from napari_care_losses.version import __version__

if TYPE_CHECKING:
    from napari_care_losses.images.normalization import Normalization
    from napari_care_losses.models.architecture import Architecture
    from napari_care_losses.models.model import ModelCard

INTENSITY = "intensity"
"""Name of the only channel of inputs without neighbours, and of results."""

CARE_DOI = "10.1038/s41592-018-0216-7"
CARE_TEXT = "Weigert et al. 2018, Content-aware image restoration: pushing the limits of fluorescence microscopy"
LOSSES_TEXT = "Nguyen, Hagen, Ventura, Deep Learning for Denoising of Fluorescence Microscopy Images"


def describe_package(name: str, card: ModelCard, *, parameter_count: int) -> str:
    """Return the README of a package, in Markdown."""
    architecture, block = card.care, card.care.block
    becomes, low, width = _normalized(card.normalization, among="channel, " if architecture.neighbours else "")
    structure = "" if card.structure == "other" else f" on {card.structure} images"
    parts = [
        f"# {name}",
        "Restores 2D fluorescence images taken at low exposure. A CARE U-Net trained with the "
        f"{card.loss} loss{structure}; packaged by napari-care-losses {__version__}.",
        "## What goes in and what comes out",
        f"{_input(architecture)} The package normalises it: {becomes} **The result "
        "stays in these normalised units:** the format has no way to say that a range found in the "
        "input is to be undone in the output. For grey levels, take those of the whole input frame and compute",
        f"    grey = restored * {width} + {low}",
        f"Sizes must be multiples of {block} px: pad by reflection, half of what is missing on each side. A frame cut "
        f"into tiles is restored as the whole would be when tiles start at multiples of {block} px, overlap by the "
        f"halo of {architecture.margin} px, and are normalised by the range of the whole frame, not by their own.",
    ]
    if architecture.predicts_scale:
        parts.append(
            "The second output, `scale`, is the Laplace scale of every pixel in the same units (times the width of the "
            "range for grey levels): half the true values are expected within 0.69 of it."
        )
    sigma = tied_sigma(card, "auto")
    if sigma is not None:
        parts.append(
            f"The {card.loss} loss leaves slow changes of brightness free. napari-care-losses ties structure larger "
            f"than a Gaussian of {sigma:g} px to the input's after the network; the package holds the network alone, "
            "whose brightness can drift from the sample's."
        )
    parts += [
        "## Network",
        f"{_network(architecture)}: depth {architecture.depth}, kernels of {architecture.kernel_size} px, "
        f"{architecture.filters} first filters, {'a' if architecture.residual else 'no'} residual connection, "
        f"{parameter_count:,} parameters. The weights are there as a PyTorch state dict (with `care_network.py`), as "
        "TorchScript and as ONNX: the same numbers.",
        "## Training",
        *([card.without_clean] if card.without_clean else []),
        _training(card),
        "## Validation",
        "The test image is simulated and shows only that the network computes what it should. Before trusting "
        "restorations, compare them with long exposures of your own sample: a network restores what it was trained on, "
        "and invents where the image is something else.",
        "## Cite",
        f"- {CARE_TEXT}, doi:{CARE_DOI}",
    ]
    if "fft" in card.loss or "bandpass" in card.loss:
        parts.append(f"- {LOSSES_TEXT}")
    return "\n\n".join(parts) + "\n"


def neighbour_channels(architecture: Architecture) -> list[str]:
    """Return the names of the input's channels: the frame and its neighbours, the first before the last.

    Examples
    --------
    >>> from napari_care_losses.models.architecture import Architecture
    >>> neighbour_channels(Architecture(neighbours=2))
    ['before_1', 'frame', 'after_1']
    """
    steps = range(1, architecture.neighbours // 2 + 1)
    return [*(f"before_{step}" for step in reversed(steps)), "frame", *(f"after_{step}" for step in steps)]


def _network(architecture: Architecture) -> str:
    if not architecture.refinement:
        return "CSBDeep's U-Net"
    return (
        f"CSBDeep's U-Net at half resolution, every 2 x 2 pixels as channels, and {architecture.refinement} filters at "
        "full resolution"
    )


def _input(architecture: Architecture) -> str:
    """Return what goes in, in words."""
    if not architecture.neighbours:
        return "One channel, one frame at a time."
    names = ", ".join(f"`{name}`" for name in neighbour_channels(architecture))
    unseen = (
        " The network does not see `frame` itself: the mean of the two nearest neighbours takes its place."
        if architecture.is_blind
        else ""
    )
    return (
        f"One frame at a time, with the frames before and after it (of a movie, or the planes of a z-stack) as "
        f"channels: {names}. The first output is `frame` restored. Where there is no frame before the first or after "
        f"the last, the stack is reflected: the second frame stands before the first.{unseen} napari-care-losses "
        "brings all channels to the range of `frame`; a package can only take one range over all of them, which is "
        "nearly the same."
    )


def _normalized(normalization: Normalization, *, among: str) -> tuple[str, str, str]:
    """Return the normalisation in words, and offset and width of the range for a formula."""
    if isinstance(normalization, FixedLevels):
        return (
            f"the grey level {normalization.low:g} becomes 0 and {normalization.high:g} becomes 1.",
            f"{normalization.low:g}",
            f"{normalization.high - normalization.low:g}",
        )
    over = f"over {'batch, ' if normalization.of_dataset else ''}{among}y and x"
    if isinstance(normalization, Standardization):
        return (
            f"its mean becomes 0 and its standard deviation 1 (`zero_mean_unit_variance`, {over}).",
            "mean",
            "standard_deviation",
        )
    assert isinstance(normalization, PercentileNormalization)
    low, high = f"{normalization.low:g}", f"{normalization.high:g}"
    return (
        f"its percentiles {low} and {high} become 0 and 1 (`scale_range`, {over}).",
        f"p{low}",
        f"(p{high} - p{low})",
    )


def _training(card: ModelCard) -> str:
    """Return the training parameters in the card, one line each."""
    known = [
        f"- {key.replace('_', ' ')}: {value}"
        for key, value in {"loss parameters": card.loss_parameters or None, **card.training}.items()
        if isinstance(value, str | int | float | dict) and value not in ("", {})
    ]
    return "\n".join(known) or "Nothing is recorded."
