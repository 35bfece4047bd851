"""A bundled model is previewed by its smaller sibling first, and ends as what Restore gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.preview_layers import PARAMETERS, look_at, show_preview
from fixtures.restore_widget import entry, press_restore

from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.preview import previewer as previewer_module
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.widgets.layers.restored_layers import RESTORED, find_result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUICK = "Quick preview with fft-live; fft-care follows"


@pytest.fixture(autouse=True)
def in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the small networks for dear ones."""
    monkeypatch.setattr(previewer_module, "tile_width", lambda *_, **__: 128)


@pytest.fixture
def bundle(add_model: Callable[..., str], model_library: Path, no_bundled_models: Path) -> None:
    """Add untrained bundled models of two sizes and different weights."""
    for seed, preset in enumerate(("live", "care"), 1):
        name = add_model(f"fft-{preset}", loss="fft", structure="other", preset=preset, seed=seed)
        (model_library / f"{name}.safetensors").rename(no_bundled_models / f"{name}.safetensors")


@pytest.fixture
def noisy() -> np.ndarray:
    return np.random.default_rng(0).poisson(50, (3, 200, 270)).astype(np.uint16)


@pytest.mark.usefixtures("bundle")
def test_the_quick_model_comes_first_and_the_chosen_one_stays(viewer, add_model, qtbot, noisy) -> None:
    shown = show_preview(viewer, add_model, qtbot, noisy)
    shown.wait()
    first, said = [], shown.said
    shown.live.painted.connect(lambda _: first.append(np.copy(shown.live.layer.data[0])))
    said.clear()
    shown.live.set_source(shown.source, entry("fft-care"), PARAMETERS)
    shown.wait()
    # only what the first tile of the quick model has painted
    there = np.isfinite(first[0])
    quick, chosen = (restore(noisy[0], load_model(entry(f"fft-{size}").path), PARAMETERS) for size in ("live", "care"))
    assert 0 < there.sum() < there.size
    np.testing.assert_allclose(first[0][there], quick[there], rtol=1e-4)
    np.testing.assert_allclose(shown.live.layer.data[0], chosen, rtol=1e-4)
    assert np.abs(quick - chosen).max() > 1
    assert shown.live.layer.name == "preview cells (fft-care)"
    assert said.index(f"{QUICK}…") < said.index(f"{QUICK}: tile 1 of 6")
    assert said[-1].startswith("Preview: 200 x 270 px in view")


@pytest.mark.usefixtures("bundle")
def test_what_the_chosen_model_has_restored_is_shown_at_once(viewer, add_model, qtbot, noisy) -> None:
    shown = show_preview(viewer, add_model, qtbot, noisy)
    shown.live.set_source(shown.source, entry("fft-care"), PARAMETERS)
    shown.wait()
    kept = np.copy(shown.live.layer.data)
    viewer.dims.set_current_step(0, 2)
    shown.wait()
    shown.said.clear()
    viewer.dims.set_current_step(0, 0)
    np.testing.assert_array_equal(shown.wait().data, kept)
    assert not any(text.startswith("Quick") for text in shown.said)


@pytest.mark.usefixtures("bundle")
def test_one_s_own_models_and_the_quick_one_itself_have_no_quick_preview(viewer, add_model, qtbot, noisy) -> None:
    shown = show_preview(viewer, add_model, qtbot, noisy)
    add_model("my-fft", loss="fft", preset="care")
    for name in ("untrained", "my-fft", "fft-live"):
        shown.live.set_source(shown.source, entry(name), PARAMETERS)
        shown.wait()
    assert not any(text.startswith("Quick") for text in shown.said)


@pytest.mark.usefixtures("bundle")
def test_the_preview_of_the_widget_ends_as_what_restore_gives(viewer, open_widget, qtbot, noisy) -> None:
    layer = viewer.add_image(noisy, name="cells")
    look_at(viewer, layer)
    widget = open_widget()
    said = []
    widget.preview.said.connect(said.append)
    qtbot.waitUntil(lambda: bool(said) and said[-1].startswith("Preview: 200"), timeout=180_000)
    assert any(text.startswith(QUICK) for text in said)
    assert widget.model.value.name == "fft-care"
    previewed = np.copy(widget.preview.layer.data[0])
    press_restore(widget, qtbot)
    result = find_result(viewer, layer, widget.model.value, RESTORED)
    np.testing.assert_allclose(previewed, np.asarray(result.data)[0], rtol=1e-4)
