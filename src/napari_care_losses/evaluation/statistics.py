"""Tables of methods compared over images: means, paired differences, tests where the images allow them.

Images of different fields of view are independent: differences between methods are tested by a paired t-test. Frames
of one movie are not, however many there are: their mean gets an interval from a bootstrap over blocks of time, and no
p-value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.bootstrap import CONFIDENCE, NO_INTERVAL, block_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    _Interval = Callable[[NDArray[np.float64]], tuple[float, float]]


@dataclass(frozen=True)
class Row:
    """One method under one metric, over `count` images; intervals are 95 % confidence intervals."""

    method: str
    metric: str
    mean: float
    spread: float
    """Standard deviation of the sample (``ddof=1``); NaN for one value."""
    count: int
    difference: float = math.nan
    """Mean of method minus reference; NaN in the reference's own row or without one."""
    p_value: float = math.nan
    """Of the paired, two-sided t-test against the reference; NaN where it is not allowed."""
    p_corrected: float = math.nan
    """The same after Holm's correction for the number of methods tested under this metric."""
    interval: tuple[float, float] = NO_INTERVAL
    """Of the difference."""
    mean_interval: tuple[float, float] = NO_INTERVAL
    effect_size: float = math.nan
    """Of the difference, as in `TTest`; NaN where a test is not allowed."""


class TTest(NamedTuple):
    """A paired t-test: Student's t, the two-sided p-value, the mean of first minus second and its 95 % interval.

    The effect size is Cohen's :math:`d_z` (Cohen 1988, Statistical Power Analysis, eq. 2.3.5), the mean difference in
    standard deviations (``ddof=1``) of the paired differences. Values are NaN for fewer than two pairs or where no pair
    differs; the effect size also where all differ alike.
    """

    statistic: float
    p_value: float
    difference: float
    interval: tuple[float, float]
    effect_size: float = math.nan


def summarize(
    scores: Mapping[str, Mapping[int, Mapping[str, float]]], *, reference: str | None, independent: bool, seed: int = 0
) -> list[Row]:
    """Summarize scores over images, and compare every method with a reference.

    Parameters
    ----------
    scores : mapping
        ``scores[method][frame][metric]``. Frames and metrics that not every method has are left out.
    reference : str, optional
        The method that others are compared with.
    independent : bool
        Whether the frames are independent (different fields of view). Frames of one movie are not: they get no p-value,
        and intervals from a moving-block bootstrap over time, whose random seed is `seed`.

    Returns
    -------
    list of Row
        Metric by metric, the methods in the order given; empty where no frame is shared.

    Raises
    ------
    InputError
        If the reference is none of the methods.
    """
    if reference is not None and reference not in scores:
        raise InputError(f"The reference {reference!r} is none of the methods: {', '.join(scores)}.")
    frames = sorted(set.intersection(*(set(rows) for rows in scores.values()))) if scores else []
    if not frames:
        return []

    def interval_of(values: NDArray[np.float64]) -> tuple[float, float]:
        return _mean_test(values).interval if independent else block_interval(values, seed=seed)

    every = [scores_of[frame] for scores_of in scores.values() for frame in frames]
    rows = []
    for metric in (metric for metric in every[0] if all(metric in found for found in every)):
        of_metric = []
        for method, scores_of in scores.items():
            values = np.array([scores_of[frame][metric] for frame in frames], np.float64)
            spread = float(values.std(ddof=1)) if values.size > 1 and np.isfinite(values).all() else math.nan
            row = Row(method, metric, float(values.mean()), spread, values.size, mean_interval=interval_of(values))
            if reference is not None and method != reference:
                others = np.array([scores[reference][frame][metric] for frame in frames], np.float64)
                row = _compared(row, values, others, interval_of, is_tested=independent)
            of_metric.append(row)
        corrected = holm([row.p_value for row in of_metric])
        rows += [replace(row, p_corrected=p) for row, p in zip(of_metric, corrected, strict=True)]
    return rows


def t_test(first: ArrayLike, second: ArrayLike) -> TTest:
    """Compare paired values (N,) by Student's two-sided t-test; raises `InputError` if their numbers differ.

    Examples
    --------
    >>> from napari_care_losses.evaluation.statistics import t_test
    >>> test = t_test([31.2, 30.8, 32.1, 29.9], [30.1, 30.0, 30.8, 29.4])
    >>> round(test.difference, 3), round(test.p_value, 4)
    (0.925, 0.0132)
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise InputError(f"A paired test needs as many first as second values, found {first.shape} and {second.shape}.")
    return _mean_test(first - second)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number by Holm's step-down method (Holm 1979, Scand. J. Stat. 6, 65-70).

    NaN, where there was no test, stays NaN and does not count.
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    corrected = [math.nan] * len(p_values)
    largest = 0.0
    for number, (p, place) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - number) * p))
        corrected[place] = largest
    return corrected


def table_text(rows: Sequence[Row]) -> str:
    """Return the rows of `summarize` as tab-separated lines, a header first: for the clipboard and spreadsheets."""
    # white space in a name must not end its cell
    lines = [HEADER, *([" ".join(cell.split()) for cell in row_cells(row)] for row in rows)]
    return "".join("\t".join(line) + "\n" for line in lines)


HEADER = (
    "method",
    "metric",
    "mean",
    "standard deviation",
    "images",
    "difference to reference",
    "difference 95% low",
    "difference 95% high",
    "mean 95% low",
    "mean 95% high",
    "p (paired t-test)",
    "p (Holm)",
    "effect size (Cohen's d_z)",
)
"""Titles of the columns that `row_cells` fills."""


def row_cells(row: Row) -> list[str]:
    """Return the cells of one row of a table, empty where there is no value."""
    numbers = (row.mean, row.spread, row.count, row.difference, *row.interval, *row.mean_interval)
    tested = (row.p_value, row.p_corrected, row.effect_size)
    texts = ("" if math.isnan(value) else f"{value:.6g}" for value in (*numbers, *tested))
    return [row.method, row.metric, *texts]


def _compared(
    row: Row, values: NDArray[np.float64], reference: NDArray[np.float64], interval_of: _Interval, *, is_tested: bool
) -> Row:
    """Return the row with its difference to the reference."""
    if not (np.isfinite(values).all() and np.isfinite(reference).all()):
        return row
    test = t_test(values, reference)
    row = replace(row, difference=test.difference, interval=interval_of(values - reference))
    return replace(row, p_value=test.p_value, effect_size=test.effect_size) if is_tested else row


def _mean_test(values: NDArray[np.float64]) -> TTest:
    """Test whether the mean of values is zero."""
    if values.size < 1 or not np.isfinite(values).all():
        return TTest(math.nan, math.nan, math.nan, NO_INTERVAL)
    mean = float(values.mean())
    if values.size < 2:
        return TTest(math.nan, math.nan, mean, NO_INTERVAL)
    # imported late: it takes half a second, and the viewer's forms do not need it
    from scipy.special import stdtr, stdtrit

    freedom = values.size - 1
    spread = float(values.std(ddof=1))
    error = spread / math.sqrt(values.size)
    if error == 0:
        statistic = math.nan if mean == 0 else math.copysign(math.inf, mean)
        return TTest(statistic, math.nan if mean == 0 else 0.0, mean, (mean, mean))
    statistic = mean / error
    reach = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    p_value = float(2 * stdtr(freedom, -abs(statistic)))
    return TTest(statistic, p_value, mean, (mean - reach, mean + reach), mean / spread)
