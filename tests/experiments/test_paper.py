import math
import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy.special import stdtrit

from napari_care_losses.evaluation.statistics import holm, summarize, t_test
from napari_care_losses.experiments.paper import (
    EXPERIMENTS,
    HALF_STEP,
    LOSSES,
    METRICS,
    PRINTED_INCREASES,
    PRINTED_MEANS,
    PRINTED_P,
    p_range,
    paper_scores,
)

DOCS = Path(__file__).parents[2] / "docs"
CELLS = [(experiment, metric) for metric in METRICS for experiment in EXPERIMENTS]
TESTED = [(*cell, loss) for cell in CELLS for loss in ("fft", "bandpass")]

# what the tables give, worked out apart from this project with scipy.stats.ttest_rel
P_OF_THE_TABLES = {
    ("MM", "psnr"): (0.033, 0.264),
    ("AA", "psnr"): (0.110, 0.639),
    ("MA", "psnr"): (0.016, 0.026),
    ("AM", "psnr"): (0.260, 0.002),
    ("MM", "ssim"): (0.188, 0.594),
    ("AA", "ssim"): (0.760, 0.228),
    ("MA", "ssim"): (0.0058, 0.304),
    ("AM", "ssim"): (0.0012, 0.0094),
}


def column(experiment, metric, method):
    return np.array([row[metric] for row in paper_scores(experiment)[method].values()])


def row_of(experiment, metric, method):
    scores = {name: images for name, images in paper_scores(experiment).items() if name != "input"}
    rows = summarize(scores, reference="laplace", independent=True)
    return next(row for row in rows if (row.method, row.metric) == (method, metric))


def is_possible(printed, experiment, metric, loss):
    """Return whether values that round to the table's can have a p-value that rounds to the printed one."""
    half = 0.5 * 10 ** -len(printed.split(".")[1])
    low, high = p_range(column(experiment, metric, loss), column(experiment, metric, "laplace"))
    return low <= float(printed) + half and float(printed) - half <= high


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_each_experiment_has_nine_images_under_every_method_and_metric(experiment):
    scores = paper_scores(experiment)
    assert list(scores) == ["input", *LOSSES]
    for images in scores.values():
        assert list(images) == list(range(9))
        assert all(set(row) == set(METRICS) for row in images.values())


@pytest.mark.parametrize(("experiment", "metric"), CELLS)
def test_means_and_increases_match_except_one_misprint(experiment, metric):
    rows = summarize(paper_scores(experiment), reference="input", independent=True)
    means = {row.method: row.mean for row in rows if row.metric == metric}
    printed = dict(PRINTED_MEANS[experiment, metric])
    if (experiment, metric) == ("AM", "psnr"):
        assert printed["input"] == 32.396
        printed["input"] = 32.296
    assert means == pytest.approx(printed, abs=0.001)
    increases = {row.method: row.difference for row in rows if row.metric == metric and row.method != "input"}
    assert increases == pytest.approx(PRINTED_INCREASES[experiment, metric], abs=0.001)


@pytest.mark.parametrize(("experiment", "metric"), CELLS)
def test_the_p_values_are_those_of_the_tables(experiment, metric):
    for loss, expected in zip(("fft", "bandpass"), P_OF_THE_TABLES[experiment, metric], strict=True):
        found = row_of(experiment, metric, loss).p_value
        assert found == pytest.approx(expected, abs=0.6 * 10 ** -len(str(expected).split(".")[1]))


def test_three_printed_p_values_are_not_those_of_their_table():
    wrong = {key for key in TESTED if not is_possible(PRINTED_P[key[:2]][key[2]], *key)}
    assert wrong == {("MA", "psnr", "bandpass"), ("AA", "ssim", "fft"), ("AA", "ssim", "bandpass")}


def test_one_of_them_is_printed_twice_and_two_changed_places():
    assert PRINTED_P["MA", "psnr"]["bandpass"] == PRINTED_P["MA", "ssim"]["bandpass"]
    assert is_possible(PRINTED_P["MA", "ssim"]["bandpass"], "MA", "ssim", "bandpass")
    worse = row_of("MA", "psnr", "bandpass")
    assert worse.interval[1] < 0 and worse.p_corrected < 0.05
    assert is_possible(PRINTED_P["AA", "ssim"]["bandpass"], "AA", "ssim", "fft")
    assert is_possible(PRINTED_P["AA", "ssim"]["fft"], "AA", "ssim", "bandpass")


def test_what_stays_significant():
    rows = {key: row_of(*key) for key in TESTED}
    alone = {key for key, row in rows.items() if row.p_value < 0.05}
    of_two = {key for key, row in rows.items() if row.p_corrected < 0.05}
    of_all = {key for key, p in zip(rows, holm([row.p_value for row in rows.values()]), strict=True) if p < 0.05}
    assert alone - of_two == {("MM", "psnr", "fft")}
    assert of_two - of_all == {
        ("MA", "psnr", "fft"),
        ("MA", "psnr", "bandpass"),
        ("MA", "ssim", "fft"),
        ("AM", "ssim", "bandpass"),
    }
    assert of_all == {("AM", "psnr", "bandpass"), ("AM", "ssim", "fft")}


def test_effect_sizes_are_those_of_the_t_statistics():
    for key in TESTED:
        t = t_test(column(*key), column(*key[:2], "laplace")).statistic
        assert row_of(*key).effect_size == pytest.approx(t / math.sqrt(9))
    assert row_of("AM", "psnr", "bandpass").effect_size == pytest.approx(1.55, abs=0.005)


def test_the_inputs_of_actin_differ_in_one_cell():
    assert (column("AA", "psnr", "input") == column("MA", "psnr", "input")).all()
    assert np.flatnonzero(column("AA", "ssim", "input") != column("MA", "ssim", "input")).tolist() == [0]
    for metric in METRICS:
        assert (column("MM", metric, "input") == column("AM", metric, "input")).all()


def test_frames_of_a_movie_get_no_p_value():
    # what the paper's p-value of AAS says of the spread, with an effect size that no field of view has
    t = -stdtrit(199, float(PRINTED_P["AAS", "psnr"]["fft"]) / 2)
    assert t / math.sqrt(200) == pytest.approx(14.3, abs=0.05)
    difference = PRINTED_MEANS["AAS", "psnr"]["fft"] - PRINTED_MEANS["AAS", "psnr"]["laplace"]
    frames = difference * (1 + np.random.default_rng(0).normal(size=200) / 14.3)
    assert t_test(frames, np.zeros(200)).p_value < 1e-200
    scores = {
        "laplace": {frame: {"psnr": 0.0} for frame in range(200)},
        "fft": {frame: {"psnr": float(value)} for frame, value in enumerate(frames)},
    }
    row = summarize(scores, reference="laplace", independent=False)[1]
    assert math.isnan(row.p_value) and math.isnan(row.effect_size)
    assert row.interval[0] < difference < row.interval[1]


@pytest.mark.parametrize("key", TESTED[::3])
def test_values_that_round_to_the_table_stay_in_the_range(key):
    first, second = column(*key), column(*key[:2], "laplace")
    low, high = p_range(first, second)
    assert low < t_test(first, second).p_value < high
    rng = np.random.default_rng(0)
    for _ in range(200):
        noise = HALF_STEP * rng.choice([rng.uniform(-1, 1, (2, 9)), rng.choice([-1, 1], (2, 9))])
        assert low <= t_test(first + noise[0], second + noise[1]).p_value <= high


def test_the_range_is_reached():
    # by hand: differences of 0.002 and 0.004 can all have been 0.003, or 0.001 and 0.005
    low, high = p_range([0.002, 0.004], [0, 0])
    assert low == 0
    assert high == pytest.approx(t_test([0.001, 0.005], [0, 0]).p_value)
    assert p_range([0.002, 0.001], [0.001, 0.001])[1] == 1


def test_the_page_is_what_its_script_makes():
    script = runpy.run_path(str(DOCS / "make_paper_tables.py"))
    assert script["page"]() == (DOCS / "paper_tables.md").read_text(encoding="utf-8")
