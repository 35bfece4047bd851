"""The tables of the paper that this project implements, as data.

Nguyen, Hagen, Ventura, "Deep Learning for Denoising of Fluorescence Microscopy Images". ``paper_tables.csv`` holds its
Tables 2 to 9, image by image; the means, increases and p-values that it prints stand here, digit for digit. An
experiment is named by the structures trained and tested on: M mitochondria, A actin.
"""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.evaluation.statistics import t_test

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

EXPERIMENTS = ("MM", "AA", "MA", "AM")
METRICS = ("psnr", "ssim")
LOSSES = ("laplace", "fft", "bandpass")

TABLES = {
    ("AA", "psnr"): 2,
    ("AA", "ssim"): 3,
    ("MM", "psnr"): 4,
    ("MM", "ssim"): 5,
    ("MA", "psnr"): 6,
    ("MA", "ssim"): 7,
    ("AM", "psnr"): 8,
    ("AM", "ssim"): 9,
    ("AAS", "psnr"): 10,
    ("AAS", "ssim"): 10,
}
"""Number of the table in the paper; that of DDS has none."""

PRINTED_MEANS = {
    ("MM", "psnr"): {"input": 32.296, "laplace": 38.701, "fft": 39.165, "bandpass": 38.335},
    ("MM", "ssim"): {"input": 0.824, "laplace": 0.980, "fft": 0.982, "bandpass": 0.981},
    ("AA", "psnr"): {"input": 30.444, "laplace": 38.779, "fft": 37.982, "bandpass": 38.877},
    ("AA", "ssim"): {"input": 0.795, "laplace": 0.961, "fft": 0.960, "bandpass": 0.964},
    ("MA", "psnr"): {"input": 30.444, "laplace": 34.918, "fft": 35.963, "bandpass": 34.262},
    ("MA", "ssim"): {"input": 0.795, "laplace": 0.952, "fft": 0.962, "bandpass": 0.949},
    ("AM", "psnr"): {"input": 32.396, "laplace": 38.311, "fft": 38.714, "bandpass": 39.134},
    ("AM", "ssim"): {"input": 0.824, "laplace": 0.973, "fft": 0.979, "bandpass": 0.979},
    ("DDS", "psnr"): {"input": 26.639, "laplace": 32.691, "fft": 28.534, "bandpass": 32.758},
    ("DDS", "ssim"): {"input": 0.570, "laplace": 0.897, "fft": 0.846, "bandpass": 0.909},
    ("AAS", "psnr"): {"input": 25.672, "laplace": 25.917, "fft": 26.023, "bandpass": 26.002},
    ("AAS", "ssim"): {"input": 0.837, "laplace": 0.872, "fft": 0.874, "bandpass": 0.874},
}
"""The rows "Mean" of Tables 2 to 9, the table of DDS and Table 10."""

PRINTED_INCREASES = {
    ("MM", "psnr"): {"laplace": 6.405, "fft": 6.870, "bandpass": 6.039},
    ("AA", "psnr"): {"laplace": 8.336, "fft": 7.539, "bandpass": 8.434},
    ("MA", "psnr"): {"laplace": 4.474, "fft": 5.519, "bandpass": 3.819},
    ("AM", "psnr"): {"laplace": 6.015, "fft": 6.418, "bandpass": 6.838},
    ("MM", "ssim"): {"laplace": 0.157, "fft": 0.158, "bandpass": 0.157},
    ("AA", "ssim"): {"laplace": 0.166, "fft": 0.165, "bandpass": 0.169},
    ("MA", "ssim"): {"laplace": 0.157, "fft": 0.167, "bandpass": 0.154},
    ("AM", "ssim"): {"laplace": 0.150, "fft": 0.156, "bandpass": 0.155},
}
"""Table 11: the mean of a loss minus that of the input."""

PRINTED_P = {
    ("MM", "psnr"): {"fft": "0.03", "bandpass": "0.264"},
    ("MM", "ssim"): {"fft": "0.150", "bandpass": "0.426"},
    ("AA", "psnr"): {"fft": "0.110", "bandpass": "0.640"},
    ("AA", "ssim"): {"fft": "0.201", "bandpass": "0.710"},
    ("MA", "psnr"): {"fft": "0.016", "bandpass": "0.311"},
    ("MA", "ssim"): {"fft": "0.007", "bandpass": "0.311"},
    ("AM", "psnr"): {"fft": "0.260", "bandpass": "0.002"},
    ("AM", "ssim"): {"fft": "0.0008", "bandpass": "0.008"},
    ("AAS", "psnr"): {"fft": "1.509e-232", "bandpass": "4.055e-232"},
    ("AAS", "ssim"): {"fft": "5.811e-205", "bandpass": "5.458e-199"},
}
"""Of paired t-tests against Laplace, with the digits printed."""

HALF_STEP = 0.0005
"""What rounding to the three decimals of the tables changes at most."""


def paper_scores(experiment: str) -> dict[str, dict[int, dict[str, float]]]:
    """Return the scores of one experiment as `napari_care_losses.evaluation.statistics.summarize` takes them.

    These are ``scores[method][image][metric]`` of one of `EXPERIMENTS`: the methods ``"input"`` and `LOSSES`, nine
    images, the metrics `METRICS`.
    """
    scores: dict[str, dict[int, dict[str, float]]] = {"input": {}, **{loss: {} for loss in LOSSES}}
    with Path(__file__).with_name("paper_tables.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["experiment"] == experiment:
                for method, images in scores.items():
                    images.setdefault(int(row["image"]), {})[row["metric"].lower()] = float(row[method])
    return scores


def p_range(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """Return the smallest and largest p-value of the paired t-test over all values that round to those given.

    `first` and `second` are paired values (N,), rounded to three decimals.
    """
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    if differences.mean() < 0:
        differences = -differences
    low, high = differences - 2 * HALF_STEP, differences + 2 * HALF_STEP
    zero = np.zeros(differences.size)
    # Of all differences with one mean, those pulled towards one value vary least
    towards = np.linspace(high.min(), low.max(), 1001)
    smallest = min(t_test(np.clip(value, low, high), zero).p_value for value in towards)
    if low.mean() <= 0:
        return smallest, 1.0
    # and those at the ends of their ranges vary most.
    ends = product(*zip(low, high, strict=True))
    return smallest, max(t_test(end, zero).p_value for end in ends)
