"""Frames written in the background: the same file, no error lost, nothing left running."""

import threading
from contextlib import closing

import numpy as np
import pytest
import tifffile
from fixtures.random_models import image_of, make_model, needs_openvino

from napari_care_losses.errors import InputError, OutputError
from napari_care_losses.images.frames import Frames
from napari_care_losses.io.tiff_writer import TiffStackWriter
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.restoration.parameters import RunOptions
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore
from napari_care_losses.restoration.to_file import restore_to_file

pytestmark = pytest.mark.usefixtures("one_torch_thread")

STACK = image_of((4, 40, 40))
FRAMES = 4
WRITE = TiffStackWriter.write


def job(folder, stack=STACK, engine="torch", **options):
    """Return the restoration of a stack in four tiles a frame."""
    parameters = RestorationParameters(engine=engine, tile_size=32)
    run = RunOptions(device="cpu", **options)
    return restore_to_file(Frames(stack), make_model(), folder / "out.tif", parameters, run)


def restored_frames(restoring):
    return [progress.frame.index for progress in restoring if progress.frame is not None]


def journal(folder, name="out.tif"):
    """Return the frames that are noted as written."""
    return [int(line) for line in (folder / f"{name}.partial.json").read_text().splitlines()[1:]]


def background():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("write", "ahead"))]


def replace_write(monkeypatch, write):
    monkeypatch.setattr(TiffStackWriter, "write", write)


def full_from(frame):
    """Return a `TiffStackWriter.write` for a disk that is full from a frame on."""

    def write(stack, index, image):
        if index >= frame:
            raise OutputError(f"Frame {index} cannot be written: the disk is full.")
        WRITE(stack, index, image)

    return write


@pytest.mark.parametrize("engine", ["torch", pytest.param("openvino", marks=needs_openvino)])
def test_the_file_holds_what_is_restored_in_memory(engine, tmp_path):
    assert restored_frames(job(tmp_path, engine=engine)) == [0, 1, 2, 3]
    in_memory = restore(STACK, make_model(), RestorationParameters(engine=engine, tile_size=32), device="cpu")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), in_memory)
    exact = restore(STACK, make_model(), RestorationParameters(engine="torch", tile_size=16384), device="cpu")
    np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), exact, rtol=0, atol=1e-5 * np.ptp(STACK))
    assert background() == []


def test_a_frame_is_written_in_the_background_while_the_next_is_restored(tmp_path, monkeypatch):
    is_next_under_way, waited, writers = threading.Event(), [], set()

    def write(stack, index, image):
        writers.add(threading.current_thread())
        if index == 0:
            waited.append(is_next_under_way.wait(10))
        WRITE(stack, index, image)

    replace_write(monkeypatch, write)
    for progress in job(tmp_path):
        if progress.done == 5:
            assert journal(tmp_path) == []
            is_next_under_way.set()
    assert waited == [True]
    assert len(writers) == 1
    assert threading.main_thread() not in writers
    assert tifffile.imread(tmp_path / "out.tif").shape == STACK.shape


@pytest.mark.parametrize("frame", range(FRAMES))
def test_a_full_disk_ends_the_run_and_what_is_done_stays(frame, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        replace_write(patched, full_from(frame))
        with pytest.raises(OutputError, match=f"Frame {frame} cannot be written: the disk is full"):
            restored_frames(job(tmp_path))
    assert background() == []
    assert journal(tmp_path) == list(range(frame))
    assert not (tmp_path / "out.tif").exists()
    assert restored_frames(job(tmp_path, resume=True)) == list(range(frame, FRAMES))
    expected = restore(STACK, make_model(), RestorationParameters(engine="torch", tile_size=32), device="cpu")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), expected)


def test_closing_waits_for_the_frame_being_written(tmp_path, monkeypatch):
    has_begun, may_go_on = threading.Event(), threading.Event()

    def write(stack, index, image):
        has_begun.set()
        may_go_on.wait(10)
        WRITE(stack, index, image)

    replace_write(monkeypatch, write)
    with closing(job(tmp_path)) as restoring:
        while next(restoring).frame is None:
            pass
        assert has_begun.wait(10)
        timer = threading.Timer(0.05, may_go_on.set)
        timer.start()
    assert journal(tmp_path) == [0]
    assert background() == []
    timer.join()
    assert restored_frames(job(tmp_path, resume=True)) == [1, 2, 3]


@needs_openvino
@pytest.mark.parametrize("stop", [1, 6, 11])
def test_a_resumed_run_in_8_bits_equals_the_uninterrupted_one(stop, tmp_path):
    """Its calibration must not hang on which frames are left."""
    stack = STACK * np.array([1, 30, 2, 5], np.float32)[:, None, None]
    restored_frames(job(tmp_path, stack, "openvino-int8"))
    whole = tifffile.imread(tmp_path / "out.tif")
    with closing(job(tmp_path, stack, "openvino-int8")) as restoring:
        for _ in range(stop):
            next(restoring)
    assert restored_frames(job(tmp_path, stack, "openvino-int8", resume=True)) == list(range(stop // 4, FRAMES))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), whole)


def test_a_frame_whose_writing_failed_as_the_run_was_closed_is_made_again(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        replace_write(patched, full_from(1))
        with closing(job(tmp_path)) as restoring:
            while (progress := next(restoring)).frame is None or progress.frame.index < 1:
                pass
    assert journal(tmp_path) == [0]
    assert background() == []
    assert restored_frames(job(tmp_path, resume=True)) == [1, 2, 3]


def test_bad_input_found_while_a_frame_is_being_written_leaves_nothing(tmp_path):
    stack = STACK.astype(np.float64)
    stack[2, 0, 0] = 1e300
    with pytest.raises(InputError, match="Frame 2"):
        restored_frames(job(tmp_path, stack))
    assert list(tmp_path.iterdir()) == []
    assert background() == []


def test_the_scale_is_written_beside_it_and_both_are_resumed_together(tmp_path, monkeypatch):
    model = make_model(Architecture(kernel_size=3, filters=2, depth=1, predicts_scale=True), "laplace")

    def scaled(**options):
        run = RunOptions(device="cpu", **options)
        return restore_to_file(Frames(STACK), model, tmp_path / "out.tif", run=run, scale_out=tmp_path / "scale.tif")

    def write(stack, index, image):
        if index == 2 and stack.path.name == "scale.tif":
            raise OutputError("The disk is full.")
        WRITE(stack, index, image)

    with monkeypatch.context() as patched:
        replace_write(patched, write)
        with pytest.raises(OutputError, match="disk is full"):
            restored_frames(scaled())
    assert (journal(tmp_path), journal(tmp_path, "scale.tif")) == ([0, 1, 2], [0, 1])
    assert restored_frames(scaled(resume=True)) == [2, 3]
    assert tifffile.imread(tmp_path / "scale.tif").min() > 0
