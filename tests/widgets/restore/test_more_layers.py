"""Layers beside the restored one: what a model can give, what is asked for, and how it is checked."""

import numpy as np
import pytest
from fixtures.restore_widget import entry, press_restore

from napari_care_losses.evaluation.intervals import LEVELS, Intervals
from napari_care_losses.evaluation.uncertainty import interval_coverage
from napari_care_losses.images.frames import Frames
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore_frames
from napari_care_losses.widgets.layers.restored_layers import (
    RESTORED,
    UNCERTAINTY,
    find_result,
    frames_done,
    interval_kinds,
    level_of,
)
from napari_care_losses.widgets.restore.more_layers import MoreLayers

INTERVALS = Intervals(
    levels=LEVELS,
    brightness=(0.0,),
    factors=tuple((1.0 + place,) for place in range(len(LEVELS))),
    images=6,
    uses_scale=True,
    spread=(0.02,) * len(LEVELS),
)


def test_kinds_of_layers_are_told_apart() -> None:
    assert [level_of(kind) for level in LEVELS for kind in interval_kinds(level)] == list(np.repeat(LEVELS, 2))
    assert level_of(RESTORED) is level_of(UNCERTAINTY) is None


def test_what_a_model_cannot_give_is_greyed_and_said_why(qtbot, add_model, model_library) -> None:
    add_model("a-with", loss="laplace", intervals=INTERVALS)
    add_model("b-without", loss="laplace")
    add_model("c-mae", loss="mae")
    choice = MoreLayers()
    qtbot.addWidget(choice)
    assert not choice.interval.enabled
    for box in (choice.uncertainty, choice.interval):
        box.value = True
    assert choice.kinds == []
    choice.show_model(entry("a-with"))
    assert choice.kinds == [UNCERTAINTY, *interval_kinds(0.9)]
    assert "6 validation images" in choice.interval.tooltip
    assert choice.level.enabled
    choice.level.value = 0.5
    assert choice.kinds[1:] == ["lower 50 %", "upper 50 %"]
    choice.show_model(entry("b-without"))
    assert choice.kinds == [UNCERTAINTY]
    assert not choice.interval.enabled
    assert not choice.level.enabled
    assert "no intervals" in choice.interval.tooltip
    choice.show_model(entry("c-mae"))
    assert choice.kinds == []
    choice.show_model(entry("a-with"))
    choice.interval.value = False
    assert not choice.level.enabled
    assert choice.kinds == [UNCERTAINTY]


@pytest.fixture
def opened(viewer, open_widget, add_model, stack, qtbot):
    add_model(loss="laplace", intervals=INTERVALS)
    source = viewer.add_image(stack, name="cells")
    return viewer, open_widget(), source


def test_ends_are_added_as_layers_and_counted_against_the_truth(opened, qtbot, stack) -> None:
    viewer, widget, source = opened
    widget.more_layers.interval.value = True
    widget.more_layers.level.value = 0.8
    press_restore(widget, qtbot)
    lower, upper = (find_result(viewer, source, entry(), kind) for kind in interval_kinds(0.8))
    restored = find_result(viewer, source, entry())
    assert [layer.name for layer in viewer.layers] == [
        "cells",
        "upper 80 % cells (untrained)",
        "lower 80 % cells (untrained)",
        "restored cells (untrained)",
    ]
    model = load_model(entry().path)
    for progress in restore_frames(Frames(stack), model):
        if progress.frame is not None:
            index, expected = progress.frame.index, progress.frame.bounds(model.card, 0.8)
            assert np.allclose(lower.data[index], expected[0], rtol=1e-4)
            assert np.allclose(upper.data[index], expected[1], rtol=1e-4)
    assert tuple(lower.contrast_limits) == tuple(restored.contrast_limits)
    assert lower.colormap.name == source.colormap.name
    truth = np.random.default_rng(1).random(stack.shape).astype(np.float32)
    widget.scores.truth.value = viewer.add_image(truth, visible=False)
    qtbot.waitUntil(lambda: widget.scores.of_truth.interval.text() != "", timeout=180_000)
    shown = viewer.dims.current_step[0]
    found = interval_coverage(restored.data[shown], lower.data[shown], upper.data[shown], truth[shown])
    said = widget.scores.of_truth.interval.text().replace("\N{NO-BREAK SPACE}", " ")
    assert said.startswith(f"Interval: {100 * found.coverage:.0f} % of true pixels within")
    viewer.layers.remove(lower)
    qtbot.waitUntil(lambda: widget.scores.of_truth.interval.text() == "", timeout=180_000)


def test_intervals_asked_for_later_leave_what_is_restored(opened, qtbot) -> None:
    viewer, widget, source = opened
    press_restore(widget, qtbot)
    restored = find_result(viewer, source, entry())
    pixels = np.array(restored.data)
    widget.more_layers.interval.value = True
    press_restore(widget, qtbot)
    assert find_result(viewer, source, entry()) is restored
    assert np.array_equal(restored.data, pixels)
    assert frames_done(find_result(viewer, source, entry(), "lower 90 %")) == set(range(len(pixels)))
    widget.more_layers.level.value = 0.5
    press_restore(widget, qtbot)
    kinds = [find_result(viewer, source, entry(), kind) for level in (0.9, 0.5) for kind in interval_kinds(level)]
    assert all(layer is not None for layer in kinds)
