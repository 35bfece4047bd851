"""Folders into which files arrive: half-written, renamed, of other shapes, resumed."""

import numpy as np
import pytest
import tifffile
from fixtures.growing_files import create_image, frames_of, looked_at, stays

from napari_care_losses.errors import InputError
from napari_care_losses.following.sources.folder import FolderSource
from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.io.stacks import save_stack


def write(path, frame):
    tifffile.imwrite(path, frame, photometric="minisblack")


def test_files_that_come_together_are_sorted_by_the_numbers_in_their_names(tmp_path):
    frames = frames_of(11)
    for number, frame in enumerate(frames):
        write(tmp_path / f"t{number}.tif", frame)
    (tmp_path / "notes.txt").write_text("no image")
    write(tmp_path / ".hidden.tif", frames[0])
    write(tmp_path / "t3_restored-lite.tif", frames[0])
    source = FolderSource(tmp_path)
    looked_at(source, 11)
    for number in (0, 2, 10):
        np.testing.assert_array_equal(source.frame(number), frames[number])


def test_a_half_written_file_is_waited_for_and_not_said(tmp_path):
    frames = frames_of(2, (64, 64))
    write(tmp_path / "t0.tif", frames[0])
    write(tmp_path / "whole", frames[1])
    data = (tmp_path / "whole").read_bytes()
    (tmp_path / "t1.tif").write_bytes(b"")
    source = FolderSource(tmp_path)
    looked_at(source, 1)
    (tmp_path / "t1.tif").write_bytes(data[: len(data) // 2])
    stays(source, 1, 1.5)
    assert source.poll().note == ""
    (tmp_path / "t1.tif").write_bytes(data)
    looked_at(source, 2)
    np.testing.assert_array_equal(source.frame(1), frames[1])


def test_a_file_that_stays_incomplete_is_named_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_care_losses.following.sources.folder.PATIENCE", 0.5)
    write(tmp_path / "t0.tif", frames_of(1)[0])
    (tmp_path / "t1.tif").write_bytes((tmp_path / "t0.tif").read_bytes()[:500])
    source = FolderSource(tmp_path)
    looked_at(source, 1)
    stays(source, 1, 1.5)
    assert "t1.tif is still incomplete" in source.poll().note


def test_files_that_are_renamed_when_they_are_whole(tmp_path):
    frames = frames_of(2)
    source = FolderSource(tmp_path)
    write(tmp_path / "t0.tif.tmp", frames[0])
    stays(source, 0, 0.3)
    (tmp_path / "t0.tif.tmp").rename(tmp_path / "t0.tif")
    looked_at(source, 1)
    # one that has been taken is not taken again under its new name
    (tmp_path / "t0.tif").rename(tmp_path / "first.tif")
    write(tmp_path / "t1.tif", frames[1])
    looked_at(source, 2)
    stays(source, 2, 0.5)
    np.testing.assert_array_equal(source.frame(0), frames[0])
    np.testing.assert_array_equal(source.frame(1), frames[1])


def test_files_of_another_shape_are_left_out_and_named(tmp_path):
    write(tmp_path / "t0.tif", frames_of(1)[0])
    write(tmp_path / "t1.tif", frames_of(1, (8, 9))[0])
    write(tmp_path / "t2.tif", frames_of(1)[0])
    source = FolderSource(tmp_path)
    assert "t1.tif (8 x 9 YX)" in looked_at(source, 2).note
    stays(source, 2, 0.3)


def test_files_of_several_time_points_and_channels(tmp_path):
    frames = frames_of(12).reshape(2, 2, 3, 24, 28)
    source = FolderSource(tmp_path)
    for number in range(2):
        one = Frames(frames[number], "CTYX", Calibration(pixel_size=(0.1, 0.1), time_step=2.0))
        save_stack(tmp_path / f"part{number}.tif", one)
    looked_at(source, 12)
    assert (source.layout.axes, source.layout.inner) == ("TCYX", (2,))
    assert source.layout.calibration == Calibration(pixel_size=(0.1, 0.1), time_step=2.0)
    for number in range(12):
        part, rest = divmod(number, 6)
        np.testing.assert_array_equal(source.frame(number), frames[part, rest % 2, rest // 2])


def test_ome_zarr_images_arrive_too(tmp_path):
    image = frames_of(1)[0]
    source = FolderSource(tmp_path / "incoming")
    assert source.poll().count == 0
    (tmp_path / "incoming").mkdir()
    save_stack(tmp_path / "incoming" / "a.ome.zarr", image)
    create_image(tmp_path / "incoming" / "b.ome.zarr", (24, 28), shape=(1, 24, 28))
    looked_at(source, 1)
    # its chunk is not there yet
    stays(source, 1, 0.5)
    np.testing.assert_array_equal(source.frame(0), image)


def test_files_of_one_plane_that_make_an_image_together_are_refused(tmp_path):
    write(tmp_path / "img_channel000_position000_time000000000_z000.tif", frames_of(1)[0])
    with pytest.raises(InputError, match="one plane each"):
        FolderSource(tmp_path).poll()


def test_a_resumed_run_counts_the_files_as_the_stopped_one_did(tmp_path):
    folder, order, frames = tmp_path / "incoming", tmp_path / "order", frames_of(3)
    folder.mkdir()
    source = FolderSource(folder, order=order)
    for count, name in enumerate(("b.tif", "a.tif"), start=1):
        write(folder / name, frames[count])
        looked_at(source, count)
    write(folder / "0.tif", frames[0])
    with order.open("ab") as file:
        file.write(b"1 0.t")  # killed there
    again = FolderSource(folder, order=order, resumes=True)
    looked_at(again, 3)
    for number, expected in enumerate((1, 2, 0)):
        np.testing.assert_array_equal(again.frame(number), frames[expected])
    assert order.read_text() == "1 b.tif\n1 a.tif\n1 0.tif\n"
    (folder / "b.tif").unlink()
    with pytest.raises(InputError, match="which the stopped run followed"):
        FolderSource(folder, order=order, resumes=True).poll()


def test_afresh_the_order_is_noted_anew(tmp_path):
    order = tmp_path / "order"
    order.write_text("1 gone.tif\n")
    (tmp_path / "incoming").mkdir()
    write(tmp_path / "incoming" / "a.tif", frames_of(1)[0])
    looked_at(FolderSource(tmp_path / "incoming", order=order), 1)
    assert order.read_text() == "1 a.tif\n"


def test_many_files_that_are_there_first_are_no_arrivals(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_care_losses.following.sources.folder.LONGEST_LOOK", 0.0)
    for number in range(5):
        write(tmp_path / f"{number}.tif", frames_of(1)[0])
    source = FolderSource(tmp_path)
    looked_at(source, 5)
    assert [source.arrival(number) for number in range(5)] == [None] * 5
