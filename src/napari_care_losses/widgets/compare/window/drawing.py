"""What the panels of a comparison draw of a frame, made in the background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.comparison.compare import INPUT
from napari_care_losses.widgets.compare.results import TRUTH
from napari_care_losses.widgets.compare.window.images import Pyramid, as_float, difference_limit, matched, thinned
from napari_care_losses.widgets.layers.conversion import comparable_limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_care_losses.widgets.compare.results import ComparisonResults


@dataclass(frozen=True)
class Look:
    """Which frame is looked at, and how.

    Attributes
    ----------
    index : int
        The frame.
    is_difference : bool
        Whether differences are shown: to the truth, or, without one, of the input to what was restored.
    is_matched : bool
        Whether every image is first brought to the brightness of the truth, or, without one, of the input.
    """

    index: int
    is_difference: bool
    is_matched: bool


class Drawing(NamedTuple):
    """An image ready to be drawn.

    Attributes
    ----------
    name : str
        Of its panel.
    look : Look
        What it is a picture of.
    pyramid : Pyramid
        The image.
    limits : tuple of float
        Contrast limits that show it well.
    span : tuple of float
        Its darkest and brightest pixel.
    difference : float
        The difference shown in full colour.
    """

    name: str
    look: Look
    pyramid: Pyramid
    limits: tuple[float, float]
    span: tuple[float, float]
    difference: float


def anchor(results: ComparisonResults) -> str:
    """Return the panel the others are brought to and compared with: the truth, or, without one, the input."""
    return INPUT if results.plan.truth is None else TRUTH


def draw(results: ComparisonResults, names: Sequence[str], look: Look) -> Iterator[Drawing]:
    """Make the drawings of some panels, one after the other.

    Raises
    ------
    InputError
        If input or truth cannot be read.
    """
    held = anchor(results)
    reference = as_float(results.image(held, look.index))
    for name in names:
        image = reference if name == held else as_float(results.image(name, look.index))
        if name != held:
            image = _compared(image, reference, look, is_residual=held == INPUT)
        span = (float(image.min()), float(image.max()))
        yield Drawing(name, look, Pyramid(image), comparable_limits(thinned(image)), span, difference_limit(image))


def _compared(
    image: NDArray[np.float32], reference: NDArray[np.float32], look: Look, *, is_residual: bool
) -> NDArray[np.float32]:
    if look.is_matched:
        image = matched(image, reference)
    if not look.is_difference:
        return image
    # What was taken away of the input; what was added to the truth.
    return reference - image if is_residual else image - reference
