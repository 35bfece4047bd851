"""What OME files say of an image beside its pixels: steps, channels, rendering, stage position."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import printable
from napari_care_losses.images.frames import Calibration, ImageMetadata
from napari_care_losses.io.units import calibration_of, steps_of, unit_factor
from napari_care_losses.io.untrusted_files import checked, nan_as_null
from napari_care_losses.provenance import as_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_care_losses.images.frames import Frames

STEPS = {"T": ("TimeIncrement", "s"), **{axis: (f"PhysicalSize{axis}", "µm") for axis in "ZYX"}}
"""The attributes of OME-TIFF for the step along an axis, and their units where none is named."""

CHANNEL_ATTRIBUTES = (
    *("AcquisitionMode", "ContrastMethod", "EmissionWavelength", "EmissionWavelengthUnit", "ExcitationWavelength"),
    *("ExcitationWavelengthUnit", "Fluor", "IlluminationType", "NDFilter", "PinholeSize", "PinholeSizeUnit"),
)
"""Attributes of a channel of OME-TIFF that are carried along as they are, beside its name and colour."""

LARGEST_NUMBER = 1e30
"""Largest scale and position, in whatever unit."""


def read_ome_xml(xml: str, number: int) -> tuple[Calibration, ImageMetadata]:
    """Return steps and metadata of an image by the XML of its OME-TIFF."""
    import tifffile

    images = _listed(tifffile.xml2dict(xml).get("OME", {}).get("Image"))
    image = images[min(number, len(images) - 1)] if images else {}
    pixels = image.get("Pixels", {})
    calibration = calibration_of(
        {axis: (pixels.get(name), pixels.get(f"{name}Unit", unit)) for axis, (name, unit) in STEPS.items()}
    )
    channels = tuple(_channel_of_tiff(one) for one in _listed(pixels.get("Channel")))
    position = {}
    for told, key in ((image.get("StageLabel", {}), ""), ((*_listed(pixels.get("Plane")), {})[0], "Position")):
        for axis in "ZYX":
            place = told.get(f"{key}{axis}") if isinstance(told, dict) else None
            if isinstance(place, (int, float)) and abs(place) < LARGEST_NUMBER:
                position[axis] = (float(place), str(told.get(f"{key}{axis}Unit", "reference frame")))
    return calibration, ImageMetadata(channels=channels if any(channels) else (), position=position)


def for_ome_xml(like: Frames) -> dict[str, Any]:
    """Return steps and metadata of a stack as `tifffile.TiffWriter` takes them."""
    metadata: dict[str, Any] = {"axes": like.axes}
    if like.metadata.provenance:
        metadata["Description"] = as_text(like.metadata.provenance)
    for axis, size in steps_of(like.calibration).items():
        if size and axis in like.axes:
            name, unit = STEPS[axis]
            metadata |= {name: size, f"{name}Unit": unit}
    if channels := like.channels:
        metadata["Channel"] = [_channel_for_tiff(one) for one in channels]
    planes: dict[str, Any] = {}
    for axis in "XYZ":
        if axis not in like.metadata.position:
            continue
        place, unit = like.metadata.position[axis]
        factor, places = unit_factor(axis, unit), np.asarray(place)
        if axis == "Z" and "Z" in like.axes:
            if not factor or not like.calibration.z_step:
                continue
            along, step = like.axes.index("Z"), like.calibration.z_step / factor
            indices = np.array([like.position(index)[along] for index in range(len(like))])
            places = place + step * (indices - indices[0])
        planes[f"Position{axis}"] = np.broadcast_to(places * (factor or 1.0), len(like)).tolist()
        told = "µm" if factor else "pixel" if unit == "pixel" else "reference frame"
        planes[f"Position{axis}Unit"] = [told] * len(like)
    return metadata | ({"Plane": planes} if planes else {})


def read_omero(metadata: Mapping[str, Any]) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    """Return the channels, and other settings of rendering, of an OME-Zarr image; what cannot be used is left out."""
    omero: Any = None
    with suppress(ValueError):
        omero = nan_as_null(checked(metadata.get("omero")))
    if not isinstance(omero, dict):
        return (), {}
    listed = omero.pop("channels", None)
    channels = [one if isinstance(one, dict) else {} for one in listed] if isinstance(listed, list) else []
    return tuple(channels), omero


def for_omero(like: Frames) -> dict[str, Any]:
    """Return the rendering of a stack as OME-Zarr holds it; empty where nothing is known."""
    channels = [dict(one) for one in like.channels]
    return {"omero": {**like.metadata.rendering, "channels": channels}} if channels else {}


def _listed(value: Any) -> list[Any]:
    """Return what stands in XML once or several times."""
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]


def _channel_of_tiff(told: dict[str, Any]) -> dict[str, Any]:
    channel: dict[str, Any] = {name: told[name] for name in CHANNEL_ATTRIBUTES if name in told}
    if "Name" in told:
        channel["label"] = printable(str(told["Name"]))[:200]
    color = told.get("Color")
    if isinstance(color, int) and abs(color) < 1 << 32:
        channel["color"] = f"{(color >> 8) & 0xFFFFFF:06X}"
    return channel


def _channel_for_tiff(channel: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: channel[name] for name in CHANNEL_ATTRIBUTES if isinstance(channel.get(name), (str, int, float))}
    if isinstance(channel.get("label"), str):
        told["Name"] = channel["label"]
    color = str(channel.get("color", "")).lstrip("#")
    if re.fullmatch("[0-9a-fA-F]{6}", color):
        # a signed number of 32 bits: red, green, blue, opacity
        told["Color"] = int.from_bytes(bytes.fromhex(color + "FF"), "big", signed=True)
    return told
