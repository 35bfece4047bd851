"""Stacks of Micro-Manager: MMStack and NDTiff."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from fixtures.acquisitions import PIXEL_SIZE, TIME_STEP, Z_STEP, acquired, check_planes, write_mmstack, write_ndtiff

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Calibration
from napari_care_losses.io.stacks import list_images, read_stack, size_and_time, stacks_of

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (PIXEL_SIZE, PIXEL_SIZE)
WHOLE = Calibration(pixel_size=SIZE, z_step=Z_STEP, time_step=TIME_STEP)


class TestMMStack:
    @pytest.mark.parametrize("per_file", [100, 7])
    @pytest.mark.parametrize(("shape", "axes"), [((4, 3, 2), "TZCYX"), ((10, 1, 1), "TYX"), ((1, 5, 2), "ZCYX")])
    def test_one_stack_in_one_file_or_several(
        self, tmp_path: Path, shape: tuple[int, int, int], axes: str, per_file: int
    ) -> None:
        pixels = acquired(*shape)
        files = write_mmstack(tmp_path, [pixels], per_file=per_file)
        for path in files:
            frames = read_stack(path)
            check_planes(frames, axes, pixels)
            assert frames.calibration == WHOLE
            assert [one["label"] for one in frames.channels] == ["Red", "Green"][: shape[2]]
        assert stacks_of(tmp_path) == files[:1]

    @pytest.mark.parametrize("per_file", [100, 4])
    def test_positions_in_files_of_their_own(self, tmp_path: Path, per_file: int) -> None:
        pixels = [acquired(3, 1, 2, seed=one) for one in range(3)]
        files = write_mmstack(tmp_path, pixels, per_file=per_file)
        found = stacks_of(tmp_path)
        assert [path.name for path in found] == [f"cells_1_MMStack_Pos{one}.ome.tif" for one in range(3)]
        for number, (path, one) in enumerate(zip(found, pixels, strict=True)):
            assert list_images(path) == [path]
            check_planes(read_stack(path), "TCYX", one)
            assert read_stack(path).metadata.position["X"] == (10.0 * number, "µm")
        check_planes(read_stack(files[-1]), "TCYX", pixels[-1])

    def test_positions_in_one_file(self, tmp_path: Path) -> None:
        pixels = [acquired(3, 1, 2, seed=one) for one in range(2)]
        (path,) = write_mmstack(tmp_path, pixels, is_apart=False)
        with pytest.raises(InputError, match=r"holds 2 images: 0 \(3 x 2 x 20 x 24 TCYX, Pos0\), 1 .*Pos1\).*--series"):
            read_stack(path)
        for image, one in zip(list_images(path), pixels, strict=True):
            check_planes(read_stack(image), "TCYX", one)

    def test_a_stopped_acquisition(self, tmp_path: Path) -> None:
        pixels = acquired(4, 3, 2)
        (path,) = write_mmstack(tmp_path, [pixels], acquired=13)
        with pytest.raises(InputError, match=r"the acquisition was stopped, or .*: 11 of 24 frames are missing"):
            read_stack(path)
        check_planes(read_stack(path, incomplete=True), "TZCYX", pixels[:2])

    @pytest.mark.parametrize(("lost", "kept"), [(0, slice(2, 4)), (1, slice(0, 2))])
    def test_a_lost_file_leaves_its_planes_out(self, tmp_path: Path, lost: int, kept: slice) -> None:
        pixels = acquired(4, 3, 2)
        files = write_mmstack(tmp_path, [pixels], per_file=12)
        files[lost].unlink()
        with pytest.raises(InputError, match=f"12 of 24 frames are missing .frames {12 - 12 * (1 - lost)} to"):
            read_stack(files[1 - lost])
        check_planes(read_stack(files[1 - lost], incomplete=True), "TZCYX", pixels[kept])

    def test_a_file_that_is_cut_short(self, tmp_path: Path) -> None:
        pixels = acquired(6, 1, 1)
        (path,) = write_mmstack(tmp_path, [pixels])
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(InputError, match="1 of 6 frames are missing"):
            read_stack(path)
        check_planes(read_stack(path, incomplete=True), "TYX", pixels[:5])

    def test_a_position_whose_other_files_are_not_there(self, tmp_path: Path) -> None:
        pixels = [acquired(3, 1, 2, seed=one) for one in range(3)]
        files = write_mmstack(tmp_path, pixels)
        files[0].unlink()
        files[2].unlink()
        check_planes(read_stack(files[1]), "TCYX", pixels[1])

    @pytest.mark.parametrize("count", [10**9, 2**31])
    def test_a_summary_that_promises_too_much(self, tmp_path: Path, count: int) -> None:
        (path,) = write_mmstack(tmp_path, [acquired(3, 1, 1)])
        data = path.read_bytes()
        place = data.index(b'"Frames": 3, ')
        told = f'"Frames":{count}'.encode()
        space = data.index(b'"ChNames"') - place
        path.write_bytes(data[:place] + told + b"," + b" " * (space - len(told) - 1) + data[place + space :])
        with pytest.raises(InputError):
            read_stack(path)


class TestNDTiff:
    @pytest.mark.parametrize("per_file", [100, 7])
    def test_it_is_read_with_its_index(self, tmp_path: Path, per_file: int) -> None:
        pixels = acquired(4, 3, 2)
        files = write_ndtiff(tmp_path, pixels, per_file=per_file)
        for path in files:
            frames = read_stack(path)
            check_planes(frames, "TZCYX", pixels)
            assert frames.calibration == Calibration(pixel_size=SIZE, z_step=Z_STEP)
            assert [one["label"] for one in frames.channels] == ["Red", "Green"]
        assert stacks_of(tmp_path) == files[:1]
        assert size_and_time(files[0])[0] == sum(path.stat().st_size for path in files)

    def test_an_index_that_is_not_there_or_names_what_is_not_there(self, tmp_path: Path) -> None:
        files = write_ndtiff(tmp_path, acquired(4, 3, 2), per_file=10)
        files[1].unlink()
        with pytest.raises(InputError, match=f"'{files[1].name}'.*10 of 24 frames are missing"):
            read_stack(files[0])
        renamed = files[0].rename(tmp_path / "mine.tif")
        with pytest.raises(InputError, match=r"none of the files that NDTiff.index names: was it renamed\?"):
            read_stack(renamed)
        (tmp_path / "NDTiff.index").unlink()
        with pytest.raises(InputError, match=r"a set that NDTiff.index describes, which is not beside it"):
            read_stack(renamed)

    def test_files_outside_its_folder_are_not_opened(self, tmp_path: Path) -> None:
        (path,) = write_ndtiff(tmp_path, acquired(2, 1, 1))
        index = tmp_path / "NDTiff.index"
        entries = index.read_bytes()
        bad = b"../" + path.name.encode()[3:]
        index.write_bytes(entries + entries.replace(path.name.encode(), bad))
        with pytest.raises(InputError, match="not trusted: it names a file"):
            read_stack(path)

    def test_missing_planes_are_counted(self, tmp_path: Path) -> None:
        pixels = acquired(3, 1, 1)
        (path,) = write_ndtiff(tmp_path, pixels)
        index = tmp_path / "NDTiff.index"
        entries = index.read_bytes()
        second, third = (entries.index(json.dumps({"time": one})[:-1].encode()) - 4 for one in (1, 2))
        index.write_bytes(entries[:second] + entries[third:])
        with pytest.raises(InputError, match=r"1 of 3 frames are missing \(frame 1,"):
            read_stack(path)
        check_planes(read_stack(path, incomplete=True), "TYX", pixels[[0, 2]])

    def test_tiles_are_refused(self, tmp_path: Path) -> None:
        (path,) = write_ndtiff(tmp_path, acquired(3, 1, 1))
        index = tmp_path / "NDTiff.index"
        index.write_bytes(index.read_bytes().replace(b'"time": ', b'"row":  '))
        with pytest.raises(InputError, match="holds tiles of a larger image"):
            read_stack(path)
