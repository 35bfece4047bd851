"""Units of length and time, by the names and signs that ImageJ, OME-TIFF, OME-Zarr and napari give them."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import TYPE_CHECKING

from napari_care_losses.images.frames import Calibration

if TYPE_CHECKING:
    from collections.abc import Mapping


def _all_names(units: dict[str, float]) -> dict[str, float]:
    """Return every name of units: as given, spelled the British way, and in the plural where it is no sign."""
    names = {}
    for listed, factor in units.items():
        for name in listed.split():
            for spelled in (name, re.sub("meter$", "metre", name)):
                names[spelled] = factor
                if len(spelled) > 2:
                    names[spelled + ("es" if spelled.endswith("ch") else "s")] = factor
    return names


MICROMETERS = _all_names(
    {
        "pm picometer": 1e-6,
        "Å angstrom": 1e-4,
        "nm nanometer": 1e-3,
        "um micrometer micron": 1.0,
        "mm millimeter": 1e3,
        "cm centimeter": 1e4,
        "m meter": 1e6,
        "in inch": 25400.0,
    }
)
SECONDS = _all_names(
    {
        "ns nanosecond": 1e-9,
        "us microsecond usec": 1e-6,
        "ms millisecond msec": 1e-3,
        "s second sec": 1.0,
        "min minute": 60.0,
        "h hour hr": 3600.0,
        "d day": 86400.0,
    }
)
"""Micrometres and seconds in a unit, by all its names; the sign of micro is written u."""


def unit_factor(axis: str, unit: object) -> float | None:
    """Return how many micrometres (axes Z, Y, X) or seconds (axis T) a unit has; None where it is unknown.

    Examples
    --------
    >>> unit_factor("X", "nm"), unit_factor("T", "minutes"), unit_factor("X", "pixel")
    (0.001, 60.0, None)
    """
    known = SECONDS if axis == "T" else MICROMETERS if axis in "ZYX" else {}
    # ImageJ writes letters beyond ASCII as Java does: \u00B5m
    name = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), str(unit).strip())
    # two code points look like the sign of micro, two like that of angstrom
    name = unicodedata.normalize("NFKC", name).replace("\N{GREEK SMALL LETTER MU}", "u")
    # case counts in a sign: Mm is a megametre
    return known.get(name if len(name) <= 2 else name.lower())


def calibration_of(steps: Mapping[str, tuple[object, object]]) -> Calibration:
    """Return pixel size and steps from a number and its unit for each of the axes T, Z, Y and X.

    A step is None where its unit is unknown, or it is no finite number above 0.

    Examples
    --------
    >>> calibration_of({"Y": (65, "nm"), "X": (65, "nm"), "T": (2, "parsec")})
    Calibration(pixel_size=(0.065, 0.065), z_step=None, time_step=None)
    """

    def step(axis: str) -> float | None:
        number, unit = steps.get(axis, (None, None))
        factor = unit_factor(axis, unit)
        try:
            size = float(number) * factor  # type: ignore[arg-type, operator]
        except (TypeError, ValueError, OverflowError):
            return None
        return size if 0 < size < math.inf else None

    height, width = step("Y"), step("X")
    return Calibration(pixel_size=(height, width) if height and width else None, z_step=step("Z"), time_step=step("T"))
