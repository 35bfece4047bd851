"""napari's File > Save for image layers: OME-TIFF and OME-Zarr that keep pixel size and units; colour as OME-TIFF."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.io.ome_metadata import for_ome_xml
from napari_care_losses.io.stacks import save_stack
from napari_care_losses.io.whole_files import replacing

if TYPE_CHECKING:
    from napari.layers import Image


def write_image(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write an image layer to a file of the same pixel type, frame by frame.

    Parameters
    ----------
    path : str
        The file to make; OME-Zarr where it ends in ``.zarr``, else OME-TIFF.
    data : array (..., Y, X), or list of them
        The layer's data; of a multiscale layer the full resolution is written.
    attributes : dict
        The layer's state.

    Returns
    -------
    list of str
        The path written.

    Raises
    ------
    InputError
        If the layer has other axes than T, Z, C, Y and X, or is a colour image to be saved as OME-Zarr.
    OutputError
        If the file cannot be written.
    """
    # other plugins are not asked once a writer was chosen: what napari alone could save is saved here, too
    from napari.layers import Image

    from napari_care_losses.widgets.layers.conversion import layer_frames

    names = ("name", "scale", "translate", "units", "axis_labels", "rgb", "multiscale", "colormap", "metadata")
    options = {name: attributes[name] for name in names if name in attributes}
    layer = Image(data, **options, contrast_limits=attributes.get("contrast_limits", (0, 1)))
    if layer.rgb:
        _write_colour(Path(path), layer)
    else:
        save_stack(Path(path), layer_frames(layer))
    return [path]


def _write_colour(path: Path, layer: Image) -> None:
    import tifffile

    from napari_care_losses.widgets.layers.conversion import layer_frames

    if path.suffix.lower() == ".zarr":
        raise InputError(f"{layer.name} is a colour (RGB) image: save it as TIFF, or its channels as OME-Zarr.")
    data = np.asarray(layer.data[0] if layer.multiscale else layer.data)
    placed = {name: getattr(layer, name) for name in ("name", "scale", "translate", "units", "axis_labels")}
    red = layer_frames(type(layer)(data[..., 0], rgb=False, contrast_limits=(0, 1), **placed))
    known = for_ome_xml(replace(red, metadata=replace(red.metadata, channels=())))
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, data, ome=True, photometric="rgb", metadata={**known, "axes": f"{red.axes}S"})
