"""OME-Zarr images, versions 0.4 and 0.5: read lazily, with axes, scale and units."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError, UnreadableError
from napari_care_losses.images.axes import Rearranged
from napari_care_losses.images.frames import LEADING_AXES, Calibration, Frames, ImageMetadata
from napari_care_losses.io.ome_metadata import LARGEST_NUMBER, read_omero
from napari_care_losses.io.remote.address import MARKERS, RemotePath
from napari_care_losses.io.units import calibration_of
from napari_care_losses.io.untrusted_files import other_format

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

VERSIONS = ("0.5", "0.4")
"""Versions of OME-Zarr that are read and written; the first is written unless asked otherwise."""

CODECS = (
    *("blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"),
    *("bitround", "bytes", "delta", "fixedscaleoffset", "packbits", "quantize", "shuffle", "transpose"),
    *("adler32", "crc32", "crc32c", "fletcher32", "jenkins_lookup3", "sharding_indexed"),
)
"""Codecs of chunks that are read: those for numbers. Others run what a file holds (pickle)."""

MOST_COUNTED = 100_000
"""Chunks of an image up to which they are counted, which takes a second."""


@dataclass(frozen=True)
class OmeZarrImage:
    """One image of an OME-Zarr file, nothing of it read yet.

    Attributes
    ----------
    path : Path
        Its group.
    levels : list of zarr.Array
        From the full resolution to the coarsest, all with the same axes.
    axes : str
        A letter for each axis: T, Z, C in any order, then YX.
    scale, translation, units : tuple
        A number or name for each axis, of the full resolution; the unit is empty where the file names none.
    channels : sequence of dict
        Label, color, window and more of every channel, as the file has them; may be empty.
    rendering : dict
        What else the file says of rendering.
    name : str
        The image's name in the file, or its group's.
    """

    path: Path
    levels: list[Any]
    axes: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    units: tuple[str, ...]
    channels: Sequence[dict[str, Any]]
    rendering: dict[str, Any]
    name: str

    @property
    def calibration(self) -> Calibration:
        """Pixel size and steps; None where the unit is missing or unknown."""
        return calibration_of(dict(zip(self.axes, zip(self.scale, self.units, strict=True), strict=True)))

    @property
    def metadata(self) -> ImageMetadata:
        """Channels, rendering and position."""
        placed = zip(self.axes, zip(self.translation, self.units, strict=True), strict=True)
        position = {axis: place for axis, place in placed if axis != "C" and place[0]}
        return ImageMetadata(channels=self.channels, rendering=self.rendering, position=position)

    def present(self) -> list[Present]:
        """Return the levels as arrays that notice when the image is gone."""
        return [Present(level, self.path) for level in self.levels]


class Present:
    """An array of the image in a folder; once that is gone, zarr alone would read zeros, as of empty chunks."""

    def __init__(self, array: Any, path: Path) -> None:
        self._array, self._path = array, path
        self.shape, self.dtype, self.ndim, self.chunks = array.shape, array.dtype, array.ndim, array.chunks

    def __getitem__(self, place: Any) -> Any:
        """Return the pixels at a place.

        Raises
        ------
        FileNotFoundError
            If the image has been removed, or its drive.
        """
        pixels = self._array[place]
        # a server is not asked again where it has just sent something
        is_sent = isinstance(self._path, RemotePath) and bool((pixels != self._array.fill_value).any())
        if not is_sent and not is_zarr(self._path):
            raise FileNotFoundError(f"{self._path} is no longer there")
        return pixels


def is_zarr(path: Path) -> bool:
    """Return whether a path is a folder of Zarr, by what lies in it."""
    return path.is_dir() and any((path / marker).is_file() for marker in MARKERS)


def read_ome_zarr(path: Path) -> Frames:
    """Open the full resolution of an image as lazy frames, without axes of a single step; see `open_ome_zarr`."""
    image = open_ome_zarr(path)
    try:
        # many writers store five axes whatever the image has
        data: Present | Rearranged = image.present()[0]
        kept = [axis for axis, size in enumerate(data.shape[:-2]) if size != 1]
        if len(kept) < len(image.axes) - 2:
            data = Rearranged(data, kept)
        axes = "".join(image.axes[axis] for axis in kept) + "YX"
        return Frames(
            data, axes, image.calibration, note=missing_chunks(path, image.levels[0]), metadata=image.metadata
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def missing_chunks(path: Path, array: Any) -> str:
    """Return a note on chunks that are not there and read as the fill value: empty, or lost; a server is not asked."""
    if array.nchunks > MOST_COUNTED or isinstance(path, RemotePath):
        return ""
    missing = array.nchunks - array.nchunks_initialized
    if not missing:
        return ""
    return f"{path}: {missing} of {array.nchunks} chunks are not there and read as {array.fill_value}: empty, or lost?"


def open_ome_zarr(path: Path) -> OmeZarrImage:
    """Open an OME-Zarr image.

    Parameters
    ----------
    path : Path
        The image's group; a file converted from another format may hold its only image one group further down.

    Raises
    ------
    InputError
        If it is missing, damaged, another version, or holds another number of images than one.
    """
    images = list_images(path)
    if len(images) > 1:
        shown = ", ".join(str(image) for image in images[:3])
        raise InputError(f"{path} holds {len(images)} images: name one of them ({shown}{', ...' * (len(images) > 3)}).")
    return _open_image(images[0])


def list_images(path: Path) -> list[Path]:
    """Return the groups of all images in an OME-Zarr file: itself, or the series it was converted from.

    Raises
    ------
    InputError
        If it is missing, damaged, or holds something else.
    """
    metadata = group_metadata(path)
    if "multiscales" in metadata:
        return [path]
    if "bioformats2raw.layout" in metadata:
        series = [group for group in path.iterdir() if group.name.isdigit() and is_zarr(group)]
        if series:
            return sorted(series, key=lambda group: int(group.name))
    for kind, reason in (
        ("plate", f"a plate of wells: name the image of one field, such as {path.name}/A/1/0 (row, column, field)"),
        ("well", f"a well of a plate: name the image of one field, such as {path.name}/0"),
        ("labels", "a list of labels: name the image that they belong to"),
    ):
        if kind in metadata:
            raise InputError(f"{path} is {reason}.")
    raise InputError(
        f"{path} is Zarr, but holds no OME-Zarr image (no 'multiscales' in its attributes): "
        "name an image's group, or convert it to OME-Zarr."
    )


def group_metadata(path: Path) -> dict[str, Any]:
    """Return the OME attributes of a group, wherever its version keeps them.

    Raises
    ------
    InputError
        If it is missing, damaged, or no group.
    """
    import zarr

    if isinstance(path, RemotePath) and not is_zarr(path):
        raise InputError(f"There is no OME-Zarr at {path}: expected zarr.json, .zgroup or .zattrs there.")
    if not path.exists():
        raise InputError(f"There is no file {path}.")
    if not is_zarr(path):
        problem = other_format(path) or f"{path} is no OME-Zarr: expected a folder with zarr.json or .zattrs in it."
        raise InputError(problem)
    try:
        found = zarr.open(_store_of(path), mode="r")
        attributes = dict(found.attrs)
    except InputError:
        raise
    except Exception as error:  # damaged metadata make zarr raise errors of every kind
        raise InputError(f"{path} cannot be read as Zarr ({type(error).__name__}: {error}); is it whole?") from error
    if isinstance(found, zarr.Array):
        raise InputError(f"{path} is a single Zarr array without OME-Zarr metadata: name the group it belongs to.")
    metadata = attributes.get("ome", attributes)
    if not isinstance(metadata, dict):
        raise InputError(f"{path}: expected a table of OME-Zarr metadata under 'ome', found {metadata!r:.60}.")
    return metadata


def _open_image(path: Path) -> OmeZarrImage:
    metadata = group_metadata(path)
    try:
        multiscales = metadata["multiscales"]
        if not isinstance(multiscales, list) or not multiscales or not isinstance(multiscales[0], dict):
            raise InputError("'multiscales' must be a list with a table in it")
        first = multiscales[0]
        version = str(metadata.get("version", first.get("version", "0.4")))
        if not version.startswith(VERSIONS):
            raise InputError(f"it is OME-Zarr {version}, and this program reads {' and '.join(sorted(VERSIONS))}")
        axes, units = _axes(first.get("axes"))
        datasets = first.get("datasets")
        if not isinstance(datasets, list) or not datasets:
            raise InputError("'datasets' must list at least one array")
        levels = [_array(path, dataset, len(axes)) for dataset in datasets]
        transformations = [one.get("coordinateTransformations") for one in (datasets[0], first)]
        scale, translation = _placed(transformations, len(axes))
    except InputError as error:
        raise InputError(
            f"{path}: {error}. Its OME-Zarr metadata cannot be used: convert or write the image anew."
        ) from error
    channels, rendering = read_omero(metadata)
    name = first.get("name")
    label = name if isinstance(name, str) and name else path.name
    return OmeZarrImage(path, levels, axes, scale, translation, units, channels, rendering, label)


def _axes(listed: Any) -> tuple[str, tuple[str, ...]]:
    """Return the letters of all axes, and the unit of each."""
    if not isinstance(listed, list) or not all(
        isinstance(one, dict) and isinstance(one.get("name"), str) for one in listed
    ):
        raise InputError(f"'axes' must be a list of named axes, found {listed!r:.80}")
    names = [one["name"].lower() for one in listed]
    if len(names) < 2 or names[-2:] != ["y", "x"]:
        raise InputError(f"the last two axes must be y and x, found {', '.join(names) or 'none'}")
    letters = "".join(_letter(one) for one in listed[:-2])
    if not set(letters) <= set(LEADING_AXES) or len(set(letters)) < len(letters):
        raise InputError(f"expected the axes t, c and z at most once each before y and x, found {', '.join(names)}")
    return letters + "YX", tuple(one["unit"] if isinstance(one.get("unit"), str) else "" for one in listed)


def _letter(axis: dict[str, Any]) -> str:
    by_type = {"time": "T", "channel": "C", "space": "Z"}.get(str(axis.get("type")))
    return by_type or axis["name"][:1].upper() or "?"


def _array(path: Path, dataset: Any, ndim: int) -> Any:
    import zarr

    name = inner_name(dataset.get("path") if isinstance(dataset, dict) else None, "datasets")
    try:
        array = zarr.open_array(_store_of(path / name), mode="r")
    except UnreadableError:
        raise
    except Exception as error:  # as in `_metadata`
        raise InputError(f"its array {name!r} is missing or damaged ({type(error).__name__}: {error})") from error
    unknown = [codec for codec in _codecs(array.metadata.to_dict()) if codec not in CODECS]
    if unknown:
        raise InputError(f"its array {name!r} is packed by {unknown[0]!r:.40}, which is not read here")
    if array.ndim != ndim:
        raise InputError(f"its array {name!r} has {array.ndim} axes where its metadata name {ndim}")
    return array


def _store_of(path: Path) -> Any:
    """Return what zarr opens: the path, or what reads an address."""
    if not isinstance(path, RemotePath):
        return path
    from napari_care_losses.io.remote.store import RemoteStore

    return RemoteStore(str(path))


def inner_name(name: Any, kind: str) -> str:
    """Return the name of a group or array; raises `InputError` if it leads out of the folder that names it."""
    if not isinstance(name, str) or not name:
        raise InputError(f"every entry of {kind!r} must name the path of its array or group, found {name!r:.60}")
    if PureWindowsPath(name).drive or "\0" in name or {"", ".."} & set(name.replace("\\", "/").split("/")):
        raise InputError(f"it names {name!r:.60} in {kind!r}, outside its folder")
    return name


def _codecs(metadata: dict[str, Any]) -> list[str]:
    """Return the names of all codecs that an array's chunks, and the shards around them, go through."""
    if metadata["zarr_format"] == 2:
        packing = [codec for codec in (*(metadata["filters"] or ()), metadata["compressor"]) if codec is not None]
        return [str((codec.get_config() if hasattr(codec, "get_config") else codec)["id"]) for codec in packing]
    found = []
    for codec in metadata["codecs"]:
        found.append(str(codec["name"]).removeprefix("numcodecs."))
        inside = codec.get("configuration", {})
        for key in ("codecs", "index_codecs"):
            found += _codecs({"zarr_format": 3, "codecs": inside.get(key, ())})
    return found


def _placed(lists: Sequence[Any], ndim: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return scale and translation of all transformations, one list after the other."""
    scale, translation = np.ones(ndim), np.zeros(ndim)
    for transformations in lists:
        if transformations is None:
            continue
        if not isinstance(transformations, list) or not all(isinstance(one, dict) for one in transformations):
            raise InputError(f"'coordinateTransformations' must be a list of tables, found {transformations!r:.80}")
        for one in transformations:
            if one.get("type") == "scale":
                factors = _numbers(one, "scale", ndim)
                if (factors <= 0).any():
                    raise InputError(f"every scale must be above 0, found {factors.tolist()}")
                scale, translation = scale * factors, translation * factors
            elif one.get("type") == "translation":
                translation = translation + _numbers(one, "translation", ndim)
    return tuple(scale.tolist()), tuple(translation.tolist())


def _numbers(transformation: dict[str, Any], kind: str, ndim: int) -> NDArray[np.float64]:
    values = transformation.get(kind)
    if (
        not isinstance(values, list)
        or len(values) != ndim
        or not all(isinstance(one, (int, float)) and abs(one) < LARGEST_NUMBER for one in values)
    ):
        raise InputError(f"expected a {kind} of {ndim} numbers, one an axis, found {values!r:.80}")
    return np.array(values, float)
