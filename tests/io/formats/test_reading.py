"""CZI, LIF and ND2 files are read lazily as what the programs of their makers put into them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import czifile
import imagecodecs
import liffile
import nd2
import numpy as np
import pytest
from fixtures.microscope_files import write_czi, write_lif, write_nd2

from napari_care_losses.errors import InputError, MissingLibraryError, UnreadableError
from napari_care_losses.io.stacks import list_images, read_stack

if TYPE_CHECKING:
    from numpy.typing import NDArray

WRITERS: dict[str, Any] = {
    # czifile mixes copies of a lower resolution into the image
    "czi": lambda path, pixels, pyramid=False, **more: write_czi(path, [pixels], pyramid=pyramid, **more),
    "lif": lambda path, pixels, axes="TZCYX", **more: write_lif(path, {"one": (axes, pixels)}, **more),
    "nd2": write_nd2,
}


def acquired(*shape: int, dtype: str = "uint16", seed: int = 0) -> NDArray[Any]:
    """Return pixels of 12 bits, or of 8 in 8, every frame different."""
    values = np.random.default_rng(seed).integers(0, 255 if dtype == "uint8" else 4096, shape)
    return values.astype(dtype)


def pixels_of(path: Path, **options: Any) -> NDArray[Any]:
    frames = read_stack(path, **options)
    return np.stack(list(frames)).reshape(frames.shape)


def by_the_library(path: Path) -> NDArray[Any]:
    """Return the pixels as the package for this format reads them, without axes of a single step."""
    if path.suffix == ".nd2":
        return nd2.imread(path)
    if path.suffix == ".lif":
        return np.asarray(liffile.imread(path))
    with czifile.CziFile(path) as opened:
        found = opened.asarray(max_workers=1)[..., 0]
        axes = opened.axes[:-1]
    order = [axes.index(letter) for letter in "TZCYX" if letter in axes]
    return np.squeeze(found.transpose(order))


@pytest.mark.parametrize("kind", WRITERS)
class TestAllFormats:
    def test_every_frame_stands_in_its_place(self, tmp_path: Path, kind: str) -> None:
        path, pixels = tmp_path / f"a.{kind}", acquired(3, 4, 2, 20, 24)
        WRITERS[kind](path, pixels)
        frames = read_stack(path)
        assert (frames.axes, frames.shape, frames.dtype) == ("TZCYX", pixels.shape, pixels.dtype)
        np.testing.assert_array_equal(pixels_of(path), pixels)
        # the file is one that the format's own package reads alike
        np.testing.assert_array_equal(by_the_library(path), pixels)
        assert list_images(path) == [path]

    @pytest.mark.parametrize("axes", ["YX", "TYX", "ZYX", "CYX", "TCYX"])
    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
    def test_axes_of_a_single_step_are_left_out(self, tmp_path: Path, kind: str, axes: str, dtype: str) -> None:
        sizes = {"T": 3, "Z": 4, "C": 2, "Y": 20, "X": 24}
        path, pixels = tmp_path / f"a.{kind}", acquired(*(sizes[axis] for axis in axes), dtype=dtype)
        WRITERS[kind](path, pixels, axes=axes)
        frames = read_stack(path)
        assert (frames.axes, frames.dtype) == (axes, np.dtype(dtype))
        np.testing.assert_array_equal(pixels_of(path), pixels)

    def test_pixel_size_steps_and_channels(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / f"a.{kind}"
        WRITERS[kind](path, acquired(3, 4, 2, 20, 24), **({"times": (0.0, 0.5, 1.0)} if kind == "czi" else {}))
        frames = read_stack(path)
        pixel, step, time = {"czi": (0.065, 0.3, 0.5), "lif": (0.1, 0.5, 2.0), "nd2": (0.11, 0.7, 1.0)}[kind]
        assert frames.calibration.pixel_size == pytest.approx((pixel, pixel))
        assert frames.calibration.z_step == pytest.approx(step)
        assert frames.calibration.time_step == pytest.approx(time)
        assert [one["label"] for one in frames.channels] == ["dye 0", "dye 1"]
        assert [one["color"] for one in frames.channels] == ["00FF00", "FF0000"]

    def test_a_frame_reads_its_own_bytes_only(self, tmp_path: Path, kind: str) -> None:
        """All other pixels are overwritten once the file is open."""
        path, pixels = tmp_path / f"a.{kind}", acquired(3, 1, 1, 20, 24)
        WRITERS[kind](path, pixels)
        frames, data = read_stack(path), bytearray(path.read_bytes())
        for other in (0, 2):
            place = data.index(pixels[other].tobytes())
            data[place : place + pixels[other].nbytes] = bytes(pixels[other].nbytes)
        path.write_bytes(data)
        np.testing.assert_array_equal(frames[1], pixels[1, 0, 0])
        assert not frames[0].any()

    def test_nothing_stays_open(self, tmp_path: Path, kind: str) -> None:
        from fixtures.windows_files import is_in_use

        path = tmp_path / f"a.{kind}"
        WRITERS[kind](path, acquired(2, 1, 1, 20, 24))
        frames = read_stack(path)
        assert frames[1].any()
        assert not is_in_use(path)

    def test_a_file_that_is_not_there(self, tmp_path: Path, kind: str) -> None:
        for path in (tmp_path / f"a.{kind}", tmp_path / f"a.{kind}" / "1"):
            with pytest.raises(InputError, match="There is no file"):
                read_stack(path)

    def test_a_number_that_is_not_there(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / f"a.{kind}"
        WRITERS[kind](path, acquired(2, 1, 1, 20, 24))
        np.testing.assert_array_equal(pixels_of(path / "0"), pixels_of(path))
        with pytest.raises(InputError, match="holds 1 images, counted from 0: there is no image 1"):
            read_stack(path / "1")


@pytest.mark.parametrize(("kind", "library"), [("lif", "liffile"), ("nd2", "nd2")])
def test_without_its_library_a_file_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, library: str
) -> None:
    path = tmp_path / f"a.{kind}"
    WRITERS[kind](path, acquired(2, 1, 1, 20, 24))
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingLibraryError, match=r'pip install "napari-care-losses\[formats\]"'):
        read_stack(path)


def hi_lo(pixels: NDArray[Any]) -> bytes:
    """Return pixels as ZEN packs them: all low bytes, then all high ones, with Zstandard."""
    parted = np.ascontiguousarray(pixels).view(np.uint8).reshape(-1, pixels.itemsize).T
    return b"\x03\x01\x01" + imagecodecs.zstd_encode(np.ascontiguousarray(parted).tobytes())


class TestCzi:
    @pytest.mark.parametrize(
        ("method", "pack"),
        [
            (2, lambda pixels: imagecodecs.lzw_encode(pixels.tobytes())),
            (4, lambda pixels: imagecodecs.jpegxr_encode(pixels, level=1.0)),
            (5, lambda pixels: imagecodecs.zstd_encode(pixels.tobytes())),
            (6, lambda pixels: b"\x01" + imagecodecs.zstd_encode(pixels.tobytes())),
            (6, hi_lo),
        ],
        ids=["lzw", "jpeg xr", "zstd", "zstd 1", "zstd 1, bytes parted"],
    )
    def test_packed_subblocks(self, tmp_path: Path, method: int, pack: Any) -> None:
        path, pixels = tmp_path / "a.czi", acquired(2, 1, 2, 20, 24)
        write_czi(path, [pixels], compression=method, pack=pack)
        np.testing.assert_array_equal(pixels_of(path), pixels[:, 0])

    def test_packed_by_an_unknown_method(self, tmp_path: Path) -> None:
        write_czi(tmp_path / "a.czi", [acquired(1, 1, 1, 20, 24)], compression=104)
        with pytest.raises(UnreadableError, match="packed by method 104"):
            read_stack(tmp_path / "a.czi")[0]

    def test_scenes_are_images(self, tmp_path: Path) -> None:
        path, scenes = tmp_path / "a.czi", [acquired(2, 1, 1, 20, 24), acquired(2, 1, 1, 16, 18, seed=1)]
        write_czi(path, scenes)
        assert list_images(path) == [path / "0", path / "1"]
        for number, scene in enumerate(scenes):
            np.testing.assert_array_equal(pixels_of(path / str(number)), scene[:, 0, 0])
        with pytest.raises(InputError, match=r"holds 2 images: 0 \(2 x 20 x 24 TYX, P1\), 1 .*, P2\)"):
            read_stack(path)

    def test_tiles_are_put_together_by_their_positions(self, tmp_path: Path) -> None:
        path, pixels = tmp_path / "a.czi", acquired(2, 1, 2, 30, 40)
        write_czi(path, [pixels], tile=16, pyramid=False)
        frames = read_stack(path)
        np.testing.assert_array_equal(pixels_of(path), pixels[:, 0])
        np.testing.assert_array_equal(by_the_library(path), pixels[:, 0])
        assert "9 tiles of every frame were put together" in frames.note

    def test_missing_frames_are_counted(self, tmp_path: Path) -> None:
        path, pixels = tmp_path / "a.czi", acquired(4, 1, 2, 20, 24)
        write_czi(path, [pixels], absent=[(1, 0, 1)])
        with pytest.raises(UnreadableError, match=r"1 of 8 frames are missing \(frame 3, counted from 0\)"):
            read_stack(path)
        np.testing.assert_array_equal(pixels_of(path, incomplete=True), pixels[[0, 2, 3], 0])
        assert "3 of 4 steps along T are whole" in read_stack(path, incomplete=True).note

    def test_colour_and_other_axes_are_refused_in_words(self, tmp_path: Path) -> None:
        path = tmp_path / "a.czi"
        write_czi(path, [acquired(20, 24, 3, dtype="uint8")], axes="YXS")
        with pytest.raises(InputError, match="Expected grey levels, found a colour"):
            read_stack(path)
        write_czi(path, [acquired(2, 1, 1, 20, 24)], phases=3)
        with pytest.raises(InputError, match="has 3 steps along H beside time, Z and channel: process it in ZEN"):
            read_stack(path)

    def test_time_stamps_that_may_be_dates_are_no_step(self, tmp_path: Path) -> None:
        write_czi(tmp_path / "a.czi", [acquired(3, 1, 1, 20, 24)], times=(45000.0, 45000.1, 45000.2))
        assert read_stack(tmp_path / "a.czi").calibration.time_step is None


class TestLif:
    def test_images_and_folders(self, tmp_path: Path) -> None:
        path, movie, stack = tmp_path / "a.lif", acquired(3, 20, 24), acquired(2, 16, 18, dtype="uint8")
        write_lif(path, {"movie": ("TYX", movie), "day 2/stack": ("ZYX", stack)})
        assert list_images(path) == [path / "0", path / "1"]
        np.testing.assert_array_equal(pixels_of(path / "0"), movie)
        np.testing.assert_array_equal(pixels_of(path / "1"), stack)
        assert read_stack(path / "1").axes == "ZYX"
        with pytest.raises(InputError, match="day 2/stack"):
            read_stack(path)

    @pytest.mark.parametrize("axes", ["CTZYX", "ZTYXC", "TCZYX"])
    def test_channels_lie_anywhere(self, tmp_path: Path, axes: str) -> None:
        pixels = acquired(3, 4, 2, 20, 24)
        stored = np.ascontiguousarray(pixels.transpose(["TZCYX".index(letter) for letter in axes]))
        write_lif(tmp_path / "a.lif", {"one": (axes, stored)})
        np.testing.assert_array_equal(pixels_of(tmp_path / "a.lif"), pixels)

    def test_tiles_of_a_scan_are_images(self, tmp_path: Path) -> None:
        path, pixels = tmp_path / "a.lif", acquired(3, 2, 20, 24)
        write_lif(path, {"scan": ("MTYX", pixels)})
        assert len(list_images(path)) == 3
        np.testing.assert_array_equal(pixels_of(path / "2"), pixels[2])

    def test_the_time_step_comes_from_time_stamps_where_the_axis_has_no_length(self, tmp_path: Path) -> None:
        write_lif(tmp_path / "a.lif", {"one": ("TYX", acquired(4, 20, 24))}, stamps=True)
        assert read_stack(tmp_path / "a.lif").calibration.time_step == pytest.approx(1.5)

    def test_12_bits_are_stored_in_16(self, tmp_path: Path) -> None:
        path, pixels = tmp_path / "a.lif", acquired(20, 24)
        write_lif(path, {"one": ("YX", pixels)}, bits=12)
        np.testing.assert_array_equal(pixels_of(path), pixels)

    def test_colour_and_other_axes_are_refused_in_words(self, tmp_path: Path) -> None:
        path = tmp_path / "a.lif"
        write_lif(path, {"one": ("YXS", acquired(20, 24, 3, dtype="uint8"))})
        with pytest.raises(InputError, match="Expected grey levels, found a colour"):
            read_stack(path)
        write_lif(path, {"spectra": ("λYX", acquired(5, 20, 24))})
        with pytest.raises(InputError, match="more axes than time, Z, channel and position in 'spectra'"):
            read_stack(path)
        write_lif(path, {"line": ("TX", acquired(5, 24))})
        with pytest.raises(InputError, match="holds lines along"):
            read_stack(path)

    def test_a_file_cut_short_says_which_frames_are_missing(self, tmp_path: Path) -> None:
        path, pixels = tmp_path / "a.lif", acquired(4, 20, 24)
        write_lif(path, {"one": ("TYX", pixels), "two": ("TYX", pixels)})
        path.write_bytes(path.read_bytes()[:-100])
        np.testing.assert_array_equal(pixels_of(path / "0"), pixels)
        with pytest.raises(InputError, match="cut short"):
            read_stack(path / "1")


class TestNd2:
    @pytest.mark.parametrize("packed", [False, True])
    @pytest.mark.parametrize("pad", [0, 6])
    def test_packed_and_padded_rows(self, tmp_path: Path, packed: bool, pad: int) -> None:
        path, pixels = tmp_path / "a.nd2", acquired(3, 2, 19, 23)
        write_nd2(path, pixels, "TCYX", packed=packed, pad=pad)
        np.testing.assert_array_equal(pixels_of(path), pixels)
        np.testing.assert_array_equal(nd2.imread(path), pixels)

    @pytest.mark.parametrize("axes", ["TPZCYX", "PTZCYX"])
    def test_positions_are_images_whatever_the_order_of_the_loops(self, tmp_path: Path, axes: str) -> None:
        path, pixels = tmp_path / "a.nd2", acquired(2, 3, 4, 2, 20, 24)
        write_nd2(path, pixels, axes)
        place = axes.index("P")
        assert len(list_images(path)) == pixels.shape[place]
        for number in range(pixels.shape[place]):
            np.testing.assert_array_equal(pixels_of(path / str(number)), pixels.take(number, axis=place))
        assert read_stack(path / "1").metadata.position == {"X": (10.0, "um"), "Y": (-5.0, "um")}
        with pytest.raises(InputError, match="TZCYX, well 0"):
            read_stack(path)

    def test_missing_frames_are_counted_and_never_zeros(self, tmp_path: Path) -> None:
        path, pixels = tmp_path / "a.nd2", acquired(4, 2, 20, 24)
        write_nd2(path, pixels, "TCYX", absent=[3])
        assert not nd2.imread(path)[3].any()
        with pytest.raises(UnreadableError, match=r"2 of 8 frames are missing \(frames 6 to 7"):
            read_stack(path)
        np.testing.assert_array_equal(pixels_of(path, incomplete=True), pixels[:3])

    def test_a_frame_reads_its_chunk_once_for_all_channels(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, pixels = tmp_path / "a.nd2", acquired(3, 2, 20, 24)
        write_nd2(path, pixels, "TCYX")
        frames, opened = read_stack(path), []
        original = Path.open

        def noted(path: Path, *more: Any, **named: Any) -> Any:
            opened.append(path)
            return original(path, *more, **named)

        monkeypatch.setattr(Path, "open", noted)
        assert len(list(frames)) == 6
        assert opened.count(path) == 3

    def test_the_measured_time_step_counts_where_none_was_asked_for(self, tmp_path: Path) -> None:
        write_nd2(tmp_path / "a.nd2", acquired(3, 20, 24), "TYX", period=0.0)
        assert read_stack(tmp_path / "a.nd2").calibration.time_step == pytest.approx(1.5)

    def test_an_unknown_pixel_size_stays_unknown(self, tmp_path: Path) -> None:
        write_nd2(tmp_path / "a.nd2", acquired(3, 20, 24), "TYX", calibrated=False)
        assert read_stack(tmp_path / "a.nd2").calibration.pixel_size is None

    def test_colour_is_refused_in_words(self, tmp_path: Path) -> None:
        write_nd2(tmp_path / "a.nd2", acquired(2, 20, 24, 3, dtype="uint8"), "TYXS", samples=3)
        with pytest.raises(InputError, match="Expected grey levels, found a colour"):
            read_stack(tmp_path / "a.nd2")

    def test_what_is_not_read_is_said(self, tmp_path: Path) -> None:
        path, pixels = tmp_path / "a.nd2", acquired(2, 20, 24)
        write_nd2(path, pixels, "TYX", changed={"eCompression": 1})
        with pytest.raises(InputError, match="packed with loss"):
            read_stack(path)
        path.write_bytes(b"\x00\x00\x00\x0cjP  " + bytes(100))
        with pytest.raises(InputError, match="before 2010"):
            read_stack(path)

    def test_a_description_that_nd2_stumbles_over_costs_the_pixel_size_only(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(_: Any) -> Any:
            raise UnboundLocalError("excitation")

        path, pixels = tmp_path / "a.nd2", acquired(2, 20, 24)
        write_nd2(path, pixels, "TYX")
        monkeypatch.setattr(nd2.ND2File, "metadata", property(broken))
        np.testing.assert_array_equal(pixels_of(path), pixels)
        assert "pixel size and channels cannot be read" in read_stack(path).note
