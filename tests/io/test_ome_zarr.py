"""OME-Zarr: what is written is read again, frames never share a chunk, damaged files raise clear errors."""

import json
import shutil
from itertools import islice

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_care_losses.errors import InputError, OutputError, ResumeError, UnreadableError
from napari_care_losses.images.axes import in_axes_of
from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.io.ome_zarr_reader import VERSIONS, Present, list_images, open_ome_zarr, read_ome_zarr
from napari_care_losses.io.ome_zarr_writer import OmeZarrStackWriter, halved
from napari_care_losses.io.stacks import bare_name, read_stack, save_frames, save_stack, size_and_time

CALIBRATION = Calibration(pixel_size=(0.1, 0.2), z_step=0.5, time_step=0.4)


def array_of(axes, dtype="uint16", seed=0, frame=(17, 23)):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 100, (*rng.integers(2, 4, len(axes) - 2), *frame)).astype(dtype)


def write(path, axes="TYX", version="0.5", **options):
    array = array_of(axes, **options)
    save_stack(path, Frames(array, axes, CALIBRATION), zarr_version=version)
    return array


def metadata_file(path, version):
    return path / ("zarr.json" if version == "0.5" else ".zattrs")


def edit(path, change, version="0.5"):
    """Change the OME metadata of an image by hand."""
    file = metadata_file(path, version)
    values = json.loads(file.read_text())
    change(values["attributes"]["ome"] if version == "0.5" else values)
    file.write_text(json.dumps(values))


@settings(max_examples=25, deadline=None)
@given(
    axes=st.sampled_from(["YX", "TYX", "ZYX", "CYX", "TZYX", "CTYX", "TZCYX", "ZTYX"]),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32", "float64", ">u2"]),
    version=st.sampled_from(VERSIONS),
    seed=st.integers(0, 99),
)
def test_what_is_written_is_read_again(tmp_path_factory, axes, dtype, version, seed):
    path = tmp_path_factory.mktemp("zarr") / "stack.ome.zarr"
    array = write(path, axes, version, dtype=dtype, seed=seed)
    stored = read_stack(path)
    assert stored.axes == "".join(axis for axis in "TCZ" if axis in axes) + "YX"
    frames = in_axes_of(stored, Frames(array, axes))
    assert frames.axes == axes
    np.testing.assert_array_equal(np.stack(list(frames)).reshape(array.shape), array)
    assert frames.calibration.pixel_size == pytest.approx((0.1, 0.2))
    assert frames.calibration.time_step == (0.4 if "T" in axes else None)
    assert frames.calibration.z_step == (0.5 if "Z" in axes else None)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("axes", ["TYX", "TZCYX"])
def test_a_chunk_of_several_frames_is_read_once(tmp_path, axes, version, monkeypatch):
    path = tmp_path / "a.ome.zarr"
    shape = (6, *(1 for _ in axes[1:-2]), 17, 23)
    array = np.random.default_rng(0).integers(1, 100, shape).astype(np.uint16)
    save_stack(path, Frames(array, axes), zarr_version=version)
    shutil.rmtree(path / "0")
    chunks, kind = (4, *shape[1:]), 3 if version == "0.5" else 2
    zarr.create_array(path, name="0", data=array, chunks=chunks, zarr_format=kind)
    reads = []
    read = Present.__getitem__
    monkeypatch.setattr(Present, "__getitem__", lambda self, place: reads.append(place) or read(self, place))
    np.testing.assert_array_equal(list(read_ome_zarr(path)), array.reshape(6, 17, 23))
    assert len(reads) == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_the_metadata_are_those_of_the_specification(tmp_path, version):
    path = tmp_path / "a.ome.zarr"
    write(path, "CTYX", version)
    group = zarr.open_group(path, mode="r")
    attributes = dict(group.attrs)
    ome = attributes["ome"] if version == "0.5" else attributes
    (multiscale,) = ome["multiscales"]
    assert group.metadata.zarr_format == (3 if version == "0.5" else 2)
    assert (ome if version == "0.5" else multiscale)["version"] == version
    assert multiscale["axes"] == [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "c", "type": "channel"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    (dataset,) = multiscale["datasets"]
    (scale,) = dataset["coordinateTransformations"]
    assert scale == {"type": "scale", "scale": pytest.approx([0.4, 1, 0.1, 0.2])}
    if version == "0.5":
        assert group[dataset["path"]].metadata.dimension_names == ("t", "c", "y", "x")
    else:
        assert json.loads((path / "0" / ".zarray").read_text())["dimension_separator"] == "/"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("frame", [(17, 23), (1500, 40), (40, 2100)])
def test_a_frame_is_a_whole_number_of_chunks_and_shares_no_shard(tmp_path, version, frame):
    path = tmp_path / "a.ome.zarr"
    write(path, "TYX", version, frame=frame)
    for level in open_ome_zarr(path).levels:
        assert level.chunks[0] == 1
        assert level.shards is None
        assert max(level.chunks[1:]) <= 1024
        # equal parts: no sliver of a chunk at the edge
        assert all(
            -(-size // chunk) * chunk - size < -(-size // chunk)
            for size, chunk in zip(level.shape, level.chunks, strict=True)
        )


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_large_frames_have_smaller_copies_centred_on_the_same_place(tmp_path, dtype):
    path = tmp_path / "a.ome.zarr"
    array = write(path, "TYX", frame=(40, 4101), dtype=dtype)
    image = open_ome_zarr(path)
    assert [level.shape[1:] for level in image.levels] == [(40, 4101), (20, 2051), (10, 1026)]
    expected = array[1, :, :4100].reshape(20, 2, 2050, 2).mean(axis=(1, 3))
    assert np.abs(image.levels[1][1][:, :2050] - expected).max() <= (0.5 if dtype == "uint16" else 1e-4)
    assert read_ome_zarr(path).shape == (array.shape[0], 40, 4101)
    datasets = dict(zarr.open_group(path, mode="r").attrs)["ome"]["multiscales"][0]["datasets"]
    scale, translation = datasets[2]["coordinateTransformations"]
    assert scale["scale"] == pytest.approx([0.4, 0.4, 0.8])
    assert translation["translation"] == pytest.approx([0, 0.15, 0.3])


def test_halving_averages_what_is_there():
    np.testing.assert_array_equal(halved(np.array([[1, 3, 5], [5, 7, 9]], np.float32)), [[4, 7]])
    assert halved(np.full((3, 3), 65535, np.uint16)).max() == 65535


def test_a_frame_of_zeros_is_stored_so_that_a_missing_file_is_a_lost_one(tmp_path):
    path = tmp_path / "a.ome.zarr"
    save_stack(path, Frames(np.zeros((2, 8, 8), np.float32)))
    assert len([file for file in (path / "0" / "c").rglob("*") if file.is_file()]) == 2


def test_a_stopped_image_is_resumed_in_its_own_version(tmp_path):
    frames, path = Frames(np.zeros((4, 20, 30), np.float32)), tmp_path / "o.zarr"
    OmeZarrStackWriter(path, frames, job={}, resume=False).suspend()
    with pytest.raises(ResumeError, match=r"wrote OME-Zarr 0.5, not 0.4"):
        OmeZarrStackWriter(path, frames, job={}, resume=True, zarr_version="0.4")


def test_a_folder_that_is_no_image_is_not_replaced(tmp_path):
    (tmp_path / "notes.zarr").mkdir()
    (tmp_path / "notes.zarr" / "precious.txt").write_text("")
    with pytest.raises(InputError, match="is no OME-Zarr image"):
        write(tmp_path / "notes.zarr")
    assert (tmp_path / "notes.zarr" / "precious.txt").exists()


def test_saving_can_be_stopped_and_leaves_nothing(tmp_path):
    frames = Frames(np.zeros((4, 8, 8), np.float32))
    saving = save_frames(tmp_path / "a.ome.zarr", frames, dtype="uint8")
    list(islice(saving, 2))
    saving.close()
    assert not list(tmp_path.iterdir())
    assert [saved.done for saved in save_frames(tmp_path / "a.ome.zarr", frames, dtype="uint8")] == [1, 2, 3, 4]
    assert read_stack(tmp_path / "a.ome.zarr").dtype == np.uint8


def test_the_five_axes_of_a_converter_are_read_as_those_that_matter(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr" / "0", zarr_format=2)
    array = np.arange(3 * 8 * 6, dtype=np.uint16).reshape(1, 1, 3, 8, 6)
    group.create_array("0", shape=array.shape, dtype=array.dtype, chunks=(1, 1, 2, 8, 6))[...] = array
    axes = [{"name": name} for name in "tczyx"]
    for axis, kind in zip(axes, ("time", "channel", "space", "space", "space"), strict=True):
        axis["type"] = kind
    for axis in axes[2:]:
        axis["unit"] = "nanometer"
    scale = [{"type": "scale", "scale": [1, 1, 500, 65, 65]}]
    group.attrs["multiscales"] = [
        {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    ]
    zarr.open_group(tmp_path / "a.zarr", mode="a", zarr_format=2).attrs["bioformats2raw.layout"] = 3
    frames = read_stack(tmp_path / "a.zarr")
    assert frames.axes == "ZYX"
    np.testing.assert_array_equal(np.stack(list(frames)), array[0, 0])
    assert frames.calibration == Calibration(pixel_size=(0.065, 0.065), z_step=0.5)
    shutil.copytree(tmp_path / "a.zarr" / "0", tmp_path / "a.zarr" / "1")
    assert [path.name for path in list_images(tmp_path / "a.zarr")] == ["0", "1"]
    with pytest.raises(InputError, match="holds 2 images: name one"):
        read_stack(tmp_path / "a.zarr")
    assert len(read_stack(tmp_path / "a.zarr" / "1")) == 3


def test_scales_of_the_whole_image_and_of_a_level_are_multiplied(tmp_path):
    path = tmp_path / "a.ome.zarr"
    write(path)
    edit(
        path,
        lambda ome: ome["multiscales"][0].update(coordinateTransformations=[{"type": "scale", "scale": [2, 3, 4]}]),
    )
    calibration = read_stack(path).calibration
    assert calibration.pixel_size == pytest.approx((0.3, 0.8))
    assert calibration.time_step == pytest.approx(0.8)


def test_an_unknown_unit_is_not_guessed(tmp_path):
    path = tmp_path / "a.ome.zarr"
    write(path)
    edit(path, lambda ome: ome["multiscales"][0]["axes"][1].update(unit="parsec"))
    assert read_stack(path).calibration == Calibration(time_step=0.4)


def multiscale(ome):
    return ome["multiscales"][0]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ome: ome.pop("multiscales"), "holds no OME-Zarr image"),
        (lambda ome: ome.update(multiscales=[]), "must be a list with a table"),
        (lambda ome: multiscale(ome).pop("axes"), "'axes' must be a list of named axes"),
        (lambda ome: multiscale(ome).update(axes=["t", "y", "x"]), "'axes' must be a list of named axes"),
        (lambda ome: multiscale(ome)["axes"].reverse(), "last two axes must be y and x, found x, y, t"),
        (lambda ome: multiscale(ome)["axes"].pop(0), "has 3 axes where its metadata name 2"),
        (lambda ome: multiscale(ome)["axes"][0].update(name="q", type="strange"), "expected the axes t, c and z"),
        (lambda ome: multiscale(ome).update(datasets=[]), "must list at least one array"),
        (lambda ome: multiscale(ome)["datasets"][0].pop("path"), "must name the path of its array"),
        (lambda ome: multiscale(ome)["datasets"][0].update(path="7"), "'7' is missing or damaged"),
        (
            lambda ome: multiscale(ome)["datasets"][0]["coordinateTransformations"][0].update(scale=[1, 2]),
            "expected a scale of 3 numbers",
        ),
        (
            lambda ome: multiscale(ome)["datasets"][0]["coordinateTransformations"][0].update(scale=[1, 0, 2]),
            "every scale must be above 0",
        ),
        (
            lambda ome: multiscale(ome)["datasets"][0].update(coordinateTransformations=7),
            "'coordinateTransformations' must be a list",
        ),
        (lambda ome: (ome.update(version="0.6"), multiscale(ome).update(version="0.6")), r"it is OME-Zarr 0.6"),
    ],
)
def test_damaged_metadata_raise_clear_errors(tmp_path, version, change, message):
    path = tmp_path / "a.ome.zarr"
    write(path, version=version)
    edit(path, change, version)
    with pytest.raises(InputError, match=message):
        read_stack(path)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"zarr_format": 9}'])
def test_damaged_files_raise_clear_errors(tmp_path, version, text):
    path = tmp_path / "a.ome.zarr"
    write(path, version=version)
    metadata_file(path, version).write_text(text)
    with pytest.raises(InputError):
        read_stack(path)


def test_a_damaged_chunk_is_an_error_when_its_frame_is_read(tmp_path):
    path = tmp_path / "a.ome.zarr"
    write(path)
    (path / "0" / "c" / "1" / "0" / "0").write_bytes(b"no chunk")
    frames = read_stack(path)
    frames[0]
    with pytest.raises(InputError, match="Frame 1 cannot be read"):
        frames[1]


def test_errors_name_other_folders_of_zarr(tmp_path):
    with pytest.raises(InputError, match="no file"):
        read_stack(tmp_path / "a.zarr")
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(InputError, match=r"expected a folder with zarr.json or .zattrs"):
        read_stack(tmp_path / "a.zarr")
    zarr.create_array(tmp_path / "array.zarr", shape=(4, 4), dtype="u1")
    with pytest.raises(InputError, match="a single Zarr array"):
        read_stack(tmp_path / "array.zarr")
    for word, message in (("plate", "a plate of wells"), ("well", "a well of a plate"), ("labels", "a list of labels")):
        zarr.create_group(tmp_path / f"{word}.zarr", attributes={"ome": {"version": "0.5", word: {}}})
        with pytest.raises(InputError, match=message):
            read_stack(tmp_path / f"{word}.zarr")


def test_names_and_changes_of_files(tmp_path):
    bare = {"a.ome.zarr": "a", "a.zarr": "a", "a.tif": "a", "a.b.TIFF": "a.b", "a.ome.tif": "a.ome", "a.lsm": "a"}
    assert {name: bare_name(tmp_path / name) for name in bare} == bare
    path = tmp_path / "a.ome.zarr"
    write(path)
    before = size_and_time(path)
    chunk = path / "0" / "c" / "1" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes() + b"more")
    assert size_and_time(path) != before


@pytest.mark.parametrize("version", VERSIONS)
def test_no_reader_takes_a_partial_image_for_a_whole_one(tmp_path, version):
    frames = Frames(np.ones((2, 8, 8), np.float32))
    stack = OmeZarrStackWriter(tmp_path / "a.ome.zarr", frames, job={}, resume=False, zarr_version=version)
    stack.write(0, frames[0])
    with pytest.raises(InputError, match="no 'multiscales'"):
        read_ome_zarr(stack.partial)
    stack.write(1, frames[1])
    stack.close()
    assert read_ome_zarr(tmp_path / "a.ome.zarr").shape == (2, 8, 8)


def test_an_image_moved_aside_by_a_killed_run_is_put_back(tmp_path):
    path = tmp_path / "a.ome.zarr"
    before = write(path)
    path.rename(tmp_path / ".a.ome.zarr.123.old")
    OmeZarrStackWriter(path, Frames(before), job={}, resume=False).suspend()
    np.testing.assert_array_equal(read_ome_zarr(path)[0], before[0])
    shutil.copytree(path, tmp_path / ".a.ome.zarr.123.old")
    OmeZarrStackWriter(path, Frames(before), job={}, resume=True).discard()
    assert [file.name for file in tmp_path.iterdir()] == ["a.ome.zarr"]


def test_half_written_chunks_are_left_out(tmp_path):
    frames = Frames(np.ones((1, 8, 8), np.float32))
    stack = OmeZarrStackWriter(tmp_path / "a.ome.zarr", frames, job={}, resume=False)
    stack.write(0, frames[0])
    (stack.partial / "0" / f"0.{'0123456789abcdef' * 2}.partial").write_bytes(b"half")
    stack.close()
    assert not list((tmp_path / "a.ome.zarr").rglob("*.partial"))


def test_an_image_that_is_gone_is_no_image_of_zeros(tmp_path):
    path = tmp_path / "a.ome.zarr"
    array = write(path)
    frames = read_ome_zarr(path)
    np.testing.assert_array_equal(frames[0], array[0])
    path.rename(tmp_path / "gone")
    with pytest.raises(UnreadableError, match=r"Frame 0 cannot be read .* no longer there"):
        frames[0]


def test_an_image_whose_folder_is_gone_is_not_written_to_another_disk(tmp_path):
    frames = Frames(np.ones((2, 8, 8), np.float32))
    stack = OmeZarrStackWriter(tmp_path / "a.ome.zarr", frames, job={}, resume=False)
    stack.write(0, frames[0])
    shutil.rmtree(stack.partial)
    with pytest.raises(OutputError, match="its folder is gone"):
        stack.write(1, frames[1])
    assert not stack.partial.exists()
