"""What TIFF files promise and do not hold, hold beside the stack, or store as something else than frames."""

from __future__ import annotations

import logging
import re
import shutil
import struct
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.io.stacks import list_images, read_stack
from napari_care_losses.restoration.folders import stacks_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

STACK = np.random.default_rng(0).integers(1, 1000, (12, 20, 24)).astype(np.uint16)
PLAIN: dict[str, Any] = {"photometric": "minisblack", "metadata": None}


def ome_xml(data: str, *, times: int = 1, planes: int = 1, channels: int = 1, uuid: str = "", extra: str = "") -> str:
    told = "".join(f'<Channel ID="Channel:0:{one}" SamplesPerPixel="1"/>' for one in range(channels))
    return (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
        f'{f" UUID={uuid!r}" if uuid else ""}><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
        f'Type="uint16" SizeX="24" SizeY="20" SizeC="{channels}" SizeZ="{planes}" SizeT="{times}" {extra}>{told}{data}'
        "</Pixels></Image></OME>"
    ).replace("'", '"')


def write_set(folder: Path, names: Sequence[str] = ("a1.ome.tif", "a2.ome.tif")) -> None:
    """Write a movie of ten frames into two files; the names are those in their XML."""
    uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{one}" for one in (1, 2)]
    data = "".join(
        f'<TiffData FirstT="{5 * file + one}" IFD="{one}" PlaneCount="1"><UUID FileName="{names[file]}">{uuids[file]}'
        "</UUID></TiffData>"
        for file in range(2)
        for one in range(5)
    )
    for file in range(2):
        xml = ome_xml(data, times=10, uuid=uuids[file])
        tifffile.imwrite(folder / names[file], STACK[5 * file : 5 * file + 5], description=xml, **PLAIN)


def check_absent(path: Path, said: str, axes: str, kept: Sequence[int] | np.ndarray) -> Frames:
    """Check that the file is refused in these words, and that what is whole is read when asked for."""
    with pytest.raises(InputError, match=re.escape(said) + ".*--incomplete"):
        read_stack(path)
    frames = read_stack(path, incomplete=True)
    assert said in frames.note
    assert frames.axes == axes
    expected = STACK[np.asarray(kept)]
    assert frames.shape == expected.shape
    np.testing.assert_array_equal(np.stack(list(frames)), expected.reshape(-1, 20, 24))
    return frames


class TestMissingFrames:
    def test_an_acquisition_that_was_stopped(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "a.ome.tif", STACK[:6], description=ome_xml("<TiffData/>", times=10), **PLAIN)
        check_absent(tmp_path / "a.ome.tif", "4 of 10 frames are missing (frames 6 to 9", "TYX", range(6))

    def test_a_time_point_that_is_not_whole_is_left_out(self, tmp_path: Path) -> None:
        xml = ome_xml("<TiffData/>", times=4, planes=3)
        tifffile.imwrite(tmp_path / "a.ome.tif", STACK[:10], description=xml, **PLAIN)
        kept = np.arange(9).reshape(3, 3)
        frames = check_absent(tmp_path / "a.ome.tif", "2 of 12 frames are missing (frames 10 to 11", "TZYX", kept)
        assert "3 of 4 steps along T are whole" in frames.note

    def test_a_channel_that_is_missing_is_left_out(self, tmp_path: Path) -> None:
        data = "".join(f'<TiffData FirstT="{one}" FirstC="1" IFD="{one}" PlaneCount="1"/>' for one in range(5))
        xml = ome_xml(data, times=5, channels=2)
        tifffile.imwrite(tmp_path / "a.ome.tif", STACK[:5], description=xml, **PLAIN)
        check_absent(tmp_path / "a.ome.tif", "5 of 10 frames are missing", "TCYX", np.arange(5).reshape(5, 1))

    def test_a_gap_leaves_no_time_step(self, tmp_path: Path) -> None:
        data = "".join(f'<TiffData FirstT="{t}" IFD="{one}" PlaneCount="1"/>' for one, t in enumerate((0, 1, 3, 4)))
        xml = ome_xml(data, times=5, extra='TimeIncrement="2" PhysicalSizeX="0.1" PhysicalSizeY="0.1"')
        tifffile.imwrite(tmp_path / "a.ome.tif", STACK[:4], description=xml, **PLAIN)
        frames = check_absent(tmp_path / "a.ome.tif", "1 of 5 frames are missing (frame 2,", "TYX", range(4))
        assert frames.calibration == Calibration(pixel_size=(0.1, 0.1))

    @pytest.mark.parametrize(("kept", "said"), [("a1.ome.tif", "frames 5 to 9"), ("a2.ome.tif", "frames 0 to 4")])
    def test_a_file_of_a_set(self, tmp_path: Path, kept: str, said: str) -> None:
        (tmp_path / "part").mkdir()
        write_set(tmp_path)
        for name in ("a1.ome.tif", "a2.ome.tif"):
            np.testing.assert_array_equal(np.stack(list(read_stack(tmp_path / name))), STACK[:10])
        shutil.copy(tmp_path / kept, tmp_path / "part" / kept)
        there = range(5) if kept == "a1.ome.tif" else range(5, 10)
        frames = check_absent(tmp_path / "part" / kept, f"5 of 10 frames are missing ({said}", "TYX", there)
        (lost,) = {"a1.ome.tif", "a2.ome.tif"} - {kept}
        assert f"{lost!r}, named in it, are not beside it" in frames.note
        # both renamed: each still holds its own half
        (tmp_path / "renamed").mkdir()
        for name in ("a1.ome.tif", "a2.ome.tif"):
            shutil.copy(tmp_path / name, tmp_path / "renamed" / f"b{name}")
        check_absent(tmp_path / "renamed" / f"b{kept}", f"5 of 10 frames are missing ({said}", "TYX", there)

    def test_a_page_whose_pixels_lie_outside_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, STACK, compression="zlib", **PLAIN)
        with tifffile.TiffFile(path) as tiff:
            place = tiff.pages[4].tags["StripOffsets"].valueoffset  # type: ignore[union-attr]
        data = bytearray(path.read_bytes())
        data[place : place + 4] = (10**8).to_bytes(4, "little")
        path.write_bytes(data)
        kept = [one for one in range(12) if one != 4]
        check_absent(path, "1 of 12 frames are missing (frame 4,", "TYX", kept)

    @pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
    def test_more_images_than_pages_by_imagej(self, tmp_path: Path, options: dict[str, Any]) -> None:
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, STACK[:6], imagej=True, metadata={"axes": "TYX"}, **options)
        for found, put in ((b"images=6", b"images=9"), (b"frames=6", b"frames=9")):
            path.write_bytes(path.read_bytes().replace(found, put))
            check_absent(path, "3 of 9 frames are missing (frames 6 to 8", "TYX", range(6))

    @pytest.mark.parametrize(("cut", "said"), [(1, "1 of 4 frames"), (2000, "3 of 4 frames")])
    def test_a_large_stack_of_imagej_that_broke_off(self, tmp_path: Path, cut: int, said: str) -> None:
        path = tmp_path / "a.tif"
        described = "ImageJ=1.53t\nimages=4\nslices=4\n"
        tifffile.imwrite(path, STACK[0], byteorder=">", **PLAIN, description=described)
        with tifffile.TiffFile(path) as tiff:
            start = tiff.pages[0].dataoffsets[0]
        path.write_bytes(path.read_bytes()[:start] + STACK[:4].astype(">u2").tobytes())
        np.testing.assert_array_equal(np.stack(list(read_stack(path))), STACK[:4])
        path.write_bytes(path.read_bytes()[:-cut])
        for incomplete in (False, True):
            with pytest.raises(InputError, match=f"cut short.*{said}"):
                read_stack(path, incomplete=incomplete)


class TestSeveralImages:
    def test_positions_are_named_and_one_is_asked_for(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ome.tif"
        with tifffile.TiffWriter(path, ome=True) as tiff:
            for one in range(3):
                sizes = {"PhysicalSizeX": 0.1 * (one + 1), "PhysicalSizeY": 0.1 * (one + 1)}
                metadata = {"axes": "TYX", "Name": f"field {one}", **sizes}
                tiff.write(STACK[4 * one : 4 * one + 4], photometric="minisblack", metadata=metadata)
        with pytest.raises(InputError, match=r"holds 3 images: 0 \(4 x 20 x 24 TYX, field 0\), 1 .*field 1.*--series"):
            read_stack(path)
        assert list_images(path) == [path / "0", path / "1", path / "2"]
        for one, image in enumerate(list_images(path)):
            frames = read_stack(image)
            np.testing.assert_array_equal(np.stack(list(frames)), STACK[4 * one : 4 * one + 4])
            assert frames.calibration.pixel_size == pytest.approx((0.1 * (one + 1),) * 2)
        with pytest.raises(InputError, match="3 images, counted from 0: there is no image 3"):
            read_stack(path / "3")
        with pytest.raises(InputError, match="no file"):
            read_stack(path / "first")

    def test_pages_of_mixed_size(self, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
            for one, width in enumerate((24, 24, 10, 24, 10)):
                tiff.write(STACK[one, :, :width], **PLAIN)
        with pytest.raises(InputError, match="holds 2 images"):
            read_stack(tmp_path / "a.tif")
        np.testing.assert_array_equal(np.stack(list(read_stack(tmp_path / "a.tif" / "0"))), STACK[[0, 1, 3]])

    @pytest.mark.parametrize("kind", ["small", "colour", "reduced"])
    def test_a_preview_is_not_the_stack(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "a.tif"
        with tifffile.TiffWriter(path) as tiff:
            if kind == "small":
                tiff.write(STACK[0, ::2, ::2], **PLAIN)
            if kind == "colour":
                tiff.write(np.zeros((20, 24, 3), np.uint8), photometric="rgb", metadata=None)
            for one in range(4):
                tiff.write(STACK[one], **PLAIN)
            if kind == "reduced":
                tiff.write(STACK[0, ::2, ::2], subfiletype=1, **PLAIN)
        assert list_images(path) == [path]
        np.testing.assert_array_equal(np.stack(list(read_stack(path))), STACK[:4])


def write_page_by_page(path: Path, **options: Any) -> None:
    for frame in STACK[:5]:
        tifffile.imwrite(path, frame, append=True, **options)


class TestPageByPage:
    @pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}, {"bigtiff": True}])
    def test_pages_that_nothing_tells_apart_are_one_stack_with_a_note(
        self, tmp_path: Path, options: dict[str, Any]
    ) -> None:
        path = tmp_path / "a.tif"
        write_page_by_page(path, **options)
        frames = read_stack(path)
        assert (frames.axes, frames.shape) == ("TYX", (5, 20, 24))
        np.testing.assert_array_equal(np.stack(list(frames)), STACK[:5])
        assert "holds 5 images of one page each that nothing tells apart: taken as the frames of one" in frames.note
        assert list_images(path) == [path]

    def test_one_writer_and_axes_of_one_step_make_no_difference(self, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
            for frame in STACK[:5]:
                tiff.write(frame[None])
        np.testing.assert_array_equal(np.stack(list(read_stack(tmp_path / "a.tif"))), STACK[:5])

    def test_metadata_sizes_and_stacks_tell_images_apart(self, tmp_path: Path) -> None:
        kinds: dict[str, list[tuple[np.ndarray, dict[str, Any]]]] = {
            "names": [(STACK[one], {"metadata": {"name": f"field {one}"}}) for one in range(3)],
            "sizes": [(STACK[0], {}), (STACK[1, :10], {}), (STACK[2], {})],
            "stacks": [(STACK[3 * one : 3 * one + 3], {"photometric": "minisblack"}) for one in range(3)],
        }
        for kind, images in kinds.items():
            for image, options in images:
                tifffile.imwrite(tmp_path / f"{kind}.tif", image, append=True, **options)
            with pytest.raises(InputError, match="holds 3 images"):
                read_stack(tmp_path / f"{kind}.tif")

    def test_a_frame_that_is_cut_short_is_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        write_page_by_page(path)
        with tifffile.TiffFile(path) as tiff:
            end = tiff.pages[4].dataoffsets[0] + 100
        path.write_bytes(path.read_bytes()[:end])
        frames = check_absent(path, "1 of 5 frames are missing (frame 4,", "TYX", range(4))
        assert "nothing tells apart" in frames.note


class TestAxes:
    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
    @pytest.mark.parametrize(("shape", "axes"), [((3,), "TYX"), ((4,), "TYX"), ((2, 3), "TZYX"), ((3, 4), "TZYX")])
    def test_planes_of_samples_are_frames(self, tmp_path: Path, shape: tuple[int, ...], axes: str, dtype: str) -> None:
        stack = STACK[: int(np.prod(shape))].reshape(*shape, 20, 24).astype(dtype)
        # as tifffile.imwrite and napari write such arrays where they are told nothing
        tifffile.imwrite(tmp_path / "a.tif", stack, photometric="rgb", planarconfig="separate")
        frames = read_stack(tmp_path / "a.tif")
        assert frames.axes == axes
        np.testing.assert_array_equal(np.stack(list(frames)), stack.reshape(-1, 20, 24))

    @pytest.mark.parametrize(
        ("pixels", "options", "said"),
        [
            (np.zeros((20, 24, 3), np.uint8), {"photometric": "rgb"}, r"colour \(RGB\).*convert it first\."),
            (np.zeros((20, 24, 3), np.uint16), {"photometric": "rgb"}, r"colour \(RGB\).*is channels, put it in front"),
            (np.zeros((20, 24, 2), np.uint8), {"extrasamples": ["unassalpha"]}, r"transparency \(alpha\)"),
            (np.zeros((64, 72, 2), np.uint16), {}, r"channels last in shape \(64, 72, 2\)"),
            (np.zeros((64, 72, 2), np.uint16), {"imagej": True}, r"channels last in shape \(64, 72, 2\)"),
            (np.zeros((64, 72, 2), np.uint16), {"ome": True}, r"channels last in shape \(64, 72, 2\)"),
            (np.zeros((64, 72, 5), np.uint16), {}, r"channels last in shape \(64, 72, 5\)"),
        ],
    )
    def test_colours_and_channels_behind_x_are_asked_about(
        self, tmp_path: Path, pixels: np.ndarray, options: dict[str, Any], said: str
    ) -> None:
        tifffile.imwrite(tmp_path / "a.tif", pixels, **{"photometric": "minisblack", **options})
        with pytest.raises(InputError, match=said):
            read_stack(tmp_path / "a.tif")

    def test_an_array_with_channels_last_is_taken_with_named_axes_only(self) -> None:
        with pytest.raises(InputError, match=r"numpy.moveaxis\(image, -1, -3\)"):
            Frames(np.zeros((64, 72, 2)))
        assert Frames(np.zeros((64, 72, 2)), "TYX").shape == (64, 72, 2)
        assert Frames(np.zeros((4, 72, 2))).axes == "TYX"


class TestSets:
    def test_a_companion_file_describes_the_set(self, tmp_path: Path) -> None:
        names = ("p_0.ome.tif", "p_1.ome.tif")
        uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{one}" for one in (1, 2)]
        data = "".join(
            f'<TiffData FirstC="{file}" FirstT="{t}" IFD="{t}" PlaneCount="1"><UUID FileName="{names[file]}">'
            f"{uuids[file]}</UUID></TiffData>"
            for file in range(2)
            for t in range(3)
        )
        xml = ome_xml(data, times=3, channels=2, extra='PhysicalSizeX="0.1" PhysicalSizeY="0.1"')
        (tmp_path / "p.companion.ome").write_text(xml, encoding="utf-8")
        for file in range(2):
            told = (
                '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
                f'UUID="{uuids[file]}"><BinaryOnly MetadataFile="p.companion.ome" UUID="urn:uuid:0"/></OME>'
            )
            tifffile.imwrite(tmp_path / names[file], STACK[3 * file : 3 * file + 3], description=told, **PLAIN)
        for name in names:
            frames = read_stack(tmp_path / name)
            assert (frames.axes, frames.shape) == ("TCYX", (3, 2, 20, 24))
            expected = STACK[:6].reshape(2, 3, 20, 24).swapaxes(0, 1)
            np.testing.assert_array_equal(np.stack(list(frames)), expected.reshape(6, 20, 24))
            assert frames.calibration.pixel_size == (0.1, 0.1)
        assert stacks_in(tmp_path) == [tmp_path / names[0]]
        (tmp_path / "p.companion.ome").unlink()
        with pytest.raises(InputError, match=r"'p.companion.ome' describes, which is not beside it"):
            read_stack(tmp_path / names[0])

    def test_another_file_of_the_set_describes_it(self, tmp_path: Path) -> None:
        write_set(tmp_path)
        told = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            'UUID="urn:uuid:00000000-0000-0000-0000-000000000002"><BinaryOnly MetadataFile="a1.ome.tif" '
            'UUID="urn:uuid:00000000-0000-0000-0000-000000000001"/></OME>'
        )
        tifffile.imwrite(tmp_path / "a2.ome.tif", STACK[5:10], description=told, **PLAIN)
        for name in ("a1.ome.tif", "a2.ome.tif"):
            np.testing.assert_array_equal(np.stack(list(read_stack(tmp_path / name))), STACK[:10])
        assert stacks_in(tmp_path) == [tmp_path / "a1.ome.tif"]
        (tmp_path / "a1.ome.tif").unlink()
        with pytest.raises(InputError, match=r"'a1.ome.tif' describes, which is not beside it"):
            read_stack(tmp_path / "a2.ome.tif")

    def test_a_set_in_a_folder_is_one_stack_and_copies_are_not(self, tmp_path: Path) -> None:
        write_set(tmp_path)
        tifffile.imwrite(tmp_path / "other.tif", STACK[0])
        assert [path.name for path in stacks_in(tmp_path)] == ["a1.ome.tif", "other.tif"]
        shutil.copy(tmp_path / "a1.ome.tif", tmp_path / "a0_copy.ome.tif")
        assert [path.name for path in stacks_in(tmp_path)] == ["a0_copy.ome.tif", "a1.ome.tif", "other.tif"]


def write_stk(path: Path, distances: Sequence[float], times: Sequence[int]) -> None:
    """Write a stack as MetaMorph does: one page, and the planes one after the other."""
    count = len(distances)
    pixels = STACK[:count].astype("<u2").tobytes()
    planes = b"".join(
        struct.pack("<6I", round(1000 * z), 1000, 2460000, t, 2460000, t) for z, t in zip(distances, times, strict=True)
    )
    start = 8
    at = {"pixels": start, "planes": start + len(pixels)}
    at["size"] = at["planes"] + len(planes)
    at["unit"] = at["size"] + 8
    at["told"] = at["unit"] + 7
    told = struct.pack("<8I", 3, 1, 4, at["size"], 5, at["size"], 6, at["unit"])
    body = pixels + planes + struct.pack("<2I", 65, 1000) + struct.pack("<I3s", 3, b"um\0") + told
    tags = [(256, 4, 1, 24), (257, 4, 1, 20), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, start)]
    tags += [
        (277, 3, 1, 1),
        (278, 4, 1, 20),
        (279, 4, 1, 960),
        (33628, 4, 4, at["told"]),
        (33629, 5, count, at["planes"]),
    ]
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", start + len(body)) + body + table)


@pytest.mark.parametrize(
    ("distances", "times", "axes", "calibration"),
    [
        ([0.3] * 4, [0] * 4, "ZYX", Calibration(pixel_size=(0.065, 0.065), z_step=0.3)),
        ([0.3, 0.3, 0.9, 0.3], [0] * 4, "ZYX", Calibration(pixel_size=(0.065, 0.065))),
        ([0.0] * 4, [0, 500, 1000, 1500], "TYX", Calibration(pixel_size=(0.065, 0.065), time_step=0.5)),
    ],
)
def test_stacks_of_metamorph(
    tmp_path: Path, distances: list[float], times: list[int], axes: str, calibration: Calibration
) -> None:
    write_stk(tmp_path / "a.stk", distances, times)
    frames = read_stack(tmp_path / "a.stk")
    assert frames.axes == axes
    np.testing.assert_array_equal(np.stack(list(frames)), STACK[:4])
    found = frames.calibration
    assert found.pixel_size == pytest.approx(calibration.pixel_size)
    assert (found.z_step, found.time_step) == pytest.approx((calibration.z_step, calibration.time_step))
    assert stacks_in(tmp_path) == [tmp_path / "a.stk"]
    (tmp_path / "a.stk").write_bytes((tmp_path / "a.stk").read_bytes()[:2000])
    with pytest.raises(InputError):
        read_stack(tmp_path / "a.stk")


def test_what_is_logged_of_a_damaged_file_is_not_taken_for_another_one(tmp_path):
    from napari_care_losses.io.tiff_pages import captured_log

    logger = logging.getLogger("tifffile")
    with captured_log() as here:
        thread = threading.Thread(target=lambda: logger.warning("invalid page offset"))
        thread.start()
        thread.join()
        logger.error("mine")
    assert here == ["mine"]


def test_what_is_logged_is_kept_while_another_thread_ends_its_reading():
    from napari_care_losses.io.tiff_pages import captured_log

    logger, other = logging.getLogger("tifffile"), captured_log()
    thread = threading.Thread(target=other.__enter__)
    thread.start()
    thread.join()
    logger.addFilter(end := lambda _: not other.__exit__(None, None, None))
    with captured_log() as here:
        logger.error("mine")
    logger.removeFilter(end)
    assert here == ["mine"]
