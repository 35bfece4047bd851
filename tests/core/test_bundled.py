"""The bundled models: what they are, and that each restores what it was trained on."""

import pytest

from napari_care_losses.core.library import bundled_folder, list_models
from napari_care_losses.core.matching import mismatches
from napari_care_losses.core.metrics import score
from napari_care_losses.core.model import load_model, read_card
from napari_care_losses.core.restoration import restore
from napari_care_losses.core.simulation import simulate_pair

STRUCTURES = ("actin", "mitochondria", "dendra")
LOSSES = ("laplace", "fft", "bandpass")


def test_nine_are_bundled():
    bundled = {(entry.card.structure, entry.card.loss, entry.card.preset) for entry in list_models() if entry.bundled}
    assert bundled == {(structure, loss, "lite") for structure in STRUCTURES for loss in LOSSES}


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("loss", LOSSES)
def test_each_restores_a_field_it_has_not_seen(structure, loss):
    low, high = simulate_pair(structure, (192, 192), seed=42)
    model = load_model(bundled_folder() / f"{structure}-{loss}-lite.safetensors")
    before, after = score(low, high), score(restore(low, model), high)
    assert after["psnr"] > before["psnr"] + 5
    assert after["ssim"] > before["ssim"] + 0.2


@pytest.mark.parametrize("structure", STRUCTURES)
def test_each_knows_what_it_was_trained_on(structure):
    """A field it has not seen matches; its long exposure and another structure do not."""
    stored = [read_card(bundled_folder() / f"{structure}-{loss}-lite.safetensors").statistics for loss in LOSSES]
    assert stored[0]["images"] == 50
    assert stored[0] == stored[1] == stored[2]
    low, high = simulate_pair(structure, seed=43)
    other, _ = simulate_pair("actin" if structure == "mitochondria" else "mitochondria", seed=43)
    assert mismatches(stored[0], [low]) == []
    assert mismatches(stored[0], [high])
    assert mismatches(stored[0], [other])
