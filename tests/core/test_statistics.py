import math

import numpy as np
import pytest
from scipy import stats

from napari_care_losses.core.bootstrap import block_interval, block_length
from napari_care_losses.core.errors import InputError
from napari_care_losses.core.statistics import (
    HEADER,
    Row,
    holm,
    summarize,
    t_test,
    table_text,
)

# Tables 2-9 of Nguyen, Hagen, Ventura, "Deep Learning for Denoising of Fluorescence Microscopy Images": nine test
# images of each experiment (first letter: structure trained on, second: tested on; A actin, M mitochondria)
PAPER = {
    ("AA", "PSNR"): {
        "laplace": [35.869, 35.256, 39.915, 42.284, 39.827, 39.892, 38.235, 36.458, 41.278],
        "fft": [35.676, 33.5, 39.747, 42.14, 40.741, 40.534, 36.589, 33.306, 39.607],
        "bandpass": [35.304, 35.559, 39.833, 43.218, 40.657, 40.406, 38.297, 35.642, 40.98],
    },
    ("AM", "PSNR"): {
        "laplace": [39.803, 35.938, 39.416, 34.052, 40.982, 36.055, 38.463, 40.389, 39.696],
        "fft": [40.825, 34.37, 39.808, 35.616, 40.92, 36.485, 40.084, 40.016, 40.299],
        "bandpass": [40.779, 35.862, 39.666, 35.641, 41.938, 36.923, 39.956, 41.037, 40.401],
    },
    ("MA", "PSNR"): {
        "laplace": [36.666, 30.095, 37.591, 38.911, 36.436, 36.125, 33.647, 28.937, 35.851],
        "fft": [36.06, 30.557, 38.431, 40.44, 38.631, 39.027, 34.482, 29.406, 36.631],
        "bandpass": [35.363, 30.661, 36.413, 37.258, 36.627, 35.66, 33.029, 27.911, 35.44],
    },
    ("MM", "PSNR"): {
        "laplace": [41.059, 34.233, 39.965, 35.261, 41.057, 35.94, 40.704, 39.387, 40.702],
        "fft": [40.644, 34.474, 40.171, 36.709, 41.583, 36.585, 41.148, 40.401, 40.773],
        "bandpass": [40.213, 36.011, 39.937, 35.068, 40.292, 35.206, 39.873, 39.163, 39.253],
    },
    ("AA", "SSIM"): {
        "laplace": [0.895, 0.951, 0.967, 0.976, 0.976, 0.977, 0.972, 0.956, 0.98],
        "fft": [0.907, 0.947, 0.97, 0.981, 0.978, 0.98, 0.968, 0.93, 0.979],
        "bandpass": [0.914, 0.954, 0.966, 0.979, 0.977, 0.979, 0.977, 0.953, 0.977],
    },
    ("AM", "SSIM"): {
        "laplace": [0.977, 0.978, 0.977, 0.942, 0.985, 0.974, 0.971, 0.983, 0.974],
        "fft": [0.982, 0.984, 0.981, 0.953, 0.987, 0.977, 0.982, 0.985, 0.983],
        "bandpass": [0.983, 0.977, 0.98, 0.955, 0.987, 0.978, 0.98, 0.984, 0.982],
    },
    ("MA", "SSIM"): {
        "laplace": [0.936, 0.937, 0.957, 0.967, 0.958, 0.959, 0.964, 0.919, 0.971],
        "fft": [0.93, 0.954, 0.963, 0.974, 0.972, 0.975, 0.974, 0.939, 0.976],
        "bandpass": [0.937, 0.941, 0.958, 0.962, 0.962, 0.956, 0.962, 0.895, 0.967],
    },
    ("MM", "SSIM"): {
        "laplace": [0.983, 0.981, 0.981, 0.957, 0.988, 0.977, 0.985, 0.984, 0.987],
        "fft": [0.985, 0.985, 0.983, 0.965, 0.989, 0.977, 0.983, 0.986, 0.984],
        "bandpass": [0.985, 0.977, 0.984, 0.961, 0.988, 0.978, 0.985, 0.983, 0.986],
    },
}

# p-values of FFT and of bandpass against Laplace. PSNR: those printed in the paper, but for bandpass on MA, where it
# prints that of SSIM again. SSIM: what its rounded tables give, which is not quite what it prints.
PAPER_P = {
    ("MM", "PSNR"): (0.033, 0.264),
    ("AA", "PSNR"): (0.110, 0.639),
    ("MA", "PSNR"): (0.016, 0.026),
    ("AM", "PSNR"): (0.260, 0.002),
    ("MM", "SSIM"): (0.188, 0.594),
    ("AA", "SSIM"): (0.760, 0.228),
    ("MA", "SSIM"): (0.0058, 0.304),
    ("AM", "SSIM"): (0.0012, 0.0094),
}

rng = np.random.default_rng(0)
FIRST, SECOND = rng.normal(30, 3, (2, 12))


def scores_of(**columns):
    """Return scores of one metric, `psnr`, by method and frame."""
    return {
        method: {frame: {"psnr": float(value)} for frame, value in enumerate(values)}
        for method, values in columns.items()
    }


def autoregressive(count, correlation, seed):
    """Return a stationary series with mean 0 and variance 1 whose neighbours correlate."""
    noise = np.random.default_rng(seed).normal(size=count)
    series = np.empty(count)
    series[0] = noise[0]
    for i in range(1, count):
        series[i] = correlation * series[i - 1] + math.sqrt(1 - correlation**2) * noise[i]
    return series


def test_the_t_test_is_scipys():
    found, expected = t_test(FIRST, SECOND), stats.ttest_rel(FIRST, SECOND)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.difference == pytest.approx((FIRST - SECOND).mean())


@pytest.mark.parametrize(("experiment", "metric"), PAPER)
def test_the_papers_p_values_come_back(experiment, metric):
    columns = PAPER[experiment, metric]
    expected = PAPER_P[experiment, metric]
    for loss, p in zip(("fft", "bandpass"), expected, strict=True):
        found = t_test(columns[loss], columns["laplace"]).p_value
        assert found == pytest.approx(p, abs=0.6 * 10 ** -len(str(p).split(".")[1]))
    rows = summarize(scores_of(**columns), reference="laplace", independent=True)
    assert [round(row.p_value, 4) for row in rows if row.method != "laplace"] == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize(
    ("experiment", "metric", "laplace", "fft", "bandpass"),
    [
        # the rows "Mean" of tables 2 to 9
        ("MM", "PSNR", 38.701, 39.165, 38.335),
        ("AA", "PSNR", 38.779, 37.982, 38.877),
        ("MA", "PSNR", 34.918, 35.963, 34.262),
        ("AM", "PSNR", 38.311, 38.714, 39.134),
        ("MM", "SSIM", 0.980, 0.982, 0.981),
        ("AA", "SSIM", 0.961, 0.960, 0.964),
        ("MA", "SSIM", 0.952, 0.962, 0.949),
        ("AM", "SSIM", 0.973, 0.979, 0.979),
    ],
)
def test_the_papers_means_come_back(experiment, metric, laplace, fft, bandpass):
    rows = summarize(scores_of(**PAPER[experiment, metric]), reference="laplace", independent=True)
    assert [row.mean for row in rows] == pytest.approx([laplace, fft, bandpass], abs=0.001)
    assert [row.difference for row in rows[1:]] == pytest.approx([fft - laplace, bandpass - laplace], abs=0.002)


@pytest.mark.parametrize(
    ("first", "second", "p_value"),
    [([1.0], [2.0], math.nan), ([1, 2], [1, 2], math.nan), ([2, 3, 4], [1, 2, 3], 0), ([], [], math.nan)],
)
def test_where_nothing_varies_there_is_no_test(first, second, p_value):
    assert t_test(first, second).p_value == pytest.approx(p_value, nan_ok=True)


def test_values_that_do_not_pair_are_refused():
    with pytest.raises(InputError, match=r"\(3,\) and \(2,\)"):
        t_test([1, 2, 3], [1, 2])


def test_holm_is_the_step_down_correction():
    # worked by hand: 4 x 0.01, 3 x 0.02, 2 x 0.03 raised to the one before it, 0.5
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.4, 0.9, 0.6]) == pytest.approx([1, 1, 1])


def test_holm_leaves_out_what_was_not_tested():
    assert holm([math.nan, 0.04, 0.01]) == pytest.approx([math.nan, 0.04, 0.02], nan_ok=True)
    assert holm([]) == []


def test_a_summary_of_independent_fields():
    rows = summarize(scores_of(laplace=FIRST, fft=SECOND, tv=SECOND + 1), reference="laplace", independent=True)
    assert [(row.method, row.metric, row.count) for row in rows] == [
        (name, "psnr", 12) for name in ("laplace", "fft", "tv")
    ]
    for row, values in zip(rows, (FIRST, SECOND, SECOND + 1), strict=True):
        assert row.mean == pytest.approx(values.mean())
        assert row.spread == pytest.approx(values.std(ddof=1))
        mean = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert row.mean_interval == pytest.approx(tuple(mean))
    reference, fft, tv = rows
    assert np.isnan([reference.difference, reference.p_value, reference.p_corrected, *reference.interval]).all()
    for row, values in ((fft, SECOND), (tv, SECOND + 1)):
        expected = stats.ttest_rel(values, FIRST)
        assert row.difference == pytest.approx((values - FIRST).mean())
        assert row.p_value == pytest.approx(expected.pvalue)
        assert row.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert [fft.p_corrected, tv.p_corrected] == pytest.approx(holm([fft.p_value, tv.p_value]))


def test_frames_of_one_movie_get_an_interval_and_no_p_value():
    movie = {"laplace": autoregressive(200, 0.9, 0), "fft": autoregressive(200, 0.9, 1) + 0.2}
    rows = summarize(scores_of(**movie), reference="laplace", independent=False)
    assert all(math.isnan(row.p_value) and math.isnan(row.p_corrected) for row in rows)
    assert rows[1].interval == block_interval(movie["fft"] - movie["laplace"])
    assert rows[1].interval[0] < rows[1].difference < rows[1].interval[1]
    naive = t_test(movie["fft"], movie["laplace"]).interval
    assert np.diff(rows[1].interval) > 1.5 * np.diff(naive)
    assert rows == summarize(scores_of(**movie), reference="laplace", independent=False)


def test_only_frames_and_metrics_of_every_method_are_used():
    scores = {
        "a": {3: {"psnr": 30.0, "ssim": 0.9}, 1: {"psnr": 32.0, "ssim": 0.8}, 2: {"psnr": 99.0, "ssim": 0.1}},
        "b": {1: {"psnr": 33.0}, 3: {"psnr": 30.0, "ssim": 0.9}, 7: {"psnr": 1.0}},
    }
    first, second = summarize(scores, reference="a", independent=True)
    assert (first.metric, first.mean, first.count) == ("psnr", 31, 2)
    assert (second.mean, second.difference) == (31.5, 0.5)


def test_metric_by_metric_and_without_a_reference_only_means():
    scores = {name: {0: {"psnr": 30.0, "ssim": 0.9}, 1: {"psnr": 31.0, "ssim": 0.8}} for name in "ab"}
    rows = summarize(scores, reference=None, independent=True)
    assert [(row.metric, row.method) for row in rows] == [("psnr", "a"), ("psnr", "b"), ("ssim", "a"), ("ssim", "b")]
    assert all(math.isnan(row.difference) and math.isnan(row.p_value) for row in rows)


def test_one_image_has_no_spread_and_no_test():
    row = summarize(scores_of(a=[30], b=[31]), reference="a", independent=True)[1]
    assert (row.mean, row.count, row.difference) == (31, 1, 1)
    assert np.isnan([row.spread, row.p_value, *row.interval, *row.mean_interval]).all()


@pytest.mark.parametrize("independent", [True, False])
def test_perfect_images_have_a_mean_but_no_difference(independent):
    row = summarize(scores_of(a=FIRST, b=[math.inf, *FIRST[1:]]), reference="a", independent=independent)[1]
    assert row.mean == math.inf
    assert np.isnan([row.spread, row.difference, row.p_value, *row.interval]).all()


@pytest.mark.parametrize("scores", [{}, {"a": {}}, {"a": {0: {"psnr": 1.0}}, "b": {1: {"psnr": 1.0}}}, {"a": {0: {}}}])
def test_nothing_shared_is_no_row(scores):
    assert summarize(scores, reference=None, independent=True) == []


def test_a_reference_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="'laplace' is none of the methods: a"):
        summarize(scores_of(a=[1]), reference="laplace", independent=True)


@pytest.mark.parametrize("correlation", [0, 0.6, 0.9])
def test_the_bootstrap_interval_covers_the_mean_about_as_often_as_it_says(correlation):
    covered = [
        low <= 0 <= high
        for low, high in (block_interval(autoregressive(200, correlation, seed)) for seed in range(200))
    ]
    # an interval for independent values: 0.94, 0.69 and 0.36
    assert np.mean(covered) > {0: 0.92, 0.6: 0.88, 0.9: 0.85}[correlation]
    assert np.mean(covered) < 0.99


def test_blocks_are_as_long_as_neighbours_are_alike():
    assert 15 <= block_length(np.arange(60.0)) <= 20
    assert block_length(np.random.default_rng(0).normal(size=300)) <= 5
    assert block_length(np.full(50, 3.0)) == 1


@pytest.mark.parametrize("values", [np.arange(9.0), [*np.arange(20.0), np.nan], []])
def test_too_little_to_draw_from_has_no_interval(values):
    assert np.isnan(block_interval(values)).all()


def test_a_constant_series_has_an_interval_of_no_width():
    assert block_interval(np.full(20, 3.0)) == (3, 3)


def test_the_table_as_text_holds_every_row_and_can_be_pasted():
    rows = [
        Row("my\tmodel", "psnr", 31.23456789, 1.5, 9, 0.5, 0.0333, 0.0666, (0.1, 0.9), (30, 32)),
        Row("b", "ssim", 1, math.nan, 1),
    ]
    lines = [line.split("\t") for line in table_text(rows).splitlines()]
    assert lines[0] == list(HEADER)
    assert lines[1] == ["my model", "psnr", "31.2346", "1.5", "9", "0.5", "0.1", "0.9", "30", "32", "0.0333", "0.0666"]
    assert lines[2] == ["b", "ssim", "1", "", "1", *[""] * 7]
