"""What the tests of the Compare widget start from."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from fixtures.compare_widget import open_compare, truth_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from napari.components import ViewerModel
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_care_losses.widgets.compare.widget import CompareWidget


@pytest.fixture
def open_widget(viewer: ViewerModel, qtbot: QtBot) -> Callable[..., CompareWidget]:
    """Return a function that opens a Compare widget with some methods ticked."""
    return partial(open_compare, viewer, qtbot)


@pytest.fixture
def truth(stack: NDArray[np.uint16]) -> NDArray[np.float32]:
    return truth_of(stack)
