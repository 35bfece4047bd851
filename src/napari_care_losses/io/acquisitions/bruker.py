"""Sets of files as PrairieView of Bruker writes them: a file a plane, and an XML file beside that describes them.

The elements and attributes are those of PrairieView 4 and 5, as PrairieReader of Bio-Formats reads them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from napari_care_losses.errors import InputError, printable
from napari_care_losses.images.frames import ImageMetadata
from napari_care_losses.io.acquisitions.planes import Plane, PlaneImage, PlaneSet
from napari_care_losses.io.formats.opened import even_step
from napari_care_losses.io.tiff_pages import MOST_PAGES, leaves_folder, readable_tiff
from napari_care_losses.io.units import calibration_of

if TYPE_CHECKING:
    from pathlib import Path

NAME = re.compile(
    r"(?P<set>.+)_Cycle(?P<cycle>\d{3,})_(?:.+_)?Ch(?P<channel>\d+)_(?P<index>\d{6,})(?:\.ome)?\.tiff?", re.I
)
"""Names of files: NAME_Cycle00001_Ch1_000001.ome.tif, in version 4 NAME_Cycle001_CurrentSettings_Ch1_000001.tif."""

CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Bytes that PrairieView writes and XML does not allow."""

SAME_FIELD = 0.1
"""Distance of two stage positions, as a share of the width of the field, below which they are the same field."""


SETTINGS = ("micronsPerPixel", "pixelsPerLine", "positionCurrent")
"""The settings that are read: pixel size in micrometres, pixels of a line, and position in micrometres."""


@dataclass
class _Frame:
    """A frame: its number, its time in seconds, settings that differ from those before, its file for every channel."""

    index: int
    time: float | None
    settings: dict[str, float] = field(default_factory=dict)
    files: dict[int, Plane] = field(default_factory=dict)


@dataclass
class _Cycle:
    """The frames of a cycle: planes of a stack, or time points."""

    is_stack: bool
    is_bidirectional: bool
    settings: dict[str, float] = field(default_factory=dict)
    frames: list[_Frame] = field(default_factory=list)


def set_name(path: Path) -> str:
    """Return the name of the set that a file belongs to by its name; empty where it is none of PrairieView."""
    match = NAME.fullmatch(path.name)
    return match["set"] if match else ""


def bruker_set(path: Path) -> PlaneSet | None:
    """Return the set of PrairieView that a file belongs to; None where it belongs to none.

    Without the XML file beside it, a set is known by the names of its files, unless the first of them holds OME-XML.

    Raises
    ------
    InputError
        If the XML file is damaged, or names files outside its folder.
    """
    name = set_name(path)
    if not name:
        return None
    described = path.with_name(f"{name}.xml")
    if not described.is_file():
        return None if master_of(path) else _named(path)
    found = PlaneSet(name, _Scan(described, name).images())
    return found if path in found.files else None


def master_of(path: Path) -> Path | None:
    """Return the first file of a set of PrairieView where it holds the OME-XML of the set; else None."""
    if not set_name(path):
        return None
    first = min(_siblings(path))
    with readable_tiff(first) as (tiff, _):
        return first if "FileName" in (tiff.ome_metadata or "") else None


def _siblings(path: Path) -> list[Path]:
    return [one for one in path.parent.iterdir() if set_name(one) == set_name(path)]


def _named(path: Path) -> PlaneSet:
    """Return a set by the names of its files."""
    found = {}
    for one in _siblings(path):
        match = NAME.fullmatch(one.name)
        assert match is not None
        found[int(match["cycle"]), int(match["index"]), int(match["channel"])] = Plane(one)
    cycles, channels = (sorted({place[axis] for place in found}) for axis in (0, 2))
    is_one = len(cycles) == 1
    planes = {}
    for (cycle, index, channel), plane in found.items():
        place = (index - 1, 0) if is_one else (cycle - cycles[0], index - 1)
        planes[(*place, channels.index(channel))] = plane
    note = (
        f"{set_name(path)}.xml, which describes the set, is not beside {path}: "
        + ("its frames are taken as time points." if is_one else "its cycles are taken as time points of planes.")
        if len(planes) > len(channels)
        else ""
    )
    return PlaneSet(set_name(path), [PlaneImage(planes=planes, note=note)])


class _Scan:
    """What the XML file of a set says: settings, names of the channels, and the frames of every cycle."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name, self._files = path, name, 0
        self.settings: dict[str, float] = {}
        self.channels: dict[int, str] = {}
        self.cycles: list[_Cycle] = []
        try:
            self._parse()
        except (ElementTree.ParseError, ValueError, IndexError) as error:
            raise InputError(f"{path} cannot be read ({error}): copy it again.") from error
        self.cycles = [one for one in self.cycles if any(frame.files for frame in one.frames)]
        if not self.cycles:
            raise InputError(f"{path} names no image.")

    def _parse(self) -> None:
        parser: Any = ElementTree.XMLPullParser(("start", "end"))
        parents: list[str] = []
        with self._path.open("rb") as file:
            while block := file.read(1 << 20):
                parser.feed(CONTROL.sub(b"", block))
                for event, element in parser.read_events():
                    if event == "start":
                        self._begin(element, is_root=not parents)
                        parents.append(element.tag)
                    else:
                        parents.pop()
                        self._end(element, parents[-1] if parents else "")
        parser.close()

    def _begin(self, element: ElementTree.Element[Any], *, is_root: bool) -> None:
        if is_root and element.tag != "PVScan":
            raise ValueError(f"it describes no scan of PrairieView but {element.tag!r:.40}")
        if element.tag == "Sequence":
            is_stack = "ZSeries" in element.get("type", "")
            self.cycles.append(_Cycle(is_stack, element.get("bidirectionalZ") == "True"))
        elif element.tag == "Frame":
            frames = self.cycles[-1].frames
            time = element.get("absoluteTime", element.get("relativeTime"))
            index = int(element.get("index", len(frames) + 1))
            frames.append(_Frame(index, None if time is None else float(time)))

    def _end(self, element: ElementTree.Element[Any], parent: str) -> None:
        if element.tag == "File" and parent == "Frame":
            self._add_file(element)
        elif element.tag == "PVStateShard":
            of_frame, of_cycle = parent == "Frame", parent == "Sequence"
            owner = self.cycles[-1].frames[-1] if of_frame else self.cycles[-1] if of_cycle else self
            owner.settings.update(_settings(element))
        if element.tag in ("Frame", "Sequence"):
            # a long movie has hundreds of thousands of them
            element.clear()

    def _add_file(self, element: ElementTree.Element[Any]) -> None:
        named, channel = element.get("filename", ""), int(element.get("channel", 1))
        # a set that was renamed together with its XML file is still one
        start = named.rfind("_Cycle")
        name = self._name + named[start:] if start > 0 else named
        if not name or leaves_folder(name):
            raise InputError(f"{self._path} is not trusted: it names a file {named!r:.80}, outside its folder.")
        self._files += 1
        if self._files > MOST_PAGES:
            raise ValueError(f"it names more than {MOST_PAGES:,} files")
        page = max(int(element.get("page", 1)) - 1, 0)
        self.channels.setdefault(channel, printable(element.get("channelName", ""))[:200])
        self.cycles[-1].frames[-1].files[channel] = Plane(self._path.with_name(name), page)

    def settings_of(self, cycle: _Cycle, frame: _Frame) -> dict[str, float]:
        """Return the settings that hold for a frame."""
        return {**self.settings, **cycle.settings, **frame.settings}

    def images(self) -> list[PlaneImage]:
        """Return the images: one for each field of view, and for stacks and single planes apart."""
        groups: list[tuple[bool, dict[str, float], list[_Cycle]]] = []
        for cycle in self.cycles:
            settings = self.settings_of(cycle, cycle.frames[0])
            same = (one for one in groups if one[0] == cycle.is_stack and _is_same_field(one[1], settings))
            _, _, members = next(same, (None, None, None))
            if members is None:
                members = []
                groups.append((cycle.is_stack, settings, members))
            members.append(cycle)
        found = []
        for _, settings, members in groups:
            x, y = (settings.get(f"positionCurrent_{axis}.0") for axis in "XY")
            place = f"at x {x:g}, y {y:g} µm" if len(groups) > 1 and x is not None and y is not None else ""
            found.append(self._image(members, settings, place))
        return found

    def _image(self, cycles: list[_Cycle], settings: dict[str, float], name: str) -> PlaneImage:
        channels = sorted({channel for cycle in cycles for frame in cycle.frames for channel in frame.files})
        is_stack = cycles[0].is_stack
        planes: dict[tuple[int, int, int], Plane] = {}
        starts: list[_Frame] = []
        time = 0
        for cycle in cycles:
            first = min(frame.index for frame in cycle.frames)
            starts += cycle.frames[:1] if is_stack else cycle.frames
            for frame in cycle.frames:
                step = frame.index - first
                for channel, plane in frame.files.items():
                    place = (*((time, step) if is_stack else (time + step, 0)), channels.index(channel))
                    if place in planes:
                        raise InputError(
                            f"{self._path} names two files for one plane: {plane.path.name} is one of them."
                        )
                    planes[place] = plane
            time += 1 if is_stack else max(frame.index for frame in cycle.frames) - first + 1
        times = [frame.time for frame in starts if frame.time is not None]
        steps = {
            **{axis: (settings.get(f"micronsPerPixel_{axis}.0"), "um") for axis in "YX"},
            "Z": (self._z_step(cycles[0], settings) if is_stack else None, "um"),
            "T": (even_step(times) if len(times) == len(starts) else None, "s"),
        }
        is_reversed = is_stack and len(cycles) > 1 and any(cycle.is_bidirectional for cycle in cycles)
        note = (
            f"{self._path}: the planes of every second volume were taken in reverse (bidirectionalZ); all are in the "
            "order in which they were taken."
        )
        labels = [{"label": self.channels[one]} if self.channels[one] else {} for one in channels]
        metadata = ImageMetadata(channels=labels if any(labels) else ())
        return PlaneImage(
            planes=planes,
            calibration=calibration_of(steps),
            metadata=metadata,
            name=name,
            note=note if is_reversed else "",
        )

    def _z_step(self, cycle: _Cycle, settings: dict[str, float]) -> float | None:
        """Return the distance of planes by their positions; by the settings where those are not told apart."""
        places = [self.settings_of(cycle, frame) for frame in cycle.frames]
        devices = {key for place in places for key in place if key.startswith("positionCurrent_Z")}
        moved = [key for key in devices if len({place.get(key) for place in places}) > 1]
        if not moved:
            return settings.get("micronsPerPixel_Z.0")
        step = even_step([place.get(moved[0], math.nan) for place in places]) if len(moved) == 1 else None
        return None if step is None else abs(step)


def _settings(shard: ElementTree.Element[Any]) -> dict[str, float]:
    """Return the settings of a table: ``NAME_AXIS.DEVICE`` and their values."""
    found: dict[str, float] = {}
    for setting in shard:
        # version 4: micronsPerPixel_XAxis, and the devices of positionCurrent_ZAxis separated by commas
        name, _, axis = setting.get("key", "").partition("_")
        if name not in SETTINGS:
            continue
        values = [(axis, str(number), text) for number, text in enumerate(setting.get("value", "").split(","))]
        for indexed in setting:
            devices = list(indexed) or [indexed]
            values += [(indexed.get("index", ""), one.get("subindex", "0"), one.get("value", "")) for one in devices]
        found |= {f"{name}_{axis[:1]}.{device}": float(text) for axis, device, text in values if text}
    return found


def _is_same_field(one: dict[str, float], other: dict[str, float]) -> bool:
    """Return whether the stage stands where it stood, or hardly moved."""
    width = one.get("micronsPerPixel_X.0", 0.0) * one.get("pixelsPerLine_.0", 0.0)
    keys = [f"positionCurrent_{axis}.0" for axis in "XY"]
    return all(abs(one.get(key, 0.0) - other.get(key, 0.0)) <= SAME_FIELD * width for key in keys)
