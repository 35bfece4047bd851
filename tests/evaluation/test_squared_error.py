from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import linregress, pearsonr

from napari_care_losses.evaluation.metrics import METRICS, align, psnr
from napari_care_losses.evaluation.squared_error import error_map, rse, rsp

RNG = np.random.default_rng(0)
TRUTH = RNG.random((30, 40))
RESTORED = 3 * TRUTH + RNG.normal(0, 0.3, TRUTH.shape) + 5


def test_the_error_map_is_what_a_line_leaves() -> None:
    line = linregress(RESTORED.ravel(), TRUTH.ravel())
    expected = np.abs(TRUTH - line.slope * RESTORED - line.intercept)
    assert np.allclose(error_map(RESTORED, TRUTH), expected)
    assert rse(RESTORED, TRUTH) == pytest.approx(np.sqrt((expected**2).mean()))


def test_rsp_is_the_correlation_of_pearson() -> None:
    assert rsp(RESTORED, TRUTH) == pytest.approx(pearsonr(RESTORED.ravel(), TRUTH.ravel())[0])
    assert rsp(np.full_like(TRUTH, 3), TRUTH) == 0


def test_rse_of_an_aligned_image_is_its_psnr_written_otherwise() -> None:
    aligned = align(RESTORED, TRUTH)
    assert rse(aligned, TRUTH) == pytest.approx(10 ** (-psnr(aligned, TRUTH) / 20))


def test_errors_are_better_where_they_are_lower() -> None:
    assert [name for name, metric in METRICS.items() if not metric.higher_is_better] == ["nrmse", "rse"]
    assert METRICS["rse"].best({"a": 0.1, "b": 0.2}) == {"a"}
