"""How far restorations disagree: models with one another, one model with itself."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures.random_models import TINY, image_of, make_model

from napari_care_losses.comparison.disagreement import disagreement, flip_disagreement
from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Frames
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.restore_stack import restore

RNG = np.random.default_rng(0)
NOISY = RNG.normal(100, 20, (20, 24))


def placed(image: np.ndarray) -> np.ndarray:
    return np.polyval(np.polyfit(image.ravel(), NOISY.ravel(), 1), image)


def test_it_is_the_standard_deviation_in_the_grey_levels_of_the_input() -> None:
    images = [NOISY + RNG.normal(0, 5, NOISY.shape), 3 * NOISY + RNG.normal(0, 20, NOISY.shape) - 40]
    expected = np.std([placed(image) for image in images], axis=0, ddof=1)
    assert np.allclose(disagreement(NOISY, images), expected, rtol=1e-4)


def test_methods_that_differ_by_gain_and_offset_agree() -> None:
    assert np.abs(disagreement(NOISY, [NOISY, 0.1 * NOISY + 7, 5 * NOISY])).max() < 1e-9


def test_one_restoration_disagrees_with_nothing() -> None:
    with pytest.raises(InputError, match="At least two"):
        disagreement(NOISY, [NOISY])


def test_flips_are_restored_by_the_model_and_turned_back(tmp_path) -> None:
    path = tmp_path / "tiny.safetensors"
    make_model(TINY).save(path)
    model, stack, parameters = load_model(path), image_of((3, 32, 40)), RestorationParameters()
    steps = [step for step in flip_disagreement(Frames(stack), model, parameters, indices=[2, 0]) if step is not None]
    assert [index for index, _ in steps] == [2, 0]
    for index, found in steps:
        frame = stack[index]
        images = [restore(frame, model)]
        images += [np.flip(restore(np.flip(frame, axes), model), axes) for axes in ((0,), (1,), (0, 1))]
        assert np.allclose(found, disagreement(frame, images), atol=1e-3)
        assert found.max() > 0
