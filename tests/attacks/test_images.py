"""Attacks by images fail: TIFF files and OME-Zarr that lie about their sizes, name other files, or hold code."""

import json
import os
import pickle
import struct
from itertools import pairwise

import numpy as np
import pytest
import tifffile
from fixtures.cli_runs import names, write

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Frames
from napari_care_losses.io.ome_zarr_reader import read_ome_zarr
from napari_care_losses.io.ome_zarr_writer import OmeZarrStackWriter
from napari_care_losses.io.tiff_reader import read_tiff
from napari_care_losses.plugin.reader import get_reader

STACK = np.arange(3 * 20 * 24, dtype=np.uint16).reshape(3, 20, 24)


def tags(data):
    """Return where the entries of a little-endian file's first table stand, by tag, and where its end does."""
    (table,) = struct.unpack_from("<L", data, 4)
    (count,) = struct.unpack_from("<H", data, table)
    places = [table + 2 + 12 * number for number in range(count)]
    return {struct.unpack_from("<H", data, place)[0]: place for place in places}, table + 2 + 12 * count


def with_values(path, **values):
    """Change values of the first table: tag_257=... for the height."""
    data = bytearray(path.read_bytes())
    places, _ = tags(data)
    for name, value in values.items():
        # as a long, of which there is one
        struct.pack_into("<HLL", data, places[int(name[4:])] + 2, 4, 1, value)
    path.write_bytes(data)


class TestTiff:
    """Files that a microscope never writes."""

    def test_pages_in_a_circle_are_noticed(self, tmp_path):
        """The library would follow them without end, and fill the memory with pages."""
        path = tmp_path / "a.tif"
        write(path, STACK, metadata=None)
        data = bytearray(path.read_bytes())
        _, following = tags(data)
        second = struct.unpack_from("<L", data, following)[0]
        for place in (struct.unpack_from("<L", data, 4)[0], second):
            (count,) = struct.unpack_from("<H", data, second)
            struct.pack_into("<L", data, second + 2 + 12 * count, place)
            path.write_bytes(data)
            with pytest.raises(InputError, match="comes back to one of them"):
                read_tiff(path)
            assert get_reader(str(path)) is None

    @pytest.mark.parametrize("order", "<>")
    @pytest.mark.parametrize("bigtiff", [False, True])
    def test_pages_in_a_row_are_read_in_every_kind_of_file(self, tmp_path, order, bigtiff):
        write(tmp_path / "a.tif", STACK, metadata=None, bigtiff=bigtiff, byteorder=order)
        assert np.array_equal(np.stack(list(read_tiff(tmp_path / "a.tif"))), STACK)

    @pytest.mark.parametrize("values", [{"tag_256": 2**30, "tag_257": 2**30}, {"tag_257": 2**31}, {"tag_256": 2**24}])
    @pytest.mark.parametrize("compression", [None, "zlib", "zstd"])
    def test_wrong_sizes_are_refused(self, tmp_path, values, compression):
        path = tmp_path / "a.tif"
        write(path, STACK[0], compression=compression, metadata=None)
        with_values(path, **values)
        with pytest.raises(InputError, match=r"cut short|claims frames of|cannot be read|takes"):
            _ = read_tiff(path)[0]

    @pytest.mark.parametrize(
        "name",
        ["../secret.tif", "/etc/passwd", "..\\secret.tif", "C:\\x.tif", "sub/x.tif", "..", "&#46;&#46;/secret.tif"],
    )
    def test_parts_of_a_stack_are_taken_from_its_own_folder_only(self, tmp_path, name):
        inside = tmp_path / "inside"
        inside.mkdir()
        write(tmp_path / "secret.tif", STACK + 1)
        path = inside / "a.ome.tif"
        write(path, STACK, metadata={"axes": "TYX"}, ome=True)
        with tifffile.TiffFile(path) as tiff:
            xml = tiff.ome_metadata
        uuid = f'<UUID FileName="{name}">urn:uuid:00000000-0000-0000-0000-000000000000</UUID>'
        start = xml.index("<TiffData")
        changed = (
            xml[:start] + f'<TiffData IFD="0" PlaneCount="3">{uuid}</TiffData>' + xml[xml.index("/>", start) + 2 :]
        )
        tifffile.imwrite(path, STACK, photometric="minisblack", description=changed, metadata=None)
        with pytest.raises(InputError, match="not trusted: it names a file"):
            read_tiff(path)

    @pytest.mark.parametrize(
        "entities",
        [
            '<!ENTITY a "aaaaaaaaaa">' + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in pairwise("abcdefghi")),
            '<!ENTITY i SYSTEM "file:///etc/passwd">',
        ],
    )
    def test_entities_neither_grow_nor_lead_elsewhere(self, tmp_path, entities):
        path = tmp_path / "a.ome.tif"
        write(path, STACK, metadata={"axes": "TYX"}, ome=True)
        with tifffile.TiffFile(path) as tiff:
            xml = tiff.ome_metadata
        head, _, rest = xml.partition("<OME")
        changed = f"{head}<!DOCTYPE OME [{entities}]><OME{rest}".replace('Name="', 'Name="&i;', 1)
        tifffile.imwrite(path, STACK, photometric="minisblack", description=changed, metadata=None)
        try:
            frames = read_tiff(path)
        except InputError:
            return
        assert frames.shape == STACK.shape


class Marked:
    """Leaves a folder where it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def zarr_image(path, axes="TYX"):
    stack = OmeZarrStackWriter(path, Frames(STACK, axes), dtype=np.uint16, job={}, resume=False, zarr_version="0.4")
    for index, frame in enumerate(STACK):
        stack.write(index, frame)
    stack.close()
    return path


def changed(path, edit):
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))


class TestZarr:
    """Metadata that name other files, sizes and codecs."""

    @pytest.mark.parametrize("where", ["compressor", "filters"])
    def test_chunks_are_never_unpickled(self, tmp_path, monkeypatch, where):
        """A codec of the older format unpickles whatever a chunk holds, unless it is a late version that asks."""
        import numcodecs.pickles

        monkeypatch.setattr(numcodecs.pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)
        path = zarr_image(tmp_path / "a.ome.zarr")
        codec = {"id": "pickle", "protocol": 5}
        changed(path / "0" / ".zarray", lambda values: values.update({"compressor": None}))
        changed(path / "0" / ".zarray", lambda values: values.update({where: [codec] if where == "filters" else codec}))
        for chunk in (path / "0").rglob("*"):
            if chunk.is_file() and not chunk.name.startswith("."):
                chunk.write_bytes(pickle.dumps(Marked(tmp_path / "mark")))
        with pytest.raises(InputError, match=r"packed by 'pickle'|is missing or damaged"):
            _ = read_ome_zarr(path)[0]
        assert get_reader(str(path)) is None
        assert names(tmp_path) == ["a.ome.zarr"]

    def test_codecs_that_are_not_for_numbers_are_not_read(self, tmp_path):
        path = zarr_image(tmp_path / "a.ome.zarr")
        changed(path / "0" / ".zarray", lambda values: values.update({"compressor": {"id": "base64"}}))
        with pytest.raises(InputError, match="packed by 'base64', which is not read here"):
            read_ome_zarr(path)

    @pytest.mark.parametrize(
        "name", ["../other.ome.zarr/0", "/etc", "..", "C:\\x", "..\\x", "0/../../other.ome.zarr/0", "a\0"]
    )
    def test_arrays_are_taken_from_the_image_s_own_folder_only(self, tmp_path, name):
        zarr_image(tmp_path / "other.ome.zarr")
        path = zarr_image(tmp_path / "a.ome.zarr")
        changed(path / ".zattrs", lambda values: values["multiscales"][0]["datasets"][0].update(path=name))
        with pytest.raises(InputError, match="outside its folder"):
            read_ome_zarr(path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"shape": [3, 2**30, 2**30], "chunks": [1, 2**29, 2**29]}, "takes .* GB to read"),
            ({"shape": [3, 20, 2**30], "chunks": [1, 1, 1]}, "is stored in 21,474,836,480 pieces"),
            ({"chunks": [1, 2**30, 2**30]}, "takes .* GB to read"),
        ],
    )
    def test_absurd_sizes_are_refused_when_a_frame_is_asked_for(self, tmp_path, change, message):
        path = zarr_image(tmp_path / "a.ome.zarr")
        changed(path / "0" / ".zarray", lambda values: values.update(change))
        frames = read_ome_zarr(path)
        with pytest.raises(InputError, match=message):
            _ = frames[0]

    def test_scales_beyond_any_number_are_refused(self, tmp_path):
        path = zarr_image(tmp_path / "a.ome.zarr")
        for value in (10**400, 1e300):

            def edit(values, value=value):
                values["multiscales"][0]["datasets"][0]["coordinateTransformations"] = [
                    {"type": "scale", "scale": [1, value, 1]}
                ]

            changed(path / ".zattrs", edit)
            with pytest.raises(InputError, match="expected a scale of 3 numbers"):
                read_ome_zarr(path)

    def test_labels_are_shown_without_what_moves_a_cursor(self, tmp_path):
        for number, label in enumerate(("x\x1b[2J\u202e", 7, None, {"a": 1})):
            path = zarr_image(tmp_path / f"{number}.ome.zarr", axes="CYX")
            window = {"start": 10**400, "end": float("inf")}
            channels = [{"label": label, "window": window}] * 3
            changed(path / ".zattrs", lambda values, channels=channels: values.update(omero={"channels": channels}))
            reader = get_reader(str(path))
            ((_, options, _),) = reader(str(path))
            assert all(name.isprintable() for name in options["name"])
            assert np.isfinite(np.ravel(options.get("contrast_limits", [0, 1]))).all()
