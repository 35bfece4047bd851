"""Line plots as SVG, for pages that need no other file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WIDTH, HEIGHT = 640, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 68, 14, 12, 48

COLOURS = ("#e69f00", "#3d9be0", "#00a37a", "#d55e00", "#cc79a7", "#8a6fd6")
"""Colours of the methods, after Okabe and Ito: distinguishable with any colour vision."""

_DASHES = ("", "7 3", "2 3")

_SUPERSCRIPT = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


@dataclass(frozen=True, eq=False)
class PlotLine:
    """One line of a plot, in a colour of CSS; it is broken where y is not finite."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    colour: str
    dashes: str = ""
    """Lengths of dashes and gaps in px; empty for a solid line."""


@dataclass(frozen=True)
class Axis:
    """One axis of a plot, with a label that names the unit."""

    label: str
    limits: tuple[float, float] | None = None
    """Its ends; by default those of the curves."""
    is_logarithmic: bool = False
    """Whether steps are decades; values must be above 0."""


def style_of(number: int) -> tuple[str, str]:
    """Return colour and dashes of the curve with this number; the first eighteen all differ."""
    return COLOURS[number % len(COLOURS)], _DASHES[number // len(COLOURS) % len(_DASHES)]


def plot(curves: Sequence[PlotLine], x: Axis, y: Axis, *, level: tuple[float, str] | None = None) -> str:
    """Return a plot as an SVG element, without a legend; `level` draws a horizontal line at a value, with a label."""
    across = _Scale(*_limits([curve.x for curve in curves], x), _LEFT, WIDTH - _RIGHT, x.is_logarithmic)
    up = _Scale(*_limits([curve.y for curve in curves], y), HEIGHT - _BOTTOM, _TOP, y.is_logarithmic)
    middle = (_TOP + HEIGHT - _BOTTOM) / 2
    parts = [
        *_grid(across, up),
        f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x.label)}</text>',
        f'<text transform="translate(15 {middle}) rotate(-90)" text-anchor="middle">{escape(y.label)}</text>',
    ]
    if level is not None:
        height = f"{up.place(level[0]):.1f}"
        parts.append(
            f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{height}" y2="{height}" stroke="#555" '
            f'stroke-dasharray="4 3"/><text x="{WIDTH - _RIGHT - 4}" y="{up.place(level[0]) - 5:.1f}" '
            f'text-anchor="end" fill="#555">{escape(level[1])}</text>'
        )
    parts += [_line(curve, across, up) for curve in curves]
    return (
        f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(y.label)} against {escape(x.label)}" font-family="sans-serif" font-size="13">'
        f"{''.join(parts)}</svg>"
    )


def legend(curves: Sequence[PlotLine]) -> str:
    """Return the legend of a plot as an HTML list, which wraps."""
    items = "".join(
        f'<li><svg xmlns="http://www.w3.org/2000/svg" width="30" height="8" aria-hidden="true">'
        f'<line x1="0" x2="30" y1="4" y2="4" stroke="{curve.colour}" stroke-width="2.5"'
        f"{_dash_attribute(curve)}/></svg> {escape(curve.name)}</li>"
        for curve in curves
    )
    return f'<ul class="legend">{items}</ul>'


@dataclass(frozen=True)
class _Scale:
    """Maps values to pixels along one axis."""

    low: float
    high: float
    start: float
    stop: float
    is_logarithmic: bool

    def place(self, value: float) -> float:
        """Return where one value lies, in px."""
        return float(self.places(np.array([value]))[0])

    def places(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where values lie, in px; values beyond the axis lie at its ends."""
        low, high = self.low, self.high
        if self.is_logarithmic:
            values, low, high = np.log10(np.maximum(values, low)), math.log10(low), math.log10(high)
        share = np.clip((values - low) / (high - low), 0, 1)
        places: NDArray[np.float64] = self.start + share * (self.stop - self.start)
        return places

    def ticks(self) -> list[tuple[float, str]]:
        """Return values and labels of the ticks."""
        if self.is_logarithmic:
            decades = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            labelled = decades[:: max(1, math.ceil(len(decades) / 7))]
            return [(10.0**decade, f"10{str(decade).translate(_SUPERSCRIPT)}") for decade in labelled]
        step = nice_step((self.high - self.low) / 6)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return [(number * step, f"{number * step:.{decimals}f}") for number in range(first, last + 1)]


def nice_step(about: float) -> float:
    """Return the smallest number of 1, 2 or 5 times a power of ten that is at least `about`, which is above 0."""
    power = 10.0 ** math.floor(math.log10(about))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= about * (1 - 1e-9))


def _limits(values: Sequence[NDArray[np.float64]], axis: Axis) -> tuple[float, float]:
    """Return the ends of an axis: its own, or those of the values with a margin."""
    if axis.limits is not None:
        return axis.limits
    pooled = np.concatenate([np.ravel(each) for each in values]) if values else np.empty(0)
    pooled = pooled[np.isfinite(pooled) & ((pooled > 0) | (not axis.is_logarithmic))]
    if not pooled.size:
        return (1, 10) if axis.is_logarithmic else (0, 1)
    low, high = float(pooled.min()), float(pooled.max())
    if axis.is_logarithmic:
        return low / 1.5, high * 1.5
    room = 0.04 * (high - low) or max(abs(high), 1.0) * 0.04
    return low - room, high + room


def _grid(across: _Scale, up: _Scale) -> list[str]:
    """Draw the frame, and at every tick a line across the plot and a number."""
    left, right, top, bottom = across.start, across.stop, up.stop, up.start
    parts = []
    for value, text in across.ticks():
        x = f"{across.place(value):.1f}"
        parts.append(
            f'<line x1="{x}" x2="{x}" y1="{top}" y2="{bottom}" stroke="#e4e4e4"/>'
            f'<text x="{x}" y="{bottom + 17}" text-anchor="middle">{text}</text>'
        )
    for value, text in up.ticks():
        y = up.place(value)
        parts.append(
            f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>'
            f'<text x="{left - 7}" y="{y + 4.5:.1f}" text-anchor="end">{text}</text>'
        )
    parts.append(
        f'<rect x="{left}" y="{top}" width="{right - left}" height="{bottom - top}" fill="none" stroke="#777"/>'
    )
    return parts


def _line(curve: PlotLine, across: _Scale, up: _Scale) -> str:
    xs, ys = across.places(np.asarray(curve.x, np.float64)), up.places(np.asarray(curve.y, np.float64))
    path, is_down = [], False
    for x, y in zip(xs, ys, strict=True):
        # a break in the line where there is no value
        if math.isfinite(y):
            path.append(f"{'L' if is_down else 'M'}{x:.1f} {y:.1f}")
        is_down = math.isfinite(y)
    return (
        f'<path d="{"".join(path)}" fill="none" stroke="{curve.colour}" stroke-width="1.8" '
        f'stroke-linejoin="round"{_dash_attribute(curve)}><title>{escape(curve.name)}</title></path>'
    )


def _dash_attribute(curve: PlotLine) -> str:
    return f' stroke-dasharray="{curve.dashes}"' if curve.dashes else ""
