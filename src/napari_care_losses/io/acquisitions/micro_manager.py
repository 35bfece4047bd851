"""Separate image files as Micro-Manager writes them: a file a plane, and metadata.txt that describes them.

The layout is that of https://micro-manager.org/Micro-Manager_File_Formats.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_care_losses.errors import InputError, printable
from napari_care_losses.images.frames import Calibration, ImageMetadata
from napari_care_losses.io.acquisitions.planes import Plane, PlaneImage, PlaneSet
from napari_care_losses.io.formats.opened import AXES, even_step
from napari_care_losses.io.units import calibration_of
from napari_care_losses.io.untrusted_files import LARGEST_JSON, checked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

METADATA = "metadata.txt"
"""The file beside separate image files that describes them."""

NAME = re.compile(r"img(?:_(?:channel|position|z)\d{3,}|_time\d{9,}){2,}\.tiff?", re.I)
"""Names of version 2: img_channel000_position000_time000000000_z000.tif. One axis alone is no sign of this program."""

EARLIER_NAME = re.compile(r"img_(?P<time>\d{9})_(?P<channel>.*)_(?P<z>\d{3,})\.tiff?", re.I)
"""Names of version 1.4: img_000000000_DAPI_000.tif."""

SIZES = {"T": ("Frames", "time"), "Z": ("Slices", "z"), "C": ("Channels", "channel"), "R": ("Positions", "position")}
"""The words of the summary for the number of steps along an axis; R are positions."""


class _Place(NamedTuple):
    """Where a plane belongs, and the name of its channel where its file has that."""

    time: int = 0
    z: int = 0
    channel: int = 0
    position: int = 0
    channel_name: str = ""


def set_name(path: Path) -> str:
    """Return the name of the set that a separate image file belongs to, that of its two folders; empty for others."""
    if not (NAME.fullmatch(path.name) or EARLIER_NAME.fullmatch(path.name)):
        return ""
    folder = path.absolute().parent
    return f"{folder.parent.name}_{folder.name}".strip("_")


def micro_manager_set(path: Path) -> PlaneSet | None:
    """Return the set of separate image files that a file belongs to; None where it is no such file.

    Raises
    ------
    InputError
        If two files claim to be the same plane.
    """
    pattern = next((one for one in (NAME, EARLIER_NAME) if one.fullmatch(path.name)), None)
    if pattern is None:
        return None
    told = _entries(path.with_name(METADATA))
    summary = table_of(told.get("Summary"))
    planes = _planes(told)
    names = {one.name for one in path.parent.iterdir()} | planes.keys()
    places = {name: _place(name) for name in names if pattern.fullmatch(name)}
    channels = _channels({place.channel_name for place in places.values()} - {""}, planes, summary)
    found: dict[int, dict[tuple[int, int, int], Plane]] = {}
    for name, place in sorted(places.items()):
        image = found.setdefault(place.position, {})
        channel = channels.index(place.channel_name) if place.channel_name else place.channel
        key = (place.time, place.z, channel)
        if key in image:
            raise InputError(f"{path.with_name(name)} and {image[key].path.name} are the same plane: remove one.")
        image[key] = Plane(path.with_name(name))
    return PlaneSet(set_name(path), [_image(one, planes, summary, channels) for _, one in sorted(found.items())])


def described(
    summary: Mapping[str, Any], plane: Mapping[str, Any], times: Sequence[object] = ()
) -> tuple[Calibration, ImageMetadata]:
    """Return steps and metadata of an acquisition.

    Parameters
    ----------
    summary : mapping
        What Micro-Manager says of the whole.
    plane : mapping
        What it says of the first plane.
    times : sequence
        When the first planes of all time points were taken, in milliseconds, as far as it is known.
    """
    interval = number_of(summary.get("Interval_ms"))
    pixel = number_of(plane.get("PixelSizeUm")) or number_of(summary.get("PixelSize_um"))
    steps = {
        **dict.fromkeys("YX", (pixel, "um")),
        "Z": (abs(number_of(summary.get("z-step_um"))), "um"),
        # none is intended where the camera runs freely
        "T": (interval or even_step([number_of(one, math.nan) for one in times]), "ms"),
    }
    named = summary.get("ChNames")
    labels = [{"label": printable(str(one))[:200]} for one in named] if isinstance(named, list) else []
    stage = {axis: number_of(plane.get(f"{axis}PositionUm"), math.nan) for axis in "ZYX"}
    position = {axis: (place, "µm") for axis, place in stage.items() if math.isfinite(place)}
    return calibration_of(steps), ImageMetadata(channels=labels, position=position)


def promised_steps(summary: Mapping[str, Any], axis: str) -> int:
    """Return how many steps along T, Z, C or R (positions) an acquisition was to have; 1 where nothing is said."""
    intended = table_of(summary.get("IntendedDimensions"))
    return max(1, *(int(number_of(one)) for one in (summary.get(SIZES[axis][0]), intended.get(SIZES[axis][1]))))


def table_of(value: object) -> dict[str, Any]:
    """Return a table of metadata; an empty one where it is something else."""
    return value if isinstance(value, dict) else {}


def number_of(value: object, otherwise: float = 0.0) -> float:
    """Return a finite number of metadata, written as number or text; another one where there is none."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return otherwise
    return number if math.isfinite(number) else otherwise


def _image(
    planes: dict[tuple[int, int, int], Plane],
    told: Mapping[str, dict[str, Any]],
    summary: Mapping[str, Any],
    channels: Sequence[str],
) -> PlaneImage:
    ordered = [(place, told.get(plane.path.name, {})) for place, plane in sorted(planes.items())]
    times = [one.get("ElapsedTime-ms") for place, one in ordered if not any(place[1:])]
    calibration, metadata = described({"ChNames": channels, **summary}, ordered[0][1], times)
    time, z, channel = (promised_steps(summary, axis) for axis in AXES)
    return PlaneImage(planes=planes, promised=(time, z, channel), calibration=calibration, metadata=metadata)


def _place(name: str) -> _Place:
    """Return where a plane belongs by the name of its file."""
    earlier = EARLIER_NAME.fullmatch(name)
    if earlier and not NAME.fullmatch(name):
        return _Place(time=int(earlier["time"]), z=int(earlier["z"]), channel_name=earlier["channel"])
    steps = {axis.lower(): int(index) for axis, index in re.findall(r"_([a-z]+)(\d+)", name, re.I)}
    time, z, channel, position = (steps.get(axis, 0) for axis in ("time", "z", "channel", "position"))
    return _Place(time, z, channel, position)


def _channels(names: set[str], planes: Mapping[str, Mapping[str, Any]], summary: Mapping[str, Any]) -> list[str]:
    """Return the channels that names of files tell apart, in their order."""
    told = summary.get("ChNames")
    listed = [str(one) for one in told] if isinstance(told, list) else []
    if names <= set(listed):
        return listed
    # names of files lack the signs that files cannot have
    numbers = {
        _place(name).channel_name: int(number_of(plane.get("ChannelIndex"), -1)) for name, plane in planes.items()
    }
    return sorted(names, key=lambda name: (numbers.get(name, -1), name))


def _planes(entries: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what is said of every plane, by the name of its file."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in entries.items():
        kind, _, rest = key.partition("-")
        told = table_of(value)
        name = str(told.get("FileName", "")) if kind == "FrameKey" else rest
        if kind in ("Coords", "Metadata", "FrameKey"):
            found.setdefault(name.replace("\\", "/").rpartition("/")[2], {}).update(told)
    return found


def _entries(path: Path) -> dict[str, Any]:
    """Return the entries of metadata.txt up to where it breaks off; none where it is not there.

    A program that was killed leaves it without its end, and that of a long acquisition has hundreds of megabytes.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_JSON).decode("utf-8", "replace")
    except OSError:
        return {}
    decoder, between, found = json.JSONDecoder(), re.compile(r"[\s:,{]*"), {}
    at, after = 0, re.compile(r"[\s:,]*")
    try:
        while True:
            key, at = decoder.raw_decode(text, _skip(between, text, at))
            value, at = decoder.raw_decode(text, _skip(after, text, at))
            found[str(checked(key))] = checked(value)
    except (ValueError, IndexError, RecursionError):
        return found


def _skip(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return start if match is None else match.end()
