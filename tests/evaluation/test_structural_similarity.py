from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_care_losses.evaluation.structural_similarity import micro_ssim


def picture(shape: tuple[int, int] = (48, 64), seed: int = 0) -> np.ndarray:
    image = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 2)
    return (image - image.min()) / np.ptp(image)


def noisy(image: np.ndarray, sigma: float = 0.1, seed: int = 1) -> np.ndarray:
    return image + np.random.default_rng(seed).normal(0, sigma, image.shape)


CLEAN, LARGE = picture(), picture((128, 96), 3)
# what the package microssim 0.0.5 gives: `micro_structural_similarity(truth, restored)`
BY_PACKAGE = {
    "noisy": (noisy(CLEAN), CLEAN, 0.535316787668285),
    "darker": (0.5 * noisy(CLEAN, 0.05) + 0.2, CLEAN, 0.7784638942852777),
    "blurred": (ndimage.gaussian_filter(noisy(CLEAN, 0.2), 1.5), CLEAN, 0.7570649812022554),
    "squared": (np.square(noisy(LARGE, 0.1)), LARGE, 0.5642180926484579),
}


@pytest.mark.parametrize("case", BY_PACKAGE)
def test_micro_ssim_equals_that_of_its_authors(case: str) -> None:
    restored, truth, expected = BY_PACKAGE[case]
    assert micro_ssim(restored, truth) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("case", BY_PACKAGE)
def test_gain_and_offset_do_not_matter(case: str) -> None:
    restored, truth, expected = BY_PACKAGE[case]
    assert micro_ssim(30 * restored - 7, 200 * truth + 100) == pytest.approx(expected, abs=1e-6)


def test_a_large_frame_is_fitted_to_a_part_of_it() -> None:
    truth = picture((600, 900))
    restored, whole = noisy(truth), np.s_[:, :450]
    # the same picture everywhere: a frame of half the size, which is fitted whole, scores alike
    assert micro_ssim(restored, truth) == pytest.approx(micro_ssim(restored[whole], truth[whole]), abs=0.01)


def test_an_opposite_or_constant_image_scores_low() -> None:
    assert micro_ssim(-CLEAN, CLEAN) < 0.1
    assert micro_ssim(np.zeros_like(CLEAN), CLEAN) < 0.1
