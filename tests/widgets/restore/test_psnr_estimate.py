"""The estimated PSNR in the Restore widget."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.random_models import bundled_model
from fixtures.restore_widget import press_restore
from scipy.ndimage import gaussian_filter

from napari_care_losses.compute.steps import finish
from napari_care_losses.images.frames import Frames
from napari_care_losses.models.model import Model
from napari_care_losses.restoration.engines.treatment import Treatment
from napari_care_losses.restoration.ranges import estimate_ranges
from napari_care_losses.restoration.restore_stack import RestorationParameters
from napari_care_losses.restoration.window_psnr import estimate_window_psnr
from napari_care_losses.simulation.pairs_and_movies import simulate_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_care_losses.widgets.restore.widget import RestoreWidget


@pytest.fixture(scope="module")
def pairs() -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    return simulate_pairs("mitochondria", 2, (96, 112), seed=3)


@pytest.fixture
def opened(viewer, open_widget, qtbot, model_library) -> Callable[[NDArray[np.uint16]], RestoreWidget]:
    def open_(data: NDArray[np.uint16]) -> RestoreWidget:
        bundled_model("fft-lite").save(model_library / "trained.safetensors")
        viewer.add_image(data, name="noisy")
        widget = open_widget()
        widget.live.value = False
        press_restore(widget, qtbot)
        wait(widget, qtbot)
        return widget

    return open_


def wait(widget: RestoreWidget, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not widget.scores.is_busy, timeout=180_000)


def line(widget: RestoreWidget) -> str:
    estimate = widget.scores.estimate
    return "" if estimate.isHidden() else estimate.line.text().replace("\N{NO-BREAK SPACE}", " ")


def test_it_follows_the_slider(pairs, viewer, opened, qtbot) -> None:
    low, high = pairs
    widget = opened(low)
    model, parameters, frames = bundled_model("fft-lite"), RestorationParameters(), Frames(low)
    ranges = finish(estimate_ranges(frames, parameters, model.card.normalization))
    said = {}
    for index in (0, 1, 0):
        viewer.dims.set_current_step(0, index)
        wait(widget, qtbot)
        found = re.fullmatch(r"PSNR about (\d+) dB \(estimated, (\d+) to (\d+)\)", line(widget))
        assert found is not None, line(widget)
        expected = estimate_window_psnr(frames, index, model, parameters, ranges, Treatment())
        assert int(found[1]) == round(expected.psnr)
        said[index] = line(widget)
    # beside a truth too
    widget.scores.truth.value = viewer.add_image(high, name="truth")
    wait(widget, qtbot)
    assert line(widget) == said[0]


def test_a_large_frame_has_a_quick_figure_before_the_full_one(opened, qtbot) -> None:
    low, _ = simulate_pairs("mitochondria", 1, (288, 272), seed=3)
    widget = opened(low)
    estimate = widget.scores.estimate
    found, shown = [], []
    estimate._job.reported.connect(lambda report: found.append(report[1]))
    estimate._job.reported.connect(lambda _: shown.append(line(widget)))
    estimate._known.clear()
    widget.scores.rescore()
    wait(widget, qtbot)
    qtbot.waitUntil(lambda: len(found) == 2, timeout=180_000)
    assert [each.is_first for each in found] == [True, False]
    assert all(text.startswith("PSNR about") for text in shown)
    assert estimate.series([0]) == pytest.approx([found[1].psnr])


def test_known_frames_are_not_estimated_again(pairs, viewer, opened, qtbot) -> None:
    widget = opened(pairs[0])
    viewer.dims.set_current_step(0, 1 - viewer.dims.current_step[0])
    wait(widget, qtbot)
    viewer.dims.set_current_step(0, 1 - viewer.dims.current_step[0])
    widget.scores.estimate.estimate()
    assert not widget.scores.estimate.is_running
    assert line(widget).startswith("PSNR about")


def test_why_it_cannot_be_told_is_said(pairs, opened) -> None:
    widget = opened(pairs[0][:, :60])
    assert "at least 64 x 64 px are needed, found 112 x 60" in line(widget)


def test_nothing_is_said_where_the_layer_is_not_what_the_model_made(pairs, viewer, opened, qtbot) -> None:
    widget = opened(pairs[0])
    restored = next(layer for layer in viewer.layers if layer.name.startswith("restored"))
    restored.data = np.zeros(pairs[0].shape, np.float32)
    widget.scores.show_frame(viewer.layers["noisy"], restored, 0, done={0})
    wait(widget, qtbot)
    assert line(widget) == ""
    # so it is for a layer of which it is not known what made it
    opened_from_file = viewer.add_image(np.zeros(pairs[0].shape, np.float32))
    widget.scores.show_frame(viewer.layers["noisy"], opened_from_file, 0, done={0})
    wait(widget, qtbot)
    assert line(widget) == ""


def test_a_removed_layer_leaves_nothing(pairs, viewer, opened, qtbot) -> None:
    widget = opened(pairs[0])
    viewer.layers.remove("noisy")
    wait(widget, qtbot)
    assert line(widget) == ""
    assert widget.scores.estimate._stack is None


def test_before_anything_is_restored_it_is_that_of_the_preview(
    pairs, viewer, open_widget, model_library, qtbot
) -> None:
    model = bundled_model("fft-lite")
    model.save(model_library / "trained.safetensors")
    worse = {name: 0.3 * weight for name, weight in model.weights.items()}
    Model(model.card, worse).save(model_library / "worse.safetensors")
    viewer.add_image(pairs[0], name="noisy")
    widget = open_widget()
    wait(widget, qtbot)
    assert line(widget).startswith("PSNR about")
    assert widget.scores.estimate.warning.isHidden()
    said = line(widget)
    widget.model.choose("worse")
    wait(widget, qtbot)
    assert line(widget) != said
    assert "A plain blur is probably closer to the truth" in widget.scores.estimate.warning.text()
    widget.live.value = False
    assert line(widget) == ""


def test_noise_that_correlates_is_warned_of(viewer, open_widget, model_library, qtbot) -> None:
    bundled_model("fft-lite").save(model_library / "trained.safetensors")
    noise = np.random.default_rng(0).poisson(9, (160, 160))
    viewer.add_image(gaussian_filter(noise.astype(np.float32), 0.6), name="noisy")
    widget = open_widget()
    wait(widget, qtbot)
    assert "its noise is not independent" in line(widget)
    assert "The noise of neighbouring pixels correlates" in widget.scores.estimate.warning.text()


def test_over_time_it_is_plotted_once_it_is_asked_for(pairs, viewer, opened, qtbot) -> None:
    widget = opened(np.concatenate(pairs))
    scores = widget.scores
    quantity = scores.plot.quantity
    assert np.isfinite(scores.estimate.series(range(4))).sum() == 1
    quantity.value = "estimate"
    qtbot.waitUntil(lambda: np.isfinite(scores.estimate.series(range(4))).all(), timeout=180_000)
    assert np.allclose(scores.plot.lines["restored"].getData()[1], scores.estimate.series(range(4)))
    # with a truth too
    scores.truth.value = viewer.add_image(np.concatenate(pairs[::-1]), name="truth")
    wait(widget, qtbot)
    assert "estimate" in quantity.choices
