"""The noisy images alone as the target: their photons split in two."""

import numpy as np
import pytest

from napari_care_losses.errors import InputError
from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.images.noise.model import NoiseModel
from napari_care_losses.training.pairs import Pair, Share
from napari_care_losses.training.targets.own_photons import OwnPhotons, PhotonSplit, neighbour_correlation, split_of

SIZE = 256


def light(darkest=2.0, brightest=12.0):
    """Photons of a smooth field."""
    y, x = np.indices((SIZE, SIZE)) / SIZE
    return darkest + (brightest - darkest) * (0.5 - 0.25 * np.cos(6 * y) - 0.25 * np.cos(6 * x))


def recorded(photons, gain=3.0, offset=50.0, read_noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return gain * rng.poisson(photons) + offset + rng.normal(0, 1, photons.shape) * read_noise


def splits(image, count=40):
    """Return inputs and targets of whole images, minus what both have in common: their own mean over all splits."""
    split = PhotonSplit(Share(Pair(image, None, "cell"), (slice(None), slice(None)), False), SIZE)
    rng = np.random.default_rng(1)
    drawn = [split.draw(0, 0, rng, augmented=True) for _ in range(count)]
    return [np.stack(images) for images in zip(*drawn, strict=True)]


def noise_correlation(make, truth):
    """Return how the noise of inputs and of targets correlates over many recordings."""
    products, powers = [], []
    for seed in range(8):
        given, target = (image[0] - truth for image in splits(make(seed), 1))
        products.append((given * target).mean())
        powers.append(np.sqrt((given**2).mean() * (target**2).mean()))
    return np.mean(products) / np.mean(powers)


def test_both_parts_have_the_mean_of_the_image():
    image = recorded(light())
    given, target = splits(image)
    for part in (given, target):
        assert part.mean() == pytest.approx(image.mean(), rel=0.005)
        # bright places are as bright: neither is flattened
        assert np.polyfit(image.ravel(), part.mean(0).ravel(), 1)[0] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("read_noise", [0.0, 4.0])
def test_the_noise_of_input_and_target_is_independent(read_noise):
    truth = 3.0 * light() + 50
    found = noise_correlation(lambda seed: recorded(light(), read_noise=read_noise, seed=seed), truth)
    # the image itself in both places: the target's noise is then most of the input's
    assert abs(found) < 0.02


def test_noise_that_does_not_grow_with_brightness_is_split_too():
    truth = 1000 + 20 * light()
    make = lambda seed: truth + np.random.default_rng(seed).normal(0, 30, truth.shape)  # noqa: E731
    gain, offset = split_of(truth, NoiseModel(least=900.0))
    assert gain * (truth.mean() - offset) == pytest.approx(900)
    assert abs(noise_correlation(make, truth)) < 0.03


def test_every_draw_is_another_split_and_equal_seeds_give_equal_ones():
    image = recorded(light())
    first, again = splits(image, 3), splits(image, 3)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0][0], first[0][1])


def test_correlated_noise_is_refused_with_what_to_do():
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(0).normal(0, 60, (SIZE, SIZE)), 1.0)
    pair = Pair(1000 + 20 * light() + noise, None, "filtered")
    with pytest.raises(InputError, match=r"filtered: the noise of neighbouring pixels correlates by 0\.[5-9].*binned"):
        OwnPhotons().check([pair])
    # one in three: the others can be learnt from
    OwnPhotons().check([Pair(recorded(light(), seed=1), None, "a"), pair, Pair(recorded(light()), None, "b")])


def test_offsets_of_rows_count_as_correlated_noise():
    assert neighbour_correlation(NoiseModel(least=1.0)) == 0
    assert neighbour_correlation(NoiseModel(least=1.0, rows=3.0)) == pytest.approx(0.75)
    assert neighbour_correlation(NoiseModel(least=1.0, correlation=((1.0, 0.2), (0.4, 0.1)))) == pytest.approx(0.4)


@pytest.mark.parametrize("image", [np.indices((SIZE, SIZE))[1] * 1.0, np.eye(SIZE), np.eye(SIZE, dtype=bool)])
def test_an_image_without_noise_does_no_harm(image):
    """A ramp has noise that grows with brightness, by a slope of rounding errors."""
    given, target = splits(image, 2)
    for part in (given, target):
        assert np.isfinite(part).all()
        assert part.mean() == pytest.approx(image.mean(), abs=image.std())


def test_photons_are_counted():
    image = recorded(light())
    (said,) = OwnPhotons().remarks([Pair(image, None, "cell")])
    photons = (np.percentile(image, 99) - 50) / 3
    assert float(said.partition("about ")[2].partition(" photons")[0]) == pytest.approx(photons, rel=0.15)
    assert OwnPhotons().warnings(Pair(image, None, "cell")) == []
    assert estimate_noise(image).slope == pytest.approx(3, rel=0.1)
