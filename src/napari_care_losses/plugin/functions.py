"""Restoration as functions of napari's types: for magicgui, workflow plugins and napari's console."""

# the annotations are evaluated at once: magicgui makes forms of them
from typing import Annotated, Any

from napari.layers import Image
from napari.types import ImageData, LayerDataTuple

from napari_care_losses.models.library import list_models
from napari_care_losses.restoration.parameters import RestorationParameters

_RANGE = RestorationParameters.described()["normalization"]


def model_names(_widget: object = None) -> list[str]:
    """Return the names of the models of the library, the user's own first; magicgui asks for them by this function."""
    return [entry.name for entry in list_models()]


ModelName = Annotated[str, {"choices": model_names, "label": "Model"}]
"""The name of a model, which magicgui shows as a choice among those of the library."""

RangeName = Annotated[str, {"choices": [(_RANGE.words[name], name) for name in _RANGE.choices], "label": _RANGE.title}]
"""What the grey levels are normalised by, one of the choices of `RestorationParameters.normalization`."""


def restore_image(
    image: ImageData, model: ModelName = "fft-lite", normalization: RangeName = "auto", average_flips: bool = False
) -> ImageData:
    """Restore an image or a stack; it returns when all of it is restored.

    Parameters
    ----------
    image : array (..., Y, X)
        Any real dtype; axes in front are taken for T, Z, C in this order.
    model : str
        A name in the library, or a path.
    normalization, average_flips
        As in `napari_care_losses.restoration.parameters.RestorationParameters`.

    Returns
    -------
    float32 array of the same shape
        In the grey levels of the image.

    Raises
    ------
    InputError
        If the image cannot be restored.
    ModelFileError
        If there is no such model.

    Examples
    --------
    >>> import numpy as np
    >>> restore_image(np.random.default_rng(0).poisson(20, (64, 64))).dtype.name
    'float32'
    """
    # torch takes seconds to load
    from napari_care_losses.restoration.restore_stack import restore

    parameters = RestorationParameters(normalization=normalization, average_flips=average_flips)
    return ImageData(restore(image, _loaded(model), parameters))


def restore_layer(
    layer: Image, model: ModelName = "fft-lite", normalization: RangeName = "auto", average_flips: bool = False
) -> LayerDataTuple:
    """Restore an image layer into a new one that lies on it, with its axes, scale and colours.

    In the viewer, the widget Restore does the same in the background and can be stopped. This function is for code.

    Parameters
    ----------
    layer : napari.layers.Image
        The layer.
    model, normalization, average_flips
        As in `restore_image`.

    Returns
    -------
    tuple
        Data, options and type of the new layer, as `napari.layers.Layer.create` takes them.

    Raises
    ------
    InputError
        If the layer cannot be restored.
    ModelFileError
        If there is no such model.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image, Layer
    >>> noisy = Image(np.random.default_rng(0).poisson(20, (2, 64, 64)), name="cells", scale=(1, 0.1, 0.1))
    >>> restored = Layer.create(*restore_layer(noisy))
    >>> restored.name, restored.scale.tolist()
    ('restored cells (fft-lite)', [1.0, 0.1, 0.1])
    """
    from napari_care_losses.restoration.restore_stack import restore
    from napari_care_losses.widgets.layers.conversion import comparable_limits, layer_frames, placement

    parameters = RestorationParameters(normalization=normalization, average_flips=average_flips)
    restored = restore(layer_frames(layer), _loaded(model), parameters)
    first = restored.reshape(-1, *restored.shape[-2:])[0]
    options: dict[str, Any] = {
        "name": f"restored {layer.name} ({model})",
        "colormap": layer.colormap,
        "contrast_limits": comparable_limits(first),
        "rgb": False,
        **placement(layer),
    }
    return LayerDataTuple((restored, options, "image"))


def _loaded(model: str) -> Any:
    from napari_care_losses.models.library import find_model
    from napari_care_losses.models.model import load_model

    return load_model(find_model(model))
