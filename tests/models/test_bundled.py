"""The bundled models: what they are, and that each restores what it was trained on."""

import itertools

import numpy as np
import pytest

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.models.image_statistics import measure
from napari_care_losses.models.library import bundled_folder, list_models
from napari_care_losses.models.match import reasons
from napari_care_losses.models.model import load_model, read_card
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.simulation.microscope import Microscope
from napari_care_losses.simulation.pairs_and_movies import ImagingConditions, simulate_pair

STRUCTURES = ("actin", "mitochondria", "dendra")
LOSSES = ("laplace", "fft", "bandpass")


PRESETS = ("care", "lite")


def test_nine_of_each_size_are_bundled():
    bundled = [(entry.card.preset, entry.card.structure, entry.card.loss) for entry in list_models() if entry.bundled]
    assert sorted(bundled) == sorted(itertools.product(PRESETS, STRUCTURES, LOSSES))


def test_all_bundled_models_take_less_than_40_mb():
    assert sum(path.stat().st_size for path in bundled_folder().iterdir()) < 40e6


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("loss", LOSSES)
def test_each_restores_a_field_it_has_not_seen(structure, loss, preset):
    low, high = simulate_pair(structure, (192, 192), seed=42)
    model = load_model(bundled_folder() / f"{structure}-{loss}-{preset}.safetensors")
    before, after = score(low, high), score(restore(low, model), high)
    assert after["psnr"] > before["psnr"] + 5
    assert after["ssim"] > before["ssim"] + 0.2


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_card_of_each_names_its_training_images(structure):
    """A field it has not seen matches; its long exposure and another structure do not."""
    names = [f"{structure}-{loss}-{preset}" for loss in LOSSES for preset in PRESETS]
    stored = [read_card(bundled_folder() / f"{name}.safetensors").statistics for name in names]
    assert stored[0]["images"] == 50
    assert all(each == stored[0] for each in stored)
    low, high = simulate_pair(structure, seed=43)
    other, _ = simulate_pair("actin" if structure == "mitochondria" else "mitochondria", seed=43)
    assert reasons(stored[0], [measure(low)]) == []
    assert reasons(stored[0], [measure(high)])
    assert reasons(stored[0], [measure(other)])


@pytest.mark.parametrize(("structure", "high_ms"), [("actin", 400.0), ("dendra", 4000.0)])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("preset", PRESETS)
def test_each_keeps_grey_levels(structure, high_ms, loss, preset):
    """In the input's units: slope within 2 % of one against the same light with hardly any noise."""
    low_ms, offset = 10.0, Microscope().offset
    low, high = simulate_pair(structure, (384, 384), ImagingConditions(low_ms=low_ms, high_ms=high_ms), seed=45)
    truth = ((high - offset) * (low_ms / high_ms) + offset).ravel()
    restored = restore(low, load_model(bundled_folder() / f"{structure}-{loss}-{preset}.safetensors")).ravel()
    assert np.polyfit(truth, restored, 1)[0] == pytest.approx(1, abs=0.02)
    assert np.corrcoef(truth, restored)[0, 1] ** 2 > 0.99
