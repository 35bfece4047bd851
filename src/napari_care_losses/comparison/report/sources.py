"""What a comparison's report cites."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from napari_care_losses.comparison.baselines import BASELINES

if TYPE_CHECKING:
    from napari_care_losses.comparison.report.write import ComparisonReport

LOSSES = "Nguyen, Hagen, Ventura: Deep Learning for Denoising of Fluorescence Microscopy Images"
CARE = "Weigert et al. 2018, doi:10.1038/s41592-018-0216-7"
DATA = "Hagen et al. 2021, doi:10.1093/gigascience/giab032"


def sources(report: ComparisonReport) -> str:
    """Return what to cite for the methods and measures of a report, as an HTML list."""
    entries = [
        ("Losses (Laplace, FFT, bandpass)", LOSSES),
        ("CARE: network, training, alignment before scoring", CARE),
        ("High Low pairs, where a model was trained on them", DATA),
        *((baseline.title, baseline.source) for baseline in BASELINES.values()),
    ]
    if report.truth is not None:
        entries += [
            ("SSIM", "Wang et al. 2004, doi:10.1109/TIP.2003.819861"),
            ("Fourier ring correlation", "van Heel and Schatz 2005, doi:10.1016/j.jsb.2005.05.009"),
        ]
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
