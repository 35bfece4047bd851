"""What all growing sources on a disk have in common."""

import numpy as np
import pytest
from fixtures.growing_files import KINDS, GrowingFiles, frames_of, looked_at
from fixtures.windows_files import is_in_use

from napari_care_losses.errors import InputError
from napari_care_losses.following.sources.open_source import open_source


@pytest.fixture(params=KINDS)
def files(request, tmp_path):
    return GrowingFiles(request.param, tmp_path, frames_of(6))


def test_frames_come_in_the_order_in_which_they_are_written(files):
    source = open_source(files.path)
    assert source.poll().count == 0
    for count in (2, 3, 6):
        files.write(count - files.written)
        assert not looked_at(source, count).missing
        for number in range(count):
            np.testing.assert_array_equal(source.frame(number), files.frames[number])
    assert source.layout.axes == "TYX"
    assert source.layout.frame_shape == (24, 28)


def test_frames_that_were_there_first_have_no_time_of_arrival(files):
    files.write(2)
    source = open_source(files.path)
    looked_at(source, 2)
    files.write(1)
    looked_at(source, 3)
    assert source.arrival(0) is None
    assert source.arrival(2) > 0


def test_nothing_is_kept_open(files):
    files.write(3)
    source = open_source(files.path)
    looked_at(source, 3)
    source.frame(1)
    assert not is_in_use(files.path)


def test_a_source_that_is_gone_is_said(files, tmp_path):
    files.write(1)
    source = open_source(files.path)
    looked_at(source, 1)
    files.path.rename(tmp_path / "moved")
    with pytest.raises(InputError, match="is no longer there"):
        source.poll()


@pytest.mark.parametrize("name", ["later.tif", "later.ome.zarr"])
def test_a_file_may_come_later_but_its_folder_must_be_there(tmp_path, name):
    assert open_source(tmp_path / name).poll().count == 0
    with pytest.raises(InputError, match="nothing can arrive there"):
        open_source(tmp_path / "no" / name)


def test_what_cannot_be_followed_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be followed"):
        open_source(tmp_path / "table.csv")
