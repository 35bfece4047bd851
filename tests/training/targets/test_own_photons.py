"""The noisy images alone as the target: their photons split in two."""

import numpy as np
import pytest

from napari_care_losses.errors import InputError
from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.images.noise.model import NoiseModel
from napari_care_losses.training.pairs import Pair, Share
from napari_care_losses.training.targets.own_photons import OwnPhotons, PhotonSplit, split_of

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


@pytest.mark.parametrize(
    ("photons", "read_noise"), [(1, 0), (1, 0.3), (1, 1), (1, 5), (3, 2), (10, 0.5), (10, 5), (100, 5)]
)
def test_the_noise_of_input_and_target_is_independent(photons, read_noise):
    field = photons * light(0.1, 1.0)
    truth = 3.0 * field + 50
    drawn = []
    for seed in range(4):
        image = recorded(field, read_noise=3.0 * read_noise, seed=seed)
        drawn.append([part[0] for part in splits(image, 1)])
        # no part is darker or brighter than the image, whatever lies below black
        spread = np.sqrt((field.mean() + read_noise**2) / 0.05 / field.size)
        assert drawn[-1][0].mean() == pytest.approx(image.mean(), abs=3.0 * spread)
        assert drawn[-1][1].mean() == pytest.approx(image.mean(), abs=4 * 3.0 * spread)
    given, target = (np.stack(parts).ravel() - np.tile(truth.ravel(), 4) for parts in zip(*drawn, strict=True))
    assert abs(np.corrcoef(given, target)[0, 1]) < 0.03
    # the mean of the target's noise, given that of the input, relative to the noise of a pixel: no dependence at all
    groups = target[np.argsort(given)].reshape(16, -1)
    means = groups.mean(1) - target.mean()
    chance = groups.var(1).mean() / groups.shape[1]
    assert (np.square(means).mean() - chance) / (9 * (field.mean() + read_noise**2)) < 0.1**2


def test_noise_that_does_not_grow_with_brightness_is_split_too():
    truth = 1000 + 20 * light()
    make = lambda seed: truth + np.random.default_rng(seed).normal(0, 30, truth.shape)  # noqa: E731
    gain, black, read_noise = split_of(truth, NoiseModel(least=900.0))
    assert gain * (truth.mean() - black) == pytest.approx(900)
    assert read_noise == 0
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


def test_noise_of_lines_is_refused_with_the_target_that_hides_them():
    rows = np.random.default_rng(0).normal(0, 60, (SIZE, 1))
    image = recorded(20 * light()) + rows
    for pair, which in ((Pair(image, None, "scan"), "rows"), (Pair(image.T, None, "scan"), "columns")):
        with pytest.raises(InputError, match=rf"along {which}.*'blind_spots', which hides whole {which}"):
            OwnPhotons().check([pair])


def test_offsets_of_rows_count_as_correlated_noise():
    assert NoiseModel(least=1.0).neighbour_correlations == (0, 0)
    assert NoiseModel(least=1.0, rows=3.0).neighbour_correlations == (0, pytest.approx(0.75))
    assert NoiseModel(least=1.0, correlation=((1.0, 0.2), (0.4, 0.1))).neighbour_correlations == (0.4, 0.2)
    assert NoiseModel(least=1.0, columns=1.0, correlation=((1.0,), (0.4,))).neighbour_correlations == (0.7, 0)


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
