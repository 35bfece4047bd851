"""Channels, colours, rendering and stage position go from file to file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import zarr

from napari_care_losses.images.frames import Calibration, Frames, ImageMetadata
from napari_care_losses.io.stacks import read_stack, save_stack

if TYPE_CHECKING:
    from pathlib import Path

STACK = np.random.default_rng(0).integers(1, 1000, (2, 3, 2, 16, 18)).astype(np.uint16)
CALIBRATION = Calibration(pixel_size=(0.1, 0.2), z_step=0.5, time_step=2.0)
CHANNELS = (
    {"label": "DAPI", "color": "0000FF", "EmissionWavelength": 461.0},
    {"label": "488", "color": "00FF80", "Fluor": "GFP"},
)
POSITION = {"Z": (30.0, "µm"), "Y": (-1200.5, "µm"), "X": (4000.25, "µm")}
METADATA = ImageMetadata(channels=CHANNELS, position=POSITION)
SUFFIXES = (".tif", ".ome.zarr")


def write_ome_tiff(path: Path) -> None:
    planes = [30.0 + 0.5 * z for _ in range(2) for z in range(3) for _ in range(2)]
    metadata: dict[str, Any] = {
        "axes": "TZCYX",
        "Channel": {"Name": ["DAPI", "488"], "Color": [0x0000FFFF, 0x00FF80FF], "Fluor": ["DAPI", "GFP"]},
        "Plane": {"PositionX": [4.0] * 12, "PositionXUnit": ["mm"] * 12, "PositionY": [-1200.5] * 12}
        | {"PositionYUnit": ["µm"] * 12, "PositionZ": planes, "PositionZUnit": ["µm"] * 12},
        "PhysicalSizeX": 0.2,
        "PhysicalSizeY": 0.1,
        "PhysicalSizeZ": 0.5,
    }
    tifffile.imwrite(path, STACK, photometric="minisblack", ome=True, metadata=metadata)


def in_micrometers(metadata: ImageMetadata) -> dict[str, float]:
    assert all(unit in ("µm", "micrometer") for _, unit in metadata.position.values())
    return {axis: pytest.approx(place) for axis, (place, _) in metadata.position.items()}


@pytest.mark.parametrize("second", SUFFIXES)
@pytest.mark.parametrize("first", SUFFIXES)
def test_they_are_written_and_read_in_every_format(tmp_path: Path, first: str, second: str) -> None:
    save_stack(tmp_path / f"a{first}", Frames(STACK, "TZCYX", CALIBRATION, metadata=METADATA))
    save_stack(tmp_path / f"b{second}", read_stack(tmp_path / f"a{first}"), dtype="float32")
    found = read_stack(tmp_path / f"b{second}")
    assert [dict(one) for one in found.channels] == list(CHANNELS)
    assert in_micrometers(found.metadata) == {axis: place for axis, (place, _) in POSITION.items()}
    assert found.calibration == CALIBRATION


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_those_of_a_microscopes_tiff(tmp_path: Path, suffix: str) -> None:
    write_ome_tiff(tmp_path / "a.ome.tif")
    save_stack(tmp_path / f"b{suffix}", read_stack(tmp_path / "a.ome.tif"))
    found = read_stack(tmp_path / f"b{suffix}")
    assert [(one["label"], one["color"], one["Fluor"]) for one in found.channels] == [
        ("DAPI", "0000FF", "DAPI"),
        ("488", "00FF80", "GFP"),
    ]
    assert in_micrometers(found.metadata) == {"X": 4000.0, "Y": -1200.5, "Z": 30.0}
    if suffix == ".tif":
        with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
            pixels = tifffile.xml2dict(tiff.ome_metadata or "")["OME"]["Image"]["Pixels"]
        places = [(one["TheZ"], one["PositionZ"]) for one in pixels["Plane"]]
        assert sorted(set(places)) == [(0, 30.0), (1, 30.5), (2, 31.0)]


def test_a_stage_position_without_unit_stays_without(tmp_path: Path) -> None:
    metadata = {"axes": "YX", "Plane": {"PositionX": [7.5], "PositionY": [2.5]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK[0, 0, 0], photometric="minisblack", ome=True, metadata=metadata)
    save_stack(tmp_path / "b.tif", read_stack(tmp_path / "a.ome.tif"))
    expected = {"X": (7.5, "reference frame"), "Y": (2.5, "reference frame")}
    assert read_stack(tmp_path / "b.tif").metadata.position == expected


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_rendering_of_ome_zarr(tmp_path: Path, version: str) -> None:
    windows = [{"min": 0, "max": 65535, "start": 10 * one, "end": 900} for one in range(2)]
    channels = [
        {"label": f"c{one}", "color": "FF0000", "window": windows[one], "active": not one, "family": "linear"}
        for one in range(2)
    ]
    rendering = {"rdefs": {"defaultT": 1, "defaultZ": 2, "model": "color"}}
    told = ImageMetadata(channels=channels, rendering=rendering)
    save_stack(tmp_path / "a.zarr", Frames(STACK, "TZCYX", metadata=told), zarr_version=version)
    save_stack(tmp_path / "b.zarr", read_stack(tmp_path / "a.zarr"), zarr_version=version)
    attributes = dict(zarr.open_group(tmp_path / "b.zarr", mode="r").attrs)
    assert attributes.get("ome", attributes)["omero"] == {**rendering, "channels": channels}


def test_colours_and_contrast_of_imagej(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8)
    tables = [np.stack([ramp * r, ramp * g, ramp * b]) for r, g, b in ((1, 0, 0), (0, 1, 1))]
    metadata = {"axes": "CYX", "LUTs": tables, "Ranges": (10.0, 90.0, 20.0, 70.0), "mode": "composite"}
    tifffile.imwrite(tmp_path / "a.tif", STACK[0, 0], imagej=True, metadata=metadata)
    found = read_stack(tmp_path / "a.tif").channels
    assert [dict(one) for one in found] == [
        {"color": "FF0000", "window": {"start": 10.0, "end": 90.0}},
        {"color": "00FFFF", "window": {"start": 20.0, "end": 70.0}},
    ]


def test_what_is_selected_or_counted_otherwise_keeps_only_what_is_true() -> None:
    frames = Frames(STACK[0], "ZCYX", metadata=METADATA)
    assert set(frames.select(1, 3).metadata.position) == {"Y", "X"}
    assert frames.select(0, 2).metadata == METADATA
    assert frames.select(1, 3).channels == CHANNELS
    assert replace(frames, metadata=ImageMetadata(channels=CHANNELS[:1])).channels == ()


def test_missing_chunks_of_ome_zarr_are_counted(tmp_path: Path) -> None:
    save_stack(tmp_path / "a.zarr", Frames(STACK[0, :, 0], "TYX"))
    assert not read_stack(tmp_path / "a.zarr").note
    (tmp_path / "a.zarr" / "0" / "c" / "1" / "0" / "0").unlink()
    assert "1 of 3 chunks are not there and read as 0" in read_stack(tmp_path / "a.zarr").note
