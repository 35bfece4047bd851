"""The bundled models: what they are, and that each restores what it was trained on."""

import pytest

from napari_care_losses.core.library import bundled_folder, list_models
from napari_care_losses.core.metrics import score
from napari_care_losses.core.model import load_model
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
