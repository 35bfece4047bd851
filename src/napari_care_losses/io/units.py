"""Units of length and time, by the names and signs that ImageJ, OME-TIFF, OME-Zarr and napari give them."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import TYPE_CHECKING

from napari_care_losses.images.frames import Calibration

if TYPE_CHECKING:
    from collections.abc import Mapping

MICROMETERS = {
    **dict.fromkeys(("pm", "picometer"), 1e-6),
    **dict.fromkeys(("Å", "angstrom"), 1e-4),
    **dict.fromkeys(("nm", "nanometer"), 1e-3),
    **dict.fromkeys(("um", "micrometer", "micron"), 1.0),
    **dict.fromkeys(("mm", "millimeter"), 1e3),
    **dict.fromkeys(("cm", "centimeter"), 1e4),
    **dict.fromkeys(("m", "meter"), 1e6),
    **dict.fromkeys(("in", "inch", "inches"), 25400.0),
}
SECONDS = {
    **dict.fromkeys(("ns", "nanosecond"), 1e-9),
    **dict.fromkeys(("us", "microsecond", "usec"), 1e-6),
    **dict.fromkeys(("ms", "millisecond", "msec"), 1e-3),
    **dict.fromkeys(("s", "second", "sec"), 1.0),
    **dict.fromkeys(("min", "minute"), 60.0),
    **dict.fromkeys(("h", "hour", "hr", "hrs"), 3600.0),
    **dict.fromkeys(("d", "day"), 86400.0),
}
"""Micrometres and seconds in a unit; names may also be plural, capital, or spelled "metre"."""


def unit_factor(axis: str, unit: object) -> float | None:
    """Return how many micrometres (axes Z, Y, X) or seconds (axis T) a unit has; None where it is unknown.

    Examples
    --------
    >>> unit_factor("X", "nm"), unit_factor("T", "minutes"), unit_factor("X", "pixel")
    (0.001, 60.0, None)
    """
    known = SECONDS if axis == "T" else MICROMETERS if axis in "ZYX" else {}
    # ImageJ escapes letters beyond ASCII as Java does: \u00B5m
    name = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), str(unit).strip())
    # two code points look like the sign of micro, two like that of angstrom
    name = unicodedata.normalize("NFKC", name).replace("\N{GREEK SMALL LETTER MU}", "u")
    # case counts in a sign: Mm is a megametre
    if len(name) > 2:
        name = name.lower().replace("metre", "meter")
    return known.get(name, known.get(name.removesuffix("s")) if len(name) > 3 else None)


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
        try:
            size = float(number) * unit_factor(axis, unit)  # type: ignore[arg-type, operator]
        except (TypeError, ValueError, OverflowError):
            return None
        return size if 0 < size < math.inf else None

    y, x = step("Y"), step("X")
    return Calibration(pixel_size=(y, x) if y and x else None, z_step=step("Z"), time_step=step("T"))


def steps_of(calibration: Calibration) -> dict[str, float | None]:
    """Return the steps along T (in seconds), Z, Y and X (in micrometres); None where unknown."""
    y, x = calibration.pixel_size or (None, None)
    return {"T": calibration.time_step, "Z": calibration.z_step, "Y": y, "X": x}
