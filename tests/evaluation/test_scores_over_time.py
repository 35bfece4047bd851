from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from napari_care_losses.evaluation import frame_scores
from napari_care_losses.evaluation.frame_scores import (
    INPUT,
    MEANS,
    RESTORED,
    STRUCTURE,
    About,
    Comparison,
    Problem,
    ScoredStack,
    score_frame,
)
from napari_care_losses.evaluation.metrics import MAIN_METRICS, METRICS, grey_levels, score
from napari_care_losses.evaluation.scores_over_time import ScoresOverTime
from napari_care_losses.evaluation.uncertainty import coverage
from napari_care_losses.evaluation.without_truth.contradictions import find_contradictions
from napari_care_losses.evaluation.without_truth.residual import flicker, region_means, structure_left
from napari_care_losses.evaluation.without_truth.single_image import SINGLE_IMAGE_METRICS
from napari_care_losses.images.frames import Frames

SHAPE = (6, 40, 48)


class Recorded:
    """An array that notes which frames are read."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.read: list[int] = []

    def __getitem__(self, key: tuple[int, ...]) -> np.ndarray:
        self.read.append(key[0])
        return self.array[key]


@pytest.fixture
def images() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = 100 + 50 * np.sin(np.arange(48) / 4) * np.sin(np.arange(40) / 5)[:, None] + np.arange(6)[:, None, None]
    return {
        "input": rng.poisson(truth).astype(np.uint16),
        "restored": (0.5 * truth + rng.normal(0, 2, SHAPE)).astype(np.float32),
        "truth": truth,
        "uncertainty": np.full(SHAPE, 1.5, np.float32),
    }


@pytest.fixture
def stacks(images) -> dict[str, ScoredStack]:
    return {name: ScoredStack(Frames(array)) for name, array in images.items()}


def scored(timeline: ScoresOverTime, index: int) -> None:
    for key, value in score_frame(timeline.comparison, timeline.missing(index)):
        timeline.add(key, value)


def score_all(timeline: ScoresOverTime, shown: int = 0, line: range = range(SHAPE[0])) -> list[int]:
    order = []
    while (index := timeline.next_index(shown, line)) is not None:
        order.append(index)
        scored(timeline, index)
        assert not timeline.missing(index)
    return order


@pytest.mark.parametrize("aligned", [True, False])
def test_values_against_a_truth_are_those_of_the_metrics(images, stacks, aligned) -> None:
    timeline = ScoresOverTime()
    timeline.compare(Comparison(**stacks, aligned=aligned, metrics=tuple(METRICS)), {2})
    scored(timeline, 2)
    found = timeline.frame(2)
    frames = {name: array[2] for name, array in images.items()}
    for row in (INPUT, RESTORED):
        assert found.scores[row] == pytest.approx(score(frames[row], frames["truth"], aligned=aligned), rel=1e-12)
    assert found.levels == grey_levels(frames["restored"], frames["truth"])
    expected = coverage(frames["restored"], frames["uncertainty"], frames["truth"], aligned=aligned)
    assert found.coverage == expected
    assert found.structure_left is None
    assert found.problem == ""


def test_values_without_a_truth_are_those_of_the_residual(images, stacks) -> None:
    timeline = ScoresOverTime()
    timeline.compare(Comparison(stacks["input"], stacks["restored"]), {2})
    scored(timeline, 2)
    found = timeline.frame(2)
    assert found.structure_left == structure_left(images["input"][2], images["restored"][2])
    contradictions = find_contradictions(images["input"][2], images["restored"][2])
    assert found.contradictions == (contradictions.share, contradictions.worst, "")
    for row in (INPUT, RESTORED):
        expected = {name: metric.function(images[row][2]) for name, metric in SINGLE_IMAGE_METRICS.items()}
        assert found.scores[row] == pytest.approx(expected, nan_ok=True)
    means = timeline.series(MEANS, RESTORED, range(6))
    assert means[2] == pytest.approx(region_means(images["restored"][2]).mean())
    assert np.isnan(np.delete(means, 2)).all()


def test_a_frame_that_is_not_restored_has_its_input_scored(stacks) -> None:
    timeline = ScoresOverTime()
    timeline.compare(Comparison(**stacks), {2})
    scored(timeline, 3)
    found = timeline.frame(3)
    assert set(found.scores) == {INPUT}
    assert found.levels is None
    timeline.compare(Comparison(stacks["input"], stacks["restored"]), {2})
    assert timeline.missing(3) == []


def test_the_shown_frame_comes_first_then_its_line_outward_then_the_others(stacks) -> None:
    timeline = ScoresOverTime()
    timeline.compare(Comparison(stacks["input"], stacks["restored"]), {0, 1, 2, 4, 5})
    assert score_all(timeline, 2, range(0, 6, 2)) == [2, 0, 4, 1, 5]
    timeline.renew(3)
    assert score_all(timeline, 0) == [3]
    assert timeline.next_index(0, range(6)) is None


def test_a_shown_frame_that_is_not_restored_comes_before_restored_ones(stacks) -> None:
    timeline = ScoresOverTime()
    timeline.compare(Comparison(**stacks), {0, 5})
    assert score_all(timeline, 3) == [3, 5, 0]


def test_nothing_is_scored_twice(stacks) -> None:
    timeline = ScoresOverTime()
    with_truth, without = Comparison(**stacks), Comparison(stacks["input"], stacks["restored"])
    for comparison in (with_truth, without):
        timeline.compare(comparison, set(range(6)))
        assert len(score_all(timeline)) == 6
    for comparison in (with_truth, without):
        timeline.compare(comparison, set(range(6)))
        assert score_all(timeline) == []
        assert timeline.frame(5) != ScoresOverTime().frame(5)


def test_grey_levels_do_not_depend_on_the_switch(stacks) -> None:
    timeline = ScoresOverTime()
    timeline.compare(Comparison(**stacks), {0})
    score_all(timeline)
    timeline.compare(Comparison(**stacks, aligned=False), {0})
    assert "levels" not in {key.kind for key in timeline.missing(0)}
    assert {key.kind for key in timeline.missing(0)} == {*MAIN_METRICS, "coverage"}


def test_a_frame_restored_again_is_scored_again_but_not_its_input(images, stacks) -> None:
    timeline = ScoresOverTime()
    timeline.compare(Comparison(**stacks), {0, 1})
    score_all(timeline)
    before = timeline.frame(1)
    images["restored"][1] = images["truth"][1] + 1
    timeline.renew(1)
    assert timeline.frame(1).scores == {INPUT: before.scores[INPUT]}
    assert {key.row for key in timeline.missing(1)} == {RESTORED}
    assert score_all(timeline) == [1]
    assert timeline.frame(1).scores[RESTORED]["ssim"] > before.scores[RESTORED]["ssim"]


def test_changed_data_are_scored_again(images, stacks) -> None:
    timeline = ScoresOverTime()
    timeline.compare(Comparison(**stacks), {0})
    score_all(timeline)
    stacks["truth"] = ScoredStack(Frames(images["truth"] + 1))
    timeline.compare(Comparison(**stacks), {0})
    assert score_all(timeline) == [0]


def test_a_stack_forgotten_leaves_no_values(stacks) -> None:
    timeline = ScoresOverTime()
    timeline.compare(Comparison(**stacks), {0, 1})
    score_all(timeline)
    timeline.forget(stacks["restored"])
    assert {key.row for key in timeline.missing(1)} == {RESTORED}
    assert score_all(timeline) == [0, 1]


def test_values_keep_no_pixels_in_memory(images) -> None:
    timeline, restored = ScoresOverTime(), Frames(images["restored"].copy())
    timeline.compare(Comparison(ScoredStack(Frames(images["input"])), ScoredStack(restored)), {0})
    score_all(timeline)
    pixels = weakref.ref(restored.data)
    timeline.compare(None, set())
    del restored
    gc.collect()
    assert pixels() is None


def test_a_frame_that_cannot_be_scored_says_why_and_the_next_follow(images, stacks) -> None:
    images["truth"][1] = 7
    timeline = ScoresOverTime()
    timeline.compare(Comparison(**stacks), {0, 1, 2})
    assert score_all(timeline) == [0, 1, 2]
    assert "must have contrast" in timeline.frame(1).problem
    assert timeline.frame(1).scores == {}
    plotted = timeline.series("psnr", RESTORED, range(3))
    assert np.isnan(plotted).tolist() == [False, True, False]


def test_a_perfect_restoration_is_not_plotted_at_infinity(images, stacks) -> None:
    stacks["restored"] = ScoredStack(Frames(images["truth"].copy()))
    timeline = ScoresOverTime()
    timeline.compare(Comparison(**stacks), {0})
    score_all(timeline)
    assert timeline.frame(0).scores[RESTORED]["psnr"] == np.inf
    assert np.isnan(timeline.series("psnr", RESTORED, range(1))[0])


def test_every_frame_is_read_once_and_only_when_its_turn_comes(images) -> None:
    arrays = {name: Recorded(array) for name, array in images.items()}
    comparison = Comparison(**{name: ScoredStack(Frames(array)) for name, array in arrays.items()})
    timeline = ScoresOverTime()
    timeline.compare(comparison, {3})
    steps = score_frame(comparison, timeline.missing(3))
    next(steps)
    assert arrays["restored"].read == []
    assert not isinstance(list(steps)[-1][1], Problem)
    assert all(array.read == [3] for array in arrays.values())


def test_flicker_takes_the_longest_run_of_frames(images, stacks) -> None:
    timeline = ScoresOverTime()
    timeline.compare(Comparison(stacks["input"], stacks["restored"]), {0, 1, 3, 4})
    score_all(timeline)
    assert timeline.flicker(range(6)) is None
    timeline.renew(5)
    score_all(timeline)
    means = [[region_means(images[name][index]) for index in (3, 4, 5)] for name in ("input", "restored")]
    assert timeline.flicker(range(6)) == flicker(*means)
    assert timeline.flicker(range(0, 6, 2)) is None


def test_with_no_comparison_nothing_is_wanted() -> None:
    timeline = ScoresOverTime()
    timeline.compare(None, {0, 1})
    assert timeline.next_index(0, range(2)) is None
    assert timeline.flicker(range(2)) is None
    assert np.isnan(timeline.series(STRUCTURE, RESTORED, range(2))).all()


def test_of_a_large_frame_that_is_awaited_ssim_comes_twice(stacks, monkeypatch) -> None:
    timeline = ScoresOverTime()
    timeline.compare(Comparison(stacks["input"], stacks["restored"], stacks["truth"]), {2})
    keys = timeline.missing(2)
    exact = dict(score_frame(timeline.comparison, keys))
    assert not any(isinstance(value, About) for value in exact.values())
    assert [value for _, value in score_frame(timeline.comparison, keys, is_awaited=True)] == list(exact.values())
    monkeypatch.setattr(frame_scores, "AT_ONCE", 40 * 48 - 1)
    assert dict(score_frame(timeline.comparison, keys)) == exact
    seen = []
    for key, value in score_frame(timeline.comparison, keys, is_awaited=True):
        timeline.add(key, value)
        seen.append((key.kind, key.row, isinstance(value, About)))
        if len(seen) == 4:
            assert timeline.is_about_known(2)
            found = timeline.frame(2)
            # the frame is smaller than the part
            expected = {key.kind: exact[key] for key in keys if key.row == RESTORED and key.kind in METRICS}
            assert found.scores[RESTORED] == expected
            assert found.about == {(INPUT, "ssim"), (RESTORED, "ssim")}
            assert [key.kind for key in timeline.missing(2)][:2] == ["ssim", "ssim"]
    first = [("psnr", INPUT, False), ("ssim", INPUT, True), ("psnr", RESTORED, False), ("ssim", RESTORED, True)]
    assert seen[:6] == [*first, ("ssim", INPUT, False), ("ssim", RESTORED, False)]
    assert len(seen) == len(keys) + 2
    assert not timeline.missing(2) and not timeline.frame(2).about and not timeline.is_about_known(2)


def test_what_is_wrong_with_a_large_frame_is_told_once(images, monkeypatch) -> None:
    images["restored"][2, 0, 0] = np.nan
    stacks = {name: ScoredStack(Frames(array)) for name, array in images.items()}
    timeline = ScoresOverTime()
    timeline.compare(Comparison(stacks["input"], stacks["restored"], stacks["truth"]), {2})
    monkeypatch.setattr(frame_scores, "AT_ONCE", 1)
    found = list(score_frame(timeline.comparison, timeline.missing(2), is_awaited=True))
    problems = [key for key, value in found if isinstance(value, Problem) and key.kind in METRICS]
    assert [(key.kind, key.row) for key in problems] == [("psnr", RESTORED), ("ssim", RESTORED)]
