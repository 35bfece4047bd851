import numpy as np
import pytest

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.images.partial_stack import PartialStack
from napari_care_losses.io.stacks import read_stack, save_frames, save_stack
from napari_care_losses.io.tiff_reader import read_tiff

CALIBRATION = Calibration(pixel_size=(0.1, 0.2), time_step=0.4)


def test_a_saved_stack_keeps_pixels_and_their_size(tmp_path) -> None:
    stack = np.random.default_rng(0).normal(100, 50, (3, 12, 14)).astype(np.float32)
    progress = list(save_frames(tmp_path / "a.tif", Frames(stack, "TYX", CALIBRATION)))
    assert [(step.done, step.total, step.clipped) for step in progress] == [(1, 3, 0), (2, 3, 0), (3, 3, 0)]
    saved = read_tiff(tmp_path / "a.tif")
    assert saved.axes == "TYX"
    assert np.array_equal(np.asarray(saved.data), stack)
    assert saved.calibration == CALIBRATION


def test_what_does_not_fit_an_integer_is_clipped_and_counted(tmp_path) -> None:
    stack = np.array([[[-1.0, 0.4], [65535.6, 70000.0]]] * 2, np.float32)
    *_, last = save_frames(tmp_path / "a.tif", Frames(stack, "TYX"), dtype="uint16")
    assert last.clipped == 6
    assert np.asarray(read_tiff(tmp_path / "a.tif").data)[0].tolist() == [[0, 0], [65535, 65535]]


def test_missing_frames_are_nan_in_float32_and_refused_as_integers(tmp_path) -> None:
    stack = PartialStack(np.zeros((2, 4, 4), np.float32))
    stack.fill(0, np.ones((4, 4), np.float32))
    frames = Frames(stack, "TYX")
    with pytest.raises(InputError, match=r"Frame 1 .* restore the missing"):
        list(save_frames(tmp_path / "a.tif", frames, dtype="uint16"))
    assert not list(tmp_path.iterdir())
    list(save_frames(tmp_path / "a.tif", frames))
    saved = np.asarray(read_tiff(tmp_path / "a.tif").data)
    assert (saved[0] == 1).all()
    assert np.isnan(saved[1]).all()


def test_stopped_nothing_is_left_and_the_old_file_stays(tmp_path) -> None:
    path = tmp_path / "a.tif"
    list(save_frames(path, Frames(np.zeros((2, 4, 4), np.float32), "TYX")))
    before = path.read_bytes()
    saving = save_frames(path, Frames(np.ones((2, 4, 4), np.float32), "TYX"))
    next(saving)
    saving.close()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", ["tif", "ome.zarr"])
def test_an_array_is_saved_in_one_call_in_its_own_type(tmp_path, suffix) -> None:
    stack = np.arange(2 * 8 * 6, dtype=np.uint16).reshape(2, 8, 6)
    assert save_stack(str(tmp_path / f"a.{suffix}"), stack, axes="ZYX", calibration=CALIBRATION) == 0
    saved = read_stack(str(tmp_path / f"a.{suffix}"))
    assert (saved.axes, saved.dtype, saved.calibration.pixel_size) == ("ZYX", np.uint16, (0.1, 0.2))
    assert np.array_equal(np.stack(list(saved)), stack)
    assert save_stack(tmp_path / f"b.{suffix}", stack, dtype="uint8") == 0
    assert read_stack(tmp_path / f"b.{suffix}").dtype == np.uint8


def test_another_pixel_type_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="saved as float32, uint16, uint8, found 'float64'"):
        save_stack(tmp_path / "a.tif", np.zeros((4, 4)), dtype="float64")
    assert not list(tmp_path.iterdir())
