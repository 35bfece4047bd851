"""Frames restored before and after a change of the input are never one result."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
import pytest
import torch
from fixtures.foreign_arrays import Stored
from fixtures.restore_widget import entry, press_restore
from fixtures.scored_layers import Slow

from napari_care_losses.errors import InputError
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.widgets.layers.input_changes import WatchedFrames, data_state
from napari_care_losses.widgets.layers.restored_layers import find_result
from napari_care_losses.widgets.restore import run as run_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from napari_care_losses.widgets.layers.filling import Filled, Plan


@pytest.fixture
def frames(stack: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return a stack of so many frames that a restoration is not over before it can be cancelled."""
    return np.concatenate([stack] * 8)


@pytest.fixture
def at_the_second(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Return a function that has something done on the main thread while frames wait to be restored."""

    def arrange(do: Callable[[], None]) -> None:
        has_acted = threading.Event()
        restore_all = run_module.restore_into_stacks

        def restore_and_wait(plan: Plan) -> Iterator[Filled]:
            for filled in restore_all(plan):
                yield filled
                if filled.frame_index is not None:
                    assert has_acted.wait(10)

        def act(_index: int) -> None:
            if not has_acted.is_set():
                do()
                has_acted.set()

        monkeypatch.setattr(run_module, "restore_into_stacks", restore_and_wait)
        return act

    return arrange


def subtract(layer) -> None:
    layer.data -= 20


def paint(layer) -> None:
    layer.data[:, :20] = 7


def set_again(layer) -> None:
    layer.data = layer.data


def replace(layer) -> None:
    layer.data = layer.data + 1


def one_pixel(layer) -> None:
    # not one of those that are compared at any time
    layer.data[0, 0, 1] += 1


def crop(layer) -> None:
    layer.data = layer.data[:5, :30]


@pytest.mark.parametrize("change", [subtract, paint, set_again, replace, one_pixel, crop])
def test_a_change_between_two_runs(change, viewer, open_widget, add_model, frames, at_the_second, qtbot) -> None:
    add_model()
    source = viewer.add_image(frames.copy())
    viewer.dims.set_current_step(0, 0)
    widget = open_widget()
    stop = at_the_second(widget.run_bar.stop_button.click)
    widget.frame_restored.connect(stop)
    press_restore(widget, qtbot)
    widget.frame_restored.disconnect(stop)
    assert "missing" in widget.run_bar.start_button.text()
    first = find_result(viewer, source, entry())
    kept = np.array(first.data)
    change(source)
    if change is one_pixel:
        press_restore(widget, qtbot)
        assert widget.run_bar.status.text().startswith("Failed: Image was changed meanwhile.")
    widget.image.changed.emit(source)
    assert widget.run_bar.start_button.text() == "Restore"
    press_restore(widget, qtbot)
    result = find_result(viewer, source, entry())
    assert result is not first
    assert np.allclose(result.data, restore(source.data, load_model(entry().path)))
    assert np.array_equal(np.array(first.data), kept, equal_nan=True), "the first result stays as it is"
    assert widget.run_bar.status.text().startswith(f"Restored {len(source.data)} frames")


@pytest.mark.parametrize("change", [subtract, paint, set_again, replace, one_pixel, crop])
def test_a_change_during_a_run(change, viewer, open_widget, add_model, frames, at_the_second, qtbot) -> None:
    add_model()
    source = viewer.add_image(frames.copy())
    viewer.dims.set_current_step(0, 0)
    widget = open_widget()
    widget.frame_restored.connect(at_the_second(lambda: change(source)))
    press_restore(widget, qtbot)
    assert widget.run_bar.status.text().startswith("Failed: Image was changed meanwhile.")
    assert widget.run_bar.start_button.text() == "Restore"
    assert "other data" in widget.other.text()


@pytest.mark.parametrize("kind", [Slow, lambda stack: Stored(stack, stack.shape)])
def test_a_frame_that_changed_is_noticed_in_arrays_of_any_kind(kind, stack) -> None:
    frames = WatchedFrames(kind(stack), "TYX")
    assert np.array_equal(frames[1], stack[1])
    assert list(frames.check()) == [1]
    stack[0] += 1
    assert list(frames.check()) == [1]
    stack[1, 5, 5] += 1
    with pytest.raises(InputError, match="frame 1 of the image was changed"):
        list(frames.check())
    assert frames.changed == {1}


def test_lazy_arrays_and_tensors_that_were_changed(viewer) -> None:
    for data in (da.zeros((3, 30, 40)), torch.zeros((3, 30, 40))):
        layer = viewer.add_image(data, contrast_limits=(0, 1))
        before = data_state(layer)
        assert data_state(layer) == before
        layer.data[1] = 5
        assert data_state(layer) != before
