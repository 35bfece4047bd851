"""What the network learns from is chosen above the images: clean ones, other noisy ones, or the noisy ones alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from fixtures.train_widget import FEW, press_start

from napari_care_losses.errors import InputError
from napari_care_losses.models.library import list_models
from napari_care_losses.training.parameters import TARGET_NAMES, TrainingParameters
from napari_care_losses.widgets.shared.model_chooser import describe
from napari_care_losses.widgets.train.widget import TrainWidget


@pytest.fixture
def noisy() -> np.ndarray:
    rng = np.random.default_rng(0)
    light = 5 + 30 * rng.random((10, 13)).repeat(4, 0).repeat(4, 1)
    return rng.poisson(light, (6, 40, 52)).astype(np.uint16)


def alone(viewer, noisy, qtbot) -> TrainWidget:
    viewer.add_image(noisy, name="movie")
    widget = TrainWidget(viewer)
    qtbot.addWidget(widget)
    widget.form.set_values({**FEW, "budget": "steps", "amount": 6})
    return widget


def checked(widget, qtbot) -> str:
    qtbot.waitUntil(lambda: widget.pairs.rows[0].is_examined, timeout=60_000)
    return widget.pairs.rows[0].verdict


def test_an_image_without_a_partner_is_learnt_from_alone(viewer, noisy, qtbot) -> None:
    widget = alone(viewer, noisy, qtbot)
    assert widget.settings.target.value == "self"
    assert not widget.pairs.high.native.isVisibleTo(widget.pairs)
    assert "Choose a noisy image" in widget.run_bar.reason.text()
    widget.pairs.rows[0].choose(viewer.layers["movie"], None)
    assert "photons" in checked(widget, qtbot)
    assert "does not learn the mean" in widget.settings.loss_note.text()
    widget.loss.combo.value = "fft"
    assert not widget.settings.loss_note.text()
    press_start(widget, qtbot)
    (entry,) = list_models()
    assert entry.card.target == "self"
    assert "6 images" in describe(entry.card).replace("6 actin images", "6 images")
    assert "without clean images, from the noisy images alone" in describe(entry.card)
    # the preview has no truth to show
    panels = widget.view.preview
    assert panels.captions["restored"].text() == "Restored"
    assert panels.pictures["truth"].isHidden()


def test_the_next_frame_says_how_much_changes(viewer, noisy, qtbot) -> None:
    widget = alone(viewer, noisy, qtbot)
    widget.settings.target.value = "next"
    widget.loss.combo.value = "mse"
    widget.pairs.rows[0].choose(viewer.layers["movie"], None)
    assert "of the structure changes from frame to frame" in checked(widget, qtbot)
    press_start(widget, qtbot)
    (entry,) = list_models()
    assert (entry.card.target, entry.card.training["pairs"]) == ("next", 3)


def test_blind_spots_are_learnt_from_with_a_loss_of_pixels(viewer, noisy, qtbot) -> None:
    widget = alone(viewer, noisy, qtbot)
    widget.settings.target.value = "blind_spots"
    widget.pairs.rows[0].choose(viewer.layers["movie"], None)
    checked(widget, qtbot)
    widget.loss.combo.value = "fft"
    assert "mixes pixels" in widget.run_bar.reason.text()
    assert not widget.run_bar.start_button.isEnabled()
    widget.loss.combo.value = "mse"
    assert widget.run_bar.start_button.isEnabled(), widget.run_bar.reason.text()
    plan = widget._plan()
    assert (plan.parameters.target, plan.pairs[0].target, plan.pairs[0].high) == ("blind_spots", "blind_spots", None)
    assert widget.form.editors["line_noise"].value == "auto"
    # what is hidden is shown in the patches: the target is blank but for those pixels
    with qtbot.waitSignal(widget.patches.drawn, timeout=60_000) as drawn:
        widget.patches.button.click()
    _, target = drawn.args[0]
    assert 0 < np.isfinite(target).mean() < 0.05


def test_another_way_to_learn_checks_the_images_anew(viewer, noisy, qtbot) -> None:
    widget = alone(viewer, noisy, qtbot)
    viewer.add_image(noisy[::-1].copy(), name="again")
    row = widget.pairs.rows[0]
    row.choose(viewer.layers["movie"], None)
    assert row.names == ("movie", "")
    widget.settings.target.value = "shot"
    assert widget.pairs.high.native.isVisibleTo(widget.pairs)
    assert "Choose a low and a high exposure" in row.problem
    row.choose(viewer.layers["movie"], viewer.layers["again"])
    assert row.source.target == "shot"
    widget.settings.target.value = "self"
    assert row.source.high is None
    assert widget.form.value().target == "self"


def test_a_training_is_resumed_with_what_it_learnt_from(viewer, noisy, qtbot) -> None:
    widget = alone(viewer, noisy, qtbot)
    widget.pairs.rows[0].choose(viewer.layers["movie"], None)
    stopped = SimpleNamespace(
        loss=widget.loss.value(),
        parameters=TrainingParameters(target="next"),
        structure="other",
        starts_from_model=False,
        path=Path("m.safetensors"),
    )
    entry = SimpleNamespace(plan=None, stopped=stopped)
    with pytest.raises(InputError, match="choose the next frame of a movie under Learn from"):
        widget._resumption(entry)
    widget.settings.target.value = "next"
    (source,) = widget._resumption(entry).pairs
    assert source.target == "next"


def test_files_of_a_folder_are_learnt_from_alone(viewer, noisy, qtbot, tmp_path) -> None:
    widget = alone(viewer, noisy, qtbot)
    for number in range(3):
        tifffile.imwrite(tmp_path / f"field{number}.tif", noisy[number])
    widget.pairs.folders_button.click()
    widget.pairs.folders.low.value = tmp_path
    assert widget.pairs.folders.summary.text() == "3 images."
    widget.pairs.folders.add_button.click()
    assert [row.names for row in widget.pairs.rows] == [(f"field{number}.tif", "") for number in range(3)]
    # files that stand alone are no pairs
    widget.settings.target.value = "clean"
    assert [row.is_empty for row in widget.pairs.rows] == [True]


def test_images_that_may_be_pairs_are_taken_for_pairs(viewer, noisy, qtbot) -> None:
    widget = alone(viewer, noisy, qtbot)
    viewer.add_image(noisy[::-1].copy(), name="again")
    qtbot.waitUntil(lambda: widget.settings.target.value == "clean", timeout=30_000)
    assert "choose another way to learn under Learn from" in widget.run_bar.reason.text()
    combo = widget.settings.target.native
    assert combo.count() == len(TARGET_NAMES)
