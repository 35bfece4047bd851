"""The plots of a comparison's report: spectra, Fourier ring correlation, profile, scores over the images."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.comparison.compare import INPUT
from napari_care_losses.comparison.report.image_cards import TRUTH, ShownFrame
from napari_care_losses.comparison.report.svg_plots import Axis, PlotLine, legend, plot, style_of
from napari_care_losses.evaluation.line_profile import line_profile
from napari_care_losses.evaluation.metrics import METRICS
from napari_care_losses.evaluation.spectra import (
    SMALLEST,
    THRESHOLD,
    averaged_rings,
    fourier_ring_correlation,
    radial_power,
    resolution,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.comparison.report.content import ComparisonReport

FEWEST_IMAGES = 5
"""Images from which scores are plotted."""

Line = tuple["NDArray[np.float64]", "NDArray[np.float64]"]
Lines = dict[str, Line]


def curves_section(report: ComparisonReport, frame: ShownFrame) -> str:
    """Return the power spectra of all images and, with a truth, their Fourier ring correlation with it."""
    if min(frame.shape) < SMALLEST:
        return f"<p>The images are too small for spectra: fewer than {SMALLEST} px.</p>"
    scale, unit = (1.0, "cycles/px") if report.pixel_size is None else (1 / report.pixel_size, "cycles/\u00b5m")
    across = Axis(f"spatial frequency ({unit})", (0, 0.5 * scale))
    powers = {name: _scaled(radial_power(image), scale) for name, image in frame.images.items()}
    parts = [_figure(_curves(powers), across, Axis("power (grey levels\u00b2)", is_logarithmic=True), "Radial power")]
    table = ""
    if frame.has_truth:
        truth = frame.images[TRUTH]
        rings = {name: fourier_ring_correlation(image, truth) for name, image in frame.images.items() if name != TRUTH}
        limit = f"{THRESHOLD:.3f} (1/7)"
        scaled = {name: (x * scale, averaged_rings(y)) for name, (x, y) in rings.items()}
        axis = Axis("correlation with the truth", (min(-0.1, *(float(y.min()) for _, y in scaled.values())), 1.02))
        parts.append(_figure(_curves(scaled), across, axis, "Fourier ring correlation", (THRESHOLD, limit)))
        table = _resolution_table(rings, report.pixel_size)
    return f'{_explained(report, frame)}<div class="plots">{"".join(parts)}</div>{table}'


def profile_section(report: ComparisonReport, frame: ShownFrame) -> str:
    """Return the intensity of all images along the report's line; nothing without one."""
    if report.profile_line is None:
        return ""
    start, stop = report.profile_line
    scale, unit = (1.0, "px") if report.pixel_size is None else (report.pixel_size, "\u00b5m")
    lines = {name: _scaled(line_profile(image, start, stop), scale) for name, image in frame.images.items()}
    ends = " to ".join(f"(x {x:.1f}, y {y:.1f})" for y, x in (start, stop))
    text = f"<p>From {ends} px, one pixel wide, interpolated linearly"
    text += ", after alignment to the truth.</p>" if frame.is_aligned else ".</p>"
    return text + _figure(_curves(lines), Axis(f"distance ({unit})"), Axis("intensity (grey levels)"), "")


def time_section(report: ComparisonReport) -> str:
    """Return the scores of all methods over a movie, one plot a metric; nothing for few or unrelated images."""
    if report.independent:
        return ""
    parts = []
    for name, metric in METRICS.items():
        lines: Lines = {}
        for method, rows in report.scores.items():
            frames = sorted(frame for frame, row in rows.items() if name in row)
            lines[method] = np.array(frames, float), np.array([rows[frame][name] for frame in frames], float)
        if max((len(x) for x, _ in lines.values()), default=0) >= FEWEST_IMAGES:
            parts.append(_figure(_curves(lines), Axis("frame"), Axis(metric.label), ""))
    return f'<div class="plots">{"".join(parts)}</div>' if parts else ""


def _figure(curves: list[PlotLine], x: Axis, y: Axis, title: str, level: tuple[float, str] | None = None) -> str:
    head = f"<h3>{title}</h3>" if title else ""
    return f"<figure>{head}{plot(curves, x, y, level=level)}{legend(curves)}</figure>"


def _curves(lines: Lines) -> list[PlotLine]:
    """Return named lines as curves: input in grey, truth in black, methods in colours."""
    curves, methods = [], 0
    for name, (x, y) in lines.items():
        if name == INPUT:
            colour, dashes = "#8c8c8c", ""
        elif name == TRUTH:
            colour, dashes = "#111111", "5 3"
        else:
            colour, dashes = style_of(methods)
            methods += 1
        curves.append(PlotLine(name, x, y, colour, dashes))
    return curves


def _scaled(line: Line, scale: float) -> Line:
    return line[0] * scale, line[1]


def _explained(report: ComparisonReport, frame: ShownFrame) -> str:
    """Return how the spectra were made and how to read them."""
    texts = [
        "Power: mean over rings of equal spatial frequency, of the image shown, without its mean, under a Hann window."
    ]
    if frame.is_aligned:
        texts.append(
            "The images were first aligned to the truth in brightness and contrast: without that, their spectra could "
            "not be compared."
        )
    elif not frame.has_truth:
        texts.append("Without a truth to align them to, compare the shapes of the spectra, not their heights.")
    if frame.has_truth:
        texts.append("Power below the truth's is detail lost, power above it noise left or detail made up.")
        texts.append(
            "The Fourier ring correlation with the truth, averaged over five rings, shows which frequencies are truly "
            "restored; PSNR and SSIM do not. The limit of resolution is where it first falls below 1/7."
        )
    if report.pixel_size is not None:
        texts.append(
            f"A pixel is {1000 * report.pixel_size:.4g} nm wide: the plots end at 0.5 cycles/px, "
            f"{0.5 / report.pixel_size:.4g} cycles/\u00b5m."
        )
    return f"<p>{' '.join(texts)}</p>"


def _resolution_table(rings: Lines, pixel_size: float | None) -> str:
    """Return the limit of resolution of every image."""
    lines = "".join(
        f"<tr><th>{escape(name)}</th><td>{_resolution_text(resolution(*line), pixel_size)}</td></tr>"
        for name, line in rings.items()
    )
    return (
        '<div class="wide"><table><thead><tr><th class="first">Method</th>'
        f"<th>Limit of resolution (correlation 1/7)</th></tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _resolution_text(limit: float, pixel_size: float | None) -> str:
    if math.isnan(limit):
        return "that of the pixels: correlated up to 0.5 cycles/px"
    if limit == 0:
        return "none: not correlated at any frequency"
    text = f"{limit:.3f} cycles/px, {1 / limit:.2f} px"
    return text if pixel_size is None else f"{text}, {1000 * pixel_size / limit:.0f} nm"
