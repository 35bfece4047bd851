"""Sets of files as PrairieView of Bruker writes them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from fixtures.acquisitions import PIXEL_SIZE, PLAIN, TIME_STEP, Z_STEP, acquired, check_planes, write_bruker

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Calibration
from napari_care_losses.io.stacks import list_images, read_stack, stacks_of

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (PIXEL_SIZE, PIXEL_SIZE)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(
    ("shape", "axes", "calibration"),
    [
        ((4, 3, 2), "TZCYX", Calibration(pixel_size=SIZE, z_step=Z_STEP, time_step=TIME_STEP)),
        ((6, 1, 2), "TCYX", Calibration(pixel_size=SIZE, time_step=TIME_STEP)),
        ((6, 1, 1), "TYX", Calibration(pixel_size=SIZE, time_step=TIME_STEP)),
        ((1, 5, 1), "ZYX", Calibration(pixel_size=SIZE, z_step=Z_STEP)),
        ((1, 1, 1), "YX", Calibration(pixel_size=SIZE)),
    ],
)
def test_any_file_of_a_set_is_the_whole_set(
    tmp_path: Path, shape: tuple[int, int, int], axes: str, calibration: Calibration, version: int
) -> None:
    pixels = acquired(*shape)
    files = write_bruker(tmp_path, pixels, version=version)
    for path in (files[0], files[len(files) // 2], files[-1]):
        frames = read_stack(path)
        check_planes(frames, axes, pixels)
        assert frames.calibration.pixel_size == calibration.pixel_size
        assert frames.calibration.z_step == pytest.approx(calibration.z_step)
        assert frames.calibration.time_step == pytest.approx(calibration.time_step)
        assert [one["label"] for one in frames.metadata.channels] == ["Red", "Green"][: shape[2]]
        assert frames.note == ""
        assert list_images(path) == [path]
    assert stacks_of(tmp_path) == [min(files)]


def test_several_frames_in_a_file(tmp_path: Path) -> None:
    pixels = acquired(6, 1, 2)
    files = write_bruker(tmp_path, pixels, pages=3)
    assert len(files) == 4
    check_planes(read_stack(files[1]), "TCYX", pixels)
    files[3].write_bytes(files[3].read_bytes()[:2800])
    with pytest.raises(InputError, match=r"1 of 12 frames are missing \(frame 11,"):
        read_stack(files[0])


def test_fields_of_view_are_images_of_their_own(tmp_path: Path) -> None:
    pixels = acquired(6, 2, 1)
    # the stage comes back to where it was, but not to the last digit
    files = write_bruker(tmp_path, pixels, positions=[(0, 0), (300, 0), (0.4, 0.1), (300.2, 0)])
    with pytest.raises(InputError, match=r"holds 2 images: 0 \(.*at x 0, y 0 µm\), 1 \(.*at x 300, y 0 µm\).*--series"):
        read_stack(files[0])
    assert list_images(files[2]) == [files[2] / "0", files[2] / "1"]
    for number in range(2):
        frames = read_stack(files[0] / str(number))
        check_planes(frames, "TZYX", pixels[number::2])
        assert frames.calibration.time_step == pytest.approx(2 * TIME_STEP)
    with pytest.raises(InputError, match="holds 2 images, counted from 0: there is no image 2"):
        read_stack(files[0] / "2")


def test_stacks_taken_from_both_sides_are_said(tmp_path: Path) -> None:
    files = write_bruker(tmp_path, acquired(3, 4, 1), is_bidirectional=True)
    assert "every second volume were taken in reverse" in read_stack(files[0]).note


class TestMissingPlanes:
    @pytest.mark.parametrize("is_cut", [False, True])
    def test_they_are_counted_and_left_out_when_asked(self, tmp_path: Path, is_cut: bool) -> None:
        pixels = acquired(4, 3, 2)
        files = write_bruker(tmp_path, pixels)
        start = files[9].read_bytes()[:300]
        files[9].unlink()
        if is_cut:
            files[9].write_bytes(start)
        said = f"{files[9].name!r} of its set is not there or cut short: 1 of 24 frames are missing (frame 9,"
        with pytest.raises(InputError, match=re.escape(said) + ".*--incomplete"):
            read_stack(files[0])
        frames = read_stack(files[0], incomplete=True)
        check_planes(frames, "TZCYX", pixels[[0, 2, 3]])
        assert "3 of 4 steps along T are whole" in frames.note
        assert frames.calibration.time_step is None

    def test_all_of_one_channel(self, tmp_path: Path) -> None:
        pixels = acquired(4, 1, 2)
        for path in write_bruker(tmp_path, pixels)[1::2]:
            path.unlink()
        frames = read_stack(min(tmp_path.glob("*.tif")), incomplete=True)
        check_planes(frames, "TCYX", pixels[:, :, :1])
        assert [one["label"] for one in frames.channels] == ["Red"]

    def test_a_volume_that_was_not_ended(self, tmp_path: Path) -> None:
        pixels = acquired(3, 4, 1)
        files = write_bruker(tmp_path, pixels)
        described = next(tmp_path.glob("*.xml"))
        text = described.read_text()
        start = text.rindex('<Frame relativeTime="')
        described.write_text(text[:start] + text[text.index("</Sequence>", start) :])
        with pytest.raises(InputError, match="1 of 12 frames are missing"):
            read_stack(files[0])
        check_planes(read_stack(files[0], incomplete=True), "TZYX", pixels[:, :3])


class TestWithoutTheXmlFile:
    def test_the_first_file_describes_the_set(self, tmp_path: Path) -> None:
        pixels = acquired(6, 1, 2)
        files = write_bruker(tmp_path, pixels, describe=False)
        for path in (files[0], files[7]):
            check_planes(read_stack(path), "TCYX", pixels)
        files[7].unlink()
        with pytest.raises(InputError, match="1 of 12 frames are missing"):
            read_stack(files[3])
        assert stacks_of(tmp_path) == [min(files)]

    @pytest.mark.parametrize(("shape", "axes", "said"), [((6, 1, 2), "TCYX", "frames"), ((3, 4, 1), "TZYX", "cycles")])
    def test_names_tell_the_planes_apart_with_a_note(
        self, tmp_path: Path, shape: tuple[int, int, int], axes: str, said: str
    ) -> None:
        pixels = acquired(*shape)
        files = write_bruker(tmp_path, pixels, describe=False, ome=False)
        frames = read_stack(files[1])
        check_planes(frames, axes, pixels)
        assert f"is not beside {files[1]}: its {said} are taken as time points" in frames.note
        assert stacks_of(tmp_path) == [min(files)]


def test_a_set_renamed_as_a_whole_is_one_and_a_stray_file_stands_by_itself(tmp_path: Path) -> None:
    pixels = acquired(4, 1, 1)
    files = write_bruker(tmp_path, pixels)
    name = files[0].name.split("_Cycle")[0]
    for path in tmp_path.iterdir():
        path.rename(path.with_name(path.name.replace(name, "cells")))
    renamed = sorted(tmp_path.glob("*.tif"))
    check_planes(read_stack(renamed[2]), "TYX", pixels)
    stray = tmp_path / "cells_Cycle00009_Ch1_000001.ome.tif"
    tifffile.imwrite(stray, pixels[0, 0, 0] + 1, **PLAIN)
    check_planes(read_stack(stray), "YX", pixels[0, 0, 0] + 1)
    assert stacks_of(tmp_path) == [renamed[0], stray]


def test_planes_of_another_size_or_type_are_refused_by_name(tmp_path: Path) -> None:
    files = write_bruker(tmp_path, acquired(4, 1, 1))
    tifffile.imwrite(files[2], np.ones((20, 30), np.uint16), **PLAIN)
    frames = read_stack(files[0])
    with pytest.raises(
        InputError, match=re.escape(f"{files[2]} holds 20 x 30 px of uint16, other files of its set 20")
    ):
        frames[2]
    tifffile.imwrite(files[2], np.ones((20, 24), np.float32), **PLAIN)
    with pytest.raises(InputError, match="20 x 24 px of float32"):
        frames[2]


@pytest.mark.parametrize(
    ("found", "put", "said"),
    [
        ("_Cycle00001_Ch1_000001.ome.tif", "_Cycle/../../x.tif", "not trusted: it names a file .*outside its folder"),
        ('filename="TSeries', 'filename="/TSeries', None),
        ("</PVScan>", "", "cannot be read .* copy it again"),
        ("<PVScan", "<Scan", "cannot be read"),
        ('index="2"', 'index="1"', "two files for one plane"),
        ('index="2"', 'index="9999999"', "claims 9,999,999 planes"),
        ('index="2"', 'index="two"', "cannot be read"),
        ('absoluteTime="2', 'absoluteTime="x', "cannot be read"),
        ("Sequence", "Sequences", "cannot be read"),
    ],
)
def test_a_damaged_or_hostile_description_is_refused(tmp_path: Path, found: str, put: str, said: str | None) -> None:
    pixels = acquired(3, 1, 1)
    files = write_bruker(tmp_path / "set", pixels)
    described = next(tmp_path.glob("set/*.xml"))
    text = described.read_text()
    assert found in text
    described.write_text(
        text.replace(found, put).replace("</Sequence>", "</Sequences>" if "Sequences" in put else "</Sequence>")
    )
    if said is None:
        check_planes(read_stack(files[0]), "TYX", pixels)
        return
    with pytest.raises(InputError, match=said):
        read_stack(files[0])
    # one set still, of which one error is said
    assert stacks_of(tmp_path / "set") == [files[0]]


def test_entities_are_neither_expanded_without_bound_nor_loaded(tmp_path: Path) -> None:
    files = write_bruker(tmp_path, acquired(2, 1, 1))
    described = next(tmp_path.glob("*.xml"))
    text = described.read_text()
    (tmp_path / "secret").write_text("secret")
    laughs = "".join(f'<!ENTITY a{one + 1} "{f"&a{one};" * 20}">' for one in range(9))
    for entities in (f'<!ENTITY a0 "{"x" * 100}">{laughs}', f'<!ENTITY a9 SYSTEM "{(tmp_path / "secret").as_uri()}">'):
        bomb = text.replace("<PVScan", f"<!DOCTYPE PVScan [{entities}]><PVScan")
        described.write_text(bomb.replace('channelName="Red"', 'channelName="&a9;"'))
        with pytest.raises(InputError, match="cannot be read"):
            read_stack(files[0])
