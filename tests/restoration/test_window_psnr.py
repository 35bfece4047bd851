"""The estimated PSNR of a restored window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from napari_care_losses.compute.steps import finish
from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import score
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.regions import Region
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import Model, ModelCard, load_model
from napari_care_losses.restoration.correlated_noise import choose_treatment
from napari_care_losses.restoration.ranges import estimate_ranges
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore
from napari_care_losses.restoration.window_psnr import PsnrWindow, estimate_window_psnr
from napari_care_losses.simulation.pairs_and_movies import simulate_pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.evaluation.without_truth.estimated_psnr import EstimatedPsnr


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(find_model("fft-lite"))


def estimated(
    data: NDArray[Any], model: Model, parameters: RestorationParameters, index: int = 0, **options: Any
) -> EstimatedPsnr:
    frames = Frames(data)
    ranges = finish(estimate_ranges(frames, parameters, model.card.normalization))
    treatment = choose_treatment(frames, model.card, parameters)
    return estimate_window_psnr(frames, index, model, parameters, ranges, treatment, **options)


def test_it_is_near_the_true_one(model) -> None:
    low, high = simulate_pair("mitochondria", (256, 256), seed=3)
    found = estimated(low, model, RestorationParameters())
    true = score(restore(low, model), high)["psnr"]
    assert abs(found.psnr - true) < 1
    assert abs(found.psnr - true) < found.uncertainty
    assert found.behind == 0


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Return the windows that were judged, and what restores them."""
    calls: list[tuple[Any, ...]] = []
    plain = PsnrWindow._restorer

    def note(window: PsnrWindow, *made: Any) -> Any:
        restorer = plain(window, *made)
        calls.append((window.image, restorer))
        return restorer

    monkeypatch.setattr(PsnrWindow, "_restorer", note)
    return calls


@pytest.mark.parametrize(
    "options",
    [{}, {"normalization": "stack"}, {"high_percentile": 90.0}, {"low_band": "tied"}, {"correlated_noise": "half"}],
)
def test_the_restoration_is_that_of_the_stack(options, model, asked) -> None:
    low, _ = simulate_pair("actin", (96, 80), seed=1)
    stack, parameters = np.stack([low, 3 * low]), RestorationParameters(**options)
    estimated(stack, model, parameters, 1)
    image, restored_by = asked[0]
    assert np.array_equal(image, stack[1])
    assert np.allclose(restored_by(image.astype(np.float32)), restore(stack, model, parameters)[1], rtol=1e-4)
    # a probe that changes the percentiles does not change the range
    brighter = image.astype(np.float32)
    brighter[:20] += 1000
    parameters = RestorationParameters(low_band="plain", normalization="stack")
    estimated(stack, model, parameters, 1)
    _, restored_by = asked[1]
    change = restored_by(brighter) - restored_by(image.astype(np.float32))
    assert np.abs(change[-8:]).max() < 0.01 * np.ptp(image)


def test_what_is_repaired_before_restoring_is_repaired_before_estimating(model, asked) -> None:
    low, _ = simulate_pair("actin", (96, 80), seed=1)
    low[50, 40] = 60_000
    estimated(low, model, RestorationParameters(replace_hot_pixels=True))
    image, _ = asked[0]
    assert image[50, 40] < 10_000


def test_the_window_lies_in_the_region_and_has_the_most_structure(model, asked) -> None:
    frame = np.random.default_rng(0).poisson(20, (700, 400)).astype(np.uint16)
    frame[600:650, 300:350] += np.arange(50, dtype=np.uint16) * 20
    estimated(frame, model, RestorationParameters(), region=Region(100, 700, 0, 400), size=256)
    assert np.array_equal(asked[0][0], frame[444:, 144:])


def test_pixels_without_a_value_are_refused(model) -> None:
    low = simulate_pair("actin", (96, 80), seed=1)[0].astype(np.float32)
    low[:10, :10] = np.nan
    with pytest.raises(InputError, match="pixels without a value"):
        estimated(low, model, RestorationParameters())


def test_a_blank_frame_is_refused(model) -> None:
    with pytest.raises(InputError, match="cannot be estimated"):
        estimated(np.full((96, 80), 7, np.uint8), model, RestorationParameters())


def test_a_model_that_is_worse_than_a_blur_is_told(model) -> None:
    low, _ = simulate_pair("mitochondria", (128, 128), seed=3)
    untrained = Model(model.card, {name: 0.3 * weight for name, weight in model.weights.items()})
    found = estimated(low, untrained, RestorationParameters())
    assert found.behind > found.behind_uncertainty > 0


def test_of_a_model_of_neighbouring_frames_only_the_frame_itself_is_disturbed() -> None:
    """A network that gives the mean of the neighbours does not respond to the noise of the frame."""
    architecture = Architecture(depth=1, kernel_size=1, filters=1, neighbours=2, is_blind=True)
    weights = {name: torch.zeros(shape) for name, shape in architecture.weight_shapes().items()}
    model = Model(ModelCard(structure="other", loss="mse", architecture=architecture), weights)
    rng = np.random.default_rng(0)
    scene = 100 * gaussian_filter(rng.random((160, 160)), 6)
    scene = 100 * (scene - scene.min()) / np.ptp(scene)
    noise = rng.normal(0, 4, (5, 160, 160))
    # restored frames hold hardly any noise of high frequency
    noise[[1, 3]] = 4 * gaussian_filter(noise[[1, 3]], (0, 2, 2))
    movie = scene + noise
    found = estimated(movie, model, RestorationParameters(normalization="stack"), 2)
    true = score(movie[[1, 3]].mean(axis=0), scene, aligned=False)["psnr"]
    assert abs(found.psnr - true) < 1
