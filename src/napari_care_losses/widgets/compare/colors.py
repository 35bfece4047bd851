"""The colours of the methods, distinguishable with any colour vision and in both themes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils.theme import get_theme

from napari_care_losses.comparison.compare import INPUT
from napari_care_losses.widgets.compare.results import TRUTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

METHOD_COLOURS = ("#e69f00", "#3d9be0", "#00a37a", "#d55e00", "#cc79a7", "#8a6fd6")
"""After Okabe and Ito (jfly.uni-koeln.de/color), with lighter blues and no yellow, for both themes."""

INPUT_COLOUR = "#8c8c8c"

BLUE_TO_RED = ("#053061", "#2166ac", "#67a9cf", "#d1e5f0", "#f7f7f7", "#fddbc7", "#ef8a62", "#b2182b", "#67001f")
"""From negative to positive (ColorBrewer's RdBu, distinguishable with any colour vision)."""


def panel_colours(names: Sequence[str], theme: str) -> dict[str, str]:
    """Return the colour of every panel in one of napari's themes; with many methods the colours repeat.

    The ground truth has the colour of text.
    """
    methods = [name for name in names if name not in (INPUT, TRUTH)]
    colours = {name: METHOD_COLOURS[place % len(METHOD_COLOURS)] for place, name in enumerate(methods)}
    known = {INPUT: INPUT_COLOUR, TRUTH: get_theme(theme).text.as_hex(), **colours}
    return {name: known[name] for name in names}


def is_dashed(place: int) -> bool:
    """Return whether the line of the method at a place is dashed, because its colour repeats."""
    return (place // len(METHOD_COLOURS)) % 2 == 1


def difference_table() -> NDArray[np.uint8]:
    """Return the colours of differences from negative to positive, uint8 array (256, 3)."""
    # imported here: it takes a third of a second to load
    from pyqtgraph import ColorMap

    return ColorMap(None, list(BLUE_TO_RED)).getLookupTable(nPts=256)
