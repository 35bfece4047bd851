"""Opening and saving files in the viewer: lazily, with pixel size, units, axes and channels."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import dask.array
import numpy as np
import pytest
import tifffile
import zarr
from napari.components import ViewerModel
from napari.layers import Image

from napari_care_losses.errors import InputError, UnreadableError
from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.images.partial_stack import PartialStack
from napari_care_losses.io.ome_zarr_reader import Present, open_ome_zarr
from napari_care_losses.io.stacks import read_stack, save_stack
from napari_care_losses.plugin.reader import get_reader
from napari_care_losses.plugin.writer import write_image
from napari_care_losses.widgets.layers.conversion import layer_frames

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CALIBRATION = Calibration(pixel_size=(0.1, 0.2), z_step=0.5, time_step=0.4)
SUFFIXES = [".ome.zarr", ".tif"]


def stack(*shape: int) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 1000, shape).astype(np.uint16)


def opened(path: Path) -> list[Image]:
    """Return the layers that napari makes of a file with this plugin's reader."""
    viewer = ViewerModel()
    viewer.open(str(path), plugin="napari-care-losses")
    return list(viewer.layers)


@pytest.mark.usefixtures("plugin")
class TestOpening:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_a_movie_is_opened_lazily_where_and_as_large_as_it_is(self, tmp_path: Path, suffix: str) -> None:
        pixels, path = stack(4, 3, 20, 30), tmp_path / f"movie{suffix}"
        save_stack(path, Frames(pixels, "TZYX", CALIBRATION))
        (layer,) = opened(path)
        assert isinstance(layer.data, dask.array.Array)
        assert layer.data.chunksize == (1, 1, 20, 30)
        np.testing.assert_array_equal(layer.data, pixels)
        assert layer.name == "movie"
        assert layer.scale == pytest.approx([0.4, 0.5, 0.1, 0.2])
        assert [str(unit) for unit in layer.units] == ["second", "micrometer", "micrometer", "micrometer"]
        assert layer.axis_labels == ("t", "z", "y", "x")
        assert layer_frames(layer).calibration.pixel_size == pytest.approx((0.1, 0.2))

    def test_a_chunk_of_several_frames_is_read_once(self, tmp_path: Path, monkeypatch) -> None:
        pixels, path = stack(4, 20, 30) + np.uint16(1), tmp_path / "a.ome.zarr"
        save_stack(path, Frames(pixels, "TYX"))
        shutil.rmtree(path / "0")
        zarr.create_array(path, name="0", data=pixels, chunks=(4, 20, 10))
        reads: list[Any] = []
        read = Present.__getitem__
        monkeypatch.setattr(Present, "__getitem__", lambda self, place: reads.append(place) or read(self, place))
        (layer,) = opened(path)
        np.testing.assert_array_equal([np.asarray(frame) for frame in layer.data], pixels)
        np.testing.assert_array_equal(list(layer_frames(layer)), pixels)
        assert [place for place in reads if place[0].stop] == [(slice(0, 4), slice(0, 20), slice(0, 30))]

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_without_a_pixel_size_the_unit_is_the_pixel(self, tmp_path: Path, suffix: str) -> None:
        save_stack(tmp_path / f"a{suffix}", Frames(stack(3, 20, 30), "ZYX"))
        (layer,) = opened(tmp_path / f"a{suffix}")
        assert list(layer.scale) == [1, 1, 1]
        assert {str(unit) for unit in layer.units} == {"pixel"}

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_channels_become_layers(self, tmp_path: Path, suffix: str) -> None:
        pixels, path = stack(3, 2, 20, 30), tmp_path / f"a{suffix}"
        save_stack(path, Frames(pixels, "TCYX", CALIBRATION))
        layers = opened(path)
        assert [layer.name for layer in layers] == ["a channel 0", "a channel 1"]
        for number, layer in enumerate(layers):
            assert isinstance(layer.data, dask.array.Array)
            np.testing.assert_array_equal(layer.data, pixels[:, number])
            assert layer.scale == pytest.approx([0.4, 0.1, 0.2])
            assert layer.axis_labels == ("t", "y", "x")

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_the_contrast_spans_the_grey_levels_there_are(self, tmp_path: Path, suffix: str) -> None:
        pixels, path = stack(3, 2, 20, 30), tmp_path / f"a{suffix}"
        pixels[1, 1] //= 10
        save_stack(path, Frames(pixels, "TCYX"))
        for number, layer in enumerate(opened(path)):
            levels = [pixels[1, number].min(), pixels[1, number].max()]
            assert layer.contrast_limits == levels
            assert layer.contrast_limits_range == levels

    def test_an_image_without_contrast_is_opened_all_the_same(self, tmp_path: Path) -> None:
        save_stack(tmp_path / "a.tif", Frames(np.full((3, 20, 30), np.nan, np.float32), "TYX"))
        (layer,) = opened(tmp_path / "a.tif")
        assert layer.data.shape == (3, 20, 30)

    def test_names_colours_and_contrast_of_channels_come_from_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ome.zarr"
        save_stack(path, Frames(stack(2, 20, 30), "CYX"))
        group = zarr.open_group(path)
        told = [
            {"label": "DAPI", "color": "0000FF", "window": {"start": 10, "end": 90}},
            {"label": "GFP", "color": "00FF00", "window": {"start": 20, "end": 70}},
        ]
        group.attrs["ome"] = {**group.attrs["ome"], "omero": {"channels": told}}
        layers = opened(path)
        assert [layer.name for layer in layers] == ["a DAPI", "a GFP"]
        assert [layer.contrast_limits for layer in layers] == [[10, 90], [20, 70]]
        assert [layer.colormap.name for layer in layers] == ["blue", "green"]
        told[0]["window"] = {"start": 5}
        told[1]["color"] = "no colour"
        group.attrs["ome"] = {**group.attrs["ome"], "omero": {"channels": told}}
        assert [layer.name for layer in opened(path)] == ["a DAPI", "a GFP"]

    def test_an_image_of_several_resolutions_is_opened_with_all_of_them(self, tmp_path: Path) -> None:
        pixels = stack(2, 40, 4100)
        save_stack(tmp_path / "a.ome.zarr", Frames(pixels, "TYX", CALIBRATION))
        with tifffile.TiffWriter(tmp_path / "a.tif", ome=True) as tiff:
            common: dict[str, Any] = {"photometric": "minisblack", "tile": (16, 16)}
            tiff.write(pixels, subifds=1, metadata={"axes": "TYX"}, **common)
            tiff.write(pixels[:, ::2, ::2], subfiletype=1, **common)
        for name, count in (("a.ome.zarr", 3), ("a.tif", 2)):
            (layer,) = opened(tmp_path / name)
            assert layer.multiscale
            assert [level.shape[-1] for level in layer.data] == [4100, 2050, 1025][:count]
            np.testing.assert_array_equal(layer.data[0], pixels)
            assert layer_frames(layer).shape == pixels.shape

    def test_only_what_is_looked_at_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ome.zarr"
        save_stack(path, Frames(stack(5, 20, 30), "TYX"))
        for chunk in (path / "0" / "c").glob("[134]/0/0"):
            chunk.write_bytes(b"damaged")
        (layer,) = opened(path)
        assert np.asarray(layer.data[2]).shape == (20, 30)
        with pytest.raises(RuntimeError):
            np.asarray(layer.data[1])

    def test_an_image_of_one_frame_and_one_in_a_converted_file(self, tmp_path: Path) -> None:
        for number in range(2):
            save_stack(tmp_path / f"{number}.zarr", Frames(stack(20, 30)))
            (tmp_path / "all.zarr").mkdir(exist_ok=True)
            (tmp_path / f"{number}.zarr").rename(tmp_path / "all.zarr" / str(number))
        zarr.create_group(tmp_path / "all.zarr", attributes={"ome": {"version": "0.5", "bioformats2raw.layout": 3}})
        layers = opened(tmp_path / "all.zarr")
        assert [(layer.name, layer.data.shape) for layer in layers] == [("all 0", (20, 30)), ("all 1", (20, 30))]

    def test_what_it_cannot_read_is_left_to_others(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "good.tif", stack(8, 8))
        (tmp_path / "cut.tif").write_bytes((tmp_path / "good.tif").read_bytes()[:60])
        (tmp_path / "text.tif").write_text("text")
        (tmp_path / "folder").mkdir()
        zarr.create_array(tmp_path / "plain.zarr", shape=(4, 4), dtype="u1")
        for name in ("cut.tif", "text.tif", "missing.tif", "folder", "plain.zarr", "missing.zarr"):
            assert get_reader(str(tmp_path / name)) is None, name
        assert get_reader([str(tmp_path / "good.tif"), str(tmp_path / "picture.png")]) is None
        assert get_reader(str(tmp_path / "good.tif")) is not None


@pytest.mark.usefixtures("plugin")
class TestSaving:
    @pytest.mark.parametrize("suffix", [".ome.tif", ".tif", ".ome.zarr", ".zarr"])
    def test_pixel_size_and_units_are_kept(self, tmp_path: Path, suffix: str) -> None:
        units = ("ms", "um", "nm", "nm")
        pixels = stack(3, 2, 20, 30)
        layer = Image(pixels, scale=(50, 0.5, 65, 65), units=units, axis_labels=("t", "z", "y", "x"))
        path = tmp_path / f"a{suffix}"
        assert layer.save(str(path), plugin="napari-care-losses") == [str(path)]
        frames = read_stack(path)
        assert frames.axes == "TZYX"
        assert frames.dtype == np.uint16
        assert frames.calibration.pixel_size == pytest.approx((0.065, 0.065))
        assert frames.calibration.z_step == pytest.approx(0.5)
        assert frames.calibration.time_step == pytest.approx(0.05)
        np.testing.assert_array_equal(np.stack(list(frames)).reshape(pixels.shape), pixels)

    def test_a_restored_stack_that_is_not_whole_keeps_its_gaps(self, tmp_path: Path) -> None:
        partial = PartialStack(np.zeros((2, 8, 8), np.float32))
        partial.fill(1, np.ones((8, 8), np.float32))
        Image(partial, contrast_limits=(0, 1)).save(str(tmp_path / "a.ome.zarr"), plugin="napari-care-losses")
        frames = read_stack(tmp_path / "a.ome.zarr")
        assert np.isnan(frames[0]).all()
        assert (frames[1] == 1).all()

    def test_of_several_resolutions_the_full_one_is_saved(self, tmp_path: Path) -> None:
        pixels = stack(2, 64, 64)
        layer = Image([pixels, pixels[:, ::2, ::2]], multiscale=True)
        layer.save(str(tmp_path / "a.ome.zarr"), plugin="napari-care-losses")
        image = open_ome_zarr(tmp_path / "a.ome.zarr")
        assert [level.shape for level in image.levels] == [(2, 64, 64)]

    @pytest.mark.parametrize("name", ["a.ome.tif", "a.tif", "a.tiff"])
    @pytest.mark.parametrize("shape", [(20, 30, 3), (5, 20, 30, 3), (20, 30, 4)])
    @pytest.mark.parametrize("plugin_name", [None, "napari-care-losses"])
    def test_a_colour_image_is_saved_as_tiff(
        self, tmp_path: Path, name: str, shape: tuple[int, ...], plugin_name: str | None
    ) -> None:
        pixels = stack(*shape).astype(np.uint8)
        count = len(shape) - 1
        labels, units = ("t", "y", "x")[-count:], ("s", "um", "um")[-count:]
        layer = Image(pixels, rgb=True, scale=[0.5] * count, units=units, axis_labels=labels)
        assert layer.save(str(tmp_path / name), plugin=plugin_name) == [str(tmp_path / name)]
        np.testing.assert_array_equal(tifffile.imread(tmp_path / name), pixels)
        (again,) = opened(tmp_path / name)
        assert again.rgb
        # of the same name, napari's own writer of .tif goes first
        if plugin_name or name == "a.ome.tif":
            assert again.axis_labels == labels
            assert again.scale == pytest.approx([0.5] * count)
        np.testing.assert_array_equal(again.data, pixels)
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_a_colour_image_is_not_saved_as_ome_zarr(self, tmp_path: Path) -> None:
        data, attributes, _ = Image(np.zeros((8, 8, 3), np.uint8), rgb=True).as_layer_data_tuple()
        with pytest.raises(InputError, match="save it as TIFF"):
            write_image(str(tmp_path / "a.zarr"), data, attributes)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr"])
    def test_name_colour_contrast_and_position_are_kept(self, tmp_path: Path, suffix: str) -> None:
        options: dict[str, Any] = {"colormap": "cyan", "contrast_limits": (20, 700), "name": "DAPI"}
        layer = Image(stack(20, 30), scale=(0.1, 0.1), translate=(-300, 250), units=("um", "um"), **options)
        layer.save(str(tmp_path / f"a{suffix}"), plugin="napari-care-losses")
        (channel,) = read_stack(tmp_path / f"a{suffix}").channels
        assert (channel["label"], channel["color"]) == ("DAPI", "00FFFF")
        if suffix == ".ome.zarr":
            assert channel["window"] == {"start": 20.0, "end": 700.0}
        (again,) = opened(tmp_path / f"a{suffix}")
        assert again.translate == pytest.approx([-300, 250])


@pytest.mark.usefixtures("plugin")
class TestWhatAFileHolds:
    def test_every_image_of_a_file_becomes_a_layer(self, tmp_path: Path) -> None:
        pixels = stack(3, 4, 20, 30)
        with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tiff:
            for one in pixels:
                tiff.write(one, photometric="minisblack", metadata={"axes": "TYX"})
        layers = opened(tmp_path / "a.ome.tif")
        assert [layer.name for layer in layers] == ["a 0", "a 1", "a 2"]
        for layer, one in zip(layers, pixels, strict=True):
            np.testing.assert_array_equal(layer.data, one)

    def test_pages_that_nothing_tells_apart_are_one_stack(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said: list[str] = []
        monkeypatch.setattr("napari.utils.notifications.show_warning", said.append)
        pixels = stack(5, 20, 30)
        for one in pixels:
            tifffile.imwrite(tmp_path / "a.tif", one, append=True)
        (layer,) = opened(tmp_path / "a.tif")
        np.testing.assert_array_equal(layer.data, pixels)
        assert len(said) == 1
        assert "one page each that nothing tells apart" in said[0]

    def test_frames_that_are_missing_are_left_out_and_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said: list[str] = []
        monkeypatch.setattr("napari.utils.notifications.show_warning", said.append)
        pixels = stack(5, 20, 30)
        described = "ImageJ=1.53t\nimages=8\nframes=8\n"
        with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
            for one in pixels:
                tiff.write(one, photometric="minisblack", metadata=None, description=described, compression="zlib")
        (layer,) = opened(tmp_path / "a.tif")
        np.testing.assert_array_equal(layer.data, pixels)
        assert len(said) == 1
        assert "3 of 8 frames are missing" in said[0]
        # a page within
        data = bytearray((tmp_path / "a.tif").read_bytes())
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            place = tiff.pages[2].tags["StripOffsets"].valueoffset
        data[place : place + 4] = (10**8).to_bytes(4, "little")
        (tmp_path / "b.tif").write_bytes(data)
        (layer,) = opened(tmp_path / "b.tif")
        np.testing.assert_array_equal(layer.data, pixels[[0, 1, 3, 4]])
        np.testing.assert_array_equal(np.asarray(layer.data[1:3]), pixels[[1, 3]])

    def test_a_stack_that_broke_off_is_refused_in_words(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        described = "ImageJ=1.53t\nimages=4\nslices=4\n"
        tifffile.imwrite(path, stack(20, 30), photometric="minisblack", metadata=None, description=described)
        with pytest.raises(UnreadableError, match="3 of 4 frames are missing"):
            opened(path)

    def test_missing_chunks_of_ome_zarr_are_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        said: list[str] = []
        monkeypatch.setattr("napari.utils.notifications.show_warning", said.append)
        save_stack(tmp_path / "a.zarr", Frames(stack(3, 20, 30), "TYX"))
        (tmp_path / "a.zarr" / "0" / "c" / "1" / "0" / "0").unlink()
        opened(tmp_path / "a.zarr")
        assert len(said) == 1
        assert "1 of 3 chunks are not there" in said[0]

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    def test_colour_is_opened_as_colour(self, tmp_path: Path, dtype: type) -> None:
        pixels = (stack(4, 20, 30, 3) % 2).astype(dtype)
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
        (layer,) = opened(tmp_path / "a.tif")
        assert layer.rgb
        assert layer.data.chunksize == (1, 20, 30, 3)
        np.testing.assert_array_equal(layer.data, pixels)

    @pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.uint8])
    def test_labels_are_opened_as_an_image_and_as_labels_where_asked(self, tmp_path: Path, dtype: type) -> None:
        pixels = stack(4, 20, 30).astype(dtype)
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
        viewer = ViewerModel()
        for kind in ("image", "labels"):
            (layer,) = viewer.open(str(tmp_path / "a.tif"), plugin="napari-care-losses", layer_type=kind)
            assert layer._type_string == kind
            np.testing.assert_array_equal(layer.data, pixels)

    @pytest.mark.parametrize("name", ["a.tif", "a.ome.zarr"])
    def test_several_files_become_one_stack(self, tmp_path: Path, name: str) -> None:
        paths, pixels = [], stack(3, 2, 20, 30)
        for number, one in enumerate(pixels):
            paths.append(str(tmp_path / f"{number}{name}"))
            save_stack(paths[-1], Frames(one, "TYX", CALIBRATION))
        (layer,) = ViewerModel().open(paths, stack=True, plugin="napari-care-losses")
        np.testing.assert_array_equal(layer.data, pixels)
        assert layer.axis_labels == ("file", "t", "y", "x")
        assert layer.scale == pytest.approx([1, 0.4, 0.1, 0.2])
        layers = ViewerModel().open(paths, stack=False, plugin="napari-care-losses")
        assert [one.data.shape for one in layers] == [(2, 20, 30)] * 3

    def test_files_of_colour_and_of_channels_are_stacked(self, tmp_path: Path) -> None:
        for number in range(2):
            tifffile.imwrite(tmp_path / f"c{number}.tif", np.zeros((8, 8, 3), np.uint8), photometric="rgb")
            save_stack(tmp_path / f"d{number}.tif", Frames(stack(2, 20, 30), "CYX"))
        viewer = ViewerModel()
        colour = viewer.open([str(tmp_path / f"c{n}.tif") for n in range(2)], stack=True, plugin="napari-care-losses")
        assert [(one.rgb, one.data.shape) for one in colour] == [(True, (2, 8, 8, 3))]
        grey = viewer.open([str(tmp_path / f"d{n}.tif") for n in range(2)], stack=True, plugin="napari-care-losses")
        assert [one.data.shape for one in grey] == [(2, 20, 30)] * 2

    def test_files_that_do_not_fit_are_refused_in_words(self, tmp_path: Path) -> None:
        save_stack(tmp_path / "a.tif", Frames(stack(20, 30)))
        save_stack(tmp_path / "b.tif", Frames(stack(20, 31)))
        (tmp_path / "c.tif").write_text("text")
        for name, words in (("b.tif", "b.tif .20 x 31 YX, uint16. and a.tif .20 x 30 YX"), ("c.tif", "as TIFF")):
            with pytest.raises(InputError, match=words):
                ViewerModel().open(
                    [str(tmp_path / "a.tif"), str(tmp_path / name)], stack=True, plugin="napari-care-losses"
                )
