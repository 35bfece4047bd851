"""Finding pairs among the viewer's layers by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from napari.layers import Image

from napari_care_losses.training.pair_names import explain_unmatched, match_names
from napari_care_losses.widgets.layers.restored_layers import is_result

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari.layers import Layer


class LayerMatches(NamedTuple):
    """Pairs of layers found by their names.

    Attributes
    ----------
    new : list of tuple of Image
        Low and high layer of every pair that is not in the table yet.
    about : str
        What adding them does, or why there is nothing to add.
    result : str
        What to say once they are added.
    """

    new: list[tuple[Image, Image]]
    about: str
    result: str


def match_layers(layers: Iterable[Layer], listed: Sequence[tuple[Image | None, Image | None]]) -> LayerMatches:
    """Return the pairs that image layers form by their names; layers restored by this plugin are left out.

    Parameters
    ----------
    layers : iterable of Layer
        The viewer's layers.
    listed : sequence of tuple of Image
        The pairs in the table.
    """
    images = {layer.name: layer for layer in layers if isinstance(layer, Image) and not is_result(layer)}
    matching = match_names(list(images))
    known = {tuple(map(id, pair)) for pair in listed}
    found = [(images[low], images[high]) for low, high in matching.pairs]
    new = [pair for pair in found if tuple(map(id, pair)) not in known]
    left_out = explain_unmatched(matching._replace(alone=[]))
    count = f"{len(new)} pair{'s' if len(new) != 1 else ''}"
    if new:
        about = f"Add the {count} found by the layers' names."
    elif found:
        about = "All pairs found by the layers' names are in the table."
    else:
        about = (
            "No two layers have names that differ only in the exposure, such as actin low and actin high, or 1 ms "
            f"and 100 ms. {left_out}"
        ).strip()
    return LayerMatches(new, about, f"{count} matched by name. {left_out}".strip())
