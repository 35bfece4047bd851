"""A model is adapted to the shown stack in one click, looked at, kept or discarded."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
from fixtures.docks import click, docked
from fixtures.random_models import bundled_model
from fixtures.restore_widget import entry, press_restore
from qtpy.QtCore import Qt
from scipy.ndimage import gaussian_filter

from napari_care_losses.evaluation.without_truth.estimated_psnr import EstimatedPsnr
from napari_care_losses.models.library import list_models
from napari_care_losses.models.model import load_model
from napari_care_losses.simulation.pairs_and_movies import simulate_pairs
from napari_care_losses.training.plans import adapt
from napari_care_losses.widgets.restore.adapt.panel import estimate_text
from napari_care_losses.widgets.restore.adapt.work import Estimates

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_care_losses.widgets.restore.adapt.panel import AdaptPanel
    from napari_care_losses.widgets.restore.widget import RestoreWidget

ENDLESS = {"budget": "steps", "amount": 1e6, "steps_per_epoch": 1000}


@pytest.fixture(autouse=True)
def few_steps(monkeypatch) -> None:
    monkeypatch.setattr(adapt, "BUDGET", {"budget": "steps", "amount": 3, "steps_per_epoch": 3})
    monkeypatch.setattr(adapt, "PATCH_SIZES", (32,))


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    """Return the folder in which results wait."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def movie() -> NDArray[np.uint16]:
    return simulate_pairs("mitochondria", 3, (96, 80), seed=1)[0]


@pytest.fixture
def widget(viewer, open_widget, add_model, movie) -> RestoreWidget:
    add_model("mine", loss="fft")
    viewer.add_image(movie, name="movie")
    return open_widget()


def begin(panel: AdaptPanel, qtbot: QtBot) -> None:
    """Press the button and wait for the first steps."""
    panel.run_bar.start_button.click()
    qtbot.waitUntil(lambda: "step" in panel.run_bar.status.text() or not panel.is_running, timeout=120_000)


def press(panel: AdaptPanel, qtbot: QtBot) -> str:
    """Press the button and return what is said at the end."""
    assert panel.run_bar.start_button.isEnabled(), panel.run_bar.reason.text()
    panel.run_bar.start_button.click()
    qtbot.waitUntil(lambda: not panel.is_running, timeout=120_000)
    return panel.run_bar.status.text()


def results(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("napari-care-losses-*")]


def test_a_kept_model_is_in_the_library_and_chosen(widget, viewer, temporary, qtbot) -> None:
    panel = widget.adapt
    assert not panel.comparison.isVisibleTo(panel)
    said = press(panel, qtbot)
    assert "Adapted mine to movie in 3 steps, from 3 of its frames" in said
    assert [one.name for one in list_models()] == ["mine"], "nothing is kept unasked"
    assert panel.run_bar.reason.text() == "Keep or discard the adapted model first."
    qtbot.waitUntil(lambda: widget.preview.layer is not None and not panel.is_estimating, timeout=120_000)
    qtbot.waitUntil(lambda: widget.preview.layer.name == "preview movie (movie-mine)", timeout=120_000)
    assert "PSNR" in panel.estimate.text()
    panel.before.click()
    qtbot.waitUntil(lambda: widget.preview.layer.name == "preview movie (mine)", timeout=120_000)
    panel.keep.click()
    kept = entry("movie-mine")
    assert widget.model.value.path == kept.path
    card = load_model(kept.path).card
    words = " ".join(card.training["provenance"]["bash"])
    assert words.startswith("napari-care-losses train --low movie.")
    assert f" --out {kept.path} --from mine@" in words
    assert (card.target, card.training["started_from"]) == ("self", load_model(entry("mine").path).digest())
    assert "movie-mine is in your library" in panel.run_bar.status.text()
    assert not panel.comparison.isVisibleTo(panel)
    assert not results(temporary)
    widget.live.value = False
    press_restore(widget, qtbot)
    assert viewer.layers[-1].data.shape == viewer.layers["movie"].data.shape


def test_a_discarded_model_leaves_nothing(widget, temporary, model_library, qtbot) -> None:
    panel, before = widget.adapt, sorted(model_library.iterdir())
    press(panel, qtbot)
    assert results(temporary)
    panel.discard.click()
    assert not results(temporary)
    assert sorted(model_library.iterdir()) == before
    assert widget.model.value.name == "mine"
    qtbot.waitUntil(lambda: widget.preview.layer is not None, timeout=120_000)
    qtbot.waitUntil(lambda: widget.preview.layer.name == "preview movie (mine)", timeout=120_000)
    assert "Adapted" in press(panel, qtbot), "it can be begun again"


def test_stop_shows_the_best_so_far(widget, monkeypatch, qtbot) -> None:
    monkeypatch.setattr(adapt, "BUDGET", ENDLESS)
    panel = widget.adapt
    begin(panel, qtbot)
    assert "left. You can go on working." in panel.run_bar.status.text()
    panel.run_bar.stop_button.click()
    qtbot.waitUntil(lambda: not panel.is_running, timeout=120_000)
    assert panel.has_result
    assert panel.comparison.isVisibleTo(panel)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ((0.7, 0.2), (0.0, 0.0), "Adapting gains about 0.7 dB."),
        ((0.0, 0.0), (1.2, 0.2), "Adapting loses about 1.2 dB."),
        ((0.1, 0.2), (0.0, 0.0), "They do not differ clearly: compare by eye."),
    ],
)
def test_a_gain_is_told_where_it_is_sure(before, after, said) -> None:
    found = tuple(EstimatedPsnr(30.0, 1.0, *behind) for behind in (before, after))
    text = estimate_text(Estimates(4, found)).replace("\N{NO-BREAK SPACE}", " ")
    assert text == f"PSNR of frame 4, estimated: before 30 dB (29 to 31), after 30 dB (29 to 31). {said}"
    assert estimate_text(Estimates(4, (), "It is too small.")) == "It is too small. Compare by eye."


@pytest.mark.parametrize("when", ["running", "ended"])
@pytest.mark.parametrize("how", ["removed", "closed"])
def test_a_layer_that_is_removed_or_a_closed_dock_leaves_nothing(
    when, how, widget, viewer, temporary, monkeypatch, notified, qtbot
) -> None:
    panel = widget.adapt
    if when == "running":
        monkeypatch.setattr(adapt, "BUDGET", ENDLESS)
        begin(panel, qtbot)
    else:
        press(panel, qtbot)
    if how == "removed":
        viewer.layers.clear()
    else:
        widget.closing.closed.emit()
    qtbot.waitUntil(lambda: not panel.is_running and not panel.is_estimating, timeout=120_000)
    assert not panel.has_result
    assert not results(temporary)
    assert [one.name for one in list_models()] == ["mine"]
    assert not list(notified)


def test_another_model_chosen_meanwhile_is_the_one_before(widget, add_model, qtbot) -> None:
    add_model("other", loss="fft", seed=1)
    panel = widget.adapt
    widget.model.reload()
    widget.model.choose("mine")
    press(panel, qtbot)
    assert panel.shows_after
    widget.model.choose("other")
    assert not panel.shows_after
    qtbot.waitUntil(lambda: widget.preview.layer is not None, timeout=120_000)
    qtbot.waitUntil(lambda: widget.preview.layer.name == "preview movie (other)", timeout=120_000)
    panel.after.click()
    qtbot.waitUntil(lambda: "movie-mine" in widget.preview.layer.name, timeout=120_000)


def test_of_another_layer_it_is_said_which_to_choose(widget, viewer, movie, qtbot) -> None:
    panel = widget.adapt
    press(panel, qtbot)
    widget.image.value = viewer.add_image(movie[::-1].copy(), name="another")
    assert panel.estimate.text() == "Choose movie under Image to see it."
    assert not (panel.shows_after or panel.after.isEnabled())
    assert panel.keep.isEnabled()


@pytest.mark.parametrize("kind", ["image", "lazy", "z-stack", "channels"])
def test_images_of_every_kind(kind, viewer, open_widget, add_model, movie, qtbot) -> None:
    add_model("mine", loss="fft")
    options: dict[str, Any] = {"axis_labels": ("z", "y", "x")} if kind == "z-stack" else {}
    data: Any = {"image": movie[0], "lazy": da.from_array(movie, chunks=(1, 96, 80))}.get(kind, movie)
    if kind == "channels":
        data, options = np.stack([movie, movie[::-1]], 1), {"axis_labels": ("t", "c", "y", "x")}
    viewer.add_image(data, name="a", **options)
    widget = open_widget()
    widget.live.value = False
    viewer.dims.set_current_step(0, 0)
    panel = widget.adapt
    assert panel.run_bar.start_button.text() == f"Adapt to this {'image' if kind == 'image' else 'stack'}"
    said = press(panel, qtbot)
    assert "Adapted mine to a" in said
    assert ("channel" in said) == (kind == "channels")
    panel.keep.click()
    names = load_model(entry("a-mine").path).card.training["names"]
    expected = {"image": ["a"], "channels": ["a[0]", "a[2]", "a[4]"]}
    assert names == expected.get(kind, ["a[0]", "a[1]", "a[2]"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda movie: gaussian_filter(movie.astype(np.float32), (0, 0.6, 0.6)), "correlates by"),
        (lambda movie: np.full_like(movie, 7), "is constant"),
        (lambda movie: movie[0, :40, :40], "too small to adapt a model to"),
    ],
)
def test_images_that_cannot_be_learnt_from_are_refused(
    change, reason, viewer, open_widget, add_model, movie, temporary, qtbot
) -> None:
    add_model("mine", loss="fft")
    viewer.add_image(change(movie), name="a")
    panel = open_widget().adapt
    said = press(panel, qtbot)
    assert said.startswith("The model is as it was: ")
    assert reason in said
    assert not panel.has_result
    assert not results(temporary)


def test_nothing_is_begun_while_frames_are_restored(widget, qtbot) -> None:
    widget.run_bar.start_button.click()
    assert widget.adapt.run_bar.reason.text() == "Wait until the frames are restored."
    assert not widget.adapt.run_bar.start_button.isEnabled()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=120_000)
    assert widget.adapt.run_bar.start_button.isEnabled()


def test_without_an_image_there_is_nothing_to_press(viewer, open_widget, add_model) -> None:
    add_model("mine", loss="fft")
    widget = open_widget()
    assert not widget.adapt.isVisibleTo(widget)


def test_from_the_menu_to_the_kept_model_and_the_restored_layer(
    plugin, make_napari_viewer, model_library, movie, temporary, qtbot
) -> None:
    bundled_model("fft-lite").save(model_library / "general.safetensors")
    viewer = make_napari_viewer(show=True)
    viewer.add_image(movie, name="cells 10 ms")
    click(viewer, "Plugins", "CARE Losses", "Restore")
    widget: RestoreWidget = docked(viewer, "Restore (CARE Losses)")
    panel = widget.adapt

    def press_button(button) -> None:
        qtbot.waitUntil(button.isVisible, timeout=120_000)
        assert button.isEnabled()
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    press_button(panel.run_bar.start_button)
    qtbot.waitUntil(lambda: panel.has_result and not panel.is_estimating, timeout=240_000)
    qtbot.waitUntil(lambda: widget.preview.layer is not None, timeout=120_000)
    press_button(panel.before)
    press_button(panel.after)
    press_button(panel.keep)
    assert widget.model.value.name == "cells-10-ms-general"
    press_button(widget.run_bar.start_button)
    qtbot.waitUntil(lambda: not widget.is_running, timeout=120_000)
    (restored,) = [layer for layer in viewer.layers if layer.name.startswith("restored")]
    assert restored.data.shape == movie.shape
    assert np.isfinite(np.asarray(restored.data)).all()
    assert not results(temporary)
