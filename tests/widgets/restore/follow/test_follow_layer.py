"""Layers that are replaced or grow, followed in the Restore widget."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from fixtures.restore_widget import entry
from qtpy.QtCore import QTimer

from napari_care_losses.io.stacks import read_stack
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.widgets.layers.restored_layers import is_result
from napari_care_losses.widgets.restore.follow.texts import STAYS


def frames(count, shape=(40, 52), light=50):
    rng = np.random.default_rng(0)
    return (rng.poisson(light, (count, *shape)) + np.arange(count)[:, None, None]).astype(np.uint16)


def expected(frame):
    return restore(frame, load_model(entry().path))


def assert_restored(layer, frame, place=()):
    np.testing.assert_allclose(np.asarray(layer.data[place]), expected(frame), rtol=1e-3, atol=1e-2)


def test_a_layer_that_is_replaced_is_restored_in_place(viewer, follow):
    given = frames(4)
    layer = viewer.add_image(given[0], name="preview", scale=(0.1, 0.1), translate=(3, 4))
    following = follow()
    following.start()
    following.wait_for_frame(0)
    restored = following.layer
    assert restored.name == "restored preview (untrained)"
    assert_restored(restored, given[0])
    np.testing.assert_allclose([*restored.scale, *restored.translate], [0.1, 0.1, 3, 4])
    assert is_result(restored)
    for number in range(1, 4):
        layer.data = given[number]
        following.wait_for_frame(number)
        assert following.layer is restored
        assert_restored(restored, given[number])
    assert len(viewer.layers) == 2
    following.stop()
    assert following.said == "Stopped: 4 frames restored."
    layer.data = given[0]
    following.qtbot.wait(100)
    assert following.shown[-1] == 3, "nothing is followed any more"


@pytest.fixture
def sizes(add_model, model_library, no_bundled_models):
    """Add untrained bundled models of two sizes and different weights."""
    for seed, preset in enumerate(("lite", "live"), 1):
        name = add_model(f"fft-{preset}", loss="fft", structure="other", preset=preset, seed=seed)
        (model_library / f"{name}.safetensors").rename(no_bundled_models / f"{name}.safetensors")


@pytest.mark.usefixtures("sizes")
def test_a_live_image_is_restored_by_the_quickest_network_until_that_is_not_wanted(viewer, follow):
    given = frames(2)
    layer = viewer.add_image(given[0], name="preview")
    following = follow()
    following.widget.model.choose("fft-lite")
    quick = following.panel.quick
    assert quick.text == "A live image with fft-live, the quickest"
    following.start()
    following.wait_for_frame(0)
    assert following.layer.name == "restored preview (fft-live)"
    quick.value = False
    following.wait(lambda: following.layer.name == "restored preview (fft-lite)" and following.panel.is_running)
    layer.data = given[1]
    following.wait_for_frame(1)
    by_chosen = restore(given[1], load_model(entry("fft-lite").path))
    np.testing.assert_allclose(following.layer.data, by_chosen, rtol=1e-3, atol=1e-2)
    following.stop()


@pytest.mark.usefixtures("sizes")
def test_what_grows_is_restored_by_the_chosen_model(viewer, follow):
    viewer.add_image(frames(2), name="movie")
    following = follow()
    following.widget.model.choose("fft-lite")
    following.start()
    following.wait(lambda: len(following.done) == 2)
    assert following.layer.name == "restored movie (fft-lite)"
    following.widget.model.choose("fft-live")
    assert not following.panel.quick.visible
    following.stop()


def test_a_layer_that_is_changed_in_place_is_followed(viewer, follow):
    given = frames(2)
    layer = viewer.add_image(given[0].copy(), name="preview")
    following = follow()
    following.start()
    following.wait_for_frame(0)
    layer.data[:] = given[1]
    layer.refresh()
    following.wait_for_frame(1)
    assert_restored(following.layer, given[1])
    layer.refresh()
    following.qtbot.wait(200)
    assert following.shown[-1] == 1, "the same pixels are no new frame"


def test_of_a_layer_replaced_thirty_times_a_second_frames_are_skipped_and_counted(viewer, follow):
    given = frames(30)
    layer = viewer.add_image(given[0], name="preview")
    following = follow()
    following.start()
    numbers = iter(range(10_000))
    timer = QTimer()
    timer.timeout.connect(lambda: setattr(layer, "data", given[next(numbers) % 30].copy()))
    timer.start(33)
    following.wait(lambda: len(following.shown) > 5)
    timer.stop()
    # the frame that was there, and each that came since
    came = 1 + next(numbers)
    following.wait_for_frame(came - 1)
    assert "after it came" in following.said
    following.stop()
    parts = following.said.split()
    restored = int(parts[1].replace(",", ""))
    skipped = int(parts[4].replace(",", "")) if "skipped" in following.said else 0
    assert restored >= len(set(following.shown))
    assert restored + skipped == came
    assert following.shown == sorted(set(following.shown)), "the newest, never an older one after it"


def test_a_layer_of_another_size_is_followed_on_in_another_layer(viewer, follow):
    layer = viewer.add_image(frames(1)[0], name="preview")
    following = follow()
    following.start()
    following.wait_for_frame(0)
    first, other = following.layer, frames(1, (64, 32))[0]
    layer.data = other
    following.wait(lambda: following.layer is not None and following.layer is not first)
    assert_restored(following.layer, other)
    assert first in viewer.layers
    assert following.panel.is_running
    following.stop()


def test_a_stack_that_grows_is_restored_frame_by_frame(viewer, follow):
    given = frames(12)
    layer = viewer.add_image(given[:3], name="movie", axis_labels=("t", "y", "x"), scale=(2, 0.1, 0.1))
    following = follow()
    following.start()
    following.wait_for_frame(2)
    for count in (4, 9, 12):
        layer.data = given[:count]
        following.wait_for_frame(count - 1)
        assert following.layer.data.shape == (count, 40, 52)
    # the slider stood at the newest frame, and goes with it
    following.wait(lambda: viewer.dims.current_step[0] == 11)
    following.wait(lambda: len(following.done) == 12)
    following.stop()
    assert following.said == "Stopped: 12 frames restored."
    assert isinstance(following.layer.data, np.ndarray), "a small result becomes a plain array"
    for number in (0, 5, 11):
        assert_restored(following.layer, given[number], number)
    np.testing.assert_allclose(following.layer.scale, layer.scale)


def test_what_was_restored_can_be_saved_once_following_has_ended(viewer, follow, tmp_path):
    given = frames(3)
    viewer.add_image(given, name="movie", axis_labels=("t", "y", "x"), scale=(2, 0.1, 0.1))
    following = follow()
    save = following.panel.save
    assert not save.isEnabled()
    following.start()
    following.wait(lambda: len(following.done) == 3)
    assert not save.isEnabled()
    following.stop()
    assert save.isEnabled()
    save.save(tmp_path / "movie.tif")
    following.wait(lambda: following.said.startswith("Saved"))
    saved = read_stack(tmp_path / "movie.tif")
    for index in range(3):
        np.testing.assert_array_equal(saved[index], np.asarray(following.layer.data[index]))
    viewer.layers.remove(following.layer)
    assert not save.isEnabled()


def test_a_sequence_stays_with_its_model_and_says_so(viewer, follow, add_model):
    given = frames(4)
    layer = viewer.add_image(given[:2], name="movie")
    following = follow()
    add_model("other", seed=1)
    following.widget.model.reload()
    following.widget.model.choose("untrained")
    following.start()
    following.wait(lambda: len(following.done) == 2)
    following.widget.model.choose("other")
    layer.data = given
    following.wait(lambda: len(following.done) == 4)
    following.wait(lambda: following.said.endswith(STAYS))
    assert_restored(following.layer, given[3], 3)
    following.stop()
    assert following.said == "Stopped: 4 frames restored."


def test_the_slider_stays_where_the_user_has_put_it(viewer, follow):
    given = frames(6)
    layer = viewer.add_image(given[:4], name="movie")
    following = follow()
    following.start()
    following.wait_for_frame(3)
    following.wait(lambda: len(following.done) == 4)
    viewer.dims.set_current_step(0, 1)
    layer.data = given
    following.wait(lambda: len(following.done) == 6)
    following.qtbot.wait(50)
    assert viewer.dims.current_step[0] == 1


def test_an_array_that_is_filled_is_followed(viewer, follow, tmp_path):
    given = frames(6)
    array = zarr.create_array(tmp_path / "a.zarr", shape=(30, 40, 52), chunks=(1, 40, 52), dtype="uint16")
    array[:2] = given[:2]
    viewer.add_image(array, name="acquisition", contrast_limits=(0, 100))
    following = follow()
    following.start()
    following.wait_for_frame(1)
    for number in range(2, 6):
        array[number] = given[number]
        following.wait_for_frame(number)
    assert following.layer.data.shape == (6, 40, 52)
    assert_restored(following.layer, given[5], 5)


@pytest.mark.parametrize(
    ("data", "labels", "said"),
    [
        (frames(4), ("z", "y", "x"), "expected time as the first axis of a stack that grows, found the axes ZYX"),
        (np.zeros((20, 30, 3), np.uint8), None, "colour"),
    ],
    ids=["planes", "colour"],
)
def test_what_cannot_be_followed_is_said(viewer, follow, data, labels, said):
    viewer.add_image(data, name="cells", axis_labels=labels, rgb=labels is None)
    following = follow()
    following.panel.run_bar.start_button.click()
    assert said in following.said
    assert not following.panel.is_running


def test_a_stack_that_is_replaced_by_another_is_said(viewer, follow):
    given = frames(8)
    layer = viewer.add_image(given[:3], name="preview")
    following = follow()
    following.start()
    following.wait_for_frame(2)
    layer.data = given[:4].copy()
    following.wait_for_frame(3)
    layer.data = given[4:]
    following.wait_for_end()
    assert "preview was replaced by another stack. A live image has to be one frame (Y, X)" in following.said


def test_a_layer_that_is_removed_ends_it(viewer, follow):
    layer = viewer.add_image(frames(1)[0], name="preview")
    following = follow()
    following.start()
    following.wait_for_frame(0)
    viewer.layers.remove(layer)
    following.wait_for_end()
    assert following.said == "Ended: 1 frame restored. preview was removed."
    assert following.layer in viewer.layers, "what is restored stays"


def test_to_remove_the_restored_layer_stops_it(viewer, follow):
    layer = viewer.add_image(frames(1)[0], name="preview")
    following = follow()
    following.start()
    following.wait_for_frame(0)
    viewer.layers.remove(following.layer)
    layer.data = frames(2)[1]
    following.wait_for_end()
    assert following.said == "Stopped: the restored layer was removed."
    assert list(viewer.layers) == [layer]


def test_another_model_restores_a_live_image_from_the_next_frame_on(viewer, follow, add_model):
    given = frames(1)[0]
    layer = viewer.add_image(given, name="preview")
    following = follow()
    add_model("other", seed=1)
    following.widget.model.reload()
    following.widget.model.choose("untrained")
    following.start()
    following.wait_for_frame(0)
    restored = following.layer
    following.widget.model.choose("other")
    following.wait(lambda: restored.name == "restored preview (other)")
    layer.data = given.copy()
    following.wait_for_frame(1)
    assert following.layer is restored
    np.testing.assert_allclose(restored.data, restore(given, load_model(entry("other").path)), rtol=1e-3, atol=1e-2)
    assert len(viewer.layers) == 2
    following.stop()


def test_meanwhile_nothing_else_restores_and_afterwards_it_can(viewer, follow):
    viewer.add_image(frames(1)[0], name="preview")
    following = follow()
    widget = following.widget
    following.wait(lambda: widget.preview.layer is not None)
    following.start()
    assert widget.run_bar.reason.text() == "An acquisition is being followed: stop that first."
    assert not widget.run_bar.start_button.isEnabled()
    assert widget.preview.layer is None, "the preview would compute the same twice"
    following.wait_for_frame(0)
    following.stop()
    assert widget.run_bar.start_button.isEnabled()
    following.wait(lambda: widget.preview.layer is not None)
    assert not widget.folder.run_bar.reason.text().startswith("A layer")


def test_while_a_layer_is_restored_nothing_is_followed(viewer, follow):
    viewer.add_image(frames(300), name="movie")
    following = follow()
    following.widget.run_bar.start_button.click()
    assert following.panel.run_bar.reason.text() == "Frames are being restored: wait for them, or stop it."
    following.widget.run_bar.stop_button.click()
    following.wait(lambda: not following.widget.is_running)
    assert following.panel.run_bar.start_button.isEnabled()


def test_the_contrast_follows_the_light_until_it_is_set_by_hand(viewer, follow):
    layer = viewer.add_image(frames(1)[0], name="preview")
    following = follow()
    following.start()
    following.wait_for_frame(0)
    first = following.layer.contrast_limits[1]
    layer.data = frames(1, light=5000)[0]
    following.wait_for_frame(1)
    assert following.layer.contrast_limits[1] > 10 * first
    following.layer.contrast_limits = (0, 1000)
    layer.data = frames(1, light=50)[0]
    following.wait_for_frame(2)
    assert following.layer.contrast_limits == [0, 1000]


def test_without_a_running_core_only_layers_are_offered(viewer, follow):
    following = follow()
    assert following.panel.kind.choices == ("layer",)
    assert following.panel.run_bar.reason.text().startswith("Choose an image above")
