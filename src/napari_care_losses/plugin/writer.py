"""napari's File > Save for image layers: OME-TIFF and OME-Zarr that keep pixel size and units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_care_losses.io.stacks import save_stack


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
        If the layer is a colour image, or has other axes than T, Z, C, Y and X.
    OutputError
        If the file cannot be written.
    """
    from napari.layers import Image

    from napari_care_losses.widgets.layers.conversion import layer_frames

    names = ("name", "scale", "translate", "units", "axis_labels", "rgb", "multiscale", "colormap")
    options = {name: attributes[name] for name in names if name in attributes}
    layer = Image(data, **options, contrast_limits=attributes.get("contrast_limits", (0, 1)))
    save_stack(Path(path), layer_frames(layer))
    return [path]
