"""Pictures of image comparisons: labelled panels side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from napari_care_losses.io.whole_files import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

LABEL_HEIGHT = 40
GAP = 6
FONT_SIZE = 15


def save_panels(
    path: Path,
    panels: Mapping[str, ArrayLike],
    *,
    columns: int = 4,
    zoom: int = 1,
    limits: tuple[float, float] | None = None,
) -> None:
    """Write images (Y, X) of one shape side by side as a PNG; a label may have two lines.

    The `limits` are the grey levels shown black and white in every panel; by default each panel's percentiles 0.1 and
    99.9.
    """
    tiles = {label: _shaded(np.asarray(image), limits, zoom) for label, image in panels.items()}
    width = max(tile.width for tile in tiles.values()) + GAP
    height = max(tile.height for tile in tiles.values()) + LABEL_HEIGHT + GAP
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (min(columns, len(tiles)) * width + GAP, rows * height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_SIZE)
    for place, (label, tile) in enumerate(tiles.items()):
        left, top = place % columns * width + GAP, place // columns * height + GAP
        draw.text((left, top), label, fill="black", font=font, spacing=2)
        sheet.paste(tile, (left, top + LABEL_HEIGHT))
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG")


def _shaded(image: NDArray[Any], limits: tuple[float, float] | None, zoom: int) -> Image.Image:
    low, high = np.percentile(image, (0.1, 99.9)) if limits is None else limits
    grey = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
    bytes_ = (255 * grey).astype(np.uint8).repeat(zoom, 0).repeat(zoom, 1)
    return Image.fromarray(bytes_)
