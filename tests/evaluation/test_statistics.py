import math

import numpy as np
import pytest
from scipy import stats

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.bootstrap import block_interval, block_length
from napari_care_losses.evaluation.statistics import (
    HEADER,
    Row,
    holm,
    summarize,
    t_test,
    table_text,
)

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


def test_the_effect_size_is_the_mean_difference_in_its_standard_deviations():
    found = t_test(FIRST, SECOND)
    assert found.effect_size == pytest.approx(np.mean(FIRST - SECOND) / np.std(FIRST - SECOND, ddof=1))
    assert found.effect_size == pytest.approx(found.statistic / math.sqrt(len(FIRST)))
    assert t_test(SECOND, FIRST).effect_size == -found.effect_size
    # worked by hand: differences 1, 2, 3 have mean 2 and standard deviation 1
    assert t_test([2, 4, 6], [1, 2, 3]).effect_size == 2


@pytest.mark.parametrize(
    ("first", "second", "p_value"),
    [([1.0], [2.0], math.nan), ([1, 2], [1, 2], math.nan), ([2, 3, 4], [1, 2, 3], 0), ([], [], math.nan)],
)
def test_where_nothing_varies_there_is_no_test(first, second, p_value):
    found = t_test(first, second)
    assert found.p_value == pytest.approx(p_value, nan_ok=True)
    assert math.isnan(found.effect_size)


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
    assert math.isnan(reference.effect_size)
    for row, values in ((fft, SECOND), (tv, SECOND + 1)):
        expected = stats.ttest_rel(values, FIRST)
        assert row.difference == pytest.approx((values - FIRST).mean())
        assert row.p_value == pytest.approx(expected.pvalue)
        assert row.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
        assert row.effect_size == pytest.approx(expected.statistic / math.sqrt(12))
    assert [fft.p_corrected, tv.p_corrected] == pytest.approx(holm([fft.p_value, tv.p_value]))


def test_frames_of_one_movie_get_an_interval_and_no_p_value():
    movie = {"laplace": autoregressive(200, 0.9, 0), "fft": autoregressive(200, 0.9, 1) + 0.2}
    rows = summarize(scores_of(**movie), reference="laplace", independent=False)
    assert np.isnan([(row.p_value, row.p_corrected, row.effect_size) for row in rows]).all()
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
    assert np.isnan([row.spread, row.p_value, row.effect_size, *row.interval, *row.mean_interval]).all()


@pytest.mark.parametrize("independent", [True, False])
def test_perfect_images_have_a_mean_but_no_difference(independent):
    row = summarize(scores_of(a=FIRST, b=[math.inf, *FIRST[1:]]), reference="a", independent=independent)[1]
    assert row.mean == math.inf
    assert np.isnan([row.spread, row.difference, row.p_value, row.effect_size, *row.interval]).all()


@pytest.mark.parametrize("scores", [{}, {"a": {}}, {"a": {0: {"psnr": 1.0}}, "b": {1: {"psnr": 1.0}}}, {"a": {0: {}}}])
def test_methods_without_a_shared_frame_give_no_row(scores):
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


def test_blocks_grow_with_the_correlation_of_neighbours():
    assert 15 <= block_length(np.arange(60.0)) <= 20
    assert block_length(np.random.default_rng(0).normal(size=300)) <= 5
    assert block_length(np.full(50, 3.0)) == 1


@pytest.mark.parametrize("values", [np.arange(9.0), [*np.arange(20.0), np.nan], []])
def test_few_values_have_no_interval(values):
    assert np.isnan(block_interval(values)).all()


def test_a_constant_series_has_an_interval_of_no_width():
    assert block_interval(np.full(20, 3.0)) == (3, 3)


def test_the_table_as_text_holds_every_row_and_can_be_pasted():
    rows = [
        Row("my\tmodel", "psnr", 31.23456789, 1.5, 9, 0.5, 0.0333, 0.0666, (0.1, 0.9), (30, 32), 0.8),
        Row("b", "ssim", 1, math.nan, 1),
    ]
    lines = [line.split("\t") for line in table_text(rows).splitlines()]
    assert lines[0] == list(HEADER)
    numbers = ["31.2346", "1.5", "9", "0.5", "0.1", "0.9", "30", "32", "0.0333", "0.0666", "0.8"]
    assert lines[1] == ["my model", "psnr", *numbers]
    assert lines[2] == ["b", "ssim", "1", "", "1", *[""] * 8]
