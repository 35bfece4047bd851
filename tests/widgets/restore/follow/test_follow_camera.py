"""The camera of a running Micro-Manager core, followed in the Restore widget."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures.restore_widget import entry

from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore

useq = pytest.importorskip("useq", reason="it comes with pymmcore-plus")

ENOUGH = 25.0
"""In dB."""


def expected(frame):
    return restore(frame, load_model(entry().path))


def test_the_camera_is_offered_once_a_core_runs(viewer, follow, make_core):
    following = follow()
    assert following.panel.kind.choices == ("layer",)
    make_core()
    following.panel._look()
    assert following.panel.kind.choices == ("layer", "live", "sequence")


def test_the_live_image_is_restored_beside_the_frame_it_came_from(viewer, follow, make_core):
    core = make_core(interval_ms=50)
    following = follow("live")
    following.start()
    following.wait(lambda: "start the live mode" in following.said)
    core.startContinuousSequenceAcquisition()
    following.wait(lambda: len(following.shown) > 2)
    core.stopSequenceAcquisition()
    following.qtbot.wait(300)
    original, restored = viewer.layers
    assert (original.name, restored.name) == ("Simulated camera", "restored Simulated camera (untrained)")
    assert original.data.dtype == np.uint16
    np.testing.assert_allclose(restored.data, expected(original.data), rtol=1e-3, atol=1e-2)
    for layer in viewer.layers:
        np.testing.assert_allclose(layer.scale, 0.108)
    assert following.panel.is_running, "live mode may be switched on again"
    before = len(following.shown)
    core.snap()
    following.wait(lambda: len(following.shown) > before)
    following.stop()
    assert following.said.startswith("Stopped: ")


def test_the_exposure_is_shown_and_set(viewer, follow, core):
    core.setExposure(7)
    following = follow("live")
    exposure = following.panel.exposure
    assert exposure.value == 7
    core.startContinuousSequenceAcquisition()
    exposure.value = 3
    assert core.getExposure() == 3
    assert core.isSequenceRunning(), "the live mode goes on"
    core.setExposure(12)
    following.panel._look()
    assert exposure.value == 12
    core.stopSequenceAcquisition()


def test_the_exposure_is_turned_down_in_the_widget_until_the_psnr_is_too_low(viewer, follow, make_core, camera):
    core = make_core(camera.record, exposure_ms=50, interval_ms=50)
    following = follow("live")
    following.start()
    core.startContinuousSequenceAcquisition()
    found = {}
    for exposure in (50.0, 5.0, 0.5, 0.05):
        following.panel.exposure.value = exposure
        following.wait(lambda exposure=exposure: any(at == exposure for _, at in following.estimated))
        found[exposure] = next(one.psnr for one, at in following.estimated if at == exposure)
        if found[exposure] < ENOUGH:
            break
    core.stopSequenceAcquisition()
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert found[min(found)] < ENOUGH < found[50.0]
    said = following.panel.psnr.text()
    assert "dB at\N{NO-BREAK SPACE}" not in said
    assert f"at {min(found):g}\N{NO-BREAK SPACE}ms (estimated, " in said
    assert f"By exposure: 50\N{NO-BREAK SPACE}ms {found[50.0]:.1f}" in said
    following.stop()


def test_every_frame_of_a_sequence_is_restored_and_it_ends_with_it(viewer, follow, core):
    core.setExposure(1)
    following = follow("sequence")
    following.start()
    following.wait(lambda: "Waiting for the sequence" in following.said)
    core.run_mda(useq.MDASequence(time_plan={"interval": 0.02, "loops": 40}))
    following.wait_for_end()
    assert following.said == "Ended: 40 frames restored."
    original, restored = viewer.layers
    assert original.data.shape == restored.data.shape == (40, 64, 80)
    assert (np.diff(original.data[:, 0, 0].astype(int)) == 1).all(), "no frame is lost, none comes twice"
    for number in (0, 17, 39):
        frame = original.data[number].astype(np.uint16)
        np.testing.assert_allclose(restored.data[number], expected(frame), rtol=1e-3, atol=1e-2)
    assert restored.axis_labels == ("t", "y", "x")
    np.testing.assert_allclose(restored.scale, (1, 0.108, 0.108))


def test_a_core_without_camera_is_refused_in_words(viewer, follow, core):
    following = follow("live")
    core.unloadAllDevices()
    following.panel.run_bar.start_button.click()
    assert "has no camera: load a configuration first" in following.said
    assert not following.panel.is_running


def test_a_region_of_interest_is_followed_on(viewer, follow, core):
    following = follow("live")
    following.start()
    core.snap()
    following.wait_for_frame(0)
    first = following.layer
    core.setROI(8, 8, 40, 32)
    core.snap()
    following.wait(lambda: following.panel.is_running and following.layer is not first)
    core.snap()
    following.wait(lambda: following.layer is not None)
    assert following.layer.data.shape == (32, 40)
    assert first in viewer.layers
    following.stop()


def test_closing_the_panel_lets_go_of_the_core(viewer, follow, core):
    following = follow("live")
    following.start()
    core.snap()
    following.wait_for_frame(0)
    following.panel.close_for_good()
    following.wait_for_end()
    shown = len(following.shown)
    core.snap()
    following.qtbot.wait(100)
    assert len(following.shown) == shown
