from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import structural_similarity

from napari_care_losses.compute.cores import in_threads
from napari_care_losses.evaluation import structural_similarity as module
from napari_care_losses.evaluation.structural_similarity import PART_PIXELS, micro_ssim, ssim, ssim_of_a_part


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


def by_scikit_image(restored: np.ndarray, truth: np.ndarray) -> float:
    return structural_similarity(
        restored.astype(float),
        truth.astype(float),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
    )


def with_dust() -> tuple[np.ndarray, np.ndarray]:
    truth = picture((140, 300))
    restored = noisy(truth)
    truth[20:60, 100:150], restored[20:60, 100:150] = 50, 49.9
    return restored, truth


def with_a_step(height: float, *, noise: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    truth = picture((140, 300))
    truth[:, 90:] += height
    return noisy(truth, noise), truth


UNUSUAL = {
    "ordinary": (noisy(picture((150, 530))), picture((150, 530))),
    "one row and one column more than a block": (noisy(picture((139, 267))), picture((139, 267))),
    "alike": (noisy(picture((140, 300)), 1e-4), picture((140, 300))),
    "constant": (np.full((140, 300), 0.3), picture((140, 300))),
    "far brighter": (noisy(picture((140, 300))) + 1000, picture((140, 300))),
    "opposite": (-picture((140, 300)), picture((140, 300))),
    "saturated dust": with_dust(),
    "a step within float32": with_a_step(6.0),
    "a step beyond it": with_a_step(500.0),
    "a flat step": with_a_step(7.0, noise=1e-3),
    "hot pixels": (
        noisy(CLEAN) + 1e6 * (np.random.default_rng(4).random(CLEAN.shape) < 0.001),
        CLEAN,
    ),
    "16 bits, not scaled": (
        np.random.default_rng(5).poisson(60_000, (140, 300)).astype(np.uint16),
        np.random.default_rng(6).poisson(60_000, (140, 300)).astype(np.uint16),
    ),
}


@pytest.mark.parametrize("case", UNUSUAL)
def test_ssim_of_unusual_images_equals_scikit_image(case: str) -> None:
    restored, truth = UNUSUAL[case]
    assert ssim(restored, truth) == pytest.approx(by_scikit_image(restored, truth), abs=1e-6)
    assert ssim(truth, restored + 1e-9 * truth) == pytest.approx(by_scikit_image(truth, restored), abs=1e-6)


def test_only_equal_images_have_an_ssim_of_1() -> None:
    for image in (picture((140, 300)), 1e5 + picture((140, 300))):
        assert ssim(image, image) == 1
        other = image.copy()
        other[70, 150] += 0.1
        assert ssim(other, image) < 1


def test_ssim_does_not_depend_on_the_number_of_threads(monkeypatch) -> None:
    restored, truth = UNUSUAL["ordinary"]
    found = ssim(restored, truth)
    for threads in (1, 3):
        monkeypatch.setattr(module, "in_threads", lambda *work, most=threads: in_threads(*work, most=most))
        assert ssim(restored, truth) == found


def test_a_part_of_a_large_image_has_about_its_ssim(monkeypatch) -> None:
    truth = np.tile(picture((256, 256)), (4, 4))
    restored = noisy(truth)
    assert ssim_of_a_part(restored, truth) == ssim(restored, truth)
    monkeypatch.setattr(module, "PART_PIXELS", PART_PIXELS // 8)
    found = ssim_of_a_part(restored, truth)
    assert found != ssim(restored, truth)
    assert found == pytest.approx(ssim(restored, truth), abs=0.01)
    # more rows of blocks than are looked at: no block is left out for good, and no row without one breaks it
    assert ssim_of_a_part(truth, truth) == 1
    assert 0 < ssim_of_a_part(restored[:, :100], truth[:, :100]) < 1
