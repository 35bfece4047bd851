"""Coverage of the intervals that a Laplace scale promises."""

import numpy as np
import pytest

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.uncertainty import add_coverage, coverage, interval_coverage
from napari_care_losses.images.frames import Frames

SHAPE = (256, 256)


def restored_with_errors(seed=0):
    """Return a restored image, its scale, and a truth that strays from it as the scale says."""
    rng = np.random.default_rng(seed)
    truth = 1000 + 5000 * rng.random(SHAPE) ** 3
    scale = 10 + 0.02 * truth
    restored = truth + scale * rng.laplace(size=SHAPE)
    return restored, scale, truth


@pytest.mark.parametrize("aligned", [True, False])
def test_laplace_errors_of_the_scale_predicted_are_covered_as_promised(aligned):
    assert coverage(*restored_with_errors(), aligned=aligned) == pytest.approx({0.5: 0.5, 0.9: 0.9}, abs=0.01)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("factor", [0.25, 0.5, 2, 4])
def test_a_wrong_scale_changes_the_coverage(aligned, factor):
    restored, scale, truth = restored_with_errors()
    # the share of a Laplace distribution of scale 1 within -factor ln(1 - p)
    expected = {share: 1 - (1 - share) ** factor for share in (0.5, 0.9)}
    assert coverage(restored, factor * scale, truth, aligned=aligned) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(("gain", "offset"), [(0.01, 5), (40, -700), (-3, 0)])
def test_a_gain_between_restored_and_truth_changes_nothing_when_aligned(gain, offset):
    restored, scale, truth = restored_with_errors()
    expected = coverage(restored, scale, truth)
    found = coverage(gain * restored + offset, abs(gain) * scale, truth)
    assert found == pytest.approx(expected, abs=1e-6)
    assert coverage(gain * restored + offset, abs(gain) * scale, truth, aligned=False)[0.9] < 0.5


def test_a_perfect_restoration_is_within_any_scale():
    _, scale, truth = restored_with_errors()
    assert coverage(truth, scale, truth) == {0.5: 1, 0.9: 1}


def test_a_constant_restoration_has_no_error_bars_to_hold_the_truth():
    _, scale, truth = restored_with_errors()
    assert coverage(np.full(SHAPE, 7.0), scale, truth)[0.9] < 0.01


def test_integers_and_float32_give_the_same():
    restored, scale, truth = restored_with_errors()
    rounded = truth.astype(np.uint16)
    exact = coverage(restored, scale, rounded.astype(np.float64))
    assert coverage(restored.astype(np.float32), scale.astype(np.float32), rounded) == pytest.approx(exact, abs=1e-3)


@pytest.mark.parametrize("scale", [-np.ones(SHAPE), np.ones((3, 3)), np.full(SHAPE, np.nan), np.ones(SHAPE, complex)])
def test_an_impossible_scale_is_refused(scale):
    restored, _, truth = restored_with_errors()
    with pytest.raises(InputError, match="The scale must hold a finite number of at least 0"):
        coverage(restored, scale, truth)


def test_images_that_cannot_be_compared_are_refused():
    restored, scale, truth = restored_with_errors()
    with pytest.raises(InputError, match="same shape"):
        coverage(restored, scale, truth[1:], aligned=False)
    with pytest.raises(InputError, match="must have contrast"):
        coverage(restored, scale, np.ones(SHAPE))


class TestIntervals:
    def ends(self, factor=2.0, seed=0):
        restored, scale, truth = restored_with_errors(seed)
        return restored, restored - factor * scale, restored + factor * scale, truth

    @pytest.mark.parametrize("aligned", [True, False])
    def test_the_share_between_the_ends_is_told(self, aligned):
        restored, lower, upper, truth = self.ends()
        found = interval_coverage(restored, lower, upper, truth, aligned=aligned)
        slope, intercept = np.polyfit(restored.ravel(), truth.ravel(), 1) if aligned else (1, 0)
        held = (truth >= slope * lower + intercept) & (truth <= slope * upper + intercept)
        assert found.coverage == held.mean()
        assert found.coverage == pytest.approx(1 - np.exp(-2), abs=0.01)
        assert found.coverage_dark == held[restored <= np.median(restored)].mean()
        assert found.coverage_bright == held[restored >= np.percentile(restored, 90)].mean()
        assert found.interval_width == pytest.approx(slope * (upper - lower).mean())

    def test_gain_and_offset_of_the_truth_change_nothing_when_aligned(self):
        restored, lower, upper, truth = self.ends()
        plain, inverted = (interval_coverage(restored, lower, upper, each) for each in (truth, 9 - 3 * truth))
        assert inverted[:3] == pytest.approx(plain[:3])
        assert inverted.interval_width == pytest.approx(3 * plain.interval_width)

    def test_ends_that_are_swapped_or_of_another_image_are_refused(self):
        restored, lower, upper, truth = self.ends()
        with pytest.raises(InputError, match="swap the two"):
            interval_coverage(restored, upper, lower, truth)
        with pytest.raises(InputError, match="finite number for each pixel"):
            interval_coverage(restored, lower[:9], upper, truth)
        with pytest.raises(InputError, match="finite number for each pixel"):
            interval_coverage(restored, lower, np.full(SHAPE, np.nan), truth)

    def test_frames_and_their_mean_are_added_to_scores(self):
        each = [self.ends(seed=seed) for seed in (0, 1)]
        restored, lower, upper, truth = (Frames(np.stack(images)) for images in zip(*each, strict=True))
        scores = {"frames": [{"restored": {"psnr": 1.0}}, {"restored": {}}], "mean": {"restored": {}}}
        add_coverage(scores, restored, (lower, upper), truth)
        found = [interval_coverage(*one)._asdict() for one in each]
        assert scores["frames"] == [{"restored": {"psnr": 1.0, **found[0]}}, {"restored": found[1]}]
        means = {name: np.mean([one[name] for one in found]) for name in found[0]}
        assert scores["mean"]["restored"] == pytest.approx(means)
        with pytest.raises(InputError, match="must be 2 frames"):
            add_coverage(scores, restored, (Frames(lower[0]), upper), truth)
