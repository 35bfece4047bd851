"""Other data for layers, shown and hidden: the viewer must stay whole, and the slider must reach all of it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_care_losses.widgets.layers.new_data import set_data


@pytest.mark.parametrize("is_shown", [True, False], ids=["shown", "hidden"])
@pytest.mark.parametrize(
    ("before", "after"),
    [((8, 8), (3, 8, 8)), ((3, 8, 8), (5, 8, 8)), ((3, 8, 8), (8, 8)), ((8, 8), (3, 2, 8, 8))],
    ids=["2 to 3 axes", "more frames", "3 to 2 axes", "2 to 4 axes"],
)
def test_the_slider_reaches_what_a_layer_holds(before, after, is_shown, viewer) -> None:
    layer = viewer.add_image(np.zeros(before))
    told: list[object] = []
    layer.visible = is_shown
    layer.events.visible.connect(told.append)
    set_data(layer, np.zeros(after))
    assert layer.visible is is_shown
    assert told == []
    assert viewer.dims.nsteps[:-2] == after[:-2]


def test_a_hidden_layer_is_told_of_data_that_it_refuses(viewer) -> None:
    layer = viewer.add_image(np.zeros((8, 8)))
    layer.visible = False
    with pytest.raises(AttributeError):
        set_data(layer, None)
    assert not layer.visible
