"""The bundled models: what they are, and that each restores every structure."""

from functools import cache

import numpy as np
import pytest

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.models.learned_noise import learned_correlation
from napari_care_losses.models.library import BUNDLED_LOSSES, BUNDLED_SIZES, bundled_folder, find_model, list_models
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.simulation.microscope import Microscope
from napari_care_losses.simulation.pairs_and_movies import ImagingConditions, simulate_movie, simulate_pair

NAMES = [f"{loss}-{size}" for loss in BUNDLED_LOSSES for size in BUNDLED_SIZES]
MOVIE_NAMES = [f"{loss}-lite-movie" for loss in BUNDLED_LOSSES]

# every model restores the same images
simulate = cache(simulate_pair)


def test_one_of_each_loss_and_size_and_one_for_movies_is_bundled_for_every_structure():
    bundled = [entry for entry in list_models() if entry.bundled]
    assert [entry.name for entry in bundled] == NAMES + MOVIE_NAMES
    assert [entry.card.architecture.neighbours for entry in bundled] == [0] * len(NAMES) + [4] * len(MOVIE_NAMES)
    assert {entry.card.structure for entry in bundled} == {"other"}
    assert all(learned_correlation(entry.card) is not None for entry in bundled)
    assert {entry.card.loss for entry in bundled if entry.card.intervals} == {"laplace"}


def test_all_bundled_models_take_less_than_15_mb():
    assert sum(path.stat().st_size for path in bundled_folder().iterdir()) < 15e6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("structure", ["actin", "mitochondria", "dendra"])
def test_each_restores_fields_it_has_not_seen(structure, name):
    low, high = simulate(structure, (192, 192), seed=42)
    before, after = score(low, high), score(restore(low, load_model(find_model(name))), high)
    assert after["psnr"] > before["psnr"] + 3
    assert after["ssim"] > before["ssim"] + 0.1


@pytest.mark.parametrize("loss", BUNDLED_LOSSES)
def test_neighbouring_frames_help_movies(loss):
    low, high = simulate_movie("dendra", 5, (160, 160), seed=41)
    alone, together = (
        score(restore(low, load_model(find_model(name)))[2], high[2])["psnr"]
        for name in (f"{loss}-lite", f"{loss}-lite-movie")
    )
    assert together > alone + 1


@pytest.mark.parametrize(("structure", "high_ms"), [("actin", 400.0), ("dendra", 4000.0)])
@pytest.mark.parametrize("name", NAMES)
def test_each_keeps_grey_levels(structure, high_ms, name):
    """In the input's units: slope within 5 % of one against the same light with hardly any noise."""
    low_ms, offset = 10.0, Microscope().offset
    low, high = simulate(structure, (256, 256), ImagingConditions(low_ms=low_ms, high_ms=high_ms), seed=45)
    truth = ((high - offset) * (low_ms / high_ms) + offset).ravel()
    restored = restore(low, load_model(find_model(name))).ravel()
    assert np.polyfit(truth, restored, 1)[0] == pytest.approx(1, abs=0.05)
    assert np.corrcoef(truth, restored)[0, 1] ** 2 > 0.98
