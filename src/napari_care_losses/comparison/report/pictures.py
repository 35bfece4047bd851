"""Images as SVG elements for a report: grey levels or differences, with scale bar and marks, in one contrast."""

from __future__ import annotations

import math
from base64 import b64encode
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.comparison.report.svg_plots import nice_step
from napari_care_losses.images.regions import Region, best_window, sum_over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LARGEST = 640
"""Width in pixels above which a whole frame is averaged over squares of pixels."""

_DETAIL = (64, 160)
"""Smallest and largest width of a detail in pixels: a quarter of the frame between them."""

BLUE_TO_RED = ("#053061", "#2166ac", "#67a9cf", "#d1e5f0", "#f7f7f7", "#fddbc7", "#ef8a62", "#b2182b", "#67001f")
"""Below zero to above it (ColorBrewer's RdBu): the colours that the Compare widget gives differences."""


def detail_window(image: NDArray[np.float64]) -> Region | None:
    """Return the square part of an image (Y, X) with most fine structure; None where the image is hardly larger."""
    side = int(np.clip(min(image.shape) // 4, *_DETAIL))
    if min(image.shape) < 1.5 * side:
        return None
    # of fine structure: the standard deviation would look for the edge of a cell
    gradients = np.zeros_like(image)
    gradients[1:-1] += np.square(image[2:] - image[:-2])
    gradients[:, 1:-1] += np.square(image[:, 2:] - image[:, :-2])
    shape = (image.shape[0], image.shape[1])
    return best_window(shape, (side, side), (side // 2, side // 2), sum_over(gradients))


def shrunk(image: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Return an image averaged over squares of pixels until it is at most `LARGEST` wide, and the squares' width."""
    factor = math.ceil(max(image.shape) / LARGEST)
    if factor == 1:
        return image, 1
    # a sliver may be thinner than a square
    down, across = (min(factor, size) for size in image.shape)
    height, width = image.shape[0] // down, image.shape[1] // across
    cut = image[: height * down, : width * across]
    averaged: NDArray[np.float64] = cut.reshape(height, down, width, across).mean(axis=(1, 3))
    return averaged, factor


def grey_png(image: NDArray[np.float64], limits: tuple[float, float]) -> str:
    """Return an image (Y, X) as the address of a grey PNG, black and white at the limits."""
    low, high = limits
    share = np.clip((image - low) / (high - low), 0, 1) if high > low else np.full(image.shape, 0.5)
    return _address(np.rint(255 * share).astype(np.uint8))


def difference_png(image: NDArray[np.float64], largest: float) -> str:
    """Return differences (Y, X) as the address of a PNG, from blue at ``-largest`` through white to red."""
    share = np.clip(image / largest, -1, 1) if largest > 0 else np.zeros(image.shape)
    return _address(np.rint(127.5 + 127.5 * share).astype(np.uint8), _palette())


def picture(
    address: str,
    shape: tuple[int, int],
    label: str,
    *,
    pixel_size: float | None = None,
    marked: Region | None = None,
    line: tuple[tuple[float, float], tuple[float, float]] | None = None,
) -> str:
    """Return an image as an SVG element in whose units a pixel of the microscope is 1.

    The image is what `grey_png` or `difference_png` returns; `shape` (Y, X) is that of what it shows, in the
    microscope's pixels. The `pixel_size` in micrometres draws a scale bar; the ends (y, x) of the `line` are in pixels,
    whole numbers at their centres.
    """
    height, width = shape
    unit = width / 256
    parts = [
        f'<image href="{address}" width="{width}" height="{height}" preserveAspectRatio="none" '
        'style="image-rendering: pixelated"/>'
    ]
    if marked is not None:
        parts.append(
            f'<rect x="{marked.x0}" y="{marked.y0}" width="{marked.shape[1]}" height="{marked.shape[0]}" '
            f'fill="none" stroke="#ffd400" stroke-width="{1.4 * unit:.3f}"/>'
        )
    if line is not None:
        (y1, x1), (y2, x2) = line
        parts.append(
            f'<line x1="{x1 + 0.5:.2f}" y1="{y1 + 0.5:.2f}" x2="{x2 + 0.5:.2f}" y2="{y2 + 0.5:.2f}" '
            f'stroke="#00e5ff" stroke-width="{1.4 * unit:.3f}"/>'
        )
    if pixel_size is not None:
        parts.append(_scale_bar(shape, pixel_size))
    return (
        f'<svg class="picture" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def colour_bar(low: str, middle: str, high: str) -> str:
    """Return the bar of the colours of differences with what its ends and middle mean, as an SVG element."""
    stops = "".join(
        f'<stop offset="{place / (len(BLUE_TO_RED) - 1):.3f}" stop-color="{colour}"/>'
        for place, colour in enumerate(BLUE_TO_RED)
    )
    texts = "".join(
        f'<text x="{x}" y="34" text-anchor="{anchor}">{text}</text>'
        for x, anchor, text in ((2, "start", low), (120, "middle", middle), (238, "end", high))
    )
    return (
        '<svg class="bar" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 240 40" font-family="sans-serif" '
        f'font-size="12" role="img" aria-label="colours from {low} to {high}"><defs><linearGradient id="differences">'
        f'{stops}</linearGradient></defs><rect x="1" y="1" width="238" height="16" fill="url(#differences)" '
        f'stroke="#777"/>{texts}</svg>'
    )


def _scale_bar(shape: tuple[int, int], pixel_size: float) -> str:
    """Draw a white bar on a dark ground, a round number of micrometres long, at the lower right."""
    height, width = shape
    unit = width / 256
    length = nice_step(0.12 * width * pixel_size)
    text = f"{length:g} \u00b5m" if length >= 1 else f"{1000 * length:g} nm"
    bar = length / pixel_size
    # the ground is as wide as the bar or the text, whichever is wider
    ground = max(bar, 7.2 * unit * len(text)) + 10 * unit
    right, bottom = width - 6 * unit, height - 6 * unit
    middle = right - ground / 2
    return (
        f'<rect x="{right - ground:.2f}" y="{bottom - 25 * unit:.2f}" width="{ground:.2f}" height="{25 * unit:.2f}" '
        f'fill="black" fill-opacity="0.55"/><rect x="{middle - bar / 2:.2f}" y="{bottom - 7.5 * unit:.2f}" '
        f'width="{bar:.2f}" height="{3.5 * unit:.2f}" fill="white"/><text x="{middle:.2f}" '
        f'y="{bottom - 11 * unit:.2f}" text-anchor="middle" fill="white" font-family="sans-serif" '
        f'font-size="{12 * unit:.2f}">{text}</text>'
    )


def _palette() -> list[int]:
    """Return red, green and blue of the 256 colours of differences, one after the other."""
    stops = np.array([[int(colour[place : place + 2], 16) for place in (1, 3, 5)] for colour in BLUE_TO_RED], float)
    places = np.linspace(0, len(stops) - 1, 256)
    channels = [np.interp(places, np.arange(len(stops)), channel) for channel in stops.T]
    return [int(value) for value in np.rint(np.stack(channels, axis=1)).ravel()]


def _address(pixels: NDArray[np.uint8], palette: Sequence[int] | None = None) -> str:
    """Return grey or palette pixels as a PNG in the address itself."""
    # a tenth of a second to import, which the viewer's forms need not wait for
    from PIL import Image

    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette)
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"
