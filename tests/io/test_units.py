"""Units by all their names, in every kind of file: known ones are converted, others never guessed."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.io.stacks import read_stack, save_stack
from napari_care_losses.io.units import MICROMETERS, SECONDS, calibration_of, unit_factor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STACK = np.ones((3, 2, 8, 8), np.uint16)
UNKNOWN = ("pixel", "parsec", "Mm", "Pm", "furlongs", "None")


def spellings(names: dict[str, float]) -> Iterator[tuple[str, float]]:
    """Give every name of the units as files may spell it, and what the unit is worth."""
    for name, factor in names.items():
        spelled = {name, name.replace("meter", "metre")}
        if len(name) > 2:
            spelled |= {name.capitalize(), name.upper()}
        if len(name) > 3 and not name.endswith(("s", "ch")):
            spelled.add(name + "s")
        if name in ("um", "us"):
            spelled |= {start + name[1] for start in ("\u00b5", "\u03bc", r"\u00B5", r"\u03bc")}
        if name == "Å":
            spelled |= {"\u212b", r"\u00C5"}
        for one in sorted(spelled):
            yield one, factor


LENGTHS, TIMES = sorted(spellings(MICROMETERS)), sorted(spellings(SECONDS))


def write_imagej(path: Path, length: str, time: str) -> None:
    # ImageJ writes other letters than ASCII as Java does
    length, time = (re.sub(r"[^ -~]", lambda found: f"\\u{ord(found[0]):04X}", unit) for unit in (length, time))
    metadata = {"axes": "TZYX", "unit": length, "spacing": 3.0, "tunit": time, "finterval": 4.0}
    tifffile.imwrite(path, STACK, imagej=True, metadata=metadata, resolution=(1 / 2, 1 / 5))


def write_ome_tiff(path: Path, length: str, time: str) -> None:
    sizes = {"Y": 5.0, "X": 2.0, "Z": 3.0}
    metadata: dict[str, Any] = {"axes": "TZYX", "TimeIncrement": 4.0, "TimeIncrementUnit": time}
    metadata |= {f"PhysicalSize{axis}": size for axis, size in sizes.items()}
    metadata |= {f"PhysicalSize{axis}Unit": length for axis in sizes}
    tifffile.imwrite(path, STACK, ome=True, photometric="minisblack", metadata=metadata)


def write_ome_zarr(path: Path, length: str, time: str) -> None:
    save_stack(path, STACK, axes="TZYX", calibration=Calibration(pixel_size=(5, 2), z_step=3, time_step=4))
    group = zarr.open_group(path)
    ome = group.attrs["ome"]
    for axis in ome["multiscales"][0]["axes"]:
        axis["unit"] = time if axis["type"] == "time" else length
    group.attrs["ome"] = ome


KINDS = {"imagej.tif": write_imagej, "ome.tif": write_ome_tiff, "ome.zarr": write_ome_zarr}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(length=st.sampled_from(LENGTHS), time=st.sampled_from(TIMES))
def test_every_name_of_a_unit_is_known_in_every_kind_of_file(
    tmp_path_factory: pytest.TempPathFactory, kind: str, length: tuple[str, float], time: tuple[str, float]
) -> None:
    path = tmp_path_factory.mktemp("units") / f"a.{kind}"
    KINDS[kind](path, length[0], time[0])
    calibration = read_stack(path).calibration
    assert calibration.pixel_size == pytest.approx((5 * length[1], 2 * length[1]))
    assert calibration.z_step == pytest.approx(3 * length[1])
    assert calibration.time_step == pytest.approx(4 * time[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", UNKNOWN)
def test_an_unknown_unit_is_not_guessed(tmp_path: Path, kind: str, unit: str) -> None:
    KINDS[kind](tmp_path / f"a.{kind}", unit, unit)
    assert read_stack(tmp_path / f"a.{kind}").calibration == Calibration()


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"unit": "nm", "spacing": 300.0}, Calibration(z_step=0.3)),
        ({"unit": "um", "zunit": "mm", "spacing": 2.0}, Calibration(z_step=2000.0)),
        ({"spacing": 300.0}, Calibration()),
        ({"finterval": 2.0}, Calibration(time_step=2.0)),
        ({"finterval": 2.0, "tunit": "min"}, Calibration(time_step=120.0)),
        ({"unit": "um", "spacing": -0.5, "finterval": 0.0}, Calibration()),
        ({"unit": "um", "spacing": "deep", "finterval": "inf"}, Calibration()),
    ],
)
def test_steps_of_imagej(tmp_path: Path, metadata: dict[str, Any], expected: Calibration) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, metadata={"axes": "TZYX", **metadata})
    assert read_stack(tmp_path / "a.tif").calibration == expected


@pytest.mark.parametrize(("unit", "size"), [("CENTIMETER", 1e4), ("INCH", 25400.0), ("NONE", None)])
def test_the_resolution_of_plain_tiff_is_per_inch_or_centimetre(tmp_path: Path, unit: str, size: float | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK[0, 0], resolution=(1e5, 2e5), resolutionunit=unit)
    expected = None if size is None else pytest.approx((size / 2e5, size / 1e5))
    assert read_stack(tmp_path / "a.tif").calibration.pixel_size == expected


@pytest.mark.parametrize(
    ("unit", "resolution"),
    [
        *(("INCH", one) for one in (1, 72, 96, 150, 300, 600, 1200, 2400, 4800)),
        ("CENTIMETER", 28.35),
        ("CENTIMETER", 118.1),
    ],
)
def test_a_printers_resolution_is_no_pixel_size(tmp_path: Path, unit: str, resolution: float) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK[0, 0], resolution=(resolution, resolution), resolutionunit=unit)
    assert read_stack(tmp_path / "a.tif").calibration == Calibration()


@pytest.mark.parametrize("unit", ["INCH", "CENTIMETER"])
def test_a_stack_of_imagej_without_a_unit_has_no_size(tmp_path: Path, unit: str) -> None:
    described = "ImageJ=1.53t\nimages=2\nslices=2\nspacing=2.0\n"
    options: dict[str, Any] = {"resolution": (1e5, 1e5), "resolutionunit": unit, "description": described}
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], photometric="minisblack", metadata=None, **options)
    assert read_stack(tmp_path / "a.tif").calibration == Calibration()


def test_what_a_file_leaves_out_has_the_units_of_its_format(tmp_path: Path) -> None:
    sizes = {"PhysicalSizeX": 0.2, "PhysicalSizeY": 0.1, "PhysicalSizeZ": 0.5, "TimeIncrement": 3}
    tifffile.imwrite(tmp_path / "a.tif", STACK, ome=True, metadata={"axes": "TZYX", **sizes})
    expected = Calibration(pixel_size=(0.1, 0.2), z_step=0.5, time_step=3)
    assert read_stack(tmp_path / "a.tif").calibration == expected


def test_a_channel_has_no_step_and_a_step_is_a_finite_number_above_0() -> None:
    assert unit_factor("C", "um") is None
    for number in (0, -1, math.nan, math.inf, "a", None, 10**400):
        assert calibration_of({"Z": (number, "um")}) == Calibration()
    assert calibration_of({"Y": (1, "um")}).pixel_size is None


@pytest.mark.parametrize("suffix", ["tif", "ome.zarr"])
def test_a_file_written_here_is_read_with_its_steps(tmp_path: Path, suffix: str) -> None:
    calibration = Calibration(pixel_size=(0.065, 0.07), z_step=0.3, time_step=12.5)
    save_stack(tmp_path / f"a.{suffix}", Frames(STACK, "TZYX", calibration))
    assert read_stack(tmp_path / f"a.{suffix}").calibration == calibration
