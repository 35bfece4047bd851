"""The page of a comparison's report, put together from its tables, images and plots."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from html import escape
from importlib import metadata
from typing import TYPE_CHECKING

from napari_care_losses.comparison.baselines import BASELINES
from napari_care_losses.comparison.report.curves import curves_section, profile_section, time_section
from napari_care_losses.comparison.report.image_cards import (
    LARGEST_PERCENTILE,
    ShownFrame,
    cards,
    detail_of,
    limits_in,
    shown_frame,
)
from napari_care_losses.comparison.report.pictures import LARGEST
from napari_care_losses.comparison.report.tables import image_table, pairs_table, score_table
from napari_care_losses.evaluation.bootstrap import FEWEST_FRAMES
from napari_care_losses.evaluation.metrics import GREY_LEVEL_SCORES, HIGH_PERCENTILE, LOW_PERCENTILE, METRICS
from napari_care_losses.evaluation.spectra import DETAIL_SCORES
from napari_care_losses.evaluation.without_truth.estimated_psnr import ESTIMATED_SCORES
from napari_care_losses.evaluation.without_truth.single_image import SINGLE_IMAGE_METRICS, SINGLE_IMAGE_SCORES
from napari_care_losses.provenance import BASH, POWERSHELL, PYTHON
from napari_care_losses.version import __version__

if TYPE_CHECKING:
    from napari_care_losses.comparison.report.content import ComparisonReport
    from napari_care_losses.images.regions import Region

_LIBRARIES = ("numpy", "scipy", "scikit-image", "torch", "openvino")


def page(report: ComparisonReport) -> str:
    """Return a report as one HTML page; raises `InputError` if its images cannot be shown together."""
    frame = shown_frame(report)
    sections = (
        ("Scores", _scores(report)),
        ("Images", _images(report, frame)),
        ("Spatial frequencies", curves_section(report, frame)),
        ("Profile", profile_section(report, frame)),
        ("Scores over time", time_section(report)),
        (
            "Scores of every image",
            image_table(report) if report.truth is not None and _images_scored(report) > 1 else "",
        ),
        ("Settings", pairs_table({**report.settings, **_versions()})),
        ("To make it again", _again(report)),
        ("Notes", "".join(f"<p>{escape(note)}</p>" for note in report.notes)),
        ("Sources", _sources(report)),
    )
    body = "".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections if content)
    title = escape(report.title)
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>{title}</h1>"
        f'<p class="made">{made} \u00b7 napari-care-losses {escape(__version__)} \u00b7 '
        f"image {report.frame_index} (the first is 0), {frame.shape[0]} \u00d7 {frame.shape[1]} px</p>"
        f"{body}</body></html>\n"
    )


_ESTIMATED = (
    "The PSNR is estimated on one part of each image, at most 256 px wide (Ramani, Blu, Unser 2008, "
    "doi:10.1109/TIP.2008.2001404); the true one lies within the uncertainty in most images. Which method is best is "
    "known better: all are judged on the same noise."
)


_FORMS = {BASH: "In bash", POWERSHELL: "In PowerShell", PYTHON: "In Python"}


def _again(report: ComparisonReport) -> str:
    texts = report.provenance
    return "".join(
        f"<h3>{title}</h3><pre>{escape(texts[name])}</pre>" for name, title in _FORMS.items() if texts.get(name)
    )


def _images_scored(report: ComparisonReport) -> int:
    return len({frame for rows in report.scores.values() for frame, row in rows.items() if row})


def _scores(report: ComparisonReport) -> str:
    """Return the table of methods, and how its values were computed."""
    if not report.rows:
        if report.truth is None:
            return (
                "<p>There is no ground truth, so nothing is scored. What each method took away from the input is shown "
                "below: where a restoration is right, that is noise without structure.</p>"
            )
        return "<p>No image was scored for every method.</p>"
    single = [row for row in report.rows if row.metric in SINGLE_IMAGE_SCORES]
    estimated = [row for row in report.rows if row.metric in ESTIMATED_SCORES]
    if report.truth is None:
        sources = "; ".join(f"{metric.title}: {metric.source}" for metric in SINGLE_IMAGE_METRICS.values())
        return (
            f"{score_table([*estimated, *single], report.reference)}<p>There is no ground truth. {_ESTIMATED} The "
            "resolution is that of each image alone: in a restored image it is the finest detail drawn, true or not. "
            "What each method took away from the input is shown below: where a restoration is right, that is noise "
            "without structure. "
            f"{escape(sources)}.</p>"
        )
    measured = [row for row in report.rows if row.metric in METRICS]
    detail = [row for row in report.rows if row.metric in DETAIL_SCORES]
    levels = [row for row in report.rows if row.metric in GREY_LEVEL_SCORES]
    main, more = ([row for row in measured if METRICS[row.metric].is_main is is_main] for is_main in (True, False))
    parts = [score_table(main, report.reference), *(f"<p>{text}</p>" for text in _score_texts(report))]
    if estimated:
        parts.append(f"<h3>Without the truth</h3>{score_table(estimated, report.reference)}<p>{_ESTIMATED}</p>")
    if more:
        helps = " ".join(METRICS[name].help for name in dict.fromkeys(row.metric for row in more))
        parts.append(f"<h3>More metrics</h3>{score_table(more, report.reference)}<p>{escape(helps)}</p>")
    if detail:
        parts.append(
            f"<h3>Detail</h3>{score_table(detail, report.reference)}<p>Fourier ring correlation with the truth: its "
            "mean over all frequencies, and the frequency at which it, averaged over five rings, first falls below "
            "1/7. What lies beyond is not restored, however sharp it looks.</p>"
        )
    if levels:
        parts.append(
            f"<h3>Grey levels</h3>{score_table(levels, report.reference)}<p>Regression of restored on true grey levels "
            "over the pixels, without alignment: brightness may be measured where the slope is 1 and R\u00b2 near 1 "
            "(a slope other than 1 is also what a truth of another exposure gives).</p>"
        )
    return "".join(parts)


def _score_texts(report: ComparisonReport) -> list[str]:
    """Return how scores, differences and tests were computed."""
    count = max(row.count for row in report.rows)
    alignment = (
        "and each image aligned to it by the affine map of least squared error (the protocol of CARE, which hides "
        "wrong brightness)"
        if report.aligned
        else "and each image by those of the truth, without alignment"
    )
    defined = "; ".join(f"{metric.title} {metric.definition}" for metric in METRICS.values())
    texts = [
        f"Ground truth scaled to 0 .. 1 by its percentiles {LOW_PERCENTILE:g} and {HIGH_PERCENTILE:g}, {alignment}. "
        f"{defined}. Mean \u00b1 standard deviation over "
        f"{count} image{'s' if count > 1 else ''}; the best method in bold."
    ]
    if report.reference is not None and len({row.method for row in report.rows}) > 1:
        texts.append(f"Differences are to {escape(report.reference)}, image by image.")
    if count == 1:
        texts.append("No <i>p</i>-value: one image allows no test.")
    elif report.independent:
        texts.append(
            "Intervals: 95 %, Student's t. <i>p</i>: paired, two-sided t-test over the images, which are independent "
            "fields of view; (Holm): corrected for the number of methods compared under each metric. "
            "<i>d<sub>z</sub></i>: effect size, the mean difference in standard deviations of the differences (Cohen)."
        )
    else:
        texts.append(
            f"No <i>p</i>-value: the {count} images are frames of one movie, not independent samples, however many "
            "they are; a test needs several fields of view or movies. Intervals: 95 %, moving-block bootstrap over "
            f"time, from {FEWEST_FRAMES} frames on."
        )
    return texts


def _images(report: ComparisonReport, frame: ShownFrame) -> str:
    """Return the images of the whole frame and of a part of it, with what they mean."""
    detail = detail_of(frame)
    whose = "the ground truth" if frame.has_truth else "the methods' images"
    texts = [
        f"All images have the same contrast: {_contrast(frame.limits)}, the percentiles {LOW_PERCENTILE:g} and "
        f"{HIGH_PERCENTILE:g} of {whose}"
        + (", to which the others were aligned by the affine map of least squared error." if frame.is_aligned else "."),
    ]
    if frame.differences:
        texts.append(
            "Below each image its difference: "
            + (
                "image minus ground truth"
                if frame.has_truth
                else "the residual, input minus restored, in which structure is lost signal"
            )
            + f". The colours end at the percentile {LARGEST_PERCENTILE:g} of the methods' absolute differences, the "
            "same for all."
        )
    factor = -(-max(frame.shape) // LARGEST)
    if factor > 1:
        texts.append(
            f"The whole frame is averaged over {factor} \u00d7 {factor} px, which hides noise: look at the detail."
        )
    if report.profile_line is not None:
        texts.append("The line in the first image is that of the profile below.")
    parts = [f"<p>{text}</p>" for text in texts]
    parts.append(cards(report, frame, marked=detail))
    if detail is not None:
        text = f"{_place(detail)} Here {_contrast(limits_in(frame, detail))}."
        parts.append(f"<h3>Detail</h3><p>{text}</p>{cards(report, frame, detail)}")
    return "".join(parts)


def _contrast(limits: tuple[float, float]) -> str:
    low, high = (f"{limit:.4g}".replace("-", "\u2212") for limit in limits)
    return f"black is {low} and white {high} grey levels"


def _place(detail: Region) -> str:
    return (
        f"The {detail.shape[0]} \u00d7 {detail.shape[1]} px with most fine structure, boxed in yellow above: rows "
        f"{detail.y0} to {detail.y1 - 1}, columns {detail.x0} to {detail.x1 - 1}."
    )


def _versions() -> dict[str, str]:
    found = [f"napari-care-losses {__version__}", f"Python {platform.python_version()}"]
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return {"Software": ", ".join(found), "System": f"{platform.system()} {platform.machine()}"}


def _sources(report: ComparisonReport) -> str:
    """Return what to cite for the methods and measures of a report."""
    entries = [
        (
            "Losses (Laplace, FFT, bandpass)",
            "Nguyen, Hagen, Ventura: Deep Learning for Denoising of Fluorescence Microscopy Images",
        ),
        ("CARE: network, training, alignment before scoring", "Weigert et al. 2018, doi:10.1038/s41592-018-0216-7"),
        ("High Low pairs, where a model was trained on them", "Hagen et al. 2021, doi:10.1093/gigascience/giab032"),
        *((baseline.title, baseline.source) for baseline in BASELINES.values()),
    ]
    if report.truth is not None:
        entries += [(metric.title, metric.source) for metric in METRICS.values() if metric.source]
        entries.append(("Fourier ring correlation", "van Heel and Schatz 2005, doi:10.1016/j.jsb.2005.05.009"))
    if report.rows and report.independent:
        entries.append(("Correction for several tests", "Holm 1979, Scand. J. Stat. 6, 65-70"))
    elif report.rows:
        entries += [
            ("Moving-block bootstrap", "K\u00fcnsch 1989, doi:10.1214/aos/1176347265"),
            (
                "Length of its blocks",
                "Politis and White 2004, doi:10.1081/ETC-120028836; Patton, Politis and White 2009, "
                "doi:10.1080/07474930802459016",
            ),
        ]
    items = "".join(f"<li>{escape(what)}: {escape(source)}</li>" for what, source in entries)
    return f"<p>For methods and measures, where they were used:</p><ul>{items}</ul>"


STYLE = """
body { font: 15px/1.45 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; color: #1c1c1e; background: #fff;
  max-width: 1180px; margin: 0 auto; padding: 20px 24px 60px; }
h1 { font-size: 26px; margin: 8px 0 2px; }
h2 { font-size: 19px; margin: 34px 0 8px; border-bottom: 1px solid #ccc; padding-bottom: 3px; }
h3 { font-size: 16px; margin: 20px 0 4px; }
p { margin: 6px 0; max-width: 900px; }
.made { color: #666; }
table { border-collapse: collapse; margin: 8px 0 12px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 11px; text-align: right; border-bottom: 1px solid #ddd; vertical-align: top; }
thead th { border-bottom: 1px solid #888; font-weight: 600; }
tbody th, th.first { text-align: left; font-weight: 500; }
td { white-space: nowrap; }
th[colspan] { text-align: center; }
.small { font-size: 13px; }
.small th, .small td { padding: 1px 9px; }
.pairs td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
.cards { display: grid; grid-template-columns: repeat(var(--columns), 1fr); column-gap: 14px; margin: 12px 0 0; }
figure { margin: 0; break-inside: avoid; }
.cards figure { margin-bottom: 14px; min-width: 0; }
@supports (grid-template-rows: subgrid) {
  .cards figure { display: grid; grid-row: span 3; grid-template-rows: subgrid; } }
figcaption { font-size: 13px; margin: 3px 0 5px; overflow-wrap: anywhere; }
.picture { display: block; width: 100%; height: auto; }
.key { font-size: 13px; color: #444; padding-top: 4px; }
.bar { width: 100%; max-width: 280px; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(430px, 100%), 1fr)); gap: 18px; }
.plot { width: 100%; height: auto; max-width: 720px; }
.legend { list-style: none; margin: 4px 0 8px; padding: 0; font-size: 13px; }
.legend li { display: inline-block; margin-right: 18px; }
section { break-inside: auto; }
p { break-inside: avoid; }
h2, h3, p:has(+ .cards), p:has(+ .plots) { break-after: avoid; }
tr, table:not(.small) { break-inside: avoid; }
@media screen and (max-width: 760px) { body { padding: 10px 12px 40px; } .cards { grid-template-columns: 1fr 1fr; }
  table { font-size: 13px; } th, td { padding: 4px 7px; } }
@media print { body { font-size: 11px; max-width: none; padding: 0; } table { font-size: 10px; }
  .wide { overflow: visible; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } @page { margin: 14mm; } }
"""
