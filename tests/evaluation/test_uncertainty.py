"""Coverage of the intervals that a Laplace scale promises."""

import numpy as np
import pytest

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.uncertainty import coverage

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
