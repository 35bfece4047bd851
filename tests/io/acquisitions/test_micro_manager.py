"""Separate image files of Micro-Manager."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import tifffile
from fixtures.acquisitions import PIXEL_SIZE, TIME_STEP, Z_STEP, acquired, check_planes, write_micro_manager_files

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Calibration
from napari_care_losses.io.stacks import image_name, list_images, read_stack, stacks_of

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (PIXEL_SIZE, PIXEL_SIZE)
WHOLE = Calibration(pixel_size=SIZE, z_step=Z_STEP, time_step=TIME_STEP)


def change(path: Path, **values: Any) -> None:
    """Change the summary in metadata.txt."""
    told = json.loads(path.read_text(encoding="utf-8"))
    told["Summary"] |= values
    path.write_text(json.dumps(told), encoding="utf-8")


@pytest.mark.parametrize("version", ["1.4", "2"])
@pytest.mark.parametrize(
    ("shape", "axes"), [((4, 3, 2), "TZCYX"), ((6, 1, 1), "TYX"), ((1, 5, 2), "ZCYX"), ((1, 1, 1), "YX")]
)
def test_any_file_of_a_set_is_the_whole_set(
    tmp_path: Path, shape: tuple[int, int, int], axes: str, version: str
) -> None:
    pixels = acquired(*shape)
    files = write_micro_manager_files(tmp_path / "cells_1", pixels, version=version)
    for path in (files[0], files[-1]):
        frames = read_stack(path)
        check_planes(frames, axes, pixels)
        assert frames.calibration == WHOLE
        assert [one["label"] for one in frames.channels] == ["Red", "Green"][: shape[2]]
        assert frames.metadata.position == {"Y": (-5.0, "µm"), "X": (0.0, "µm")}
        assert frames.note == ""
        assert list_images(path) == [path]
        assert image_name(path) == "cells_1_Default"
    assert stacks_of(files[0].parent) == [min(files)]
    # its folder is that of a position
    assert stacks_of(tmp_path / "cells_1") == [min(files)]


@pytest.mark.parametrize("version", ["1.4", "2"])
def test_positions_are_images_of_their_own(tmp_path: Path, version: str) -> None:
    pixels = [acquired(3, 1, 2, seed=one) for one in range(2)]
    for number, one in enumerate(pixels):
        write_micro_manager_files(tmp_path / "cells", one, f"Pos{number}", version=version, number=number)
    found = stacks_of(tmp_path / "cells")
    assert [image_name(path) for path in found] == ["cells_Pos0", "cells_Pos1"]
    for path, one in zip(found, pixels, strict=True):
        check_planes(read_stack(path), "TCYX", one)


def test_positions_in_one_folder_are_named(tmp_path: Path) -> None:
    pixels = [acquired(3, 1, 1, seed=one) for one in range(2)]
    for number, one in enumerate(pixels):
        files = write_micro_manager_files(tmp_path, one, number=number)
    with pytest.raises(InputError, match=r"holds 2 images.*--series"):
        read_stack(files[0])
    for number, image in enumerate(list_images(files[0])):
        check_planes(read_stack(image), "TYX", pixels[number])
        assert image_name(image).endswith(f"_{number}")


@pytest.mark.parametrize("version", ["1.4", "2"])
class TestMissingPlanes:
    def test_a_stopped_acquisition(self, tmp_path: Path, version: str) -> None:
        pixels = acquired(5, 3, 2)
        files = write_micro_manager_files(tmp_path, pixels, version=version, skip=lambda t, z, c: (t, z, c) > (3, 1, 0))
        said = "the acquisition was stopped, or files of its set are lost: 9 of 30 frames are missing (frames 21 to 29,"
        with pytest.raises(InputError, match=re.escape(said) + ".*--incomplete"):
            read_stack(files[0])
        frames = read_stack(files[0], incomplete=True)
        check_planes(frames, "TZCYX", pixels[:3])
        assert frames.calibration == WHOLE

    def test_a_lost_file_is_named(self, tmp_path: Path, version: str) -> None:
        pixels = acquired(4, 3, 1)
        files = write_micro_manager_files(tmp_path, pixels, version=version)
        files[4].unlink()
        with pytest.raises(
            InputError, match=rf"'{files[4].name}' of its set is not there.*: 1 of 12 frames are missing"
        ):
            read_stack(files[0])
        check_planes(read_stack(files[0], incomplete=True), "TZYX", pixels[[0, 2, 3]])

    def test_a_channel_of_single_planes(self, tmp_path: Path, version: str) -> None:
        pixels = acquired(3, 3, 2)
        files = write_micro_manager_files(tmp_path, pixels, version=version, skip=lambda t, z, c: c == 1 and z != 1)
        with pytest.raises(InputError, match="6 of 18 frames are missing"):
            read_stack(files[0])
        frames = read_stack(files[0], incomplete=True)
        check_planes(frames, "TZCYX", pixels[:, :, :1])
        assert [one["label"] for one in frames.channels] == ["Red"]


class TestMetadata:
    def test_without_it_names_and_files_tell_what_they_can(self, tmp_path: Path) -> None:
        pixels = acquired(3, 2, 2)
        files = write_micro_manager_files(tmp_path, pixels)
        (files[0].parent / "metadata.txt").unlink()
        assert read_stack(files[0]).calibration == Calibration()
        check_planes(read_stack(files[0]), "TZCYX", pixels)
        for path in files:
            # as ImageJ saves a pixel size
            tifffile.imwrite(path, tifffile.imread(path), imagej=True, resolution=(2, 2), metadata={"unit": "um"})
        assert read_stack(files[0]).calibration == Calibration(pixel_size=(0.5, 0.5))

    def test_a_file_that_broke_off_is_read_up_to_there(self, tmp_path: Path) -> None:
        pixels = acquired(3, 2, 2)
        files = write_micro_manager_files(tmp_path, pixels)
        told = files[0].parent / "metadata.txt"
        told.write_text(told.read_text()[:-600])
        frames = read_stack(files[0])
        check_planes(frames, "TZCYX", pixels)
        assert frames.calibration == WHOLE

    def test_a_camera_that_runs_freely_has_the_times_of_its_planes(self, tmp_path: Path) -> None:
        files = write_micro_manager_files(tmp_path, acquired(4, 2, 2), summary={"Interval_ms": 0})
        assert read_stack(files[0]).calibration.time_step == pytest.approx(TIME_STEP)
        told = files[0].parent / "metadata.txt"
        told.write_text(told.read_text().replace('"ElapsedTime-ms": 250', '"ElapsedTime-ms": 600'))
        assert read_stack(files[0]).calibration.time_step is None

    def test_dimensions_may_be_intended_ones(self, tmp_path: Path) -> None:
        files = write_micro_manager_files(tmp_path, acquired(3, 1, 1))
        told = files[0].parent / "metadata.txt"
        change(told, Frames=0, IntendedDimensions={"time": 5, "position": 1, "z": 1, "channel": 1})
        with pytest.raises(InputError, match="2 of 5 frames are missing"):
            read_stack(files[0])

    def test_channels_of_version_1_are_in_the_order_of_the_metadata(self, tmp_path: Path) -> None:
        pixels = acquired(2, 1, 2)
        files = write_micro_manager_files(tmp_path, pixels, version="1.4")
        told = files[0].parent / "metadata.txt"
        change(told, ChNames=["R/ed", "Gr/een"])
        check_planes(read_stack(files[0]), "TCYX", pixels)
        told.unlink()
        check_planes(read_stack(files[0]), "TCYX", pixels[:, :, ::-1])

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("{" * 100000, None),
            ('{"Summary": 3, "Coords-1": 4, "Metadata-x": []}', None),
            ('{"Summary": {"Frames": "many", "z-step_um": [], "Interval_ms": NaN, "ChNames": {}}}', None),
            ('{"Summary": {}, "Coords-../../img_channel000_position000_time000000000_z000.tif": {}}', None),
            ('{"Summary": {"Frames": 1000000000}}', "claims 1,000,000,000 planes"),
            ('{"Summary": {"Frames": 1e300}}', "claims"),
        ],
    )
    def test_what_anybody_may_have_written(self, tmp_path: Path, text: str, said: str | None) -> None:
        pixels = acquired(2, 1, 1)
        files = write_micro_manager_files(tmp_path, pixels)
        (files[0].parent / "metadata.txt").write_text(text)
        if said is None:
            check_planes(read_stack(files[0]), "TYX", pixels)
        else:
            with pytest.raises(InputError, match=said):
                read_stack(files[0])


def test_two_files_of_one_plane_are_refused(tmp_path: Path) -> None:
    files = write_micro_manager_files(tmp_path, acquired(2, 1, 1))
    files[0].with_name("img_channel000_time000000001.tif").write_bytes(files[0].read_bytes())
    with pytest.raises(InputError, match="are the same plane: remove one"):
        read_stack(files[0])


def test_names_that_others_give_too_make_no_set(tmp_path: Path) -> None:
    pixels = acquired(3, 1, 1)
    names = ["img_z001.tif", "img_z002.tif", "img_channel1_z2.tif", "img_001_DAPI_002.tif", "a_Cycle1_Ch1_1.tif"]
    for one, name in enumerate(names):
        tifffile.imwrite(tmp_path / name, pixels[one % 3, 0, 0], photometric="minisblack")
    assert [path.name for path in stacks_of(tmp_path)] == sorted(names)
    for one, name in enumerate(names):
        check_planes(read_stack(tmp_path / name), "YX", pixels[one % 3, 0, 0])
        assert image_name(tmp_path / name) == name.removesuffix(".tif")
