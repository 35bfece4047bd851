"""napari's File > Open for TIFF, CZI, LIF, ND2 and OME-Zarr: lazily, with pixel size, units and channels."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from napari_care_losses.errors import InputError, MissingLibraryError, UnreadableError, printable
from napari_care_losses.images.chunk_cache import cached
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.regions import middle
from napari_care_losses.io.formats.registry import is_of_maker
from napari_care_losses.io.ome_zarr_reader import is_zarr, missing_chunks, open_ome_zarr
from napari_care_losses.io.ome_zarr_reader import list_images as list_zarr_images
from napari_care_losses.io.remote.address import located
from napari_care_losses.io.stacks import READ_SUFFIXES, bare_name, image_name, list_images, sets_of, whole_stacks
from napari_care_losses.io.units import steps_of, unit_factor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import dask.array as da

    from napari_care_losses.io.ome_zarr_reader import OmeZarrImage

LayerData = tuple[Any, dict[str, Any], str]

LARGEST_PIECE = 64 * 2**20
"""Bytes up to which a frame is read in one piece; larger ones are read in parts, where they are stored so."""

CONTRAST_WIDTH = 2048
"""Largest width in pixels of the part that the contrast is taken from."""


class _Image(NamedTuple):
    """An image before it becomes layers: arrays of all resolutions; letter, step, start and unit of every axis."""

    levels: list[Any]
    axes: str
    scale: Sequence[float]
    translation: Sequence[float]
    units: Sequence[str]
    name: str
    channels: Sequence[Mapping[str, Any]]
    note: str


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Return the function that reads a file as layers; None for files that are left to other readers.

    Those are damaged TIFF files and all of other formats. A stack of which frames are missing is opened without them,
    or refused in words. Several files become one stack if they hold one image each, all of one size.
    """
    try:
        if isinstance(path, str):
            images = _open(located(path))
        else:
            images = _stacked(whole_stacks([located(one) for one in path]))
    except (UnreadableError, MissingLibraryError) as error:
        # other readers would make the missing frames up; and what is to be installed is worth knowing
        problem = error
        return lambda _: _refuse(problem)
    except InputError as error:
        # several files are stacked by none but the reader that was chosen, and napari reads no files of makers
        failure = error
        is_left = isinstance(path, str) and not is_of_maker(located(path))
        return None if is_left else (lambda _: _refuse(failure))
    # opened once: these images become the layers
    return (lambda _: _layers(images)) if images else None


def _refuse(problem: InputError) -> NoReturn:
    raise problem


def _layers(images: list[_Image]) -> list[LayerData]:
    from napari.utils.notifications import show_warning

    for image in images:
        if image.note:
            show_warning(image.note)
    return [_layer(image) for image in images]


def _open(path: Path) -> list[_Image]:
    if is_zarr(path):
        return [_from_zarr(open_ome_zarr(one), path) for one in list_zarr_images(path)]
    if path.suffix.lower() in READ_SUFFIXES and path.is_file():
        return [_from_file(one, path) for one in list_images(path)]
    if path.is_dir():
        with suppress(OSError):
            return [image for one in sets_of(path) for image in _open(one)]
    return []


def _stacked(paths: list[Path]) -> list[_Image]:
    """Open several files as one stack along a new first axis."""
    import dask.array as da

    if len(paths) == 1:
        return _open(paths[0])
    opened = [_open(path) for path in paths]
    if not all(opened):
        return []
    for path, images in zip(paths, opened, strict=True):
        if len(images) > 1:
            raise InputError(f"{path} holds {len(images)} images: open it by itself, not as part of a stack.")
    images = [one for (one,) in opened]
    first = images[0]
    for path, image in zip(paths, images, strict=True):
        if (image.axes, *_kinds(image)) != (first.axes, *_kinds(first)):
            raise InputError(
                f"{path.name} ({_text(image)}) and {paths[0].name} ({_text(first)}) cannot become one stack: open them "
                "as layers of their own."
            )
    levels = zip(*(image.levels for image in images), strict=True)
    return [
        first._replace(
            levels=[da.stack([_lazy(one, first.axes) for one in level]) for level in levels],
            axes=f"?{first.axes}",
            scale=[1.0, *first.scale],
            translation=[0.0, *first.translation],
            units=["pixel", *first.units],
            name=f"{first.name} and {len(images) - 1} more",
            note=" ".join(image.note for image in images if image.note),
        )
    ]


def _kinds(image: _Image) -> list[tuple[tuple[int, ...], str]]:
    return [(tuple(level.shape), str(level.dtype)) for level in image.levels]


def _text(image: _Image) -> str:
    level = image.levels[0]
    return f"{' x '.join(map(str, level.shape))} {image.axes}, {level.dtype}"


def _is_colour(axes: str, shape: Sequence[int]) -> bool:
    return axes.endswith("YXS") and shape[-1] in (3, 4)


def _from_file(path: Path, file: Path) -> _Image:
    from napari_care_losses.io.formats.registry import open_image
    from napari_care_losses.io.tiff_reader import open_tiff

    image = (open_image if is_of_maker(path) else open_tiff)(path, incomplete=True)
    axes = image.axes
    if not _is_colour(axes, image.levels[0].shape):
        axes = Frames(image.levels[0], axes, image.calibration).axes
    steps = steps_of(image.calibration)
    scale = [steps.get(axis) or 1.0 for axis in axes]
    units = [_unit(axis) if steps.get(axis) else "pixel" for axis in axes]
    inside = path.relative_to(file).parts
    name = " ".join([image_name(file).removesuffix(".ome"), *([image.name] if inside and image.name else inside)])
    start = []
    for axis in axes:
        place, unit = image.metadata.position.get(axis, (0.0, ""))
        start.append(place * (unit_factor(axis, unit) or 0.0) if steps.get(axis) else 0.0)
    return _Image(image.levels, axes, scale, start, units, name, image.metadata.channels, image.note)


def _from_zarr(image: OmeZarrImage, path: Path) -> _Image:
    scale, translation, units = [], [], []
    for axis, step, start, unit in zip(image.axes, image.scale, image.translation, image.units, strict=True):
        factor = unit_factor(axis, unit)
        scale.append(step * (factor or 1.0))
        translation.append(start * (factor or 1.0))
        units.append(_unit(axis) if factor else "pixel")
    name = bare_name(path) if image.path == path else f"{bare_name(path)} {image.path.relative_to(path)}"
    return _Image(
        image.present(),
        image.axes,
        scale,
        translation,
        units,
        name,
        image.channels,
        missing_chunks(image.path, image.levels[0]),
    )


def _unit(axis: str) -> str:
    return "s" if axis == "T" else "um"


def _layer(image: _Image) -> LayerData:
    shape = image.levels[0].shape
    # many writers store axes of one step, whose sliders could not move
    kept = [axis for axis, letter in enumerate(image.axes) if shape[axis] > 1 or letter in "YXS"]
    place = tuple(slice(None) if axis in kept else 0 for axis in range(len(shape)))
    levels = [_lazy(level, image.axes)[place] for level in image.levels]
    axes = "".join(image.axes[axis] for axis in kept)
    placed = [axis for axis in kept if image.axes[axis] not in "CS"]
    options: dict[str, Any] = {
        "name": image.name,
        "scale": [image.scale[axis] for axis in placed],
        "translate": [image.translation[axis] for axis in placed],
        "units": [image.units[axis] for axis in placed],
        "axis_labels": ["file" if image.axes[axis] == "?" else image.axes[axis].lower() for axis in placed],
        "multiscale": len(levels) > 1,
        "rgb": axes.endswith("S"),
    }
    if "C" in axes:
        channel = axes.index("C")
        count = levels[0].shape[channel]
        limits = [_limits(levels[-1][(slice(None),) * channel + (number,)]) for number in range(count)]
        options |= {"channel_axis": channel, **({"contrast_limits": limits} if all(limits) else {})}
        options |= _channels(image, count)
    elif not axes.endswith("S") and (limits := _limits(levels[-1])):
        options["contrast_limits"] = limits
    return levels if len(levels) > 1 else levels[0], options, "image"


def _limits(stack: da.Array) -> tuple[float, float] | None:
    """Return the smallest and largest grey level in the middle of the middle frame; None where there is no contrast.

    Without them, napari's contrast slider of a lazy stack spans its whole type: 16 bits for 200 grey levels.
    """
    part = middle(stack.shape[-2:], CONTRAST_WIDTH)
    try:
        frame = np.asarray(stack[(*(size // 2 for size in stack.shape[:-2]), *part.slices)])
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - damaged files raise errors of every kind, shown with the frame itself
        return None
    if not frame.size:
        return None
    low, high = float(frame.min()), float(frame.max())
    return (low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None


def _channels(image: _Image, count: int) -> dict[str, Any]:
    """Return name, colour and contrast of every channel, as far as the file has them."""
    channels = image.channels if len(image.channels) == count else [{}] * count
    options: dict[str, Any] = {
        "name": [f"{image.name} {_label(one) or f'channel {number}'}" for number, one in enumerate(channels)]
    }
    colours = [str(one.get("color", "")).lstrip("#") for one in channels]
    if all(re.fullmatch("[0-9a-fA-F]{6}", colour) for colour in colours):
        options["colormap"] = [f"#{colour}" for colour in colours]
    limits = [_window(one.get("window")) for one in channels]
    if all(limits):
        options["contrast_limits"] = limits
    return options


def _label(channel: Mapping[str, Any]) -> str:
    label = channel.get("label")
    return printable(label)[:100] if isinstance(label, str) else ""


def _window(window: Any) -> tuple[float, float] | None:
    try:
        start, end = float(window["start"]), float(window["end"])
    except (TypeError, KeyError, ValueError, OverflowError):
        return None
    return (start, end) if -math.inf < start < end < math.inf else None


def _lazy(array: Any, axes: str) -> da.Array:
    """Return an array that reads a frame when it is shown, a very large one in parts."""
    import dask.array as da

    if isinstance(array, da.Array):
        return array
    start = axes.index("Y")
    frame = array.shape[start:]
    pieces = frame
    if math.prod(frame) * array.dtype.itemsize > LARGEST_PIECE:
        chunks = zip(frame, array.chunks[start:], strict=True)
        pieces = tuple(min(size, -(-2048 // chunk) * chunk) for size, chunk in chunks)
    return da.from_array(cached(array, start), chunks=(*(1 for _ in array.shape[:start]), *pieces), name=False)
