import numpy as np
import pytest

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import grey_levels, score
from napari_care_losses.evaluation.stack_scores import evaluate
from napari_care_losses.images.frames import Frames


@pytest.fixture
def truth():
    return np.random.default_rng(0).gamma(2, 100, (3, 24, 20))


def noisy(truth, sigma):
    return (truth + np.random.default_rng(1).normal(0, sigma, truth.shape)).astype(np.float32)


@pytest.mark.parametrize("aligned", [True, False])
def test_every_frame_is_scored_against_its_own_truth(truth, aligned):
    stacks = {"restored": 2 * noisy(truth, 5), "input": noisy(truth, 50)}
    scores = evaluate({name: Frames(stack) for name, stack in stacks.items()}, Frames(truth), aligned=aligned)
    assert scores.keys() == {"mean", "frames"}
    assert len(scores["frames"]) == 3
    for index, row in enumerate(scores["frames"]):
        assert list(row) == ["restored", "input"]
        for name, stack in stacks.items():
            levels = grey_levels(stack[index], truth[index])
            expected = score(stack[index], truth[index], aligned=aligned)
            expected |= {"slope": levels.slope, "intercept": levels.intercept, "r2": levels.r2}
            assert row[name] == pytest.approx(expected)


def test_the_mean_is_that_of_the_frames(truth):
    scores = evaluate({"restored": Frames(noisy(truth, 20))}, Frames(truth))
    for key, value in scores["mean"]["restored"].items():
        values = [row["restored"][key] for row in scores["frames"]]
        assert value == pytest.approx(np.mean(values))
        assert len(set(values)) == 3


def test_alignment_hides_wrong_brightness_and_raw_scores_show_it(truth):
    stacks = {"restored": Frames(3 * truth + 100)}
    aligned, raw = (evaluate(stacks, Frames(truth), aligned=aligned)["mean"]["restored"] for aligned in (True, False))
    assert aligned["psnr"] > 100
    assert raw["psnr"] < 10
    assert raw["slope"] == aligned["slope"] == pytest.approx(3)
    assert raw["intercept"] == pytest.approx(100)


def test_frames_of_other_axes_but_equal_number_are_compared(truth):
    scores = evaluate({"restored": Frames(truth[None], "ZTYX")}, Frames(truth, "TYX"))
    assert len(scores["frames"]) == 3


@pytest.mark.parametrize("shape", [(2, 24, 20), (3, 20, 24), (24, 20)])
def test_other_shapes_are_refused_by_naming_both(truth, shape):
    with pytest.raises(InputError, match=r"The input stack has \d frames of \(\d+, \d+\), the truth 3 of \(24, 20\)"):
        evaluate({"restored": Frames(truth), "input": Frames(np.ones(shape))}, Frames(truth))


def test_a_frame_that_cannot_be_scored_is_named(truth):
    truth[2] = 7
    with pytest.raises(InputError, match=r"Frame 2: .*contrast"):
        evaluate({"restored": Frames(noisy(truth, 5))}, Frames(truth))
    broken = noisy(truth, 5)
    broken[1, 0, 0] = np.nan
    with pytest.raises(InputError, match=r"Frame 1: .*NaN"):
        evaluate({"restored": Frames(broken)}, Frames(truth))
