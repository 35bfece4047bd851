"""Intervals calibrated by split conformal prediction: what they hold, and what a card keeps of them."""

import dataclasses
import json
import math

import numpy as np
import pytest

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.intervals import LEVELS, Intervals, ValidationPixels, calibrate_intervals

SHAPE = (40, 50)


def an_image(rng, *, with_scale, error="laplace"):
    """Return pixels whose errors are 1.7 times the scale, or grow with the brightness."""
    restored = rng.gamma(2, 0.1, SHAPE)
    spread = 0.01 + 0.1 * restored * rng.uniform(0.5, 1.5, SHAPE)
    drawn = rng.laplace(size=SHAPE) if error == "laplace" else rng.standard_t(3, SHAPE)
    return ValidationPixels(restored, restored + 1.7 * spread * drawn, spread if with_scale else None)


def held(intervals, image, level):
    half = intervals.half_width(level, image.restored, image.scale)
    return float((np.abs(image.truth - image.restored) <= half).mean())


@pytest.mark.parametrize("error", ["laplace", "student"])
@pytest.mark.parametrize("with_scale", [True, False])
def test_new_pixels_are_held_as_often_as_promised(with_scale, error):
    rng = np.random.default_rng(1)
    found = calibrate_intervals([an_image(rng, with_scale=with_scale, error=error) for _ in range(10)])
    new = [an_image(rng, with_scale=with_scale, error=error) for _ in range(10)]
    count = 10 * math.prod(SHAPE)
    for level in LEVELS:
        share = np.mean([held(found, each, level) for each in new])
        # four standard deviations of a binomial share, of both samples; half a percent for lines between brightnesses
        bound = 4 * math.sqrt(2 * level * (1 - level) / count) + (0 if with_scale else 0.005)
        assert abs(share - level) < bound


def test_without_a_scale_dark_and_bright_pixels_are_held_alike():
    rng = np.random.default_rng(2)
    found = calibrate_intervals([an_image(rng, with_scale=False) for _ in range(10)])
    new = an_image(rng, with_scale=False)
    for low, high in ((0, 25), (25, 75), (75, 100)):
        ends = np.percentile(new.restored, [low, high])
        chosen = (new.restored >= ends[0]) & (new.restored <= ends[1])
        some = ValidationPixels(new.restored[chosen], new.truth[chosen])
        assert held(found, some, 0.9) == pytest.approx(0.9, abs=0.04)
    assert found.half_width(0.9, [10.0]) == found.half_width(0.9, [found.brightness[-1]]), "beyond what is known"


def test_the_factor_is_the_order_statistic_of_split_conformal_prediction():
    rng = np.random.default_rng(3)
    images = [an_image(rng, with_scale=True) for _ in range(3)]
    found = calibrate_intervals(images)
    scores = np.sort([np.abs(each.truth - each.restored) / each.scale for each in images], axis=None)
    for level, (factor,) in zip(found.levels, found.factors, strict=True):
        rank = math.ceil((scores.size + 1) * level)
        assert factor == pytest.approx(scores[rank - 1], rel=1e-5)


def test_every_image_counts_the_same():
    rng = np.random.default_rng(4)
    small, large = an_image(rng, with_scale=True), an_image(rng, with_scale=True)
    wide = large._replace(truth=large.restored + 9 * (large.truth - large.restored))
    repeated = ValidationPixels(*(np.tile(each, (5, 1)) for each in wide))
    one, other = calibrate_intervals([small, wide]), calibrate_intervals([small, repeated])
    assert np.allclose(one.factors, other.factors, rtol=0.01)


def test_the_spread_is_that_of_images_left_out():
    rng = np.random.default_rng(5)
    images = [an_image(rng, with_scale=True) for _ in range(4)]
    images = [each._replace(scale=each.scale * factor) for each, factor in zip(images, (0.5, 0.8, 1, 2), strict=True)]
    found, shares = calibrate_intervals(images), []
    for place, image in enumerate(images):
        others = calibrate_intervals(images[:place] + images[place + 1 :])
        shares.append([held(others, image, level) for level in LEVELS])
    assert found.spread == pytest.approx(np.std(shares, 0, ddof=1), rel=1e-3)
    assert found.images == 4
    assert calibrate_intervals(images[:2]).spread == ()
    assert "not known" in calibrate_intervals(images[:1]).describe()


@pytest.mark.parametrize("with_scale", [True, False])
def test_the_card_s_values_survive_json(with_scale):
    rng = np.random.default_rng(6)
    found = calibrate_intervals([an_image(rng, with_scale=with_scale) for _ in range(3)], are_simulated=True)
    assert Intervals.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert found.uses_scale is with_scale
    assert "3 simulated images" in found.describe()


def test_images_without_pixels_or_with_and_without_a_scale_are_refused():
    rng = np.random.default_rng(7)
    with pytest.raises(InputError, match="at least one image"):
        calibrate_intervals([])
    with pytest.raises(InputError, match="all have a scale, or none"):
        calibrate_intervals([an_image(rng, with_scale=True), an_image(rng, with_scale=False)])


def test_a_level_that_was_not_calibrated_is_refused():
    found = calibrate_intervals([an_image(np.random.default_rng(8), with_scale=True)])
    with pytest.raises(InputError, match="hold 50, 68, 80, 90, 95 % of the true values, not 99 %"):
        found.half_width(0.99, [1.0], [1.0])
    with pytest.raises(InputError, match="scale, which is missing"):
        found.half_width(0.9, [1.0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"levels": (0.5, 1.0)},
        {"levels": ()},
        {"factors": ((1.0,),)},
        {"factors": ((1.0,), (-1.0,))},
        {"factors": ((1.0,), (math.nan,))},
        {"factors": ((1.0, 2.0), (1.0, 2.0))},
        {"brightness": (1.0, 0.0), "factors": ((1.0, 1.0), (2.0, 2.0))},
        {"spread": (0.1,)},
        {"images": 0},
    ],
)
def test_damaged_values_are_refused(wrong):
    sound = Intervals(levels=(0.5, 0.9), brightness=(0.0,), factors=((1.0,), (2.0,)), images=3, spread=(0.1, 0.1))
    with pytest.raises(InputError, match="Intervals need"):
        dataclasses.replace(sound, **wrong)


def test_a_scale_of_zero_is_no_error():
    rng = np.random.default_rng(9)
    image = an_image(rng, with_scale=True)
    image.scale[:5] = 0
    image.truth[:5] = image.restored[:5]
    found = calibrate_intervals([image])
    assert held(found, image, 0.9) == pytest.approx(0.9, abs=0.01)
