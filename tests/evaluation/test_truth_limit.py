"""What a noiseless input would have against its ground truth."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import score
from napari_care_losses.evaluation.truth_limit import TruthLimit, truth_limit
from napari_care_losses.images.noise.model import NoiseModel
from napari_care_losses.io.tiff_reader import read_tiff
from napari_care_losses.simulation.microscope import Microscope, blur
from napari_care_losses.simulation.pairs_and_movies import draw_structure

NOISE = {
    "white": NoiseModel(least=900),
    "photons": NoiseModel(slope=8, intercept=-200),
    "rows": NoiseModel(least=900, rows=40),
}


@cache
def light() -> np.ndarray:
    drawn = blur(draw_structure("actin", (256, 256), np.random.default_rng(0)), Microscope())
    clean = 100 + 300 * np.asarray(drawn, np.float64)
    clean.flags.writeable = False
    return clean


def hazy(image: np.ndarray) -> np.ndarray:
    return image + 2 * gaussian_filter(image, 10)


def shadowed(image: np.ndarray) -> np.ndarray:
    return image * np.linspace(0.8, 1.2, 256)


def stretched(image: np.ndarray) -> np.ndarray:
    return np.square(image)


CHANGES = {"haze": hazy, "uneven light": shadowed, "no line": stretched}


@pytest.mark.parametrize("kind", NOISE)
@pytest.mark.parametrize("change", CHANGES)
def test_it_is_the_score_of_the_noiseless_input(change, kind) -> None:
    clean = light()
    noisy = clean + NOISE[kind].draw(clean, np.random.default_rng(0))
    truth = CHANGES[change](clean)
    found = truth_limit(noisy, truth)
    assert found.differs
    # never too strict, and little too high where fine detail differs from coarse
    assert -0.5 < found.psnr - score(clean, truth)["psnr"] < 2.5


@pytest.mark.parametrize("kind", NOISE)
@pytest.mark.parametrize("seed", range(5))
def test_a_gain_and_noise_alone_are_no_difference(seed, kind) -> None:
    clean, rng = light(), np.random.default_rng(seed)
    noisy = clean + NOISE[kind].draw(clean, rng)
    found = truth_limit(noisy, 3 * clean - 70 + rng.normal(0, 9, clean.shape))
    assert not found.differs
    of_noise = 20 * np.log10(3 * np.ptp(np.percentile(clean, [0.1, 99.9])) / 9)
    assert of_noise - 3 < found.psnr < of_noise + 1


def test_the_share_of_an_error_is_at_most_all_of_it() -> None:
    assert TruthLimit(30.0, True).share(20.0) == pytest.approx(0.1)
    assert TruthLimit(30.0, True).share(40.0) == 1


def test_images_of_other_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="shape"):
        truth_limit(light(), light()[:100])


def test_real_pairs_that_differ_are_told_from_those_that_do_not(shared_data) -> None:
    def limit(name: str) -> TruthLimit:
        return truth_limit(*(read_tiff(shared_data / f"{name}_{which}.tif")[0] for which in ("low", "high")))

    for name in ("w2s/actin", "w2s/mitochondria"):
        assert not limit(name).differs
    for name in ("high_low/actin-20x-noise1", "high_low/membrane", "high_low/mito-60x-noise1"):
        assert limit(name).differs
