"""Unusable and suspicious pairs are reported before a training begins."""

import re

import numpy as np
import pytest

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.simulation.pairs_and_movies import ImagingConditions, simulate_pairs
from napari_care_losses.training import pair_checks
from napari_care_losses.training.pair_checks import pixel_size_warning, warnings_of, warnings_of_pairs
from napari_care_losses.training.pairs import Pair, check_images, size_problem
from napari_care_losses.training.targets.registry import TARGETS

LOW, HIGH = simulate_pairs("actin", 4, (128, 128), ImagingConditions(low_ms=1, high_ms=100), seed=1)


def moved(image, down, right):
    return np.roll(image, (down, right), (0, 1))


@pytest.mark.parametrize("structure", ["actin", "mitochondria", "dendra"])
def test_sound_pairs_give_no_warning(structure):
    for exposure in (0.3, 1, 10):
        stacks = simulate_pairs(structure, 5, (128, 128), ImagingConditions(low_ms=exposure), seed=2)
        for low, high in zip(*stacks, strict=True):
            assert warnings_of(low, high) == []
        # the last one in other types
        assert warnings_of(low.astype(np.float64), high.astype(">f4")) == []


def test_real_pairs_give_no_warning(shared_data):
    import tifffile

    for structure in ("mitochondria", "actin"):
        low, high = (tifffile.imread(shared_data / "w2s" / f"{structure}_{side}.tif") for side in ("low", "high"))
        for index in (0, 20, 40):
            assert warnings_of(low[index], high[index]) == []
            (said,) = warnings_of(moved(low[index], 0, 7)[8:-8, 8:-8], high[index][8:-8, 8:-8])
            assert re.search(r"(6\.9|7\.0|7\.1) px right", said)


@pytest.mark.parametrize(("down", "right", "said"), [(3, -5, "below left"), (-12, 8, "above right"), (0, 2, "right")])
def test_a_shift_is_estimated(down, right, said):
    for low, high in zip(LOW, HIGH, strict=True):
        (found,) = warnings_of(moved(low, down, right)[16:-16, 16:-16], high[16:-16, 16:-16])
        assert all(word in found for word in said.split())
        amounts = [float(number) for number in re.findall(r"(\d+\.\d) px", found)]
        assert amounts == pytest.approx([abs(down), abs(right)], abs=1)
        assert "register them" in found


def test_swapped_exposures_are_recognised_by_their_noise():
    for low, high in zip(LOW, HIGH, strict=True):
        assert warnings_of(high, low) == ["The low image is less noisy than the high one: have the two been swapped?"]


def test_saturated_images_give_a_warning():
    high = np.minimum(HIGH[0], np.percentile(HIGH[0], 90)).astype(np.float64)
    full = np.rint(high / high.max() * 4095).astype(np.uint16)
    for level, image in ((4095, full), (4200, full + 105), (3000.5, high / high.max() * 3000.5)):
        (said,) = warnings_of(LOW[0], image)
        assert said.startswith(f"More than 1% of the high image's pixels are saturated, at {level}")


@pytest.mark.parametrize("mean", [2, 8, 100])
def test_few_photons_are_no_saturation(mean):
    image = np.random.default_rng(0).poisson(mean, (128, 128)).astype(np.uint8)
    assert not any("saturated" in said for said in warnings_of(image, image))
    assert any("saturated" in said for said in warnings_of(image, np.minimum(image, mean))) == (mean > 16)


@pytest.mark.parametrize(("structure", "exposure"), [("actin", 1), ("actin", 10), ("mitochondria", 1), ("dendra", 10)])
def test_different_fields_are_told(structure, exposure, monkeypatch):
    low, high = map(list, simulate_pairs(structure, 6, (256, 256), ImagingConditions(low_ms=exposure), seed=5))
    noise = {id(image): pair_checks._relative_noise(image) for image in low + high}
    monkeypatch.setattr(pair_checks, "_relative_noise", lambda image: noise[id(image)])
    told = [warnings_of(low[i], high[j])[:1] for i in range(6) for j in range(6) if i != j]
    assert sum("different fields of view" in " ".join(said) for said in told) >= 0.8 * len(told)
    assert not any("register" in " ".join(said) for said in told if "different fields" in " ".join(said))


def test_real_pairs_of_different_fields_are_told(shared_data):
    import tifffile

    low, high = (tifffile.imread(shared_data / "w2s" / f"mitochondria_{side}.tif") for side in ("low", "high"))
    for index in (0, 20, 40):
        assert "different fields of view" in warnings_of(low[index], high[index + 1])[0]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_units_do_not_matter(scale):
    low, high = (image.astype(np.float32) * np.float32(scale) for image in (LOW[0], HIGH[0]))
    assert warnings_of(low, high) == []
    assert len(warnings_of(high, low)) == 1


@pytest.mark.parametrize("shape", [(3, 5), (1, 40), (31, 200)])
def test_images_too_small_give_no_warning(shape):
    rng = np.random.default_rng(0)
    assert warnings_of(rng.random(shape), rng.random(shape)) == []


def test_warnings_about_many_pairs_are_summarised():
    pairs = [Pair(high, low, f"p[{i}]") for i, (low, high) in enumerate(zip(LOW, HIGH, strict=True))]
    assert warnings_of_pairs(pairs, TARGETS["clean"].warnings) == [
        "Pair p[0] and 3 more: The low image is less noisy than the high one: have the two been swapped?"
    ]
    assert warnings_of_pairs([], TARGETS["clean"].warnings) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.nan, "in the low image 1 of 16384 pixels are NaN or infinite: replace them first"),
        (np.inf, "NaN or infinite"),
        (1e300, r"reach 1e\+300, which float32 cannot hold: scale them first"),
    ],
)
def test_pixels_that_cannot_be_learnt_from(value, said):
    low = LOW[0].astype(np.float64)
    low[3, 4] = value
    with pytest.raises(InputError, match=said):
        check_images(low, HIGH[0])
    with pytest.raises(InputError, match=said.replace("low", "high")):
        check_images(HIGH[0], low)


@pytest.mark.parametrize(
    ("low", "high", "is_said"),
    [
        ((0.1, 0.1), (0.2, 0.2), True),
        ((0.1, 0.1), (0.1, 0.103), True),
        ((0.1, 0.1), (0.1002, 0.1), False),
        (None, (0.2, 0.2), False),
        ((0.1, 0.1), None, False),
        (None, None, False),
    ],
)
def test_known_pixel_sizes_that_differ_are_said(low, high, is_said):
    frames = [Frames(HIGH[0], "YX", Calibration(pixel_size=size)) for size in (low, high)]
    said = pixel_size_warning(*frames)
    assert bool(said) is is_said
    if is_said:
        assert all(" x ".join(f"{side:g}" for side in size) in said for size in (low, high))


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ([(64, 64)], r"64 x 64 px .* of 64 px\. A single .* at least 128 x 64 px: choose a smaller patch size, or add"),
        ([(127, 64)], "A single image"),
        ([(128, 64)], ""),
        ([(64, 128)], ""),
        ([(64, 64), (64, 64)], ""),
        ([(64, 64), (63, 200)], "A single image"),
        ([(60, 300)], "60 x 300 px are too small for patches of 64 px: choose a smaller patch size, or larger images"),
        ([(15, 300), (9, 9)], "15 x 300 px are too small for patches of 64 px: choose larger images"),
    ],
)
def test_images_too_small_for_a_training_are_said(shapes, said):
    found = size_problem(shapes, 64)
    assert re.search(said, found) if said else not found
