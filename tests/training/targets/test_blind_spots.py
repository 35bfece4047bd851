"""The noisy images alone as the target: some pixels are hidden."""

import numpy as np
import pytest
from fixtures.toy_trainings import finished, trainer

from napari_care_losses.errors import InputError, ResumeError
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.training.pairs import Pair, Share
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.targets.blind_spots import SPACING, BlindSpots, HiddenPixels, line_noise

SIZE = 160
PATCH = 32
WHOLE = (slice(None), slice(None))


def noisy(seed=0, offsets=(0, 0)):
    """A smooth field with white noise, and offsets of rows and of columns."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((SIZE, SIZE)) / SIZE
    image = 100 + 40 * np.cos(5 * y) * np.cos(4 * x) + rng.normal(0, 10, (SIZE, SIZE))
    return image + offsets[0] * rng.normal(size=(SIZE, 1)) + offsets[1] * rng.normal(size=(1, SIZE))


def drawn(image, lines, top=0, left=0, seed=0):
    exposures = HiddenPixels(Share(Pair(image, None, "cell"), WHOLE, False), PATCH, lines)
    return exposures.draw(top, left, np.random.default_rng(seed), augmented=True)


@pytest.mark.parametrize("corner", [(40, 60), (0, 0), (SIZE - PATCH, SIZE - PATCH)])
def test_one_pixel_of_each_square_is_the_median_of_those_around_it(corner):
    image = noisy()
    own = image[corner[0] : corner[0] + PATCH, corner[1] : corner[1] + PATCH]
    given, target = drawn(image, "none", *corner)
    is_hidden = np.isfinite(target)
    squares = is_hidden.reshape(PATCH // SPACING, SPACING, PATCH // SPACING, SPACING)
    assert (squares.sum((1, 3)) == 1).all()
    np.testing.assert_array_equal(target[is_hidden], own[is_hidden])
    np.testing.assert_array_equal(given[~is_hidden], own[~is_hidden])
    padded = np.pad(image, 2, mode="reflect")
    for row, column in np.argwhere(is_hidden):
        around = padded[corner[0] + row :, corner[1] + column :][:5, :5].copy()
        around[2, 2] = np.nan
        assert given[row, column] == np.nanmedian(around)


@pytest.mark.parametrize(("lines", "axis"), [("horizontal", 0), ("vertical", 1)])
def test_whole_lines_are_hidden_with_nothing_left_of_them(lines, axis):
    image = noisy()
    given, target = drawn(image, lines, 40, 60)
    is_hidden = np.isfinite(target)
    assert (is_hidden.all(1 - axis) == is_hidden.any(1 - axis)).all()
    hidden = np.flatnonzero(is_hidden.any(1 - axis))
    assert np.bincount(hidden // SPACING).tolist() == [1] * (PATCH // SPACING)
    # a line's own offset leaves no trace
    number = hidden[1]
    line = (slice(None),) * axis + ((40, 60)[axis] + number,)
    image[line] += 500
    again, _ = drawn(image, lines, 40, 60)
    np.testing.assert_array_equal(np.take(again, number, axis), np.take(given, number, axis))


@pytest.mark.parametrize(("offsets", "expected"), [((0, 0), "none"), ((10, 0), "horizontal"), ((0, 10), "vertical")])
def test_lines_are_hidden_where_the_noise_is_theirs(offsets, expected):
    pair = Pair(noisy(offsets=offsets), None, "cell")
    assert line_noise(pair) == expected
    BlindSpots().check([pair])
    share, rng = Share(pair, WHOLE, False), np.random.default_rng(0)
    chosen = [
        np.isfinite(BlindSpots().exposures(share, parameters, rng).draw(0, 0, rng, augmented=True)[1]).sum()
        for parameters in (
            TrainingParameters(patch_size=PATCH, target="blind_spots"),
            TrainingParameters(patch_size=PATCH, target="blind_spots", line_noise=expected),
        )
    ]
    assert chosen == [(PATCH // SPACING) * (PATCH if expected != "none" else PATCH // SPACING)] * 2


def test_noise_that_correlates_along_both_axes_is_refused():
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(1).normal(0, 90, (SIZE, SIZE)), 1.0)
    blurred = Pair(100 + noise, None, "blurred")
    with pytest.raises(InputError, match="along rows and columns"):
        BlindSpots().check([blurred])


@pytest.mark.parametrize("name", list(LOSSES))
def test_losses_that_mix_pixels_are_refused_with_the_reason(name):
    is_taken = name in {"laplace", "mae", "mse", "charbonnier"}
    assert LOSSES[name].is_pixelwise == is_taken
    pairs = [Pair(noisy(seed)[:24, :24], None, f"{seed}") for seed in range(3)]
    if is_taken:
        assert np.isfinite(finished(trainer(name, pairs, target="blind_spots")).history[-1].validation_loss)
    else:
        with pytest.raises(InputError, match="mixes pixels: choose the mean squared error"):
            trainer(name, pairs, target="blind_spots")


def test_the_loss_is_that_of_the_hidden_pixels():
    training = trainer("mse", [Pair(noisy(seed)[:24, :24], None, f"{seed}") for seed in range(3)], target="blind_spots")
    list(training._prepare())
    # the same in every epoch
    ((low, high), *rest) = training._validation
    restored = np.stack([training._learner.restore(patch[0]) for patch in low])
    errors = (restored - high[:, 0])[np.isfinite(high[:, 0])] ** 2
    assert training._learner.validate([(low, high)]) == pytest.approx(errors.mean(), rel=1e-4)
    assert np.isfinite(high).mean() == pytest.approx(1 / SPACING**2)
    assert len(rest) == 1


def test_a_run_is_not_resumed_with_other_lines(tmp_path):
    pairs = [Pair(noisy(seed)[:24, :24], None, f"{seed}") for seed in range(3)]
    finished(trainer("mse", pairs, target="blind_spots")).save_state(tmp_path / "state")
    with pytest.raises(ResumeError, match="line_noise"):
        trainer("mse", pairs, target="blind_spots", line_noise="none").load_state(tmp_path / "state")
    assert "line_noise" not in TrainingParameters(target="self").to_dict()
