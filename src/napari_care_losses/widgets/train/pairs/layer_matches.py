"""Which of the viewer's layers are pairs by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from napari.layers import Image

from napari_care_losses.training.pair_names import explain_unmatched, match_names
from napari_care_losses.widgets.layers.restored_layers import is_result

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari.layers import Layer


class LayerMatches(NamedTuple):
    """Pairs of layers told by their names.

    Attributes
    ----------
    new : list of tuple of Image
        Low and high layer of the pairs that are not listed yet.
    about : str
        What adding them would do, or why there is nothing to add.
    result : str
        What adding them has done.
    """

    new: list[tuple[Image, Image]]
    about: str
    result: str


def match_layers(layers: Iterable[Layer], listed: Sequence[tuple[Image | None, Image | None]]) -> LayerMatches:
    """Return the pairs that the names of image layers tell; what was restored here takes no part.

    Parameters
    ----------
    layers : iterable of Layer
        The viewer's layers.
    listed : sequence of tuple of Image
        The pairs that are known already.
    """
    images = {layer.name: layer for layer in layers if isinstance(layer, Image) and not is_result(layer)}
    matching = match_names(list(images))
    known = {tuple(map(id, pair)) for pair in listed}
    found = [(images[low], images[high]) for low, high in matching.pairs]
    new = [pair for pair in found if tuple(map(id, pair)) not in known]
    left_out = explain_unmatched(matching._replace(alone=[]))
    count = f"{len(new)} pair{'s' if len(new) != 1 else ''}"
    if new:
        about = f"Add the {count} that the layers' names tell."
    elif found:
        about = "Every pair that the layers' names tell is in the table."
    else:
        about = (
            "No two layers have names that differ by their exposure only, such as actin low and actin high, or 1 ms "
            f"and 100 ms. {left_out}"
        ).strip()
    return LayerMatches(new, about, f"{count} matched by name. {left_out}".strip())
