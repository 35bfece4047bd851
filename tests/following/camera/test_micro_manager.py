"""Frames of a running Micro-Manager core, from a camera in Python."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from fixtures.simulated_microscope import counted_frames

from napari_care_losses.errors import InputError
from napari_care_losses.following.camera import micro_manager
from napari_care_losses.following.camera.micro_manager import CameraSequence, LiveCamera, found_core, running_core
from napari_care_losses.following.source import FrameGoneError
from napari_care_losses.following.sources.received_frames import LiveFrames

useq = pytest.importorskip("useq", reason="it comes with pymmcore-plus")

LOOPS = useq.MDASequence(time_plan={"interval": 0, "loops": 12})
EVENTS = [useq.MDAEvent(exposure=exposure) for exposure in (4, 2, 1)]


@pytest.fixture(params=["psygnal", "qt"])
def signals(request, monkeypatch):
    """Let cores have signals of either library; Qt's would be heard in the main thread if one did not see to it."""
    if request.param == "qt":
        request.getfixturevalue("qapp")
    monkeypatch.setenv("PYMM_SIGNALS_BACKEND", request.param)
    return request.param


def wait(is_so, seconds=60):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def run(core, events):
    core.run_mda(events, block=True)


def test_a_core_is_found_where_one_runs_and_none_is_made(make_core):
    assert running_core() is None
    with pytest.raises(InputError, match="No Micro-Manager core runs in this program: open napari-micromanager"):
        found_core()
    core = make_core()
    assert running_core() is core
    assert found_core() is core


def test_without_pymmcore_plus_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymmcore_plus", None)
    monkeypatch.setattr(micro_manager, "running_core", lambda: None)
    with pytest.raises(InputError, match=r'pip install "napari-care-losses\[acquisition\]"'):
        found_core()


def test_a_core_without_camera_is_refused(core):
    core.unloadAllDevices()
    with pytest.raises(InputError, match="has no camera: load a configuration first"):
        LiveCamera(core)


def test_a_snapped_image_is_the_live_image(signals, core):
    live = LiveCamera(core)
    core.setExposure(3)
    snapped = core.snap()
    arrived = live.poll()
    assert (arrived.count, live.exposure(0)) == (1, 3)
    np.testing.assert_array_equal(live.frame(0), snapped)
    assert live.layout.calibration.pixel_size == (0.108, 0.108)
    live.close()
    core.snap()
    assert live.poll().count == 1, "it is closed"


def test_the_newest_frame_of_live_mode_is_had_and_others_are_counted(signals, core):
    live = LiveCamera(core)
    core.setExposure(2)
    core.startContinuousSequenceAcquisition()
    numbers = []
    while len(numbers) < 8:
        arrived = live.poll()
        if arrived.count:
            try:
                numbers.append((arrived.count - 1, int(live.frame(arrived.count - 1)[0, 0])))
            except FrameGoneError:
                continue
        live.wait(1)
        time.sleep(0.01)
    before = core.getRemainingImageCount()
    live.poll()
    assert core.getRemainingImageCount() >= before, "nothing is taken out of the buffer"
    core.stopSequenceAcquisition()
    # the fixture counts frames from when the core was made; the first is of the core's size
    first = numbers[0][1] - numbers[0][0]
    assert [seen - number for number, seen in numbers] == [first] * len(numbers), "missed frames count"
    assert not live.poll().has_ended, "live mode is switched off and on again"
    live.close()


def test_the_last_frame_of_a_live_mode_that_is_off_is_no_news(core):
    core.setExposure(1)
    core.startContinuousSequenceAcquisition()
    wait(lambda: core.getRemainingImageCount() > 0)
    core.stopSequenceAcquisition()
    live = LiveCamera(core)
    assert live.poll().count == 0
    core.startContinuousSequenceAcquisition()
    wait(lambda: live.poll().count > 0)
    core.stopSequenceAcquisition()
    last = live.poll().count
    assert live.poll().count == last
    live.close()


def test_live_mode_may_start_while_the_camera_is_looked_at(core):
    core.setExposure(1)
    live, is_over = LiveCamera(core), threading.Event()

    def look():
        while not is_over.is_set():
            live.poll()

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(10):
        before = LiveFrames.poll(live).count
        core.startContinuousSequenceAcquisition()
        wait(lambda before=before: LiveFrames.poll(live).count > before)
        assert core.isSequenceRunning()
        core.stopSequenceAcquisition()
    is_over.set()
    thread.join()
    live.close()


def test_another_exposure_comes_with_its_frames(core):
    live = LiveCamera(core)
    core.setExposure(5)
    core.startContinuousSequenceAcquisition()

    def newest():
        number = live.poll().count - 1
        return None if number < 0 else (live.exposure(number), live.frame(number)[1:].mean())

    wait(lambda: newest() is not None)
    core.setExposure(20)
    seen = []

    def is_there():
        found = newest()
        seen.append(found)
        return found[0] == 20

    wait(is_there)
    core.stopSequenceAcquisition()
    for exposure, mean in seen:
        assert mean == pytest.approx(100 * exposure, rel=0.1)
    live.close()


def test_every_frame_of_a_sequence_is_had_with_its_exposure(signals, core):
    sequence = CameraSequence(core)
    assert sequence.layout is None
    run(core, EVENTS)
    arrived = sequence.poll()
    assert (arrived.count, arrived.oldest, arrived.missing) == (3, 0, frozenset())
    assert arrived.has_ended
    assert arrived.note == ""
    assert [sequence.exposure(number) for number in range(3)] == [4, 2, 1]
    means = [sequence.frame(number)[1:].mean() for number in range(3)]
    assert means == pytest.approx([400, 200, 100], rel=0.05)
    sequence.close()


@pytest.mark.parametrize("is_hardware_timed", [False, True])
def test_no_frame_of_a_sequence_is_lost(signals, core, is_hardware_timed):
    core.mda.engine.use_hardware_sequencing = is_hardware_timed
    core.setExposure(0.5)
    sequence = CameraSequence(core)
    run(core, useq.MDASequence(time_plan={"interval": 0, "loops": 200}))
    arrived = sequence.poll()
    assert arrived.count == 200
    counts = np.array([sequence.frame(number)[0, 0] for number in range(200)])
    assert (np.diff(counts.astype(int)) == 1).all()
    sequence.close()


def test_the_acquisition_waits_for_nothing(signals, core):
    sequence, held, threads = CameraSequence(core), threading.Event(), set()
    core.mda.events.frameReady.connect(lambda *_: threads.add(threading.current_thread()))
    thread = threading.Thread(target=lambda: (held.wait(60), sequence.poll()))
    thread.start()
    # the main thread is busy, as a viewer may be: no event of Qt is processed
    run(core, LOOPS)
    assert sequence.poll().count == 12
    held.set()
    thread.join()
    sequence.close()


def test_where_memory_lacks_frames_are_dropped_and_counted(core):
    sequence = CameraSequence(core, most_bytes=4 * 64 * 80 * 2)
    run(core, LOOPS)
    arrived = sequence.poll()
    assert (arrived.count, arrived.oldest) == (12, 8)
    sequence.close()


def test_channels_and_planes_lie_where_they_belong(core):
    sequence = CameraSequence(core)
    plan = useq.MDASequence(
        axis_order="tpcz",
        time_plan={"interval": 0, "loops": 2},
        stage_positions=[(0, 0, 0), (1, 1, 0)],
        channels=["a", "b"],
        z_plan={"range": 2, "step": 1},
    )
    for value, event in enumerate(plan):
        core.mda.events.frameReady.emit(np.full((8, 8), value, np.uint16), event, {})
    core.mda.events.sequenceFinished.emit(plan)
    layout, arrived = sequence.layout, sequence.poll()
    assert (layout.axes, layout.inner) == ("TCZYX", (2, 3))
    assert arrived.count == 24, "two times, two positions"
    assert [int(sequence.frame(number)[0, 0]) for number in range(24)] == list(range(24))
    sequence.close()


def test_a_sequence_joined_late_begins_with_its_next_whole_time_point(core):
    sequence = CameraSequence(core)
    plan = useq.MDASequence(axis_order="tcz", time_plan={"interval": 0, "loops": 4}, channels=["a", "b"])
    events = list(plan)
    for value, event in list(enumerate(events))[3:]:
        core.mda.events.frameReady.emit(np.full((8, 8), value, np.uint16), event, {})
    core.mda.events.sequenceFinished.emit(plan)
    arrived = sequence.poll()
    assert (arrived.count, arrived.note) == (4, "Followed from time point 2 of the sequence on.")
    assert [int(sequence.frame(number)[0, 0]) for number in range(4)] == [4, 5, 6, 7]
    sequence.close()


def test_a_sequence_that_is_cancelled_ends(core):
    core.setExposure(1)
    sequence = CameraSequence(core)
    thread = core.run_mda(useq.MDASequence(time_plan={"interval": 0.05, "loops": 10_000}))
    wait(lambda: sequence.poll().count > 2)
    core.mda.cancel()
    thread.join()
    wait(lambda: sequence.poll().has_ended)
    sequence.close()


def test_of_a_sequence_the_live_image_is_the_newest_frame(core):
    live = LiveCamera(core)
    run(core, EVENTS)
    arrived = live.poll()
    assert (arrived.count, arrived.oldest, live.exposure(2)) == (3, 2, 1)
    live.close()


def test_a_core_that_is_closed_ends_its_sources(signals):
    from napari_care_losses.following.camera.simulated_microscope import simulated_microscope

    core = simulated_microscope(counted_frames((8, 8)))
    sources = LiveCamera(core), CameraSequence(core)
    gone = weakref.ref(core)
    del core
    gc.collect()
    assert gone() is None, "a source does not keep it"
    for source in sources:
        assert source.poll().note == "Micro-Manager was closed."
        assert source.poll().has_ended
        source.close()


def test_loading_pymmcore_plus_leaves_the_logs_of_the_program_as_they_are():
    script = (
        "import logging\n"
        "from napari_care_losses.following.camera.micro_manager import require_acquisition\n"
        "require_acquisition()\n"
        "assert 'pymmcore_plus' in __import__('sys').modules\n"
        "assert logging.getLogger().level == logging.WARNING\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
