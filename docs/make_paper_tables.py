"""Make docs/paper_tables.md: the paper's own tables, put through this project's statistics.

python docs/make_paper_tables.py
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from napari_care_losses.evaluation.metrics import METRICS as SCORES
from napari_care_losses.evaluation.statistics import holm, summarize
from napari_care_losses.experiments.paper import (
    EXPERIMENTS,
    LOSSES,
    METRICS,
    PRINTED_INCREASES,
    PRINTED_MEANS,
    PRINTED_P,
    TABLES,
    p_range,
    paper_scores,
)

if TYPE_CHECKING:
    from napari_care_losses.evaluation.statistics import Row

PAGE = Path(__file__).with_name("paper_tables.md")
DIGITS = {"psnr": 3, "ssim": 4}
FRAMES = 200

INTRODUCTION = """\
# The paper's own tables, tested again

Nguyen, Hagen and Ventura, "Deep Learning for Denoising of Fluorescence Microscopy Images", print the scores of nine
test images under every loss (Tables 2 to 9, as data in `src/napari_care_losses/experiments/paper_tables.csv`). Here
they go through the statistics that this project's own reports use. `python docs/make_paper_tables.py` makes this
page, and `tests/experiments/test_paper.py` tests what it says.

Experiments are named by what was trained and tested on: M mitochondria, A actin.
"""

TESTS = """\
## Losses against Laplace

Paired, two-sided t-tests over the nine images. In brackets: the 95 % interval of the mean difference. d_z: Cohen's
effect size, the mean difference in standard deviations of the differences. "Rounding allows": the smallest and
largest p of all values that round to the three decimals of the table; a p printed outside was not computed from that
table. Holm: p corrected for the two losses compared under each metric, and for all sixteen tests.
"""

VERDICT = """\
## What holds

- Every mean but one, and all average increases (Table 11), come back within 0.001.
- All p-values of PSNR but one come back.
- The tables of SSIM have too few decimals for its p-values: losses differ by a few thousandths, not much more than
  rounding changes. Six of the eight printed values lie where rounding allows, which does not say much.
- Mitochondria restored by models of actin (AM): bandpass is 0.82 dB better than Laplace, and FFT 0.006 better in
  SSIM. These two of the sixteen differences stay significant when corrected for all sixteen tests; bandpass in SSIM
  does when corrected for the two losses.
- Actin restored by models of mitochondria (MA): FFT is better than Laplace in both metrics, when corrected for the
  two losses; not for all sixteen tests.
- Where there is no significance, the losses need not be equal: from nine images, the mean difference is known to 0.4
  decibels at best (the intervals).

## What does not

- MA, bandpass, PSNR: printed is 0.311, which is the value of SSIM again. The table gives 0.026, and the difference is
  negative: bandpass is *worse* than Laplace there, by 0.66 dB, significantly when corrected for the two losses.
- AA, SSIM: printed are 0.201 for FFT and 0.710 for bandpass. The table gives 0.760 and 0.228, and rounding does not
  explain it. Exchanged, both would lie where rounding allows: the two cells seem to have changed places.
- MM, FFT, PSNR (0.03) is significant alone, and no longer when corrected for the two losses.
- Where models are tested on what they were trained on (MM, AA), nothing stays significant when corrected. The paper's
  "statistically significant improvements" are those of mismatched models.
- Table 8 prints a mean input of 32.396 where its rows give 32.296; Table 11 was made with the latter.
- The inputs of AA and MA are the same nine images by their PSNR, but Tables 3 and 7 differ in the SSIM of the first:
  0.447 and 0.448.
- The text says that ten pairs of mitochondria were tested; the tables list nine.
"""

MOVIES = """\
## The movie of actin (AAS)

The paper tests 200 frames of one movie as if they were independent samples:

| metric | loss | mean difference | p printed | t | d_z | standard deviation of the differences |
|---|---|---|---|---|---|---|
{rows}

The last three columns follow from the others and 200 frames. So small a spread says that all frames show one sample
under one setting, in which the losses differ by a tenth of a decibel, frame after frame. It does not say that they
would in another movie: of movies there is one, and from one there is no p-value.

Nor are the frames independent within the movie. Where neighbours correlate by 0, 0.6 and 0.9, the interval of a
t-test over 200 frames, meant to hold the mean 95 times in a hundred, holds it 94, 69 and 36 times. The moving-block
bootstrap, which the reports use for movies, holds it 95, 92 and 91 times (`evaluation/bootstrap.py`); it, too, speaks
of that one movie. The paper does not print the scores of the frames, so that no such interval can be given for its
movies (this one, and that of dendra, for which it prints no test).
"""


def page() -> str:
    """Return the page as Markdown."""
    parts = [
        INTRODUCTION,
        TESTS,
        *(_tests(metric) for metric in METRICS),
        VERDICT,
        _means(),
        MOVIES.format(rows=_movies()),
    ]
    return "\n".join(parts)


def rows_of(experiment: str, metric: str) -> list[Row]:
    """Return what `summarize` says of the losses; of the input, no loss, only in `_means`."""
    scores = paper_scores(experiment)
    del scores["input"]
    return [row for row in summarize(scores, reference="laplace", independent=True) if row.metric == metric]


def _tests(metric: str) -> str:
    """Return the table of tests under one metric."""
    every = [(key, row) for key in _KEYS for row in rows_of(*key) if row.method != "laplace"]
    of_all = holm([row.p_value for _, row in every])
    lines = [
        f"### {SCORES[metric].label}",
        "",
        "| experiment | loss | difference [95 %] | d_z | p | rounding allows | p printed | Holm, 2 | Holm, 16 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for ((experiment, its_metric), row), corrected in zip(every, of_all, strict=True):
        if its_metric != metric:
            continue
        low, high = p_range(*(_values(experiment, metric, method) for method in (row.method, "laplace")))
        cells = [
            experiment,
            row.method,
            f"{_signed(row.difference, metric)} [{', '.join(_signed(end, metric) for end in row.interval)}]",
            f"{row.effect_size:+.2f}",
            _p(row.p_value),
            f"{_p(low)} to {_p(high)}",
            PRINTED_P[experiment, metric][row.method],
            _p(row.p_corrected),
            _p(corrected),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _means() -> str:
    """Return the means and increases as printed, and beside them what the rows give where it differs."""
    lines = [
        "## Means and average increases",
        "",
        'As printed (rows "Mean" of the tables, and Table 11); in brackets what the rows give where it differs by more '
        "than 0.001.",
        "",
        "| experiment | table | metric | input | "
        + " | ".join(LOSSES)
        + " | "
        + " | ".join(f"increase, {loss}" for loss in LOSSES)
        + " |",
        "|" + "---|" * (4 + 2 * len(LOSSES)),
    ]
    for metric in METRICS:
        for experiment in EXPERIMENTS:
            scores, printed = paper_scores(experiment), PRINTED_MEANS[experiment, metric]
            means = {
                method: sum(rows[metric] for rows in images.values()) / len(images) for method, images in scores.items()
            }
            cells = [experiment, str(TABLES[experiment, metric]), metric.upper()]
            cells += [_beside(printed[method], means[method]) for method in ("input", *LOSSES)]
            increases = PRINTED_INCREASES[experiment, metric]
            cells += [_beside(increases[loss], means[loss] - means["input"]) for loss in LOSSES]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _movies() -> str:
    # half a second to import, which `page` alone needs
    from scipy.special import stdtrit

    lines = []
    for metric in METRICS:
        printed = PRINTED_MEANS["AAS", metric]
        for loss, p in PRINTED_P["AAS", metric].items():
            difference = printed[loss] - printed["laplace"]
            statistic = -float(stdtrit(FRAMES - 1, float(p) / 2))
            effect_size = statistic / math.sqrt(FRAMES)
            cells = [metric.upper(), loss, f"{difference:+.3f}", p, f"{statistic:.0f}", f"{effect_size:.1f}"]
            lines.append(f"| {' | '.join(cells)} | {difference / effect_size:.1g} |")
    return "\n".join(lines)


def _values(experiment: str, metric: str, method: str) -> list[float]:
    return [row[metric] for row in paper_scores(experiment)[method].values()]


def _beside(printed: float, found: float) -> str:
    return f"{printed:.3f}" + (f" ({found:.3f})" if abs(found - printed) > 0.001 else "")


def _signed(value: float, metric: str) -> str:
    return f"{value:+.{DIGITS[metric]}f}"


def _p(value: float) -> str:
    return f"{value:.4f}" if value < 0.01 else f"{value:.3f}"


_KEYS = [(experiment, metric) for metric in METRICS for experiment in EXPERIMENTS]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
